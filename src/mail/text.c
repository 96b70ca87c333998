/* SPDX-License-Identifier: MIT */
#include "mail/text.h"

#include <string.h>

#include "mail/html_entity.h"
#include "mail/utf8.h"

enum html_state {
	IN_TEXT,
	IN_OPEN, /* behind "<" */
	IN_NAME, /* in a tag's name */
	IN_TAG, /* behind it */
	IN_QUOTE, /* in a quoted value */
	IN_MARKUP, /* behind "<!": a comment if "--" follows */
	IN_COMMENT, /* behind "<!--" */
	IN_ENTITY, /* behind "&" */
};

/* Elements whose content is no text; the position and one is html_text.skip. */
static const char *const skipped[] = {"script", "style", "title"};

/* Elements that do not part words. */
static const char *const inlines[] = {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite",
	"code", "del", "dfn", "em", "font", "i", "ins", "kbd", "label", "mark", "q", "s", "samp",
	"small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr"};

void
html_text_init(struct html_text *h)
{
	*h = (struct html_text){0};
}

static enum err
put(struct html_text *h, const char *p, size_t len, struct buf *out)
{
	enum err e = OK;

	if (h->skip || !len)
		return OK;
	if (h->blank && h->any)
		e = buf_add_char(out, ' ');
	h->blank = 0;
	h->any = 1;
	return e ? e : utf8_add_fitting(out, p, len);
}

static int
name_among(const struct html_text *h, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_is_i(str_make(h->name, h->name_len), names[i]))
			return (int)i + 1;
	return 0;
}

/* The name of a tag is complete: what does the element do to the text? */
static void
tag_named(struct html_text *h)
{
	int skip = name_among(h, skipped, sizeof(skipped) / sizeof(skipped[0]));

	if (h->skip) {
		if (h->closing && skip == h->skip)
			h->skip = 0;
	} else if (skip && !h->closing) {
		h->skip = skip;
		h->blank = 1;
	} else if (!name_among(h, inlines, sizeof(inlines) / sizeof(inlines[0]))) {
		h->blank = 1;
	}
}

static enum err
entity_end(struct html_text *h, int semicolon, struct buf *out)
{
	uint32_t point = html_entity_point(str_make(h->name, h->name_len));
	char bytes[4];
	enum err e;

	h->state = IN_TEXT;
	if (point)
		return put(h, bytes, utf8_put(point, bytes), out);
	e = put(h, "&", 1, out);
	if (!e)
		e = put(h, h->name, h->name_len, out);
	if (!e && semicolon)
		e = put(h, ";", 1, out);
	return e;
}

/* Text up to the next thing that is not text. Returns the bytes used. */
static size_t
text_run(struct html_text *h, const char *p, size_t len, struct buf *out, enum err *e)
{
	size_t i = 0;

	while (i < len && p[i] != '<' && p[i] != '&' && !str_is_space(p[i]))
		i++;
	if (i) {
		*e = put(h, p, i, out);
		return i;
	}
	if (p[0] == '<') {
		h->state = IN_OPEN;
	} else if (p[0] == '&' && !h->skip) {
		h->state = IN_ENTITY;
		h->name_len = 0;
	} else {
		h->blank |= !h->skip;
	}
	return 1;
}

/* Behind "<". Returns 0 when c was no part of a tag and is to be looked at as text. */
static int
open_char(struct html_text *h, char c, struct buf *out, enum err *e)
{
	if (c == '!' || c == '?') {
		h->state = h->skip ? IN_TEXT : IN_MARKUP;
		h->dashes = 0;
	} else if (c == '/' || (str_is_alpha(c) && !h->skip)) {
		h->closing = c == '/';
		h->name_len = 0;
		h->state = IN_NAME;
		return c == '/';
	} else {
		h->state = IN_TEXT;
		*e = put(h, "<", 1, out);
		return 0;
	}
	return 1;
}

static int
name_char(struct html_text *h, char c)
{
	if (str_is_alnum(c)) {
		if (h->name_len < sizeof(h->name))
			h->name[h->name_len++] = c;
		return 1;
	}
	tag_named(h);
	/* In a script only its own end tag means something. */
	h->state = h->skip && h->closing ? IN_TEXT : IN_TAG;
	return 0;
}

