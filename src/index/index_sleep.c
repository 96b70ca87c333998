/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "auth/seal.h"
#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * A sleeping session costs no connection and does not keep its user open: a worker remembers the
 * user's name and the mailbox. What Roost changes itself comes by while the user is open, whoever
 * opened it; for other programs the folder is watched with inotify.
 *
 * The main thread speaks with roost-idle and checks tokens; the worker of the user keeps the
 * sleeper and sends word back. A sleeper is named by the number of its connection and its request.
 */

static const char token_label[] = "index-sleep";

/* Also the work that travels between the threads. */
struct index_sleeper {
	struct index_sleeper *next; /* in its bucket */
	struct index_service_state *service;
	uint64_t conn;
	uint32_t request;
	uint32_t mailbox;
	uint64_t modseq;
	int wd[2]; /* new/ and cur/; -1 */
	char *folder; /* until it is watched */
	char user[]; /* with its NUL */
};

/* A watched directory. All who sleep in it are of one user, and so in one bucket. */
struct index_sleep_wd {
	struct index_sleep_wd *next;
	int wd;
	unsigned refs;
	struct index_sleeper **bucket;
};

struct index_sleep_conn {
	struct index_sleep_conn *next;
	struct index_service_state *service;
	struct ipc_conn *ipc;
	uint64_t id;
};

/* ---- tokens: u32 mailbox, str user, str folder ---- */

enum err
index_sleep_seal(
	struct index_user_entry *u, uint32_t mailbox, uint64_t guest_modseq, struct buf *out)
{
	struct buf body = {0};
	char *folder;
	enum err e = index_core_folder_path(u->core, mailbox, &folder);

	if (e)
		return e;
	ipc_put_u32(&body, mailbox);
	ipc_put_cstr(&body, u->name);
	ipc_put_cstr(&body, folder);
	ipc_put_u64(&body, guest_modseq);
	ipc_put_u64(&body, guest_modseq ? index_core_modseq(u->core, mailbox) : 0);
	e = seal_make(u->worker->service->ticket_key, token_label, STR(""), buf_str(&body), out);
	buf_free(&body);
	free(folder);
	return e;
}

static enum err
token_open(
	struct index_service_state *s, struct str token, uint64_t seen, struct index_sleeper **out)
{
	struct str body;
	struct ipc_reader r;
	uint32_t mailbox;
	struct str user, folder;
	uint64_t guest_modseq, own_modseq;
	enum err e = seal_open(s->ticket_key, token_label, STR(""), token, &body);

	*out = NULL;
	if (e)
		return e;
	r = ipc_reader_of(body);
	mailbox = ipc_get_u32(&r);
	user = ipc_get_str(&r);
	folder = ipc_get_str(&r);
	guest_modseq = ipc_get_u64(&r);
	own_modseq = ipc_get_u64(&r);
	e = ipc_reader_end(&r);
	if (e)
		return e;
	*out = mem_zalloc(sizeof(**out) + user.len + 1);
	(*out)->service = s;
	(*out)->mailbox = mailbox;
	/*
	 * What a guest has seen is of his index, which stood for this state of the owner's. One who
	 * had not seen all of that has something to look at: no mailbox has this mod-sequence.
	 */
	(*out)->modseq = guest_modseq == 0 ? seen : seen == guest_modseq ? own_modseq : UINT64_MAX;
	(*out)->wd[0] = (*out)->wd[1] = -1;
	(*out)->folder = str_dup(folder);
	memcpy((*out)->user, user.p, user.len);
	return OK;
}

static void
sleeper_free(struct index_sleeper *s)
{
	free(s->folder);
	free(s);
}

/* ---- in the main thread ---- */

static struct index_worker *
worker_of(struct index_service_state *s, const char *user)
{
	return &s->workers[(index_user_hash(user) & 0xffff) % s->worker_count];
}

/* What a worker has to say of a sleeper. */
struct word {
	struct index_service_state *service;
	uint64_t conn;
	uint32_t request;
	uint16_t type; /* INDEX_OK, INDEX_CHANGED, INDEX_ERROR */
};

static void
word_pass_on(void *owner, void *arg)
{
	struct word *w = arg;
	struct index_sleep_conn *c = w->service->sleep_conns;
	struct buf body = {0};

	(void)owner;
	while (c && c->id != w->conn)
		c = c->next;
	if (w->type == INDEX_ERROR) {
		ipc_put_u32(&body, E_NOSPACE);
		ipc_put_cstr(&body, "inotify");
	}
	if (c)
		ipc_conn_send(c->ipc, w->type, w->request, buf_str(&body), NULL, 0);
	buf_free(&body);
	free(w);
}

