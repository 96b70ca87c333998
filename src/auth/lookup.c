/* SPDX-License-Identifier: MIT */
#include "auth/service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/auth_proto.h"
#include "auth/frames.h"
#include "auth/resolve.h"
#include "auth/seal.h"
#include "auth/ticket.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* The questions of auth-session, auth-directory and auth-userdb. */

struct lookup {
	struct worker_job job;
	struct peer *peer;
	uint32_t request;
	enum auth_frame type;
	char *address, *user, *session;
	enum err result;
	struct buf answer; /* RCPT */
	struct cache_user mailbox; /* USER */
	char detail[ADDR_LOCAL_MAX + 1], moved_to[MOVED_HOST_MAX + 1];
};

/* What lets the session come back: its user's name, good for its own id. */
static const char resume_label[] = "session-resume";

/*
 * AUTH_USER with a fresh ticket. l: what was looked up, NULL for a log-in. session: to be resumed
 * under this id; or empty.
 */
static void
send_user(struct peer *p, uint32_t request, const struct cache_user *cu, struct lookup *l,
	struct str session)
{
	struct auth_user user = {.quota_bytes = cu->quota_bytes,
		.quota_messages = cu->quota_messages,
		.quota_rules = (char *)(uintptr_t)cu->quota_rules,
		.moved_to = l ? l->moved_to : NULL};
	int has_left = session.len && l && l->moved_to[0]; /* while his session slept */
	struct buf ticket = {0}, b = {0};
	struct addr a;
	enum err e = addr_parse(str_of(cu->name), &a);

	if (!e) {
		struct ticket t = {.expires = time(NULL) + TICKET_LIFETIME_S};

		user.name = a.text;
		user.home = resolve_home(p->auth->settings, &a);
		t.user = user.name;
		t.home = user.home;
		t.quota_bytes = user.quota_bytes;
		t.quota_messages = user.quota_messages;
		t.quota_rules = user.quota_rules;
		t.acl_groups = (char *)(uintptr_t)cu->acl_groups;
		if (!has_left)
			e = ticket_make(service_conf(p->auth->run)->ticket_key, &t, &ticket);
	}
	if (!e && session.len && !has_left)
		e = seal_make(service_conf(p->auth->run)->ticket_key, resume_label, session,
			str_of(cu->name), &user.resume);
	if (e) {
		log_event(LOGL_ERROR, "auth.ticket fail", "user", cu->name, "error", err_word(e),
			NULL);
		peer_send_error(p, request, E_TEMPFAIL);
		buf_free(&b);
	} else {
		user.ticket = buf_steal(&ticket);
		frame_user_put(&b, &user, l ? l->detail : "");
		peer_send(p, AUTH_USER, request, &b);
		explicit_bzero(user.ticket, strlen(user.ticket));
		free(user.ticket);
	}
	buf_free(&ticket);
	buf_free(&user.resume);
	free(user.home);
}

/* Needs no worker: what the session must know came with the log-in. */
static void
on_redeem(struct peer *p, struct ipc_msg *m)
{
	struct frame_redeem f;
	struct cache_user user = {0};
	enum err e = frame_redeem_parse(buf_str(&m->body), &f);

	if (!e) {
		const struct token_use use = {
			service_conf(p->auth->run)->ticket_key, f.service, f.session};

		e = token_redeem(p->auth->tokens, &use, f.token, io_now_ms(), &user);
	}
	if (e) {
		log_event(LOGL_WARN, "auth.redeem fail", "error", err_word(e), NULL);
		/*
		 * Who got a token has shown who he is. That it is not good says nothing about his
		 * password: it came too late, or after the master was started again.
		 */
		peer_send_error(p, m->request, e == E_NOTFOUND ? E_TEMPFAIL : E_PROTO);
		return;
	}
	log_event(LOGL_DEBUG, "auth.redeem ok", "user", user.name, "session", log_str(f.session),
		NULL);
	/* No other sessions sleep. */
	send_user(p, m->request, &user, NULL, str_is(f.service, "imap") ? f.session : STR(""));
}

static void
mailbox_take(struct lookup *l, const struct directory_user *user)
{
	struct cache_user *m = &l->mailbox;

	memcpy(m->name, user->addr.text, sizeof(m->name));
	m->quota_bytes = user->quota_bytes;
	m->quota_messages = user->quota_messages;
	memcpy(m->quota_rules, user->quota_rules, sizeof(m->quota_rules));
	memcpy(m->acl_groups, user->acl_groups, sizeof(m->acl_groups));
}

/* A session that slept. E_NOTFOUND: its user was removed; E_ACCESS: was switched off. */
static void
resume_run(struct lookup *l, struct directory *d)
{
	struct directory_user user = {0};
	struct addr a;

	l->result = addr_parse(str_of(l->address), &a);
	if (!l->result)
		l->result = resolve_login(d, &a, &user);
	if (!l->result && !user.active)
		l->result = E_ACCESS;
	if (!l->result) {
		memcpy(l->moved_to, user.host, sizeof(l->moved_to));
		mailbox_take(l, &user);
	}
	directory_user_free(&user);
}

