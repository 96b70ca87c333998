/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/client_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/ipc_frame.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "lib/sandbox.h"

/* ---- frames ---- */

void
client_put_set(struct buf *b, const struct numset *s)
{
	size_t n = s != NULL ? s->count : 0;

	ipc_put_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		ipc_put_u32(b, s->ranges[i].first);
		ipc_put_u32(b, s->ranges[i].last);
	}
}

void
client_get_set(struct ipc_reader *r, struct numset *out)
{
	uint32_t n = ipc_get_u32(r);

	for (uint32_t i = 0; i < n && !r->err; i++) {
		uint32_t first = ipc_get_u32(r), last = ipc_get_u32(r);

		if (r->err || first > last) {
			r->err = E_PROTO;
		} else {
			numset_add_range(out, first, last);
		}
	}
}

void
client_disconnect(struct index_user *u)
{
	buf_reset(&u->notes);
	io_close(&u->fd);
}

enum err
client_answer_end(struct index_user *u, const struct ipc_reader *r)
{
	if (ipc_reader_end(r) == OK) {
		return OK;
	}
	log_event(LOGL_ERROR, "index.client bad_answer", "user", u->name, NULL);
	client_disconnect(u);
	return E_TEMPFAIL;
}

enum err
client_error_of(const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	uint32_t e = ipc_get_u32(&r);

	ipc_get_str(&r);
	return ipc_reader_end(&r) || e == OK || e >= ERR_COUNT ? E_PROTO : (enum err)e;
}

/* The service made the index anew, and keeps the connection. */
static void
take_rebuilt(struct index_user *u, const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	uint64_t generation = ipc_get_u64(&r);

	if (ipc_reader_end(&r) || generation == u->generation) {
		return;
	}
	u->generation = generation;
	if (u->env != NULL) {
		u->env_stale = 1;
	}
}

/* Whether the frame is news for who watches. */
static int
take_notice(struct index_user *u, const struct ipc_msg *m)
{
	if (m->request != 0)
		return 0;
	if (m->type == INDEX_REBUILT) {
		take_rebuilt(u, m);
		u->watch_tree = 1;
		return 1;
	}
	if (m->type == INDEX_CHANGED) {
		struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
		uint32_t mailbox = ipc_get_u32(&r);

		(void)ipc_get_u64(&r);
		if (ipc_reader_end(&r) || mailbox == 0)
			u->watch_tree = 1;
		else
			numset_add(&u->watch_boxes, mailbox);
		return 1;
	}
	return 0;
}

/*
 * The answer to a request, whose first sign must come within first_ms; notices on the way are
 * counted in *news (may be NULL).
 */
static enum err
receive(struct index_user *u, int fd, uint32_t request, enum index_frame want, int first_ms,
	struct ipc_msg *out, int *news)
{
	for (int ms = first_ms;; ms = CLIENT_TIMEOUT_MS) {
		enum err e = ipc_recv(fd, out, ms);

		if (e) {
			return E_CLOSED; /* whatever it was, this connection is of no use any more
					  */
		}
		if (out->request == request) {
			break;
		}
		if (news != NULL) {
			*news |= take_notice(u, out);
		} else if (out->request == 0 && out->type == INDEX_REBUILT) {
			take_rebuilt(u, out);
		}
		ipc_msg_free(out);
	}
	if (out->type == want) {
		return OK;
	}
	return out->type == INDEX_ERROR ? client_error_of(out) : E_PROTO;
}

/* ---- connecting ---- */

static enum err
open_frame(struct index_user *u, int fd, uint64_t *generation)
{
	struct buf body = {0};
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	struct ipc_reader r;
	struct str name, maildir, dir;
	enum err e;

	ipc_put_cstr(&body, u->ticket);
	e = ipc_send(fd, INDEX_OPEN, ++u->request, buf_str(&body), NULL, 0, CLIENT_TIMEOUT_MS);
	e = e ? e : receive(u, fd, u->request, INDEX_OPENED, CLIENT_CONNECT_MS, &m, NULL);
	if (e) {
		goto out;
	}
	r = ipc_reader_of(buf_str(&m.body));
	name = ipc_get_str(&r);
	maildir = ipc_get_str(&r);
	dir = ipc_get_str(&r);
	*generation = ipc_get_u64(&r);
	e = ipc_reader_end(&r);
	if (!e && u->maildir == NULL) {
		u->told_name = str_dup(name);
		u->maildir = str_dup(maildir);
		u->index_dir = str_dup(dir);
	}
out:
	buf_wipe(&body);
	buf_free(&body);
	ipc_msg_free(&m);
	/* A refused ticket is final; the rest is the service's trouble, however it came out. */
	if (e == E_NOTFOUND && u->is_guest) {
		return e;
	}
	return e == OK || e == E_AUTH || e == E_NOSPACE ? e : E_TEMPFAIL;
}