static void
say(const struct index_sleeper *s, uint16_t type)
{
	struct word *w = MEM_NEW(struct word);

	*w = (struct word){s->service, s->conn, s->request, type};
	index_queue_add(&s->service->queue, word_pass_on, w);
}

static void worker_watch(void *worker, void *sleeper);
static void worker_forget(void *worker, void *sleeper);

/* To all workers: which of them has it is not known here. request 0: all of the connection. */
static void
forget(struct index_sleep_conn *c, uint32_t request)
{
	for (size_t i = 0; i < c->service->worker_count; i++) {
		struct index_sleeper *s = mem_zalloc(sizeof(*s) + 1);

		s->conn = c->id;
		s->request = request;
		index_queue_add(&c->service->workers[i].queue, worker_forget, s);
	}
}

static void
watch(struct index_sleep_conn *c, struct ipc_msg *m, struct str token, uint64_t modseq)
{
	struct index_sleeper *s;
	enum err e = token_open(c->service, token, modseq, &s);
	struct buf body = {0};

	if (e == OK && c->service->worker_count) {
		s->conn = c->id;
		s->request = m->request;
		index_queue_add(&worker_of(c->service, s->user)->queue, worker_watch, s);
		return;
	}
	log_event(LOGL_WARN, "index.sleep refused", "error", err_word(e), NULL);
	if (s)
		sleeper_free(s);
	ipc_put_u32(&body, (uint32_t)(e ? e : E_TEMPFAIL));
	ipc_put_cstr(&body, "token");
	ipc_conn_send(c->ipc, INDEX_ERROR, m->request, buf_str(&body), NULL, 0);
	buf_free(&body);
}

static void
on_message(struct ipc_conn *ipc, struct ipc_msg *m, void *arg)
{
	struct index_sleep_conn *c = arg;
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));

	(void)ipc;
	if (m->type == INDEX_SLEEP_WATCH && m->request) {
		struct str token = ipc_get_str(&r);
		uint64_t modseq = ipc_get_u64(&r);

		if (ipc_reader_end(&r) == OK) {
			watch(c, m, token, modseq);
			return;
		}
	} else if (m->type == INDEX_SLEEP_FORGET && m->request) {
		forget(c, m->request);
		return;
	}
	log_event(LOGL_WARN, "index.sleep bad", "frame", log_u64(m->type), NULL);
}

static void
conn_remove(struct index_sleep_conn *c)
{
	struct index_sleep_conn **at = &c->service->sleep_conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	free(c);
}

static void
on_close(struct ipc_conn *ipc, enum err e, void *arg)
{
	(void)ipc;
	(void)e;
	forget(arg, 0);
	conn_remove(arg);
}

void
index_sleep_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_message, on_close};
	struct index_service_state *s = service_state(run);
	struct index_sleep_conn *c = MEM_NEW(struct index_sleep_conn);

	(void)peer;
	c->service = s;
	c->id = ++s->sleep_conn_last;
	c->next = s->sleep_conns;
	s->sleep_conns = c;
	c->ipc = ipc_conn_create(service_base(run), fd, INDEX_SLEEP_BODY_MAX, &handler, c);
}

void
index_sleep_stop(struct index_service_state *s)
{
	struct index_sleep_conn *c, *next;

	for (c = s->sleep_conns; c; c = next) {
		next = c->next;
		ipc_conn_free(&c->ipc);
		free(c);
	}
	s->sleep_conns = NULL;
}

/* ---- in the worker's thread ---- */

static struct index_sleeper **
bucket(struct index_worker *w, const char *user)
{
	return &w->sleepers[(index_user_hash(user) >> 16) % INDEX_USER_BUCKETS];
}

static struct index_sleep_wd **
wd_find(struct index_worker *w, int wd)
{
	struct index_sleep_wd **at = &w->sleep_wds[(unsigned)wd % INDEX_USER_BUCKETS];

	while (*at && (*at)->wd != wd)
		at = &(*at)->next;
	return at;
}

static int
wd_hold(struct index_worker *w, const struct index_sleeper *s, const char *part)
{
	struct index_sleep_wd **at;
	char *path = mem_printf("%s/%s", s->folder, part);
	int wd = index_inotify_hold(w, path, IN_DONT_FOLLOW);

	free(path);
	if (wd < 0)
		return -1;
	at = wd_find(w, wd);
	if (!*at) {
		*at = MEM_NEW(struct index_sleep_wd);
		(*at)->wd = wd;
		(*at)->bucket = bucket(w, s->user);
	}
	(*at)->refs++;
	return wd;
}

static void
wd_drop(struct index_worker *w, int wd)
{
	struct index_sleep_wd **at = wd_find(w, wd), *d = *at;

	if (wd < 0 || !d)
		return;
	index_inotify_drop(w, wd);
	if (--d->refs)
		return;
	*at = d->next;
	free(d);
}

