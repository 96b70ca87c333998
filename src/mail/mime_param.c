/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "lib/hex.h"
#include "mail/charset.h"
#include "mail/mime_private.h"
#include "mail/rfc2047.h"

/* A parameter as it stands: "filename*1*=…" has base "filename", section 1, extended. */
struct raw_param {
	struct str base, value;
	int section; /* -1: none */
	int extended;
	int used;
};

enum { SECTION_LIMIT = 9999 };

static void
skip(struct str *s, size_t n)
{
	if (!n)
		return;
	s->p += n;
	s->len -= n;
}

void
mime_skip_cfws(struct str *s)
{
	unsigned depth = 0;
	size_t i = 0;

	if (!s->len)
		return; /* p may be NULL */

	for (; i < s->len; i++) {
		char c = s->p[i];

		if (c == '\\' && depth && i + 1 < s->len)
			i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (!depth && !str_is_space(c))
			break;
	}
	s->p += i;
	s->len -= i;
}

struct str
mime_take_token(struct str *s)
{
	struct str t = {s->p, 0};

	while (t.len < s->len && !str_is_space(s->p[t.len]) && s->p[t.len] &&
		!strchr("()<>@,;:\\\"/[]?=", s->p[t.len]))
		t.len++;
	skip(s, t.len);
	return t;
}

/* At a double quote. */
static struct str
take_quoted(struct str *s, struct mime_arena *a)
{
	char *text = mime_arena_alloc(a, s->len);
	size_t n = 0, i = 1;

	for (; i < s->len && s->p[i] != '"'; i++) {
		if (s->p[i] == '\\' && i + 1 < s->len)
			i++;
		text[n++] = s->p[i];
	}
	skip(s, i < s->len ? i + 1 : i);
	return str_make(text, n);
}

/* A value without quotes; blanks inside are not allowed but common ("filename=my file.pdf"). */
static struct str
take_bare(struct str *s)
{
	size_t end = str_find(*s, 0, ';'), n = 0;
	struct str whole = str_make(s->p, end), rest;

	while (n < end && !str_is_space(whole.p[n]) && whole.p[n] != '(')
		n++;
	rest = str_make(whole.p + n, end - n);
	mime_skip_cfws(&rest);
	skip(s, end);
	return rest.len ? str_trim(whole) : str_make(whole.p, n);
}

/* Splits "name*section*" (RFC 2231 section 7). A name that is not of the form is taken whole. */
static void
split_name(struct str name, struct raw_param *r)
{
	size_t star = str_find(name, 0, '*');
	struct str rest;
	uint32_t n;

	r->base = name;
	r->section = -1;
	r->extended = 0;
	if (star == name.len || star == 0)
		return;
	rest = str_make(name.p + star + 1, name.len - star - 1);
	if (rest.len && rest.p[rest.len - 1] == '*') {
		r->extended = 1;
		rest.len--;
	} else if (!rest.len) {
		r->extended = 1;
		r->base.len = star;
		return;
	}
	if (str_to_u32(rest, &n) || n > SECTION_LIMIT) {
		r->extended = 0;
		return;
	}
	r->section = (int)n;
	r->base.len = star;
}

static unsigned
raw_params(struct str s, struct raw_param *v, unsigned max, struct mime_arena *a)
{
	unsigned n = 0;

	while (n < max) {
		struct str name;

		mime_skip_cfws(&s);
		while (s.len && s.p[0] == ';') {
			skip(&s, 1);
			mime_skip_cfws(&s);
		}
		if (!s.len)
			break;
		name = mime_take_token(&s);
		mime_skip_cfws(&s);
		if (!name.len || !s.len || s.p[0] != '=') {
			skip(&s, str_find(s, 0, ';'));
			continue;
		}
		skip(&s, 1);
		mime_skip_cfws(&s);
		split_name(name, &v[n]);
		v[n].used = 0;
		v[n].value = s.len && s.p[0] == '"' ? take_quoted(&s, a) : take_bare(&s);
		n++;
		skip(&s, str_find(s, 0, ';'));
	}
	return n;
}

static void
percent_decode(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		int hi = -1, lo = -1;

		if (s.p[i] == '%' && i + 2 < s.len) {
			hi = hex_value(s.p[i + 1]);
			lo = hex_value(s.p[i + 2]);
		}
		if (hi < 0 || lo < 0) {
			buf_add_char(out, s.p[i]);
			continue;
		}
		buf_add_char(out, (char)(hi * 16 + lo));
		i += 2;
	}
}