static int
entity_char(struct html_text *h, char c, struct buf *out, enum err *e)
{
	if (h->name_len < sizeof(h->name) && (str_is_alnum(c) || (c == '#' && !h->name_len))) {
		h->name[h->name_len++] = c;
		return 1;
	}
	*e = entity_end(h, c == ';', out);
	return c == ';';
}

static void
tag_char(struct html_text *h, char c)
{
	if (c == '>')
		h->state = IN_TEXT;
	else if (c == '"' || c == '\'') {
		h->quote = c;
		h->state = IN_QUOTE;
	}
}

static void
markup_char(struct html_text *h, char c)
{
	if (c == '-' && ++h->dashes == 2) {
		h->state = IN_COMMENT;
		h->dashes = 2; /* "<!-->" is a whole comment */
	} else if (c == '>') {
		h->state = IN_TEXT;
	} else if (c != '-') {
		h->dashes = 3; /* "<!DOCTYPE": no comment any more */
	}
}

static void
comment_char(struct html_text *h, char c)
{
	if (c == '>' && h->dashes >= 2)
		h->state = IN_TEXT;
	h->dashes = c == '-' ? h->dashes + (h->dashes < 2) : 0;
}

/* One byte outside of text. Returns whether it was used up. */
static int
html_char(struct html_text *h, char c, struct buf *out, enum err *e)
{
	switch (h->state) {
	case IN_OPEN:
		return open_char(h, c, out, e);
	case IN_NAME:
		return name_char(h, c);
	case IN_ENTITY:
		return entity_char(h, c, out, e);
	case IN_QUOTE:
		if (c == h->quote)
			h->state = IN_TAG;
		break;
	case IN_MARKUP:
		markup_char(h, c);
		break;
	case IN_COMMENT:
		comment_char(h, c);
		break;
	default:
		tag_char(h, c);
		break;
	}
	return 1;
}

enum err
html_text_feed(struct html_text *h, const char *p, size_t len, struct buf *out)
{
	enum err e = OK;
	size_t i = 0;

	while (!e && i < len) {
		if (h->state == IN_TEXT)
			i += text_run(h, p + i, len - i, out, &e);
		else
			i += (size_t)html_char(h, p[i], out, &e);
	}
	return e;
}

enum err
html_text_finish(struct html_text *h, struct buf *out)
{
	if (h->state == IN_ENTITY)
		return entity_end(h, 0, out);
	if (h->state == IN_OPEN)
		return put(h, "<", 1, out);
	return OK;
}

static int
is_blank(uint32_t c)
{
	return c <= 0x20 || (c >= 0x7f && c <= 0xa0) || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* What senders pad the first line with so that nothing else shows in a list of messages. */
static int
is_invisible(uint32_t c)
{
	return c == 0xad || c == 0x34f || c == 0x200b || c == 0x2060 || c == 0xfeff || c == 0xfffc;
}

static int
is_joiner(uint32_t c)
{
	return c == 0x200c || c == 0x200d;
}

static enum err
preview(struct str s, size_t max_chars, int quoted, struct buf *out, size_t *chars)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, used;
	int blank = 1, line_start = 1;
	enum err e = OK;

	*chars = 0;
	for (; !e && i < s.len && *chars < max_chars; i += used) {
		uint32_t c = UTF8_REPLACEMENT;
		enum utf8_result r;

		if (line_start && p[i] == '>' && !quoted) {
			used = str_find(s, i, '\n') - i;
			line_start = 0;
			continue;
		}
		r = utf8_next(p + i, s.len - i, &c, &used);
		if (r == UTF8_SHORT)
			break;
		if (r == UTF8_BAD)
			c = UTF8_REPLACEMENT;
		line_start = c == '\n';
		if (is_blank(c)) {
			blank = 1;
			continue;
		}
		if (is_invisible(c) || (is_joiner(c) && blank))
			continue;
		if (blank && *chars) {
			if (*chars + 2 > max_chars)
				break;
			e = buf_add_char(out, ' ');
			(*chars)++;
		}
		blank = 0;
		if (!e)
			e = utf8_add(out, c);
		(*chars)++;
	}
	return e;
}

enum err
text_preview(struct str utf8, size_t max_chars, struct buf *out)
{
	size_t chars;
	enum err e = preview(utf8, max_chars, 0, out, &chars);

	if (!e && !chars)
		e = preview(utf8, max_chars, 1, out, &chars);
	return e;
}
