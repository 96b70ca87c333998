/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "import/imap_client.h"
#include "import/imap_folder.h"
#include "import/imap_state.h"
#include "lib/mem.h"

/* A server's words, in pieces of one size. */
struct script {
	const char *p;
	size_t left, piece;
};

static enum err
fill(void *arg, char *p, size_t cap, size_t *got)
{
	struct script *s = arg;
	size_t n = s->left < s->piece ? s->left : s->piece;

	n = n < cap ? n : cap;
	if (!n)
		return E_CLOSED;
	memcpy(p, s->p, n);
	s->p += n;
	s->left -= n;
	*got = n;
	return OK;
}

struct seen {
	struct buf text; /* what the FETCHes said, one a line */
	struct buf body;
};

static void
body_start(uint64_t size, void *arg)
{
	struct seen *s = arg;

	buf_reset(&s->body);
	buf_printf(&s->body, "%llu:", (unsigned long long)size);
}

static void
body_write(const char *p, size_t len, void *arg)
{
	buf_add(&((struct seen *)arg)->body, p, len);
}

static enum err
on_any(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct seen *s = arg;
	struct imap_fetch f = {.body_start = body_start, .body_write = body_write, .arg = s};
	enum err e;

	(void)c;
	if (strcmp(u->word, "FETCH") != 0)
		return OK;
	*taken = 1;
	buf_reset(&s->body);
	e = imap_fetch_read(in, &f);
	if (e == OK) {
		buf_printf(&s->text, "%u uid=%u date=%lld ", u->number, f.uid, (long long)f.date);
		import_flags_format(&f.flags, &s->text);
		buf_printf(&s->text, " [%.*s]\n", STR_ARG(buf_str(&s->body)));
	}
	import_flags_free(&f.flags);
	return e;
}

/* Reads the words up to the completion of command 1; the same whatever the pieces are. */
static enum err
read_all(const char *words, struct seen *seen)
{
	enum err e = OK;

	for (size_t piece = 1; piece < 4000; piece = piece * 3 + 1) {
		struct script s = {words, strlen(words), piece};
		struct imap_client *c = imap_client_replay(fill, &s);

		buf_reset(&seen->text);
		(void)imap_client_send(c, "NOOP");
		e = imap_client_wait(c, 1, on_any, seen);
		imap_client_close(&c);
	}
	return e;
}

static void
seen_free(struct seen *s)
{
	buf_free(&s->text);
	buf_free(&s->body);
}

static void
a_fetch_in_any_order(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(
		read_all(
			"* 12 FETCH (BODY[] {7}\r\nA: )(\"\n UID 5 FLAGS (\\Seen $Fwd abc \\Recent) "
			"X-GM (1 (2 \"a)\" {3}\r\n\")))))\r\n"
			"* OK [UNSEEN 3] text with ( and \" in it {5}\r\n"
			"* 13 fetch (INTERNALDATE \"01-Mar-2010 11:22:33 +0100\" BODY[] NIL UID 6)\r\n"
			"* 14 FETCH (UID 7 BODY[] \"x\\\"y\" FLAGS ())\r\n"
			"* 15 EXISTS\r\n"
			"R1 OK [READ-ONLY] done\r\n",
			&seen),
		OK);
	assert_string_equal(buf_cstr(&seen.text), "12 uid=5 date=0 1 $Fwd abc [7:A: )(\"\n]\n"
						  "13 uid=6 date=1267438953 0 []\n"
						  "14 uid=7 date=0 0 [3:x\"y]\n");
	seen_free(&seen);
}

static void
what_is_no_answer(void **state)
{
	static const struct {
		const char *words;
		enum err e;
	} cases[] = {
		{"R1 NO [NOPERM] not you\r\n", E_ACCESS},
		{"R1 BAD what\r\n", E_ACCESS},
		{"R2 OK\r\n", E_PROTO},
		{"* BYE going\r\n", E_CLOSED},
		{"* 1 FETCH (UID 5\r\n", E_PROTO},
		{"* 1 FETCH (UID 0)\r\n", E_PROTO},
		{"* 1 FETCH (UID 4294967296)\r\n", E_PROTO},
		{"* 1 FETCH (FLAGS (\\Seen)))\r\n", E_PROTO},
		{"* 1 FETCH (BODY[] {99999999999999999999}\r\n", E_PROTO},
		{"* 1 FETCH (BODY[] {18446744073709551615}\r\nabc", E_CLOSED},
		{"* 1 FETCH (BODY[] {3}\rabc)\r\n", E_PROTO},
		{"* 1 FETCH (UID \"5\r\n\")\r\n", E_PROTO},
		{"* LIST () \"/\" \"a\r\n", E_PROTO},
		{"+ go on\r\n", E_PROTO},
		{"", E_CLOSED},
	};
	struct seen seen = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (read_all(cases[i].words, &seen) != cases[i].e)
			fail_msg("case %zu: %s", i, err_word(read_all(cases[i].words, &seen)));
	seen_free(&seen);
}

