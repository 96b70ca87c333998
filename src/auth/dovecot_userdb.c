/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/dovecot_conn.h"
#include "auth/dovecot_line.h"
#include "auth/resolve.h"
#include "auth/service.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Where users' mail lies, for delivery agents of others, as Dovecot's userdb socket tells it. Only
 * look-ups of one user: no passwords, no lists, and nothing can be changed.
 */

enum { LOOKUPS_MAX = 64 /* of a connection in the workers; the next line waits */ };

struct userdb_lookup {
	struct worker_job job;
	struct peer *peer;
	uint32_t id;
	char *name;
	enum err result;
	int has_moved;
	struct addr user;
};

static void
lookup_run(struct worker_job *job, struct directory *d)
{
	struct userdb_lookup *l = (struct userdb_lookup *)job;
	char detail[ADDR_LOCAL_MAX + 1];
	struct directory_user user;

	l->result = resolve_user(d, str_of(l->name), &user, detail);
	if (!l->result)
		l->user = user.addr;
	l->has_moved = !l->result && user.host[0];
	directory_user_free(&user);
}

/* A user who is switched off or has moved still has a place for his mail, but nothing is to get
 * there now. */
static void
answer(struct peer *p, const struct userdb_lookup *l, struct buf *b)
{
	const struct auth_service *auth = p->auth;
	char *home, *mail;

	if (l->result == E_NOTFOUND || l->result == E_PARSE) {
		buf_printf(b, "NOTFOUND\t%u", l->id);
		return;
	}
	if (l->result || l->has_moved) {
		buf_printf(b, "FAIL\t%u", l->id);
		dovecot_put(b, "reason",
			l->has_moved		? STR("This account is on another server")
			: l->result == E_ACCESS ? STR("This account is switched off")
						: STR("Temporary failure, try again later"));
		return;
	}
	home = resolve_home(auth->settings, &l->user);
	mail = mem_printf("maildir:%s/Maildir", home);
	buf_printf(b, "USER\t%u\t", l->id);
	dovecot_put_escaped(b, str_of(l->user.text));
	buf_printf(b, "\tuid=%u\tgid=%u", (unsigned)auth->mail_uid, (unsigned)auth->mail_gid);
	dovecot_put(b, "home", str_of(home));
	dovecot_put(b, "mail", str_of(mail));
	free(home);
	free(mail);
}

static void
lookup_free(struct userdb_lookup *l)
{
	peer_unref(&l->peer);
	free(l->name);
	free(l);
}

static void
lookup_done(struct worker_job *job)
{
	struct userdb_lookup *l = (struct userdb_lookup *)job;
	struct peer *p = l->peer;
	struct auth_service *auth = p->auth;
	struct buf b = {0};

	p->jobs--;
	if (p->lines) {
		answer(p, l, &b);
		dovecot_conn_send(p->lines, &b);
		dovecot_conn_pause(p->lines, 0);
	}
	lookup_free(l);
	auth_job_done(auth);
}

static enum err
on_user(struct peer *p, struct str params)
{
	struct userdb_lookup *l;
	struct buf b = {0};
	struct str rest;
	uint32_t id;

	if (dovecot_id_parse(params, &id, &rest))
		return E_PROTO;
	l = MEM_NEW(struct userdb_lookup);
	l->job.run = lookup_run;
	l->job.done = lookup_done;
	l->peer = peer_ref(p);
	l->id = id;
	l->name = str_dup(str_split(&rest, '\t'));
	p->auth->lookups++;
	if (!worker_pool_submit(p->auth->workers, &l->job)) {
		p->jobs++;
		return OK;
	}
	l->result = E_TEMPFAIL;
	answer(p, l, &b);
	dovecot_conn_send(p->lines, &b);
	lookup_free(l);
	return OK;
}

/* PASS, LIST and the like: what has an id is answered. */
static enum err
on_other(struct peer *p, struct str params)
{
	struct buf b = {0};
	struct str rest;
	uint32_t id;

	if (dovecot_id_parse(params, &id, &rest))
		return E_PROTO;
	buf_printf(&b, "FAIL\t%u", id);
	dovecot_put(&b, "reason", STR("Only USER is answered here"));
	dovecot_conn_send(p->lines, &b);
	return OK;
}

static enum err
on_line(void *arg, struct str line)
{
	struct peer *p = arg;
	struct str params = line, command = str_split(&params, '\t');
	enum err e;

	if (line.len && memchr(line.p, '\0', line.len))
		return E_PROTO;
	if (str_is(command, "VERSION")) {
		e = dovecot_version_parse(params);
		p->greeted = !e;
	} else if (!p->greeted) {
		e = E_PROTO;
	} else if (str_is(command, "CPID")) {
		e = OK;
	} else if (str_is(command, "USER")) {
		e = on_user(p, params);
	} else {
		e = on_other(p, params);
	}
	if (p->jobs >= LOOKUPS_MAX)
		dovecot_conn_pause(p->lines, 1);
	return e;
}

static void
on_close(void *arg, enum err e)
{
	struct peer *p = arg;

	if (e != E_CLOSED)
		log_event(LOGL_WARN, "auth.dovecot closed", "error", err_word(e), NULL);
	p->lines = NULL;
	p->auth->dovecot_conns--;
	peer_closed(p);
}

static const struct dovecot_conn_handler handler = {on_line, on_close};

void
dovecot_userdb_accept(struct service_run *run, int fd, const struct net_addr *from)
{
	struct auth_service *auth = service_state(run);
	struct buf b = {0};
	struct peer *p;

	(void)from;
	if (auth->dovecot_conns >= DOVECOT_CONNS_MAX) {
		log_event(LOGL_WARN, "auth.dovecot refused", "reason", "connections", NULL);
		io_close(&fd);
		return;
	}
	auth->dovecot_conns++;
	p = peer_create(auth);
	p->lines = dovecot_conn_create(service_base(run), fd, &handler, p);
	buf_printf(&b, "VERSION\t%d\t%d\nSPID\t%ld", DOVECOT_MAJOR, 1, (long)getpid());
	dovecot_conn_send(p->lines, &b);
}
