/* SPDX-License-Identifier: MIT */
#include "mail/mime_private.h"

enum { BLOCK = 2048, BLOCKS_MAX = 128 };

void
mime_preview_init(struct mime_preview *v, size_t max)
{
	*v = (struct mime_preview){.plain = BUF_INIT(max), .html = BUF_INIT(max), .max = max};
}

void
mime_preview_fini(struct mime_preview *v)
{
	charset_conv_free(&v->conv);
	buf_free(&v->plain);
	buf_free(&v->html);
	buf_free(&v->decoded);
	buf_free(&v->utf8);
}

static int
has_text(const struct buf *b)
{
	return str_trim(buf_str(b)).len > 0;
}

void
mime_preview_begin(struct mime_preview *v, const struct mime_part *part)
{
	const struct mime_param *charset;

	if (!str_is_i(part->type, "text") || str_is_i(part->disposition, "attachment") ||
		has_text(&v->plain))
		return;
	if (str_is_i(part->subtype, "plain"))
		v->out = &v->plain;
	else if (str_is_i(part->subtype, "html") && !has_text(&v->html))
		v->out = &v->html;
	else
		return;
	buf_reset(v->out);
	v->active = 1;
	v->blocks = 0;
	buf_reset(&v->decoded);
	buf_reset(&v->utf8);
	decoder_init(&v->decoder, part->encoding);
	charset = mime_param_find(&part->params, "charset");
	v->conv = charset_conv_create(charset ? charset->value : (struct str){0});
	html_text_init(&v->html_text);
}

static enum err
feed_html(struct mime_preview *v)
{
	enum err e = html_text_feed(&v->html_text, v->utf8.p, v->utf8.len, v->out);

	buf_reset(&v->utf8);
	return e;
}

/* Converts one block of decoded bytes. */
static enum err
convert(struct mime_preview *v, const char *p, size_t len)
{
	int html = v->out == &v->html;
	enum err e;

	if (!len)
		return OK;
	e = charset_conv_feed(v->conv, p, len, html ? &v->utf8 : v->out);
	return e || !html ? e : feed_html(v);
}

/*
 * In blocks of one size: what a converter makes of broken input may depend on where its input is
 * cut, and the preview must not depend on how the message came in.
 */
static enum err
convert_blocks(struct mime_preview *v)
{
	size_t at = 0;
	enum err e = OK;

	for (; !e && v->decoded.len - at >= BLOCK; at += BLOCK) {
		e = convert(v, v->decoded.p + at, BLOCK);
		if (++v->blocks == BLOCKS_MAX)
			e = E_TOOBIG;
	}
	buf_consume(&v->decoded, at);
	return e;
}

void
mime_preview_feed(struct mime_preview *v, const char *p, size_t len)
{
	while (v->active && len) {
		size_t n = len < BLOCK ? len : BLOCK;

		decoder_feed(&v->decoder, p, n, &v->decoded);
		if (convert_blocks(v) != OK) {
			v->active = 0; /* enough */
			charset_conv_free(&v->conv);
		}
		p += n;
		len -= n;
	}
}

void
mime_preview_end(struct mime_preview *v)
{
	if (!v->active)
		return;
	decoder_finish(&v->decoder, &v->decoded);
	if (convert_blocks(v) == OK && convert(v, v->decoded.p, v->decoded.len) == OK) {
		charset_conv_finish(v->conv, v->out == &v->html ? &v->utf8 : v->out);
		if (v->out == &v->html && feed_html(v) == OK)
			html_text_finish(&v->html_text, v->out);
	}
	v->active = 0;
	charset_conv_free(&v->conv);
}

struct str
mime_preview_text(const struct mime_preview *v)
{
	return buf_str(has_text(&v->plain) ? &v->plain : &v->html);
}
