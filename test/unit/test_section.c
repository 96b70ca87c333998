/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mail/section.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void
parses_what_stands_between_the_brackets(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", ""},
		{"1", "1"},
		{"1.2.3", "1.2.3"},
		{"4294967295", "4294967295"},
		{"header", "HEADER"},
		{"1.TEXT", "1.TEXT"},
		{"2.mime", "2.MIME"},
		{"HEADER.FIELDS (From TO)", "HEADER.FIELDS (From TO)"},
		{"1.header.fields.not (\"a\" x)", "1.HEADER.FIELDS.NOT (a x)"},
		{"HEADER.FIELDS (\"a b\" \"c)\")", "HEADER.FIELDS (\"a b\" \"c)\")"},
		{"HEADER.FIELDS", "HEADER.FIELDS"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct section s;
		struct buf b = {0};

		assert_int_equal(section_parse(str_of(cases[i].in), &s), OK);
		assert_int_equal(section_format(&s, &b), OK);
		assert_string_equal(buf_cstr(&b), cases[i].out);
		section_fini(&s);
		buf_free(&b);
	}
}

static void
refuses_what_is_no_section(void **state)
{
	static const char *const bad[] = {"0", "1.", ".1", "1..2", "01", "4294967296", "1x", "x",
		"MIME", "HEADERS", "TEXT ", "TEXT (a)", "1.HEADER.FIELDS ()", "HEADER.FIELDS (a",
		"HEADER.FIELDS (a )", "HEADER.FIELDS(a)", "HEADER.FIELDS (a) ",
		"HEADER.FIELDS (a:b)", "HEADER.FIELDS (\"\")", "HEADER.FIELDS (\"a)",
		"HEADER.FIELDS ((a))", "HEADER.FIELDS (\"a\r\nb\")", " 1", "-1", "HEADER.FIELDS (",
		"HEADER.FIELDS ", "1.MIME.1", "HEADER.1"};
	struct section s;
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (section_parse(str_of(bad[i]), &s) != E_PARSE)
			fail_msg("%s was taken", bad[i]);
		section_fini(&s);
	}
	for (int i = 0; i < 100000; i++)
		buf_add_cstr(&b, "1.");
	buf_add_cstr(&b, "1");
	assert_int_equal(section_parse(buf_str(&b), &s), E_TOOBIG);
	section_fini(&s);
	buf_reset(&b);
	buf_add_cstr(&b, "HEADER.FIELDS (a");
	for (int i = 0; i < 1000; i++)
		buf_add_cstr(&b, " a");
	buf_add_cstr(&b, ")");
	assert_int_equal(section_parse(buf_str(&b), &s), E_TOOBIG);
	section_fini(&s);
	buf_free(&b);
}

static enum err
collect(void *ctx, const char *p, size_t len)
{
	return buf_add(ctx, p, len);
}

/* The section of a message; E_NOTFOUND gives "NIL". */
static void
fetch(const char *message, const char *spec, struct buf *out)
{
	struct mime_message *m;
	struct part_table t;
	struct section s;
	struct section_data d;
	enum err e;

	mime_parse(str_of(message), NULL, &m);
	part_table_from_message(m, &t);
	assert_int_equal(section_parse(str_of(spec), &s), OK);
	e = section_open(&s, &t, str_of(message), &d);
	if (e) {
		assert_int_equal(e, E_NOTFOUND);
		buf_add_cstr(out, "NIL");
	} else {
		assert_int_equal(section_write(&d, 0, UINT64_MAX, 0, collect, out), OK);
		assert_int_equal(out->len, d.size);
	}
	section_data_fini(&d);
	section_fini(&s);
	part_table_free(&t);
	mime_message_free(&m);
}

struct fetch_case {
	const char *spec, *out;
};

static void
check_fetches(const char *message, const struct fetch_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf b = {0};

		fetch(message, cases[i].spec, &b);
		if (strcmp(buf_cstr(&b), cases[i].out) != 0)
			fail_msg("[%s] gives %s", cases[i].spec, buf_cstr(&b));
		buf_free(&b);
	}
}

