/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd.h"

#include <search.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/smtpd_filter.h"
#include "mta-lite/smtpd_limit.h"
#include "mta-lite/smtpd_notice.h"
#include "mta-lite/smtpd_pipe.h"

void
smtpd_reply(struct smtpd *d, const char *fmt, ...)
{
	struct buf line = BUF_INIT(1200), ascii = {0}, *out = &line;
	va_list ap;

	va_start(ap, fmt);
	(void)buf_vprintf(&line, fmt, ap);
	va_end(ap);
	if (line.len > 0 && (line.p[0] == '4' || line.p[0] == '5'))
		d->errors++;
	if (!d->utf8_reply && !str_is_ascii(buf_str(&line))) {
		/* RFC 6531 section 3.7.4.2. The report that this may get into is of ASCII, too. */
		dsn_unitext_encode(buf_str(&line), "", 0, &ascii);
		out = &ascii;
	}
	smtpd_transcript_out(d, buf_str(out));
	out->max = 0;
	buf_add(out, "\r\n", 2);
	(void)stream_write_str(d->io, buf_str(out));
	buf_free(&line);
	buf_free(&ascii);
}

static void
keep_node(void *node)
{
	(void)node;
}

void
smtpd_forget_targets(struct smtpd *d)
{
	struct smtpd_transaction *t = &d->t;

	/* The tree's keys are the entry's. */
	tdestroy(t->seen, keep_node);
	t->seen = NULL;
	queue_entry_drop_rcpts(&t->entry);
}

void
smtpd_transaction_reset(struct smtpd *d)
{
	struct smtpd_transaction *t = &d->t;

	smtpd_filter_reset(d);
	smtpd_forget_targets(d);
	queue_entry_free(&t->entry);
	memset(&t->mail, 0, sizeof(t->mail));
	t->open = 0;
	t->rcpt_count = t->rcpt_refused = 0;
	MEM_FREE(t->first_rcpt);
	spool_reset(&t->spool);
	t->data = SMTP_DATA_INIT;
	buf_reset(&t->head);
	t->bdat = t->bdat_failed = 0;
	t->content_bytes = 0;
	restrict_effects_free(&t->effects);
	memset(&t->origin, 0, sizeof(t->origin));
	t->spf_known = 0;
	t->started_ms = 0;
}

void
smtpd_set_helo(struct smtpd *d, struct str name)
{
	size_t i;

	free(d->helo);
	if (name.len > 255)
		name.len = 255;
	d->helo = str_dup(name);
	/* It goes into Received fields and log lines. */
	for (i = 0; i < name.len; i++) {
		char c = d->helo[i];

		if (!str_is_alnum(c) && (c == '\0' || !strchr(".-_:[]", c)))
			d->helo[i] = '?';
	}
}

static void
hello(struct smtpd *d, struct str args, int esmtp)
{
	struct smtp_ehlo_options opt = {0};
	struct buf out = {0};

	if (args.len == 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: %s hostname", esmtp ? "EHLO" : "HELO");
		return;
	}
	smtpd_transaction_reset(d);
	smtpd_set_helo(d, args);
	d->esmtp = esmtp;
	/* A refusal is said to MAIL, like the lists' (smtpd_delay_reject). */
	(void)smtpd_filter_helo(d);
	if (!esmtp) {
		smtpd_reply(d, "250 %s", smtp_hostname(d->conf));
		return;
	}
	opt.tls = d->session->info.tls;
	opt.submission = d->kind == SMTPD_SUBMISSION;
	opt.xclient = d->xclient;
	opt.xforward = d->xforward;
	opt.etrn = d->kind == SMTPD_MX;
	smtp_ehlo_write(&out, d->conf, &opt);
	smtpd_transcript_out(d, buf_str(&out));
	(void)stream_write_str(d->io, buf_str(&out));
	buf_free(&out);
}

static void
cmd_ehlo(struct smtpd *d, struct str args)
{
	hello(d, args, 1);
}

static void
cmd_helo(struct smtpd *d, struct str args)
{
	hello(d, args, 0);
}

static void
junk(struct smtpd *d)
{
	/* Harmless commands without end are a way to hold a slot. */
	if (++d->junk > SMTPD_JUNK_MAX)
		d->errors++;
}

static void
cmd_rset(struct smtpd *d, struct str args)
{
	if (args.len > 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: RSET");
		return;
	}
	junk(d);
	smtpd_transaction_reset(d);
	smtpd_reply(d, "250 2.0.0 Ok");
}

static void
cmd_noop(struct smtpd *d, struct str args)
{
	(void)args;
	junk(d);
	smtpd_reply(d, "250 2.0.0 Ok");
}

static void
cmd_help(struct smtpd *d, struct str args)
{
	(void)args;
	junk(d);
	smtpd_reply(
		d, "214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY EXPN ETRN HELP QUIT");
}

