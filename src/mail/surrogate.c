/* SPDX-License-Identifier: MIT */
#include "mail/surrogate.h"

#include <string.h>

#include "mail/address.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/rfc2047.h"
#include "mail/utf8.h"

#define INVALID_ADDRESS "invalid@internationalized-address.invalid"

/* A parameter whose line would be longer than RFC 5322 section 2.1.1 allows is left out. */
enum { PARAM_MAX = 900 };

/* ---- addresses, RFC 6858 section 2.1 ---- */

static void
add_phrase(struct str raw, struct buf *out)
{
	struct buf text = BUF_INIT(0);

	(void)rfc2047_decode(raw, &text);
	(void)rfc2047_encode_phrase(buf_str(&text), out);
	buf_free(&text);
}

static void
add_invalid(const struct address *a, struct buf *out)
{
	struct buf name = BUF_INIT(0);

	if (a->name.len) {
		(void)rfc2047_decode(a->name, &name);
		buf_add_char(&name, ' ');
	}
	buf_printf(&name, "<%.*s@%.*s>", STR_ARG(a->mailbox), STR_ARG(a->host));
	(void)rfc2047_encode_phrase(buf_str(&name), out);
	buf_add_cstr(out, " <" INVALID_ADDRESS ">");
	buf_free(&name);
}

static void
add_address(const struct address *a, struct buf *out)
{
	struct address bare = *a;

	if (!str_is_ascii(a->mailbox) || !str_is_ascii(a->host)) {
		add_invalid(a, out);
		return;
	}
	/* A route (RFC 5322 section 4.4) means nothing any more. */
	bare.name = bare.route = (struct str){0};
	if (a->name.len) {
		add_phrase(a->name, out);
		buf_add_cstr(out, " <");
	}
	(void)address_format(&bare, out);
	if (a->name.len)
		buf_add_char(out, '>');
}

static void
write_addresses(struct str value, struct buf *out)
{
	struct address_list list;
	const char *between = "";

	address_parse_rfc822(value, value.len + 1, &list);
	for (size_t i = 0; i < list.n; i++) {
		const struct address *a = &list.v[i];

		if (a->kind == ADDRESS_GROUP_END) {
			buf_add_char(out, ';');
			between = ",\r\n ";
			continue;
		}
		buf_add_cstr(out, between);
		between = ",\r\n ";
		if (a->kind == ADDRESS_GROUP_START) {
			add_phrase(a->mailbox, out);
			buf_add_char(out, ':');
			between = " ";
		} else {
			add_address(a, out);
		}
	}
	address_list_free(&list);
}

/* ---- MIME parameters, section 2.2 ---- */

/* RFC 2231 section 7, attribute-char: what need not be percent-encoded. */
static int
is_attribute_char(unsigned char c)
{
	return c > 0x20 && c < 0x7f && !strchr("*'%()<>@,;:\\\"/[]?=", c);
}

static void
add_param(const struct mime_param *p, struct buf *out)
{
	struct buf one = BUF_INIT(0);

	if (str_is_ascii(p->raw) && p->extended) {
		buf_printf(&one, "%.*s*=%.*s", STR_ARG(p->name), STR_ARG(p->raw));
	} else if (str_is_ascii(p->raw)) {
		buf_printf(&one, "%.*s=\"", STR_ARG(p->name));
		for (size_t i = 0; i < p->raw.len; i++) {
			if (p->raw.p[i] == '"' || p->raw.p[i] == '\\')
				buf_add_char(&one, '\\');
			buf_add_char(&one, p->raw.p[i]);
		}
		buf_add_char(&one, '"');
	} else {
		buf_printf(&one, "%.*s*=utf-8''", STR_ARG(p->name));
		for (size_t i = 0; i < p->value.len; i++) {
			unsigned char c = (unsigned char)p->value.p[i];

			buf_printf(&one, is_attribute_char(c) ? "%c" : "%%%02X", c);
		}
	}
	if (one.len <= PARAM_MAX && str_is_ascii(p->name)) {
		buf_add_cstr(out, ";\r\n ");
		(void)buf_add_buf(out, &one);
	}
	buf_free(&one);
}

static void
write_params(const struct mime_params *params, struct buf *out)
{
	for (size_t i = 0; i < params->n; i++)
		add_param(&params->v[i], out);
}

