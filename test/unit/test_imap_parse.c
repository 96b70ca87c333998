/* SPDX-License-Identifier: MIT */
#include "imap/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index/index_client.h"
#include "lib/buf.h"

/* A client's bytes, as the session's source would give them. */
struct script {
	struct str rest;
	int asked; /* literals that were asked for */
	uint64_t skipped;
};

static enum err
script_line(void *ctx, struct str *line)
{
	struct script *s = ctx;
	size_t lf = str_find(s->rest, 0, '\n');

	if (lf == s->rest.len)
		return E_CLOSED;
	*line = str_make(s->rest.p, lf);
	if (lf > 0 && line->p[lf - 1] == '\r')
		line->len--;
	s->rest = str_make(s->rest.p + lf + 1, s->rest.len - lf - 1);
	return line->len > 60000 ? E_TOOBIG : OK;
}

static enum err
script_literal(void *ctx, int sync, char *p, size_t size)
{
	struct script *s = ctx;

	s->asked += sync;
	if (size > s->rest.len)
		return E_CLOSED;
	memcpy(p, s->rest.p, size);
	s->rest = str_make(s->rest.p + size, s->rest.len - size);
	return OK;
}

static enum err
script_skip(void *ctx, uint64_t size)
{
	struct script *s = ctx;

	if (size > s->rest.len)
		return E_CLOSED;
	s->skipped += size;
	s->rest = str_make(s->rest.p + size, s->rest.len - size);
	return OK;
}

static struct script script;
static struct imap_parser parser;

/* Begins a command; text without its last CRLF. */
static struct imap_parser *
begin_bytes(struct str text)
{
	static struct buf bytes;
	struct imap_source source = {script_line, script_literal, script_skip, &script};

	buf_free(&bytes);
	(void)buf_add_str(&bytes, text);
	(void)buf_add_cstr(&bytes, "\r\n");
	script = (struct script){.rest = buf_str(&bytes)};
	imap_parser_reset(&parser);
	imap_parser_init(&parser, &source);
	(void)imap_parser_next(&parser);
	return &parser;
}

static struct imap_parser *
begin(const char *text)
{
	return begin_bytes(str_of(text));
}

static int
end(void **state)
{
	(void)state;
	imap_parser_reset(&parser);
	(void)begin("");
	imap_parser_reset(&parser);
	return 0;
}

#define assert_str(got, want) assert_true(str_is(got, want))

static void
words(void **state)
{
	struct str out;
	struct imap_parser *p = begin("a1 LOGIN FETCH.x-2[ a]b {3}\r\nx y");

	(void)state;
	assert_int_equal(imap_parse_tag(p, &out), OK);
	assert_str(out, "a1");
	assert_int_equal(imap_parse_space(p), OK);
	assert_true(imap_parse_peek_word(p, "login"));
	assert_false(imap_parse_peek_word(p, "log"));
	assert_int_equal(imap_parse_atom(p, "expected a command", &out), OK);
	assert_str(out, "LOGIN");
	assert_int_equal(imap_parse_space(p), OK);
	assert_int_equal(imap_parse_word(p, "", &out), OK);
	assert_str(out, "FETCH.x-2");
	assert_true(imap_parse_try(p, '['));
	assert_false(imap_parse_try(p, '['));
	assert_int_equal(imap_parse_space(p), OK);
	assert_int_equal(imap_parse_astring(p, &out), OK);
	assert_str(out, "a]b");
	assert_int_equal(imap_parse_space(p), OK);
	assert_int_equal(imap_parse_astring(p, &out), OK);
	assert_str(out, "x y");
	assert_int_equal(imap_parse_end(p), OK);
	assert_int_equal(script.asked, 1);
}

static void
strings(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
		uint64_t position;
	} cases[] = {
		{"\"\"", "", 0},
		{"\"a b\"", "a b", 0},
		{"\"a\\\"b\\\\c\"", "a\"b\\c", 0},
		{"\"\xc3\xa4\"", "\xc3\xa4", 0},
		{"{0}\r\n", "", 0},
		{"{2}\r\n\r\n", "\r\n", 0},
		{"{3+}\r\na\"b", "a\"b", 0},
		{"{003}\r\nabc", "abc", 0},
		{"\"a\\nb\"", NULL, 4},
		{"\"abc", NULL, 1},
		{"\"abc\\", NULL, 1},
		{"\"abc\\\"", NULL, 1},
		{"abc", NULL, 1},
		{"{}", NULL, 1},
		{"{3", NULL, 1},
		{"{3}x", NULL, 1},
		{"{+}", NULL, 1},
		{"{-1}", NULL, 1},
		{"{3++}", NULL, 1},
		{"{524289}", NULL, 1},
		{"{9223372036854775807}", NULL, 1},
		{"{18446744073709551616}", NULL, 1},
		{"{99999999999999999999999999}", NULL, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_parser *p = begin(cases[i].text);
		struct str out;
		enum err e = imap_parse_string(p, &out);

		if (cases[i].want) {
			assert_int_equal(e, OK);
			assert_str(out, cases[i].want);
			assert_int_equal(imap_parse_end(p), OK);
			continue;
		}
		assert_true(e == E_PARSE || e == E_TOOBIG);
		assert_int_equal(out.len, 0);
		assert_int_equal(imap_parser_position(p), cases[i].position);
		assert_true(imap_parser_reason(p)[0] != '\0');
		assert_int_equal(script.asked, 0);
	}
}

