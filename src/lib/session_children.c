/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/session_children.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/ipc_frame.h"
#include "lib/mem.h"
#include "lib/metrics.h"

enum {
	WAITING_MAX = 100, /* processes that wait for another client of their user */
	WAITING_MS = 5000,
	WAITING_LOOK_MS = 1000,
};

/* ---- the table of children ---- */

static void
count_serving(struct parent *p, int change)
{
	p->serving += (unsigned)change;
	metrics_set_labels(METRIC_SESSIONS, p->serving, p->program->name, NULL);
}

struct child **
children_find(struct parent *p, pid_t pid)
{
	struct child **at = &p->children[(unsigned)pid % CHILD_BUCKETS];

	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	return at;
}

/* What is told of the session that begins. */
static void
child_set_info(struct child *c, const struct session_info *info)
{
	char peer[NET_ADDR_TEXT];

	net_addr_format(&info->peer, peer);
	c->since = info->since ? (time_t)info->since : time(NULL);
	c->tls = info->tls;
	c->in_before = info->bytes_in;
	c->out_before = info->bytes_out;
	c->id = mem_strdup(info->id);
	c->service = mem_strdup(info->service);
	c->peer = mem_strdup(peer);
	c->tls_text = mem_strdup(info->tls_text);
	c->user = mem_strdup(info->user);
	c->detail = mem_strdup("");
}

static void
child_drop_info(struct child *c)
{
	MEM_FREE(c->id);
	MEM_FREE(c->service);
	MEM_FREE(c->peer);
	MEM_FREE(c->tls_text);
	MEM_FREE(c->user);
	MEM_FREE(c->detail);
}

/* Whom a process may serve that serves this client: owned by the caller. NULL: nobody else. */
static char *
owner_of(const struct session_program *program, const struct session_info *info)
{
	struct buf owner = {0};
	char host[NET_ADDR_TEXT];

	if (!program->same_host)
		return mem_strdup(info->user);
	if (info->peer.sa.ss_family == AF_UNIX)
		return NULL;
	net_addr_format_ip(&info->peer, host);
	buf_printf(&owner, "%s %s", host, info->user);
	return buf_steal(&owner);
}

struct child *
children_add(struct parent *p, pid_t pid, const struct session_info *info, uint64_t generation,
	struct session_shared *shared)
{
	struct child *c = MEM_NEW(struct child);
	struct child **bucket = &p->children[(unsigned)pid % CHILD_BUCKETS];

	c->pid = pid;
	c->shared = shared;
	c->order = -1;
	c->owner = owner_of(p->program, info);
	c->generation = generation;
	child_set_info(c, info);
	c->next = *bucket;
	*bucket = c;
	p->count++;
	count_serving(p, 1);
	p->served++;
	return c;
}

/* ---- sessions that sleep ---- */

/* The keeper may have handed the client back, or over, meanwhile: then it is not there any more. */
struct session_sleeper **
children_sleeper(struct parent *p, struct child *c)
{
	struct session_sleeper **at = c->id ? session_sleeper_find(&p->sleepers, c->id) : NULL;

	return at && *at && *at == c->sleeper ? at : NULL;
}

void
children_sleeps(struct parent *p, struct child *c, int asleep)
{
	struct session_sleeper **at = children_sleeper(p, c);

	if (asleep && !c->sleeper && !*session_sleeper_find(&p->sleepers, c->id)) {
		c->sleeper = session_sleeper_add(&p->sleepers, c->id, c->origin, c->request);
		c->origin = NULL;
	} else if (!asleep && at) {
		c->origin = (*at)->origin;
		c->request = (*at)->request;
		session_sleeper_remove(&p->sleepers, at);
		c->sleeper = NULL;
	}
}

/* The session is over: whoever handed it over hears of it, unless it sleeps. */
static void
child_session_ended(struct parent *p, struct child *c)
{
	if (c->state == CHILD_SERVING)
		count_serving(p, -1);
	session_tell_ended(c->origin, c->request);
	c->origin = NULL;
	c->sleeper = NULL;
}

void
children_leaves(struct parent *p, struct child *c)
{
	child_session_ended(p, c);
	c->state = CHILD_LEAVING;
}

static void
child_wait_end(struct parent *p, struct child *c)
{
	if (c->state != CHILD_WAITING)
		return;
	TAILQ_REMOVE(&p->waiting, c, waiting);
	p->waiting_count--;
}

void
children_retire(struct parent *p, struct child *c)
{
	child_wait_end(p, c);
	c->state = CHILD_RETIRED;
	io_close(&c->order);
}

void
children_remove(struct parent *p, struct child **at)
{
	struct child *c = *at;

	*at = c->next;
	child_session_ended(p, c);
	child_wait_end(p, c);
	io_close(&c->order);
	child_drop_info(c);
	session_pool_put(p->pool, c->shared);
	free(c->owner);
	free(c);
	p->count--;
}

void
children_each(struct parent *p, void (*call)(struct child *, void *), void *arg)
{
	for (size_t i = 0; i < CHILD_BUCKETS; i++)
		for (struct child *c = p->children[i]; c; c = c->next)
			call(c, arg);
}

/* ---- processes that wait for another client ---- */

static void
look_again(struct parent *p)
{
	struct timeval tv = {WAITING_LOOK_MS / 1000, (WAITING_LOOK_MS % 1000) * 1000};

	if (!event_pending(p->waiting_event, EV_TIMEOUT, NULL))
		event_add(p->waiting_event, &tv);
}

void
children_on_waiting(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;
	int64_t now = io_now_ms();
	struct child *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&p->waiting)) && now - c->waiting_since_ms >= WAITING_MS)
		children_retire(p, c);
	if (c)
		look_again(p);
}

void
children_is_free(struct service_run *run, struct child *c, int order)
{
	struct parent *p = service_state(run);

	if ((c->state != CHILD_SERVING && c->state != CHILD_LEAVING) ||
		(c->order >= 0) == (order >= 0)) {
		io_close(&order);
		return;
	}
	if (order >= 0)
		c->order = order;
	child_session_ended(p, c);
	child_drop_info(c);
	c->state = CHILD_WAITING;
	c->waiting_since_ms = io_now_ms();
	TAILQ_INSERT_TAIL(&p->waiting, c, waiting);
	p->waiting_count++;
	if (service_is_draining(run) || c->kicked || c->generation != service_conf(run)->generation)
		children_retire(p, c);
	else if (p->waiting_count > WAITING_MAX)
		children_retire(p, TAILQ_FIRST(&p->waiting));
	look_again(p);
}

struct child *
children_reuse(struct service_run *run, int fd, const struct session_info *info)
{
	struct parent *p = service_state(run);
	char *owner = owner_of(p->program, info);
	struct child *c, *next;
	struct buf body = {0};
	enum err e;

	for (c = owner ? TAILQ_FIRST(&p->waiting) : NULL; c; c = next) {
		next = TAILQ_NEXT(c, waiting);
		if (!c->owner || strcmp(c->owner, owner) != 0)
			continue;
		if (c->generation == service_conf(run)->generation)
			break;
		children_retire(p, c);
	}
	free(owner);
	if (!c)
		return NULL;
	session_shared_reset(c->shared);
	session_info_put(&body, info);
	e = ipc_send(c->order, SESSION_HANDOVER, 0, buf_str(&body), &fd, 1, 0);
	buf_wipe(&body);
	buf_free(&body);
	if (e) {
		children_retire(p, c);
		return NULL;
	}
	child_wait_end(p, c);
	c->state = CHILD_SERVING;
	child_set_info(c, info);
	count_serving(p, 1);
	p->served++;
	return c;
}
