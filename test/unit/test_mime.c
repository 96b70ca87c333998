/* SPDX-License-Identifier: MIT */
#include "mail/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"

/*
 * The tree in one line: type[header offset+length body length/lines/bare line ends], children in
 * parentheses.
 */
static void
show(const struct mime_part *p, struct buf *out)
{
	buf_printf(out, "%.*s[%u+%u %u/%u/%u]", STR_ARG(p->subtype), (unsigned)p->header_off,
		(unsigned)p->header_len, (unsigned)p->body_len, (unsigned)p->body_lines,
		(unsigned)p->body_bare_lf);
	if (!p->child)
		return;
	buf_add_char(out, '(');
	for (const struct mime_part *c = p->child; c; c = c->next) {
		if (c != p->child)
			buf_add_char(out, ' ');
		show(c, out);
	}
	buf_add_char(out, ')');
}

#define MULTI "Content-Type: multipart/mixed; boundary=b\n\n" /* 43 bytes */

static const struct {
	const char *in, *out;
} tree_cases[] = {
	{"", "plain[0+0 0/0/0]"},
	{"\n", "plain[0+1 0/0/0]"},
	{"\r\n", "plain[0+2 0/0/0]"},
	{"a", "plain[0+1 0/0/0]"},
	{"a: b\n", "plain[0+5 0/0/0]"},
	{"a: b\n\nx", "plain[0+6 1/0/0]"},
	{"a: b\r\n\r\nx\r\ny\n", "plain[0+8 5/2/1]"},
	{"\nx\ry\r", "plain[0+1 4/0/0]"},
	{"\n\r\r\n", "plain[0+1 3/1/0]"},
	{MULTI, "mixed[0+43 0/0/0]"},
	{MULTI "no boundary\n", "mixed[0+43 12/1/1]"},
	{MULTI "--b", "mixed[0+43 3/0/0](plain[46+0 0/0/0])"},
	{MULTI "--b--", "mixed[0+43 5/0/0]"},
	{MULTI "--b\n", "mixed[0+43 4/1/1](plain[47+0 0/0/0])"},
	{MULTI "--b\n\nx\n--b--\n", "mixed[0+43 13/4/4](plain[47+1 1/0/0])"},
	{MULTI "--b\n\nx\r\n--b--\n", "mixed[0+43 14/4/3](plain[47+1 1/0/0])"},
	{MULTI "pre\n--b\n\nx\ny\n--b \nA: b\n\n--b--\nepi\n--b\nno",
		"mixed[0+43 40/11/11](plain[51+1 3/1/1] plain[61+6 0/0/0])"},
	/* A header that a boundary ends. */
	{MULTI "--b\nA: b\n--b\n--b--\n",
		"mixed[0+43 19/4/4](plain[47+4 0/0/0] plain[56+0 0/0/0])"},
	/* The boundary may begin a longer line, and an empty body has no line end to give. */
	{MULTI "--bxyz\n\n\n--b--\n", "mixed[0+43 15/4/4](plain[50+1 0/0/0])"},
	{MULTI "-\n--\n-b\n --b\n", "mixed[0+43 13/4/4]"},
	{"Content-Type: multipart/mixed\n\n--\n\n--\n", "mixed[0+31 7/3/3]"},
	{"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n", "mixed[0+44 3/1/1]"},
	{"Content-Type: multipart/digest; boundary=b\n\n--b\n\nS: x\n\ny\n--b--",
		"digest[0+44 18/5/5](rfc822[48+1 7/2/2](plain[49+6 1/0/0]))"},
	{"Content-Type: message/rfc822\n\nS: x\n\nbody\n",
		"rfc822[0+30 11/3/3](plain[30+6 5/1/1])"},
	{"Content-Type: message/rfc822\n\nS: x", "rfc822[0+30 4/0/0](plain[30+4 0/0/0])"},
	{"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nUzog\n",
		"rfc822[0+64 5/1/1]"},
	/* Inner boundaries: an outer one ends all inside it. */
	{MULTI "--b\nContent-Type: multipart/x; boundary=bc\n\n--bc\n\n1\n--bc\n\n2\n--b\n\n3\n--b--\n",
		"mixed[0+43 73/13/13](x[47+40 15/5/5](plain[92+1 1/0/0] plain[100+1 1/0/0]) "
		"plain[107+1 1/0/0])"},
	/* The same boundary again: the inner one has it. */
	{MULTI "--b\nContent-Type: multipart/x; boundary=b\n\n--b\n\n1\n--b--\n--b--\n",
		"mixed[0+43 62/8/8](x[47+39 12/3/3](plain[90+1 1/0/0]))"},
	/* No part ends before what is inside it, also where one line end would have two owners. */
	{MULTI "--b\nContent-Type: multipart/x; boundary=c\n\n--c\n\n--b--\n",
		"mixed[0+43 54/6/6](x[47+39 5/2/2](plain[90+1 0/0/0]))"},
	{MULTI "--b\nContent-Type: multipart/x; boundary=c\n\n--c\n--b--\n",
		"mixed[0+43 53/5/5](x[47+39 4/1/1](plain[90+0 0/0/0]))"},
	{"Content-Type: text\nContent-Type: text/html\n\n", "html[0+44 0/0/0]"},
	{"Content-Type: text/html\nContent-Type: text/plain\n\n", "html[0+50 0/0/0]"},
	{"Content-Type: (c) text (d) / (e) html (f)\n\n", "html[0+43 0/0/0]"},
	{" folded: x\n\n", "plain[0+12 0/0/0]"},
};

