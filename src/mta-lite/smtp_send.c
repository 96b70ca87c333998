/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_client.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"
#include "mail/convert.h"
#include "mta-lite/smtp_client_private.h"
#include "mta-lite/smtp_data.h"

/* Commands that may be on their way unanswered: both sides' socket buffers hold as many. */
enum { SMTP_WINDOW = 100 };

struct transaction {
	struct smtp_client *c;
	const struct smtp_send *m;
	struct smtp_answer *answers;
	unsigned char *accepted; /* by RCPT, one for each recipient */
	size_t accepted_count;
	int mail_ok;
	int data_said; /* DATA went out with the envelope */
};

/* The same answer for every recipient that has none yet. */
static void
answer_rest(struct transaction *t, const struct smtp_answer *a)
{
	size_t i;

	for (i = 0; i < t->m->rcpt_count; i++) {
		if (t->answers[i].text == NULL)
			smtp_answer_copy(&t->answers[i], a);
	}
}

static enum err
lost(struct transaction *t, enum err e, const char *step)
{
	struct smtp_answer a = {0};

	t->c->broken = 1;
	smtp_client_answer(t->c, e, step, &a);
	answer_rest(t, &a);
	smtp_answer_free(&a);
	return e;
}

static enum err
say_mail(struct transaction *t)
{
	const struct smtp_send *m = t->m;
	struct smtp_client *c = t->c;
	struct buf line = {0};
	enum err e;

	buf_printf(&line, "MAIL FROM:<%s>", m->sender);
	if (c->ext & SMTP_EXT_SIZE)
		buf_printf(&line, " SIZE=%llu", (unsigned long long)m->size);
	if (m->has_8bit && (c->ext & SMTP_EXT_8BITMIME))
		buf_add_cstr(&line, " BODY=8BITMIME");
	if ((c->ext & SMTP_EXT_DSN) && !c->lmtp) {
		if (m->ret != DSN_RET_NONE)
			buf_printf(&line, " RET=%s", m->ret == DSN_RET_FULL ? "FULL" : "HDRS");
		if (m->envid[0]) {
			buf_add_cstr(&line, " ENVID=");
			dsn_xtext_encode(str_of(m->envid), &line);
		}
	}
	e = smtp_client_command(c, "%s", buf_cstr(&line));
	buf_free(&line);
	return e;
}

static enum err
say_rcpt(struct transaction *t, const struct smtp_send_rcpt *r)
{
	struct buf line = {0};
	enum err e;

	buf_printf(&line, "RCPT TO:<%s>", r->address);
	if ((t->c->ext & SMTP_EXT_DSN) && !t->c->lmtp) {
		if (r->notify) {
			buf_add_cstr(&line, " NOTIFY=");
			dsn_notify_format(r->notify, &line);
		}
		if (r->orcpt && r->orcpt[0]) {
			buf_add_cstr(&line, " ORCPT=");
			dsn_orcpt_format(str_of(r->orcpt), &line);
		}
	}
	e = smtp_client_command(t->c, "%s", buf_cstr(&line));
	buf_free(&line);
	return e;
}

static enum err
read_mail_reply(struct transaction *t)
{
	enum err e = smtp_client_reply(t->c, SMTP_WAIT_ENVELOPE_MS);
	struct smtp_answer a = {0};

	if (e)
		return lost(t, e, "MAIL");
	t->mail_ok = smtp_reply_class(&t->c->reply) == 2;
	if (!t->mail_ok) {
		smtp_client_answer(t->c, OK, "MAIL", &a);
		answer_rest(t, &a);
		smtp_answer_free(&a);
	}
	return OK;
}

static enum err
read_rcpt_reply(struct transaction *t, size_t i)
{
	enum err e = smtp_client_reply(t->c, SMTP_WAIT_ENVELOPE_MS);

	if (e)
		return lost(t, e, "RCPT");
	if (smtp_reply_class(&t->c->reply) == 2) {
		if (t->mail_ok) {
			t->accepted[i] = 1;
			t->accepted_count++;
		}
		return OK;
	}
	if (t->answers[i].text != NULL)
		return OK; /* MAIL was refused already */
	smtp_client_answer(t->c, OK, "RCPT", &t->answers[i]);
	/* RFC 5321 section 4.5.3.1.10: 552 at RCPT means "too many", try these again. */
	if (t->answers[i].code == 552 && t->accepted_count > 0) {
		t->answers[i].status = QUEUE_PENDING;
		memcpy(t->answers[i].dsn, "4.5.3", sizeof("4.5.3"));
	}
	return OK;
}

