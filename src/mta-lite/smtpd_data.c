/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/queue_store.h"

enum { SMTPD_CHUNK = 64 * 1024 };

/*
 * Reads up to the real end of the data, whatever becomes of the message. OK: the end was seen;
 * *problem is the reply for a message that cannot be taken, NULL if it can.
 */
static enum err
read_content(struct smtpd *d, const char **problem)
{
	struct smtpd_transaction *t = &d->t;
	struct buf out = {0};
	struct str in;
	enum err e = OK, stored;

	*problem = NULL;
	while (t->data.state != SMTP_DATA_END) {
		size_t used;

		e = stream_peek(d->io, SMTPD_CHUNK, &in);
		if (e)
			break;
		buf_reset(&out);
		used = smtp_data_feed(&t->data, in, &out);
		stream_consume(d->io, used);
		if (*problem)
			continue;
		if (out.len > d->conf->max_message_size - t->spool.size) {
			*problem = "552 5.3.4 Message too large";
			continue;
		}
		stored = spool_add(&t->spool, buf_str(&out));
		if (stored == E_NOSPACE)
			*problem = "452 4.3.1 Not enough disk space";
		else if (stored)
			*problem = "451 4.3.0 The message could not be stored";
	}
	buf_free(&out);
	return e;
}

/*
 * Bare CR and LF are refused and not repaired: other programs disagree about them, and that is
 * what smuggled messages live on.
 */
static const char *
content_problem(const struct smtp_data *data)
{
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

static void
prepare_entry(struct smtpd *d)
{
	struct queue_entry *q = &d->t.entry;

	queue_id_make(q->id);
	free(q->sender);
	free(q->envid);
	free(q->client);
	q->sender = mem_strdup(d->t.mail.from.address);
	q->envid = mem_strdup(d->t.mail.envid);
	q->client = d->kind == SMTPD_LOCAL ? mem_printf("local user %ld", d->local_uid)
					   : mem_printf("%s[%s]", d->helo, d->peer_ip);
	q->ret = d->t.mail.ret;
	q->arrival = (int64_t)time(NULL);
	q->flags = d->t.data.has_8bit ? QUEUE_8BIT : 0;
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
	if (!d->t.open || d->t.rcpt_count == 0) {
		if (d->t.rcpt_refused > 0)
			smtpd_reply(d, "554 5.5.1 No valid recipients");
		else
			smtpd_reply(d, "503 5.5.1 Need RCPT before DATA");
		return;
	}
	smtpd_reply(d, "354 End data with <CR><LF>.<CR><LF>");
	e = read_content(d, &problem);
	if (e) {
		log_event(LOGL_INFO, "smtpd.data lost", "ip", d->peer_ip, "from",
			d->t.mail.from.address, "error", err_word(e), NULL);
		smtpd_transaction_reset(d);
		return; /* the next read tells the loop the same */
	}
	prepare_entry(d);
	if (problem == NULL)
		problem = content_problem(&d->t.data);
	if (problem == NULL)
		problem = make_head(d);
	if (problem) {
		log_event(LOGL_INFO, "smtpd.reject", "ip", d->peer_ip, "helo", d->helo, "user",
			d->user, "from", d->t.mail.from.address, "to", d->t.first_rcpt, "reply",
			problem, NULL);
		smtpd_reply(d, "%s", problem);
	} else {
		smtpd_deliver(d);
	}
	smtpd_transaction_reset(d);
}
