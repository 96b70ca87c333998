/* SPDX-License-Identifier: MIT */
#include "auth/login.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "auth/last_login.h"
#include "auth/own_mechanism.h"
#include "auth/rehash.h"
#include "auth/sasl_login.h"
#include "auth/verify.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

/*
 * The SASL exchanges:
 *
 *   NEW      → RUNNING   its first step is in a worker
 *   NEW      → HELD      the check waits, for an address that guesses
 *   HELD     → RUNNING
 *   RUNNING  → WAITING   a challenge was sent
 *   WAITING  → RUNNING   the response is in a worker
 *   RUNNING  → DELAYED   refused; the answer waits for the penalty
 *   RUNNING  → ORPHAN    cancelled, or the peer is gone: the worker's result is only counted
 *
 * and from every state but RUNNING to its end.
 */
enum exchange_state { EX_NEW, EX_HELD, EX_RUNNING, EX_WAITING, EX_DELAYED, EX_ORPHAN, EX_STATES };

static const unsigned char may_follow[EX_STATES] = {
	[EX_NEW] = 1 << EX_HELD | 1 << EX_RUNNING,
	[EX_HELD] = 1 << EX_RUNNING,
	[EX_RUNNING] = 1 << EX_WAITING | 1 << EX_DELAYED | 1 << EX_ORPHAN,
	[EX_WAITING] = 1 << EX_RUNNING,
};

struct exchange {
	struct worker_job job;
	struct exchange *next; /* in its bucket */
	struct peer *peer;
	uint32_t request;
	enum exchange_state state;
	char *service, *mechanism, *session;
	struct net_addr addr; /* len 0: unknown */
	char ip[NET_ADDR_TEXT];
	struct event *timer; /* of HELD, DELAYED and WAITING */
	int64_t held_ms; /* what it has waited before the check */
	enum err failure; /* DELAYED: what will be answered */

	/* The worker's while RUNNING. */
	char *hostname;
	struct cache *cache;
	struct directory *directory;
	struct sasl_login *sasl; /* one of these two */
	struct own_mechanism *own;
	char *certificate_user;
	int flags; /* of the mechanism */
	struct buf exporter, unique; /* channel bindings */
	struct directory_user found; /* whom a mechanism's secret was looked up for */
	int has_in;
	struct buf in, challenge;
	struct buf again; /* must_wait: what PLAIN would have been told */
	char name[ADDR_TEXT_SIZE]; /* who tried, for the log and the penalty */
	struct cache_user user;
	struct verify_from from;
	struct rehash *rehash; /* or NULL */
	const struct penalty *penalty; /* penalty_wrong alone */
	struct siphash wrong; /* the password that was */
	int has_wrong;
	const char *reason;
	enum err result;
	int done;
};

static void
set_state(struct exchange *ex, enum exchange_state next)
{
	ROOST_ASSERT(may_follow[ex->state] & 1 << next);
	ex->state = next;
}

static struct exchange **
slot_of(struct peer *p, uint32_t request)
{
	struct exchange **slot = &p->exchanges[request % PEER_BUCKETS];

	while (*slot && (*slot)->request != request)
		slot = &(*slot)->next;
	return slot;
}

/* The request id is free for the next exchange. */
static void
exchange_unlink(struct exchange *ex)
{
	struct exchange **slot = slot_of(ex->peer, ex->request);

	if (*slot != ex)
		return;
	*slot = ex->next;
	ex->peer->exchange_count--;
}

static void
exchange_free(struct exchange *ex)
{
	exchange_unlink(ex);
	peer_unref(&ex->peer);
	sasl_login_free(&ex->sasl);
	own_mechanism_free(&ex->own);
	if (ex->timer)
		event_free(ex->timer);
	rehash_free(&ex->rehash);
	buf_wipe(&ex->in);
	buf_free(&ex->in);
	buf_wipe(&ex->again);
	buf_free(&ex->again);
	buf_free(&ex->challenge);
	buf_free(&ex->exporter);
	buf_free(&ex->unique);
	directory_user_free(&ex->found);
	free(ex->certificate_user);
	free(ex->service);
	free(ex->mechanism);
	free(ex->session);
	free(ex->hostname);
	free(ex);
}

