/* SPDX-License-Identifier: MIT */
#include "auth/auth_client.h"

#include <stdlib.h>
#include <string.h>

#include "auth/auth_channel.h"
#include "auth/auth_proto.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The service answers within db_timeout or says E_TEMPFAIL; the margin on top covers its queue and
 * the answer's way back.
 */
enum { ANSWER_MARGIN_MS = 5000, TARGETS_MAX = 10000 };

struct auth_client {
	char *directory_path, *userdb_path;
	struct auth_channel directory, userdb;
	int timeout_ms;
};

static int
answer_timeout(const struct config *conf)
{
	int64_t ms = conf->db_timeout + ANSWER_MARGIN_MS;

	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* What an answer that is not the wanted one means. */
static enum err
error_of(const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	uint32_t code = ipc_get_u32(&r);

	ipc_get_str(&r);
	if (m->type != AUTH_ERROR || ipc_reader_end(&r) || code == OK || code >= ERR_COUNT)
		return E_TEMPFAIL;
	return err_is_temporary((enum err)code) ? E_TEMPFAIL : (enum err)code;
}

static enum err
user_parse(const struct ipc_msg *m, struct auth_user *out, char **detail)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	char *rest;

	if (m->type != AUTH_USER)
		return error_of(m);
	out->name = ipc_get_dup(&r);
	out->home = ipc_get_dup(&r);
	out->ticket = ipc_get_dup(&r);
	out->quota_bytes = ipc_get_u64(&r);
	out->quota_messages = ipc_get_u64(&r);
	out->quota_rules = ipc_get_dup(&r);
	rest = ipc_get_dup(&r);
	(void)buf_add_str(&out->resume, ipc_get_str(&r));
	out->moved_to = ipc_get_dup(&r);
	if (ipc_reader_end(&r)) {
		free(rest);
		return E_TEMPFAIL;
	}
	if (detail)
		*detail = rest;
	else
		free(rest);
	return OK;
}

static enum err
rcpt_parse(const struct ipc_msg *m, struct auth_rcpt *out)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	uint32_t kind, count;

	if (m->type != AUTH_RCPT)
		return error_of(m);
	kind = ipc_get_u8(&r);
	out->mailbox = ipc_get_dup(&r);
	out->detail = ipc_get_dup(&r);
	count = ipc_get_u32(&r);
	if (r.err || kind > AUTH_RCPT_NO_DOMAINS || count > TARGETS_MAX)
		return E_TEMPFAIL;
	out->kind = (enum auth_rcpt_kind)kind;
	out->targets = mem_zalloc((count ? count : 1) * sizeof(*out->targets));
	for (; out->target_count < count && !r.err; out->target_count++) {
		out->targets[out->target_count].address = ipc_get_dup(&r);
		out->targets[out->target_count].local = ipc_get_u8(&r) != 0;
	}
	return ipc_reader_end(&r) ? E_TEMPFAIL : OK;
}

/* On auth-session, over *conn if that is open, which is left open after an answer. Frees body. */
static enum err
session_ask(const struct config *conf, int *conn, uint16_t type, struct buf *body,
	struct auth_user *out)
{
	struct auth_channel ch = {.name = "auth-session", .fd = -1};
	char *path = conf_run_path(conf, ch.name);
	struct ipc_msg answer;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (*conn >= 0 && io_wait_readable(*conn, 0) == E_TIMEOUT) {
		ch.fd = *conn;
		*conn = -1;
	}
	io_close(conn); /* there was something to read: the end, or an answer nobody asked for */
	e = auth_channel_ask(&ch, path, type, buf_str(body), &answer, answer_timeout(conf));
	if (e)
		goto out;
	e = user_parse(&answer, out, NULL);
	if (e)
		auth_user_free(out);
	buf_wipe(&answer.body);
	ipc_msg_free(&answer);
	*conn = ch.fd;
	ch.fd = -1;
out:
	auth_channel_close(&ch);
	buf_free(body);
	free(path);
	return e;
}

enum err
auth_redeem_on(const struct config *conf, int *conn, const char *token, const char *service,
	const char *session_id, struct auth_user *out)
{
	struct buf body = BUF_INIT(IPC_BODY_MAX);

	ipc_put_cstr(&body, token);
	ipc_put_cstr(&body, service);
	ipc_put_cstr(&body, session_id);
	return session_ask(conf, conn, AUTH_REDEEM, &body, out);
}

