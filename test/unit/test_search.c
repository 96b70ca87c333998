/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "imap/search.h"
#include "imap_fake.h"
#include "lib/buf.h"
#include "lib/mem.h"
#include "lib/stream.h"

/* 1: plain, with an odd field that no cache record has. */
static const char plain[] = "From: \"Smith, Ann\" <ann@example.test>\n"
			    "To: Bob <bob@example.test>, carol@example.test\n"
			    "Cc: dave@example.test\n"
			    "Subject: Lunch on\n Friday\n"
			    "Date: Mon, 7 Feb 1994 23:30:00 -0500\n"
			    "X-Odd-Field: strange value\n"
			    "X-Empty:\n"
			    "\n"
			    "Shall we meet at noon?\n";

/* 2: encoded words, quoted-printable ISO-8859-1. */
static const char latin[] = "From: =?iso-8859-1?Q?J=F6rg?= <joerg@example.test>\r\n"
			    "Subject: =?utf-8?B?R3LDvMOfZQ==?= aus Berlin\r\n"
			    "Date: Tue, 8 Feb 1994 00:30:00 +0100\r\n"
			    "MIME-Version: 1.0\r\n"
			    "Content-Type: text/plain; charset=iso-8859-1\r\n"
			    "Content-Transfer-Encoding: quoted-printable\r\n"
			    "\r\n"
			    "Sch=F6ne Gr=\r\n=FC=DFe, dein J=F6rg\r\n";

/* 3: a multipart with HTML in base64, an attached message and a binary attachment. */
static const char mixed[] =
	"Subject: parts\n"
	"Cc: \"Eve \\\"X\\\" Y\" <eve (at home) @ example.test>, =?utf-8?Q?J=C3=B6?= < jo@\n"
	" example.test>\n"
	"MIME-Version: 1.0\n"
	"Content-Type: multipart/mixed; boundary=b\n"
	"\n"
	"preamble\n"
	"--b\n"
	"Content-Type: text/html; charset=utf-8\n"
	"Content-Transfer-Encoding: base64\n"
	"\n"
	/* <p>Be<b>au</b>tiful <a href="http://example.test/x">z&uuml;rich</a></p> */
	"PHA+QmU8Yj5hdTwvYj50aWZ1bCA8YSBocmVmPSJodHRwOi8vZXhhbXBsZS50ZXN0L3giPnomdXVt\n"
	"bDtyaWNoPC9hPjwvcD4K\n"
	"--b\n"
	"Content-Type: message/rfc822\n"
	"\n"
	"Subject: =?utf-8?Q?embedded_=C3=89t=C3=A9?=\n"
	"\n"
	"deep text\n"
	"--b\n"
	"Content-Type: application/octet-stream\n"
	"Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.bin\n"
	"\n"
	"hidden bytes\n"
	"--b--\n";

/* 4: next to nothing. */
static const char bare[] = "\nbare body\n";

static const char *const keyword_names[] = {"$Label1", "Work"};

static struct fake fake;
static struct fake_message messages[4];

enum { NOON_7_FEB_1994 = 760622400, DAY = 86400 };

static int
setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	messages[0] = (struct fake_message){.text = plain,
		.flags = INDEX_SEEN | INDEX_FLAGGED,
		.internal_date = NOON_7_FEB_1994};
	messages[1] = (struct fake_message){.text = latin,
		.flags = INDEX_ANSWERED | INDEX_DRAFT,
		.keywords = 2,
		.recent = 1,
		.internal_date = NOON_7_FEB_1994 + DAY};
	messages[2] = (struct fake_message){.text = mixed,
		.flags = INDEX_SEEN | INDEX_DELETED,
		.recent = 1,
		.internal_date = NOON_7_FEB_1994 + 10 * DAY};
	messages[3] = (struct fake_message){.text = bare, .internal_date = -1};
	fake_init(&fake, messages, 4);
	fake.keywords = keyword_names;
	fake.keyword_count = 2;
	fake_run(&fake, "a SEARCH KEYWORD Work"); /* so that FLAGS has been told */
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_fini(&fake);
	return 0;
}

struct row {
	const char *keys, *found;
};

static void
check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *command = mem_printf("a SEARCH %s", rows[i].keys);
		char *want = mem_printf("* SEARCH%s\r\na OK SEARCH completed\r\n", rows[i].found);
		struct str said = fake_run(&fake, command);

		if (strcmp(said.p, want) != 0)
			fail_msg("%s gave\n%s and not\n%s", command, said.p, want);
		free(command);
		free(want);
	}
}

