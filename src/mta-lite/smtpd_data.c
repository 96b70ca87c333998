/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_filter.h"
#include "mta-lite/smtpd_limit.h"
#include "mta-lite/smtpd_rewrite.h"
#include "mta-lite/smtpd_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/smtp_bdat.h"

/*
 * A message gets ten minutes, and more as long as it comes at a kilobyte a second (a slow line, not
 * somebody who holds the slot).
 */
enum { SMTPD_CHUNK = 64 * 1024, SMTPD_DATA_MS = 600 * 1000, SMTPD_DATA_RATE = 1 };

static void
limit_time(struct smtpd *d, int64_t begun_ms, uint64_t bytes)
{
	stream_set_deadline(d->io, begun_ms + SMTPD_DATA_MS + (int64_t)(bytes / SMTPD_DATA_RATE));
}

/* Keeps content. Of the first problem the reply is in *problem, and nothing is kept any more. */
static void
keep(struct smtpd *d, struct str bytes, const char **problem)
{
	struct smtpd_transaction *t = &d->t;
	enum err e;

	if (*problem)
		return;
	if (bytes.len > d->conf->max_message_size - t->spool.size) {
		*problem = "552 5.3.4 Message too large";
		return;
	}
	e = spool_add(&t->spool, bytes);
	if (e == E_NOSPACE)
		*problem = "452 4.3.1 Not enough disk space";
	else if (e)
		*problem = "451 4.3.0 The message could not be stored";
}

/*
 * Reads up to the real end of the data, whatever becomes of the message. OK: the end was seen;
 * *problem is the reply for a message that cannot be taken, NULL if it can.
 */
static enum err
read_content(struct smtpd *d, const char **problem)
{
	struct smtpd_transaction *t = &d->t;
	int64_t begun_ms = io_now_ms();
	uint64_t bytes = 0;
	struct buf out = {0};
	struct str in;
	enum err e = OK;

	*problem = NULL;
	while (t->data.state != SMTP_DATA_END) {
		size_t used;

		limit_time(d, begun_ms, bytes);
		e = stream_peek(d->io, SMTPD_CHUNK, &in);
		if (e)
			break;
		buf_reset(&out);
		used = smtp_data_feed(&t->data, in, &out);
		stream_consume(d->io, used);
		bytes += used;
		keep(d, buf_str(&out), problem);
	}
	stream_set_deadline(d->io, 0);
	buf_free(&out);
	return e;
}

/*
 * Bare CR and LF are refused and not repaired: other programs disagree about them, and that is
 * what smuggled messages live on.
 */
static const char *
content_problem(const struct smtpd *d)
{
	const struct smtp_data *data = &d->t.data;

	if (d->t.mail.binary)
		return NULL; /* any bytes at all (RFC 3030 section 3) */
	if (data->bare_lf)
		return "550 5.5.2 Bare LF in the message; lines end with CRLF";
	if (data->bare_cr)
		return "550 5.5.2 Bare CR in the message; lines end with CRLF";
	if (data->has_nul)
		return "550 5.6.0 NUL byte in the message";
	return NULL;
}

static const char *
make_head(struct smtpd *d)
{
	char *first = mem_alloc(SPOOL_MEMORY_MAX);
	const char *problem = NULL;
	struct str header;
	unsigned hops;

	if (spool_read(&d->t.spool, 0, first, SPOOL_MEMORY_MAX, &header)) {
		problem = "451 4.3.0 The message could not be read back";
	} else {
		smtpd_head_write(d, header, &hops);
		/* RFC 5321 section 6.3. */
		if (hops > SMTPD_HOPS_MAX)
			problem = "554 5.4.6 Too many hops: the message is in a loop";
	}
	free(first);
	return problem;
}

void
smtpd_log_reject(struct smtpd *d, const char *reply)
{
	log_event(LOGL_INFO, "smtpd.reject", "ip", d->peer_ip, "helo", d->helo, "user", d->user,
		"from", d->t.mail.from.address, "to", d->t.first_rcpt, "reply", reply, NULL);
}

/* For the log and mailq. */
static char *
client_text(const struct smtpd *d)
{
	const struct smtpd_origin *o = &d->t.origin;

	if (d->kind == SMTPD_LOCAL)
		return mem_printf("local user %ld", d->local_uid);
	return o->known ? mem_printf("%s[%s]", o->helo, o->ip)
			: mem_printf("%s[%s]", d->helo, d->peer_ip);
}

/* For reports, the parameter as it was given (RFC 4865 section 5.1.2). */
static void
note_release_asked(const struct smtp_mail *mail, struct queue_entry *q)
{
	struct buf text = {0};

	if (mail->hold_for) {
		buf_printf(&text, "for;%lld", (long long)mail->hold_for);
	} else if (mail->hold_until) {
		buf_add_cstr(&text, "until;");
		smtp_hold_date_write(&text, mail->hold_until);
	}
	free(q->release_asked);
	q->release_asked = mem_strdup(buf_cstr(&text));
	buf_free(&text);
}

static void
prepare_entry(struct smtpd *d)
{
	struct queue_entry *q = &d->t.entry;

	free(q->sender);
	free(q->envid);
	free(q->client);
	q->sender = mem_strdup(d->t.mail.from.address);
	q->envid = mem_strdup(d->t.mail.envid);
	q->client = client_text(d);
	q->ret = d->t.mail.ret;
	q->arrival = (int64_t)time(NULL);
	q->flags = d->t.data.has_8bit ? QUEUE_8BIT : 0;
	if (d->t.mail.binary)
		q->flags |= QUEUE_BINARY;
	if (d->t.mail.smtputf8)
		q->flags |= QUEUE_SMTPUTF8;
	if (d->t.mail.require_tls)
		q->flags |= QUEUE_REQUIRETLS;
	q->priority = d->t.mail.priority;
	q->hold_until = d->t.mail.hold_until;
	note_release_asked(&d->t.mail, q);
}