enum err
auth_redeem(const struct config *conf, const char *token, const char *service,
	const char *session_id, struct auth_user *out)
{
	int conn = -1;
	enum err e = auth_redeem_on(conf, &conn, token, service, session_id, out);

	io_close(&conn);
	return e;
}

enum err
auth_resume(
	const struct config *conf, struct str resume, const char *session_id, struct auth_user *out)
{
	struct buf body = BUF_INIT(IPC_BODY_MAX);
	int conn = -1;
	enum err e;

	ipc_put_str(&body, resume);
	ipc_put_cstr(&body, session_id);
	e = session_ask(conf, &conn, AUTH_RESUME, &body, out);
	io_close(&conn);
	return e == OK && out->moved_to[0] ? E_ACCESS : e;
}

void
auth_user_free(struct auth_user *u)
{
	MEM_FREE(u->name);
	MEM_FREE(u->home);
	MEM_FREE(u->quota_rules);
	MEM_FREE(u->moved_to);
	MEM_FREE(u->ticket);
	buf_free(&u->resume);
	memset(u, 0, sizeof(*u));
}

struct auth_client *
auth_client_create(const struct config *conf)
{
	struct auth_client *c = MEM_NEW(struct auth_client);

	c->directory = (struct auth_channel){.name = "auth-directory", .fd = -1};
	c->userdb = (struct auth_channel){.name = "auth-userdb", .fd = -1};
	c->directory_path = conf_run_path(conf, c->directory.name);
	c->userdb_path = conf_run_path(conf, c->userdb.name);
	c->timeout_ms = answer_timeout(conf);
	return c;
}

void
auth_client_free(struct auth_client **c)
{
	if (!*c)
		return;
	auth_channel_close(&(*c)->directory);
	auth_channel_close(&(*c)->userdb);
	free((*c)->directory_path);
	free((*c)->userdb_path);
	MEM_FREE(*c);
}

void
auth_rcpt_free(struct auth_rcpt *r)
{
	for (size_t i = 0; i < r->target_count; i++)
		free(r->targets[i].address);
	MEM_FREE(r->targets);
	MEM_FREE(r->mailbox);
	MEM_FREE(r->detail);
	memset(r, 0, sizeof(*r));
}

enum err
auth_lookup_rcpt(struct auth_client *c, struct str address, struct auth_rcpt *out)
{
	struct buf body = BUF_INIT(IPC_BODY_MAX);
	struct ipc_msg answer;
	enum err e;

	memset(out, 0, sizeof(*out));
	ipc_put_str(&body, address);
	e = auth_channel_ask(&c->directory, c->directory_path, AUTH_LOOKUP_RCPT, buf_str(&body),
		&answer, c->timeout_ms);
	if (!e) {
		e = rcpt_parse(&answer, out);
		if (e)
			auth_rcpt_free(out);
		ipc_msg_free(&answer);
	}
	buf_free(&body);
	return e;
}

enum err
auth_may_send_as(struct auth_client *c, const char *user, struct str address)
{
	struct buf body = BUF_INIT(IPC_BODY_MAX);
	struct ipc_msg answer;
	enum err e;

	ipc_put_cstr(&body, user);
	ipc_put_str(&body, address);
	e = auth_channel_ask(&c->directory, c->directory_path, AUTH_MAY_SEND_AS, buf_str(&body),
		&answer, c->timeout_ms);
	if (!e) {
		e = answer.type == AUTH_OK ? OK : error_of(&answer);
		ipc_msg_free(&answer);
	}
	buf_free(&body);
	return e;
}

void
auth_expect_user(struct auth_client *c, struct str address)
{
	struct buf body = BUF_INIT(IPC_BODY_MAX);

	ipc_put_str(&body, address);
	auth_channel_expect(&c->userdb, AUTH_LOOKUP_USER, buf_str(&body));
	buf_free(&body);
}

void
auth_expect_none(struct auth_client *c)
{
	auth_channel_expect_none(&c->userdb);
}

enum err
auth_lookup_user(struct auth_client *c, struct str address, struct auth_user *out, char **detail)
{
	struct buf body = BUF_INIT(IPC_BODY_MAX);
	struct ipc_msg answer;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (detail)
		*detail = NULL;
	ipc_put_str(&body, address);
	e = auth_channel_ask(&c->userdb, c->userdb_path, AUTH_LOOKUP_USER, buf_str(&body), &answer,
		c->timeout_ms);
	if (!e) {
		e = user_parse(&answer, out, detail);
		if (e)
			auth_user_free(out);
		ipc_msg_free(&answer);
	}
	buf_free(&body);
	return e;
}
