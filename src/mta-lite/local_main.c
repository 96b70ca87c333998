/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include "mta-lite/ehlo.h"
#include "mta-lite/local_deliver.h"
#include "mta-lite/queue_store.h"

static struct local shared;

static int
run(struct session *s)
{
	struct local l = shared;
	struct agent a;
	int status = 1;

	l.lookup.auth = auth_client_create(s->conf);
	agent_open(&a, s);
	while (agent_next(&a) == OK) {
		local_deliver(&l, &a);
		status = 0;
	}
	agent_close(&a);
	auth_client_free(&l.lookup.auth);
	return status;
}

static enum err
warm(const struct config *conf)
{
	enum err e = local_open(conf, &shared);

	(void)smtp_hostname(conf);
	return e ? e : queue_store_init(conf);
}

static enum err
check(const struct config *conf)
{
	return local_open(conf, &shared);
}

/* Only where new mail goes of the queue; and lists of addresses wherever they lie. */
static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	char *incoming = queue_dir_path(conf, QUEUE_INCOMING);

	sandbox_allow_path(sb, incoming, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow_path(sb, "/", SANDBOX_READ);
	sandbox_allow(sb, SANDBOX_CAN_FORK);
	maps_sandbox(shared.maps, sb);
	srs_sandbox(shared.srs, sb);
	free(incoming);
}

static void
refresh(const struct config *conf)
{
	(void)conf;
	maps_refresh(shared.maps);
	srs_refresh(shared.srs);
}

static const struct session_program local_program = {
	.name = "local",
	.handover = "local-out",
	.rests = 1,
	.warm = warm,
	.check = check,
	.sandbox = sandbox,
	.refresh = refresh,
	.run = run,
};

int
main(int argc, char **argv)
{
	return session_main(&local_program, argc, argv);
}
