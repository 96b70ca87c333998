/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "imap/search.h"
#include "lib/buf.h"
#include "lib/mem.h"
#include "search_mail.h"

/* The keys of SEARCH: what is found. */

static void
record_keys(void **state)
{
	static const struct row rows[] = {
		{"ALL", " 1 2 3 4"},
		{"all", " 1 2 3 4"},
		{"2:3", " 2 3"},
		{"*", " 4"},
		{"3:*,1", " 1 3 4"},
		{"77", ""},
		{"NOT 2:3", " 1 4"},
		{"UID 10:25", " 1 2"},
		{"UID *", " 4"},
		{"1:3 UID 20:99", " 2 3"},
		{"SEEN", " 1 3"},
		{"UNSEEN", " 2 4"},
		{"FLAGGED", " 1"},
		{"UNFLAGGED", " 2 3 4"},
		{"ANSWERED", " 2"},
		{"UNANSWERED", " 1 3 4"},
		{"DELETED", " 3"},
		{"UNDELETED", " 1 2 4"},
		{"DRAFT", " 2"},
		{"UNDRAFT", " 1 3 4"},
		{"RECENT", " 2 3"},
		{"OLD", " 1 4"},
		{"NEW", " 2"},
		{"NOT NEW", " 1 3 4"},
		{"KEYWORD work", " 2"},
		{"UNKEYWORD Work", " 1 3 4"},
		{"KEYWORD $Label1", ""},
		{"KEYWORD nothere", ""},
		{"UNKEYWORD nothere", " 1 2 3 4"},
		{"LARGER 12", " 1 2 3 4"},
		{"LARGER 13", " 1 2 3"},
		{"SMALLER 14", " 4"},
		{"SMALLER 13", ""},
		{"BEFORE 8-Feb-1994", " 1 4"},
		{"ON \"07-Feb-1994\"", " 1"},
		{"SINCE 8-Feb-1994", " 2 3"},
		{"SINCE 1-Jan-1970", " 1 2 3"},
		{"ON 31-Dec-1969", " 4"},
		{"OR SEEN DRAFT", " 1 2 3"},
		{"OR (SEEN FLAGGED) (DRAFT ANSWERED)", " 1 2"},
		{"NOT (SEEN FLAGGED)", " 2 3 4"},
		{"NOT NOT SEEN", " 1 3"},
		{"NOT OR SEEN DRAFT", " 4"},
		{"SEEN (UNFLAGGED (DELETED))", " 3"},
	};

	(void)state;
	CHECK_ROWS(rows);
	assert_int_equal(fake.contents_opened, 0);
}

static const struct row cached_rows[] = {
	{"FROM smith", " 1"},
	{"FROM \"smith, ann\"", " 1"},
	{"FROM ANN@EXAMPLE", " 1"},
	{"TO carol", " 1"},
	{"CC Dave", " 1"},
	{"BCC dave", ""},
	/* As they are in the envelope, and as they stand there. */
	{"CC eve@example.test", " 3"},
	{"CC \"eve (at home) @\"", " 3"},
	{"CC \"eve \\\"x\\\" y <eve@\"", " 3"},
	{"CC \"j\xc3\xb6 <jo@example\"", " 3"},
	{"CC \"test> j\"", ""},
	{"HEADER Cc eve@example.test", ""},
	{"SUBJECT \"on friday\"", " 1"},
	{"SUBJECT \"gr\xc3\xbc\xc3\x9f\"", " 2"},
	{"SUBJECT \"GR\xc3\x9c\xc3\x9f\x45 aus\"", " 2"},
	{"FROM \"j\xc3\xb6rg\"", " 2"},
	{"CHARSET iso-8859-1 FROM {4}\r\nj\xf6rg", " 2"},
	{"CHARSET UTF-8 FROM \"J\xc3\x96RG\"", " 2"},
	{"CHARSET US-ASCII SUBJECT parts", " 3"},
	{"SUBJECT \"\"", " 1 2 3"},
	{"HEADER Subject \"\"", " 1 2 3"},
	{"HEADER SUBJECT lunch", " 1"},
	/* The days are the sender's: 23:30 there is the next day in UTC. */
	{"SENTON 7-Feb-1994", " 1"},
	{"SENTON 8-Feb-1994", " 2"},
	{"SENTBEFORE 8-Feb-1994", " 1"},
	{"SENTSINCE 7-Feb-1994", " 1 2"},
	{"NOT SENTSINCE 7-Feb-1994", " 3 4"},
	{"OR SUBJECT lunch SUBJECT parts UNDELETED", " 1"},
};

