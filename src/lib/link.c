/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { LINK_BUCKETS = 1024, LINK_BODY_MAX = 1 << 20 };

struct link_conn {
	struct link *link;
	struct link_conn *next; /* of those that moved */
	struct ipc_conn *ipc;
	size_t pending;
	int ends; /* whoever ends it frees it, too */
};

struct link {
	struct event_base *base;
	char *path;
	struct link_conn *conn; /* for what is asked next; or NULL */
	struct link_conn *moved; /* what is under way there is still answered */
	struct link_request *buckets[LINK_BUCKETS];
	size_t pending;
	uint32_t last_id;
	void (*on_open)(struct link *l, void *arg);
	void *open_arg;
	void (*on_lost)(struct link *l, void *arg);
	void *lost_arg;
	void (*on_notice)(struct link *l, struct ipc_msg *m, void *arg);
	void *notice_arg;
};

static struct link_request **
bucket(struct link *l, uint32_t id)
{
	return &l->buckets[id % LINK_BUCKETS];
}

struct link *
link_create(struct event_base *base, const char *path)
{
	struct link *l = MEM_NEW(struct link);

	l->base = base;
	l->path = mem_strdup(path);
	return l;
}

static void
enter(struct link_conn *c, struct link_request *r, uint32_t id)
{
	struct link_request **at = bucket(c->link, id);

	r->id = id;
	r->via = c;
	r->next = *at;
	*at = r;
	c->pending++;
	c->link->pending++;
}

static void
leave(struct link_request *r)
{
	r->via->pending--;
	r->via->link->pending--;
	*r = (struct link_request){.on_answer = r->on_answer};
}

/* A callback may ask again, so each request leaves the table before it is told. */
static void
fail_all(struct link_conn *c)
{
	for (size_t i = 0; i < LINK_BUCKETS; i++) {
		struct link_request *list = NULL, **to = &list;

		/* None of this chain may be found, or left in the chain, by a callback. */
		for (struct link_request **at = &c->link->buckets[i], *r; (r = *at);) {
			if (r->via != c) {
				at = &r->next;
				continue;
			}
			*at = r->next;
			leave(r);
			*to = r;
			to = &r->next;
		}
		while (list) {
			struct link_request *r = list;
			list = r->next;
			r->next = NULL;
			r->on_answer(r, NULL);
		}
	}
}