static void
timer_stop(struct exchange *ex)
{
	if (ex->timer)
		event_free(ex->timer);
	ex->timer = NULL;
}

static void
timer_start(struct exchange *ex, event_callback_fn run, int64_t ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	timer_stop(ex);
	ex->timer = event_new(service_base(ex->peer->auth->run), -1, 0, run, ex);
	event_add(ex->timer, &tv);
}

/* The peer is told, and the exchange is over. */
static void
finish_failed(struct exchange *ex, enum err e)
{
	struct login_failure f = {ex->request, e, ex->name, ex->reason, NULL, NULL};
	struct peer *p = peer_ref(ex->peer);

	if (e == E_ACCESS && ex->from.moved_to[0]) {
		f.moved_to = ex->from.moved_to;
		/* A master's password is good for "user*master" alone. */
		f.moved_user = ex->from.master[0] ? ex->name : ex->user.name;
	}
	/* First, so that the request id is free when the peer hears of it. */
	exchange_unlink(ex);
	p->front->failed(p, &f);
	exchange_free(ex);
	peer_unref(&p);
}

/* Whose password it was: a master's counts in one place, whatever mailbox it is tried for. */
static const char *
guesser(const struct exchange *ex)
{
	return ex->from.master[0] ? ex->from.master : ex->name;
}

static void
count_login(const struct exchange *ex, enum err e)
{
	static const struct {
		const char *mechanism, *kind;
	} kinds[] = {{"PLAIN", "plain"}, {"LOGIN", "plain"}, {"SCRAM-SHA-256", "scram"},
		{"SCRAM-SHA-256-PLUS", "scram"}, {"SCRAM-SHA-1", "scram"},
		{"SCRAM-SHA-1-PLUS", "scram"}, {"CRAM-MD5", "challenge"},
		{"DIGEST-MD5", "challenge"}, {"APOP", "challenge"}, {"OAUTHBEARER", "oauth"},
		{"XOAUTH2", "oauth"}, {"EXTERNAL", "external"}};
	const char *kind = "other";

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(ex->mechanism, kinds[i].mechanism) == 0)
			kind = kinds[i].kind;
	metrics_add_labels(METRIC_LOGINS, 1, e ? "failed" : "ok", ex->service, kind, NULL);
}

/* The one line of every attempt. */
static void
audit(const struct exchange *ex, enum err e, const char *reason)
{
	const char *user = e ? ex->name : ex->user.name;

	count_login(ex, e);
	log_event(LOGL_INFO, e ? "auth.login fail" : "auth.login ok", "user", user[0] ? user : NULL,
		"master", ex->from.master[0] ? ex->from.master : NULL, "app",
		ex->from.app_password[0] ? ex->from.app_password : NULL, "ip", ex->ip, "mech",
		ex->mechanism, "service", ex->service, "reason", reason, "session", ex->session,
		NULL);
}

/* ---- in a worker ---- */

static void
note_name(struct exchange *ex, const char *user)
{
	size_t len = strnlen(user, sizeof(ex->name) - 1);

	memcpy(ex->name, user, len);
	ex->name[len] = '\0';
}

/*
 * The worker was not one that may wait. The step is begun anew in one that may, as PLAIN (RFC
 * 4616), whose one message is enough, whether the password came by PLAIN or by LOGIN.
 */
static void
keep_for_again(struct exchange *ex, const char *user, struct str password)
{
	buf_reset(&ex->again);
	if (strcmp(ex->mechanism, "PLAIN") == 0) {
		buf_add_buf(&ex->again, &ex->in);
		return;
	}
	buf_add_char(&ex->again, '\0');
	buf_add_cstr(&ex->again, user);
	buf_add_char(&ex->again, '\0');
	buf_add_str(&ex->again, password);
}

