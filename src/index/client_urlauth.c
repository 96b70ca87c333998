/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"

/* What the service is told of a mailbox: nothing of one of the user's own. */
static void
put_box(struct index_user *u, const struct index_mailbox *m, struct buf *body)
{
	uint32_t mailbox = m ? m->id : 0;
	struct index_user *g = client_route(u, &mailbox);

	ipc_put_cstr(body, g != u ? g->name : "");
	ipc_put_cstr(body, g != u ? m->object_id : "");
}

/* Whether a URL of it would be good, which its owner's side has to say of one that is shared. */
static enum err
may_sign(struct index_user *u, uint32_t mailbox)
{
	struct index_user *g = client_route(u, &mailbox);
	struct buf body = {0};
	enum err e;

	if (g == u) {
		return OK;
	}
	ipc_put_u32(&body, mailbox);
	e = client_request(g, INDEX_URL_MAY, &body, INDEX_OK, NULL);
	buf_free(&body);
	return e;
}

enum err
index_url_token(struct index_user *u, const struct index_mailbox *m, struct str rump,
	char token[INDEX_URL_TOKEN_SIZE])
{
	struct buf body = {0};
	struct ipc_msg msg;
	struct ipc_reader r;
	struct str text;
	enum err e = may_sign(u, m->id);

	token[0] = '\0';
	if (e) {
		return e;
	}
	ipc_put_str(&body, rump);
	put_box(u, m, &body);
	e = client_request(u, INDEX_URL_SIGN, &body, INDEX_URL_SIGNED, &msg);
	buf_free(&body);
	if (e) {
		return e;
	}
	r = ipc_reader_of(buf_str(&msg.body));
	text = ipc_get_str(&r);
	e = client_answer_end(u, &r);
	if (e == OK && text.len != INDEX_URL_TOKEN_SIZE - 1) {
		e = E_TEMPFAIL;
	}
	if (e == OK) {
		memcpy(token, text.p, text.len);
		token[text.len] = '\0';
	}
	ipc_msg_free(&msg);
	return e;
}

/* The keys are others already: sessions that cannot be told now hear nothing of it. */
static void
tell_sessions(struct index_user *u, struct str owner, struct str object_id)
{
	struct index_user *g;
	struct buf body = {0};

	if (client_shared_open(u, owner, &g)) {
		return;
	}
	ipc_put_str(&body, object_id);
	(void)client_request(g, INDEX_URL_TOLD, &body, INDEX_OK, NULL);
	buf_free(&body);
}

enum err
index_url_reset(struct index_user *u, const struct index_mailbox *m)
{
	int is_own = m && !index_mailbox_is_shared(m->id);
	struct buf body = {0};
	struct ipc_msg msg;
	struct ipc_reader r;
	enum err e;

	ipc_put_cstr(&body, is_own ? m->name : "");
	put_box(u, m, &body);
	e = client_request(u, INDEX_URL_RESET, &body, INDEX_URL_GONE, &msg);
	buf_free(&body);
	if (e) {
		return e;
	}
	r = ipc_reader_of(buf_str(&msg.body));
	for (uint32_t n = ipc_get_u32(&r); n > 0 && !r.err; n--) {
		struct str owner = ipc_get_str(&r), object_id = ipc_get_str(&r);

		if (!r.err) {
			tell_sessions(u, owner, object_id);
		}
	}
	e = client_answer_end(u, &r);
	ipc_msg_free(&msg);
	return e;
}

enum err
index_url_key_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq)
{
	u = client_route(u, &mailbox);
	return client_meta(u, INDEX_META_URL_KEY, mailbox, modseq);
}

/* The answer to the one frame; *fd is the file. */
static enum err
answer_take(struct index_user *u, int service, uint32_t request, int *fd)
{
	struct ipc_msg m;
	enum err e;

	for (int ms = CLIENT_CONNECT_MS;; ms = CLIENT_TIMEOUT_MS) {
		if (ipc_recv(service, &m, ms)) {
			return E_TEMPFAIL;
		}
		if (m.request == request) {
			break;
		}
		ipc_msg_free(&m);
	}
	e = E_TEMPFAIL;
	if (m.type == INDEX_CONTENT && m.fds[0] >= 0) {
		*fd = m.fds[0];
		m.fds[0] = -1;
		e = OK;
	} else if (m.type == INDEX_ERROR && client_error_of(&m) == E_AUTH) {
		e = E_AUTH;
	} else {
		log_event(LOGL_ERROR, "index.client lost", "user", u->name, "reason", "url", NULL);
	}
	ipc_msg_free(&m);
	return e;
}

enum err
index_url_open(struct index_user *u, struct str url, struct index_content *out)
{
	char *path = conf_run_path(u->conf, "index");
	struct buf body = {0};
	int service = -1, fd = -1;
	struct stat st;
	enum err e;

	*out = (struct index_content){.fd = -1};
	ipc_put_cstr(&body, u->ticket ? u->ticket : "");
	ipc_put_str(&body, url);
	e = net_connect_unix(path, CLIENT_CONNECT_MS, &service) ? E_TEMPFAIL : OK;
	if (e == OK && ipc_send(service, INDEX_URL_OPEN, ++u->request, buf_str(&body), NULL, 0,
			       CLIENT_TIMEOUT_MS)) {
		e = E_TEMPFAIL;
	}
	if (e == OK) {
		e = answer_take(u, service, u->request, &fd);
	}
	if (e == OK && fstat(fd, &st) != 0) {
		e = E_TEMPFAIL;
	}
	if (e == OK) {
		e = client_content_make(u, fd, (size_t)st.st_size, 0, out);
		fd = -1;
	}
	io_close(&fd);
	io_close(&service);
	buf_wipe(&body);
	buf_free(&body);
	free(path);
	return e == OK || e == E_AUTH ? e : E_TEMPFAIL;
}
