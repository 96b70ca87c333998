/* SPDX-License-Identifier: MIT */
#include "imap/incoming.h"

#include <string.h>

#include "imap/part.h"
#include "imap/rights.h"
#include "mail/convert.h"
#include "mail/imap_url.h"
#include "mail/mime.h"

enum { CHUNK = 65536 };

/* The first reason stays. Returns an error, which keeps the parser from going on. */
static enum err
refuse(struct imap_incoming *in, const char *code, const char *text)
{
	if (!in->text && !in->e) {
		in->code = code;
		in->text = text;
	}
	return E_CANCELLED;
}

enum err
imap_incoming_refuse(struct imap_incoming *in, enum err e)
{
	if (e == E_NOTFOUND)
		return refuse(in, "TRYCREATE", "There is no such mailbox");
	if (!in->text && !in->e)
		in->e = e;
	return E_CANCELLED;
}

enum err
imap_incoming_reply(struct imap_session *s, const struct imap_incoming *in)
{
	return in->text ? imap_reply_no(s, in->code, in->text)
			: imap_reply_error(s, in->e, "mailbox");
}

void
imap_incoming_fini(struct imap_incoming *in)
{
	index_append_free(&in->message);
	imap_flags_free(&in->flags);
	buf_free(&in->code_text);
	*in = (struct imap_incoming){0};
}

/* Flags and date in front of a message's bytes. */
static void
options_parse(struct imap_parser *p, struct imap_incoming *in)
{
	time_t when = 0;
	int zone;

	if (imap_parse_peek(p) == '(') {
		(void)imap_parse_flag_list(p, &in->flags);
		(void)imap_parse_space(p);
	}
	if (imap_parse_peek(p) == '"') {
		(void)imap_parse_date_time(p, &when, &zone);
		(void)imap_parse_space(p);
	}
	in->info.flags = in->flags.system;
	in->info.keywords = (const char *const *)in->flags.keywords;
	in->info.keyword_count = in->flags.count;
	in->info.internal_date = when;
}

/* Whether so many more octets are too many. */
static enum err
grow(struct imap_session *s, struct imap_incoming *in, uint64_t size)
{
	uint64_t max = (uint64_t)s->conf->max_message_size;

	if (size > max || in->size > max - size)
		return refuse(in, "TOOBIG", "The message is larger than this server takes");
	in->size += size;
	return OK;
}

/* ---- literals ---- */

/* Where the octets of a literal go: to the message, or to memory. */
struct literal {
	uint64_t size;
	int sync;
	int has_nul;
	struct buf *held; /* NULL: to the message */
};

/*
 * What the client has been allowed to send is taken to its end, whatever happens to it here. Errors
 * are those of the connection.
 */
static enum err
literal_copy(struct imap_session *s, struct imap_incoming *in, struct literal *l)
{
	uint64_t left = l->size;
	enum err failed = OK, e;
	struct str part;

	while (left > 0) {
		e = stream_peek(s->client, left < CHUNK ? (size_t)left : CHUNK, &part);
		if (e)
			return e;
		l->has_nul |= memchr(part.p, '\0', part.len) != NULL;
		if (l->held)
			(void)buf_add_str(l->held, part);
		else if (!failed && !l->has_nul)
			failed = index_append_write(in->message, part.p, part.len);
		stream_consume(s->client, part.len);
		left -= part.len;
	}
	if (failed)
		(void)imap_incoming_refuse(in, failed);
	return OK;
}

/* The client sends what was announced; *l has its head. */
static enum err
literal_take(
	struct imap_session *s, struct imap_parser *p, struct imap_incoming *in, struct literal *l)
{
	enum err e;

	if (l->sync)
		(void)stream_write_cstr(s->client, "+ OK\r\n");
	e = literal_copy(s, in, l);
	if (e)
		return imap_parser_fail(p, e, "");
	if (l->has_nul && !l->held)
		(void)imap_parser_fail(p, E_PARSE, "a NUL byte in the message");
	(void)imap_parse_literal_done(p, l->size);
	if (p->err)
		return p->err;
	return in->text || in->e ? E_CANCELLED : OK;
}

/* Everything that can be said before the client sends the bytes. */
static enum err
message_begin(
	struct imap_session *s, struct imap_incoming *in, uint32_t mailbox, uint64_t size_hint)
{
	unsigned rights = 0;
	enum err e = imap_rights_get(s, mailbox, &rights, NULL);

	if (!e && !(rights & RIGHT_INSERT))
		e = E_ACCESS;
	/* RFC 4314 section 4: flags that may not be set are lost, and nothing fails for them. */
	in->info.flags &= index_rights_flags(rights);
	if (!(rights & RIGHT_WRITE))
		in->info.keyword_count = 0;
	if (!e)
		e = index_append_create(s->index, mailbox,
			in->replaces ? INDEX_APPEND_UNCHECKED : size_hint, &in->message);

	return e ? imap_incoming_refuse(in, e) : OK;
}

/* ---- a message with binary parts ---- */

static int
has_binary(struct str message)
{
	struct mime_message *m;
	int found = 0;

	mime_parse(message, NULL, &m);
	for (const struct mime_part *p = m->root; p && !found; p = mime_part_next(p))
		found = p->encoding == MAIL_ENCODING_BINARY;
	mime_message_free(&m);
	return found;
}

/*
 * Files keep lines, not bytes, so what is binary is stored as base64 (RFC 3516 section 4.4: another
 * encoding is allowed, a loss is not). A NUL where no encoding can be given stays, and is refused.
 */