#define CHECK_ROWS(rows) check_rows((rows), sizeof(rows) / sizeof((rows)[0]))

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
	check_rows(cached_rows, sizeof(cached_rows) / sizeof(cached_rows[0]));
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
		many[i] = (struct fake_message){
			.text = i % 3 ? bare : plain, .flags = i % 3 == 1 ? INDEX_SEEN : 0};
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

static void
check_answers(const char *const (*rows)[2], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str said = fake_run(&fake, rows[i][0]);

		if (strcmp(said.p, rows[i][1]) != 0)
			fail_msg("%s gave\n%s and not\n%s", rows[i][0], said.p, rows[i][1]);
	}
}
#define CHECK_ANSWERS(rows) check_answers((rows), sizeof(rows) / sizeof((rows)[0]))
#define DONE "a OK SEARCH completed\r\n"
#define UID_DONE "a OK UID SEARCH completed\r\n"

static void
return_options(void **state)
{
	static const char *const rows[][2] = {
		{"a SEARCH RETURN () ALL", "* ESEARCH (TAG \"a\") ALL 1:4\r\n" DONE},
		{"a SEARCH RETURN (ALL) SEEN", "* ESEARCH (TAG \"a\") ALL 1,3\r\n" DONE},
		{"a SEARCH RETURN (MIN COUNT) NOT SEEN",
			"* ESEARCH (TAG \"a\") MIN 2 COUNT 2\r\n" DONE},
		{"a UID SEARCH RETURN (MIN MAX) 1:3",
			"* ESEARCH (TAG \"a\") UID MIN 10 MAX 30\r\n" UID_DONE},
		{"a UID SEARCH RETURN (ALL) ALL",
			"* ESEARCH (TAG \"a\") UID ALL 10,20,30,40\r\n" UID_DONE},
		/* Nothing found: MIN, MAX and ALL are left out, COUNT is not. */
		{"a SEARCH RETURN (MIN MAX ALL COUNT) LARGER 99999",
			"* ESEARCH (TAG \"a\") COUNT 0\r\n" DONE},
		{"a SEARCH RETURN (MIN) LARGER 99999", "* ESEARCH (TAG \"a\")\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 2:3) ALL",
			"* ESEARCH (TAG \"a\") PARTIAL (2:3 2:3)\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 9:3 MIN) ALL",
			"* ESEARCH (TAG \"a\") MIN 1 PARTIAL (9:3 3:4)\r\n" DONE},
		{"a UID SEARCH RETURN (PARTIAL -1:-3) ALL",
			"* ESEARCH (TAG \"a\") UID PARTIAL (-1:-3 20,30,40)\r\n" UID_DONE},
		{"a SEARCH RETURN (PARTIAL -4:-4294967295) ALL",
			"* ESEARCH (TAG \"a\") PARTIAL (-4:-4294967295 1)\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 5:500) ALL",
			"* ESEARCH (TAG \"a\") PARTIAL (5:500 NIL)\r\n" DONE},
		{"a SEARCH RETURN (COUNT) CHARSET UTF-8 SUBJECT lunch",
			"* ESEARCH (TAG \"a\") COUNT 1\r\n" DONE},
	};

	(void)state;
	CHECK_ANSWERS(rows);
}

/* RFC 5182 */
static void
saved_result(void **state)
{
	static const char *const rows[][2] = {
		{"a SEARCH $", "* SEARCH\r\n" DONE},
		{"a SEARCH RETURN (SAVE) SEEN", DONE},
		{"a SEARCH $", "* SEARCH 1 3\r\n" DONE},
		{"a UID SEARCH UID $ FLAGGED", "* SEARCH 10\r\n" UID_DONE},
		{"a SEARCH OR $ 4", "* SEARCH 1 3 4\r\n" DONE},
		{"a SEARCH NOT $", "* SEARCH 2 4\r\n" DONE},
		{"a UID FETCH $ UID", "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
				      "a OK UID FETCH completed\r\n"},
		{"a FETCH $ UID", "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
				  "a OK FETCH completed\r\n"},
		/* What does not save changes nothing. */
		{"a SEARCH RETURN (ALL) ALL", "* ESEARCH (TAG \"a\") ALL 1:4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 1 3\r\n" DONE},
		{"a SEARCH RETURN (SAVE MAX) ALL", "* ESEARCH (TAG \"a\") MAX 4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE MIN MAX) ALL",
			"* ESEARCH (TAG \"a\") MIN 1 MAX 4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 1 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE MIN COUNT) ALL",
			"* ESEARCH (TAG \"a\") MIN 1 COUNT 4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 1 2 3 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE PARTIAL 2:3 MAX) ALL",
			"* ESEARCH (TAG \"a\") MAX 4 PARTIAL (2:3 2:3)\r\n" DONE},
		{"a SEARCH $", "* SEARCH 2 3 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE) CHARSET X-NONE ALL",
			"a NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1)] This charset is not known "
			"here\r\n"},
		{"a SEARCH $", "* SEARCH\r\n" DONE},
		{"a FETCH $ UID", "a OK FETCH completed\r\n"},
	};

	(void)state;
	CHECK_ANSWERS(rows);
}