/* MAIL, RCPT... and, if all fits into one window, DATA in one go (RFC 2920). */
static enum err
envelope_pipelined(struct transaction *t)
{
	size_t done = 0, n = t->m->rcpt_count, i;
	enum err e = say_mail(t);

	while (e == OK && done < n) {
		size_t group = n - done < SMTP_WINDOW ? n - done : SMTP_WINDOW;

		for (i = 0; i < group && e == OK; i++)
			e = say_rcpt(t, &t->m->rcpts[done + i]);
		if (e == OK && done + group == n && n <= SMTP_WINDOW) {
			e = smtp_client_command(t->c, "DATA");
			t->data_said = 1;
		}
		if (e)
			return lost(t, e, "the envelope");
		if (done == 0)
			e = read_mail_reply(t);
		for (i = 0; i < group && e == OK; i++)
			e = read_rcpt_reply(t, done + i);
		if (e)
			return e;
		if (!t->mail_ok)
			return OK;
		done += group;
	}
	return e ? lost(t, e, "the envelope") : OK;
}

static enum err
envelope_by_steps(struct transaction *t)
{
	enum err e = say_mail(t);
	size_t i;

	if (e)
		return lost(t, e, "MAIL");
	e = read_mail_reply(t);
	for (i = 0; e == OK && t->mail_ok && i < t->m->rcpt_count; i++) {
		e = say_rcpt(t, &t->m->rcpts[i]);
		if (e)
			return lost(t, e, "RCPT");
		e = read_rcpt_reply(t, i);
	}
	return e;
}

static enum err
send_content(struct transaction *t)
{
	enum smtp_data_state state = SMTP_DATA_LINE_START;
	char chunk[32 * 1024];
	struct buf out = {0};
	uint64_t off = 0;
	enum err e;

	smtp_io_set_timeout(t->c->io, SMTP_WAIT_BLOCK_MS);
	for (;;) {
		struct str piece;

		e = t->m->read(t->m->arg, off, chunk, sizeof(chunk), &piece);
		if (e || piece.len == 0)
			break;
		off += piece.len;
		buf_reset(&out);
		smtp_data_stuff(&state, piece, &out);
		e = smtp_io_write(t->c->io, buf_str(&out));
		if (e)
			break;
	}
	/* A message that could not be read to its end must not be ended as if it were whole. */
	if (e == OK && off != t->m->size)
		e = E_IO;
	if (e == OK) {
		buf_reset(&out);
		smtp_data_finish(&state, &out);
		e = smtp_io_write(t->c->io, buf_str(&out));
	}
	buf_free(&out);
	return e;
}

/* DATA was accepted with no recipient behind it: an empty message ends it (RFC 2920 section 3.1).
 */
static enum err
end_empty_data(struct transaction *t)
{
	enum err e = smtp_io_write(t->c->io, STR(".\r\n"));

	if (e == OK)
		e = smtp_client_reply(t->c, SMTP_WAIT_END_MS);
	return e ? lost(t, e, "the end of an empty message") : OK;
}

static enum err
read_final_replies(struct transaction *t)
{
	size_t i, n = t->m->rcpt_count;
	enum err e;

	for (i = 0; i < n; i++) {
		if (!t->accepted[i])
			continue;
		e = smtp_client_reply(t->c, SMTP_WAIT_END_MS);
		if (e)
			return lost(t, e, "the end of data");
		smtp_client_answer(t->c, OK, "the end of data", &t->answers[i]);
		if (t->c->lmtp)
			continue;
		/* A server that takes DSN parameters reports success itself. */
		if (t->answers[i].status == QUEUE_DELIVERED && (t->c->ext & SMTP_EXT_DSN))
			t->answers[i].status = QUEUE_RELAYED;
		answer_rest(t, &t->answers[i]);
		return OK;
	}
	return OK;
}

