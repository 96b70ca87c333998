/* SPDX-License-Identifier: MIT */
#include "mail/envelope.h"

#include <string.h>

#include "mail/address.h"
#include "mail/header.h"

enum { QUOTED_MAX = 1000 };

enum err
envelope_write_string(struct str s, struct buf *out)
{
	int quotable = s.len <= QUOTED_MAX;
	size_t escapes = 0;
	char *q;

	for (size_t i = 0; quotable && i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		quotable = c >= 0x20 && c <= 0x7e;
		escapes += c == '"' || c == '\\';
	}
	if (!quotable)
		buf_printf(out, "{%zu}\r\n", s.len);
	if (buf_reserve(out, s.len + escapes + 2))
		return E_TOOBIG;
	q = out->p + out->len;
	if (quotable)
		*q++ = '"';
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (quotable && (c == '"' || c == '\\'))
			*q++ = '\\';
		*q++ = c ? c : (char)0x80;
	}
	if (quotable)
		*q++ = '"';
	out->len = (size_t)(q - out->p);
	return out->err;
}

enum err
envelope_write_nstring(struct str s, struct buf *out)
{
	return s.p ? envelope_write_string(s, out) : buf_add(out, "NIL", 3);
}

/* A field's value as a string. Most are one line and need no copy. */
static void
write_value(const struct mime_field *f, struct buf *out)
{
	struct buf unfolded = BUF_INIT(0);
	struct str v;

	if (!f) {
		buf_add_cstr(out, "NIL");
		return;
	}
	v = str_trim(f->value);
	if (!v.p)
		v = STR("");
	if (memchr(v.p, '\n', v.len) || memchr(v.p, '\r', v.len) || memchr(v.p, 0, v.len)) {
		header_unfold(v, &unfolded);
		v = buf_str(&unfolded);
	}
	envelope_write_string(v, out);
	buf_free(&unfolded);
}

static void
write_address(const struct address *a, struct buf *out)
{
	buf_add_char(out, '(');
	envelope_write_nstring(a->name, out);
	buf_add_char(out, ' ');
	envelope_write_nstring(a->route, out);
	buf_add_char(out, ' ');
	envelope_write_nstring(a->mailbox, out);
	buf_add_char(out, ' ');
	envelope_write_nstring(a->host, out);
	buf_add_char(out, ')');
}

/* What is written, and how many more addresses may be. */
struct writer {
	struct buf *out;
	int extended;
	size_t addresses_left;
};

#define WRITER(buffer, extension_data)                                                             \
	((struct writer){buffer, extension_data, ENVELOPE_TEXT_ADDRESSES})

/* All fields of the name as one list; 0 and nothing written when there is no address. */
static int
write_addresses(struct writer *w, const struct mime_part *part, const char *name)
{
	size_t left = ENVELOPE_FIELD_ADDRESSES, written = 0;

	if (left > w->addresses_left)
		left = w->addresses_left;
	for (size_t i = 0; i < part->field_count && left; i++) {
		struct address_list list;

		if (!str_is_i(part->fields[i].name, name))
			continue;
		address_parse_rfc822(part->fields[i].value, left, &list);
		if (list.n && !written)
			buf_add_char(w->out, '(');
		for (size_t k = 0; k < list.n; k++)
			write_address(&list.v[k], w->out);
		written += list.n;
		left -= list.n < left ? list.n : left;
		address_list_free(&list);
	}
	if (!written)
		return 0;
	w->addresses_left -= written < w->addresses_left ? written : w->addresses_left;
	buf_add_char(w->out, ')');
	return 1;
}

/*
 * Sender and Reply-To fall back on From (RFC 9051 section 7.5.2): its list, which is in out
 * already, is repeated.
 */
static void
write_address_fields(struct writer *w, const struct mime_part *part)
{
	static const char *const names[] = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc"};
	struct buf *out = w->out;
	size_t from_off = out->len, from_len = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!write_addresses(w, part, names[i])) {
			if ((i == 1 || i == 2) && from_len && !buf_reserve(out, from_len))
				buf_add(out, out->p + from_off, from_len);
			else
				buf_add_cstr(out, "NIL");
		} else if (i == 0) {
			from_len = out->len - from_off;
		}
		buf_add_char(out, ' ');
	}
}

static void
write_envelope(struct writer *w, const struct mime_part *part)
{
	buf_add_char(w->out, '(');
	write_value(mime_field_find(part, "Date"), w->out);
	buf_add_char(w->out, ' ');
	write_value(mime_field_find(part, "Subject"), w->out);
	buf_add_char(w->out, ' ');
	write_address_fields(w, part);
	write_value(mime_field_find(part, "In-Reply-To"), w->out);
	buf_add_char(w->out, ' ');
	write_value(mime_field_find(part, "Message-ID"), w->out);
	buf_add_char(w->out, ')');
}

enum err
envelope_write(const struct mime_part *part, struct buf *out)
{
	struct writer w = WRITER(out, 0);

	write_envelope(&w, part);
	return out->err;
}

