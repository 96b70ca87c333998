/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/local_run.h"
#include "mta-lite/pipe_transport.h"

/* Which program runs, and as whom, is in the settings: who asks names it, and no more. */

static void
make_copy(const struct local_run *r, const struct local_pipe *p, const struct pipe_transport *t,
	struct local_copy *copy)
{
	const struct local_pipe_rcpt *first = &p->rcpts[0];
	char *path = mem_printf("<%s>", p->sender);

	local_copy_init(copy, r->file, p->content_offset, p->content_len,
		(t->flags & PIPE_QUOTE_FROM ? LOCAL_COPY_QUOTE : 0u) |
			(t->flags & PIPE_BLANK_LINE ? LOCAL_COPY_BLANK : 0u));
	if (t->flags & PIPE_FROM_LINE)
		local_copy_from_line(copy, p->sender, (int64_t)time(NULL));
	if (t->flags & PIPE_RETURN_PATH)
		local_copy_field(copy, "Return-Path", path);
	if (t->flags & PIPE_ORIGINAL_TO)
		local_copy_field(copy, "X-Original-To",
			first->original[0] ? first->original : first->address);
	if (t->flags & PIPE_DELIVERED_TO)
		local_copy_field(copy, "Delivered-To", first->address);
	free(path);
}

static enum err
make_argv(const struct local_run *r, const struct local_pipe *p, const struct pipe_transport *t,
	char ***argv)
{
	struct pipe_recipient rcpts[PIPE_RECIPIENTS];
	struct pipe_mail mail = {.queue_id = p->queue_id,
		.envid = p->envid,
		.sender = p->sender,
		.nexthop = str_of(p->nexthop),
		.client = p->client,
		.size = p->content_len,
		.delimiter = r->conf->recipient_delimiter[0],
		.rcpts = rcpts,
		.rcpt_count = p->rcpt_count};
	size_t i;

	for (i = 0; i < p->rcpt_count; i++)
		rcpts[i] = (struct pipe_recipient){p->rcpts[i].address, p->rcpts[i].original};
	return pipe_argv(t, &mail, argv);
}

static int
become(struct local_run *r, const struct pipe_transport *t)
{
	char *user = str_dup(t->user), *group = str_dup(t->group), *dir = str_dup(t->directory);
	int ready = local_user_become_named(r, user, group);

	if (ready && chdir(dir) != 0) {
		smtp_answer_set(r->answer, QUEUE_PENDING, "4.3.5",
			"the transport %.*s cannot use its directory", STR_ARG(t->name));
		ready = 0;
	}
	free(user);
	free(group);
	free(dir);
	return ready;
}

static void
run_program(struct local_run *r, const struct local_pipe *p, const struct pipe_transport *t,
	char *const *argv)
{
	char *name = mem_printf("the transport %s", p->transport);
	struct local_environment env = {{NULL}, 0};
	struct local_copy copy;
	const struct local_command what = {.argv = argv,
		.env = env.v,
		.copy = &copy,
		.name = name,
		.time_limit_ms = pipe_transport_time_limit_ms(r->conf, t),
		.done = t->flags & PIPE_FINAL ? QUEUE_DELIVERED : QUEUE_RELAYED};

	local_environment_set_user(&env);
	make_copy(r, p, t, &copy);
	local_command_run(r, &what);
	local_copy_free(&copy);
	local_environment_free(&env);
	free(name);
}

void
local_pipe_run(struct local_run *r, const struct local_pipe *p)
{
	struct pipe_transport t;
	char **argv = NULL;
	enum err e;

	if (!pipe_transport_find(r->conf, str_of(p->transport), &t)) {
		smtp_answer_set(r->answer, QUEUE_PENDING, "4.3.5",
			"there is no transport %s in pipe_transports", p->transport);
		return;
	}
	if (t.size && p->content_len > t.size) {
		smtp_answer_set(r->answer, QUEUE_FAILED, "5.2.3",
			"the message is larger than the transport %s takes", p->transport);
		return;
	}
	e = make_argv(r, p, &t, &argv);
	if (e)
		smtp_answer_set(r->answer, QUEUE_FAILED, "5.1.3",
			"an address cannot be given to the transport %s: it would be taken for an "
			"option, or is too long",
			p->transport);
	else if (become(r, &t))
		run_program(r, p, &t, argv);
	log_event(LOGL_INFO, "local.pipe", "queue_id", p->queue_id, "relay", p->transport, "rcpts",
		log_u64(p->rcpt_count), "dsn", r->answer->dsn, "status", r->answer->text, NULL);
	pipe_argv_free(&argv);
}
