/* SPDX-License-Identifier: MIT */
#include "auth/service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/auth_proto.h"
#include "auth/frames.h"
#include "auth/lookup_answer.h"
#include "auth/resolve.h"
#include "auth/seal.h"
#include "auth/ticket.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

/* The questions of auth-session, auth-directory and auth-userdb. */

struct lookup {
	struct worker_job job;
	struct peer *peer;
	uint32_t request;
	enum auth_frame type;
	char *address, *user, *session;
	struct lookup_answer answer;
	char *question; /* under which the answer is remembered; NULL: it is not */
	int may_remember; /* changes are heard of */
	uint64_t generation;
};

/* What lets the session come back: its user's name, good for its own id. */
static const char resume_label[] = "session-resume";

/*
 * AUTH_USER with a fresh ticket. found: what was looked up, NULL for a log-in. session: to be
 * resumed under this id; or empty.
 */
static void
send_user(struct peer *p, uint32_t request, const struct cache_user *cu,
	const struct lookup_answer *found, struct str session)
{
	struct auth_user user = {.quota_bytes = cu->quota_bytes,
		.quota_messages = cu->quota_messages,
		.quota_rules = (char *)(uintptr_t)cu->quota_rules,
		.moved_to = found ? (char *)(uintptr_t)found->moved_to : NULL};
	int has_left = session.len && found && found->moved_to[0]; /* while his session slept */
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
		frame_user_put(&b, &user, found ? found->detail : "");
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
mailbox_take(struct lookup_answer *a, const struct directory_user *user)
{
	struct cache_user *m = &a->mailbox;

	memcpy(m->name, user->addr.text, sizeof(m->name));
	m->quota_bytes = user->quota_bytes;
	m->quota_messages = user->quota_messages;
	memcpy(m->quota_rules, user->quota_rules, sizeof(m->quota_rules));
	memcpy(m->acl_groups, user->acl_groups, sizeof(m->acl_groups));
	memcpy(a->moved_to, user->host, sizeof(a->moved_to));
	a->is_good = 1;
}

/* A session that slept. E_NOTFOUND: its user was removed; E_ACCESS: was switched off. */
static enum err
resume_run(struct lookup *l, struct directory *d)
{
	struct directory_user user = {0};
	struct addr a;
	enum err e = addr_parse(str_of(l->address), &a);

	if (!e)
		e = resolve_login(d, &a, &user);
	if (!e && !user.active)
		e = E_ACCESS;
	if (!e)
		mailbox_take(&l->answer, &user);
	directory_user_free(&user);
	return e;
}

static enum err
rcpt_run(struct lookup *l, struct directory *d)
{
	struct auth_rcpt rcpt;
	enum err e = resolve_rcpt(d, str_of(l->address), &rcpt);

	if (!e)
		lookup_answer_set_rcpt(&l->answer, &rcpt);
	/* An empty directory is hardly the one that it was; another may be there in a moment. */
	if (!e && rcpt.kind == AUTH_RCPT_NO_DOMAINS)
		MEM_FREE(l->question);
	for (size_t i = 0; i < rcpt.target_count; i++)
		free(rcpt.targets[i].address);
	free(rcpt.targets);
	free(rcpt.mailbox);
	free(rcpt.detail);
	return e;
}

static enum err
user_run(struct lookup *l, struct directory *d)
{
	struct directory_user user;
	enum err e = resolve_user(d, str_of(l->address), &user, l->answer.detail);

	if (!e)
		mailbox_take(&l->answer, &user);
	directory_user_free(&user);
	return e;
}

static enum err
may_send_run(struct lookup *l, struct directory *d)
{
	enum err e = resolve_may_send_as(d, l->user, str_of(l->address));

	l->answer.is_good = e == OK;
	return e;
}

static void
lookup_run(struct worker_job *job, struct directory *d)
{
	struct lookup *l = (struct lookup *)job;

	l->answer.result = l->type == AUTH_LOOKUP_RCPT	 ? rcpt_run(l, d)
			   : l->type == AUTH_LOOKUP_USER ? user_run(l, d)
			   : l->type == AUTH_RESUME	 ? resume_run(l, d)
							 : may_send_run(l, d);
}

static void
lookup_free(struct lookup *l)
{
	peer_unref(&l->peer);
	lookup_answer_fini(&l->answer);
	free(l->address);
	free(l->user);
	free(l->session);
	free(l->question);
	free(l);
}

/* Ends a with what it sends. */
static void
answer_send(struct peer *p, enum auth_frame type, uint32_t request, struct lookup_answer *a,
	struct str session)
{
	if (a->result)
		peer_send_error(p, request, a->result);
	else if (type == AUTH_LOOKUP_RCPT)
		peer_send(p, AUTH_RCPT, request, &a->rcpt);
	else if (type == AUTH_LOOKUP_USER || type == AUTH_RESUME)
		send_user(p, request, &a->mailbox, a, session);
	else
		peer_send(p, AUTH_OK, request, &a->rcpt);
}

/* ---- what is remembered ---- */

/* 1: *a is what is remembered; the caller finishes it. */
static int
recall(struct auth_service *auth, enum auth_frame type, const char *question,
	struct lookup_answer *a)
{
	struct buf packed = {0};
	int found = answers_find(auth->answers, question, io_now_ms(), &packed);

	if (found && lookup_answer_unpack(type, buf_str(&packed), a)) {
		lookup_answer_fini(a);
		found = 0;
	}
	buf_free(&packed);
	return found;
}

/*
 * Where nobody knows what the database would say, somebody's mail is taken who had an address a
 * moment ago. That somebody had none is not told then.
 */
static int
recall_for_failure(struct lookup *l)
{
	struct lookup_answer known;

	if (!l->question || !recall(l->peer->auth, l->type, l->question, &known))
		return 0;
	if (!known.is_good) {
		lookup_answer_fini(&known);
		return 0;
	}
	lookup_answer_fini(&l->answer);
	l->answer = known;
	return 1;
}

static void
remember(const struct lookup *l)
{
	struct buf packed = {0};

	if (!l->question || !l->may_remember || !lookup_answer_is_lasting(&l->answer))
		return;
	lookup_answer_pack(l->type, &l->answer, &packed);
	answers_add(
		l->peer->auth->answers, l->question, io_now_ms(), l->generation, buf_str(&packed));
	buf_free(&packed);
}

/* ---- from the question to the answer ---- */

static void
lookup_done(struct worker_job *job)
{
	struct lookup *l = (struct lookup *)job;
	struct auth_service *auth = l->peer->auth;
	const char *source = "database";

	if (!err_is_temporary(l->answer.result))
		remember(l);
	else
		source = recall_for_failure(l) ? "memory" : "none";
	metrics_add_labels(METRIC_LOOKUPS, 1, source, NULL);
	answer_send(l->peer, l->type, l->request, &l->answer, str_of(l->session ? l->session : ""));
	l->peer->jobs--;
	lookup_free(l);
	auth_job_done(auth);
}

/* 1: it was answered from what is remembered. */
static int
answer_known(struct peer *p, const struct ipc_msg *m, const char *question)
{
	enum auth_frame type = (enum auth_frame)m->type;
	struct lookup_answer a;

	if (!directory_watch_is_complete(p->auth->watch) || !recall(p->auth, type, question, &a))
		return 0;
	answer_send(p, type, m->request, &a, STR(""));
	lookup_answer_fini(&a);
	p->auth->lookups_known++;
	metrics_add_labels(METRIC_LOOKUPS, 1, "memory", NULL);
	return 1;
}

static void
lookup_submit(struct peer *p, const struct ipc_msg *m, struct str address, struct str user,
	struct str session)
{
	struct lookup *l;
	char question[LOOKUP_QUESTION_SIZE];
	int has_question;

	/* A NUL inside would cut the copy short and make another address of it. */
	if (memchr(address.p ? address.p : "", 0, address.len))
		address = STR("");
	if (memchr(user.p ? user.p : "", 0, user.len))
		user = STR("");
	p->auth->lookups++;
	has_question = lookup_question((enum auth_frame)m->type, user, address, question);
	if (has_question && answer_known(p, m, question))
		return;
	l = MEM_NEW(struct lookup);
	l->job.run = lookup_run;
	l->job.done = lookup_done;
	l->peer = peer_ref(p);
	l->request = m->request;
	l->type = (enum auth_frame)m->type;
	l->address = str_dup(address);
	l->user = str_dup(user);
	l->session = str_dup(session);
	if (has_question)
		l->question = mem_strdup(question);
	l->may_remember = directory_watch_is_complete(p->auth->watch);
	l->generation = answers_generation(p->auth->answers);
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