static enum err
binary_store(struct imap_incoming *in, struct literal *l)
{
	struct buf converted = {0};
	struct str message = buf_str(l->held);
	enum err e = OK;

	if (l->has_nul || has_binary(message)) {
		e = mail_convert(message, CONVERT_STORED, &converted);
		message = buf_str(&converted);
	}
	if (!e && memchr(message.p, '\0', message.len))
		e = refuse(in, "UNKNOWN-CTE", "A NUL outside of a part that could be encoded");
	else if (!e)
		e = index_append_write(in->message, message.p, message.len);
	buf_free(&converted);
	return e && e != E_CANCELLED ? imap_incoming_refuse(in, e) : e;
}

static enum err
literal_message_take(
	struct imap_session *s, struct imap_parser *p, uint32_t mailbox, struct imap_incoming *in)
{
	struct buf held = {0};
	int binary = imap_parse_try(p, '~');
	struct literal l = {.held = binary ? &held : NULL};
	enum err e = imap_parse_literal_start(p, &l.size, &l.sync);

	if (!e)
		e = grow(s, in, l.size);
	/* RFC 3502 section 6.3.11: how a client calls it off. */
	if (!e && l.size == 0)
		e = refuse(in, NULL, "A message cannot be empty");
	if (!e)
		e = message_begin(s, in, mailbox, l.size);
	if (!e)
		e = literal_take(s, p, in, &l);
	if (!e && binary)
		e = binary_store(in, &l);
	buf_free(&held);
	return e;
}

/* ---- CATENATE ---- */

static enum err
bad_url(struct imap_incoming *in, struct str url, const char *text)
{
	/* Of what a client sent only that goes back which a response code can hold (RFC 4469
	   section 5). */
	(void)buf_add_cstr(&in->code_text, "BADURL ");
	for (size_t i = 0; i < url.len; i++)
		(void)buf_add_char(&in->code_text,
			url.p[i] == ']' || (unsigned char)url.p[i] < 0x20 ? '?' : url.p[i]);
	return refuse(in, buf_cstr(&in->code_text), text);
}

static enum err
to_message(void *ctx, const char *bytes, size_t len)
{
	return index_append_write(ctx, bytes, len);
}

/* The octets as FETCH BODY[section] would send them. */
static enum err
section_add(struct imap_session *s, struct imap_incoming *in, const struct imap_url *url,
	uint32_t mailbox)
{
	struct index_content content = {.fd = -1};
	struct imap_part part;
	enum err e = index_content_open(s->index, mailbox, url->uid, &content);

	if (e)
		return e;
	e = imap_part_open(&url->section, &content, &part);
	if (!e)
		e = grow(s, in, section_range_len(&part.data, url->off, url->count));
	if (!e)
		e = section_write(&part.data, url->off, url->count, 0, to_message, in->message);
	imap_part_close(&part);
	index_content_close(&content);
	return e;
}

static enum err
url_add(struct imap_session *s, struct imap_incoming *in, struct str text)
{
	struct index_mailbox box = {0};
	struct imap_url url;
	enum err e = imap_url_parse(text, &url);

	if (!e && url.mailbox)
		e = index_mailbox_get(s->index, str_of(url.mailbox), &box);
	else if (!e && s->state == IMAP_SELECTED)
		e = index_mailbox_get_id(s->index, s->mailbox, &box);
	else if (!e)
		e = E_NOTFOUND;
	if (!e && imap_rights_check(s, box.id, RIGHT_READ))
		e = E_NOTFOUND;
	if (!e && url.uidvalidity && url.uidvalidity != box.uidvalidity)
		e = E_NOTFOUND;
	if (!e)
		e = section_add(s, in, &url, box.id);
	if (e == E_NOTFOUND)
		e = bad_url(in, text, "There is no such message or part");
	else if (e == E_PARSE || e == E_UNSUPPORTED || e == E_TOOBIG)
		e = bad_url(in, text, "No URL of a message on this server");
	else if (e && e != E_CANCELLED)
		e = imap_incoming_refuse(in, e);
	index_mailbox_free(&box);
	imap_url_fini(&url);
	return e;
}

static enum err
text_add(struct imap_session *s, struct imap_parser *p, struct imap_incoming *in)
{
	struct literal l = {0};
	enum err e = imap_parse_literal_start(p, &l.size, &l.sync);

	if (!e)
		e = grow(s, in, l.size);
	return e ? e : literal_take(s, p, in, &l);
}

static enum err
catenate_take(
	struct imap_session *s, struct imap_parser *p, uint32_t mailbox, struct imap_incoming *in)
{
	size_t n = 0;
	enum err e = OK;

	(void)imap_parse_space(p);
	if (imap_parse_open(p))
		return p->err;
	e = message_begin(s, in, mailbox, 0);
	while (!e && imap_parse_item(p, &n)) {
		struct str url;

		if (imap_parse_try_word(p, "TEXT")) {
			(void)imap_parse_space(p);
			e = text_add(s, p, in);
		} else if (imap_parse_try_word(p, "URL")) {
			(void)imap_parse_space(p);
			e = imap_parse_astring(p, &url);
			if (!e)
				e = url_add(s, in, url);
		} else {
			e = imap_parser_fail(p, E_PARSE, "expected TEXT or URL");
		}
	}
	if (e || p->err)
		return e ? e : p->err;
	return in->size ? OK : refuse(in, NULL, "A message cannot be empty");
}

enum err
imap_incoming_take(
	struct imap_session *s, struct imap_parser *p, uint32_t mailbox, struct imap_incoming *in)
{
	enum err e;

	options_parse(p, in);
	if (p->err)
		return p->err;
	e = imap_parse_try_word(p, "CATENATE") ? catenate_take(s, p, mailbox, in)
					       : literal_message_take(s, p, mailbox, in);
	if (!e) {
		e = index_append_finish(in->message);
		if (e)
			e = imap_incoming_refuse(in, e);
	}
	return e;
}