static void
no_nul(void **state)
{
	struct str out;

	(void)state;
	assert_int_equal(imap_parse_string(begin_bytes(STR("{3}\r\na\0b")), &out), E_PARSE);
	assert_int_equal(imap_parser_position(&parser), 1);
	assert_int_equal(imap_parse_astring(begin_bytes(STR("\"a\0b\"")), &out), E_PARSE);
	assert_int_equal(imap_parse_astring(begin_bytes(STR("\0")), &out), E_PARSE);
}

/* Literals of one command share one budget. */
static void
literal_budget(void **state)
{
	struct buf text = BUF_INIT(0);
	struct str out;
	struct imap_parser *p;

	(void)state;
	(void)buf_add_cstr(&text, "{300000}\r\n");
	for (int i = 0; i < 300000; i++)
		(void)buf_add_char(&text, 'x');
	(void)buf_add_cstr(&text, " {300000}");
	p = begin_bytes(buf_str(&text));
	assert_int_equal(imap_parse_string(p, &out), OK);
	assert_int_equal(out.len, 300000);
	assert_int_equal(imap_parse_space(p), OK);
	assert_int_equal(imap_parse_string(p, &out), E_TOOBIG);
	assert_int_equal(imap_parser_position(p), 10 + 300000 + 2);
	assert_int_equal(script.asked, 1);
	buf_free(&text);
}

/* What the client sends unasked behind an error is swallowed, what it asks leave for is not. */
static void
drains(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		enum err want;
		uint64_t skipped;
		const char *rest;
	} cases[] = {
		{"(x", 100, OK, 0, ""},
		{"( {3}\r\nnext", 100, OK, 0, "next\r\n"},
		{"( {3+}\r\nabc\r\nnext", 100, OK, 3, "next\r\n"},
		{"( {3+}\r\nabc {2+}\r\nde tail\r\nnext", 100, OK, 5, "next\r\n"},
		{"( {3+}\r\nabc {2}\r\nnext", 100, OK, 3, "next\r\n"},
		{"( {300+}\r\nabc", 100, E_TOOBIG, 0, "abc\r\n"},
		{"( {18446744073709551615+}\r\nabc", UINT64_MAX - 1, E_TOOBIG, 0, "abc\r\n"},
		{"( {60+}\r\nabc", 100, E_CLOSED, 0, "abc\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_parser *p = begin(cases[i].text);
		struct str out;

		assert_int_equal(imap_parse_astring(p, &out), E_PARSE);
		assert_int_equal(imap_parser_drain(p, cases[i].max), cases[i].want);
		assert_int_equal(script.skipped, cases[i].skipped);
		assert_str(script.rest, cases[i].rest);
		assert_int_equal(imap_parser_position(p), 1);
	}
}

static void
nesting(void **state)
{
	struct buf text = BUF_INIT(0);
	struct imap_parser *p;

	(void)state;
	for (int i = 0; i < 10000; i++)
		(void)buf_add_char(&text, '(');
	p = begin_bytes(buf_str(&text));
	while (!imap_parse_open(p))
		;
	assert_int_equal(p->err, E_TOOBIG);
	assert_int_equal(imap_parser_position(p), IMAP_NEST_MAX + 1);
	buf_free(&text);
}

