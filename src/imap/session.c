/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "idle/idle_proto.h"
#include "imap/notify.h"
#include "imap/sleep.h"
#include "imap/source.h"
#include "index/fts/fts_client.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * How much we swallow of a refused command's literals that the client sends unasked. A client that
 * would send more has to be cut off: RFC 7888 section 4 leaves no third way.
 */
enum { DRAIN_LINES_MAX = 1 << 20 };

/* Clients that log in for a moment are not silent for so long. */
enum { QUIET_MS = 2000 };

static uint64_t
drain_max(const struct imap_session *s)
{
	return 2 * s->conf->max_message_size + DRAIN_LINES_MAX;
}

/* BYE and the end for an error of the connection; nothing can be said when it is gone. */
static void
connection_end(struct imap_session *s, enum err e)
{
	if (s->end)
		return;
	if (e == E_TIMEOUT)
		imap_bye(s, "timeout", IDLE_BYE_TIMEOUT);
	else if (e == E_CANCELLED)
		imap_bye(s, "shutdown", IDLE_BYE_SHUTDOWN);
	else if (e == E_CLOSED)
		s->end = "disconnect";
	else
		s->end = err_word(e);
}

/* Answers a command that the parser did not like. */
static void
refuse(struct imap_session *s, struct imap_parser *p)
{
	char *text = mem_printf(
		"Position %" PRIu64 ": %s", imap_parser_position(p), imap_parser_reason(p));

	(void)imap_reply_bad(s, p->code, text);
	free(text);
}

/* What is left of a command that ended before its end. 0: the session cannot go on. */
static int
drain(struct imap_session *s, struct imap_parser *p)
{
	enum err e;

	if (imap_parse_at_end(p))
		return 1;
	e = imap_parser_drain(p, drain_max(s));
	if (e == E_TOOBIG)
		imap_bye(s, "toobig", "[TOOBIG] The literal is too large");
	else if (e)
		connection_end(s, e);
	return !e;
}

/* Commands of the dialogue before log-in, so that the answer is not "unknown". */
static int
is_login_command(struct str name)
{
	return str_is_i(name, "LOGIN") || str_is_i(name, "AUTHENTICATE") ||
	       str_is_i(name, "STARTTLS");
}

/* RFC 9586 section 3 */
static const char uid_required[] = "There are no message numbers with UIDONLY";

/* The command's name, and its entry: NULL with *problem set when it cannot be run. */
static const struct imap_command *
lookup(struct imap_session *s, struct imap_parser *p, const char **problem)
{
	const struct imap_command *c;
	struct str name = {NULL, 0};

	*problem = NULL;
	(void)imap_parse_space(p);
	s->uid = 0;
	if (imap_parse_atom(p, "expected a command", &name))
		return NULL;
	if (str_is_i(name, "UID")) {
		s->uid = 1;
		(void)imap_parse_space(p);
		if (imap_parse_atom(p, "expected a command", &name))
			return NULL;
	}
	c = imap_command_find(name, s->uid);
	if (!c)
		*problem = is_login_command(name) ? "Already logged in" : "Unknown command";
	else if (!(c->states & s->state))
		*problem = "Select a mailbox first";
	else if ((s->enabled & IMAP_UIDONLY) && c->uid && !s->uid && !c->numberless)
		*problem = uid_required;
	return *problem ? NULL : c;
}

/* Behind a command's run, which returned e. problem: why there was none, or NULL. */
static void
command_end(struct imap_session *s, struct imap_parser *p, enum err e, const char *problem)
{
	if (p->err && p->err != E_PARSE && p->err != E_TOOBIG) {
		connection_end(s, p->err);
		return;
	}
	if (!drain(s, p))
		return;
	if (problem)
		(void)imap_reply_bad(s, problem == uid_required ? "UIDREQUIRED" : NULL, problem);
	else if (e && p->err)
		refuse(s, p);
	else if (e)
		(void)imap_reply_error(s, e, "message");
	buf_reset(&s->out);
}

static void
command_run(struct imap_session *s, struct imap_parser *p)
{
	const char *problem;
	enum err e;

	p->utf8 = imap_uses_utf8(s);
	s->has_numbers = 0;
	s->command = lookup(s, p, &problem);
	e = s->command ? s->command->run(s, p) : p->err;
	command_end(s, p, e, problem);
}

/* IDLE that was under way when the session fell asleep. */
static void
idle_go_on(struct imap_session *s, struct imap_parser *p)
{
	s->command = &imap_command_idle;
	s->tag = str_of(s->woken.tag);
	command_end(s, p, imap_idle_go_on(s, p), NULL);
	s->tag = (struct str){NULL, 0};
	MEM_FREE(s->woken.tag);
}

/* A line that is longer than allowed still tells its tag. */
static void
long_line_refuse(struct imap_session *s, struct imap_parser *p)
{
	struct imap_parser line = {.line = p->line};

	(void)imap_parse_tag(&line, &s->tag);
	if (drain(s, p))
		(void)imap_reply_bad(s, NULL, "The command line is too long");
}

static void
command_serve(struct imap_session *s, struct imap_parser *p)
{
	enum err e = imap_parser_next(p);

	s->command = NULL;
	s->tag = (struct str){NULL, 0};
	if (e == E_TOOBIG) {
		long_line_refuse(s, p);
		return;
	}
	if (e) {
		connection_end(s, e);
		return;
	}
	if (imap_parse_tag(p, &s->tag)) {
		s->tag = (struct str){NULL, 0};
		if (drain(s, p))
			refuse(s, p);
		return;
	}
	command_run(s, p);
}

