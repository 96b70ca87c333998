/* SPDX-License-Identifier: MIT */
#include "imap/login.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "auth/moved.h"
#include "imap/imap.h"
#include "imap/sleep.h"
#include "index/fts/fts_client.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/sandbox.h"

enum {
	EXIT_REFUSED = 1,
	/* A client that logs in while roost-index is being started again waits a little. */
	OPEN_WAIT_MS = 5000,
	OPEN_RETRY_US = 100 * 1000,
};

/* iconv(3) loads its tables from here when it first sees a charset. */
static const char charset_path[] = "/usr/lib";

enum err
imap_login_warm(const struct config *conf)
{
	(void)conf;
	index_client_warm();
	/* The zone of INTERNALDATE, whose file is out of reach later. */
	tzset();
	return OK;
}

void
imap_login_sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow_path(sb, conf->mail_dir, SANDBOX_READ | SANDBOX_WRITE);
	if (conf->index_dir[0])
		sandbox_allow_path(sb, conf->index_dir, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow_path(sb, charset_path, SANDBOX_READ);
}

/* What a session leaves for the next of its user in this process. */
struct kept {
	struct index_user *index;
	int auth; /* the connection of auth_redeem_on, or -1 */
};

static void
kept_free(struct kept **k)
{
	if (!*k)
		return;
	index_close(&(*k)->index);
	io_close(&(*k)->auth);
	MEM_FREE(*k);
}

/* What a client whose session slept is told. is_closed: auth does not take it. */
static void
refuse_sleeper(struct session *s, const struct auth_user *user, int is_closed)
{
	struct buf text = {0};

	/* RFC 2221 section 4: it has shown who it is, and may know where to go on. */
	if (user->moved_to && user->moved_to[0])
		moved_imap_put(str_of(user->name), NULL, str_of(user->moved_to), &text);
	else
		(void)buf_add_cstr(&text,
			is_closed ? "This account is closed"
				  : "[UNAVAILABLE] Your mail is not available at the moment");
	imap_sleep_refuse(s, buf_cstr(&text));
	buf_free(&text);
}

/*
 * Answers the log-in command with what went wrong, and says goodbye. Never AUTHENTICATIONFAILED:
 * the password was good, or the client would not be here.
 */
static int
refuse(struct session *s, enum err e, const struct auth_user *user, int is_closed)
{
	static const char text[] = "Your mail is not available at the moment, try again";

	log_event(LOGL_WARN, "imap.login failed", "user", s->info.user, "error", err_word(e), NULL);
	if (imap_sleep_is_wake(s)) {
		refuse_sleeper(s, user, is_closed);
		return EXIT_REFUSED;
	}
	(void)stream_printf(s->client, "%s NO [UNAVAILABLE] %s\r\n* BYE %s\r\n",
		s->info.tag && s->info.tag[0] ? s->info.tag : "*", text, text);
	(void)stream_flush(s->client);
	return EXIT_REFUSED;
}

static enum err
confine(const struct config *conf, const struct index_user *index)
{
	struct sandbox *sb = sandbox_create();
	char *auth = conf_run_path(conf, "auth-session");
	char *proxy = conf_run_path(conf, "proxy-return");
	enum err e;

	index_sandbox_allow(index, sb);
	fts_client_sandbox_allow(conf, sb);
	/* For the token of this user's next session. */
	sandbox_allow_path(sb, auth, SANDBOX_READ | SANDBOX_WRITE);
	free(auth);
	/* For UNAUTHENTICATE. */
	sandbox_allow_path(sb, proxy, SANDBOX_READ | SANDBOX_WRITE);
	free(proxy);
	sandbox_allow_path(sb, charset_path, SANDBOX_READ);
	e = sandbox_enter(sb);
	sandbox_free(&sb);
	/* A kernel without any means was logged; the service runs on as the others do. */
	return e == E_UNSUPPORTED ? OK : e;
}

/* One try. *again: the index was opened for an earlier session of this process. */
static enum err
mail_open_once(
	struct session *s, const struct auth_user *user, int again, struct index_user **index)
{
	return again ? index_open_again(*index, user) : index_open(s->conf, user, index);
}

static enum err
mail_open(struct session *s, const struct auth_user *user, struct index_user **index)
{
	int64_t deadline = io_now_ms() + OPEN_WAIT_MS;
	int again = *index != NULL;
	enum err e = mail_open_once(s, user, again, index);

	while (e == E_TEMPFAIL && io_now_ms() < deadline && !session_should_end(s)) {
		usleep(OPEN_RETRY_US);
		e = mail_open_once(s, user, again, index);
	}
	return e;
}

/*
 * A session that slept shows what auth gave it in the place of a token; its client has been waiting
 * for a while already, so that a short absence of auth is no reason to send it away.
 */
static enum err
identify(struct session *s, int *auth, struct auth_user *user)
{
	int64_t deadline = io_now_ms() + OPEN_WAIT_MS;
	enum err e;

	if (!imap_sleep_is_wake(s))
		return auth_redeem_on(s->conf, auth, s->info.token, "imap", s->info.id, user);
	for (;;) {
		e = auth_resume(
			s->conf, str_make(s->info.resume, s->info.resume_len), s->info.id, user);
		if (e != E_TEMPFAIL || io_now_ms() >= deadline || session_should_end(s))
			return e;
		usleep(OPEN_RETRY_US);
	}
}

int
imap_login_run(struct session *s)
{
	struct auth_user user = {0};
	struct kept *kept = s->kept;
	char ip[NET_ADDR_TEXT];
	int status, is_closed;
	enum err e;

	s->kept = NULL;
	if (!kept) {
		kept = MEM_NEW(struct kept);
		kept->auth = -1;
	}
	e = identify(s, &kept->auth, &user);
	is_closed = e == E_ACCESS || e == E_NOTFOUND || e == E_AUTH;
	if (!e) {
		int confined = kept->index != NULL;

		/* A process that served before holds this user's index, and stays confined to it.
		 */
		e = mail_open(s, &user, &kept->index);
		if (!e)
			index_share(kept->index);
		if (!e && !confined)
			e = confine(s->conf, kept->index);
	}
	if (e) {
		kept_free(&kept);
		status = refuse(s, e, &user, is_closed);
		auth_user_free(&user);
		return status;
	}
	net_addr_format_ip(&s->info.peer, ip);
	if (!imap_sleep_is_wake(s))
		log_event(LOGL_INFO, "imap.login ok", "user", user.name, "ip", ip, "tls",
			s->info.tls ? s->info.tls_text : "no", "service", s->info.service, NULL);
	status = imap_session_run(s, &user, kept->index, &kept->auth);
	if (status == SESSION_AGAIN)
		s->kept = kept;
	else
		kept_free(&kept);
	return status;
}

void
imap_login_release(struct session *s)
{
	struct kept *kept = s->kept;

	s->kept = NULL;
	kept_free(&kept);
}