static enum err
check(void *arg, const char *user, struct str password)
{
	struct exchange *ex = arg;

	enum err e;

	note_name(ex, user);
	e = verify_login(
		ex->directory, ex->cache, user, password, &ex->from, &ex->user, &ex->reason);
	if (e == E_STATE && ex->from.must_wait)
		keep_for_again(ex, user, password);
	ex->has_wrong = e == E_AUTH;
	if (ex->has_wrong)
		ex->wrong = penalty_wrong(ex->penalty, guesser(ex), password);
	rehash_free(&ex->rehash);
	if (ex->from.outdated)
		ex->rehash = rehash_create(ex->user.name, password, ex->from.outdated);
	MEM_FREE(ex->from.outdated);
	return e;
}

static enum err
find(void *arg, const char *user, char **stored)
{
	struct exchange *ex = arg;
	enum err e;

	note_name(ex, user);
	directory_user_free(&ex->found);
	e = verify_find(ex->directory, user, &ex->found, &ex->reason);
	if (!e && ex->found.password)
		*stored = mem_strdup(ex->found.password);
	return e;
}

/* A secret that does not fit the mechanism was replaced by one that nobody can prove to know. */
static enum err
accept_user(void *arg, const char *user, int secret_fits)
{
	struct exchange *ex = arg;

	(void)user;
	if (!ex->found.password || !secret_fits) {
		ex->reason = ex->found.password ? "scheme" : "user";
		return E_AUTH;
	}
	return verify_accept(&ex->found, &ex->from, &ex->user, &ex->reason);
}

static enum err
exchange_begin(struct exchange *ex)
{
	const struct sasl_login_binding binding = {buf_str(&ex->exporter), buf_str(&ex->unique)};
	const struct sasl_login_handler handler = {check, find, accept_user, ex};

	if (ex->flags & SASL_IS_OURS) {
		ex->own = own_mechanism_create(ex->mechanism, ex->certificate_user, &handler);
		return OK;
	}
	return sasl_login_create(ex->service, ex->hostname,
		ex->from.may_wait ? "PLAIN" : ex->mechanism, &binding, &handler, &ex->sasl);
}

static void
step_run(struct worker_job *job, struct directory *d)
{
	struct exchange *ex = (struct exchange *)job;
	struct str challenge = {0};
	const struct str in =
		ex->has_in ? str_make(buf_cstr(&ex->in), ex->in.len) : (struct str){0};

	ex->directory = d;
	ex->result = OK;
	ex->done = 0;
	if (!ex->sasl && !ex->own)
		ex->result = exchange_begin(ex);
	if (!ex->result && ex->own)
		ex->result = own_mechanism_step(ex->own, directory_settings(d)->oauth, in,
			&challenge, &ex->done, &ex->reason);
	else if (!ex->result)
		ex->result = sasl_login_step(ex->sasl, in, &challenge, &ex->done);
	if (!ex->has_wrong && (ex->flags & SASL_TAKES_TOKENS)) {
		ex->has_wrong = 1;
		ex->wrong = penalty_wrong(ex->penalty, guesser(ex), in);
	}
	if (ex->result == E_AUTH && ex->user.name[0])
		ex->reason = "authzid"; /* the password was good */
	else if (ex->result == E_AUTH && !ex->reason)
		ex->reason = "password";
	buf_reset(&ex->challenge);
	if (!ex->result)
		buf_add_str(&ex->challenge, challenge);
	buf_wipe(&ex->in);
	ex->directory = NULL;
}

/* ---- in the loop ---- */

static void
on_delay_over(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *ex = arg;

	(void)fd;
	(void)what;
	finish_failed(ex, ex->failure);
}

/* Answers after delay_ms; others go on meanwhile. */
static void
answer_later(struct exchange *ex, enum err e, int64_t delay_ms)
{
	ex->failure = e;
	set_state(ex, EX_DELAYED);
	timer_start(ex, on_delay_over, delay_ms);
}