/* A new connection that is past OPEN. */
static enum err
connect_new(struct index_user *u, int *fd, uint64_t *generation)
{
	char *path = conf_run_path(u->conf, "index");
	enum err e = net_connect_unix(path, CLIENT_CONNECT_MS, fd);

	if (e) {
		log_event(LOGL_ERROR, "index.client connect_failed", "path", path, "reason",
			err_word(e), NULL);
		e = E_TEMPFAIL;
		*fd = -1;
	} else {
		e = open_frame(u, *fd, generation);
		if (e) {
			io_close(fd);
		}
	}
	free(path);
	return e;
}

enum err
client_connect(struct index_user *u)
{
	uint64_t generation = 0;
	enum err e;

	if (u->fd >= 0) {
		return OK;
	}
	if (u->ticket == NULL) {
		return E_TEMPFAIL;
	}
	e = connect_new(u, &u->fd, &generation);
	if (e) {
		return e;
	}
	if (u->env != NULL && generation != u->generation) {
		u->env_stale = u->ids_doubtful = 1;
	}
	u->generation = generation;
	u->opened_ms = io_now_ms();
	return OK;
}

void
client_check(struct index_user *u)
{
	char c;
	ssize_t n = 0;

	/* Nothing is waiting between requests but notices and the end. */
	while (u->fd >= 0 && (n = recv(u->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT)) > 0) {
		struct ipc_msg m;

		/* Once the first byte is there the rest of the small frame is, too. */
		if (ipc_recv(u->fd, &m, CLIENT_CONNECT_MS) || m.request != 0) {
			n = 0;
		} else if (m.type == INDEX_REBUILT) {
			take_rebuilt(u, &m);
		}
		ipc_msg_free(&m);
		if (n == 0) {
			break;
		}
	}
	if (u->fd >= 0 && n == 0) {
		client_disconnect(u);
		client_connect(u);
	}
}

/* ---- requests ---- */

/*
 * A service that came back with another index: the request that waits was made with what the one
 * before said, and is good only if the ids still mean the same.
 */
static enum err
ids_settle(struct index_user *u)
{
	uint64_t dead = numset_size(&u->dead);

	if (!u->ids_doubtful) {
		return OK;
	}
	if (u->depth > 0 || client_env_replace(u) || numset_size(&u->dead) != dead) {
		return E_TEMPFAIL;
	}
	return OK;
}

enum err
client_request(struct index_user *u, enum index_frame type, const struct buf *body,
	enum index_frame want, struct ipc_msg *out)
{
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	int fresh;
	enum err e;

	if (out != NULL) {
		*out = m;
	}
	if (body->err) {
		return body->err;
	}
	client_notes_flush(u);
	u->unanswered = 0;
	fresh = u->fd < 0;
	e = client_connect(u);
	e = e || type == INDEX_CORRUPT ? e : ids_settle(u);
	if (e) {
		return e;
	}
	e = ipc_send(
		u->fd, (uint16_t)type, ++u->request, buf_str(body), NULL, 0, CLIENT_TIMEOUT_MS);
	if (e && !fresh) {
		/* The service was restarted since the last request: it has not seen this one. */
		client_disconnect(u);
		if (client_connect(u) || (type != INDEX_CORRUPT && ids_settle(u))) {
			return E_TEMPFAIL;
		}
		e = ipc_send(u->fd, (uint16_t)type, ++u->request, buf_str(body), NULL, 0,
			CLIENT_TIMEOUT_MS);
	}
	if (e) {
		e = E_CLOSED;
	} else {
		e = receive(u, u->fd, u->request, want, CLIENT_TIMEOUT_MS, &m, NULL);
		u->unanswered = e == E_CLOSED || e == E_PROTO;
	}
	if (e == E_CLOSED || e == E_PROTO) {
		log_event(LOGL_ERROR, "index.client lost", "user", u->name, "reason", err_word(e),
			NULL);
		client_disconnect(u);
		e = E_TEMPFAIL;
	}
	if (e || out == NULL) {
		ipc_msg_free(&m);
	} else {
		*out = m;
	}
	return e;
}

