/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_deliver.h"

#include <string.h>

#include "mta-lite/local_run.h"
#include "mta-lite/pipe_transport.h"

/* Mail for a pipe transport: as many recipients at once as its program takes. */

static void
ask(struct local *l, struct agent *a, const struct pipe_transport *t, size_t from, size_t count)
{
	struct local_pipe_rcpt rcpts[PIPE_RECIPIENTS];
	struct str hop = str_of(a->job.nexthop), name = str_split(&hop, ':');
	char *transport = str_dup(name);
	struct local_pipe p = {
		.transport = transport,
		.nexthop = (char *)(uintptr_t)(hop.p ? hop.p : ""),
		.queue_id = a->job.id,
		.envid = a->job.envid,
		.sender = (char *)(uintptr_t)a->send.sender,
		.client = a->job.xforward,
		.content_offset = a->job.content_offset,
		.content_len = a->job.content_len,
		.rcpts = rcpts,
		.rcpt_count = count,
	};
	struct smtp_answer answer = {0};
	struct buf body = {0};
	size_t i;

	for (i = 0; i < count; i++) {
		const struct job_rcpt *r = &a->job.rcpts[from + i];
		const char *original = strchr(r->orcpt, ';');

		rcpts[i] = (struct local_pipe_rcpt){
			r->address, (char *)(uintptr_t)(original ? original + 1 : "")};
	}
	local_pipe_put(&body, &p);
	local_ask_run(l, a, LOCAL_PIPE, buf_str(&body), pipe_transport_time_limit_ms(l->conf, t),
		&answer);
	for (i = 0; i < count; i++)
		smtp_answer_copy(&a->answers[from + i], &answer);
	smtp_answer_free(&answer);
	buf_free(&body);
	free(transport);
}

/* 1: it has an answer, since it has been there before or nobody can say. */
static int
is_loop(struct agent *a, const struct pipe_transport *t, size_t i)
{
	const char *address = a->job.rcpts[i].address;
	enum err e = t->flags & PIPE_DELIVERED_TO ? local_was_here(a, address) : E_NOTFOUND;

	if (e == OK)
		smtp_answer_set(&a->answers[i], QUEUE_FAILED, "5.4.6",
			"mail for %s goes round in a circle", address);
	else if (e != E_NOTFOUND)
		smtp_answer_set(
			&a->answers[i], QUEUE_PENDING, "4.3.0", "the message could not be read");
	return e != E_NOTFOUND;
}

void
local_pipe_deliver(struct local *l, struct agent *a)
{
	struct pipe_transport t;
	size_t i, next, count = a->job.rcpt_count;

	if (!pipe_transport_find(l->conf, str_of(a->job.nexthop), &t)) {
		struct smtp_answer none = {0};

		smtp_answer_set(&none, QUEUE_PENDING, "4.3.5", "there is no transport %s now",
			a->job.nexthop);
		agent_answer_rest(a, &none);
		smtp_answer_free(&none);
		agent_report(a);
		return;
	}
	agent_rewrite_sender(a, l->srs);
	for (i = 0; i < count; i = next) {
		next = i + 1;
		if (!is_loop(a, &t, i)) {
			next = count - i < t.recipient_limit ? count : i + t.recipient_limit;
			ask(l, a, &t, i, next - i);
		}
		agent_note_mta(a, "pipe");
		for (; i < next; i++) {
			if (agent_report_one(a, i))
				return;
		}
	}
	agent_report_done(a);
}