static void
describes_the_tree(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tree_cases) / sizeof(tree_cases[0]); i++) {
		struct mime_message *m;
		struct buf b = {0};

		mime_parse(str_of(tree_cases[i].in), NULL, &m);
		show(m->root, &b);
		if (strcmp(buf_cstr(&b), tree_cases[i].out) != 0)
			print_error("%s\n  gives %s\n  not   %s\n", tree_cases[i].in, buf_cstr(&b),
				tree_cases[i].out);
		assert_string_equal(buf_cstr(&b), tree_cases[i].out);
		assert_int_equal(m->size, strlen(tree_cases[i].in));
		buf_free(&b);
		mime_message_free(&m);
	}
}

static void
parse_in_steps(struct str in, size_t step, struct mime_message **out)
{
	struct mime_parser *p = mime_parser_create(NULL);

	for (size_t at = 0; at < in.len; at += step)
		mime_parser_feed(p, in.p + at, in.len - at < step ? in.len - at : step);
	mime_parser_finish(p, out);
	mime_parser_free(&p);
}

static void
is_the_same_in_pieces_of_any_size(void **state)
{
	struct buf huge = {0};

	(void)state;
	/* A boundary line longer than a boundary, and one that only looks like it. */
	buf_add_cstr(&huge, MULTI "--b");
	for (int i = 0; i < 600; i++)
		buf_add_char(&huge, '-');
	buf_add_cstr(&huge, "\n\n--c");
	for (int i = 0; i < 600; i++)
		buf_add_char(&huge, 'x');
	buf_add_cstr(&huge, "\n--b");
	for (int i = 0; i < 300; i++)
		buf_add_char(&huge, ' ');
	buf_add_cstr(&huge, "\r\nA: b\r\n\r\nlast\r\n--b--");
	for (size_t i = 0; i <= sizeof(tree_cases) / sizeof(tree_cases[0]); i++) {
		struct str in = i < sizeof(tree_cases) / sizeof(tree_cases[0])
					? str_of(tree_cases[i].in)
					: buf_str(&huge);
		struct mime_message *m;
		struct buf whole = {0};

		mime_parse(in, NULL, &m);
		show(m->root, &whole);
		buf_printf(&whole, " %u", (unsigned)m->size_crlf);
		mime_message_free(&m);
		for (size_t step = 1; step < 12; step++) {
			struct buf b = {0};

			parse_in_steps(in, step, &m);
			show(m->root, &b);
			buf_printf(&b, " %u", (unsigned)m->size_crlf);
			assert_string_equal(buf_cstr(&b), buf_cstr(&whole));
			buf_free(&b);
			mime_message_free(&m);
		}
		buf_free(&whole);
	}
	buf_free(&huge);
}