static void
write_type(const struct mime_part *part, struct buf *out)
{
	if (!part->has_type || !str_is_ascii(part->type) || !str_is_ascii(part->subtype))
		return;
	buf_printf(out, "%.*s/%.*s", STR_ARG(part->type), STR_ARG(part->subtype));
	write_params(&part->params, out);
}

static void
write_disposition(const struct mime_part *part, struct buf *out)
{
	if (part->disposition.len == 0 || !str_is_ascii(part->disposition))
		return;
	(void)buf_add_str(out, part->disposition);
	write_params(&part->disposition_params, out);
}

/* ---- fields ---- */

static int
is_one_of(struct str name, const char *const *names)
{
	for (; *names; names++)
		if (str_is_i(name, *names))
			return 1;
	return 0;
}

/* The value without UTF-8; nothing is appended for a field that is to be left out. */
static void
write_value(const struct mime_part *part, const struct header_field *f, struct buf *out)
{
	static const char *const addresses[] = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc",
		"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc",
		"Resent-Reply-To", "Return-Path", "Delivered-To", "Disposition-Notification-To",
		NULL};
	static const char *const structured[] = {"Date", "Resent-Date", "Message-ID",
		"Resent-Message-ID", "In-Reply-To", "References", "Received", "MIME-Version",
		"Content-Transfer-Encoding", "Content-ID", "Content-Location", "Content-Language",
		"Content-MD5", "DKIM-Signature", "Authentication-Results", "Received-SPF",
		"ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results", NULL};

	if (is_one_of(f->name, addresses)) {
		write_addresses(f->value, out);
	} else if (str_is_i(f->name, "Content-Type")) {
		write_type(part, out);
	} else if (str_is_i(f->name, "Content-Disposition")) {
		write_disposition(part, out);
	} else if (f->name.len && str_is_ascii(f->name) && !is_one_of(f->name, structured)) {
		struct buf text = BUF_INIT(0);

		(void)rfc2047_decode(f->value, &text);
		(void)rfc2047_encode_text(buf_str(&text), out);
		buf_free(&text);
	}
}

static int
is_internationalized(struct str bytes)
{
	return !str_is_ascii(bytes) && str_is_utf8(bytes);
}

static void
write_field(const struct mime_part *part, struct str block, const struct header_field *f,
	struct buf *out)
{
	struct str whole = str_make(block.p + f->off, f->len);
	struct buf value = BUF_INIT(0);

	if (!is_internationalized(whole)) {
		(void)buf_add_str(out, whole);
		return;
	}
	write_value(part, f, &value);
	if (value.len) {
		(void)buf_add_str(out, f->name);
		buf_add_cstr(out, ": ");
		(void)buf_add_buf(out, &value);
		buf_add_cstr(out, "\r\n");
	}
	buf_free(&value);
}

static void
write_header(const struct mime_part *part, struct str block, struct buf *out)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;

	while (header_next(&it, &field))
		write_field(part, block, &field, out);
	(void)buf_add(out, block.p + it.pos, block.len - it.pos);
}

/* ---- messages ---- */

static struct str
header_of(struct str message, const struct mime_part *part)
{
	return str_make(message.p + part->header_off, (size_t)part->header_len);
}

static int
needs_one(struct str message, const struct mime_message *m)
{
	for (const struct mime_part *p = m->root; p; p = mime_part_next(p)) {
		struct str block = header_of(message, p);
		struct header_iter it = HEADER_ITER(block);
		struct header_field f;

		if (str_is_ascii(block))
			continue;
		while (header_next(&it, &f))
			if (is_internationalized(str_make(block.p + f.off, f.len)))
				return 1;
	}
	return 0;
}

enum err
surrogate_build(struct str message, struct buf *out, int *made)
{
	struct mime_message *m;
	uint64_t at = 0;

	*made = 0;
	if (utf8_ascii_len(message.p, message.len) == message.len)
		return OK;
	mime_parse(message, NULL, &m);
	if (needs_one(message, m)) {
		*made = 1;
		/* Headers of parts stand in the order of the parts; all between them is copied. */
		for (const struct mime_part *p = m->root; p; p = mime_part_next(p)) {
			(void)buf_add(out, message.p + at, (size_t)(p->header_off - at));
			write_header(p, header_of(message, p), out);
			at = p->header_off + p->header_len;
		}
		(void)buf_add(out, message.p + at, message.len - (size_t)at);
	}
	mime_message_free(&m);
	return out->err;
}
