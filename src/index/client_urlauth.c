/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"

enum err
index_url_token(struct index_user *u, struct str rump, char token[INDEX_URL_TOKEN_SIZE])
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	struct str text;
	enum err e;

	token[0] = '\0';
	ipc_put_str(&body, rump);
	e = client_request(u, INDEX_URL_SIGN, &body, INDEX_URL_SIGNED, &m);
	buf_free(&body);
	if (e) {
		return e;
	}
	r = ipc_reader_of(buf_str(&m.body));
	text = ipc_get_str(&r);
	e = client_answer_end(u, &r);
	if (e == OK && text.len != INDEX_URL_TOKEN_SIZE - 1) {
		e = E_TEMPFAIL;
	}
	if (e == OK) {
		memcpy(token, text.p, text.len);
		token[text.len] = '\0';
	}
	ipc_msg_free(&m);
	return e;
}

enum err
index_url_reset(struct index_user *u, struct str mailbox)
{
	struct buf body = {0};
	enum err e;

	ipc_put_str(&body, mailbox);
	e = client_request(u, INDEX_URL_RESET, &body, INDEX_OK, NULL);
	buf_free(&body);
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
