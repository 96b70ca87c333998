/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_client.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"
#include "mta-lite/smtp_client_private.h"
#include "mta-lite/smtp_data.h"
#include "mta-lite/smtp_fit.h"

/* Commands that may be on their way unanswered: both sides' socket buffers hold as many. */
enum { SMTP_WINDOW = 100 };

struct transaction {
	struct smtp_client *c;
	const struct smtp_send *m; /* as it is sent */
	const struct smtp_fit *fit;
	struct smtp_answer *answers;
	unsigned char *wanted; /* to be named in RCPT, one for each recipient */
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
	if (t->fit->bdat)
		buf_add_cstr(&line, " BODY=BINARYMIME");
	else if (m->has_8bit && (c->ext & SMTP_EXT_8BITMIME))
		buf_add_cstr(&line, " BODY=8BITMIME");
	if (t->fit->utf8)
		buf_add_cstr(&line, " SMTPUTF8");
	if ((m->flags & QUEUE_REQUIRETLS) && (c->ext & SMTP_EXT_REQUIRETLS))
		buf_add_cstr(&line, " REQUIRETLS");
	if (m->priority && (c->ext & SMTP_EXT_PRIORITY))
		buf_printf(&line, " MT-PRIORITY=%d", m->priority);
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
			dsn_orcpt_format(str_of(r->orcpt), t->fit->utf8, &line);
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
	enum err e;

	if (!t->wanted[i])
		return OK;
	e = smtp_client_reply(t->c, SMTP_WAIT_ENVELOPE_MS);

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
			e = t->wanted[done + i] ? say_rcpt(t, &t->m->rcpts[done + i]) : OK;
		if (e == OK && done + group == n && n <= SMTP_WINDOW && !t->fit->bdat &&
			!t->m->all_or_none) {
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
		e = t->wanted[i] ? say_rcpt(t, &t->m->rcpts[i]) : OK;
		if (e)
			return lost(t, e, "RCPT");
		e = read_rcpt_reply(t, i);
	}
	return e;
}

/*
 * RFC 3030 section 2: one chunk, the last. Content that cannot be read to its end leaves the chunk
 * short, and the connection is closed: no server takes that for a message.
 */
static enum err
send_chunk(struct transaction *t)
{
	char chunk[32 * 1024];
	uint64_t off = 0;
	enum err e = smtp_client_command(t->c, "BDAT %llu LAST", (unsigned long long)t->m->size);

	smtp_io_set_timeout(t->c->io, SMTP_WAIT_BLOCK_MS);
	while (e == OK && off < t->m->size) {
		struct str piece;

		e = t->m->read(t->m->arg, off, chunk, sizeof(chunk), &piece);
		if (e == OK && (piece.len == 0 || piece.len > t->m->size - off))
			e = E_IO;
		if (e == OK)
			e = smtp_io_write(t->c->io, piece);
		off += piece.len;
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

/* DATA was accepted, or BDAT needs no asking. */
static enum err
content_phase(struct transaction *t, int *sent)
{
	struct smtp_answer a = {0};
	enum err e = t->fit->bdat ? send_chunk(t) : send_content(t);

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

/* With all_or_none: whether one was refused, which is the answer for all then. */
static int
is_off(struct transaction *t)
{
	size_t i;

	for (i = 0; t->m->all_or_none && i < t->m->rcpt_count; i++) {
		if (t->answers[i].text != NULL) {
			answer_rest(t, &t->answers[i]);
			return 1;
		}
	}
	return 0;
}

static enum err
data_phase(struct transaction *t, int *sent)
{
	struct smtp_answer a = {0};
	enum err e = OK;

	if (is_off(t))
		return OK;
	if (t->fit->bdat)
		return t->accepted_count > 0 ? content_phase(t, sent) : OK;
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
	return content_phase(t, sent);
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

static enum err
tell_client(struct transaction *t)
{
	enum err e = OK;

	if (t->m->xforward && (t->c->ext & SMTP_EXT_XFORWARD))
		e = smtp_client_xforward(t->c, str_of(t->m->xforward));
	return e ? lost(t, e, "XFORWARD") : OK;
}

/* Those that have an answer already are not named to the server. */
static size_t
count_wanted(const struct transaction *t)
{
	size_t i, n = 0;

	for (i = 0; i < t->m->rcpt_count; i++)
		n += t->answers[i].text == NULL;
	return n;
}

static enum err
send_group(struct smtp_client *c, const struct smtp_send *m, struct smtp_answer *answers, int *sent)
{
	struct smtp_fit fit;
	struct transaction t = {.c = c, .m = m, .answers = answers, .fit = &fit};
	enum err e = smtp_fit(m, c->ext, c->size_limit, c->lmtp, &fit, answers);

	t.m = &fit.m;
	t.wanted = mem_zalloc(m->rcpt_count + 1);
	t.accepted = mem_zalloc(m->rcpt_count + 1);
	if (e) {
		e = lost(&t, e, "the content");
	} else if (count_wanted(&t) > 0) {
		size_t i;

		for (i = 0; i < m->rcpt_count; i++)
			t.wanted[i] = answers[i].text == NULL;
		e = leave_last_transaction(&t);
		if (e == OK)
			e = tell_client(&t);
		if (e == OK) {
			c->dirty = 1;
			e = c->ext & SMTP_EXT_PIPELINING ? envelope_pipelined(&t)
							 : envelope_by_steps(&t);
		}
		if (e == OK)
			e = data_phase(&t, sent);
	}
	free(t.wanted);
	free(t.accepted);
	smtp_fit_free(&fit);
	return e;
}

enum err
smtp_client_send(
	struct smtp_client *c, const struct smtp_send *m, struct smtp_answer *answers, int *sent)
{
	struct transaction all = {.c = c, .m = m, .answers = answers};
	size_t limit = c->rcpt_limit ? c->rcpt_limit : m->rcpt_count, done = 0;
	enum err e = OK;

	*sent = 0;
	if (c->broken || c->closing)
		return lost(&all, E_CLOSED, "the start");
	if (m->all_or_none && limit < m->rcpt_count)
		return lost(&all, E_TOOBIG, "the number of recipients");
	while (e == OK && done < m->rcpt_count) {
		struct smtp_send group = *m;

		group.rcpts = m->rcpts + done;
		group.rcpt_count = m->rcpt_count - done < limit ? m->rcpt_count - done : limit;
		if (done > 0 && (c->broken || c->closing))
			e = E_CLOSED;
		else
			e = send_group(c, &group, answers + done, sent);
		done += group.rcpt_count;
	}
	return e ? lost(&all, e, "the next recipients") : OK;
}