/* Until the client begins a command. A session that is silent meanwhile sleeps: s->end is set. */
static enum err
command_await(struct imap_session *s)
{
	int64_t now = io_now_ms(), deadline = now + s->conf->imap_idle_timeout;
	int64_t due = imap_sleep_due_ms(s, now), quiet = now + QUIET_MS;
	int client = 0, other = 0;
	enum err e = E_TIMEOUT;

	while (e == E_TIMEOUT && now < deadline && !s->end) {
		int again = 0, fd = imap_notify_is_on(s) ? imap_notify_turn(s, 0, &again) : -1;
		int64_t until = due < deadline ? due : deadline;

		if (s->end)
			break;
		if (again && until > now + IMAP_NOTIFY_RETRY_MS)
			until = now + IMAP_NOTIFY_RETRY_MS;
		if (*s->auth >= 0 && quiet < until)
			until = quiet;
		e = stream_wait(
			s->client, fd, until > now ? (int)(until - now) : 0, &client, &other);
		now = io_now_ms();
		if (e == E_TIMEOUT && now >= quiet)
			io_close(s->auth);
		if (!e && !client)
			e = E_TIMEOUT; /* news, for the next turn */
		if (e == E_TIMEOUT && now >= due && now < deadline) {
			(void)imap_sleep(s, NULL, deadline);
			due = imap_sleep_due_ms(s, now);
		}
	}
	return e;
}

static void
commands_serve(struct imap_session *s)
{
	struct imap_stream_source from = {s->client, s->conf->imap_max_line, BUF_INIT(0)};
	struct imap_source source = imap_stream_source(&from);
	struct imap_parser parser;
	enum err e;

	imap_parser_init(&parser, &source);
	if (s->woken.tag && !s->end)
		idle_go_on(s, &parser);
	while (!s->end) {
		if (session_should_end(s->base)) {
			connection_end(s, E_CANCELLED);
			break;
		}
		/* The parser keeps the last command's pieces, which may be large. */
		imap_parser_reset(&parser);
		e = command_await(s);
		if (s->end)
			break;
		if (e) {
			connection_end(s, e);
			break;
		}
		command_serve(s, &parser);
		e = stream_error(s->client);
		if (e)
			connection_end(s, e);
		if (!s->end && s->errors >= (uint64_t)s->conf->imap_max_errors)
			imap_bye(s, "errors", "Too many bad commands");
	}
	imap_parser_reset(&parser);
	imap_stream_source_fini(&from);
}

void
imap_state_set(struct imap_session *s, enum imap_state state)
{
	static const char *const names[] = {
		[IMAP_AUTHENTICATED] = "authenticated",
		[IMAP_SELECTED] = "selected",
		[IMAP_LOGGED_OUT] = "logout",
	};

	if (s->state == state)
		return;
	log_event(LOGL_DEBUG, "imap.state change", "from", s->state ? names[s->state] : "none",
		"to", names[state], NULL);
	s->state = state;
}

void
imap_bye(struct imap_session *s, const char *reason, const char *text)
{
	(void)stream_printf(s->client, "* BYE %s\r\n", text);
	s->end = reason;
}

static void
greet(struct imap_session *s)
{
	(void)buf_add_cstr(&s->out, "CAPABILITY ");
	imap_capabilities(s->conf, &s->out);
	s->tag = str_of(s->base->info.tag);
	(void)imap_reply_ok(s, buf_cstr(&s->out), "Logged in");
	buf_reset(&s->out);
}

int
imap_session_run(struct session *base, struct auth_user *user, struct index_user *index, int *auth)
{
	struct imap_session s = {
		.base = base,
		.client = base->client,
		.conf = base->conf,
		.user = *user,
		.index = index,
		.auth = auth,
	};

	int sleeps;

	*user = (struct auth_user){0};
	if (s.conf->fts)
		s.fts = fts_client_create(s.conf, &s.user);
	stream_set_timeouts(
		s.client, (int)s.conf->imap_idle_timeout, (int)s.conf->client_write_timeout);
	if (!base->info.since)
		base->info.since = (uint64_t)time(NULL);
	imap_state_set(&s, IMAP_AUTHENTICATED);
	/* The parent knows what the log-in said: a word of it would only wake it. */
	if (strcmp(s.user.name, base->info.user) != 0)
		session_report(base, s.user.name, "");
	if (imap_sleep_is_wake(base))
		imap_sleep_wake(&s);
	else
		greet(&s);
	commands_serve(&s);
	sleeps = s.end && strcmp(s.end, "sleep") == 0;
	imap_state_unselect(&s);
	imap_notify_free(&s);
	imap_state_set(&s, IMAP_LOGGED_OUT);
	(void)stream_flush(s.client);
	log_event(sleeps ? LOGL_DEBUG : LOGL_INFO, sleeps ? "imap.sleep ok" : "imap.logout", "user",
		s.user.name, "reason", s.end, "in",
		log_u64(s.bytes_in_before + stream_bytes_in(s.client)), "out",
		log_u64(s.bytes_out_before + stream_bytes_out(s.client)), NULL);
	buf_free(&s.out);
	buf_free(&s.flags_line);
	fts_client_free(&s.fts);
	free(s.woken.tag);
	auth_user_free(&s.user);
	/* After anything unusual the process is not used again. */
	return s.end && (sleeps || strcmp(s.end, "logout") == 0 ||
				strcmp(s.end, "disconnect") == 0 ||
				strcmp(s.end, "unauthenticate") == 0)
		       ? SESSION_AGAIN
		       : 0;
}