/* name=value(raw) of each parameter; "*" behind the name when the raw form is extended. */
static const struct {
	const char *in, *out;
} param_cases[] = {
	{"a=b", "a=b(b)"},
	{"a=b; c=\"d;\\\"e\"", "a=b(b) c=d;\"e(d;\"e)"},
	{"a = b (comment) ; c = d", "a=b(b) c=d(d)"},
	{"a=b;;; ;c=d;", "a=b(b) c=d(d)"},
	{"a; =b; c=d", "c=d(d)"},
	{"a=", "a=()"},
	{"a=\"unterminated", "a=unterminated(unterminated)"},
	{"a=my file.pdf; b=c", "a=my file.pdf(my file.pdf) b=c(c)"},
	{"a=1; A=2", "a=1(1)"},
	/* RFC 2231. */
	{"a*0=b; a*1=c", "a=bc(bc)"},
	{"a*1=c; a*0=b", "a=bc(bc)"},
	{"a*0=b; a*2=d", "a=b(b)"},
	{"a*1=c", ""},
	{"a*=us-ascii'en-us'This%20is", "a*=This is(us-ascii'en-us'This%20is)"},
	{"a*=utf-8''%C3%A4", "a*=\xc3\xa4(utf-8''%C3%A4)"},
	{"a*0*=utf-8''%C3; a*1*=%A4; a*2=\" x\"", "a*=\xc3\xa4 x(utf-8''%C3%A4%20x)"},
	{"a*0*=us-ascii'en'x%2a%2a; a*1*=%2a; a*2=\"y\"", "a*=x***y(us-ascii'en'x%2a%2a%2ay)"},
	{"a=plain; a*=utf-8''%41", "a*=A(utf-8''%41)"},
	{"a*=utf-8''%41; a=plain", "a*=A(utf-8''%41)"},
	{"a*=%41", "a*=A(''%41)"},
	{"a*=utf-8''%4", "a*=%4(utf-8''%4)"},
	{"a*=utf-8''%ff", "a*=\xef\xbf\xbd(utf-8''%ff)"},
	{"a*x=1; a**=2; *=3; a*99999999999=4", "a*x=1(1) a**=2(2) *=3(3) a*99999999999=4(4)"},
	{"a=\"=?utf-8?q?=C3=A4?=\"", "a=\xc3\xa4(=?utf-8?q?=C3=A4?=)"},
	{"a=\"\xc3\xa4\"", "a=\xc3\xa4(\xc3\xa4)"},
};

static void
reads_parameters(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(param_cases) / sizeof(param_cases[0]); i++) {
		struct mime_message *m;
		struct buf in = {0}, b = {0};

		buf_printf(&in, "Content-Type: x/y; %s\n\n", param_cases[i].in);
		mime_parse(buf_str(&in), NULL, &m);
		for (size_t k = 0; k < m->root->params.n; k++) {
			const struct mime_param *p = &m->root->params.v[k];

			buf_printf(&b, "%s%.*s%s=%.*s(%.*s)", k ? " " : "", STR_ARG(p->name),
				p->extended ? "*" : "", STR_ARG(p->value), STR_ARG(p->raw));
		}
		if (strcmp(buf_cstr(&b), param_cases[i].out) != 0)
			fail_msg("%s gives %s", param_cases[i].in, buf_cstr(&b));
		buf_free(&in);
		buf_free(&b);
		mime_message_free(&m);
	}
}

static void
reads_content_fields(void **state)
{
	struct mime_message *m;
	const struct mime_part *r;

	(void)state;
	mime_parse(STR("content-type: Text/HTML;\r\n charset=utf-8\r\n"
		       "Content-Transfer-Encoding: Quoted-Printable (x)\r\n"
		       "Content-ID:\r\n <a@b>\r\nContent-Description: d e\r\nContent-MD5: q==\r\n"
		       "Content-Location: http://x/\r\nContent-Language: en, de (x) ,,fr\r\n"
		       "Content-Disposition: attachment; filename=f\r\n\r\n"),
		NULL, &m);
	r = m->root;
	assert_true(r->has_type && str_is(r->type, "Text") && str_is(r->subtype, "HTML"));
	assert_true(str_is(mime_param_find(&r->params, "CHARSET")->value, "utf-8"));
	assert_int_equal(r->encoding, MAIL_ENCODING_QP);
	assert_true(str_is(r->content_id, "<a@b>"));
	assert_true(str_is(r->description, "d e"));
	assert_true(str_is(r->md5, "q=="));
	assert_true(str_is(r->location, "http://x/"));
	assert_int_equal(r->language_count, 3);
	assert_true(str_is(r->languages[2], "fr"));
	assert_true(str_is(r->disposition, "attachment"));
	assert_true(str_is(mime_param_find(&r->disposition_params, "filename")->value, "f"));
	mime_message_free(&m);
}