static enum err
data_phase(struct transaction *t, int *sent)
{
	struct smtp_answer a = {0};
	enum err e = OK;

	if (!t->data_said) {
		if (t->accepted_count == 0)
			return OK;
		e = smtp_client_command(t->c, "DATA");
	}
	if (e == OK)
		e = smtp_client_reply(t->c, SMTP_WAIT_DATA_MS);
	if (e)
		return lost(t, e, "DATA");
	if (t->c->reply.code != 354) {
		smtp_client_answer(t->c, OK, "DATA", &a);
		if (a.status == QUEUE_DELIVERED)
			a.status = QUEUE_PENDING; /* 250 to DATA is nonsense */
		answer_rest(t, &a);
		smtp_answer_free(&a);
		return OK;
	}
	if (t->accepted_count == 0)
		return end_empty_data(t);
	e = send_content(t);
	if (e == OK) {
		*sent = 1;
		e = smtp_io_flush(t->c->io);
	}
	if (e == E_CLOSED && smtp_client_reply(t->c, SMTP_WAIT_DATA_MS) == OK &&
		smtp_reply_class(&t->c->reply) != 2) {
		/* It refused in the middle of the content and closed. */
		smtp_client_answer(t->c, OK, "DATA", &a);
		answer_rest(t, &a);
		smtp_answer_free(&a);
	}
	if (e)
		return lost(t, e, "the content");
	t->c->dirty = 0;
	return read_final_replies(t);
}

static enum err
leave_last_transaction(struct transaction *t)
{
	enum err e;

	if (!t->c->dirty)
		return OK;
	e = smtp_client_command(t->c, "RSET");
	if (e == OK)
		e = smtp_client_reply(t->c, SMTP_WAIT_ENVELOPE_MS);
	return e ? lost(t, e, "RSET") : OK;
}

/* ---- a server without 8BITMIME (RFC 6152 section 3) ---- */

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

/* *m becomes the message with its bodies in 7 bits, in *converted. */
static enum err
convert(struct smtp_send *m, struct buf *converted)
{
	struct buf content = {0};
	enum err e = read_all(m, &content);

	if (!e)
		e = mail_convert(buf_str(&content), CONVERT_7BIT, converted);
	buf_free(&content);
	m->has_8bit = !str_is_ascii(buf_str(converted));
	m->size = converted->len;
	m->read = read_converted;
	m->arg = converted;
	return e;
}

/* What the server cannot take at all, known before a word is said. */
static int
refused_by_extensions(struct transaction *t)
{
	struct smtp_client *c = t->c;
	struct smtp_answer a = {0};

	if (c->size_limit > 0 && t->m->size > c->size_limit)
		smtp_answer_set(&a, QUEUE_FAILED, "5.3.4",
			"the message of %llu bytes is larger than the server's limit of %llu",
			(unsigned long long)t->m->size, (unsigned long long)c->size_limit);
	else if (t->m->has_8bit && !(c->ext & SMTP_EXT_8BITMIME) && !c->lmtp)
		smtp_answer_set(&a, QUEUE_FAILED, "5.6.3",
			"the header has 8-bit bytes and the server does not offer 8BITMIME");
	else
		return 0;
	answer_rest(t, &a);
	smtp_answer_free(&a);
	return 1;
}

enum err
smtp_client_send(
	struct smtp_client *c, const struct smtp_send *m, struct smtp_answer *answers, int *sent)
{
	struct smtp_send narrow = *m;
	struct transaction t = {.c = c, .m = m, .answers = answers};
	struct buf converted = {0};
	enum err e = OK;

	*sent = 0;
	if (c->broken || c->closing)
		return lost(&t, E_CLOSED, "the start");
	if (m->has_8bit && !(c->ext & SMTP_EXT_8BITMIME) && !c->lmtp) {
		e = convert(&narrow, &converted);
		t.m = m = &narrow;
	}
	if (e || refused_by_extensions(&t)) {
		buf_free(&converted);
		return e ? lost(&t, e, "the content") : OK;
	}
	t.accepted = mem_zalloc(m->rcpt_count + 1);
	e = leave_last_transaction(&t);
	if (e == OK) {
		c->dirty = 1;
		e = c->ext & SMTP_EXT_PIPELINING ? envelope_pipelined(&t) : envelope_by_steps(&t);
	}
	if (e == OK)
		e = data_phase(&t, sent);
	free(t.accepted);
	buf_free(&converted);
	return e;
}
