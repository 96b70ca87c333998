/* SPDX-License-Identifier: MIT */
/*
 * SMTP and submission up to the first mail command: RFC 5321 sections 4.1.1 and 4.3, STARTTLS (RFC
 * 3207), AUTH (RFC 4954), submission (RFC 6409). On port 25 the first mail command goes to
 * roost-smtpd together with the client; on the submission ports the client goes there when it has
 * logged in.
 */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "proxy/prelogin.h"
#include "proxy/smtp_replies.h"

struct command {
	const char *name;
	/* args: behind the name and one space; p is NULL without a space. */
	void (*run)(struct prelogin *p, struct str args);
};

static int
is_submission(const struct prelogin *p)
{
	return p->proto == &prelogin_submission;
}

static void
bad(struct prelogin *p, const char *text)
{
	prelogin_say(p, text);
	prelogin_error(p);
}

static void
greet(struct prelogin *p)
{
	buf_printf(&p->out, "220 %s ESMTP\r\n", smtp_hostname(p->conf));
}

/* Clients say all sorts of things; it only must be printable and bounded (RFC 5321 4.1.1.1). */
static int
take_helo(struct prelogin *p, struct str args)
{
	struct str name = str_trim(args);

	if (name.len == 0 || name.len > PRELOGIN_HELO_MAX || str_has_control(name) ||
		str_find(name, 0, ' ') < name.len) {
		bad(p, "501 5.5.4 A host name or address literal is expected\r\n");
		return 0;
	}
	MEM_FREE(p->helo);
	p->helo = str_dup(name);
	p->helo_seen = 1;
	return 1;
}

static void
run_ehlo(struct prelogin *p, struct str args)
{
	struct smtp_ehlo_options options = {0};

	if (!take_helo(p, args))
		return;
	p->esmtp = 1;
	options.hostname = smtp_hostname(p->conf);
	options.tls_available = !p->tls && p->tls_available;
	options.tls = p->tls;
	options.submission = is_submission(p);
	options.xclient = p->xclient;
	options.xforward = p->xforward;
	options.etrn = p->proto == &prelogin_smtp;
	if (is_submission(p) && prelogin_mechanisms(p)[0])
		options.auth = prelogin_mechanisms(p);
	smtp_ehlo_write(&p->out, p->conf, &options);
}

static void
run_helo(struct prelogin *p, struct str args)
{
	if (!take_helo(p, args))
		return;
	p->esmtp = 0;
	buf_printf(&p->out, "250 %s\r\n", smtp_hostname(p->conf));
}

static void
run_starttls(struct prelogin *p, struct str args)
{
	if (args.p && str_trim(args).len > 0) {
		bad(p, "501 5.5.4 STARTTLS takes no argument\r\n");
		return;
	}
	if (p->tls) {
		bad(p, "503 5.5.1 TLS is active already\r\n");
		return;
	}
	if (!p->tls_available) {
		bad(p, "502 5.5.1 TLS is not available\r\n");
		return;
	}
	prelogin_say(p, "220 2.0.0 Ready to start TLS\r\n");
	prelogin_set_state(p, PRELOGIN_TLS);
	p->host->start_tls(p);
}

static void
run_auth(struct prelogin *p, struct str args)
{
	struct str mechanism = str_split(&args, ' ');

	if (!is_submission(p)) {
		bad(p, "503 5.5.1 AUTH is not offered on this port\r\n");
		return;
	}
	if (!p->esmtp) {
		bad(p, "503 5.5.1 EHLO first\r\n");
		return;
	}
	if (mechanism.len == 0 || str_find(args, 0, ' ') < args.len) {
		bad(p, "501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n");
		return;
	}
	sasl_begin(p, mechanism, args.p != NULL, args);
}

static void
run_noop(struct prelogin *p, struct str args)
{
	(void)args;
	prelogin_say(p, "250 2.0.0 OK\r\n");
}

static void
run_rset(struct prelogin *p, struct str args)
{
	if (args.p && str_trim(args).len > 0)
		bad(p, "501 5.5.4 RSET takes no argument\r\n");
	else
		prelogin_say(p, "250 2.0.0 OK\r\n");
}

static void
run_quit(struct prelogin *p, struct str args)
{
	(void)args;
	buf_printf(&p->out, "221 2.0.0 %s closing connection\r\n", smtp_hostname(p->conf));
	prelogin_set_state(p, PRELOGIN_CLOSED);
}

static void
run_vrfy(struct prelogin *p, struct str args)
{
	(void)args;
	prelogin_say(p, "252 2.5.0 Send some mail, I will try my best\r\n");
}

static void
run_help(struct prelogin *p, struct str args)
{
	(void)args;
	prelogin_say(p, "214 2.0.0 See RFC 5321\r\n");
}

static const struct command commands[] = {
	{"EHLO", run_ehlo},
	{"HELO", run_helo},
	{"STARTTLS", run_starttls},
	{"AUTH", run_auth},
	{"NOOP", run_noop},
	{"RSET", run_rset},
	{"QUIT", run_quit},
	{"VRFY", run_vrfy},
	{"HELP", run_help},
};

