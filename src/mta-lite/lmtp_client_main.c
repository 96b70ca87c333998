/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/net.h"
#include "mta-lite/agent.h"
#include "mta-lite/ehlo.h"

/* Delivers queued mail to the mailboxes here, or to what listens on another socket. */

static struct srs *srs;

static struct smtp_client *
open_lmtp(struct agent *a, const char *path, struct smtp_answer *why)
{
	struct smtp_client *c;
	int fd;

	if (net_connect_unix(path, (int)a->conf->smtp_connect_timeout, &fd) != OK) {
		smtp_answer_set(why, QUEUE_PENDING, "4.4.1", "local delivery is not available");
		return NULL;
	}
	c = smtp_client_create(fd, smtp_hostname(a->conf), 1);
	if (smtp_client_hello(c, why) == OK)
		return c;
	smtp_client_free(&c);
	why->status = QUEUE_PENDING; /* no fault of the message */
	return NULL;
}

static void
deliver(struct agent *a, struct smtp_client **c)
{
	const char *hop = a->job.nexthop;
	char *path = hop[0] ? NULL : conf_run_path(a->conf, "lmtp");
	struct smtp_answer why = {0};
	int sent;

	if (a->job.filter)
		agent_rewrite_sender(a, srs);
	if (strncmp(hop, "unix:", 5) == 0)
		hop += 5;
	if (*c && !smtp_client_is_usable(*c))
		smtp_client_free(c);
	if (*c == NULL)
		*c = open_lmtp(a, path ? path : hop, &why);
	if (*c == NULL) {
		agent_answer_rest(a, &why);
		a->site_failed = 1;
	} else if (smtp_client_send(*c, &a->send, a->answers, &sent)) {
		smtp_client_free(c);
	}
	agent_note_mta(a, "lmtp");
	smtp_answer_free(&why);
	free(path);
}

static int
run(struct session *s)
{
	struct smtp_client *c = NULL;
	struct agent a;
	int status = 1;

	agent_open(&a, s);
	while (agent_next(&a) == OK) {
		deliver(&a, &c);
		agent_report(&a);
		status = 0;
	}
	smtp_client_free(&c);
	agent_close(&a);
	return status;
}

static enum err
warm(const struct config *conf)
{
	(void)smtp_hostname(conf);
	return srs_open(conf, &srs);
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	(void)conf;
	sandbox_allow(sb, SANDBOX_CAN_FORK);
	srs_sandbox(srs, sb);
}

static void
refresh(const struct config *conf)
{
	(void)conf;
	srs_refresh(srs);
}

static const struct session_program lmtp_client_program = {
	.name = "lmtp-client",
	.handover = "lmtp-out",
	.rests = 1,
	.warm = warm,
	.sandbox = sandbox,
	.refresh = refresh,
	.run = run,
};

int
main(int argc, char **argv)
{
	return session_main(&lmtp_client_program, argc, argv);
}