static void
sleeper_remove(struct index_worker *w, struct index_sleeper **at)
{
	struct index_sleeper *s = *at;

	*at = s->next;
	wd_drop(w, s->wd[0]);
	wd_drop(w, s->wd[1]);
	sleeper_free(s);
}

/* What happened between the session's last look and now is news already. */
static int
is_behind(struct index_worker *w, const struct index_sleeper *s)
{
	struct index_user_entry *u = index_worker_find(w, s->user);

	/* Who is away is looked at when it is back. */
	return u && !u->away && (u->corrupt || index_core_modseq(u->core, s->mailbox) != s->modseq);
}

static void
worker_watch(void *worker, void *arg)
{
	struct index_worker *w = worker;
	struct index_sleeper *s = arg, **at = bucket(w, s->user);

	s->wd[0] = wd_hold(w, s, "new");
	s->wd[1] = wd_hold(w, s, "cur");
	MEM_FREE(s->folder);
	s->next = *at;
	*at = s;
	if (s->wd[0] < 0 || s->wd[1] < 0) {
		/* What other programs do would go unseen: the session had better stay awake. */
		say(s, INDEX_ERROR);
		sleeper_remove(w, at);
		return;
	}
	say(s, INDEX_OK);
	if (is_behind(w, s)) {
		say(s, INDEX_CHANGED);
		sleeper_remove(w, at);
	}
}

static void
worker_forget(void *worker, void *arg)
{
	struct index_worker *w = worker;
	struct index_sleeper *which = arg;

	for (size_t i = 0; i < INDEX_USER_BUCKETS; i++)
		for (struct index_sleeper **at = &w->sleepers[i]; *at;) {
			if ((*at)->conn == which->conn &&
				(!which->request || (*at)->request == which->request))
				sleeper_remove(w, at);
			else
				at = &(*at)->next;
		}
	sleeper_free(which);
}

void
index_sleep_notify(struct index_worker *w, const char *user, uint32_t mailbox)
{
	for (struct index_sleeper **at = bucket(w, user); *at;) {
		if ((!mailbox || (*at)->mailbox == mailbox) && strcmp((*at)->user, user) == 0) {
			say(*at, INDEX_CHANGED);
			sleeper_remove(w, at);
		} else {
			at = &(*at)->next;
		}
	}
}

void
index_sleep_look(struct index_user_entry *u)
{
	struct index_worker *w = u->worker;

	for (struct index_sleeper **at = bucket(w, u->name); *at;) {
		if (strcmp((*at)->user, u->name) == 0 && is_behind(w, *at)) {
			say(*at, INDEX_CHANGED);
			sleeper_remove(w, at);
		} else {
			at = &(*at)->next;
		}
	}
}

/* ---- other programs ---- */

/*
 * While the user is open the core looks whether it is news, since most of what happens in a folder
 * is its own doing. Else the session that wakes will look: 1, and *at is removed.
 */
static int
folder_changed(struct index_worker *w, struct index_sleeper **at, const struct inotify_event *ev)
{
	struct index_sleeper *s = *at;
	struct index_user_entry *u = index_worker_find(w, s->user);

	if (s->wd[0] == ev->wd && (ev->mask & (IN_CREATE | IN_MOVED_TO)) && ev->len &&
		index_watch_is_ours(ev->name))
		return 0;
	if (u) {
		index_watch_look(u, s->mailbox);
		return 0;
	}
	say(s, INDEX_CHANGED);
	sleeper_remove(w, at);
	return 1;
}

static void
bucket_changed(
	struct index_worker *w, struct index_sleeper **at, const struct inotify_event *ev, int all)
{
	while (*at) {
		struct index_sleeper *s = *at;
		int meant = all || s->wd[0] == ev->wd || s->wd[1] == ev->wd;

		if (!meant || !folder_changed(w, at, ev))
			at = &s->next;
	}
}

void
index_sleep_event(struct index_worker *w, const struct inotify_event *ev)
{
	struct index_sleep_wd *d = *wd_find(w, ev->wd);

	if (ev->mask & IN_Q_OVERFLOW) {
		for (size_t i = 0; i < INDEX_USER_BUCKETS; i++)
			bucket_changed(w, &w->sleepers[i], ev, 1);
	} else if (d) {
		bucket_changed(w, d->bucket, ev, 0);
	}
}

void
index_sleep_close(struct index_worker *w)
{
	for (size_t i = 0; i < INDEX_USER_BUCKETS; i++)
		while (w->sleepers[i])
			sleeper_remove(w, &w->sleepers[i]);
}