void
client_notes_flush(struct index_user *u)
{
	size_t sent = 0;

	while (u->fd >= 0 && sent < u->notes.len) {
		ssize_t n = send(
			u->fd, u->notes.p + sent, u->notes.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0) {
			sent += (size_t)n;
		} else if (errno != EINTR &&
			   (errno != EAGAIN || io_wait_writable(u->fd, CLIENT_TIMEOUT_MS) != OK)) {
			client_disconnect(u);
			return;
		}
	}
	buf_reset(&u->notes);
}

void
client_notify(struct index_user *u, enum index_frame type, const struct buf *body)
{
	char header[IPC_HEADER_SIZE];

	if (body->err || u->fd < 0 || body->len > IPC_BODY_MAX) {
		return;
	}
	ipc_header_write(header, (uint32_t)body->len, (uint16_t)type, 0, 0);
	buf_add(&u->notes, header, sizeof(header));
	buf_add(&u->notes, body->p, body->len);
	if (u->notes.len >= CLIENT_NOTES_MAX) {
		client_notes_flush(u);
	}
}

enum err
client_corrupt(struct index_user *u, const char *what)
{
	struct buf body = {0};

	log_event(LOGL_ERROR, "index.client corrupt", "user", u->name, "what", what, NULL);
	ipc_put_cstr(&body, what);
	if (client_request(u, INDEX_CORRUPT, &body, INDEX_OK, NULL) == OK) {
		client_disconnect(
			u); /* a rebuilt index has another generation: the next OPENED tells */
	}
	buf_free(&body);
	return E_CORRUPT;
}

enum err
index_rebuild(struct index_user *u, const char *why)
{
	struct buf body = {0};
	enum err e;

	ipc_put_cstr(&body, why);
	e = client_request(u, INDEX_CORRUPT, &body, INDEX_OK, NULL);
	buf_free(&body);
	client_disconnect(u);
	return e;
}

enum err
client_mailbox_check(const struct index_user *u, uint32_t mailbox)
{
	return numset_contains(&u->dead, mailbox) ? E_NOTFOUND : OK;
}

/* ---- opening ---- */

struct index_user *
client_user_new(const struct config *conf, const char *name)
{
	struct index_user *u = MEM_NEW(struct index_user);

	u->conf = conf;
	u->name = mem_strdup(name);
	u->fd = u->watch_fd = u->maildir_fd = u->watch_epoll = -1;
	return u;
}

enum err
client_user_create(const struct config *conf, const char *name, const char *maildir,
	const char *index_dir, struct index_user **out)
{
	enum err e;

	*out = client_user_new(conf, name);
	(*out)->maildir = mem_strdup(maildir);
	(*out)->index_dir = mem_strdup(index_dir);
	e = client_env_open(*out);
	if (e) {
		index_close(out);
	}
	return e;
}

static void
drop_ticket(struct index_user *u)
{
	if (u->ticket != NULL) {
		explicit_bzero(u->ticket, strlen(u->ticket));
	}
	MEM_FREE(u->ticket);
}

static void
set_ticket(struct index_user *u, const struct auth_user *user)
{
	drop_ticket(u);
	u->ticket = mem_strdup(user->ticket);
	u->quota_bytes = user->quota_bytes;
	u->quota_messages = user->quota_messages;
	free(u->quota_rules);
	u->quota_rules = mem_strdup(user->quota_rules ? user->quota_rules : "");
}

enum err
index_open(const struct config *conf, const struct auth_user *user, struct index_user **out)
{
	enum err e;

	*out = client_user_new(conf, user->name);
	set_ticket(*out, user);
	e = client_env_open_told(*out);
	if (e == E_CORRUPT) {
		/* Found so on opening: one rebuild is worth a try. */
		client_corrupt(*out, "open");
		e = client_env_open_told(*out);
	}
	if (e) {
		index_close(out);
	}
	return e;
}