static void
cmd_quit(struct smtpd *d, struct str args)
{
	if (args.len > 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: QUIT");
		return;
	}
	smtpd_reply(d, "221 2.0.0 Bye");
	d->quit = d->said_quit = 1;
}

/* What only the proxy can do, and only before the first other command. */
static void
cmd_too_late(struct smtpd *d, struct str args)
{
	(void)args;
	smtpd_reply(d, "503 5.5.1 Not now");
}

static const struct {
	const char *verb;
	void (*run)(struct smtpd *d, struct str args);
} commands[] = {
	{"MAIL", smtpd_mail},
	{"RCPT", smtpd_rcpt},
	{"DATA", smtpd_data},
	{"BDAT", smtpd_bdat},
	{"QUIT", cmd_quit},
	{"RSET", cmd_rset},
	{"EHLO", cmd_ehlo},
	{"HELO", cmd_helo},
	{"NOOP", cmd_noop},
	{"VRFY", smtpd_vrfy},
	{"EXPN", smtpd_expn},
	{"XCLIENT", smtpd_xclient},
	{"XFORWARD", smtpd_xforward},
	{"ETRN", smtpd_etrn},
	{"HELP", cmd_help},
	{"STARTTLS", cmd_too_late},
	{"AUTH", cmd_too_late},
};

static void
dispatch(struct smtpd *d, struct str line)
{
	struct str verb;
	size_t i;

	if (memchr(line.p ? line.p : "", '\0', line.len)) {
		smtpd_reply(d, "500 5.5.2 NUL byte in a command");
		return;
	}
	d->utf8_reply = 0;
	line = str_trim(line);
	verb = str_split(&line, ' ');
	/* RFC 2920 section 3.1: these are the last of their group. */
	if (stream_input_available(d->io) > 0 &&
		(str_is_i(verb, "DATA") || str_is_i(verb, "EHLO") || str_is_i(verb, "HELO")))
		d->pipelined = 1;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (str_is_i(verb, commands[i].verb)) {
			commands[i].run(d, str_trim(line));
			return;
		}
	}
	smtpd_reply(d, "500 5.5.2 Unknown command");
}

/* The last word to a client that cannot go on; the session ends. */
static int
say_goodbye(struct smtpd *d, enum err e)
{
	switch (e) {
	case E_TIMEOUT:
		smtpd_reply(d, "421 4.4.2 %s Timed out, closing", smtp_hostname(d->conf));
		break;
	case E_CANCELLED:
		smtpd_reply(d, "421 4.3.2 %s Shutting down, try again", smtp_hostname(d->conf));
		break;
	default:
		break;
	}
	(void)stream_flush(d->io);
	return e == E_CLOSED || e == E_TIMEOUT || e == E_CANCELLED ? 0 : 1;
}

static int
serve(struct smtpd *d)
{
	struct str line;
	enum err e;

	while (!d->quit) {
		if (session_should_end(d->session))
			return say_goodbye(d, E_CANCELLED);
		if (d->errors >= (unsigned)d->conf->smtpd_hard_error_limit) {
			smtpd_reply(d, "421 4.7.0 %s Too many errors", smtp_hostname(d->conf));
			log_event(LOGL_INFO, "smtpd.errors limit", "ip", d->peer_ip, NULL);
			break;
		}
		/* A command that trickles in is given up too. */
		stream_set_deadline(d->io, io_now_ms() + d->conf->smtpd_timeout);
		e = stream_read_line(d->io, SMTPD_LINE_MAX, &line, NULL);
		if (e == E_TOOBIG) {
			smtpd_reply(d, "500 5.5.2 Line too long");
			e = stream_skip_line(d->io);
			if (e == OK)
				continue;
		}
		stream_set_deadline(d->io, 0);
		if (e)
			return say_goodbye(d, e);
		smtpd_transcript_in(d, line);
		dispatch(d, line);
	}
	return stream_flush(d->io) == OK && d->said_quit ? SESSION_AGAIN : 0;
}

int
smtpd_in_networks(const struct conf_list *list, const struct net_addr *peer)
{
	return net_in_networks(list->items, list->count, peer);
}

static long
peer_uid(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return -1;
	return (long)cred.uid;
}

static unsigned
overrides_of(const struct conf_list *list)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {{"no_unknown_recipient_checks", SMTPD_NO_UNKNOWN_RECIPIENT_CHECKS},
		{"no_header_body_checks", SMTPD_NO_HEADER_BODY_CHECKS},
		{"no_milters", SMTPD_NO_MILTERS},
		{"no_address_mappings", SMTPD_NO_ADDRESS_MAPPINGS}};
	unsigned bits = 0;
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (conf_list_has(list, str_of(words[i].word)))
			bits |= words[i].bit;
	}
	return bits;
}

