/* SPDX-License-Identifier: MIT */
#include "mail/convert.h"

#include <string.h>

#include "mail/decode.h"
#include "mail/header.h"
#include "mail/mime.h"

enum { LINE_MAX_OCTETS = 998, BASE64_LINE = 76 };

struct convert {
	struct str message;
	enum convert_channel channel;
	struct buf *out;
};

static struct str
slice(const struct convert *c, uint64_t off, uint64_t len)
{
	return str_make(c->message.p + off, (size_t)len);
}

static struct str
body_of(const struct convert *c, const struct mime_part *p)
{
	return slice(c, p->body_off, p->body_len);
}

static int
is_text(const struct mime_part *p)
{
	return str_is_i(p->type, "text");
}

/* Whether the channel would break these bytes. */
static int
is_too_wide(struct str bytes, enum convert_channel channel)
{
	size_t line = 0;

	if (channel == CONVERT_STORED)
		return bytes.len > 0 && memchr(bytes.p, '\0', bytes.len) != NULL;
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char b = (unsigned char)bytes.p[i];

		if (b == '\n') {
			line = 0;
			continue;
		}
		if (b == '\r' && i + 1 < bytes.len && bytes.p[i + 1] == '\n')
			continue;
		if (b == '\0' || b == '\r' || ++line > LINE_MAX_OCTETS)
			return 1;
		if (b >= 0x80 && channel == CONVERT_7BIT)
			return 1;
	}
	return 0;
}

/* An encoding that is there already, or one that nobody knows, is left alone. */
static int
leaf_needs_convert(const struct convert *c, const struct mime_part *p)
{
	switch (p->encoding) {
	case MAIL_ENCODING_BINARY:
		return 1;
	case MAIL_ENCODING_7BIT:
	case MAIL_ENCODING_8BIT:
		return is_too_wide(body_of(c, p), c->channel);
	default:
		return 0;
	}
}

static int
part_needs_convert(const struct convert *c, const struct mime_part *p)
{
	if (p->child == NULL)
		return leaf_needs_convert(c, p);
	for (const struct mime_part *child = p->child; child; child = child->next)
		if (part_needs_convert(c, child))
			return 1;
	return 0;
}

/* ---- writing ---- */

static void
add(struct convert *c, struct str bytes)
{
	(void)buf_add_str(c->out, bytes);
}

/*
 * The header of a part, with encoding in place of its Content-Transfer-Encoding. mime: the fields
 * of a MIME message are added where they are missing.
 */
static void
write_header(struct convert *c, const struct mime_part *p, const char *encoding, int mime)
{
	struct str block = slice(c, p->header_off, p->header_len);
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;
	int has_version = 0, has_type = 0;
	size_t end = 0;

	while (header_next(&it, &field)) {
		end = field.off + field.len;
		if (str_is_i(field.name, "Content-Transfer-Encoding"))
			continue;
		has_version |= str_is_i(field.name, "MIME-Version");
		has_type |= str_is_i(field.name, "Content-Type");
		add(c, str_make(block.p + field.off, field.len));
	}
	/* A header that ends with the message may lack its last line end. */
	if (end && block.p[end - 1] != '\n')
		(void)buf_add_cstr(c->out, "\r\n");
	if (mime && !has_version)
		(void)buf_add_cstr(c->out, "MIME-Version: 1.0\r\n");
	if (mime && !has_type)
		(void)buf_add_cstr(c->out, "Content-Type: text/plain; charset=unknown-8bit\r\n");
	(void)buf_printf(c->out, "Content-Transfer-Encoding: %s\r\n", encoding);
	if (end < block.len)
		add(c, str_make(block.p + end, block.len - end));
	else
		(void)buf_add_cstr(c->out, "\r\n");
}

/* Lines are text, whose ends are CRLF before they are encoded (RFC 2045 section 6.8). */
static void
write_base64(struct convert *c, struct str body, int lines)
{
	struct buf crlf = {0};
	struct str rest = body;

	while (lines && rest.len > 0) {
		size_t lf = str_find(rest, 0, '\n');
		struct str line = str_make(rest.p, lf);

		if (lf < rest.len && line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		(void)buf_add_str(&crlf, line);
		if (lf < rest.len)
			(void)buf_add_cstr(&crlf, "\r\n");
		rest = str_make(rest.p + lf, rest.len - lf);
		if (rest.len > 0)
			rest = str_make(rest.p + 1, rest.len - 1);
	}
	(void)encode_base64(lines ? buf_str(&crlf) : body, BASE64_LINE, c->out);
	buf_free(&crlf);
}

static void
write_leaf(struct convert *c, const struct mime_part *p)
{
	struct str body = body_of(c, p);
	int has_nul = body.len > 0 && memchr(body.p, '\0', body.len) != NULL;
	int as_text = is_text(p) && !has_nul;

	write_header(c, p, as_text ? "quoted-printable" : "base64", p->parent == NULL);
	if (as_text)
		(void)encode_qp(body, 1, c->out);
	else
		write_base64(c, body, p->encoding != MAIL_ENCODING_BINARY);
}

static void write_part(struct convert *c, const struct mime_part *p);

/* What holds parts can only be 7bit, 8bit or binary (RFC 2045 section 6.4). */
static void
write_container(struct convert *c, const struct mime_part *p)
{
	uint64_t at = p->body_off;

	write_header(c, p, c->channel == CONVERT_7BIT ? "7bit" : "8bit", p->parent == NULL);
	for (const struct mime_part *child = p->child; child; child = child->next) {
		add(c, slice(c, at, child->header_off - at));
		write_part(c, child);
		at = child->body_off + child->body_len;
	}
	add(c, slice(c, at, p->body_off + p->body_len - at));
}

static void
write_part(struct convert *c, const struct mime_part *p)
{
	if (!part_needs_convert(c, p))
		add(c, slice(c, p->header_off, p->header_len + p->body_len));
	else if (p->child)
		write_container(c, p);
	else
		write_leaf(c, p);
}

int
mail_needs_convert(struct str message, enum convert_channel channel)
{
	struct convert c = {message, channel, NULL};
	struct mime_message *m;
	int needs;

	mime_parse(message, NULL, &m);
	needs = part_needs_convert(&c, m->root);
	mime_message_free(&m);
	return needs;
}

enum err
mail_convert(struct str message, enum convert_channel channel, struct buf *out)
{
	struct convert c = {message, channel, out};
	struct mime_message *m;

	mime_parse(message, NULL, &m);
	write_part(&c, m->root);
	mime_message_free(&m);
	return out->err;
}
