/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/smtpd_proxy.h"
#include "mta-lite/smtpd_rewrite.h"

/* The content as it goes out: what we add, then what the client sent. */
static enum err
read_content(void *arg, uint64_t offset, void *p, size_t size, struct str *out)
{
	struct smtpd_transaction *t = arg;

	if (offset < t->head.len) {
		*out = str_make(t->head.p + offset, t->head.len - (size_t)offset);
		return OK;
	}
	return spool_read(&t->spool, offset - t->head.len, p, size, out);
}

static enum err
connect_lmtp(struct smtpd *d, int64_t deadline)
{
	char *path = conf_run_path(d->conf, "lmtp");
	struct smtp_answer why = {0};
	enum err e;
	int fd;

	e = net_connect_unix(path, 2000, &fd);
	if (e == OK) {
		d->lmtp = smtp_client_create(fd, smtp_hostname(d->conf), 1);
		smtp_client_set_deadline(d->lmtp, deadline);
		e = smtp_client_hello(d->lmtp, &why);
		if (e)
			smtp_client_free(&d->lmtp);
	}
	if (e)
		log_event(LOGL_WARN, "smtpd.lmtp unreachable", "error",
			why.text ? why.text : err_text(e), NULL);
	smtp_answer_free(&why);
	free(path);
	return e;
}

/* Takes over what LMTP said about each local recipient. */
static void
take_answers(struct queue_entry *q, const size_t *index, size_t n, struct smtp_answer *answers)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct queue_rcpt *r = &q->rcpts[index[i]];
		struct smtp_answer *a = &answers[i];

		if (a->text == NULL)
			continue;
		queue_rcpt_set(r, a->status, str_of(a->dsn), str_of(a->text), STR("lmtp"));
		if (a->status == QUEUE_PENDING)
			r->attempts = 0;
	}
}

static void
forget_answers(struct smtp_answer *answers, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		smtp_answer_free(&answers[i]);
}

/* One LMTP transaction for the recipients in index. What stays PENDING is for the queue. */
static void
cut_through(struct smtpd *d, const size_t *index, size_t n)
{
	struct queue_entry *q = &d->t.entry;
	struct smtp_send_rcpt *rcpts = mem_zalloc(n * sizeof(*rcpts));
	struct smtp_answer *answers = mem_zalloc(n * sizeof(*answers));
	int64_t deadline = io_now_ms() + d->conf->cut_through_timeout;
	struct smtp_send m = {
		.sender = q->sender,
		.envid = "",
		.has_8bit = (q->flags & QUEUE_8BIT) != 0,
		.flags = q->flags,
		.size = d->t.head.len + d->t.spool.size,
		.rcpts = rcpts,
		.rcpt_count = n,
		.read = read_content,
		.arg = &d->t,
	};
	int attempt, sent = 0, reused;
	size_t i;
	enum err e;

	for (i = 0; i < n; i++)
		rcpts[i] = (struct smtp_send_rcpt){.address = q->rcpts[index[i]].address};
	for (attempt = 0; attempt < 2; attempt++) {
		if (d->lmtp && !smtp_client_is_usable(d->lmtp))
			smtp_client_free(&d->lmtp);
		reused = d->lmtp != NULL;
		if (!reused && connect_lmtp(d, deadline))
			break;
		smtp_client_set_deadline(d->lmtp, deadline);
		forget_answers(answers, n);
		e = smtp_client_send(d->lmtp, &m, answers, &sent);
		if (e)
			smtp_client_free(&d->lmtp);
		/* A connection that died while it waited says nothing about this message. */
		if (e == OK || sent || !reused)
			break;
	}
	take_answers(q, index, n, answers);
	forget_answers(answers, n);
	free(answers);
	free(rcpts);
}

/* Local recipients that need no report of success, which only the queue can write. */
static size_t
choose_cut_through(const struct queue_entry *q, size_t *index)
{
	size_t i, n = 0;

	for (i = 0; i < q->rcpt_count; i++) {
		const struct queue_rcpt *r = &q->rcpts[i];

		if (r->local == QUEUE_MAILBOX && r->status == QUEUE_PENDING &&
			!(r->notify & DSN_NOTIFY_SUCCESS))
			index[n++] = i;
	}
	return n;
}

static size_t
count_status(const struct queue_entry *q, enum queue_status status)
{
	size_t i, n = 0;

	for (i = 0; i < q->rcpt_count; i++)
		n += q->rcpts[i].status == status;
	return n;
}

static void
log_result(
	struct smtpd *d, const char *event, const char *relay, const char *dsn, const char *status)
{
	const struct smtpd_origin *o = &d->t.origin;

	log_event(LOGL_INFO, event, "queue_id", d->t.entry.id, "ip", o->ip[0] ? o->ip : d->peer_ip,
		"origin", o->ident[0] ? o->ident : NULL, "user", d->user, "from",
		d->t.mail.from.address, "to", d->t.first_rcpt, "rcpts", log_u64(d->t.rcpt_count),
		"size", log_u64(d->t.spool.size), "priority",
		d->t.mail.has_priority ? log_i64(d->t.mail.priority) : NULL, "relay", relay, "dsn",
		dsn, "status", status, "delay", log_i64(io_now_ms() - d->t.started_ms), NULL);
}

