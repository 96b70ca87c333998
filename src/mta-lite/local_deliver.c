/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_deliver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mail/header.h"
#include "mta-lite/forward_path.h"
#include "mta-lite/local_expand.h"
#include "mta-lite/local_run.h"
#include "mta-lite/pipe_transport.h"
#include "mta-lite/queue_store.h"

/* What is looked at for Delivered-To. */
enum { LOCAL_HEADER_MAX = 1 << 20 };
/*
 * What tells that mail has been here. A mailbox of the same name would take Delivered-To for its
 * own, so what goes there, too, has the other one.
 */
static const char mark[] = "Delivered-To", mark_beside_mailbox[] = "X-Roost-Passed-On";
/* Whoever took the mail may have seen a new alias a moment before us. */
enum { LOCAL_FRESH_S = 60 };
/* Locks and the writing itself take their time, too. */
enum { LOCAL_RUN_MORE_MS = 120 * 1000 };

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
	if (e == OK)
		e = srs_open(l->conf, &l->srs);
	if (e == OK)
		e = pipe_transports_check(l->conf);
	l->lookup = (struct rcpt_lookup){l->conf, NULL, l->rewrite, l->aliases, l->srs};
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

enum err
local_was_here(const struct agent *a, const char *address)
{
	struct buf header = {0};
	enum err e = read_header(a, &header);
	struct header_iter it = HEADER_ITER(buf_str(&header));
	struct header_field f;
	int found = 0;

	while (e == OK && !found && header_next(&it, &f))
		found = (str_is_i(f.name, mark) || str_is_i(f.name, mark_beside_mailbox)) &&
			str_is_i(str_trim(f.value), address);
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
set_envelope(
	const struct agent *a, const struct job_rcpt *from, int rewrites, struct local_expansion *x)
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
		q->rcpts[i].forwarded = rewrites && q->rcpts[i].local == QUEUE_ELSEWHERE;
		free(q->rcpts[i].orcpt);
		q->rcpts[i].orcpt = mem_strdup(list ? "" : from->orcpt);
	}
}

/* Whether both are the same but for an extension. */
static int
is_same_mailbox(const struct config *conf, const char *a, const char *b)
{
	struct forward_names x = {0}, y = {0};

	forward_names_set(&x, str_of(a), conf->recipient_delimiter);
	forward_names_set(&y, str_of(b), conf->recipient_delimiter);
	return str_equal_i(x.user, y.user) && str_equal_i(x.domain, y.domain);
}

static const char *
choose_mark(const struct config *conf, const char *address, const struct local_expansion *x)
{
	size_t i;

	for (i = 0; i < x->out.rcpt_count; i++) {
		if (x->out.rcpts[i].local == QUEUE_MAILBOX &&
			is_same_mailbox(conf, address, x->out.rcpts[i].address))
			return mark_beside_mailbox;
	}
	return mark;
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
	int rewrites = 0;

	/* The owner of a list is one of ours. */
	if (e == OK && !x->owner)
		e = rcpt_lookup_rewrites_sender(&l->lookup, a->job.sender, &rewrites);
	set_envelope(a, from, rewrites, x);
	buf_printf(&head, "%s: %s\r\n", choose_mark(l->conf, from->address, x), from->address);
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

/* ---- files and commands ---- */

/* Until roost-local-run answers, or nobody waits for that any more. */
static enum err
wait_for_answer(const struct agent *a, int fd, int timeout_ms, struct ipc_msg *m)
{
	struct pollfd p[2] = {
		{.fd = fd, .events = POLLIN}, {.fd = a->channel, .events = POLLRDHUP}};
	int n = poll(p, 2, timeout_ms);

	memset(m, 0, sizeof(*m));
	if (n == 0)
		return E_TIMEOUT;
	if (n < 0 || p[1].revents)
		return E_CANCELLED;
	return ipc_recv(fd, m, 10000);
}

static enum err
take_answer(const struct ipc_msg *m, struct smtp_answer *answer)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	unsigned status = ipc_get_u8(&r);
	struct str dsn = ipc_get_str(&r), text = ipc_get_str(&r);
	char code[DSN_CODE_SIZE] = "4.3.0";

	if (m->type != LOCAL_RAN || ipc_reader_end(&r) || status >= QUEUE_STATUS_COUNT ||
		dsn.len >= sizeof(code) || text.len == 0)
		return E_PROTO;
	if (dsn.len > 0) {
		memcpy(code, dsn.p, dsn.len);
		code[dsn.len] = '\0';
	}
	smtp_answer_set(answer, (enum queue_status)status, code, "%.*s", STR_ARG(text));
	return OK;
}