/* The requests under way are told. */
static void
conn_end(struct link_conn *c)
{
	struct link *l = c->link;

	c->ends = 1;
	if (l->conn == c)
		l->conn = NULL;
	for (struct link_conn **at = &l->moved; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	fail_all(c);
	free(c);
}

/* One that moved has served when nothing is under way any more. */
static void
conn_end_served(struct link_conn *c)
{
	if (c->link->conn == c || c->pending || c->ends)
		return;
	ipc_conn_free(&c->ipc);
	conn_end(c);
}

static void
conn_moved(struct link_conn *c)
{
	struct link *l = c->link;

	if (l->conn != c)
		return;
	l->conn = NULL;
	c->next = l->moved;
	l->moved = c;
	conn_end_served(c);
	if (l->on_lost)
		l->on_lost(l, l->lost_arg);
}

static void
conn_close(struct link_conn *c)
{
	if (!c)
		return;
	ipc_conn_free(&c->ipc);
	conn_end(c);
}

void
link_free(struct link **l)
{
	if (!*l)
		return;
	conn_close((*l)->conn);
	while ((*l)->moved)
		conn_close((*l)->moved);
	free((*l)->path);
	MEM_FREE(*l);
}

void
link_on_open(struct link *l, void (*fn)(struct link *l, void *arg), void *arg)
{
	l->on_open = fn;
	l->open_arg = arg;
}

void
link_on_lost(struct link *l, void (*fn)(struct link *l, void *arg), void *arg)
{
	l->on_lost = fn;
	l->lost_arg = arg;
}

void
link_on_notice(struct link *l, void (*fn)(struct link *l, struct ipc_msg *m, void *arg), void *arg)
{
	l->on_notice = fn;
	l->notice_arg = arg;
}

static void
on_message(struct ipc_conn *ipc, struct ipc_msg *m, void *arg)
{
	struct link_conn *c = arg;
	(void)ipc;

	if (m->request == 0) {
		if (m->type == LINK_MOVED)
			conn_moved(c);
		/* Who has moved has nothing more to say about what comes next. */
		else if (c->link->on_notice && c->link->conn == c)
			c->link->on_notice(c->link, m, c->link->notice_arg);
		return;
	}
	for (struct link_request *r = *bucket(c->link, m->request); r; r = r->next)
		if (r->id == m->request) {
			r->on_answer(r, m);
			return;
		}
	/* Forgotten meanwhile; its descriptors are closed by whoever freed the message. */
}

static void
on_close(struct ipc_conn *ipc, enum err e, void *arg)
{
	struct link_conn *c = arg;
	struct link *l = c->link;
	int lost = l->conn == c;
	(void)ipc;

	log_event(LOGL_WARN, "link.lost error", "socket", l->path, "reason", err_word(e), NULL);
	conn_end(c);
	if (lost && l->on_lost)
		l->on_lost(l, l->lost_arg);
}

static const struct ipc_conn_handler handler = {.on_message = on_message, .on_close = on_close};

/* A UNIX socket connects at once or, with a full backlog, not at all: never wait in the loop. */
static int
connect_now(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int fd;

	if (len >= sizeof sa.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		if (errno == EINTR)
			continue;
		int saved = errno;
		io_close(&fd);
		errno = saved;
		return -1;
	}
	return fd;
}

enum err
link_open(struct link *l)
{
	if (l->conn)
		return OK;
	int fd = connect_now(l->path);
	if (fd < 0) {
		log_event(LOGL_WARN, "link.open failed", "socket", l->path, "reason",
			log_errno(errno), NULL);
		return E_TEMPFAIL;
	}
	l->conn = MEM_NEW(struct link_conn);
	l->conn->link = l;
	l->conn->ipc = ipc_conn_create(l->base, fd, LINK_BODY_MAX, &handler, l->conn);
	if (l->on_open)
		l->on_open(l, l->open_arg);
	return OK;
}

enum err
link_ask(struct link *l, struct link_request *r, uint16_t type, struct str body, const int *fds,
	size_t nfds)
{
	ROOST_ASSERT(r->id == 0);
	enum err e = link_open(l);
	if (e)
		return e;
	/* An id may come round again only after 2^32 others; one still in use is stepped over. */
	for (int taken = 1; taken;) {
		if (++l->last_id == 0)
			l->last_id = 1;
		taken = 0;
		for (struct link_request *o = *bucket(l, l->last_id); o; o = o->next)
			taken |= o->id == l->last_id;
	}
	enter(l->conn, r, l->last_id);
	ipc_conn_send(l->conn->ipc, type, r->id, body, fds, nfds);
	return OK;
}

void
link_tell(const struct link_request *r, uint16_t type, struct str body)
{
	if (r->id != 0)
		ipc_conn_send(r->via->ipc, type, r->id, body, NULL, 0);
}

void
link_notify(struct link *l, uint16_t type, struct str body)
{
	if (l->conn)
		ipc_conn_send(l->conn->ipc, type, 0, body, NULL, 0);
}

/* Takes r out of the table. */
static void
take_out(struct link *l, struct link_request *r)
{
	for (struct link_request **at = bucket(l, r->id); *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			break;
		}
	leave(r);
}

void
link_forget(struct link *l, struct link_request *r)
{
	struct link_conn *via = r->via;

	if (r->id == 0)
		return;
	take_out(l, r);
	conn_end_served(via);
}

void
link_hand_on(struct link *l, struct link_request *from, struct link_request *to)
{
	struct link_conn *via = from->via;
	uint32_t id = from->id;

	ROOST_ASSERT(id != 0 && to->id == 0);
	take_out(l, from);
	enter(via, to, id);
}

int
link_is_open(const struct link *l)
{
	return l->conn != NULL;
}

int
link_is_stale(const struct link *l)
{
	char c;
	ssize_t n;

	if (!l->conn)
		return 0;
	n = recv(ipc_conn_fd(l->conn->ipc), &c, 1, MSG_PEEK | MSG_DONTWAIT);
	/* ECONNRESET: it died with something of ours unread. */
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

size_t
link_pending(const struct link *l)
{
	return l->pending;
}