/* RFC 7162 section 3.1.5, RFC 4731 section 3.2 */
static void
mod_sequences(void **state)
{
	static const char *const rows[][2] = {
		{"a SEARCH MODSEQ 2", "* SEARCH 2 3 (MODSEQ 9)\r\n" DONE},
		{"a SEARCH MODSEQ \"/flags/\\\\draft\" all 4", "* SEARCH 2 (MODSEQ 9)\r\n" DONE},
		{"a SEARCH MODSEQ 99", "* SEARCH\r\n" DONE},
		{"a SEARCH OR NOT MODSEQ 2 LARGER 99999", "* SEARCH 1 4 (MODSEQ 1)\r\n" DONE},
		{"a SEARCH RETURN (MAX) MODSEQ 1", "* ESEARCH (TAG \"a\") MAX 4 MODSEQ 1\r\n" DONE},
		{"a SEARCH RETURN (MIN MAX) MODSEQ 2",
			"* ESEARCH (TAG \"a\") MIN 2 MAX 3 MODSEQ 9\r\n" DONE},
		{"a SEARCH RETURN (MAX COUNT) MODSEQ 1",
			"* ESEARCH (TAG \"a\") MAX 4 COUNT 4 MODSEQ 9\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 3:4) MODSEQ 1",
			"* ESEARCH (TAG \"a\") PARTIAL (3:4 3:4) MODSEQ 3\r\n" DONE},
		{"a SEARCH RETURN (COUNT) MODSEQ 99", "* ESEARCH (TAG \"a\") COUNT 0\r\n" DONE},
	};

	(void)state;
	fake.session.enabled = IMAP_CONDSTORE; /* else the first such search tells HIGHESTMODSEQ */
	messages[1].modseq = 9;
	messages[2].modseq = 3;
	CHECK_ANSWERS(rows);
}

/* RFC 5032, RFC 8514, RFC 8474 */
static void
newer_keys(void **state)
{
	static const struct row rows[] = {
		{"OLDER 7200", " 1 2 3"},
		{"YOUNGER 7200", " 4"},
		{"OLDER 1800 YOUNGER 7200", " 4"},
		{"SAVEDATESUPPORTED", " 1 2 3 4"},
		{"NOT SAVEDATESUPPORTED", ""},
		{"SAVEDBEFORE 2-Jan-2000", " 1"},
		{"SAVEDON 2-Jan-2000", " 2"},
		{"SAVEDSINCE 2-Jan-2000", " 2 3 4"},
		{"EMAILID M0a000000000000000000000000000002", " 3"},
		{"EMAILID M0A000000000000000000000000000002", ""},
		{"EMAILID M1", ""},
		{"THREADID T0b000000000000000000000000000000", " 1 3"},
		{"NOT THREADID T0b000000000000000000000000000000", " 2 4"},
	};

	(void)state;
	messages[3].internal_date = (int64_t)time(NULL) - 3600;
	for (unsigned i = 0; i < 4; i++) {
		messages[i].save_date = 946684800 + (int64_t)i * DAY;
		messages[i].email_id[0] = 10;
		messages[i].email_id[15] = (unsigned char)i;
		messages[i].thread_id[0] = 11;
		messages[i].thread_id[15] = i % 2;
	}
	CHECK_ROWS(rows);
}