enum err
index_ticket_places(
	const struct config *conf, const struct auth_user *user, char **maildir, char **index_dir)
{
	struct index_user *u = client_user_new(conf, user->name);
	enum err e;

	*maildir = *index_dir = NULL;
	set_ticket(u, user);
	e = client_connect(u);
	/* The ticket says whose it is: the name that came with it may be another. A guest has no
	 * Maildir. */
	if (e == OK && (u->told_name == NULL || strcmp(u->told_name, user->name) != 0 ||
			       u->maildir[0] == '\0')) {
		e = E_AUTH;
	}
	if (e == OK) {
		*maildir = mem_strdup(u->maildir);
		*index_dir = mem_strdup(u->index_dir);
	}
	index_close(&u);
	return e;
}

enum err
index_open_again(struct index_user *u, const struct auth_user *user)
{
	char *maildir = NULL, *index_dir = NULL;
	enum err e = strcmp(u->name, user->name) == 0 ? OK : E_AUTH;
	int same = u->quota_bytes == user->quota_bytes &&
		   u->quota_messages == user->quota_messages && u->quota_rules &&
		   user->quota_rules && strcmp(u->quota_rules, user->quota_rules) == 0;

	if (e) {
		return e;
	}
	if (index_paths(u->conf, user->home, &maildir, &index_dir) ||
		strcmp(u->maildir, maildir) != 0 || strcmp(u->index_dir, index_dir) != 0) {
		e = E_STATE;
	}
	free(maildir);
	free(index_dir);
	if (e) {
		return e;
	}
	set_ticket(u, user);
	client_notes_flush(u);
	client_shared_close(u);
	io_close(&u->watch_fd);
	u->watch_news = u->watch_tree = 0;
	numset_free(&u->watch_boxes);
	if (same && io_now_ms() - u->opened_ms < CLIENT_AGAIN_MS) {
		client_check(u);
	} else {
		client_disconnect(u);
	}
	e = client_connect(u);
	e = e ? e : index_read_begin(u);
	if (e == OK) {
		index_read_end(u);
	}
	/* This client knows no ids yet. */
	numset_free(&u->dead);
	/* What was put in the place of the whole directory is beyond the sandbox. */
	return e == E_ACCESS ? E_STATE : e;
}

void
index_close(struct index_user **u)
{
	if (*u == NULL) {
		return;
	}
	client_shared_close(*u);
	if ((*u)->env != NULL) {
		client_env_close(*u);
	}
	client_notes_flush(*u);
	buf_free(&(*u)->notes);
	io_close(&(*u)->fd);
	io_close(&(*u)->watch_fd);
	numset_free(&(*u)->watch_boxes);
	numset_free(&(*u)->dead);
	free((*u)->known);
	free((*u)->name);
	free((*u)->told_name);
	free((*u)->quota_rules);
	drop_ticket(*u);
	free((*u)->maildir);
	free((*u)->index_dir);
	MEM_FREE(*u);
}

static void
allow_parent(struct sandbox *sb, const char *path)
{
	char *parent = mem_strdup(path), *slash = strrchr(parent, '/');

	*slash = '\0';
	sandbox_allow_path(sb, parent, SANDBOX_READ | SANDBOX_WRITE);
	free(parent);
}

void
index_sandbox_allow(const struct index_user *u, struct sandbox *sb)
{
	char *socket_path = conf_run_path(u->conf, "index");

	/*
	 * A path is the directory that is there now. So it is the one above that is allowed, with
	 * nothing in it but this user's: an index, or a Maildir, that was removed and made anew is
	 * another directory. Readers of LMDB write, too: their slot in the table of readers.
	 */
	allow_parent(sb, u->maildir);
	allow_parent(sb, u->index_dir);
	sandbox_allow_path(sb, socket_path, SANDBOX_READ | SANDBOX_WRITE);
	free(socket_path);
}

/* ---- news ---- */