static void
finds_sections(void **state)
{
	static const struct fetch_case simple[] = {
		{"", "A: b\r\n\r\nx\r\n"},
		{"HEADER", "A: b\r\n\r\n"},
		{"TEXT", "x\r\n"},
		{"1", "x\r\n"},
		{"1.MIME", "A: b\r\n\r\n"},
		{"1.HEADER", "NIL"},
		{"1.TEXT", "NIL"},
		{"1.1", "NIL"},
		{"2", "NIL"},
		{"HEADER.FIELDS (a)", "A: b\r\n\r\n"},
		{"HEADER.FIELDS (c)", "\r\n"},
	};
	static const struct fetch_case multi[] = {
		{"1", "one"},
		{"1.MIME", "X: 1\r\n\r\n"},
		{"2", "--c\r\n\r\ndeep\r\n--c--"},
		{"2.1", "deep"},
		{"2.1.MIME", "\r\n"},
		{"2.2", "NIL"},
		{"2.1.1", "NIL"},
		{"2.HEADER", "NIL"},
		{"3", "NIL"},
		{"4294967295", "NIL"},
		{"1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", "NIL"},
	};

	(void)state;
	check_fetches("A: b\n\nx\n", simple, sizeof(simple) / sizeof(simple[0]));
	check_fetches("",
		(const struct fetch_case[]){{"", ""}, {"1", ""}, {"HEADER", ""}, {"TEXT", ""},
			{"HEADER.FIELDS.NOT (x)", "\r\n"}},
		5);
	check_fetches("Content-Type: multipart/mixed; boundary=b\n\n--b\nX: 1\n\none\n--b\n"
		      "Content-Type: multipart/mixed; boundary=c\n\n--c\n\ndeep\n--c--\n--b--\n",
		multi, sizeof(multi) / sizeof(multi[0]));
}

static void
follows_a_message_in_a_message(void **state)
{
	static const char inner[] =
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
		"Content-Type: message/rfc822\r\n\r\n"
		"Subject: in\r\nTo: x\r\n\r\ntext\r\n"
		"--b\r\nContent-Type: message/rfc822\r\n\r\n"
		"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\np1\r\n--c--\r\n"
		"--b--\r\n";
	static const struct fetch_case cases[] = {
		{"1", "Subject: in\r\nTo: x\r\n\r\ntext"},
		{"1.MIME", "Content-Type: message/rfc822\r\n\r\n"},
		{"1.HEADER", "Subject: in\r\nTo: x\r\n\r\n"},
		{"1.HEADER.FIELDS.NOT (to)", "Subject: in\r\n\r\n"},
		{"1.TEXT", "text"},
		{"1.1", "text"},
		{"1.1.MIME", "Subject: in\r\nTo: x\r\n\r\n"},
		{"1.1.1", "NIL"},
		{"1.2", "NIL"},
		{"2.TEXT", "--c\r\n\r\np1\r\n--c--"},
		{"2.1", "p1"},
		{"2.1.1", "NIL"},
	};
	static const struct fetch_case root[] = {
		{"1", "Subject: s\r\n\r\nb"},
		{"1.HEADER", "Subject: s\r\n\r\n"},
		{"1.1", "b"},
		{"1.1.1", "NIL"},
		{"TEXT", "Subject: s\r\n\r\nb"},
	};

	(void)state;
	check_fetches(inner, cases, sizeof(cases) / sizeof(cases[0]));
	check_fetches("Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nb", root,
		sizeof(root) / sizeof(root[0]));
}

/* Every range of every piece of text must be the same piece of the whole. */
static void
writes_every_range_alike(void **state)
{
	static const char *const texts[] = {"", "\n", "\r\n", "a\nb\r\nc\n\n\nd", "\n\n\n",
		"\r\r\n\n\r", "abc", "a\r\nb\r\n", "\na"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct str text = str_of(texts[i]);
		struct section_data d = {.stored = text};
		struct buf whole = {0};

		assert_int_equal(section_write_crlf(text, 0, collect, &whole), OK);
		d.size = whole.len;
		d.bare_lf = whole.len - text.len;
		for (uint64_t off = 0; off <= whole.len + 1; off++) {
			for (uint64_t count = 0; count <= whole.len + 1; count++) {
				struct buf b = {0};
				uint64_t len = section_range_len(&d, off, count);

				/* The hint of the call before stays in force, whatever it was. */
				assert_int_equal(section_write(&d, off, count, 0, collect, &b), OK);
				assert_int_equal(b.len, len);
				if (len)
					assert_memory_equal(b.p, whole.p + off, len);
				buf_free(&b);
			}
		}
		buf_free(&whole);
	}
}

/* A file of head bytes that do not belong to it, then the text. */
static int
file_of(struct str text, size_t head)
{
	int fd = memfd_create("stored", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text.p, text.len, (off_t)head), text.len);
	return fd;
}

/* Long enough for the loop that takes a block at a time, and for more than one piece; line ends and
 * NULs lie at every place of a block. In turns from memory and from a file. */
