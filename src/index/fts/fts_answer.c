/* SPDX-License-Identifier: MIT */
#include "index/fts/fts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth_client.h"
#include "index/fts/fts_proto.h"
#include "index/fts/fts_query.h"
#include "index/fts/fts_stem.h"
#include "index/fts/fts_store.h"
#include "index/index_client.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/sandbox.h"

/*
 * Answers one user's questions. Who asks shows a ticket, which roost-index is asked about: this
 * process has no key. Before the first good one it reads nothing but frames; then it is confined to
 * reading that user's index.
 */
enum {
	CLIENTS_MAX = 64,
	FRAME_MS = 2000, /* for a frame that has begun, and for an answer to be taken */
	POLL_MS = 1000,
	LINGER_MS = 30 * 1000, /* without a client */
	TRIES = 4, /* when the writer has used again what we were reading */
	FOUND_MAX = 48 << 20, /* bytes of an answer */
};

struct client {
	int fd;
	int64_t used_ms;
};

struct answer {
	const struct config *conf;
	const char *user;
	int channel;
	char *index_dir, *fts_dir; /* NULL: nobody has shown a good ticket yet */
	struct fts_store *store;
	struct fts_stemmer *stemmer; /* NULL: no languages are set */
	struct client clients[CLIENTS_MAX];
	size_t count;
	int64_t used_ms;
	int over; /* this process is of no use any more */
};

/* ---- answers ---- */

static void
send_error(int fd, uint32_t request, enum err e)
{
	struct buf body = {0};

	ipc_put_u32(&body, (uint32_t)e);
	(void)ipc_send(fd, FTS_ERROR, request, buf_str(&body), NULL, 0, FRAME_MS);
	buf_free(&body);
}

/* The store as it was last committed. */
static enum err
store_ready(struct answer *a)
{
	enum err e = a->store ? fts_store_refresh(a->store) : E_NOTFOUND;

	if (e != E_NOTFOUND)
		return e;
	fts_store_close(&a->store);
	return fts_store_open(a->fts_dir, "words", 0, &a->store);
}

static void
put_ids(const struct fts_store *s, const struct fts_bits *bits, struct buf *out)
{
	struct buf ids = {0};

	fts_bits_ids(s, bits, &ids);
	ipc_put_str(out, buf_str(&ids));
	buf_free(&ids);
}

static void
put_scores(const struct fts_store *s, const struct fts_found *found, struct buf *out)
{
	struct buf scores = {0};

	fts_found_scores(s, found, &scores);
	ipc_put_str(out, buf_str(&scores));
	buf_free(&scores);
}

static enum err
answer_key(struct answer *a, struct ipc_reader *r, struct buf *out)
{
	uint8_t where = ipc_get_u8(r), how = ipc_get_u8(r);
	struct fts_question question = {
		(enum fts_where)where, (enum fts_how)how, ipc_get_str(r), a->stemmer};
	struct fts_found found;
	enum err e;

	if (r->err || where > FTS_IN_HEADER || how > FTS_FUZZY)
		return E_PROTO;
	e = fts_query_run(a->store, &question, &found);
	if (!e) {
		ipc_put_u8(out, found.all_maybe != 0);
		put_ids(a->store, &found.yes, out);
		put_ids(a->store, &found.maybe, out);
		put_scores(a->store, &found, out);
	}
	fts_found_free(&found);
	return e ? e : out->len > FOUND_MAX ? E_TOOBIG : OK;
}