static void
on_wait_over(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *ex = arg;

	(void)fd;
	(void)what;
	audit(ex, E_TIMEOUT, "timeout");
	finish_failed(ex, E_TIMEOUT);
}

/* The peer's turn. */
static void
wait_for_peer(struct exchange *ex)
{
	struct peer *p = ex->peer;

	set_state(ex, EX_WAITING);
	if (p->front->wait_max_ms > 0)
		timer_start(ex, on_wait_over, p->front->wait_max_ms);
	p->front->challenge(p, ex->request, buf_str(&ex->challenge));
}

/* An orphan's failure counts as well: hanging up is no way around the penalty. */
static void
failed(struct exchange *ex)
{
	struct auth_service *auth = ex->peer->auth;
	enum err e = err_is_temporary(ex->result) ? E_TEMPFAIL : ex->result;
	int64_t delay_ms = 0;

	audit(ex, e, ex->reason ? ex->reason : err_word(e));
	if (e == E_TEMPFAIL)
		auth->logins_unavailable++;
	else
		auth->logins_failed++;
	if (e == E_AUTH)
		delay_ms = penalty_failure(auth->penalty, &ex->addr, guesser(ex),
			ex->has_wrong ? &ex->wrong : NULL, io_now_ms(),
			service_conf(auth->run)->login_delay_max);
	/* What it has waited before counts. */
	delay_ms = delay_ms > ex->held_ms ? delay_ms - ex->held_ms : 0;
	if (ex->peer->front->delay_max_ms > 0 && delay_ms > ex->peer->front->delay_max_ms)
		delay_ms = ex->peer->front->delay_max_ms;
	if (ex->state == EX_ORPHAN)
		exchange_free(ex);
	else if (delay_ms > 0)
		answer_later(ex, e, delay_ms);
	else
		finish_failed(ex, e);
}

static void
succeeded(struct exchange *ex)
{
	struct auth_service *auth = ex->peer->auth;
	struct peer *p = peer_ref(ex->peer);
	struct login_success success = {
		ex->request, ex->service, ex->session, &ex->user, buf_str(&ex->challenge)};

	audit(ex, OK, ex->reason);
	auth->logins_ok++;
	penalty_success(auth->penalty, &ex->addr, guesser(ex), io_now_ms());
	if (!ex->from.master[0])
		last_login_note(auth->last_login, ex->user.name, ex->from.app_password, ex->ip,
			ex->service);
	if (ex->rehash)
		rehash_submit(auth, &ex->rehash);
	if (ex->state != EX_ORPHAN) {
		exchange_unlink(ex);
		p->front->done(p, &success);
	}
	exchange_free(ex);
	peer_unref(&p);
}

static void
give_to_worker(struct exchange *ex)
{
	if (!worker_pool_submit(ex->peer->auth->workers, &ex->job)) {
		ex->peer->jobs++;
		return;
	}
	ex->result = E_TEMPFAIL;
	ex->reason = "overload";
	failed(ex);
}

/* See keep_for_again. */
static void
step_again(struct exchange *ex)
{
	ex->from.may_wait = 1;
	ex->from.must_wait = 0;
	ex->reason = NULL;
	sasl_login_free(&ex->sasl);
	ex->has_in = 1;
	buf_reset(&ex->in);
	buf_add_buf(&ex->in, &ex->again);
	buf_wipe(&ex->again);
	ex->job.lane = WORKER_SLOW;
	give_to_worker(ex);
}