/* A plain segment among extended ones goes to the client in their form. */
static void
percent_encode(struct str s, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (str_is_alnum((char)c) || (c && strchr("!#$&+-.^_`{|}~", c))) {
			buf_add_char(out, (char)c);
		} else {
			buf_add_char(out, '%');
			buf_add_char(out, hex[c >> 4]);
			buf_add_char(out, hex[c & 15]);
		}
	}
}

struct joined {
	struct buf raw, bytes;
	struct str charset;
	int extended;
};

static void
join_segment(struct joined *j, const struct raw_param *r, int first)
{
	struct str v = r->value;

	if (first && r->extended) {
		size_t q1 = str_find(v, 0, '\''), q2 = str_find(v, q1 + 1, '\'');

		j->extended = 1;
		if (q2 < v.len) {
			j->charset = str_make(v.p, q1);
			buf_add(&j->raw, v.p, q2 + 1);
			v = str_make(v.p + q2 + 1, v.len - q2 - 1);
		} else {
			buf_add_cstr(&j->raw, "''"); /* neither charset nor language was given */
		}
	}
	if (!j->extended) {
		buf_add_str(&j->raw, v);
		buf_add_str(&j->bytes, v);
	} else if (r->extended) {
		buf_add_str(&j->raw, v);
		percent_decode(v, &j->bytes);
	} else {
		percent_encode(v, &j->raw);
		buf_add_str(&j->bytes, v);
	}
}

static struct raw_param *
find_section(struct raw_param *v, unsigned n, struct str base, int section)
{
	for (unsigned i = 0; i < n; i++)
		if (v[i].section == section && str_equal_i(v[i].base, base))
			return &v[i];
	return NULL;
}

/*
 * The segments of one name: the plain form only when there is no better one. 0 when there is
 * nothing, since the first segment is missing.
 */
static int
join(struct raw_param *v, unsigned n, struct str base, struct joined *j)
{
	struct raw_param *whole = NULL, *seg;

	for (unsigned i = 0; i < n; i++) {
		if (v[i].used || !str_equal_i(v[i].base, base))
			continue;
		v[i].used = 1;
		if (v[i].section < 0 && (!whole || (v[i].extended && !whole->extended)))
			whole = &v[i];
	}
	seg = find_section(v, n, base, 0);
	if (whole && (whole->extended || !seg)) {
		join_segment(j, whole, 1);
		return 1;
	}
	if (!seg)
		return 0;
	for (int section = 0; seg; seg = find_section(v, n, base, ++section))
		join_segment(j, seg, section == 0);
	return 1;
}

static void
joined_value(const struct joined *j, struct buf *out)
{
	struct str bytes = buf_str(&j->bytes);

	if (j->extended)
		charset_to_utf8(j->charset, bytes, out);
	else if (str_find_str(bytes, STR("=?")) != bytes.len)
		rfc2047_decode(bytes, out); /* forbidden, and what many senders do */
	else
		charset_utf8_clean(bytes, out);
}

void
mime_params_parse(struct str s, unsigned max, struct mime_arena *a, struct mime_params *out)
{
	struct raw_param one[4], *v = one;
	struct buf value = BUF_INIT(0);
	struct joined j = {0};
	unsigned n, guess = 1;

	*out = (struct mime_params){0};
	for (size_t i = 0; i < s.len && guess < max; i++)
		guess += s.p[i] == ';';
	if (guess < max)
		max = guess;
	if (max > sizeof(one) / sizeof(one[0]))
		v = mime_arena_alloc(a, max * sizeof(*v));
	n = raw_params(s, v, max, a);
	if (n)
		out->v = mime_arena_alloc(a, n * sizeof(*out->v));
	for (unsigned i = 0; i < n; i++) {
		struct mime_param *p = &out->v[out->n];

		if (v[i].used)
			continue;
		if (v[i].section < 0 && !v[i].extended && str_is_ascii(v[i].value) && n == 1 &&
			str_find_str(v[i].value, STR("=?")) == v[i].value.len) {
			p->name = mime_arena_dup(a, v[i].base);
			p->raw = p->value = mime_arena_dup(a, v[i].value);
			out->n++;
			continue;
		}
		buf_reset(&j.raw);
		buf_reset(&j.bytes);
		buf_reset(&value);
		j.extended = 0;
		j.charset = (struct str){0};
		if (!join(v, n, v[i].base, &j))
			continue;
		joined_value(&j, &value);
		p->name = mime_arena_dup(a, v[i].base);
		p->value = mime_arena_dup(a, buf_str(&value));
		p->raw = mime_arena_dup(a, buf_str(&j.raw));
		p->extended = j.extended;
		out->n++;
	}
	buf_free(&j.raw);
	buf_free(&j.bytes);
	buf_free(&value);
}