static enum err
answer_once(struct answer *a, struct str body, struct buf *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	char *object_id = ipc_get_dup(&r);
	uint32_t uidvalidity = ipc_get_u32(&r), n = ipc_get_u32(&r);
	struct fts_mailbox box = {0};
	struct buf uids = {0};
	enum err e = r.err || n == 0 || n > FTS_KEYS_MAX ? E_PROTO : store_ready(a);

	e = e ? e : fts_mailbox_get(a->store, object_id, &box);
	if (!e && box.uidvalidity != uidvalidity)
		e = E_NOTFOUND;
	if (!e) {
		numset_pack(&box.uids, &uids);
		ipc_put_str(out, buf_str(&uids));
	}
	for (uint32_t i = 0; i < n && !e; i++)
		e = answer_key(a, &r, out);
	if (!e && ipc_reader_end(&r))
		e = E_PROTO;
	fts_mailbox_free(&box);
	buf_free(&uids);
	free(object_id);
	return e;
}

/* E_PROTO: the client is not to be heard any more. */
static enum err
answer_query(struct answer *a, int fd, const struct ipc_msg *m)
{
	struct buf out = {0};
	int64_t begin = metrics_now_us();
	enum err e = E_CONFLICT;

	for (int i = 0; i < TRIES && e == E_CONFLICT; i++) {
		buf_reset(&out);
		e = answer_once(a, buf_str(&m->body), &out);
	}
	metrics_observe_us(METRIC_FTS_QUERY_DURATION, metrics_now_us() - begin);
	if (!e)
		e = ipc_send(fd, FTS_FOUND, m->request, buf_str(&out), NULL, 0, FRAME_MS) ? E_PROTO
											  : OK;
	else if (e != E_PROTO)
		send_error(fd, m->request, e);
	buf_free(&out);
	if (e == E_CORRUPT) {
		log_event(LOGL_WARN, "fts.index damaged", "user", a->user, NULL);
		(void)ipc_send(a->channel, FTS_DAMAGED, 0, STR(""), NULL, 0, FRAME_MS);
	}
	/* The directory was replaced by one that we may not see; another process can. */
	if (e == E_CORRUPT || e == E_ACCESS || e == E_IO) {
		fts_store_close(&a->store);
		a->over = e != E_CORRUPT;
	}
	return e == E_PROTO ? e : OK;
}

static enum err
answer_stems(struct answer *a, int fd, const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	struct str word = ipc_get_str(&r), other = ipc_get_str(&r);
	struct buf out = {0};
	enum err e = ipc_reader_end(&r);

	if (e)
		return e;
	ipc_put_u8(&out, a->stemmer && fts_stemmer_same(word, other, a->stemmer));
	e = ipc_send(fd, FTS_OK, m->request, buf_str(&out), NULL, 0, FRAME_MS);
	buf_free(&out);
	return e;
}

/* ---- clients ---- */

static void
client_drop(struct answer *a, size_t n)
{
	close(a->clients[n].fd);
	a->clients[n] = a->clients[--a->count];
}

static enum err
confine(struct answer *a)
{
	struct sandbox *sb = sandbox_create();
	char *index_socket = conf_run_path(a->conf, "index");
	enum err e;

	sandbox_allow_path(sb, a->index_dir, SANDBOX_READ);
	sandbox_allow_path(sb, index_socket, SANDBOX_READ | SANDBOX_WRITE);
	e = sandbox_enter(sb);
	sandbox_free(&sb);
	free(index_socket);
	return e == E_UNSUPPORTED ? OK : e;
}

static void
tell_wanted(struct answer *a, const char *maildir)
{
	struct fts_place place = {a->user, maildir, a->index_dir};
	struct buf body = {0};

	fts_place_put(&place, &body);
	(void)ipc_send(a->channel, FTS_WANTED, 0, buf_str(&body), NULL, 0, FRAME_MS);
	buf_free(&body);
}

