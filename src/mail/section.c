/* SPDX-License-Identifier: MIT */
#include "mail/section.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/header.h"

static void
cut(struct str *s, size_t n)
{
	s->p += n;
	s->len -= n;
}

/* nz-number *("." nz-number), up to the text specifier. */
static enum err
parse_path(struct str *s, struct section *out)
{
	while (s->len && str_is_digit(s->p[0])) {
		size_t end = 0;
		uint32_t n;

		while (end < s->len && str_is_digit(s->p[end]))
			end++;
		if (s->p[0] == '0' || str_to_u32(str_make(s->p, end), &n))
			return E_PARSE;
		if (out->path_len == SECTION_PATH_MAX)
			return E_TOOBIG;
		out->path[out->path_len++] = n;
		cut(s, end);
		if (!s->len)
			return OK;
		if (s->p[0] != '.' || s->len == 1)
			return E_PARSE;
		cut(s, 1);
	}
	return OK;
}

static enum err
parse_specifier(struct str *s, struct section *out)
{
	static const struct {
		const char *text;
		enum section_kind kind;
	} kinds[] = {
		{"HEADER.FIELDS.NOT", SECTION_HEADER_FIELDS_NOT},
		{"HEADER.FIELDS", SECTION_HEADER_FIELDS},
		{"HEADER", SECTION_HEADER},
		{"TEXT", SECTION_TEXT},
		{"MIME", SECTION_MIME},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].text);

		if (!str_starts_i(*s, kinds[i].text) || (s->len > len && s->p[len] != ' '))
			continue;
		out->kind = kinds[i].kind;
		cut(s, len);
		/* "MIME" only makes sense for a part (RFC 9051 section 6.4.5). */
		return out->kind == SECTION_MIME && !out->path_len ? E_PARSE : OK;
	}
	return E_PARSE;
}

/* One name of the list: a quoted string or what an atom is made of. */
static enum err
parse_name(struct str *s, struct section *out)
{
	struct buf name = BUF_INIT(0);
	size_t i = 0;
	enum err e;

	if (s->p[0] == '"') {
		for (i = 1; i < s->len && s->p[i] != '"'; i++) {
			if (s->p[i] == '\\' && i + 1 < s->len)
				i++;
			buf_add_char(&name, s->p[i]);
		}
		e = i < s->len ? section_add_name(out, buf_str(&name)) : E_PARSE;
		i++;
	} else {
		while (i < s->len && s->p[i] > ' ' && s->p[i] < 0x7f &&
			!strchr("(){%*\"\\", s->p[i]))
			i++;
		e = section_add_name(out, str_make(s->p, i));
	}
	if (!e)
		cut(s, i);
	buf_free(&name);
	return e;
}

static enum err
parse_names(struct str s, struct section *out)
{
	enum err e;

	if (s.len < 2 || s.p[0] != ' ' || s.p[1] != '(')
		return E_PARSE;
	cut(&s, 2);
	while (s.len) {
		e = parse_name(&s, out);
		if (e)
			return e;
		if (s.len == 1 && s.p[0] == ')')
			return OK;
		if (!s.len || s.p[0] != ' ')
			return E_PARSE;
		cut(&s, 1);
	}
	return E_PARSE;
}

enum err
section_parse(struct str text, struct section *out)
{
	enum err e;

	*out = (struct section){.kind = SECTION_ALL};
	e = parse_path(&text, out);
	if (e || !text.len)
		return e;
	e = parse_specifier(&text, out);
	if (e || !text.len)
		return e;
	if (out->kind != SECTION_HEADER_FIELDS && out->kind != SECTION_HEADER_FIELDS_NOT)
		return E_PARSE;
	return parse_names(text, out);
}

enum err
section_add_name(struct section *s, struct str name)
{
	/* What cannot name a field: it would only corrupt the answer that repeats it. */
	if (!name.len || str_has_control(name) || !str_is_ascii(name) ||
		str_find(name, 0, ':') != name.len)
		return E_PARSE;
	if (s->name_count == SECTION_NAMES_MAX)
		return E_TOOBIG;
	s->names = mem_realloc(s->names, s->name_count + 1, sizeof(*s->names));
	s->names[s->name_count++] = str_make(str_dup(name), name.len);
	return OK;
}

void
section_fini(struct section *s)
{
	for (size_t i = 0; i < s->name_count; i++)
		free((char *)(uintptr_t)s->names[i].p);
	free(s->names);
	*s = (struct section){0};
}

static int
is_atom(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("(){%*\"\\]", s.p[i]))
			return 0;
	return s.len > 0;
}

static void
format_name(struct str name, struct buf *out)
{
	if (is_atom(name)) {
		buf_add_str(out, name);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, name.p[i]);
	}
	buf_add_char(out, '"');
}