static void
lists(void **state)
{
	static const struct {
		const char *text;
		size_t items;
		enum err e;
	} cases[] = {
		{"()", 0, OK},
		{"(a)", 1, OK},
		{"(a b c)", 3, OK},
		{"(a ", 1, E_PARSE},
		{"(a", 1, E_PARSE},
		{"(a b", 2, E_PARSE},
		{"(a  b)", 2, E_PARSE},
		{"( a)", 1, E_PARSE},
		{"(", 0, E_PARSE},
		{"a)", 0, E_PARSE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_parser *p = begin(cases[i].text);
		struct str out;
		size_t n = 0;

		(void)imap_parse_open(p);
		while (imap_parse_item(p, &n))
			(void)imap_parse_atom(p, "expected an atom", &out);
		assert_int_equal(p->err, cases[i].e);
		assert_int_equal(n, cases[i].items);
		if (!p->err)
			assert_int_equal(imap_parse_end(p), OK);
	}
}

static void
numbers(void **state)
{
	uint32_t n;
	uint64_t n64;

	(void)state;
	assert_int_equal(imap_parse_number(begin("0"), &n), OK);
	assert_int_equal(imap_parse_nz_number(begin("0"), &n), E_PARSE);
	assert_int_equal(imap_parse_number(begin("4294967295"), &n), OK);
	assert_int_equal(n, UINT32_MAX);
	assert_int_equal(imap_parse_number(begin("4294967296"), &n), E_PARSE);
	assert_int_equal(n, 0);
	assert_int_equal(imap_parse_number(begin("-1"), &n), E_PARSE);
	assert_int_equal(imap_parse_number(begin(""), &n), E_PARSE);
	assert_int_equal(imap_parse_number64(begin("9223372036854775807"), &n64), OK);
	assert_int_equal(imap_parse_number64(begin("9223372036854775808"), &n64), E_PARSE);
}

static void
mailboxes(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"inbox", "INBOX"},
		{"\"InBoX\"", "INBOX"},
		{"{5}\r\nINBOX", "INBOX"},
		{"inboxes", "inboxes"},
		{"Sent/2026", "Sent/2026"},
		{"\"&AOQ-\"", "\xc3\xa4"},
		{"a&-b", "a&b"},
		{"../x", "../x"}, /* the index refuses it */
		{"\"\"", ""},
		{"&AOQ", NULL},
		{"&-&", NULL},
		{"&AGE-", NULL}, /* "a" must not be encoded */
		{"&2AA-", NULL}, /* half of a surrogate pair */
		{"\"\xc3\xa4&\"", "\xc3\xa4&"}, /* UTF-8 may be quoted (RFC 9755 section 3) */
		{"\"\xc3\"", NULL},
		{"\"a\x01\"", NULL},
		{"{2}\r\na\n", NULL},
		{"%", NULL},
		{"(", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str out;
		enum err e = imap_parse_mailbox(begin(cases[i].text), &out);

		if (cases[i].want) {
			assert_int_equal(e, OK);
			assert_str(out, cases[i].want);
		} else {
			assert_int_equal(e, E_PARSE);
		}
	}
}

static void
flags(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		unsigned system;
		size_t keywords;
	} cases[] = {
		{"()", OK, 0, 0},
		{"(\\Seen)", OK, INDEX_SEEN, 0},
		{"(\\sEEN \\Deleted $Label1)", OK, INDEX_SEEN | INDEX_DELETED, 1},
		{"(\\Answered \\Flagged \\Draft \\Recent)", OK,
			INDEX_ANSWERED | INDEX_FLAGGED | INDEX_DRAFT, 0},
		{"(Work work WORK Play)", OK, 0, 2},
		{"\\Seen $Junk", OK, INDEX_SEEN, 1},
		{"\\Seen", OK, INDEX_SEEN, 0},
		{"(\\Foo)", E_PARSE, 0, 0},
		{"(\\*)", E_PARSE, 0, 0},
		{"(\\ Seen)", E_PARSE, 0, 0},
		{"(a\"b\")", E_PARSE, 0, 1},
		{"(a]b)", E_PARSE, 0, 1},
		{"\\Seen ", E_PARSE, INDEX_SEEN, 0},
		{"", E_PARSE, 0, 0},
		{"(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)", E_TOOBIG,
			0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_flags out;
		struct imap_parser *p = begin(cases[i].text);

		(void)imap_parse_store_flags(p, &out);
		assert_int_equal(imap_parse_end(p), cases[i].e);
		assert_int_equal(out.system, cases[i].system);
		assert_int_equal(out.count, cases[i].keywords);
		imap_flags_free(&out);
	}
}

static void
too_many_flags(void **state)
{
	struct buf text = BUF_INIT(0);
	struct imap_flags out;

	(void)state;
	for (int i = 0; i <= IMAP_FLAGS_MAX; i++)
		(void)buf_printf(&text, "%sf%d", i ? " " : "(", i);
	(void)buf_add_char(&text, ')');
	assert_int_equal(imap_parse_flag_list(begin(buf_cstr(&text)), &out), E_TOOBIG);
	assert_int_equal(out.count, IMAP_FLAGS_MAX);
	imap_flags_free(&out);
	buf_free(&text);
}