static void
rcpt_run(struct lookup *l, struct directory *d)
{
	struct auth_rcpt rcpt;

	l->result = resolve_rcpt(d, str_of(l->address), &rcpt);
	if (!l->result)
		frame_rcpt_put(&l->answer, &rcpt);
	for (size_t i = 0; i < rcpt.target_count; i++)
		free(rcpt.targets[i].address);
	free(rcpt.targets);
	free(rcpt.mailbox);
	free(rcpt.detail);
}

static void
user_run(struct lookup *l, struct directory *d)
{
	struct directory_user user;

	l->result = resolve_user(d, str_of(l->address), &user, l->detail);
	if (!l->result) {
		memcpy(l->moved_to, user.host, sizeof(l->moved_to));
		mailbox_take(l, &user);
	}
	directory_user_free(&user);
}

static void
lookup_run(struct worker_job *job, struct directory *d)
{
	struct lookup *l = (struct lookup *)job;

	if (l->type == AUTH_LOOKUP_RCPT)
		rcpt_run(l, d);
	else if (l->type == AUTH_LOOKUP_USER)
		user_run(l, d);
	else if (l->type == AUTH_RESUME)
		resume_run(l, d);
	else
		l->result = resolve_may_send_as(d, l->user, str_of(l->address));
}

static void
lookup_free(struct lookup *l)
{
	peer_unref(&l->peer);
	buf_free(&l->answer);
	free(l->address);
	free(l->user);
	free(l->session);
	free(l);
}

static void
lookup_done(struct worker_job *job)
{
	struct lookup *l = (struct lookup *)job;
	struct auth_service *auth = l->peer->auth;

	if (l->result)
		peer_send_error(l->peer, l->request, l->result);
	else if (l->type == AUTH_LOOKUP_RCPT)
		peer_send(l->peer, AUTH_RCPT, l->request, &l->answer);
	else if (l->type == AUTH_LOOKUP_USER || l->type == AUTH_RESUME)
		send_user(
			l->peer, l->request, &l->mailbox, l, str_of(l->session ? l->session : ""));
	else
		peer_send(l->peer, AUTH_OK, l->request, &l->answer);
	l->peer->jobs--;
	lookup_free(l);
	auth_job_done(auth);
}

static void
lookup_submit(struct peer *p, const struct ipc_msg *m, struct str address, struct str user,
	struct str session)
{
	struct lookup *l = MEM_NEW(struct lookup);

	l->job.run = lookup_run;
	l->job.done = lookup_done;
	l->peer = peer_ref(p);
	l->request = m->request;
	l->type = (enum auth_frame)m->type;
	/* A NUL inside would cut the copy short and make another address of it. */
	l->address = memchr(address.p ? address.p : "", 0, address.len) ? mem_strdup("")
									: str_dup(address);
	l->user = str_dup(user);
	l->session = str_dup(session);
	p->auth->lookups++;
	if (worker_pool_submit(p->auth->workers, &l->job)) {
		peer_send_error(p, m->request, E_TEMPFAIL);
		lookup_free(l);
		return;
	}
	p->jobs++;
}

static void
on_address(struct peer *p, struct ipc_msg *m)
{
	struct str address;
	enum err e = frame_address_parse(buf_str(&m->body), &address);

	if (e)
		peer_send_error(p, m->request, e == E_TOOBIG ? E_PARSE : e);
	else
		lookup_submit(p, m, address, STR(""), STR(""));
}

static void
on_may_send_as(struct peer *p, struct ipc_msg *m)
{
	struct str user, address;
	enum err e = frame_may_send_parse(buf_str(&m->body), &user, &address);

	if (e)
		peer_send_error(p, m->request, e == E_TOOBIG ? E_PARSE : e);
	else
		lookup_submit(p, m, address, user, STR(""));
}

static void
on_resume(struct peer *p, struct ipc_msg *m)
{
	struct str sealed, session, name = {0};
	enum err e = frame_resume_parse(buf_str(&m->body), &sealed, &session);

	if (!e)
		e = session.len ? seal_open(service_conf(p->auth->run)->ticket_key, resume_label,
					  session, sealed, &name)
				: E_AUTH;
	if (e) {
		log_event(LOGL_WARN, "auth.resume fail", "error", err_word(e), NULL);
		peer_send_error(p, m->request, e == E_AUTH ? E_AUTH : E_PROTO);
	} else {
		lookup_submit(p, m, name, STR(""), session);
	}
}

const struct peer_frame session_frames[] = {
	{AUTH_REDEEM, on_redeem}, {AUTH_RESUME, on_resume}, {0, NULL}};
const struct peer_frame directory_frames[] = {
	{AUTH_LOOKUP_RCPT, on_address}, {AUTH_MAY_SEND_AS, on_may_send_as}, {0, NULL}};
const struct peer_frame userdb_frames[] = {{AUTH_LOOKUP_USER, on_address}, {0, NULL}};