static void
widens_long_texts(void **state)
{
	enum { LEN = 150000 };
	char *text = malloc(LEN);
	struct buf want = {0};
	unsigned seed = 1, turn = 0;
	int fd;

	(void)state;
	for (int i = 0; i < LEN; i++) {
		seed = seed * 1103515245 + 12345;
		unsigned dice = (seed >> 16) % 40;

		text[i] = "\n\r\0\n"[dice < 4 ? dice : 0];
		if (dice >= 4)
			text[i] = (char)('a' + dice % 26);
		if (i > 0 && dice == 0)
			text[i - 1] = '\r';
	}
	for (int i = 0; i < LEN; i++) {
		if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
			buf_add_char(&want, '\r');
		buf_add_char(&want, text[i] ? text[i] : (char)0x80);
	}
	fd = file_of(str_make(text, LEN), 7);
	for (uint64_t off = 0; off < 5000; off += 617) {
		struct section_data d = {.stored = str_make(text, LEN),
			.size = want.len,
			.bare_lf = want.len - LEN,
			.file = turn++ % 2 ? NULL : &fd,
			.file_off = 7};
		uint64_t count = want.len - off - off % 3;
		struct buf got = {0};

		assert_int_equal(section_write(&d, off, count, 0, collect, &got), OK);
		assert_int_equal(got.len, count);
		assert_memory_equal(got.p, want.p + off, count);
		buf_free(&got);
	}
	close(fd);
	buf_free(&want);
	free(text);
}

static void
notices_a_file_that_was_cut_short(void **state)
{
	char text[1000] = "";
	struct section_data d = {
		.stored = str_make(text, sizeof(text)), .size = sizeof(text) + 1, .bare_lf = 1};
	struct buf got = {0};
	int fd;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[500] = '\n';
	fd = file_of(str_make(text, 100), 0);
	d.file = &fd;
	assert_int_equal(section_write(&d, 0, UINT64_MAX, 0, collect, &got), E_CORRUPT);
	close(fd);
	buf_free(&got);
}

static void
hints_are_only_hints(void **state)
{
	struct section_data d = {.stored = STR("a\nb\n"), .size = 6, .bare_lf = 2};
	struct buf b = {0};

	(void)state;
	d.hint_off = 2;
	d.hint_stored = 1000;
	assert_int_equal(section_write(&d, 4, 2, 0, collect, &b), OK);
	assert_string_equal(buf_cstr(&b), "\r\n");
	buf_reset(&b);
	assert_int_equal(section_write_crlf((struct str){"a\0b", 3}, 0, collect, &b), OK);
	assert_memory_equal(b.p,
		"a\x80"
		"b",
		3);
	buf_reset(&b);
	assert_int_equal(
		section_write_crlf((struct str){"a\0\n", 3}, SECTION_KEEP_NUL, collect, &b), OK);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.p, "a\0\r\n", 4);
	buf_free(&b);
}

static void
selects_header_fields(void **state)
{
	static const struct str names[] = {{"to", 2}, {"SUBJECT", 7}};
	static const char block[] = "To: a\n b\nFrom: x\r\njunk\nSubject : y";
	struct buf b = {0};

	(void)state;
	assert_int_equal(section_header_fields(str_of(block), names, 2, 0, &b), OK);
	assert_string_equal(buf_cstr(&b), "To: a\r\n b\r\nSubject : y\r\n\r\n");
	buf_reset(&b);
	assert_int_equal(section_header_fields(str_of(block), names, 2, 1, &b), OK);
	assert_string_equal(buf_cstr(&b), "From: x\r\njunk\r\n\r\n");
	buf_free(&b);
}

static void
a_table_that_does_not_fit_is_noticed(void **state)
{
	struct part_entry e = {.header_len = 4, .body_len = 10, .number = 1};
	struct part_table t = {&e, 1}, none = {NULL, 0};
	struct section s;
	struct section_data d;
	struct buf b = {0};

	(void)state;
	assert_int_equal(section_parse(STR("TEXT"), &s), OK);
	assert_int_equal(section_open(&s, &t, STR("A:b\n"), &d), E_CORRUPT);
	assert_int_equal(section_open(&s, &none, STR("A:b\n"), &d), E_CORRUPT);
	e.header_len = UINT64_MAX;
	assert_int_equal(section_open(&s, &t, STR("A:b\n"), &d), E_CORRUPT);
	section_fini(&s);
	assert_int_equal(section_parse(STR(""), &s), OK);
	assert_int_equal(section_open(&s, &t, STR("A:b\n"), &d), E_CORRUPT);
	section_fini(&s);
	/* More bare line ends announced than there are. */
	d = (struct section_data){.stored = STR("abc\n"), .size = 9, .bare_lf = 5};
	assert_int_equal(section_write(&d, 0, 9, 0, collect, &b), E_CORRUPT);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_stands_between_the_brackets),
		cmocka_unit_test(refuses_what_is_no_section),
		cmocka_unit_test(finds_sections),
		cmocka_unit_test(follows_a_message_in_a_message),
		cmocka_unit_test(writes_every_range_alike),
		cmocka_unit_test(widens_long_texts),
		cmocka_unit_test(notices_a_file_that_was_cut_short),
		cmocka_unit_test(hints_are_only_hints),
		cmocka_unit_test(selects_header_fields),
		cmocka_unit_test(a_table_that_does_not_fit_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