static void
dates(void **state)
{
	time_t when;
	int zone, days;

	(void)state;
	assert_int_equal(imap_parse_date(begin("1-Jan-1970"), &days), OK);
	assert_int_equal(days, 0);
	assert_int_equal(imap_parse_date(begin("\"02-jan-1970\""), &days), OK);
	assert_int_equal(days, 1);
	assert_int_equal(imap_parse_date(begin("30-Feb-2026"), &days), E_PARSE);
	assert_int_equal(imap_parse_date(begin("x"), &days), E_PARSE);
	assert_int_equal(
		imap_parse_date_time(begin("\" 1-Jan-1970 00:00:10 +0000\""), &when, &zone), OK);
	assert_int_equal(when, 10);
	assert_int_equal(imap_parse_date_time(begin("\"1-Jan-1970\""), &when, &zone), E_PARSE);
	assert_int_equal(imap_parser_position(&parser), 1);
	assert_int_equal(imap_parse_date_time(begin("NIL"), &when, &zone), E_PARSE);
}

static void
sections(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		enum section_kind kind;
		size_t path, names;
	} cases[] = {
		{"[]", OK, SECTION_ALL, 0, 0},
		{"[1.2]", OK, SECTION_ALL, 2, 0},
		{"[HEADER]", OK, SECTION_HEADER, 0, 0},
		{"[1.mime]", OK, SECTION_MIME, 1, 0},
		{"[HEADER.FIELDS (From \"To\" {2}\r\nCc)]", OK, SECTION_HEADER_FIELDS, 0, 3},
		{"[2.HEADER.FIELDS.NOT (Received)]", OK, SECTION_HEADER_FIELDS_NOT, 1, 1},
		{"[HEADER.FIELDS ()]", E_PARSE, SECTION_HEADER_FIELDS, 0, 0},
		{"[HEADER.FIELDS]", E_PARSE, SECTION_HEADER_FIELDS, 0, 0},
		{"[HEADER (a)]", E_PARSE, SECTION_HEADER, 0, 0},
		{"[0]", E_PARSE, 0, 0, 0},
		{"[1", E_PARSE, SECTION_ALL, 1, 0},
		{"1]", E_PARSE, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_parser *p = begin(cases[i].text);
		struct section out;

		(void)imap_parse_section(p, &out);
		assert_int_equal(imap_parse_end(p), cases[i].e);
		if (!p->err) {
			assert_int_equal(out.kind, cases[i].kind);
			assert_int_equal(out.path_len, cases[i].path);
			assert_int_equal(out.name_count, cases[i].names);
		}
		section_fini(&out);
	}
}

static void
partials(void **state)
{
	int given;
	uint64_t off, count;

	(void)state;
	assert_int_equal(imap_parse_partial(begin("<0.1024>"), &given, &off, &count), OK);
	assert_true(given && off == 0 && count == 1024);
	assert_int_equal(imap_parse_partial(begin(" x"), &given, &off, &count), OK);
	assert_false(given);
	assert_int_equal(imap_parse_partial(begin("<0.0>"), &given, &off, &count), E_PARSE);
	assert_int_equal(imap_parse_partial(begin("<1>"), &given, &off, &count), E_PARSE);
	assert_int_equal(imap_parse_partial(begin("<1.2"), &given, &off, &count), E_PARSE);
}

static void
first_error_stays(void **state)
{
	struct str out;
	struct imap_parser *p = begin("a (b");

	(void)state;
	assert_int_equal(imap_parse_atom(p, "", &out), OK);
	assert_int_equal(imap_parse_space(p), OK);
	assert_int_equal(imap_parse_atom(p, "expected a name", &out), E_PARSE);
	assert_int_equal(imap_parse_open(p), E_PARSE);
	assert_int_equal(imap_parse_end(p), E_PARSE);
	assert_int_equal(imap_parse_peek(p), -1);
	assert_int_equal(imap_parser_position(p), 3);
	assert_string_equal(imap_parser_reason(p), "expected a name");
}

static void
connection_errors_pass(void **state)
{
	struct str out;
	struct imap_parser *p = begin("{20}\r\nshort");

	(void)state;
	assert_int_equal(imap_parse_string(p, &out), E_CLOSED);
	assert_int_equal(imap_parse_end(p), E_CLOSED);
	assert_int_equal(imap_parser_next(p), OK); /* the script's rest */
	assert_int_equal(imap_parser_next(p), E_CLOSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words),
		cmocka_unit_test(strings),
		cmocka_unit_test(no_nul),
		cmocka_unit_test(literal_budget),
		cmocka_unit_test(drains),
		cmocka_unit_test(nesting),
		cmocka_unit_test(lists),
		cmocka_unit_test(numbers),
		cmocka_unit_test(mailboxes),
		cmocka_unit_test(flags),
		cmocka_unit_test(too_many_flags),
		cmocka_unit_test(dates),
		cmocka_unit_test(sections),
		cmocka_unit_test(partials),
		cmocka_unit_test(first_error_stays),
		cmocka_unit_test(connection_errors_pass),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