/* One target of recipient index of the job. */
struct target {
	const char *text, *sender;
	const char *address; /* whose it is: an alias, or a user with a .forward */
	int place; /* QUEUE_TARGET or QUEUE_FORWARD */
};

void
local_ask_run(struct local *l, struct agent *a, unsigned frame, struct str body,
	int64_t time_limit_ms, struct smtp_answer *answer)
{
	char *path = conf_run_path(l->conf, "local-run");
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	int fd = -1;
	enum err e = net_connect_unix(path, 10000, &fd);

	if (e == OK)
		e = ipc_send(fd, (uint16_t)frame, 0, body, &a->file, 1, 10000);
	if (e == OK)
		e = wait_for_answer(a, fd, (int)time_limit_ms + LOCAL_RUN_MORE_MS, &m);
	if (e == OK)
		e = take_answer(&m, answer);
	if (e)
		smtp_answer_set(answer, QUEUE_PENDING, "4.3.0",
			"the process that delivers to files and commands did not finish: %s",
			err_text(e));
	ipc_msg_free(&m);
	io_close(&fd);
	free(path);
}

/* It has a process of its own, of a user who may do little. */
static void
local_target_deliver(struct local *l, struct agent *a, size_t index, const struct target *t)
{
	const struct job_rcpt *rcpt = &a->job.rcpts[index];
	const char *original = strchr(rcpt->orcpt, ';');
	struct local_job job = {
		.target = (char *)(uintptr_t)t->text,
		.sender = (char *)(uintptr_t)t->sender,
		.recipient = (char *)(uintptr_t)t->address,
		.original = (char *)(uintptr_t)(original ? original + 1 : ""),
		.forward = t->place == QUEUE_FORWARD,
		.content_offset = a->job.content_offset,
		.content_len = a->job.content_len,
	};
	struct buf body = {0};

	local_job_put(&body, &job);
	local_ask_run(
		l, a, LOCAL_RUN, buf_str(&body), l->conf->command_time_limit, &a->answers[index]);
	buf_free(&body);
}

/* What an alias led to, without a message in between. */
static void
deliver_only_target(struct local *l, struct agent *a, size_t index, const struct local_expansion *x)
{
	const struct queue_rcpt *r = &x->out.rcpts[0];
	const struct target t = {r->target, x->owner && a->job.sender[0] ? x->owner : a->job.sender,
		r->address, r->local};

	local_target_deliver(l, a, index, &t);
}

static void
deliver_alias(struct local *l, struct agent *a, size_t index)
{
	const char *address = a->job.rcpts[index].address;
	struct smtp_answer *answer = &a->answers[index];
	struct local_expansion x = {0};
	struct buf why = {0};
	enum err e = local_was_here(a, address);

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
	else if (x.out.rcpt_count == 1 && x.out.rcpts[0].target)
		deliver_only_target(l, a, index, &x);
	else if (x.out.rcpt_count == 1 && x.out.rcpts[0].status == QUEUE_FAILED &&
		 strcasecmp(x.out.rcpts[0].address, address) == 0 &&
		 (int64_t)time(NULL) - a->job.arrival < LOCAL_FRESH_S)
		smtp_answer_set(answer, QUEUE_PENDING, "4.1.1",
			"%s is no alias here yet, or any more", address);
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

	if (a->job.pipe) {
		local_pipe_deliver(l, a);
		return;
	}
	for (i = 0; i < a->job.rcpt_count; i++) {
		const struct job_rcpt *r = &a->job.rcpts[i];

		const struct target t = {r->target, a->job.sender, r->address, r->local};

		if (queue_place_is_target(r->local))
			local_target_deliver(l, a, i, &t);
		else
			deliver_alias(l, a, i);
		agent_note_mta(a, "local");
		if (agent_report_one(a, i))
			return;
	}
	agent_report_done(a);
}
