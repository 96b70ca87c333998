/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_deliver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mail/header.h"
#include "mta-lite/local_expand.h"
#include "mta-lite/queue_store.h"

/* What is looked at for Delivered-To. */
enum { LOCAL_HEADER_MAX = 1 << 20 };

/* What the new message keeps of the old one's flags. */
static const unsigned kept_flags = QUEUE_8BIT | QUEUE_BOUNCE | QUEUE_DOUBLE_BOUNCE |
				   QUEUE_SMTPUTF8 | QUEUE_REQUIRETLS | QUEUE_TLS_OPTIONAL |
				   QUEUE_BINARY;

enum err
local_open(const struct config *conf, struct local *l)
{
	enum err e = conf_copy(conf, &l->conf);

	if (e)
		return e;
	l->maps = maps_create(l->conf);
	e = rewrite_open(l->conf, l->maps, &l->rewrite);
	if (e == OK)
		e = aliases_open(l->conf, l->maps, &l->aliases);
	l->lookup = (struct rcpt_lookup){l->conf, NULL, l->rewrite, l->aliases};
	return e;
}

/* ---- loops through other servers ---- */

static enum err
read_header(const struct agent *a, struct buf *out)
{
	uint64_t len = a->job.content_len;
	enum err e;

	if (len > LOCAL_HEADER_MAX)
		len = LOCAL_HEADER_MAX;
	e = buf_reserve(out, (size_t)len + 1);
	while (e == OK && out->len < len) {
		ssize_t n = pread(a->file, out->p + out->len, (size_t)len - out->len,
			(off_t)(a->job.content_offset + out->len));

		if (n > 0)
			out->len += (size_t)n;
		else if (n == 0 || errno != EINTR)
			e = E_IO;
	}
	return e;
}

/* OK, or E_NOTFOUND: the message has not been here yet. */
static enum err
was_here(const struct agent *a, const char *address)
{
	struct buf header = {0};
	enum err e = read_header(a, &header);
	struct header_iter it = HEADER_ITER(buf_str(&header));
	struct header_field f;
	int found = 0;

	while (e == OK && !found && header_next(&it, &f))
		found = str_is_i(f.name, "Delivered-To") && str_is_i(str_trim(f.value), address);
	buf_free(&header);
	if (e)
		return e;
	return found ? OK : E_NOTFOUND;
}

/* ---- the new message ---- */

/*
 * RFC 3461 section 5.2.7: with an owner it is a list, whose members are not the sender's affair. Of
 * an alias with one target everything is passed on; of one with several all but SUCCESS, which is
 * answered by an "expanded" report.
 */
static void
set_envelope(const struct agent *a, const struct job_rcpt *from, struct local_expansion *x)
{
	struct queue_entry *q = &x->out;
	int list = x->owner != NULL, several = q->rcpt_count > 1;
	unsigned notify = list ? 0 : from->notify;
	size_t i;

	queue_id_make(q->id);
	/* Nobody is to answer what has no sender. */
	q->sender = mem_strdup(list && a->job.sender[0] ? x->owner : a->job.sender);
	q->envid = mem_strdup(list ? "" : a->job.envid);
	q->client = mem_printf("alias %s", from->address);
	q->ret = list ? DSN_RET_NONE : (enum dsn_ret)a->job.ret;
	q->flags = a->job.flags & kept_flags;
	q->priority = a->job.priority;
	q->arrival = (int64_t)time(NULL);
	if (several && (notify & DSN_NOTIFY_SUCCESS)) {
		notify &= ~(unsigned)DSN_NOTIFY_SUCCESS;
		if (notify == 0)
			notify = DSN_NOTIFY_NEVER;
	}
	for (i = 0; i < q->rcpt_count; i++) {
		q->rcpts[i].notify = notify;
		free(q->rcpts[i].orcpt);
		q->rcpts[i].orcpt = mem_strdup(list ? "" : from->orcpt);
	}
}

static void
pass_on(struct local *l, struct agent *a, size_t index, struct local_expansion *x)
{
	const struct job_rcpt *from = &a->job.rcpts[index];
	struct smtp_answer *answer = &a->answers[index];
	struct buf head = {0};
	struct spool body;
	enum queue_status status;
	enum err e = spool_of_file(&body, a->file, a->job.content_offset, a->job.content_len);

	set_envelope(a, from, x);
	buf_printf(&head, "Delivered-To: %s\r\n", from->address);
	if (e == OK)
		e = queue_store_create(l->conf, &x->out, buf_str(&head), &body);
	if (e) {
		smtp_answer_set(answer, QUEUE_PENDING, "4.3.0",
			"what %s leads to could not be queued: %s", from->address, err_text(e));
	} else {
		queue_store_notify(l->conf, x->out.id);
		status = x->owner		 ? QUEUE_DELIVERED
			 : x->out.rcpt_count > 1 ? QUEUE_EXPANDED
						 : QUEUE_RELAYED;
		smtp_answer_set(answer, status, "2.0.0", "passed on to %zu as %s",
			x->out.rcpt_count, x->out.id);
	}
	spool_free(&body);
	buf_free(&head);
}

static void
deliver_alias(struct local *l, struct agent *a, size_t index)
{
	const char *address = a->job.rcpts[index].address;
	struct smtp_answer *answer = &a->answers[index];
	struct local_expansion x = {0};
	struct buf why = {0};
	enum err e = was_here(a, address);

	if (e == OK) {
		smtp_answer_set(answer, QUEUE_FAILED, "5.4.6", "mail for %s goes round in a circle",
			address);
		return;
	}
	if (e == E_NOTFOUND)
		e = local_expand(&l->lookup, address, &x, &why);
	else
		buf_add_cstr(&why, "the message could not be read");
	if (e)
		smtp_answer_set(answer, QUEUE_PENDING, "4.3.5", "%s", buf_cstr(&why));
	else if (x.out.rcpt_count == 0)
		smtp_answer_set(answer, QUEUE_FAILED, "5.4.6", "the alias %s leads only to itself",
			address);
	else if (x.out.rcpt_count == 1 && x.out.rcpts[0].status == QUEUE_FAILED)
		smtp_answer_set(answer, QUEUE_FAILED, x.out.rcpts[0].dsn, "%s: %s",
			x.out.rcpts[0].address, x.out.rcpts[0].text);
	else
		pass_on(l, a, index, &x);
	local_expansion_free(&x);
	buf_free(&why);
}

void
local_deliver(struct local *l, struct agent *a)
{
	size_t i;

	for (i = 0; i < a->job.rcpt_count; i++) {
		deliver_alias(l, a, i);
		agent_note_mta(a, "local");
		if (agent_report_one(a, i))
			return;
	}
	agent_report_done(a);
}
