/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <string.h>

#include "mail/casemap.h"
#include "mail/charset.h"
#include "mail/decode.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/rfc2047.h"
#include "mail/text.h"

/*
 * A message is read once, in pieces of PIECE bytes, whatever the number of keys and the size of its
 * parts. Each text (a field, a body) goes through a window: the folded piece behind the end of the
 * one before, so that what lies across the seam is found too.
 */
enum { PIECE = 32 << 10 };

struct window {
	struct buf text;
};

struct content_scan {
	struct search_key *const *texts;
	size_t count, open; /* open: not found yet */
	size_t keep; /* bytes of a window that a needle could still begin in */
	int has_text; /* some key is TEXT: the message's own header matters */
	int own_header; /* we are in the header of the message itself: not for BODY */
	struct window plain, html;
	struct buf decoded, utf8, stripped;
};

/* ---- windows ---- */

static void
look_in(struct content_scan *cs, struct str text)
{
	for (size_t i = 0; i < cs->count; i++) {
		struct search_key *key = cs->texts[i];

		if (key->found || (cs->own_header && key->kind == SEARCH_BODY))
			continue;
		if (str_find_str(text, buf_str(&key->needle)) < text.len) {
			key->found = 1;
			cs->open--;
		}
	}
}

/* A piece of well-formed UTF-8 that ends between two characters. */
static void
window_feed(struct content_scan *cs, struct window *w, struct str utf8)
{
	if (utf8.len == 0)
		return;
	casemap_fold(utf8, &w->text);
	look_in(cs, buf_str(&w->text));
	if (w->text.len > cs->keep)
		buf_consume(&w->text, w->text.len - cs->keep);
}

/* Nothing matches across the end of a field or a body. */
static void
window_end(struct window *w)
{
	buf_reset(&w->text);
}

/* ---- headers ---- */

static void
scan_text(struct content_scan *cs, struct str utf8)
{
	window_feed(cs, &cs->plain, utf8);
	window_end(&cs->plain);
}

static void
scan_header(struct content_scan *cs, struct str block)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;

	while (cs->open && header_next(&it, &field)) {
		buf_reset(&cs->utf8);
		if (field.name.len) {
			charset_utf8_clean(field.name, &cs->utf8);
			buf_add_cstr(&cs->utf8, ": ");
		}
		rfc2047_decode(field.value, &cs->utf8);
		scan_text(cs, buf_str(&cs->utf8));
	}
}

/* File names and the like, in the decoded form (RFC 2231), which the field itself may not show. */
static void
scan_params(struct content_scan *cs, const struct mime_params *params)
{
	for (size_t i = 0; i < params->n && cs->open; i++)
		scan_text(cs, params->v[i].value);
}

/* ---- bodies ---- */

static int
is_text(const struct mime_part *part)
{
	return str_is_i(part->type, "text") || str_is_i(part->type, "message") ||
	       part->kind == MIME_MULTIPART;
}

static void
scan_converted(struct content_scan *cs, struct html_text *html)
{
	window_feed(cs, &cs->plain, buf_str(&cs->utf8));
	if (html) {
		buf_reset(&cs->stripped);
		html_text_feed(html, cs->utf8.p, cs->utf8.len, &cs->stripped);
		window_feed(cs, &cs->html, buf_str(&cs->stripped));
	}
}

static void
scan_decoded(struct content_scan *cs, struct charset_conv *conv, struct html_text *html,
	struct str bytes)
{
	buf_reset(&cs->utf8);
	charset_conv_feed(conv, bytes.p, bytes.len, &cs->utf8);
	scan_converted(cs, html);
}

static void
scan_body_pieces(struct content_scan *cs, const struct mime_part *part, struct str body,
	struct charset_conv *conv, struct html_text *html)
{
	struct decoder decoder;

	decoder_init(&decoder, part->encoding);
	while (body.len && cs->open) {
		struct str piece = str_make(body.p, body.len < PIECE ? body.len : PIECE);

		body = str_make(body.p + piece.len, body.len - piece.len);
		if (part->encoding == MAIL_ENCODING_BASE64 || part->encoding == MAIL_ENCODING_QP) {
			buf_reset(&cs->decoded);
			decoder_feed(&decoder, piece.p, piece.len, &cs->decoded);
			piece = buf_str(&cs->decoded);
		}
		scan_decoded(cs, conv, html, piece);
	}
	if (!cs->open)
		return;
	buf_reset(&cs->decoded);
	decoder_finish(&decoder, &cs->decoded);
	scan_decoded(cs, conv, html, buf_str(&cs->decoded));
	buf_reset(&cs->utf8);
	charset_conv_finish(conv, &cs->utf8);
	scan_converted(cs, html);
	if (html) {
		buf_reset(&cs->stripped);
		html_text_finish(html, &cs->stripped);
		window_feed(cs, &cs->html, buf_str(&cs->stripped));
	}
}

static void
scan_body(struct content_scan *cs, const struct mime_part *part, struct str body)
{
	const struct mime_param *charset = mime_param_find(&part->params, "charset");
	struct charset_conv *conv = charset_conv_create(charset ? charset->value : STR(""));
	int is_html = str_is_i(part->type, "text") && str_is_i(part->subtype, "html");
	struct html_text html;

	html_text_init(&html);
	scan_body_pieces(cs, part, body, conv, is_html ? &html : NULL);
	charset_conv_free(&conv);
	window_end(&cs->plain);
	window_end(&cs->html);
}

/* ---- the message ---- */

static void
scan_part(struct content_scan *cs, const struct mime_part *part, struct str content)
{
	if (part->header_off > content.len || part->header_len > content.len - part->header_off ||
		part->body_off > content.len || part->body_len > content.len - part->body_off)
		return;
	cs->own_header = part->parent == NULL;
	if (cs->has_text || !cs->own_header) {
		scan_header(cs, str_make(content.p + part->header_off, part->header_len));
		scan_params(cs, &part->params);
		scan_params(cs, &part->disposition_params);
	}
	cs->own_header = 0;
	if (cs->open && !part->child && is_text(part))
		scan_body(cs, part, str_make(content.p + part->body_off, part->body_len));
}

static void
scan_init(struct content_scan *cs, struct search_key *const *texts, size_t count)
{
	memset(cs, 0, sizeof(*cs));
	cs->texts = texts;
	cs->count = count;
	for (size_t i = 0; i < count; i++) {
		/* The empty string is in every message. */
		texts[i]->found = texts[i]->needle.len == 0;
		cs->open += !texts[i]->found;
		cs->has_text |= texts[i]->kind == SEARCH_TEXT;
		if (texts[i]->needle.len > cs->keep + 1)
			cs->keep = texts[i]->needle.len - 1;
	}
}

void
search_content_scan(struct search_key *const *texts, size_t count, struct str content)
{
	struct content_scan cs;
	struct mime_message *message;

	scan_init(&cs, texts, count);
	if (cs.open == 0)
		return;
	mime_parse(content, NULL, &message);
	for (const struct mime_part *part = message->root; part && cs.open;
		part = mime_part_next(part))
		scan_part(&cs, part, content);
	mime_message_free(&message);
	buf_free(&cs.plain.text);
	buf_free(&cs.html.text);
	buf_free(&cs.decoded);
	buf_free(&cs.utf8);
	buf_free(&cs.stripped);
}