/* RFC 6203. Relevancy: see mail/word_match.h. */
static void
fuzzy(void **state)
{
	static const struct row rows[] = {
		{"FUZZY BODY noon", " 1"},
		{"FUZZY BODY nooon", " 1"},
		{"BODY nooon", ""},
		{"FUZZY BODY oon", ""},
		{"FUZZY TEXT lunhc", " 1"},
		{"FUZZY SUBJECT \"fridya lunch\"", " 1"},
		{"FUZZY SUBJECT \"friday dinner\"", ""},
		{"FUZZY HEADER X-Odd-Field valeu", " 1"},
		{"FUZZY FROM jorg", " 2"},
		{"FROM jorg", ""},
		{"FUZZY BODY schone", " 2"},
		{"FUZZY BODY beatiful", " 3"},
		{"NOT FUZZY BODY beatiful", " 1 2 4"},
		{"FUZZY NOT BODY beatiful", " 1 2 4"},
		{"FUZZY (BODY nooon SUBJECT lunc)", " 1"},
		{"FUZZY OR BODY nooon BODY baer", " 1 4"},
		{"FUZZY FUZZY BODY nooon", " 1"},
		{"FUZZY BODY nooon BODY mete", ""},
		{"FUZZY SEEN", " 1 3"},
		{"FUZZY BODY \"\"", " 1 2 3 4"},
		/* No word in it: the string as it stands. */
		{"FUZZY BODY \"?\"", " 1"},
		{"FUZZY UID 10:20 FUZZY 2:4", " 2"},
	};
	static const char *const answers[][2] = {
		{"a SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT lunhc",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (33)\r\n" DONE},
		{"a SEARCH RETURN (RELEVANCY) FUZZY SUBJECT lunch",
			"* ESEARCH (TAG \"a\") RELEVANCY (100)\r\n" DONE},
		/* What is in the body says less to TEXT, not to BODY. */
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY OR TEXT bare TEXT lunch",
			"* ESEARCH (TAG \"a\") ALL 1,4 RELEVANCY (100 86)\r\n" DONE},
		{"a UID SEARCH RETURN (ALL RELEVANCY) FUZZY OR BODY baer BODY noon",
			"* ESEARCH (TAG \"a\") UID ALL 10,40 RELEVANCY (100 33)\r\n"
			"a OK UID SEARCH completed\r\n"},
		/* The mean of several; of OR the best, also where something cheaper decides it. */
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY BODY noon FUZZY SUBJECT lunhc",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (67)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) 1 OR SEEN FUZZY BODY noonn",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (33)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) 1 FUZZY OR SUBJECT lunhc BODY noon",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (100)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY ANSWERED",
			"* ESEARCH (TAG \"a\") ALL 2 RELEVANCY (100)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY NOT BODY beatiful",
			"* ESEARCH (TAG \"a\") ALL 1:2,4 RELEVANCY (100 100 100)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY COUNT) FUZZY BODY zzzz",
			"* ESEARCH (TAG \"a\") COUNT 0\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 2:9 RELEVANCY) FUZZY OR BODY baer BODY noon",
			"* ESEARCH (TAG \"a\") PARTIAL (2:9 4) RELEVANCY (33)\r\n" DONE},
		{"a SORT (RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY bare",
			"* SORT 4 1\r\na OK SORT completed\r\n"},
		{"a SORT (REVERSE RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY bare",
			"* SORT 1 4\r\na OK SORT completed\r\n"},
		{"a SORT (RELEVANCY REVERSE ARRIVAL) UTF-8 FUZZY OR BODY noon BODY schone",
			"* SORT 1 2\r\na OK SORT completed\r\n"},
		{"a SORT RETURN (RELEVANCY ALL) (RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY bare",
			"* ESEARCH (TAG \"a\") ALL 4,1 RELEVANCY (100 33)\r\n"
			"a OK SORT completed\r\n"},
		{"a SORT RETURN (RELEVANCY PARTIAL 1:1) (RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY "
		 "bare",
			"* ESEARCH (TAG \"a\") PARTIAL (1:1 4) RELEVANCY (100)\r\n"
			"a OK SORT completed\r\n"},
		{"a SORT RETURN (UPDATE) (RELEVANCY) UTF-8 FUZZY BODY bare",
			"* ESEARCH (TAG \"a\")\r\n* NO [NOUPDATE \"a\"] What is sorted by "
			"relevancy is not kept up to date\r\na OK SORT completed\r\n"},
	};
	static const char *const bad[] = {
		"a SEARCH RETURN (RELEVANCY) BODY noon",
		"a SORT (RELEVANCY) UTF-8 BODY noon",
		"a SORT RETURN (RELEVANCY) (SUBJECT) UTF-8 ALL",
		"a SEARCH FUZZY",
		"a SEARCH FUZZY FUZZY",
		"a SEARCH FUZZY BODY",
	};

	(void)state;
	CHECK_ROWS(rows);
	CHECK_ANSWERS(answers);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!str_starts_i(fake_run(&fake, bad[i]), "BAD "))
			fail_msg("%s is not refused", bad[i]);
}

