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

struct link {
	struct event_base *base;
	char *path;
	struct ipc_conn *conn;
	struct link_request *buckets[LINK_BUCKETS];
	size_t pending;
	uint32_t last_id;
	void (*on_open)(struct link *l, void *arg);
	void *open_arg;
	void (*on_lost)(struct link *l, void *arg);
	void *lost_arg;
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

/* A callback may ask again, so each request leaves the table before it is told. */
static void
fail_all(struct link *l)
{
	for (size_t i = 0; i < LINK_BUCKETS; i++) {
		struct link_request *list = l->buckets[i];
		l->buckets[i] = NULL;
		/* None of this chain may be found, or left in the chain, by a callback. */
		for (struct link_request *r = list; r; r = r->next) {
			r->id = 0;
			l->pending--;
		}
		while (list) {
			struct link_request *r = list;
			list = r->next;
			r->next = NULL;
			r->on_answer(r, NULL);
		}
	}
}

void
link_free(struct link **l)
{
	if (!*l)
		return;
	ipc_conn_free(&(*l)->conn);
	fail_all(*l);
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

static void
on_message(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct link *l = arg;
	(void)c;

	for (struct link_request *r = *bucket(l, m->request); r; r = r->next)
		if (r->id == m->request) {
			r->on_answer(r, m);
			return;
		}
	/* Forgotten meanwhile; its descriptors are closed by whoever freed the message. */
}

static void
on_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct link *l = arg;
	(void)c;

	log_event(LOGL_WARN, "link.lost error", "socket", l->path, "reason", err_word(e), NULL);
	l->conn = NULL;
	fail_all(l);
	if (l->on_lost)
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
	l->conn = ipc_conn_create(l->base, fd, LINK_BODY_MAX, &handler, l);
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
	r->id = l->last_id;
	r->next = *bucket(l, r->id);
	*bucket(l, r->id) = r;
	l->pending++;
	ipc_conn_send(l->conn, type, r->id, body, fds, nfds);
	return OK;
}

void
link_tell(struct link *l, const struct link_request *r, uint16_t type, struct str body)
{
	if (r->id != 0 && l->conn)
		ipc_conn_send(l->conn, type, r->id, body, NULL, 0);
}

void
link_notify(struct link *l, uint16_t type, struct str body)
{
	if (l->conn)
		ipc_conn_send(l->conn, type, 0, body, NULL, 0);
}

void
link_forget(struct link *l, struct link_request *r)
{
	if (r->id == 0)
		return;
	for (struct link_request **at = bucket(l, r->id); *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			l->pending--;
			break;
		}
	r->id = 0;
	r->next = NULL;
}

void
link_hand_on(struct link *l, struct link_request *from, struct link_request *to)
{
	uint32_t id = from->id;

	ROOST_ASSERT(id != 0 && to->id == 0);
	link_forget(l, from);
	to->id = id;
	to->next = *bucket(l, id);
	*bucket(l, id) = to;
	l->pending++;
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
	n = recv(ipc_conn_fd(l->conn), &c, 1, MSG_PEEK | MSG_DONTWAIT);
	/* ECONNRESET: it died with something of ours unread. */
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

size_t
link_pending(const struct link *l)
{
	return l->pending;
}
