/* SPDX-License-Identifier: MIT */
#include "idle/idle.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "idle/idle_proto.h"
#include "idle/sleeper.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/session.h"

enum {
	RECONNECT_MS = 500,
	WAKE_SOME_MS = 100,
	WAKE_SOME_COUNT = 5, /* in each round: fifty a second */
};

void
idle_maybe_done(struct idle *idle)
{
	if (service_is_draining(idle->run) && !idle->count)
		service_exit(idle->run, 0);
}

/* ---- sessions that give their client ---- */

static void
on_message(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	sleeper_take(arg, c, m);
}

/* Mostly a session that has heard what it wanted to. */
static void
on_close(struct ipc_conn *c, enum err e, void *arg)
{
	(void)e;
	sleeper_session_gone(arg, c);
}

static void
on_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_message, on_close};

	(void)peer;
	ipc_conn_create(service_base(run), fd, IDLE_BODY_MAX, &handler, service_state(run));
}

/* ---- administration ---- */

static void
who(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct idle *idle = service_state(run);
	json_t *list = json_array();
	struct sleeper *s;

	(void)args;
	TAILQ_FOREACH(s, &idle->sleepers, entry)
	{
		struct session_info info;
		char peer[NET_ADDR_TEXT];
		char *detail = mem_printf("%s%s(sleeps)", s->mailbox, s->mailbox[0] ? " " : "");

		if (session_info_get(str_make(s->handover, s->handover_len), &info) == OK) {
			net_addr_format(&info.peer, peer);
			json_array_append_new(list,
				json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:i, s:I, "
					  "s:I}",
					"session", info.id, "service", info.service, "user",
					info.user, "address", peer, "detail", detail, "tls_text",
					info.tls_text, "tls", info.tls, "protocol", info.service,
					"since", (json_int_t)info.since, "pid", (int)getpid(),
					"bytes_in", (json_int_t)info.bytes_in, "bytes_out",
					(json_int_t)info.bytes_out));
			session_info_free(&info);
		}
		free(detail);
	}
	ctl_reply_ok(req, list);
}

static int
is_meant(const struct sleeper *s, const char *session, const char *user)
{
	struct session_info info;
	int yes;

	if (s->state == SLEEPER_WAKING)
		return 0;
	yes = session_info_get(str_make(s->handover, s->handover_len), &info) == OK &&
	      ((session && strcmp(session, info.id) == 0) ||
		      (user && strcasecmp(user, info.user) == 0));
	session_info_free(&info);
	return yes;
}

static void
kick(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct idle *idle = service_state(run);
	const char *session = json_string_value(json_object_get(args, "session"));
	const char *user = json_string_value(json_object_get(args, "user"));
	struct sleeper *s, *next;
	json_int_t count = 0;

	if (!session && !user) {
		ctl_reply_error(req, E_PARSE, "say which: a session id or a user");
		return;
	}
	for (s = TAILQ_FIRST(&idle->sleepers); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (!is_meant(s, session, user))
			continue;
		sleeper_say_bye(s, IDLE_BYE_SHUTDOWN, "kick");
		count++;
	}
	ctl_reply_ok(req, json_pack("{s:I}", "kicked", count));
}

static void
status(struct service_run *run, json_t *object)
{
	struct idle *idle = service_state(run);

	json_object_set_new(object, "sleeping", json_integer((json_int_t)idle->count));
	json_object_set_new(object, "bytes", json_integer((json_int_t)idle->bytes));
	json_object_set_new(object, "slept", json_integer((json_int_t)idle->slept));
	json_object_set_new(object, "woken", json_integer((json_int_t)idle->woken));
}

/* ---- life ---- */

static void
after_ms(struct event *ev, int ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	event_add(ev, &tv);
}

/* roost-imap forgets whom it counts for us when the connection ends, so there is one always. */
static void
on_reconnect(evutil_socket_t fd, short what, void *arg)
{
	struct idle *idle = arg;

	(void)fd;
	(void)what;
	if (!service_is_draining(idle->run) && link_open(idle->imap))
		after_ms(idle->reconnect, RECONNECT_MS);
}

static void
on_imap_lost(struct link *l, void *arg)
{
	struct idle *idle = arg;

	(void)l;
	after_ms(idle->reconnect, RECONNECT_MS);
}

/*
 * The index went away, and with it the watches. What changed meanwhile nobody knows, so that all
 * who waited for it have to look; a few at a time, since each costs a process.
 */
static void
on_wake_some(evutil_socket_t fd, short what, void *arg)
{
	struct idle *idle = arg;
	struct sleeper *s, *next;
	int woken = 0;

	(void)fd;
	(void)what;
	for (s = TAILQ_FIRST(&idle->sleepers); s && woken <= WAKE_SOME_COUNT; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->state != SLEEPER_ASLEEP || !s->unwatched)
			continue;
		if (++woken <= WAKE_SOME_COUNT)
			sleeper_wake(s);
	}
	if (woken > WAKE_SOME_COUNT)
		after_ms(idle->wake_some, WAKE_SOME_MS);
}

static enum err
start(struct service_run *run)
{
	struct idle *idle = MEM_NEW(struct idle);
	char *index = conf_run_path(service_conf(run), "index-sleep");
	char *imap = conf_run_path(service_conf(run), "imap-wake");

	idle->run = run;
	idle->index = link_create(service_base(run), index);
	idle->imap = link_create(service_base(run), imap);
	link_on_lost(idle->imap, on_imap_lost, idle);
	TAILQ_INIT(&idle->settling);
	TAILQ_INIT(&idle->sleepers);
	idle->reconnect = evtimer_new(service_base(run), on_reconnect, idle);
	idle->wake_some = evtimer_new(service_base(run), on_wake_some, idle);
	service_set_state(run, idle);
	after_ms(idle->reconnect, 0);
	free(index);
	free(imap);
	return OK;
}

static void
drain(struct service_run *run)
{
	struct idle *idle = service_state(run);
	struct sleeper *s, *next;

	event_del(idle->reconnect);
	for (s = TAILQ_FIRST(&idle->sleepers); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		/* Those on their way hear of it from their session. */
		if (s->state == SLEEPER_ASLEEP || s->state == SLEEPER_DUE)
			sleeper_say_bye(s, IDLE_BYE_SHUTDOWN, "shutdown");
	}
	idle_maybe_done(idle);
}

static void
stop(struct service_run *run)
{
	struct idle *idle = service_state(run);

	while (!TAILQ_EMPTY(&idle->settling))
		sleeper_free(TAILQ_FIRST(&idle->settling));
	while (!TAILQ_EMPTY(&idle->sleepers))
		sleeper_free(TAILQ_FIRST(&idle->sleepers));
	event_free(idle->reconnect);
	event_free(idle->wake_some);
	link_free(&idle->index);
	link_free(&idle->imap);
	free(idle);
	service_set_state(run, NULL);
}

static const struct service_listener listeners[] = {{"idle", on_accept}, {NULL, NULL}};
static const struct ctl_verb verbs[] = {{"who", who}, {"kick", kick}, {NULL, NULL}};

/* No sandbox function: it needs no file. */
const struct service idle_service = {
	.name = "idle",
	.listeners = listeners,
	.ctl = verbs,
	.start = start,
	.drain = drain,
	.stop = stop,
	.status = status,
};
