/* SPDX-License-Identifier: MIT */
/*
 * LMTP over TCP up to the first mail command: RFC 2033, STARTTLS (RFC 3207). Nobody logs in: who
 * can connect may deliver. Then the client goes to roost-lmtp, which does all the rest; the private
 * key stays here, away from the process that can write all mail.
 */
#include <stdlib.h>

#include "lib/mem.h"
#include "lmtp/lmtp_command.h"
#include "lmtp/lmtp_lhlo.h"
#include "proxy/prelogin.h"
#include "proxy/smtp_replies.h"

static void
bad(struct prelogin *p, const char *text)
{
	prelogin_say(p, text);
	prelogin_error(p);
}

static void
greet(struct prelogin *p)
{
	buf_printf(&p->out, "220 %s LMTP Roost\r\n", p->conf->hostname);
}

static void
run_lhlo(struct prelogin *p, struct str args)
{
	struct lmtp_lhlo_options options = {
		.tls_available = !p->tls && p->tls_available, .xclient = p->may_xclient};

	if (!lmtp_helo_ok(args)) {
		bad(p, "501 5.5.4 Say LHLO with your host name\r\n");
		return;
	}
	MEM_FREE(p->helo);
	p->helo = str_dup(args);
	p->helo_seen = p->esmtp = 1;
	lmtp_lhlo_write(&p->out, p->conf, &options);
}

static void
run_starttls(struct prelogin *p, struct str args)
{
	if (args.len > 0) {
		bad(p, "501 5.5.4 STARTTLS takes no argument\r\n");
		return;
	}
	if (p->tls || !p->tls_available) {
		bad(p, p->tls ? "503 5.5.1 TLS is active already\r\n"
			      : "502 5.5.1 TLS is not available\r\n");
		return;
	}
	prelogin_say(p, "220 2.0.0 Ready to start TLS\r\n");
	prelogin_set_state(p, PRELOGIN_TLS);
	p->host->start_tls(p);
}

/* 0: the client is handed over with the line unused. */
static int
run(struct prelogin *p, enum lmtp_verb verb, struct str args)
{
	switch (verb) {
	case LMTP_LHLO:
		run_lhlo(p, args);
		return 1;
	case LMTP_STARTTLS:
		run_starttls(p, args);
		return 1;
	case LMTP_NOOP:
	case LMTP_RSET:
		prelogin_say(p, "250 2.0.0 OK\r\n");
		return 1;
	case LMTP_QUIT:
		buf_printf(&p->out, "221 2.0.0 %s closing\r\n", p->conf->hostname);
		prelogin_set_state(p, PRELOGIN_CLOSED);
		return 1;
	case LMTP_HELO:
		bad(p, "500 5.5.1 This is LMTP: say LHLO\r\n");
		return 1;
	case LMTP_UNKNOWN:
		/* A stranger who does not even speak LMTP never costs a session. */
		p->unclear = 1;
		bad(p, "500 5.5.2 Unknown command\r\n");
		return 1;
	default:
		break;
	}
	prelogin_set_state(p, PRELOGIN_HANDOVER);
	p->host->handover(p);
	return 0;
}

static int
command(struct prelogin *p)
{
	struct str line, args;
	size_t used;

	if (!prelogin_line(p, &line, &used))
		return 0;
	if (str_has_control(line))
		bad(p, "500 5.5.2 Control characters in a command\r\n");
	else if (!run(p, lmtp_command_split(line, &args), args))
		return 1;
	/* RFC 3207 section 4.2 and the NO STARTTLS family: what came with STARTTLS is thrown away.
	 */
	prelogin_consume(p, p->state == PRELOGIN_TLS ? p->in.len : used);
	return 1;
}

/* There is no SASL exchange in which these could be called. */
static void
challenge(struct prelogin *p, struct str base64)
{
	(void)p;
	(void)base64;
}

static void
success(struct prelogin *p)
{
	(void)p;
}

const struct prelogin_protocol prelogin_lmtp = {
	.name = "lmtp",
	.auth_service = "lmtp",
	.handover = "lmtp-handover",
	.greet = greet,
	.command = command,
	.challenge = challenge,
	.success = success,
	.replies = SMTP_REPLIES,
};
