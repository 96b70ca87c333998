/* SPDX-License-Identifier: MIT */
#include "mail/message_text.h"

#include "lib/buf.h"
#include "mail/charset.h"
#include "mail/decode.h"
#include "mail/header.h"
#include "mail/rfc2047.h"
#include "mail/text.h"

/* A message is read once, in pieces, whatever the size of its parts. */
enum { PIECE = 32 << 10 };

struct walk {
	const struct message_text_sink *sink;
	int ended; /* the sink has enough */
	struct buf decoded, utf8, stripped;
};

static void
give(struct walk *w, enum message_text_stream stream, struct str utf8)
{
	if (utf8.len && !w->ended)
		w->ended = !w->sink->piece(stream, utf8, w->sink->ctx);
}

static void
give_end(struct walk *w, enum message_text_stream stream)
{
	if (!w->ended)
		w->sink->end(stream, w->sink->ctx);
}

/* ---- headers ---- */

static void
walk_header(struct walk *w, struct str block, enum message_text_stream stream)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;

	while (!w->ended && header_next(&it, &field)) {
		buf_reset(&w->utf8);
		if (field.name.len) {
			charset_utf8_clean(field.name, &w->utf8);
			buf_add_cstr(&w->utf8, ": ");
		}
		rfc2047_decode(field.value, &w->utf8);
		give(w, stream, buf_str(&w->utf8));
		give_end(w, stream);
	}
}

/* File names and the like, in the decoded form (RFC 2231), which the field itself may not show. */
static void
walk_params(struct walk *w, const struct mime_params *params, enum message_text_stream stream)
{
	for (size_t i = 0; i < params->n && !w->ended; i++) {
		give(w, stream, params->v[i].value);
		give_end(w, stream);
	}
}

/* ---- bodies ---- */

static int
is_text(const struct mime_part *part)
{
	return str_is_i(part->type, "text") || str_is_i(part->type, "message") ||
	       part->kind == MIME_MULTIPART;
}

static void
give_converted(struct walk *w, struct html_text *html)
{
	give(w, MESSAGE_TEXT_PLAIN, buf_str(&w->utf8));
	if (html) {
		buf_reset(&w->stripped);
		html_text_feed(html, w->utf8.p, w->utf8.len, &w->stripped);
		give(w, MESSAGE_TEXT_HTML, buf_str(&w->stripped));
	}
}

static void
give_decoded(struct walk *w, struct charset_conv *conv, struct html_text *html, struct str bytes)
{
	buf_reset(&w->utf8);
	charset_conv_feed(conv, bytes.p, bytes.len, &w->utf8);
	give_converted(w, html);
}

static void
walk_body_pieces(struct walk *w, const struct mime_part *part, struct str body,
	struct charset_conv *conv, struct html_text *html)
{
	struct decoder decoder;

	decoder_init(&decoder, part->encoding);
	while (body.len && !w->ended) {
		struct str piece = str_make(body.p, body.len < PIECE ? body.len : PIECE);

		body = str_make(body.p + piece.len, body.len - piece.len);
		if (part->encoding == MAIL_ENCODING_BASE64 || part->encoding == MAIL_ENCODING_QP) {
			buf_reset(&w->decoded);
			decoder_feed(&decoder, piece.p, piece.len, &w->decoded);
			piece = buf_str(&w->decoded);
		}
		give_decoded(w, conv, html, piece);
	}
	if (w->ended)
		return;
	buf_reset(&w->decoded);
	decoder_finish(&decoder, &w->decoded);
	give_decoded(w, conv, html, buf_str(&w->decoded));
	buf_reset(&w->utf8);
	charset_conv_finish(conv, &w->utf8);
	give_converted(w, html);
	if (html) {
		buf_reset(&w->stripped);
		html_text_finish(html, &w->stripped);
		give(w, MESSAGE_TEXT_HTML, buf_str(&w->stripped));
	}
}

static void
walk_body(struct walk *w, const struct mime_part *part, struct str body)
{
	const struct mime_param *charset = mime_param_find(&part->params, "charset");
	struct charset_conv *conv = charset_conv_create(charset ? charset->value : STR(""));
	int is_html = str_is_i(part->type, "text") && str_is_i(part->subtype, "html");
	struct html_text html;

	html_text_init(&html);
	walk_body_pieces(w, part, body, conv, is_html ? &html : NULL);
	charset_conv_free(&conv);
	give_end(w, MESSAGE_TEXT_PLAIN);
	give_end(w, MESSAGE_TEXT_HTML);
}

/* ---- the message ---- */

static void
walk_part(struct walk *w, const struct mime_part *part, struct str content, int with_header)
{
	enum message_text_stream stream = part->parent ? MESSAGE_TEXT_PLAIN : MESSAGE_TEXT_HEADER;
	struct str body;

	if (part->header_off > content.len || part->header_len > content.len - part->header_off ||
		part->body_off > content.len || part->body_len > content.len - part->body_off)
		return;
	if (part->parent || with_header) {
		walk_header(w, str_make(content.p + part->header_off, part->header_len), stream);
		walk_params(w, &part->params, stream);
		walk_params(w, &part->disposition_params, stream);
	}
	if (w->ended || part->child)
		return;
	body = str_make(content.p + part->body_off, part->body_len);
	if (is_text(part))
		walk_body(w, part, body);
	else if (w->sink->other)
		w->ended = !w->sink->other(part, body, w->sink->ctx);
}

void
message_text_walk(struct str content, int with_header, const struct message_text_sink *sink)
{
	struct walk w = {.sink = sink};
	struct mime_message *message;

	mime_parse(content, NULL, &message);
	for (const struct mime_part *part = message->root; part && !w.ended;
		part = mime_part_next(part))
		walk_part(&w, part, content, with_header);
	mime_message_free(&message);
	buf_free(&w.decoded);
	buf_free(&w.utf8);
	buf_free(&w.stripped);
}