/* One token, one nesting, one response over the bound. */
static void
bounds(void **state)
{
	struct seen seen = {0};
	struct buf words = {0};

	(void)state;
	buf_add_cstr(&words, "* 1 FETCH (");
	for (int i = 0; i < 100000; i++)
		buf_add_char(&words, 'x');
	assert_int_equal(read_all(buf_cstr(&words), &seen), E_TOOBIG);
	buf_reset(&words);
	buf_add_cstr(&words, "* 1 FETCH (X ");
	for (int i = 0; i < 100; i++)
		buf_add_char(&words, '(');
	assert_int_equal(read_all(buf_cstr(&words), &seen), E_TOOBIG);
	buf_reset(&words);
	buf_add_cstr(&words, "* 1 FETCH (FLAGS (");
	for (int i = 0; i < 150000; i++)
		buf_add_cstr(&words, "f ");
	assert_int_equal(read_all(buf_cstr(&words), &seen), E_TOOBIG);
	buf_free(&words);
	seen_free(&seen);
}

static void
names(void **state)
{
	static const struct {
		const char *source, *prefix;
		char separator;
		const char *name;
	} cases[] = {
		{"inbox", "", '.', "INBOX"},
		{"INBOX.Sent", "INBOX.", '.', "Sent"},
		{"INBOX.Sent", "", '.', "INBOX/Sent"},
		{"a.b.c", "", '.', "a/b/c"},
		{"a/b.c", "", '/', "a/b_c"},
		{"a/b.c", "", '.', "a_b/c"},
		{"a/b", "", 0, "a_b"},
		{"Gr&APYA3w-e", "", '.',
			"Gr\xc3\xb6\xc3\x9f"
			"e"},
		{"Gr\xc3\xb6", "", '.', "Gr\xc3\xb6"},
		{"Gr\xf6", "", '.', "Gr?"},
		{"~/Mail/x", "~/Mail/", '/', "x"},
		{"a..b", "", '.', "a/b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};

		imap_folder_name(
			str_of(cases[i].source), cases[i].separator, str_of(cases[i].prefix), &out);
		assert_string_equal(buf_cstr(&out), cases[i].name);
		buf_free(&out);
	}
}

/* What was flushed is there again, a torn line is not, other UIDVALIDITYs forget. */
static void
memory(void **state)
{
	char path[] = "/tmp/roost-state-XXXXXX";
	int fd = mkstemp(path);
	struct imap_state *s, *other;
	struct imap_state_folder *f;
	const struct imap_state_message *m;
	size_t count;

	(void)state;
	assert_int_equal(imap_state_open(path, &s), OK);
	assert_int_equal(imap_state_open(path, &other), E_CONFLICT);
	f = imap_state_folder_get(s, STR("In box"), 7, 8);
	imap_state_put(s, f, 5, 50, imap_state_text(s, STR("1 a")));
	imap_state_put(s, f, 9, 90, imap_state_text(s, STR("0")));
	imap_state_put(s, f, 7, 70, imap_state_text(s, STR("0")));
	imap_state_put(s, f, 5, 50, imap_state_text(s, STR("3")));
	assert_int_equal(imap_state_flush(s), OK);
	imap_state_close(&s);
	assert_int_equal(lseek(fd, 0, SEEK_END) > 0 && write(fd, "M 0 11 110 0", 12) == 12, 1);
	assert_int_equal(imap_state_open(path, &s), OK);
	f = imap_state_folder_get(s, STR("In box"), 7, 8);
	m = imap_state_messages(s, f, &count);
	assert_int_equal(count, 3);
	assert_int_equal(m[0].source, 5);
	assert_string_equal(m[0].flags, "3");
	assert_int_equal(m[1].uid, 70);
	assert_ptr_equal(m[1].flags, m[2].flags);
	assert_null(imap_state_find(s, f, 11));
	f = imap_state_folder_get(s, STR("In box"), 7, 9);
	assert_null(imap_state_find(s, f, 5));
	imap_state_close(&s);
	assert_int_equal(ftruncate(fd, 0) == 0 && pwrite(fd, "else\n", 5, 0) == 5, 1);
	assert_int_equal(imap_state_open(path, &s), E_CORRUPT);
	unlink(path);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fetch_in_any_order),
		cmocka_unit_test(what_is_no_answer),
		cmocka_unit_test(bounds),
		cmocka_unit_test(names),
		cmocka_unit_test(memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