static void
cached_keys(void **state)
{
	(void)state;
	CHECK_ROWS(cached_rows);
	assert_int_equal(fake.contents_opened, 0);
}

static void
cached_keys_without_a_record(void **state)
{
	for (size_t i = 0; i < fake.count; i++)
		messages[i].no_cache = 1;
	search_check_rows(cached_rows, sizeof(cached_rows) / sizeof(cached_rows[0]));
	(void)state;
}

static void
file_keys(void **state)
{
	static const struct row rows[] = {
		{"HEADER X-Odd-Field strange", " 1"},
		{"HEADER x-odd-field \"\"", " 1"},
		{"HEADER X-Empty \"\"", " 1"},
		{"HEADER X-Empty a", ""},
		{"NOT HEADER X-Odd-Field strange", " 2 3 4"},
		{"BODY noon", " 1"},
		{"BODY NOON?", " 1"},
		{"BODY lunch", ""},
		{"TEXT lunch", " 1"},
		{"TEXT \"x-odd-field: strange\"", " 1"},
		{"BODY \"sch\xc3\xb6ne gr\xc3\xbc\xc3\x9f\x65\"", " 2"},
		{"CHARSET ISO-8859-1 BODY \"J\xd6RG\"", " 2"},
		{"BODY J=F6rg", ""},
		{"TEXT \"gr\xc3\xbc\xc3\x9f\x65 aus berlin\"", " 2"},
		{"BODY beautiful", " 3"},
		{"BODY \"beautiful z\xc3\xbcrich\"", " 3"},
		{"BODY href", " 3"},
		{"BODY \"embedded \xc3\xa9t\xc3\xa9\"", " 3"},
		{"BODY \"deep text\"", " 3"},
		{"BODY \"r\xc3\xa9sum\xc3\xa9.bin\"", " 3"},
		{"BODY \"hidden bytes\"", ""},
		{"BODY octet-stream", " 3"},
		{"BODY \"\"", " 1 2 3 4"},
		{"TEXT body", " 4"},
		{"NOT TEXT e", ""},
		{"OR BODY noon BODY bare", " 1 4"},
		{"BODY noon BODY bare", ""},
		{"TEXT smith BODY meet NOT BODY supper", " 1"},
		{"NOT (OR BODY noon TEXT berlin)", " 3 4"},
	};

	(void)state;
	CHECK_ROWS(rows);
}

static void
cheap_keys_spare_the_files(void **state)
{
	static const struct row rows[] = {
		{"BODY noon ANSWERED FROM \"j\xc3\xb6rg\" SUBJECT nothing", ""},
		{"OR TEXT zzz ALL", " 1 2 3 4"},
		{"1 BODY noon TO carol", " 1"},
	};

	(void)state;
	CHECK_ROWS(rows);
	assert_int_equal(fake.contents_opened, 1);
}

static void
uid_search(void **state)
{
	(void)state;
	assert_string_equal(fake_run(&fake, "a UID SEARCH 2:4 NOT DRAFT").p,
		"* SEARCH 30 40\r\na OK UID SEARCH completed\r\n");
}