static void
step_done(struct worker_job *job)
{
	struct exchange *ex = (struct exchange *)job;
	struct peer *p = peer_ref(ex->peer);
	struct auth_service *auth = p->auth;

	p->jobs--;
	if (ex->from.must_wait && ex->state != EX_ORPHAN) {
		step_again(ex);
	} else if (ex->from.must_wait) {
		audit(ex, E_CANCELLED, "cancelled");
		exchange_free(ex);
	} else if (ex->result) {
		failed(ex);
	} else if (ex->done) {
		succeeded(ex);
	} else if (ex->state == EX_ORPHAN) {
		audit(ex, E_CANCELLED, "cancelled");
		exchange_free(ex);
	} else {
		wait_for_peer(ex);
	}
	if (p->front->job_done)
		p->front->job_done(p);
	peer_unref(&p);
	auth_job_done(auth);
}

static void
step_submit_in(struct exchange *ex)
{
	set_state(ex, EX_RUNNING);
	give_to_worker(ex);
}

static void
step_submit(struct exchange *ex, int has_in, struct str in)
{
	ex->has_in = has_in;
	buf_reset(&ex->in);
	buf_add_str(&ex->in, in);
	step_submit_in(ex);
}

/* ---- before the first step ---- */

/* The user and password of PLAIN (RFC 4616) that came at once, from one to himself. */
static int
plain_parts(const struct exchange *ex, const struct login_start *start, struct addr *user,
	struct str *password)
{
	struct str rest = start->initial, authzid, name;

	if (strcmp(ex->mechanism, "PLAIN") != 0 || !start->has_initial)
		return 0;
	authzid = str_split(&rest, '\0');
	name = str_split(&rest, '\0');
	*password = rest;
	return authzid.len == 0 && rest.len > 0 && !memchr(rest.p, 0, rest.len) &&
	       !addr_parse(name, user);
}

/*
 * A password that is remembered as good needs no worker, so that who logs in all day long does not
 * wait behind a slow database or the hashing of others.
 */
static int
is_remembered(struct exchange *ex, const struct login_start *start)
{
	struct str password;
	struct addr a;

	if (!plain_parts(ex, start, &a, &password) ||
		!cache_find(ex->cache, a.text, password, io_now_ms(), &ex->user))
		return 0;
	note_name(ex, a.text);
	ex->reason = "cache";
	return 1;
}

static int64_t
hold_ms(const struct exchange *ex, const struct login_start *start)
{
	struct auth_service *auth = ex->peer->auth;
	struct str password;
	struct addr a;
	int known = plain_parts(ex, start, &a, &password);
	int64_t ms = penalty_hold(auth->penalty, &ex->addr, known ? a.text : NULL, io_now_ms(),
		service_conf(auth->run)->login_delay_max);
	int64_t max = ex->peer->front->delay_max_ms;

	return max > 0 && ms > max ? max : ms;
}

static void
on_hold_over(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *ex = arg;

	(void)fd;
	(void)what;
	timer_stop(ex);
	ex->job.lane = WORKER_DOUBTFUL;
	step_submit_in(ex);
}

static struct exchange *
exchange_create(struct peer *p, const struct login_start *start)
{
	struct exchange *ex = MEM_NEW(struct exchange);

	ex->job.run = step_run;
	ex->job.done = step_done;
	ex->peer = peer_ref(p);
	ex->request = start->request;
	ex->service = str_dup(start->service);
	ex->mechanism = str_dup(start->mechanism);
	for (char *c = ex->mechanism; *c; c++)
		*c = str_upper(*c);
	ex->flags = sasl_mechanism_flags(ex->mechanism);
	ex->session = str_dup(start->session);
	ex->certificate_user = str_dup(start->certificate_user);
	buf_add_str(&ex->exporter, start->exporter);
	buf_add_str(&ex->unique, start->unique);
	ex->hostname = mem_strdup(p->auth->settings->hostname);
	ex->cache = p->auth->cache;
	ex->penalty = p->auth->penalty;
	ex->addr = start->addr;
	if (ex->addr.len > 0)
		net_addr_format_ip(&ex->addr, ex->ip);
	ex->from = (struct verify_from){.service = ex->service, .addr = &ex->addr};
	ex->next = p->exchanges[ex->request % PEER_BUCKETS];
	p->exchanges[ex->request % PEER_BUCKETS] = ex;
	p->exchange_count++;
	return ex;
}