static void
keeps_header_fields(void **state)
{
	static const char in[] = "A: 1\r\nB : x\r\n y\r\njunk\r\nA: 2\r\n\r\nC: 3\r\n";
	struct mime_message *m;
	const struct mime_part *r;

	(void)state;
	mime_parse(str_of(in), NULL, &m);
	r = m->root;
	assert_int_equal(r->field_count, 3);
	assert_false(r->fields_cut);
	assert_true(str_is(r->fields[1].name, "B"));
	assert_true(str_is(r->fields[1].value, " x\r\n y"));
	assert_true(str_is(r->fields[1].whole, "B : x\r\n y\r\n"));
	assert_int_equal(r->fields[1].off, 6);
	assert_true(str_is(mime_field_find(r, "a")->value, " 1"));
	assert_null(mime_field_find(r, "C"));
	mime_message_free(&m);
}

static const struct {
	const char *in, *out;
} preview_cases[] = {
	{"\nHello\n", "Hello\n"},
	{"Content-Type: image/png\n\nHello\n", ""},
	{"Content-Type: text/html\n\n<p>Hi &amp; bye</p>\n", "Hi & bye"},
	{"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n"
	 "\n=E4=\n=E4\n",
		"\xc3\xa4\xc3\xa4\n"},
	{"Content-Transfer-Encoding: base64\n\naGVs\nbG8=\n", "hello"},
	{"Content-Type: text/plain; charset=utf-8\n\na\xc3", "a\xef\xbf\xbd"},
	{"Content-Disposition: attachment\n\nHello\n", ""},
	{MULTI "--b\nContent-Type: text/html\n\nhtml\n--b\n\nplain\n--b--", "plain"},
	{MULTI "--b\n\n \n--b\nContent-Type: text/html\n\nhtml\n--b--", "html"},
	{MULTI "--b\n\none\n--b\n\ntwo\n--b--", "one\n"},
};

static void
gathers_a_preview(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(preview_cases) / sizeof(preview_cases[0]); i++) {
		for (size_t step = 1; step < 100; step += 7) {
			struct mime_message *m;

			parse_in_steps(str_of(preview_cases[i].in), step, &m);
			if (!str_equal(
				    str_trim(m->preview), str_trim(str_of(preview_cases[i].out))))
				fail_msg("%s gives %.*s", preview_cases[i].in, STR_ARG(m->preview));
			mime_message_free(&m);
		}
	}
}

static unsigned
depth_of(const struct mime_message *m)
{
	unsigned depth = 0;

	for (const struct mime_part *p = m->root; p; p = mime_part_next(p))
		depth = p->depth > depth ? p->depth : depth;
	return depth;
}

static void
nesting_is_bounded(void **state)
{
	static const char *const kinds[] = {"Content-Type: message/rfc822\n\n",
		"Content-Type: multipart/digest; boundary=b\n\n--b\n\n"};

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct buf in = {0};
		struct mime_message *m;

		for (int i = 0; i < 10000; i++) {
			if (k < 2)
				buf_add_cstr(&in, kinds[k]);
			else
				buf_printf(&in,
					"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i,
					i);
		}
		mime_parse(buf_str(&in), NULL, &m);
		assert_int_equal(m->size, in.len);
		assert_int_equal(depth_of(m), 63);
		mime_message_free(&m);
		buf_free(&in);
	}
}

static void
thousands_of_parts_are_bounded(void **state)
{
	struct buf in = {0};
	struct mime_message *m;
	unsigned n = 0;

	(void)state;
	buf_add_cstr(&in, MULTI);
	for (int i = 0; i < 100000; i++)
		buf_add_cstr(&in, "--b\n\n\n");
	mime_parse(buf_str(&in), NULL, &m);
	assert_int_equal(m->part_count, 1000);
	for (const struct mime_part *p = m->root; p; p = mime_part_next(p))
		n++;
	assert_int_equal(n, 1000);
	assert_int_equal(m->size, in.len);
	mime_message_free(&m);
	buf_free(&in);
}

