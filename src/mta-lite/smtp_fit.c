/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_fit.h"

#include <string.h>

#include "mail/convert.h"
#include "mail/mime.h"

static enum err
read_all(const struct smtp_send *m, struct buf *out)
{
	char chunk[32 * 1024];
	struct str piece;
	enum err e;

	do {
		e = m->read(m->arg, out->len, chunk, sizeof(chunk), &piece);
		if (!e)
			e = buf_add_str(out, piece);
	} while (!e && piece.len);
	return !e && out->len != m->size ? E_IO : e;
}

static enum err
read_converted(void *arg, uint64_t offset, void *p, size_t size, struct str *out)
{
	struct str content = buf_str(arg);
	size_t at = offset < content.len ? (size_t)offset : content.len;

	(void)p;
	*out = str_make(content.p + at, content.len - at < size ? content.len - at : size);
	return OK;
}

static enum err
convert(struct smtp_fit *f, enum convert_channel channel)
{
	struct buf content = {0};
	enum err e = read_all(&f->m, &content);

	if (!e)
		e = mail_convert(buf_str(&content), channel, &f->converted);
	buf_free(&content);
	f->m.has_8bit = !str_is_ascii(buf_str(&f->converted));
	f->m.size = f->converted.len;
	f->m.read = read_converted;
	f->m.arg = &f->converted;
	return e;
}

static enum err
parse(const struct smtp_send *m, struct mime_message **out)
{
	struct mime_parser *parser = mime_parser_create(NULL);
	char chunk[32 * 1024];
	struct str piece = {0};
	uint64_t off = 0;
	enum err e;

	do {
		e = m->read(m->arg, off, chunk, sizeof(chunk), &piece);
		if (!e)
			mime_parser_feed(parser, piece.p, piece.len);
		off += piece.len;
	} while (!e && piece.len);
	mime_parser_finish(parser, out);
	mime_parser_free(&parser);
	return e;
}

static enum err
range_is_8bit(const struct smtp_send *m, uint64_t off, uint64_t len, int *yes)
{
	char chunk[8 * 1024];
	struct str piece;

	while (len > 0 && !*yes) {
		enum err e = m->read(m->arg, off, chunk,
			len < sizeof(chunk) ? (size_t)len : sizeof(chunk), &piece);

		if (e || piece.len == 0)
			return e;
		if (piece.len > len)
			piece.len = (size_t)len;
		*yes = !str_is_ascii(piece);
		off += piece.len;
		len -= piece.len;
	}
	return OK;
}

/* Whether a header, of the message or at any depth in it, has bytes over 0x7f (section 3.2). */
static enum err
header_is_8bit(const struct smtp_send *m, int *yes)
{
	struct mime_message *message;
	const struct mime_part *p;
	enum err e;

	*yes = 0;
	e = parse(m, &message);
	for (p = message->has_8bit ? message->root : NULL; p && e == OK && !*yes;
		p = mime_part_next(p))
		e = range_is_8bit(m, p->header_off, p->header_len, yes);
	mime_message_free(&message);
	return e;
}

static void
refuse_all(const struct smtp_fit *f, struct smtp_answer *answers, const struct smtp_answer *why)
{
	size_t i;

	for (i = 0; i < f->m.rcpt_count; i++) {
		if (answers[i].text == NULL)
			smtp_answer_copy(&answers[i], why);
	}
}

/*
 * RFC 6531 section 3.4: the parameter is said when a name or the header needs it. What the server
 * cannot have is refused with 5.6.7 (section 3.5).
 */
static enum err
fit_utf8(struct smtp_fit *f, unsigned ext, int lmtp, struct smtp_answer *answers)
{
	int sender = !str_is_ascii(str_of(f->m.sender)), header = 0;
	struct smtp_answer a = {0};
	size_t i, rcpts = 0;
	enum err e = OK;

	for (i = 0; i < f->m.rcpt_count; i++)
		rcpts += !str_is_ascii(str_of(f->m.rcpts[i].address));
	if (f->m.flags & QUEUE_SMTPUTF8)
		e = header_is_8bit(&f->m, &header);
	if (e || !(sender || header || rcpts))
		return e;
	if (ext & SMTP_EXT_SMTPUTF8) {
		f->utf8 = 1;
		return OK;
	}
	if (lmtp && !sender && !rcpts)
		return OK; /* a header that is stored as it is */
	smtp_answer_set(&a, QUEUE_FAILED, "5.6.7",
		"the message needs SMTPUTF8, which the server does not offer");
	for (i = 0; i < f->m.rcpt_count; i++) {
		if ((sender || header || !str_is_ascii(str_of(f->m.rcpts[i].address))) &&
			answers[i].text == NULL)
			smtp_answer_copy(&answers[i], &a);
	}
	smtp_answer_free(&a);
	return OK;
}

static enum err
fit_body(struct smtp_fit *f, unsigned ext, int lmtp)
{
	const unsigned binary = SMTP_EXT_CHUNKING | SMTP_EXT_BINARYMIME;
	int narrow = !(ext & SMTP_EXT_8BITMIME) && !lmtp;

	if (f->m.flags & QUEUE_BINARY) {
		f->bdat = (ext & binary) == binary;
		if (!f->bdat)
			return convert(f, narrow ? CONVERT_7BIT : CONVERT_8BIT);
	} else if (f->m.has_8bit && narrow) {
		return convert(f, CONVERT_7BIT);
	}
	return OK;
}

enum err
smtp_fit(const struct smtp_send *m, unsigned ext, uint64_t size_limit, int lmtp,
	struct smtp_fit *out, struct smtp_answer *answers)
{
	struct smtp_answer a = {0};
	enum err e;

	memset(out, 0, sizeof(*out));
	out->m = *m;
	e = fit_utf8(out, ext, lmtp, answers);
	if (e == OK)
		e = fit_body(out, ext, lmtp);
	if (e)
		return e;
	if ((m->flags & QUEUE_REQUIRETLS) && !(ext & SMTP_EXT_REQUIRETLS) && !lmtp)
		/* RFC 8689 section 4.2.1. */
		smtp_answer_set(&a, QUEUE_FAILED, "5.7.30",
			"the sender requires TLS all the way, and the server does not offer "
			"REQUIRETLS");
	else if (size_limit > 0 && out->m.size > size_limit)
		smtp_answer_set(&a, QUEUE_FAILED, "5.3.4",
			"the message of %llu bytes is larger than the server's limit of %llu",
			(unsigned long long)out->m.size, (unsigned long long)size_limit);
	else if (out->m.has_8bit && !out->bdat && !(ext & SMTP_EXT_8BITMIME) && !lmtp)
		smtp_answer_set(&a, QUEUE_FAILED, "5.6.3",
			"the header has 8-bit bytes and the server does not offer 8BITMIME");
	if (a.text)
		refuse_all(out, answers, &a);
	smtp_answer_free(&a);
	return OK;
}

void
smtp_fit_free(struct smtp_fit *f)
{
	buf_free(&f->converted);
}
