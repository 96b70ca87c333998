/* SPDX-License-Identifier: MIT */
#include "idle/sleeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "idle/idle_proto.h"
#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/session.h"

enum {
	SETTLE_MS = 5 * 1000, /* less than a session waits for its answer */
	RETRY_MS = 500,
	WAKE_SOME_MS = 100, /* see idle.wake_some */
};

/* Those that settle are on a list of their own, which is short. */
static struct sleepers *
list_of(struct sleeper *s)
{
	return s->state == SLEEPER_SETTLING ? &s->idle->settling : &s->idle->sleepers;
}

static void
set_state(struct sleeper *s, enum sleeper_state state)
{
	TAILQ_REMOVE(list_of(s), s, entry);
	s->state = state;
	TAILQ_INSERT_TAIL(list_of(s), s, entry);
}

void
sleeper_free(struct sleeper *s)
{
	struct idle *idle = s->idle;

	event_del(&s->event);
	link_forget(idle->index, &s->watch);
	link_forget(idle->imap, &s->wake);
	TAILQ_REMOVE(list_of(s), s, entry);
	metrics_set(METRIC_SESSIONS_ASLEEP, --idle->count);
	idle->bytes -= s->handover_len;
	io_close(&s->fd);
	explicit_bzero(s->handover, s->handover_len);
	free(s->handover);
	free(s);
	idle_maybe_done(idle);
}

static void
answer(struct ipc_conn *session, uint32_t request, int taken)
{
	struct buf body = {0};

	ipc_put_u8(&body, (uint8_t)taken);
	ipc_conn_send(session, IDLE_SLEPT, request, buf_str(&body), NULL, 0);
	buf_free(&body);
}

/* ---- the end of a client ---- */

/* The connection is over: roost-imap counts it no more. */
static void
sleeper_over(struct sleeper *s, const char *reason)
{
	struct session_info info;
	struct buf body = {0};

	if (session_info_get(str_make(s->handover, s->handover_len), &info) == OK) {
		log_event(LOGL_INFO, "imap.logout", "session", info.id, "user", info.user, "reason",
			reason, NULL);
		ipc_put_cstr(&body, info.id);
		link_notify(s->idle->imap, SESSION_GONE, buf_str(&body));
	}
	buf_free(&body);
	session_info_free(&info);
	if (s->watch.id)
		link_tell(&s->watch, INDEX_SLEEP_FORGET, (struct str){0});
	sleeper_free(s);
}

