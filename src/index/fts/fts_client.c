/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_client.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "lib/sandbox.h"

enum {
	CONNECT_MS = 500,
	ANSWER_MS = 1500, /* then the messages themselves are read */
	AGAIN_MS = 10 * 1000, /* after a failure */
	ID_LEN = 16,
};

struct fts_client {
	const struct config *conf;
	char *user, *ticket;
	int fd;
	uint32_t request;
	int64_t not_before_ms;
};

struct fts_client *
fts_client_create(const struct config *conf, const struct auth_user *user)
{
	struct fts_client *c = MEM_NEW(struct fts_client);

	c->conf = conf;
	c->user = mem_strdup(user->name);
	c->ticket = mem_strdup(user->ticket);
	c->fd = -1;
	return c;
}

void
fts_client_free(struct fts_client **c)
{
	if (!*c)
		return;
	io_close(&(*c)->fd);
	explicit_bzero((*c)->ticket, strlen((*c)->ticket));
	free((*c)->ticket);
	free((*c)->user);
	MEM_FREE(*c);
}

void
fts_client_sandbox_allow(const struct config *conf, struct sandbox *sb)
{
	char *path = conf_run_path(conf, "fts");

	sandbox_allow_path(sb, path, SANDBOX_READ | SANDBOX_WRITE);
	free(path);
}

/* One request and its answer. */
static enum err
exchange(struct fts_client *c, enum fts_frame type, struct str body, enum fts_frame want,
	struct ipc_msg *out)
{
	struct ipc_reader r;
	enum err e = ipc_send(c->fd, type, ++c->request, body, NULL, 0, CONNECT_MS);

	*out = (struct ipc_msg){.fds = {-1, -1, -1, -1}};
	e = e ? e : ipc_recv(c->fd, out, ANSWER_MS);
	if (e)
		return e;
	if (out->request != c->request)
		return E_PROTO;
	if (out->type == want)
		return OK;
	r = ipc_reader_of(buf_str(&out->body));
	e = (enum err)ipc_get_u32(&r);
	return out->type != FTS_ERROR || ipc_reader_end(&r) || e == OK || e >= ERR_COUNT ? E_PROTO
											 : e;
}

static enum err
connect_to(struct fts_client *c)
{
	char *path = conf_run_path(c->conf, "fts");
	struct buf body = {0};
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	enum err e = net_connect_unix(path, CONNECT_MS, &c->fd);

	free(path);
	if (e) {
		c->fd = -1;
		return e;
	}
	ipc_put_cstr(&body, c->user);
	ipc_put_cstr(&body, c->ticket);
	e = exchange(c, FTS_OPEN, buf_str(&body), FTS_OK, &m);
	ipc_msg_free(&m);
	buf_wipe(&body);
	buf_free(&body);
	if (e)
		io_close(&c->fd);
	return e;
}

static enum err
read_reply(struct fts_reply *out, size_t count)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&out->msg.body));
	struct str uids = ipc_get_str(&r);

	for (size_t i = 0; i < count; i++) {
		struct fts_key_answer *key = &out->keys[i];

		key->all_maybe = ipc_get_u8(&r) != 0;
		key->yes = ipc_get_str(&r);
		key->maybe = ipc_get_str(&r);
		key->scores = ipc_get_str(&r);
		if (key->yes.len % ID_LEN || key->maybe.len % ID_LEN ||
			(key->scores.len && key->scores.len != key->yes.len / ID_LEN))
			return E_PROTO;
	}
	return ipc_reader_end(&r) ? E_PROTO : numset_unpack(uids, &out->uids);
}

/* A request and its answer, over the connection that is there or another. */
static enum err
request(struct fts_client *c, enum fts_frame type, struct str body, enum fts_frame want,
	struct ipc_msg *out)
{
	int had = c->fd >= 0;
	enum err e = OK;

	if (had)
		e = exchange(c, type, body, want, out);
	/* A connection that was silent for long may have been closed. */
	if (had && (e == E_CLOSED || e == E_IO)) {
		ipc_msg_free(out);
		io_close(&c->fd);
	}
	if (c->fd < 0) {
		e = connect_to(c);
		e = e ? e : exchange(c, type, body, want, out);
	}
	return e;
}

/* e: of a request. Behind most errors the connection is of no more use, for a while. */
static void
note_end(struct fts_client *c, enum err e)
{
	if (!e || e == E_NOTFOUND || e == E_TOOBIG)
		return;
	log_event(LOGL_INFO, "imap.fts unavailable", "error", err_word(e), NULL);
	io_close(&c->fd);
	c->not_before_ms = io_now_ms() + AGAIN_MS;
}

enum err
fts_client_ask(struct fts_client *c, const char *object_id, uint32_t uidvalidity,
	const struct fts_key *keys, size_t count, struct fts_reply *out)
{
	struct buf body = {0};
	enum err e;

	fts_reply_init(out);
	if (io_now_ms() < c->not_before_ms || count == 0 || count > FTS_KEYS_MAX)
		return E_TEMPFAIL;
	ipc_put_cstr(&body, object_id);
	ipc_put_u32(&body, uidvalidity);
	ipc_put_u32(&body, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		ipc_put_u8(&body, (uint8_t)keys[i].where);
		ipc_put_u8(&body, (uint8_t)keys[i].how);
		ipc_put_str(&body, keys[i].needle);
	}
	e = request(c, FTS_QUERY, buf_str(&body), FTS_FOUND, &out->msg);
	buf_free(&body);
	e = e ? e : read_reply(out, count);
	note_end(c, e);
	return e;
}

int
fts_client_has_languages(const struct fts_client *c)
{
	return c->conf->fts_languages.count > 0;
}

enum err
fts_client_same_stem(struct fts_client *c, struct str word, struct str other, int *same)
{
	struct buf body = {0};
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	struct ipc_reader r;
	enum err e;

	if (io_now_ms() < c->not_before_ms)
		return E_TEMPFAIL;
	ipc_put_str(&body, word);
	ipc_put_str(&body, other);
	e = request(c, FTS_STEMS, buf_str(&body), FTS_OK, &m);
	if (!e) {
		r = ipc_reader_of(buf_str(&m.body));
		*same = ipc_get_u8(&r) != 0;
		e = ipc_reader_end(&r);
	}
	ipc_msg_free(&m);
	buf_free(&body);
	note_end(c, e);
	return e;
}

void
fts_reply_init(struct fts_reply *r)
{
	memset(r, 0, sizeof(*r));
	memset(r->msg.fds, -1, sizeof(r->msg.fds));
}

void
fts_reply_free(struct fts_reply *r)
{
	numset_free(&r->uids);
	ipc_msg_free(&r->msg);
}