static void
huge_headers_are_bounded(void **state)
{
	static const char *const lines[] = {"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
		" aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "To: a@b\n", "a"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct mime_parser *p = mime_parser_create(NULL);
		struct mime_message *m;
		struct buf piece = {0};
		uint64_t total = 0;

		while (piece.len < 65536)
			buf_add_cstr(&piece, lines[i]);
		mime_parser_feed(p, "From: a@b\n", 10);
		while (total < 50 << 20) {
			mime_parser_feed(p, piece.p, piece.len);
			total += piece.len;
		}
		mime_parser_feed(p, "\n\nbody", 6);
		mime_parser_finish(p, &m);
		assert_int_equal(m->size, total + 16);
		assert_true(m->root->fields_cut);
		assert_true(m->root->field_count <= 2000);
		assert_true(m->root->header_len >= total);
		mime_message_free(&m);
		mime_parser_free(&p);
		buf_free(&piece);
	}
}

static void
many_parameters_are_bounded(void **state)
{
	struct mime_limits wide = {.header_bytes = 8 << 20, .header_total = 8 << 20};
	struct mime_message *m;
	struct buf in = {0};

	(void)state;
	buf_add_cstr(&in, "Content-Type: text/plain");
	for (int i = 0; i < 50000; i++)
		buf_printf(&in, ";\n a*%d*=b%%41", i);
	buf_add_cstr(&in, "\n\n");
	mime_parse(buf_str(&in), &wide, &m);
	assert_int_equal(m->root->params.n, 1);
	assert_int_equal(m->root->params.v[0].value.len, 200);
	mime_message_free(&m);
	mime_parse(buf_str(&in), NULL, &m);
	assert_int_equal(m->root->params.n, 0);
	assert_true(m->root->fields_cut);
	mime_message_free(&m);
	buf_free(&in);
}

static void
hostile_boundaries_take_linear_time(void **state)
{
	struct buf head = {0}, in = {0};
	struct mime_message *m;

	(void)state;
	/* Sixty open boundaries that differ in their last bytes only, and a body that nearly has
	 * them. */
	for (int i = 0; i < 62; i++) {
		struct buf b = {0};

		for (int k = 0; k < 240; k++)
			buf_add_char(&b, 'x');
		buf_printf(&head, "Content-Type: multipart/mixed; boundary=%.*s%d\n\n--%.*s%d\n",
			(int)b.len, b.p, i, (int)b.len, b.p, i);
		buf_free(&b);
	}
	buf_add_char(&head, '\n');
	for (int kind = 0; kind < 4; kind++) {
		buf_reset(&in);
		buf_add_buf(&in, &head);
		while (in.len < 8 << 20) {
			if (kind == 0)
				for (int k = 0; k < 242; k++)
					buf_add_char(&in, k < 2 ? '-' : 'x');
			if (kind == 1)
				buf_add_cstr(&in, "--x");
			if (kind == 2)
				buf_add_char(&in, '-');
			buf_add_char(&in, '\n');
		}
		mime_parse(buf_str(&in), NULL, &m);
		assert_int_equal(m->size, in.len);
		mime_message_free(&m);
	}
	buf_free(&head);
	buf_free(&in);
}

static void
every_limit_can_be_one(void **state)
{
	struct mime_limits one = {1, 1, 1, 1, 1, 1, 1};

	(void)state;
	for (size_t i = 0; i < sizeof(tree_cases) / sizeof(tree_cases[0]); i++) {
		struct mime_message *m;

		mime_parse(str_of(tree_cases[i].in), &one, &m);
		assert_int_equal(m->size, strlen(tree_cases[i].in));
		assert_int_equal(m->part_count, 1);
		mime_message_free(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describes_the_tree),
		cmocka_unit_test(is_the_same_in_pieces_of_any_size),
		cmocka_unit_test(reads_parameters),
		cmocka_unit_test(reads_content_fields),
		cmocka_unit_test(keeps_header_fields),
		cmocka_unit_test(gathers_a_preview),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(thousands_of_parts_are_bounded),
		cmocka_unit_test(huge_headers_are_bounded),
		cmocka_unit_test(many_parameters_are_bounded),
		cmocka_unit_test(hostile_boundaries_take_linear_time),
		cmocka_unit_test(every_limit_can_be_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