enum err
section_format(const struct section *s, struct buf *out)
{
	static const char *const kinds[] = {[SECTION_ALL] = "",
		[SECTION_HEADER] = "HEADER",
		[SECTION_HEADER_FIELDS] = "HEADER.FIELDS",
		[SECTION_HEADER_FIELDS_NOT] = "HEADER.FIELDS.NOT",
		[SECTION_TEXT] = "TEXT",
		[SECTION_MIME] = "MIME"};

	for (size_t i = 0; i < s->path_len; i++) {
		if (i)
			buf_add_char(out, '.');
		buf_add_u64(out, s->path[i]);
	}
	if (s->path_len && s->kind != SECTION_ALL)
		buf_add_char(out, '.');
	buf_add_cstr(out, kinds[s->kind]);
	for (size_t i = 0; i < s->name_count; i++) {
		buf_add_cstr(out, i ? " " : " (");
		format_name(s->names[i], out);
	}
	if (s->name_count)
		buf_add_char(out, ')');
	return out->err;
}

/* The child of a part with this number, or NULL. A part comes after its parent in the table. */
static const struct part_entry *
find_child(const struct part_table *t, const struct part_entry *parent, uint32_t number)
{
	uint32_t at = (uint32_t)(parent - t->v);

	for (size_t i = at + 1; i < t->n; i++)
		if (t->v[i].parent == at && t->v[i].number == number)
			return &t->v[i];
	return NULL;
}

/*
 * RFC 9051 section 6.4.5: a message that is not a multipart has one part, 1, which is its text;
 * below a message/rfc822 part the numbers go on with the message inside. *whole is set when the
 * path ended at the text of a message and not at a part of a multipart.
 */
static const struct part_entry *
find_part(const struct section *s, const struct part_table *t, int *text_of_message)
{
	const struct part_entry *p = &t->v[0];

	*text_of_message = 1;
	for (size_t i = 0; i < s->path_len; i++) {
		if (p->kind == MIME_MESSAGE && i && !*text_of_message) {
			p = find_child(t, p, 1);
			if (!p)
				return NULL;
			*text_of_message = 1;
		}
		if (p->kind == MIME_MULTIPART) {
			p = find_child(t, p, s->path[i]);
			*text_of_message = 0;
		} else if (*text_of_message && s->path[i] == 1) {
			*text_of_message = 0; /* "1" of a message with one part */
		} else {
			return NULL;
		}
		if (!p)
			return NULL;
	}
	return p;
}

static enum err
set_range(struct section_data *d, struct str message, uint64_t off, uint64_t len, uint64_t bare)
{
	if (off > message.len || len > message.len - off)
		return E_CORRUPT;
	d->stored = str_make(message.p + off, (size_t)len);
	d->bare_lf = bare;
	d->size = len + bare;
	return OK;
}

static enum err
open_header(struct section_data *d, struct str message, const struct part_entry *p)
{
	return set_range(d, message, p->header_off, p->header_len, p->header_bare_lf);
}

static enum err
open_body(struct section_data *d, struct str message, const struct part_entry *p)
{
	return set_range(d, message, p->header_off + p->header_len, p->body_len, p->body_bare_lf);
}

static enum err
open_fields(const struct section *s, struct section_data *d)
{
	enum err e;

	e = section_header_fields(d->stored, s->names, s->name_count,
		s->kind == SECTION_HEADER_FIELDS_NOT, &d->built);
	if (e)
		return e;
	d->stored = buf_str(&d->built);
	d->size = d->stored.len;
	d->bare_lf = 0;
	return OK;
}

enum err
section_open(const struct section *s, const struct part_table *parts, struct str message,
	struct section_data *out)
{
	const struct part_entry *p;
	int text_of_message;
	enum err e;

	*out = (struct section_data){0};
	if (!parts->n)
		return E_CORRUPT;
	if (s->kind == SECTION_ALL && !s->path_len) {
		p = &parts->v[0];
		if (p->header_len + p->body_len != message.len)
			return E_CORRUPT;
		return set_range(out, message, 0, message.len, p->header_bare_lf + p->body_bare_lf);
	}
	p = find_part(s, parts, &text_of_message);
	if (!p)
		return E_NOTFOUND;
	out->encoding = p->encoding;
	if (s->kind == SECTION_ALL)
		return open_body(out, message, p);
	if (s->kind == SECTION_MIME)
		return open_header(out, message, p);
	/* HEADER and TEXT are of a message: the whole one, or the one inside a message/rfc822 part.
	 */
	if (s->path_len) {
		p = p->kind == MIME_MESSAGE ? find_child(parts, p, 1) : NULL;
		if (!p)
			return E_NOTFOUND;
	}
	if (s->kind == SECTION_TEXT)
		return open_body(out, message, p);
	e = open_header(out, message, p);
	return e || s->kind == SECTION_HEADER ? e : open_fields(s, out);
}

void
section_data_fini(struct section_data *d)
{
	buf_free(&d->built);
	*d = (struct section_data){0};
}