/* The setting fts_search. */
static void
by_words(void **state)
{
	static char words[] = "words";
	static const struct config conf = {.fts_search = words};
	static const struct row rows[] = {
		{"BODY noon", " 1"},
		{"BODY noo", " 1"},
		{"BODY oon", ""},
		{"BODY nooon", ""},
		{"BODY \"noon shall\"", " 1"},
		{"BODY \"noon supper\"", ""},
		{"BODY \"noon lunch\"", ""},
		{"TEXT \"noon lunch\"", " 1"},
		{"TEXT \"@example\"", " 1 2 3"},
		{"SUBJECT \"friday lunch\"", " 1"},
		{"SUBJECT riday", ""},
		{"SUBJECT grusse", " 2"},
		{"FROM \"jorg\"", " 2"},
		/* All words in one field. */
		{"TO \"carol bob\"", " 1"},
		{"HEADER X-Odd-Field \"value strange\"", " 1"},
		{"HEADER X-Odd-Field \"\"", " 1"},
		{"BODY gruss", " 2"},
		{"BODY SCHONE", " 2"},
		{"BODY \"deep parts\"", ""},
		{"NOT BODY noon", " 2 3 4"},
		{"BODY \"noon?\"", " 1"},
		{"BODY \"?\"", " 1"},
		{"FUZZY BODY nooon", " 1"},
	};

	(void)state;
	fake.session.conf = &conf;
	CHECK_ROWS(rows);
}

static void
check_told(struct imap_progress *p, uint64_t done, const char *want)
{
	char said[256];
	ssize_t n;

	p->looked_ms -= 60 * 1000;
	p->told_ms -= 60 * 1000;
	assert_int_equal(imap_progress_tick(p, done), OK);
	n = read(fake.peer, said, sizeof(said) - 1);
	assert_true(n > 0);
	said[n] = '\0';
	assert_string_equal(said, want);
}

/* RFC 9585 section 4 */
static void
progress(void **state)
{
	struct imap_progress p;

	(void)state;
	imap_progress_begin(&p, &fake.session, 1000);
	fake.session.tag = STR("A001");
	check_told(&p, 454, "* OK [INPROGRESS (\"A001\" 454 1000)] Still at work\r\n");
	/* Never done equal to the goal. */
	check_told(&p, 1000, "* OK [INPROGRESS (\"A001\" NIL NIL)] Still at work\r\n");
	fake.session.tag = STR("a]b");
	check_told(&p, 5, "* OK [INPROGRESS (NIL 5 1000)] Still at work\r\n");
	/* Not before its time. */
	assert_int_equal(imap_progress_tick(&p, 6), OK);
	assert_int_equal(stream_flush(fake.session.client), OK);
	assert_int_equal(recv(fake.peer, &p, 1, MSG_DONTWAIT), -1);
}

static void
progress_without_a_client(void **state)
{
	struct imap_progress p;

	(void)state;
	imap_progress_begin(&p, &fake.session, 1000);
	p.looked_ms -= 60 * 1000;
	close(fake.peer);
	fake.peer = -1;
	assert_int_equal(imap_progress_tick(&p, 1), E_CLOSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(record_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(cached_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(cached_keys_without_a_record, setup, teardown),
		cmocka_unit_test_setup_teardown(file_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(cheap_keys_spare_the_files, setup, teardown),
		cmocka_unit_test_setup_teardown(uid_search, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_charset, setup, teardown),
		cmocka_unit_test_setup_teardown(expunged_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable_message, setup, teardown),
		cmocka_unit_test_setup_teardown(return_options, setup, teardown),
		cmocka_unit_test_setup_teardown(saved_result, setup, teardown),
		cmocka_unit_test_setup_teardown(mod_sequences, setup, teardown),
		cmocka_unit_test_setup_teardown(newer_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(fuzzy, setup, teardown),
		cmocka_unit_test_setup_teardown(by_words, setup, teardown),
		cmocka_unit_test_setup_teardown(progress, setup, teardown),
		cmocka_unit_test_setup_teardown(progress_without_a_client, setup, teardown),
		cmocka_unit_test(empty_mailbox),
		cmocka_unit_test(many_messages),
		cmocka_unit_test(seams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