/* ---- what is offered ---- */

int
login_is_offered(const struct config *conf, const char *mechanism, enum login_channel channel)
{
	int flags = sasl_mechanism_flags(mechanism);
	int is_tls = channel == CHANNEL_TLS || channel == CHANNEL_CERTIFICATE;

	if (flags < 0 || ((flags & SASL_BINDS_CHANNEL) && !is_tls) ||
		((flags & SASL_SHOWS_PASSWORD) && channel == CHANNEL_OPEN) ||
		((flags & SASL_NEEDS_CERTIFICATE) && channel != CHANNEL_CERTIFICATE) ||
		((flags & SASL_TAKES_TOKENS) && !oauth_is_configured(conf)))
		return 0;
	return conf_list_has(&conf->auth_mechanisms, str_of(mechanism));
}

enum login_channel
login_channel_without_tls(const struct config *conf, const struct net_addr *addr)
{
	return conf->allow_plaintext_auth || (addr->len > 0 && net_addr_is_loopback(addr))
		       ? CHANNEL_PRIVATE
		       : CHANNEL_OPEN;
}

static const char *
why_not(const struct exchange *ex, const struct login_start *start)
{
	const struct config *conf = service_conf(ex->peer->auth->run);

	if (!ex->service[0])
		return "service";
	if (login_is_offered(conf, ex->mechanism, start->channel) ||
		(start->plain_always && strcmp(ex->mechanism, "PLAIN") == 0 &&
			start->channel != CHANNEL_OPEN))
		return NULL;
	return login_is_offered(conf, ex->mechanism, CHANNEL_TLS) ? "plaintext" : "mechanism";
}

/* ---- what the front ends call ---- */

int
login_is_known(struct peer *p, uint32_t request)
{
	return *slot_of(p, request) != NULL;
}

void
login_start(struct peer *p, const struct login_start *start)
{
	struct exchange *ex = exchange_create(p, start);

	ex->reason = why_not(ex, start);
	if (ex->reason) {
		audit(ex, E_UNSUPPORTED, ex->reason);
		finish_failed(ex, E_UNSUPPORTED);
		return;
	}
	if (is_remembered(ex, start)) {
		succeeded(ex);
		return;
	}
	ex->held_ms = hold_ms(ex, start);
	if (ex->held_ms == 0) {
		step_submit(ex, start->has_initial, start->initial);
		return;
	}
	ex->has_in = start->has_initial;
	buf_add_str(&ex->in, start->initial);
	set_state(ex, EX_HELD);
	timer_start(ex, on_hold_over, ex->held_ms);
}

void
login_continue(struct peer *p, uint32_t request, enum err bad, struct str data)
{
	struct exchange *ex = *slot_of(p, request);

	/* One that is over here may cross with the peer's word. */
	if (!ex || ex->state != EX_WAITING)
		return;
	timer_stop(ex);
	if (bad) {
		set_state(ex, EX_RUNNING);
		ex->result = E_PARSE;
		failed(ex);
	} else {
		step_submit(ex, 1, data);
	}
}

static void
exchange_cancel(struct exchange *ex)
{
	if (ex->state == EX_RUNNING) {
		exchange_unlink(ex);
		set_state(ex, EX_ORPHAN);
		return;
	}
	if (ex->state == EX_WAITING)
		audit(ex, E_CANCELLED, "cancelled");
	exchange_free(ex);
}

void
login_cancel(struct peer *p, uint32_t request)
{
	struct exchange *ex = *slot_of(p, request);

	if (ex)
		exchange_cancel(ex);
}

void
login_peer_closed(struct peer *p)
{
	struct exchange *next;

	for (size_t i = 0; i < PEER_BUCKETS; i++)
		for (struct exchange *ex = p->exchanges[i]; ex; ex = next) {
			next = ex->next;
			exchange_cancel(ex);
		}
}