static void
write_params(const struct mime_params *params, struct buf *out)
{
	char name[128];

	if (!params->n) {
		buf_add_cstr(out, "NIL");
		return;
	}
	for (size_t i = 0; i < params->n; i++) {
		const struct mime_param *p = &params->v[i];
		struct str n = p->name;

		buf_add_char(out, i ? ' ' : '(');
		if (p->extended && n.len < sizeof(name)) {
			memcpy(name, n.p, n.len);
			name[n.len] = '*';
			n = str_make(name, n.len + 1);
		}
		envelope_write_string(n, out);
		buf_add_char(out, ' ');
		envelope_write_string(p->raw, out);
	}
	buf_add_char(out, ')');
}

/* body-fld-dsp SP body-fld-lang SP body-fld-loc, a blank before each. */
static void
write_extension_tail(const struct mime_part *part, struct buf *out)
{
	if (part->disposition.p) {
		buf_add_cstr(out, " (");
		envelope_write_string(part->disposition, out);
		buf_add_char(out, ' ');
		write_params(&part->disposition_params, out);
		buf_add_char(out, ')');
	} else {
		buf_add_cstr(out, " NIL");
	}
	if (part->language_count) {
		buf_add_cstr(out, " (");
		for (size_t i = 0; i < part->language_count; i++) {
			if (i)
				buf_add_char(out, ' ');
			envelope_write_string(part->languages[i], out);
		}
		buf_add_char(out, ')');
	} else {
		buf_add_cstr(out, " NIL");
	}
	buf_add_char(out, ' ');
	envelope_write_nstring(part->location, out);
}

static void write_body(struct writer *w, const struct mime_part *part);

/*
 * What stands where a part must be and none is: a multipart without parts, or a message too deep to
 * be looked into.
 */
static void
write_empty_part(struct writer *w)
{
	buf_add_cstr(w->out, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0");
	buf_add_cstr(w->out, w->extended ? " NIL NIL NIL NIL)" : ")");
}

static void
write_multipart(struct writer *w, const struct mime_part *part)
{
	struct buf *out = w->out;

	buf_add_char(out, '(');
	for (const struct mime_part *c = part->child; c; c = c->next)
		write_body(w, c);
	if (!part->child)
		write_empty_part(w);
	buf_add_char(out, ' ');
	envelope_write_string(part->subtype, out);
	if (w->extended) {
		buf_add_char(out, ' ');
		write_params(&part->params, out);
		write_extension_tail(part, out);
	}
	buf_add_char(out, ')');
}

static void
write_message(struct writer *w, const struct mime_part *part)
{
	static const struct mime_part nothing;

	buf_add_char(w->out, ' ');
	write_envelope(w, part->child ? part->child : &nothing);
	buf_add_char(w->out, ' ');
	if (part->child)
		write_body(w, part->child);
	else
		write_empty_part(w);
}

static int
is_message(const struct mime_part *part)
{
	return str_is_i(part->type, "message") &&
	       (str_is_i(part->subtype, "rfc822") || str_is_i(part->subtype, "global"));
}

static void
write_single(struct writer *w, const struct mime_part *part)
{
	struct buf *out = w->out;
	int message = is_message(part), text = str_is_i(part->type, "text");

	buf_add_char(out, '(');
	envelope_write_string(part->type, out);
	buf_add_char(out, ' ');
	envelope_write_string(part->subtype, out);
	buf_add_char(out, ' ');
	if (text && !part->has_type)
		buf_add_cstr(out, "(\"charset\" \"us-ascii\")");
	else
		write_params(&part->params, out);
	buf_add_char(out, ' ');
	envelope_write_nstring(part->content_id, out);
	buf_add_char(out, ' ');
	envelope_write_nstring(part->description, out);
	buf_add_char(out, ' ');
	envelope_write_string(part->encoding_name.p ? part->encoding_name : STR("7bit"), out);
	buf_add_char(out, ' ');
	buf_add_u64(out, mime_body_size(part));
	if (message)
		write_message(w, part);
	if (message || text) {
		buf_add_char(out, ' ');
		buf_add_u64(out, part->body_lines);
	}
	if (w->extended) {
		buf_add_char(out, ' ');
		envelope_write_nstring(part->md5, out);
		write_extension_tail(part, out);
	}
	buf_add_char(out, ')');
}

static void
write_body(struct writer *w, const struct mime_part *part)
{
	if (w->out->err)
		return; /* full: no more work for nothing */
	if (part->kind == MIME_MULTIPART)
		write_multipart(w, part);
	else
		write_single(w, part);
}

enum err
envelope_write_body(const struct mime_message *m, struct buf *out)
{
	struct writer w = WRITER(out, 0);

	write_body(&w, m->root);
	return out->err;
}

enum err
envelope_write_bodystructure(const struct mime_message *m, struct buf *out)
{
	struct writer w = WRITER(out, 1);

	write_body(&w, m->root);
	return out->err;
}
