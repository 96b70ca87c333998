/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <time.h>

#include "index/index_client.h"
#include "lib/session.h"
#include "lmtp/lmtp_deliver.h"
#include "lmtp/lmtp_session.h"
#include "trace/trace.h"

static enum err
warm(const struct config *conf)
{
	(void)conf;
	index_client_warm();
	tzset(); /* the zone of Received fields is read before the sandbox closes */
	return OK;
}

/* The mail of whoever a message comes for, and with it all indexes. */
static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow_path(sb, conf->mail_dir, SANDBOX_READ | SANDBOX_WRITE);
	if (*conf->index_dir != '\0') {
		sandbox_allow_path(sb, conf->index_dir, SANDBOX_READ | SANDBOX_WRITE);
	}
	sandbox_allow(sb, SANDBOX_CAN_FORK);
}

/* The users that a connection found open are good for the next one: MTAs often send one message. */
static int
run(struct session *s)
{
	struct lmtp_deliver *d = s->kept ? s->kept : lmtp_deliver_create(s, s->conf->hostname);
	int status = lmtp_session_run(s, s->conf->hostname, &lmtp_deliver_store, d);

	s->kept = NULL;
	if (status == SESSION_AGAIN)
		s->kept = d;
	else
		lmtp_deliver_free(&d);
	return status;
}

static void
release(struct session *s)
{
	struct lmtp_deliver *d = s->kept;

	s->kept = NULL;
	lmtp_deliver_free(&d);
}

/* Clients over TCP come from roost-proxy. */
static const char *const listeners[] = {"lmtp-local", NULL};

static const struct session_program program = {
	.name = "lmtp",
	.tracer = &trace_smtp,
	.handover = "lmtp-handover",
	.accept = listeners,
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