static void
bad_arguments(void **state)
{
	static const char *const commands[] = {
		"a SEARCH",
		"a SEARCH ",
		"a SEARCH ()",
		"a SEARCH (ALL",
		"a SEARCH ALL)",
		"a SEARCH ALL  SEEN",
		"a SEARCH NOTHING",
		"a SEARCH NOT",
		"a SEARCH OR SEEN",
		"a SEARCH OR SEEN ",
		"a SEARCH FROM",
		"a SEARCH HEADER Subject",
		"a SEARCH HEADER \"\" x",
		"a SEARCH HEADER \"a:b\" x",
		"a SEARCH LARGER x",
		"a SEARCH LARGER -1",
		"a SEARCH SMALLER 9223372036854775808000",
		"a SEARCH OLDER 0",
		"a SEARCH YOUNGER x",
		"a SEARCH MODSEQ",
		"a SEARCH MODSEQ \"/flags/x\" some 1",
		"a SEARCH MODSEQ \"/flags/x\" 1",
		"a SEARCH $x",
		"a SEARCH ON 32-Feb-1994",
		"a SEARCH ON 1994-02-01",
		"a SEARCH KEYWORD \"quoted\"",
		"a SEARCH UID",
		"a SEARCH UID x",
		"a SEARCH 0",
		"a SEARCH 1:",
		"a SEARCH CHARSET UTF-8",
		"a SEARCH ALL CHARSET UTF-8 SEEN",
		"a SEARCH RETURN ALL",
		"a SEARCH RETURN (MIN)",
		"a SEARCH RETURN (LEAST) ALL",
		"a SEARCH RETURN (MIN)ALL",
		"a SEARCH RETURN (PARTIAL) ALL",
		"a SEARCH RETURN (PARTIAL 1) ALL",
		"a SEARCH RETURN (PARTIAL 0:1) ALL",
		"a SEARCH RETURN (PARTIAL 1:-2) ALL",
		"a SEARCH RETURN (PARTIAL 1:*) ALL",
		"a SEARCH RETURN (PARTIAL 1:2 ALL) ALL",
		"a SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL",
		"a SEARCH RETURN (PARTIAL 1:4294967296) ALL",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct str said = fake_run(&fake, commands[i]);

		if (!str_starts_i(said, "BAD "))
			fail_msg("%s gave %s", commands[i], said.p);
	}
}

static void
add_times(struct buf *out, const char *text, int n)
{
	for (int i = 0; i < n; i++)
		buf_add_cstr(out, text);
}

static void
bounded_arguments(void **state)
{
	static const struct {
		const char *before, *repeated, *after;
		int good, bad;
	} cases[] = {
		{"", "NOT ", "SEEN", 60, 70},
		{"", "OR SEEN ", "SEEN", 60, 30000},
		{"", "(", "SEEN", 60, 30000},
		{"SEEN", " SEEN", "", 1000, 1100},
		{"BODY a", " BODY a", "", 60, 70},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int bad = 0; bad < 2; bad++) {
			struct buf command = BUF_INIT(0);
			int n = bad ? cases[i].bad : cases[i].good;

			buf_add_cstr(&command, "a SEARCH ");
			buf_add_cstr(&command, cases[i].before);
			add_times(&command, cases[i].repeated, n);
			buf_add_cstr(&command, cases[i].after);
			if (cases[i].repeated[0] == '(')
				add_times(&command, ")", n);
			assert_true(str_starts_i(fake_run_bytes(&fake, buf_str(&command)),
				bad ? "BAD " : "* SEARCH"));
			buf_free(&command);
		}
	}
}

static void
unknown_charset(void **state)
{
	struct str said = fake_run(&fake, "a SEARCH CHARSET x-klingon BODY {3}\r\nabc SEEN");

	(void)state;
	assert_true(str_starts_i(said, "a NO [BADCHARSET ("));
	/* The syntax comes first. */
	assert_true(str_starts_i(fake_run(&fake, "a SEARCH CHARSET x-klingon NOTHING"), "BAD "));
}

