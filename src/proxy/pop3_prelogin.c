/* SPDX-License-Identifier: MIT */
/*
 * POP3 in the AUTHORIZATION state: RFC 1939 sections 4 and 7, CAPA (RFC 2449), STLS (RFC 2595
 * section 4), AUTH (RFC 5034), AUTH-RESP-CODE (RFC 3206), UTF8 and LANG (RFC 6856).
 */
#include <stdlib.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "pop3/pop3_capa.h"
#include "proxy/prelogin.h"

enum { TIMESTAMP_BYTES = 16 };

struct command {
	const char *name;
	/* args: behind the name and one space; p is NULL without a space. */
	void (*run)(struct prelogin *p, struct str args);
};

static void
bad(struct prelogin *p, const char *text)
{
	prelogin_say(p, text);
	prelogin_error(p);
}

static int
has_apop(const struct prelogin *p)
{
	for (size_t i = 0; i < p->conf->auth_mechanisms.count; i++)
		if (str_is_i(str_of(p->conf->auth_mechanisms.items[i]), "APOP"))
			return 1;
	return 0;
}

/* RFC 1939 section 7, APOP: the timestamp is another one in each greeting. */
static void
greet(struct prelogin *p)
{
	char unique[2 * TIMESTAMP_BYTES + 1];

	if (!has_apop(p)) {
		prelogin_say(p, "+OK Roost ready\r\n");
		return;
	}
	io_random_hex(unique, TIMESTAMP_BYTES);
	p->timestamp = mem_printf(
		"<%s@%s>", unique, p->conf->hostname[0] ? p->conf->hostname : "localhost");
	buf_printf(&p->out, "+OK Roost ready %s\r\n", p->timestamp);
}

/* RFC 2449 section 5: what holds in both states is listed in both. */
static void
run_capa(struct prelogin *p, struct str args)
{
	if (args.p) {
		bad(p, "-ERR CAPA takes no argument\r\n");
		return;
	}
	prelogin_say(p, "+OK Capabilities follow\r\n");
	pop3_capa_common(&p->out, p->conf);
	if (!p->tls && p->tls_available)
		prelogin_say(p, "STLS\r\n");
	if (prelogin_may_auth(p))
		prelogin_say(p, "USER\r\n");
	if (prelogin_mechanisms(p)[0])
		buf_printf(&p->out, "SASL %s\r\n", prelogin_mechanisms(p));
	prelogin_say(p, ".\r\n");
}

static void
run_lang(struct prelogin *p, struct str args)
{
	pop3_lang_answer(&p->out, str_trim(args));
}

/* RFC 6856 section 2.1; what it means is the session's matter. */
static void
run_utf8(struct prelogin *p, struct str args)
{
	if (args.p) {
		bad(p, "-ERR UTF8 takes no argument\r\n");
		return;
	}
	p->utf8 = 1;
	prelogin_say(p, "+OK Headers may be in UTF-8\r\n");
}

static void
run_noop(struct prelogin *p, struct str args)
{
	(void)args;
	prelogin_say(p, "+OK\r\n");
}

static void
run_quit(struct prelogin *p, struct str args)
{
	(void)args;
	prelogin_say(p, "+OK Bye\r\n");
	prelogin_set_state(p, PRELOGIN_CLOSED);
}

static void
run_stls(struct prelogin *p, struct str args)
{
	if (args.p || p->tls || p->utf8 || !p->tls_available) {
		bad(p, args.p	  ? "-ERR STLS takes no argument\r\n"
			: p->tls  ? "-ERR TLS is active already\r\n"
			: p->utf8 ? "-ERR STLS comes before UTF8\r\n" /* RFC 6856 section 2.1 */
				  : "-ERR TLS is not available\r\n");
		return;
	}
	prelogin_say(p, "+OK Begin TLS negotiation\r\n");
	prelogin_set_state(p, PRELOGIN_TLS);
	p->host->start_tls(p);
}

static void
run_user(struct prelogin *p, struct str args)
{
	MEM_FREE(p->user);
	if (!prelogin_may_auth(p)) {
		prelogin_reply(p, REPLY_NEED_TLS);
		prelogin_error(p);
		return;
	}
	if (args.len == 0) {
		bad(p, "-ERR USER needs a name\r\n");
		return;
	}
	p->user = str_dup(args);
	prelogin_say(p, "+OK Send the password\r\n");
}

static void
run_pass(struct prelogin *p, struct str args)
{
	if (!p->user) {
		bad(p, "-ERR Send USER first\r\n");
		return;
	}
	/* RFC 1939 section 7, PASS: spaces belong to the password. */
	sasl_begin_plain(p, str_of(p->user), args);
	MEM_FREE(p->user);
}

