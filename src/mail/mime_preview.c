/* SPDX-License-Identifier: MIT */
#include "mail/mime_private.h"

enum { PIECE = 2048, INPUT_MAX = 256 * 1024 };

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
	v->input_left = INPUT_MAX;
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

static enum err
feed_piece(struct mime_preview *v, const char *p, size_t len)
{
	enum err e = OK;
	int html = v->out == &v->html;

	if (v->decoder.encoding == MAIL_ENCODING_BASE64 ||
		v->decoder.encoding == MAIL_ENCODING_QP) {
		buf_reset(&v->decoded);
		decoder_feed(&v->decoder, p, len, &v->decoded);
		p = v->decoded.p;
		len = v->decoded.len;
	}
	if (len)
		e = charset_conv_feed(v->conv, p, len, html ? &v->utf8 : v->out);
	return e || !html ? e : feed_html(v);
}

void
mime_preview_feed(struct mime_preview *v, const char *p, size_t len)
{
	while (v->active && len) {
		size_t n = len < PIECE ? len : PIECE;

		if (feed_piece(v, p, n) != OK || n >= v->input_left) {
			v->active = 0; /* enough */
			charset_conv_free(&v->conv);
			return;
		}
		v->input_left -= n;
		p += n;
		len -= n;
	}
}

void
mime_preview_end(struct mime_preview *v)
{
	if (!v->active)
		return;
	v->active = 0;
	buf_reset(&v->decoded);
	decoder_finish(&v->decoder, &v->decoded);
	if (v->out == &v->html) {
		charset_conv_feed(v->conv, v->decoded.p, v->decoded.len, &v->utf8);
		charset_conv_finish(v->conv, &v->utf8);
		feed_html(v);
		html_text_finish(&v->html_text, v->out);
	} else {
		charset_conv_feed(v->conv, v->decoded.p, v->decoded.len, v->out);
		charset_conv_finish(v->conv, v->out);
	}
	charset_conv_free(&v->conv);
}

struct str
mime_preview_text(const struct mime_preview *v)
{
	return buf_str(has_text(&v->plain) ? &v->plain : &v->html);
}