static void
expunged_messages(void **state)
{
	(void)state;
	messages[1].gone = 1;
	assert_string_equal(fake_run(&fake, "a SEARCH ALL").p,
		"* SEARCH 1 3 4\r\na OK [EXPUNGEISSUED] SEARCH completed\r\n");
	assert_string_equal(fake_run(&fake, "a SEARCH NOT TEXT nothing").p,
		"* SEARCH 1 3 4\r\na OK [EXPUNGEISSUED] SEARCH completed\r\n");
}

static void
unreadable_message(void **state)
{
	(void)state;
	messages[0].unreadable = E_IO;
	assert_string_equal(fake_run(&fake, "a SEARCH OR BODY bare BODY noon").p,
		"* SEARCH 4\r\n"
		"a NO [UNAVAILABLE] Message 1 (UID 10) cannot be read: input/output error\r\n");
}

static void
empty_mailbox(void **state)
{
	struct fake other;
	struct fake_message none[1];

	(void)state;
	fake_init(&other, none, 0);
	assert_string_equal(
		fake_run(&other, "a SEARCH ALL").p, "* SEARCH\r\na OK SEARCH completed\r\n");
	assert_string_equal(fake_run(&other, "a SEARCH 1:* UID * TEXT a").p,
		"* SEARCH\r\na OK SEARCH completed\r\n");
	fake_fini(&other);
}

/* More than a round puts by; results stay in order, cheap and dear ones mixed. */
static void
many_messages(void **state)
{
	enum { COUNT = 3000 };
	struct fake_message *many = mem_zalloc(COUNT * sizeof(*many));
	struct fake other;
	struct str said;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		many[i] = (struct fake_message){.text = i % 3 ? search_bare : search_plain,
			.flags = i % 3 == 1 ? INDEX_SEEN : 0};
	fake_init(&other, many, COUNT);
	said = fake_run(&other, "a SEARCH OR SEEN BODY noon");
	said = str_make(said.p + 8, said.len - 8);
	for (uint32_t n = 1; n <= COUNT; n++) {
		char number[16];

		if (n % 3 == 0)
			continue;
		snprintf(number, sizeof(number), " %u", n);
		assert_true(str_starts_i(said, number));
		said = str_make(said.p + strlen(number), said.len - strlen(number));
	}
	assert_true(str_starts_i(said, "\r\na OK"));
	fake_fini(&other);
	free(many);
}

/* A text across the seams of the pieces in which a body is read, in each encoding. */
static void
seams(void **state)
{
	static const char *const words[] = {"needle", "n\xc3\xa4\xc3\xa4\x64le"};

	(void)state;
	for (size_t shift = 0; shift < 12; shift++) {
		struct buf text = BUF_INIT(0);
		struct search_key key = {.kind = SEARCH_BODY}, *keys[] = {&key};

		buf_add_cstr(&text, "Content-Type: text/plain; charset=utf-8\n\n");
		add_times(&text, "x", (int)((32 << 10) - shift));
		buf_add_cstr(&text, words[shift % 2]);
		add_times(&text, "y", 40000);
		buf_add_cstr(&key.needle, shift % 2 ? "NA\xcc\x88"
						      "A\xcc\x88"
						      "DLE"
						    : "NEEDLE");
		search_content_scan(keys, 1, buf_str(&text));
		assert_int_equal(key.found, 1);
		buf_add_char(&key.needle, 'Z');
		search_content_scan(keys, 1, buf_str(&text));
		assert_int_equal(key.found, 0);
		buf_free(&key.needle);
		buf_free(&text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(record_keys, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(cached_keys, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(
			cached_keys_without_a_record, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(file_keys, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(
			cheap_keys_spare_the_files, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(uid_search, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(bad_arguments, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(bounded_arguments, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(unknown_charset, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(expunged_messages, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(unreadable_message, search_setup, search_teardown),
		cmocka_unit_test(empty_mailbox),
		cmocka_unit_test(many_messages),
		cmocka_unit_test(seams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