/* APOP name digest. The name may have blanks, the digest has none. */
static void
run_apop(struct prelogin *p, struct str args)
{
	struct buf message = {0};
	size_t space = args.len;

	if (!p->timestamp) {
		bad(p, "-ERR APOP is not offered here\r\n");
		return;
	}
	MEM_FREE(p->user);
	while (space > 0 && args.p[space - 1] != ' ')
		space--;
	if (space < 2 || space == args.len) {
		bad(p, "-ERR APOP needs a name and a digest\r\n");
		return;
	}
	buf_add(&message, args.p, space - 1);
	buf_add_char(&message, '\0');
	buf_add_cstr(&message, p->timestamp);
	buf_add_char(&message, '\0');
	buf_add(&message, args.p + space, args.len - space);
	sasl_begin_own(p, "APOP", buf_str(&message));
	buf_free(&message);
}

static void
run_auth(struct prelogin *p, struct str args)
{
	struct str mechanism = str_split(&args, ' ');

	MEM_FREE(p->user);
	if (mechanism.len == 0) {
		/* Older than RFC 5034, still asked by some: the list of mechanisms. */
		prelogin_say(p, "+OK Mechanisms follow\r\n");
		struct str list = str_of(prelogin_mechanisms(p));
		while (list.p) {
			struct str one = str_split(&list, ' ');
			if (one.len > 0)
				buf_printf(&p->out, "%.*s\r\n", STR_ARG(one));
		}
		prelogin_say(p, ".\r\n");
		return;
	}
	sasl_begin(p, mechanism, args.p != NULL, args);
}

static const struct command commands[] = {
	{"CAPA", run_capa},
	{"LANG", run_lang},
	{"NOOP", run_noop},
	{"QUIT", run_quit},
	{"STLS", run_stls},
	{"UTF8", run_utf8},
	{"USER", run_user},
	{"PASS", run_pass},
	{"AUTH", run_auth},
	{"APOP", run_apop},
};

static int
command(struct prelogin *p)
{
	struct str line, name;
	size_t used;

	if (!prelogin_line(p, &line, &used))
		return 0;
	name = str_split(&line, ' ');
	const struct command *cmd = NULL;
	for (size_t i = 0; i < sizeof commands / sizeof *commands && !cmd; i++)
		if (str_is_i(name, commands[i].name))
			cmd = &commands[i];
	p->unclear = !cmd;
	if (cmd)
		cmd->run(p, line);
	else
		bad(p, "-ERR Unknown command, or not before log-in\r\n");
	/* What came in one packet with STLS was not said under TLS. */
	prelogin_consume(p, p->state == PRELOGIN_TLS ? p->in.len : used);
	return 1;
}

static void
challenge(struct prelogin *p, struct str base64)
{
	buf_printf(&p->out, "+ %.*s\r\n", STR_ARG(base64));
}

/* The session says +OK when it has the mailbox. */
static void
success(struct prelogin *p)
{
	(void)p;
}

/* RFC 3206 section 4: no other password would help, and no waiting. */
static void
moved(struct prelogin *p, struct str user, struct str host)
{
	(void)user;
	buf_printf(
		&p->out, "-ERR [SYS/PERM] This account is on the server %.*s\r\n", STR_ARG(host));
}

const struct prelogin_protocol prelogin_pop3 = {
	.name = "pop3",
	.auth_service = "pop3",
	.handover = "pop3",
	.greet = greet,
	.command = command,
	.challenge = challenge,
	.success = success,
	.moved = moved,
	.replies =
		{
			[REPLY_BAD_BASE64] = "-ERR Invalid base64\r\n",
			[REPLY_CANCELLED] = "-ERR Authentication cancelled\r\n",
			[REPLY_AUTH_FAILED] = "-ERR [AUTH] Authentication failed\r\n",
			[REPLY_AUTH_DISABLED] = "-ERR [AUTH] This account is disabled\r\n",
			[REPLY_AUTH_MECHANISM] = "-ERR Unsupported authentication mechanism\r\n",
			[REPLY_AUTH_RESPONSE] = "-ERR Invalid authentication response\r\n",
			[REPLY_AUTH_TEMPFAIL] =
				"-ERR [SYS/TEMP] Temporary authentication failure\r\n",
			[REPLY_AUTH_LIMIT] =
				"-ERR [SYS/TEMP] Too many connections of this user\r\n",
			[REPLY_NEED_TLS] = "-ERR Plaintext log-in needs TLS: send STLS first\r\n",
			[REPLY_LINE_TOO_LONG] = "-ERR Line too long\r\n",
			[REPLY_TOO_MANY_ATTEMPTS] = "-ERR Too many failed log-ins\r\n",
			[REPLY_TOO_MANY_ERRORS] = "-ERR Too many commands without logging in\r\n",
			[REPLY_TIMEOUT] = "-ERR Too slow to log in\r\n",
			[REPLY_SHUTDOWN] = "-ERR [SYS/TEMP] Server is shutting down\r\n",
			[REPLY_NO_SESSION] =
				"-ERR [SYS/TEMP] Mail service is not available, try later\r\n",
			[REPLY_BUSY] = "-ERR [SYS/TEMP] Too many connections, try later\r\n",
			[REPLY_BUSY_HOST] =
				"-ERR [SYS/TEMP] Too many connections from your address\r\n",
		},
};