/* The end of the data was seen: one reply, and the dialogue is back at its start. */
static void
finish_message(struct smtpd *d, const char *problem)
{
	prepare_entry(d);
	if (problem == NULL)
		problem = content_problem(d);
	if (problem == NULL)
		problem = make_head(d);
	if (problem == NULL)
		problem = smtpd_rules_message(d);
	if (problem == NULL)
		problem = smtpd_rewrite_sender(d);
	if (problem == NULL)
		problem = smtpd_filter_message(d);
	if (problem == NULL)
		problem = smtpd_limit_take(d);
	if (problem) {
		smtpd_log_reject(d, problem);
		smtpd_reply(d, "%s", problem);
	} else if (!smtpd_deliver(d)) {
		smtpd_limit_return(d);
	}
	smtpd_transaction_reset(d);
}

static void
lost(struct smtpd *d, enum err e)
{
	log_event(LOGL_INFO, "smtpd.data lost", "ip", d->peer_ip, "from", d->t.mail.from.address,
		"error", err_word(e), NULL);
	smtpd_transaction_reset(d);
	/* The peer's death the next read tells the loop; a client that is too slow it would not. */
	if (e == E_TIMEOUT) {
		smtpd_reply(d, "421 4.4.2 %s Timed out, closing", smtp_hostname(d->conf));
		d->quit = 1;
	}
}

/* NULL: there is an envelope, and the lists let content come. */
static const char *
content_refusal(struct smtpd *d, const char *verb)
{
	const char *problem;

	if (!d->t.open || d->t.rcpt_count == 0) {
		if (d->t.rcpt_refused > 0)
			return "554 5.5.1 No valid recipients";
		buf_reset(&d->verdict);
		buf_printf(&d->verdict, "503 5.5.1 Need RCPT before %s", verb);
		return buf_cstr(&d->verdict);
	}
	problem = smtpd_rules_data(d);
	if (problem == NULL)
		problem = smtpd_filter_data(d);
	if (problem)
		smtpd_log_reject(d, problem);
	return problem;
}

void
smtpd_data(struct smtpd *d, struct str args)
{
	const char *problem;
	enum err e;

	if (args.len > 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: DATA");
		return;
	}
	/* RFC 3030 section 3. */
	if (d->t.mail.binary) {
		smtpd_reply(d, "503 5.5.1 BODY=BINARYMIME comes by BDAT");
		return;
	}
	/* RFC 3030 section 2: one message does not mix them. */
	if (d->t.bdat) {
		smtpd_reply(d, "503 5.5.1 DATA after BDAT");
		return;
	}
	problem = content_refusal(d, "DATA");
	if (problem) {
		smtpd_reply(d, "%s", problem);
		return;
	}
	smtpd_reply(d, "354 End data with <CR><LF>.<CR><LF>");
	e = read_content(d, &problem);
	if (e)
		lost(d, e);
	else
		finish_message(d, problem);
}

/* ---- BDAT ---- */

/* Reads the chunk to its end, whatever becomes of it: what follows is a command. */
static enum err
read_chunk(struct smtpd *d, uint64_t size, const char **problem)
{
	struct str in;
	enum err e;

	while (size > 0) {
		limit_time(d, d->t.content_ms, d->t.content_bytes);
		e = stream_peek(d->io, size < SMTPD_CHUNK ? (size_t)size : SMTPD_CHUNK, &in);
		if (e) {
			stream_set_deadline(d->io, 0);
			return e;
		}
		smtp_bdat_look(&d->t.data, in);
		keep(d, in, problem);
		size -= in.len;
		d->t.content_bytes += in.len;
		stream_consume(d->io, in.len);
	}
	stream_set_deadline(d->io, 0);
	return OK;
}

void
smtpd_bdat(struct smtpd *d, struct str args)
{
	struct smtpd_transaction *t = &d->t;
	const char *problem = NULL;
	uint64_t size;
	int last;
	enum err e;

	if (smtp_bdat_parse(args, &size, &last) != OK) {
		/* Content would be taken for commands. */
		smtpd_reply(d, "501 5.5.4 Syntax: BDAT size [LAST]");
		d->quit = 1;
		return;
	}
	if (t->bdat_failed)
		problem = "503 5.5.1 A BDAT failed; RSET first";
	else if (!t->bdat)
		problem = content_refusal(d, "BDAT");
	if (!t->bdat)
		t->content_ms = io_now_ms();
	/* Nobody means this; it would be read for ever. */
	if (size > 2 * d->conf->max_message_size + (1 << 20)) {
		smtpd_reply(d, "552 5.3.4 Message too large");
		d->quit = 1;
		return;
	}
	/* Chunks without an end are a way to hold a slot. */
	if (size < 64 && !last && ++d->junk > SMTPD_JUNK_MAX)
		d->errors++;
	e = read_chunk(d, size, &problem);
	if (e) {
		lost(d, e);
		return;
	}
	if (t->open)
		t->bdat = 1;
	if (problem && !last) {
		t->bdat_failed = t->open;
		smtpd_reply(d, "%s", problem);
	} else if (!last) {
		smtpd_reply(d, "250 2.0.0 Ok: %llu bytes", (unsigned long long)size);
	} else if (t->bdat_failed || !t->open || t->rcpt_count == 0) {
		smtpd_reply(d, "%s", problem);
		smtpd_transaction_reset(d);
	} else {
		smtp_bdat_end(&t->data);
		finish_message(d, problem);
	}
}