static void
identify_filter(struct smtpd *d)
{
	d->kind = SMTPD_REINJECT;
	d->trusted = smtpd_in_networks(&d->conf->reinject_networks, &d->peer);
	d->xforward = smtpd_in_networks(&d->conf->smtpd_authorized_xforward_hosts, &d->peer);
	d->overrides = overrides_of(&d->conf->reinject_override_options);
}

/* Who is it, and what may it do? Not OK: the session cannot begin. */
static enum err
identify(struct smtpd *d)
{
	const struct session_info *info = &d->session->info;
	struct auth_user user;
	enum err e;

	d->peer = info->peer;
	net_addr_format_ip(&d->peer, d->peer_ip);
	/* Recipients are looked up here in any case. */
	d->overrides = overrides_of(&d->conf->receive_override_options) &
		       (SMTPD_NO_HEADER_BODY_CHECKS | SMTPD_NO_MILTERS);
	if (strcmp(info->service, "sendmail") == 0) {
		d->kind = SMTPD_LOCAL;
		d->trusted = 1;
		d->local_uid = peer_uid(stream_fd(d->io));
		if (smtpd_pipe_gives_back(d, d->conf->content_filter))
			d->overrides = overrides_of(&d->conf->reinject_override_options);
	} else if (strcmp(info->service, "smtp") == 0) {
		d->kind = SMTPD_MX;
		d->trusted = smtpd_in_networks(&d->conf->mynetworks, &d->peer);
		d->xclient = smtpd_in_networks(&d->conf->smtpd_authorized_xclient_hosts, &d->peer);
	} else if (strcmp(info->service, "reinject") == 0) {
		identify_filter(d);
	} else {
		d->kind = SMTPD_SUBMISSION;
	}
	if (info->token[0] == '\0')
		return OK;
	e = auth_redeem(d->conf, info->token, "smtp", info->id, &user);
	if (e == OK) {
		d->user = mem_strdup(user.name);
		d->trusted = 1;
		session_report(d->session, d->user, "");
	}
	auth_user_free(&user);
	return e;
}

/* Connections to our own daemons, of which the next session in this process makes use. */
struct kept {
	struct auth_client *auth;
	struct smtp_client *lmtp;
};

static void
take_kept(struct smtpd *d)
{
	struct kept *kept = d->session->kept;

	d->session->kept = NULL;
	d->auth = kept ? kept->auth : auth_client_create(d->conf);
	d->lmtp = kept ? kept->lmtp : NULL;
	free(kept);
}

static void
leave_kept(struct smtpd *d)
{
	struct kept *kept = MEM_NEW(struct kept);

	kept->auth = d->auth;
	kept->lmtp = d->lmtp;
	d->session->kept = kept;
}

void
smtpd_release(struct session *s)
{
	struct kept *kept = s->kept;

	s->kept = NULL;
	smtp_client_free(&kept->lmtp);
	auth_client_free(&kept->auth);
	free(kept);
}

int
smtpd_run(struct session *s)
{
	struct smtpd d = {.session = s, .conf = s->conf, .io = s->client, .local_uid = -1};
	int status;
	enum err e;

	d.spool_dir = queue_dir_path(s->conf, QUEUE_INCOMING);
	take_kept(&d);
	d.esmtp = s->info.esmtp;
	smtpd_set_helo(&d, str_of(s->info.helo));
	spool_init(&d.t.spool, d.spool_dir);
	stream_set_timeouts(d.io, (int)s->conf->smtpd_timeout, (int)s->conf->client_write_timeout);
	e = identify(&d);
	if (e) {
		log_event(LOGL_WARN, "smtpd.login failed", "ip", d.peer_ip, "error", err_word(e),
			NULL);
		smtpd_reply(&d, "421 4.7.0 %s The log-in could not be confirmed",
			smtp_hostname(s->conf));
		(void)stream_flush(d.io);
		status = 1;
	} else {
		smtpd_transcript_start(&d);
		smtpd_transcript_before(&d, str_make(s->info.state, s->info.state_len));
		if (s->info.fresh)
			smtpd_reply(&d, "220 %s ESMTP Roost", smtp_hostname(s->conf));
		smtpd_filter_start(&d);
		status = serve(&d);
	}
	smtpd_transaction_reset(&d);
	smtpd_transcript_stop(&d);
	smtpd_filter_stop(&d);
	smtpd_limit_stop(&d);
	spool_free(&d.t.spool);
	buf_free(&d.t.head);
	leave_kept(&d);
	if (status != SESSION_AGAIN)
		smtpd_release(s);
	buf_free(&d.verdict);
	free(d.known_address);
	free(d.user);
	free(d.helo);
	free(d.spool_dir);
	return status;
}