static enum err
watch_one(struct index_user *u, uint32_t mailbox, int on)
{
	struct buf body = {0};
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	uint64_t generation = 0;
	enum err e = client_mailbox_check(u, mailbox);

	if (e) {
		return e;
	}
	if (u->watch_fd < 0) {
		if (!on) {
			return OK;
		}
		e = connect_new(u, &u->watch_fd, &generation);
		if (e) {
			return e;
		}
		if (generation != u->generation) {
			/* The service is another than the one we knew: so is the other
			 * connection's. */
			client_disconnect(u);
			client_connect(u);
		}
	}
	ipc_put_u32(&body, mailbox);
	ipc_put_u8(&body, on != 0);
	e = ipc_send(
		u->watch_fd, INDEX_WATCH, ++u->request, buf_str(&body), NULL, 0, CLIENT_TIMEOUT_MS);
	e = e ? E_CLOSED
	      : receive(u, u->watch_fd, u->request, INDEX_OK, CLIENT_TIMEOUT_MS, &m,
			&u->watch_news);
	if (e == E_CLOSED || e == E_PROTO) {
		io_close(&u->watch_fd);
		e = E_TEMPFAIL;
	}
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

enum err
index_watch(struct index_user *u, uint32_t mailbox, int on)
{
	int all = mailbox == 0;
	enum err e;

	u = client_route(u, &mailbox);
	e = watch_one(u, mailbox, on);
	return e == OK && all && u->shares ? client_shared_watch(u, on) : e;
}

static int
is_watched(const struct client_shared *s)
{
	return s->guest != NULL && s->guest->watch_fd >= 0;
}

static void
watch_add(int epoll, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	if (fd >= 0) {
		(void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
	}
}

int
index_watch_fd(struct index_user *u)
{
	int more = 0;

	for (size_t i = 0; i < u->shared_count; i++) {
		more |= is_watched(&u->shared[i]);
	}
	io_close(&u->watch_epoll);
	if (!more) {
		return u->watch_fd;
	}
	u->watch_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (u->watch_epoll < 0) {
		return u->watch_fd;
	}
	watch_add(u->watch_epoll, u->watch_fd);
	for (size_t i = 0; i < u->shared_count; i++) {
		if (is_watched(&u->shared[i])) {
			watch_add(u->watch_epoll, u->shared[i].guest->watch_fd);
		}
	}
	return u->watch_epoll;
}

static enum err watch_read_one(struct index_user *u, int *changed);

enum err
index_watch_read(struct index_user *u, int *changed)
{
	enum err e = OK;
	int any = 0;

	*changed = 0;
	for (size_t i = 0; i < u->shared_count; i++) {
		int news = 0;

		if (!is_watched(&u->shared[i])) {
			continue;
		}
		any = 1;
		if (watch_read_one(u->shared[i].guest, &news) != OK) {
			e = E_TEMPFAIL;
		}
		client_shared_news(u, i);
		*changed |= news;
	}
	if (u->watch_fd >= 0 || !any) {
		int news = 0;

		if (watch_read_one(u, &news) != OK) {
			e = E_TEMPFAIL;
		}
		*changed |= news;
	}
	return e;
}

static enum err
watch_read_one(struct index_user *u, int *changed)
{
	*changed = u->watch_news;
	u->watch_news = 0;
	if (u->watch_fd < 0) {
		return E_TEMPFAIL;
	}
	while (io_wait_readable(u->watch_fd, 0) == OK) {
		struct ipc_msg m;
		/* Once the first byte is there the rest of the small frame is, too. */
		enum err e = ipc_recv(u->watch_fd, &m, CLIENT_CONNECT_MS);

		if (!e) {
			*changed |= take_notice(u, &m);
		}
		ipc_msg_free(&m);
		if (e) {
			io_close(&u->watch_fd);
			return E_TEMPFAIL;
		}
	}
	return OK;
}

void
index_watch_changed(struct index_user *u, struct numset *mailboxes, int *tree)
{
	numset_free(mailboxes);
	*mailboxes = u->watch_boxes;
	*tree = u->watch_tree;
	u->watch_boxes = (struct numset){0};
	u->watch_tree = 0;
}

enum err
index_sleep_token(struct index_user *u, uint32_t mailbox, struct buf *token)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	enum err e;

	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	e = client_request(u, INDEX_SLEEP_SEAL, &body, INDEX_SLEEP_TOKEN, &m);
	if (e == OK) {
		r = ipc_reader_of(buf_str(&m.body));
		(void)buf_add_str(token, ipc_get_str(&r));
		e = client_answer_end(u, &r);
		ipc_msg_free(&m);
	}
	buf_free(&body);
	return e;
}