/* All recipients were refused for good: the client hears it now, and nobody gets a bounce. */
static void
pass_on_refusal(struct smtpd *d)
{
	const struct queue_rcpt *r = &d->t.entry.rcpts[0];
	struct str text = str_of(r->text);
	uint32_t code = 550;
	char dsn[DSN_CODE_SIZE] = "5.0.0";

	if (text.len > 4 && str_to_u32(str_make(text.p, 3), &code) == OK && text.p[3] == ' ')
		text = str_make(text.p + 4, text.len - 4);
	if (code < 500 || code > 599)
		code = 550;
	(void)dsn_code_cut(&text, dsn);
	if (text.len > 400)
		text.len = 400;
	log_result(d, "smtpd.reject", "lmtp", r->dsn, r->text);
	smtpd_reply(d, "%u %s %.*s", (unsigned)code, dsn[0] == '5' ? dsn : "5.0.0", STR_ARG(text));
}

/* A copy of the entry with what is still to be done: undelivered, to be bounced, to be reported. */
static void
copy_unfinished(const struct queue_entry *q, struct queue_entry *out)
{
	size_t i;

	queue_entry_copy_envelope(q, out);
	for (i = 0; i < q->rcpt_count; i++) {
		const struct queue_rcpt *r = &q->rcpts[i];
		struct queue_rcpt *copy;

		/* Where nobody else reports a success, the queue does. */
		if (r->status == QUEUE_RELAYED ||
			(r->status == QUEUE_DELIVERED && !(r->notify & DSN_NOTIFY_SUCCESS)))
			continue;
		copy = queue_entry_add_rcpt(out, r->address, r->orcpt, r->notify, r->local);
		copy->forwarded = r->forwarded;
		queue_rcpt_set(copy, r->status, str_of(r->dsn), str_of(r->text), str_of(r->mta));
	}
}

/* 1: it is in the queue. */
static int
queue_rest(struct smtpd *d)
{
	struct queue_entry rest;
	enum err e;

	copy_unfinished(&d->t.entry, &rest);
	e = queue_store_create(d->conf, &rest, buf_str(&d->t.head), &d->t.spool);
	if (e == OK) {
		queue_store_notify(d->conf, rest.id);
		log_result(d, "smtpd.accept", "queue", "2.0.0", "queued");
		smtpd_reply(d, "250 2.0.0 Ok: queued as %s", rest.id);
		d->errors = 0;
	} else {
		/*
		 * What cut-through delivered will come again when the client does; RFC 5321 section
		 * 6.1 prefers that to a loss.
		 */
		log_result(d, "smtpd.reject", "queue", "4.3.0", "queue failed");
		if (e == E_NOSPACE)
			smtpd_reply(d, "452 4.3.1 Not enough disk space");
		else
			smtpd_reply(d, "451 4.3.0 The message could not be queued");
	}
	queue_entry_free(&rest);
	return e == OK;
}

/* What the client gets is said already: a report that cannot be queued is only logged. */
static void
queue_reports(struct smtpd *d)
{
	struct queue_entry rest;

	copy_unfinished(&d->t.entry, &rest);
	if (rest.rcpt_count > 0 &&
		queue_store_create(d->conf, &rest, buf_str(&d->t.head), &d->t.spool) == OK)
		queue_store_notify(d->conf, rest.id);
	queue_entry_free(&rest);
}

/* Before the queue: the filter decides. */
static int
pass_to_proxy(struct smtpd *d)
{
	char *reply = smtpd_proxy_send(d, d->t.head.len + d->t.spool.size, read_content, &d->t);
	int taken = reply[0] == '2';

	log_result(d, taken ? "smtpd.accept" : "smtpd.reject", d->conf->smtpd_proxy_filter,
		taken ? "2.0.0" : NULL, reply);
	if (taken) {
		queue_reports(d);
		d->errors = 0;
	}
	smtpd_reply(d, "%s", reply);
	free(reply);
	return taken;
}

/* Nobody has it yet who is to see it first. */
static int
must_wait(const struct smtpd *d)
{
	return d->t.effects.hold || d->t.entry.hold_until > d->t.entry.arrival;
}

int
smtpd_deliver(struct smtpd *d)
{
	struct queue_entry *q = &d->t.entry;
	const char *problem;
	size_t *index, n;

	if (d->t.effects.discard) {
		log_result(d, "smtpd.accept", "discard", "2.0.0", d->t.effects.discard);
		smtpd_reply(d, "250 2.0.0 Ok: queued as %s", q->id);
		return 1;
	}
	problem = smtpd_effects_apply(d);
	if (problem == NULL)
		problem = smtpd_srs_mark(d);
	if (problem) {
		smtpd_log_reject(d, problem);
		smtpd_reply(d, "%s", problem);
		return 0;
	}
	if (smtpd_proxy_is_set(d) && !d->t.effects.filter && !must_wait(d))
		return pass_to_proxy(d);
	index = mem_zalloc((q->rcpt_count + 1) * sizeof(*index));
	n = choose_cut_through(q, index);
	if (must_wait(d) || (q->filter && q->filter[0]))
		n = 0;
	if (n > 0)
		cut_through(d, index, n);
	free(index);
	if (count_status(q, QUEUE_DELIVERED) == q->rcpt_count) {
		log_result(d, "smtpd.accept", "lmtp", "2.0.0", "delivered");
		smtpd_reply(d, "250 2.0.0 Ok: delivered as %s", q->id);
		d->errors = 0;
		return 1;
	}
	if (count_status(q, QUEUE_FAILED) == q->rcpt_count) {
		pass_on_refusal(d);
		return 0;
	}
	return queue_rest(d);
}