/* The ticket is good for the user's mail in the place that this process is confined to. */
static enum err
let_in(struct answer *a, struct str user, char *ticket)
{
	struct auth_user who = {.name = (char *)a->user, .ticket = ticket};
	char *maildir = NULL, *index_dir = NULL;
	enum err e = str_is(user, a->user)
			     ? index_ticket_places(a->conf, &who, &maildir, &index_dir)
			     : E_AUTH;

	if (!e && !a->index_dir) {
		a->index_dir = mem_strdup(index_dir);
		a->fts_dir = mem_printf("%s/fts", index_dir);
		e = confine(a);
		a->over = e != OK;
	}
	if (!e && strcmp(a->index_dir, index_dir) != 0) {
		e = E_TEMPFAIL;
		a->over = 1;
	}
	if (!e)
		tell_wanted(a, maildir);
	free(maildir);
	free(index_dir);
	return e;
}

static void
take_client(struct answer *a, struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	uint32_t request = ipc_get_u32(&r);
	struct str user = ipc_get_str(&r);
	char *ticket = ipc_get_dup(&r);
	int fd = m->fds[0];
	enum err e = ipc_reader_end(&r);

	m->fds[0] = -1;
	if (fd >= 0) {
		(void)io_set_nonblocking(fd, 0);
		if (!e && a->count == CLIENTS_MAX)
			e = E_TEMPFAIL;
		e = e ? e : let_in(a, user, ticket);
		if (!e && ipc_send(fd, FTS_OK, request, STR(""), NULL, 0, FRAME_MS) == OK) {
			a->clients[a->count++] = (struct client){fd, io_now_ms()};
		} else {
			send_error(fd, request, e);
			close(fd);
		}
	}
	explicit_bzero(ticket, strlen(ticket));
	free(ticket);
}

static void
hear_client(struct answer *a, size_t n)
{
	struct ipc_msg m;
	enum err e = ipc_recv(a->clients[n].fd, &m, FRAME_MS);

	if (!e && m.body.len > FTS_BODY_MAX)
		e = E_PROTO;
	if (!e)
		e = m.type == FTS_QUERY	  ? answer_query(a, a->clients[n].fd, &m)
		    : m.type == FTS_STEMS ? answer_stems(a, a->clients[n].fd, &m)
					  : E_PROTO;
	ipc_msg_free(&m);
	a->used_ms = a->clients[n].used_ms = io_now_ms();
	if (e)
		client_drop(a, n);
}

static void
drop_silent(struct answer *a)
{
	for (size_t i = a->count; i-- > 0;)
		if (io_now_ms() - a->clients[i].used_ms > FTS_CLIENT_IDLE_MS)
			client_drop(a, i);
}

static void
round_once(struct answer *a)
{
	struct pollfd fds[CLIENTS_MAX + 1] = {{a->channel, POLLIN, 0}};
	size_t count = a->count;
	struct ipc_msg m;

	for (size_t i = 0; i < count; i++)
		fds[i + 1] = (struct pollfd){a->clients[i].fd, POLLIN, 0};
	if (poll(fds, count + 1, POLL_MS) < 0)
		return;
	/* From the last on, since who is dropped is replaced by the last. */
	for (size_t i = count; i-- > 0 && !a->over;)
		if (fds[i + 1].revents)
			hear_client(a, i);
	drop_silent(a);
	if (!fds[0].revents)
		return;
	if (ipc_recv(a->channel, &m, FRAME_MS))
		a->over = 1;
	else if (m.type == FTS_CLIENT)
		take_client(a, &m);
	ipc_msg_free(&m);
	a->used_ms = io_now_ms();
}

int
fts_answer_run(const struct config *conf, const char *user, int channel)
{
	struct answer a = {.conf = conf, .user = user, .channel = channel};

	(void)io_set_nonblocking(channel, 0);
	a.used_ms = io_now_ms();
	a.stemmer = fts_stemmer_create(&conf->fts_languages);
	while (!a.over && (a.count || io_now_ms() - a.used_ms < LINGER_MS))
		round_once(&a);
	while (a.count)
		client_drop(&a, a.count - 1);
	fts_store_close(&a.store);
	fts_stemmer_free(&a.stemmer);
	free(a.index_dir);
	free(a.fts_dir);
	return 0;
}
