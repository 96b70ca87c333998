/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "auth/auth_client.h"
#include "index/index_client.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/session.h"
#include "pop3/pop3_maildrop.h"
#include "pop3/pop3_session.h"
#include "trace/trace.h"

enum { UIDL_FILE_MAX = 64 << 20 };

/* The answer to the log-in that the proxy has left to us. */
static const char *
refusal(enum err e)
{
	/* Never [AUTH] (RFC 3206): the password was good, or the client would not be here. */
	switch (e) {
	case E_CONFLICT:
		return "-ERR [IN-USE] Another session has this mailbox open\r\n"; /* RFC 2449 8.1.2
										   */
	case E_STATE:
		return "-ERR [SYS/PERM] You have no right to read INBOX\r\n";
	case E_RANGE:
		return "-ERR [LOGIN-DELAY] It is too soon after the last log-in\r\n"; /* 8.1.1 */
	default:
		return "-ERR [SYS/TEMP] Mailbox not available now, try again later\r\n";
	}
}

/*
 * From here on the process can reach this user's mail and nothing else but roost-auth, which it
 * asks for his next session.
 */
static enum err
confine(const struct config *conf, const struct index_user *u)
{
	struct sandbox *sb = sandbox_create();
	char *auth = conf_run_path(conf, "auth-session");
	enum err e;

	index_sandbox_allow(u, sb);
	sandbox_allow_path(sb, auth, SANDBOX_READ | SANDBOX_WRITE);
	free(auth);
	e = sandbox_enter(sb);
	sandbox_free(&sb);
	/* The kernel can do neither: logged, and no reason to lock everybody out. */
	return e == E_UNSUPPORTED ? OK : e;
}

static void
log_out(const struct session *s, const char *user, const struct pop3_totals *t)
{
	log_event(LOGL_INFO, "pop3.logout", "user", user, "reason", t->reason, "retr",
		log_u64(t->retrieved), "top", log_u64(t->topped), "deleted", log_u64(t->removed),
		"in", log_u64(stream_bytes_in(s->client)), "out",
		log_u64(stream_bytes_out(s->client)), NULL);
}

/* UIDLs as the administrator wants them, and those that a server before had given. */
static void
load_uidls(const struct config *conf, const char *home, struct pop3_maildrop *m)
{
	char *path = mem_printf("%s/Maildir/roost-uidl", home);
	const struct pop3_uidl_parts sample = {1, 1, "1"};
	struct buf text = BUF_INIT(UIDL_FILE_MAX), test = {0};

	m->uidl_format = conf->pop3_uidl_format;
	if (pop3_uidl_build(m->uidl_format, &sample, &test)) {
		log_event(LOGL_ERROR, "pop3.uidl bad", "pop3_uidl_format", m->uidl_format, NULL);
		m->uidl_format = NULL;
	}
	if (io_read_file(path, &text) == OK) {
		pop3_uidls_parse(buf_str(&text), &m->uidls);
	}
	buf_free(&test);
	buf_free(&text);
	free(path);
}

/* A process that served before holds this user's index, and stays confined to it. */
static enum err
open_mail(struct session *s, const struct auth_user *user, struct index_user **index)
{
	enum err e;

	if (*index)
		return index_open_again(*index, user);
	e = index_open(s->conf, user, index);
	return e ? e : confine(s->conf, *index);
}

static enum err
warm(const struct config *conf)
{
	(void)conf;
	index_client_warm();
	return OK;
}

static int
run(struct session *s)
{
	struct auth_user user = {0};
	struct index_user *index = s->kept;
	struct pop3_maildrop drop = {.lock = -1};
	struct pop3_totals totals = {0};
	char ip[NET_ADDR_TEXT];
	enum err e = auth_redeem(s->conf, s->info.token, "pop3", s->info.id, &user);

	s->kept = NULL;
	e = e ? e : open_mail(s, &user, &index);
	e = e ? e : pop3_maildrop_open(index, &drop);
	e = e ? e : pop3_maildrop_log_in(&drop, s->conf->pop3_login_delay);
	net_addr_format_ip(&s->info.peer, ip);
	if (e) {
		log_event(LOGL_WARN, "pop3.login failed", "user", s->info.user, "ip", ip, "reason",
			err_word(e), NULL);
		stream_write_cstr(s->client, refusal(e));
		stream_flush(s->client);
	} else {
		log_event(LOGL_INFO, "pop3.login ok", "user", user.name, "ip", ip, "tls",
			s->info.tls ? "yes" : "no", "messages", log_u64(drop.count), NULL);
		load_uidls(s->conf, user.home, &drop);
		session_report(s, user.name, "");
		stream_write_cstr(s->client, "+OK Logged in.\r\n");
		pop3_session_serve(s, &drop, &totals);
		log_out(s, user.name, &totals);
	}
	pop3_maildrop_close(&drop);
	auth_user_free(&user);
	if (totals.quit) {
		s->kept = index;
		return SESSION_AGAIN;
	}
	index_close(&index);
	return 0;
}

static void
release(struct session *s)
{
	struct index_user *index = s->kept;

	s->kept = NULL;
	index_close(&index);
}

/* The warm parent; each child narrows it to one user. */
static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow_path(sb, conf->mail_dir, SANDBOX_READ | SANDBOX_WRITE);
	if (*conf->index_dir != '\0') {
		sandbox_allow_path(sb, conf->index_dir, SANDBOX_READ | SANDBOX_WRITE);
	}
	sandbox_allow(sb, SANDBOX_CAN_FORK);
}

static const struct session_program program = {
	.name = "pop3",
	.tracer = &trace_pop3,
	.handover = "pop3",
	.warm = warm,
	.sandbox = sandbox,
	.run = run,
	.release = release,
};

int
main(int argc, char **argv)
{
	return session_main(&program, argc, argv);
}
