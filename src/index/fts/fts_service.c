/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_service.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "index/fts/fts_extract.h"
#include "index/fts/fts_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { OPEN_BODY_MAX = 64 * 1024, FEED_BODY_MAX = 64 * 1024, GAUGES_S = 2 };

void
fts_place_put(const struct fts_place *place, struct buf *out)
{
	ipc_put_cstr(out, place->user);
	ipc_put_cstr(out, place->maildir);
	ipc_put_cstr(out, place->index_dir);
}

static void
on_gone(struct ipc_conn *c, enum err e, void *arg)
{
	(void)c;
	(void)e;
	(void)arg;
}

/* ---- sessions: the first frame says whose process is to answer ---- */

static void
on_open(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct fts *fts = arg;
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	char *user = ipc_get_dup(&r);
	struct str ticket = ipc_get_str(&r);
	struct buf readahead = {0};

	if (m->type != FTS_OPEN || ipc_reader_end(&r) || !user[0]) {
		log_event(LOGL_WARN, "fts.client bad", "frame", log_u64(m->type), NULL);
		ipc_conn_free(&c);
	} else {
		int fd = ipc_conn_detach(c, &readahead);

		/* Nobody asks before the answer to OPEN. */
		fts_answer_client(fts_user_get(fts, user), fd, m->request, ticket);
	}
	buf_free(&readahead);
	free(user);
}

static void
on_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_open, on_gone};

	(void)peer;
	ipc_conn_create(service_base(run), fd, OPEN_BODY_MAX, &handler, service_state(run));
}

/* ---- roost-index ---- */

static void
on_feed(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct fts *fts = arg;
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	char *user = ipc_get_dup(&r), *maildir = ipc_get_dup(&r), *index_dir = ipc_get_dup(&r);

	(void)c;
	if (m->type == FTS_CHANGED && !ipc_reader_end(&r) && user[0]) {
		struct fts_user *u = fts_user_get(fts, user);

		fts_user_place(u, maildir, index_dir);
		fts_user_changed(u, (int)service_conf(fts->run)->fts_delay);
	} else {
		log_event(LOGL_WARN, "fts.feed bad", "frame", log_u64(m->type), NULL);
	}
	free(user);
	free(maildir);
	free(index_dir);
}

static void
feed_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_feed, on_gone};

	(void)peer;
	ipc_conn_create(service_base(run), fd, FEED_BODY_MAX, &handler, service_state(run));
}

/* ---- the service ---- */

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	fts_pump(arg);
}

static void
on_gauges(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	fts_gauges_set(arg);
}

static enum err
start(struct service_run *run)
{
	const struct timeval gauges_every = {GAUGES_S, 0};
	struct fts *fts = MEM_NEW(struct fts);

	fts->run = run;
	fts_extract_look();
	TAILQ_INIT(&fts->users);
	TAILQ_INIT(&fts->queue);
	fts->pump = evtimer_new(service_base(run), on_pump, fts);
	fts->gauges = event_new(service_base(run), -1, EV_PERSIST, on_gauges, fts);
	event_add(fts->gauges, &gauges_every);
	service_set_state(run, fts);
	return OK;
}

/* What any of its processes may touch; each narrows it to its user. */
static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	char *index_socket = conf_run_path(conf, "index");

	sandbox_allow(sb, SANDBOX_CAN_FORK);
	(void)io_mkdir_parents(conf->mail_dir, 0700);
	sandbox_allow_path(sb, conf->mail_dir, SANDBOX_READ | SANDBOX_WRITE);
	if (conf->index_dir[0]) {
		(void)io_mkdir_parents(conf->index_dir, 0700);
		sandbox_allow_path(sb, conf->index_dir, SANDBOX_READ | SANDBOX_WRITE);
	}
	sandbox_allow_path(sb, index_socket, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow_path(sb, "/usr/lib", SANDBOX_READ);
	fts_extract_sandbox(sb);
	free(index_socket);
}

/* What is not committed is done again: nothing has to be waited for. */
static void
drain(struct service_run *run)
{
	fts_users_stop(service_state(run));
	service_exit(run, 0);
}

static void
stop(struct service_run *run)
{
	struct fts *fts = service_state(run);

	fts_users_stop(fts);
	event_free(fts->pump);
	event_free(fts->gauges);
	free(fts);
	service_set_state(run, NULL);
}

static const struct service_listener listeners[] = {
	{"fts", on_accept}, {"fts-feed", feed_accept}, {NULL, NULL}};

const struct service fts_service = {
	.name = "fts",
	.listeners = listeners,
	.ctl = fts_ctl_verbs,
	.start = start,
	.sandbox = sandbox,
	.drain = drain,
	.stop = stop,
	.status = fts_status,
};