void
sleeper_say_bye(struct sleeper *s, const char *text, const char *reason)
{
	char *line = mem_printf("* BYE %s\r\n", text);
	struct buf out = {0};

	idle_text_put(&out, s->deflated, line);
	(void)!send(s->fd, out.p, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	buf_free(&out);
	free(line);
	sleeper_over(s, reason);
}

/* Nobody else has a say in it any more: also a session that may have it sees the end. */
static void
sleeper_cut(struct sleeper *s, const char *reason)
{
	(void)shutdown(s->fd, SHUT_RDWR);
	sleeper_over(s, reason);
}

/* ---- waiting ---- */

static void on_event(evutil_socket_t fd, short what, void *arg);

/* events: EV_READ to hear of the client too, or 0. */
static void
wait_until_ms(struct sleeper *s, short events, int64_t when_ms)
{
	int64_t ms = when_ms - io_now_ms();
	struct timeval tv = {0, 0};

	if (ms > 0)
		tv = (struct timeval){ms / 1000, ms % 1000 * 1000};
	event_del(&s->event);
	event_assign(
		&s->event, service_base(s->idle->run), events ? s->fd : -1, events, on_event, s);
	event_add(&s->event, &tv);
}

static void
arm(struct sleeper *s)
{
	int64_t when = s->bye_ms;

	if (s->idling && s->still_here_ms < when)
		when = s->still_here_ms;
	wait_until_ms(s, EV_READ, when);
}

/* A client that takes nothing must not make us hold anything. 0: it is gone. */
static int
say_still_here(struct sleeper *s)
{
	struct buf out = {0};
	ssize_t n, len;

	idle_text_put(&out, s->deflated, IDLE_STILL_HERE);
	len = (ssize_t)out.len;
	n = send(s->fd, out.p, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		n = len;
	buf_free(&out);
	s->still_here_ms = io_now_ms() + IDLE_STILL_HERE_MS;
	if (n == len)
		return 1;
	sleeper_cut(s, n < 0 ? "disconnect" : "stalled");
	return 0;
}

/* Whether the client is there still. What it said is not touched. */
static int
is_connected(const struct sleeper *s)
{
	char c;
	ssize_t n = recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct sleeper *s = arg;
	int64_t now = io_now_ms();

	(void)fd;
	if (s->state == SLEEPER_SETTLING) {
		/* The index does not answer. */
		answer(s->session, s->request, 0);
		sleeper_free(s);
	} else if ((what & EV_READ || s->state == SLEEPER_DUE) && !is_connected(s)) {
		sleeper_over(s, "disconnect");
	} else if (now >= s->bye_ms) {
		sleeper_say_bye(s, IDLE_BYE_TIMEOUT, "timeout");
	} else if (what & EV_READ || s->state == SLEEPER_DUE) {
		sleeper_wake(s);
	} else if (now < s->still_here_ms || say_still_here(s)) {
		arm(s);
	}
}

/* ---- waking ---- */

static void
try_again(struct sleeper *s)
{
	if (service_is_draining(s->idle->run)) {
		sleeper_say_bye(s, IDLE_BYE_SHUTDOWN, "shutdown");
		return;
	}
	set_state(s, SLEEPER_DUE);
	wait_until_ms(s, 0, io_now_ms() + RETRY_MS);
}

static void
on_wake_answer(struct link_request *request, struct ipc_msg *m)
{
	struct sleeper *s = (struct sleeper *)((char *)request - offsetof(struct sleeper, wake));
	struct ipc_reader r;
	int taken;

	if (!m) {
		/* It may have been taken all the same, and must not be served twice. */
		sleeper_cut(s, "lost");
		return;
	}
	r = ipc_reader_of(buf_str(&m->body));
	taken = ipc_get_u8(&r);
	if (m->type != SESSION_TAKEN || ipc_reader_end(&r)) {
		sleeper_cut(s, "lost");
	} else if (taken) {
		s->idle->woken++;
		sleeper_free(s);
	} else {
		link_forget(s->idle->imap, &s->wake);
		try_again(s);
	}
}

void
sleeper_wake(struct sleeper *s)
{
	event_del(&s->event);
	if (s->watch.id) {
		link_tell(&s->watch, INDEX_SLEEP_FORGET, (struct str){0});
		link_forget(s->idle->index, &s->watch);
	}
	s->wake.on_answer = on_wake_answer;
	set_state(s, SLEEPER_WAKING);
	/* An answer that does not come is worse than none: see on_wake_answer. */
	if (link_is_stale(s->idle->imap) ||
		link_ask(s->idle->imap, &s->wake, SESSION_HANDOVER,
			str_make(s->handover, s->handover_len), &s->fd, 1))
		try_again(s);
}

/* ---- falling asleep ---- */

static void
settled(struct sleeper *s)
{
	int stays = !service_is_draining(s->idle->run);

	answer(s->session, s->request, stays);
	if (!stays) {
		sleeper_free(s);
		return;
	}
	s->session = NULL;
	s->idle->slept++;
	set_state(s, SLEEPER_ASLEEP);
	arm(s);
}

static void
index_lost(struct sleeper *s)
{
	struct timeval soon = {0, WAKE_SOME_MS * 1000};

	s->unwatched = 1;
	if (!event_pending(s->idle->wake_some, EV_TIMEOUT, NULL))
		event_add(s->idle->wake_some, &soon);
}

static void
on_watch_answer(struct link_request *request, struct ipc_msg *m)
{
	struct sleeper *s = (struct sleeper *)((char *)request - offsetof(struct sleeper, watch));

	if (s->state == SLEEPER_SETTLING) {
		if (m && m->type == INDEX_OK) {
			settled(s);
			return;
		}
		answer(s->session, s->request, 0);
		sleeper_free(s);
	} else if (!m) {
		index_lost(s);
	} else if (m->type == INDEX_CHANGED) {
		/* It watches no more. */
		link_forget(s->idle->index, &s->watch);
		sleeper_wake(s);
	}
}

static enum err
watch(struct sleeper *s, const struct idle_sleep *f)
{
	struct buf body = {0};
	enum err e;

	ipc_put_str(&body, f->watch);
	ipc_put_u64(&body, f->modseq);
	s->watch.on_answer = on_watch_answer;
	e = link_ask(s->idle->index, &s->watch, INDEX_SLEEP_WATCH, buf_str(&body), NULL, 0);
	buf_free(&body);
	return e;
}

void
sleeper_take(struct idle *idle, struct ipc_conn *session, struct ipc_msg *m)
{
	struct sleeper *s;
	struct idle_sleep f;
	struct str mailbox;

	if (m->type != IDLE_SLEEP || m->fds[0] < 0 ||
		idle_sleep_get(buf_str(&m->body), &f, &mailbox) || service_is_draining(idle->run)) {
		answer(session, m->request, 0);
		return;
	}
	s = MEM_NEW(struct sleeper);
	s->idle = idle;
	s->session = session;
	s->request = m->request;
	s->fd = m->fds[0];
	m->fds[0] = -1;
	s->idling = f.idling != 0;
	s->deflated = f.deflated != 0;
	s->bye_ms = f.bye_ms;
	s->still_here_ms = f.still_here_ms;
	s->handover_len = (uint32_t)f.handover.len;
	s->handover = mem_alloc(f.handover.len + mailbox.len + 1);
	memcpy(s->handover, f.handover.p, f.handover.len);
	if (mailbox.len)
		memcpy(s->handover + f.handover.len, mailbox.p, mailbox.len);
	s->handover[f.handover.len + mailbox.len] = '\0';
	s->mailbox = s->handover + f.handover.len;
	evtimer_assign(&s->event, service_base(idle->run), on_event, s);
	TAILQ_INSERT_TAIL(list_of(s), s, entry);
	metrics_set(METRIC_SESSIONS_ASLEEP, ++idle->count);
	idle->bytes += s->handover_len;
	if (!f.watch.len) {
		settled(s);
	} else if (watch(s, &f)) {
		answer(session, m->request, 0);
		sleeper_free(s);
	} else {
		wait_until_ms(s, 0, io_now_ms() + SETTLE_MS);
	}
}

void
sleeper_session_gone(struct idle *idle, const struct ipc_conn *session)
{
	struct sleeper *s, *next;

	for (s = TAILQ_FIRST(&idle->settling); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->session == session)
			sleeper_cut(s, "lost");
	}
}