/* What roost-smtpd knows beyond the table above. */
static const char *const mail_commands[] = {
	"MAIL", "RCPT", "DATA", "BDAT", "VRFY", "EXPN", "XCLIENT", "XFORWARD", "ETRN"};

/*
 * Not in the table. 1: a reply was given; 0: the client is handed over with the line unused. A
 * stranger who does not even speak SMTP never costs a session.
 */
static int
other(struct prelogin *p, struct str name)
{
	int known = 0;

	for (size_t i = 0; i < sizeof mail_commands / sizeof *mail_commands; i++)
		known |= str_is_i(name, mail_commands[i]);
	if (!known) {
		p->unclear = 1;
		bad(p, "500 5.5.2 Unknown command\r\n");
		return 1;
	}
	if (is_submission(p)) {
		bad(p, "530 5.7.0 Authentication required\r\n");
		return 1;
	}
	if (p->screen_refused) {
		bad(p, "550 5.5.1 Protocol error\r\n");
		return 1;
	}
	prelogin_set_state(p, PRELOGIN_HANDOVER);
	p->host->handover(p);
	return 0;
}

/* RFC 5321 section 2.3.8: lines end with CRLF. */
static void
test_line(struct prelogin *p, size_t used)
{
	if (p->screened && p->conf->postscreen_bare_newline_enable &&
		(used < 2 || p->in.p[used - 2] != '\r'))
		prelogin_screen_failed(
			p, TEST_BARE_NEWLINE, p->conf->postscreen_bare_newline_action);
}

/* RFC 2920 section 3.1: nothing follows EHLO and the like before they are answered. */
static void
test_pipelining(struct prelogin *p, const struct command *cmd, size_t used)
{
	if (p->screened && p->conf->postscreen_pipelining_enable && cmd && cmd->run != run_rset &&
		p->in.len > used)
		prelogin_screen_failed(p, TEST_PIPELINING, p->conf->postscreen_pipelining_action);
}

/* reply: where it begins in out. A secret of AUTH stays here. */
static void
note_trouble(struct prelogin *p, struct str line, size_t reply)
{
	const struct conf_list *classes = &p->conf->notify_classes;

	if ((!conf_list_has(classes, STR("protocol")) && !conf_list_has(classes, STR("policy"))) ||
		p->out.len <= reply || p->troubles.len > PRELOGIN_TROUBLES_MAX)
		return;
	buf_printf(
		&p->troubles, "C%.*s\nS", STR_ARG(str_starts_i(line, "AUTH") ? STR("AUTH") : line));
	buf_add(&p->troubles, p->out.p + reply, p->out.len - reply);
}

static int
command(struct prelogin *p)
{
	struct str line, name;
	unsigned errors = p->errors;
	size_t used, reply = p->out.len;

	if (!prelogin_line(p, &line, &used))
		return 0;
	struct str args = line;
	name = str_split(&args, ' ');
	const struct command *cmd = NULL;
	for (size_t i = 0; i < sizeof commands / sizeof *commands && !cmd; i++)
		if (str_is_i(name, commands[i].name))
			cmd = &commands[i];
	/* Who has it answered in earnest leaves that to roost-smtpd. */
	if (cmd && cmd->run == run_vrfy && !p->conf->disable_vrfy_command)
		cmd = NULL;
	test_line(p, used);
	test_pipelining(p, cmd, used);
	if (p->state == PRELOGIN_CLOSED)
		return 1;
	if (cmd)
		cmd->run(p, args);
	else if (!other(p, name))
		return 1;
	if (p->errors != errors)
		note_trouble(p, line, reply);
	/* RFC 3207 section 4.2 and the NO STARTTLS family: what came with STARTTLS is thrown away.
	 */
	prelogin_consume(p, p->state == PRELOGIN_TLS ? p->in.len : used);
	return 1;
}

static void
challenge(struct prelogin *p, struct str base64)
{
	buf_printf(&p->out, "334 %.*s\r\n", STR_ARG(base64));
}

static void
success(struct prelogin *p)
{
	prelogin_say(p, "235 2.7.0 Authentication successful\r\n");
}

/* RFC 4954 section 6; 5.7.8 would say that the password is wrong. */
static void
moved(struct prelogin *p, struct str user, struct str host)
{
	(void)user;
	buf_printf(&p->out, "535 5.7.0 This account is on the server %.*s\r\n", STR_ARG(host));
}

/* What they have in common. */
#define SMTP_DIALOGUE                                                                              \
	.handover = "smtpd", .greet = greet, .command = command, .challenge = challenge,           \
	.success = success, .moved = moved, .replies = SMTP_REPLIES

const struct prelogin_protocol prelogin_smtp = {
	.name = "smtp", .auth_service = "smtp", SMTP_DIALOGUE};

const struct prelogin_protocol prelogin_reinject = {
	.name = "reinject", .auth_service = "smtp", SMTP_DIALOGUE};

const struct prelogin_protocol prelogin_submission = {
	.name = "submission", .auth_service = "submission", SMTP_DIALOGUE};
