/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include <stdlib.h>

#include "lib/log.h"
#include "lib/net.h"
#include "mta-lite/agent.h"
#include "mta-lite/ehlo.h"

/* Delivers queued mail to the mailboxes here. */
static void
deliver(struct agent *a)
{
	char *path = conf_run_path(a->conf, "lmtp");
	struct smtp_answer why = {0};
	struct smtp_client *c;
	int fd, sent;

	if (net_connect_unix(path, (int)a->conf->smtp_connect_timeout, &fd) == OK) {
		c = smtp_client_create(fd, smtp_hostname(a->conf), 1);
		if (smtp_client_hello(c, &why) == OK)
			(void)smtp_client_send(c, &a->send, a->answers, &sent);
		smtp_client_free(&c);
	} else {
		smtp_answer_set(&why, QUEUE_PENDING, "4.4.1", "local delivery is not available");
	}
	if (why.text) {
		why.status = QUEUE_PENDING; /* no fault of the message */
		agent_answer_all(a, &why);
	}
	smtp_answer_free(&why);
	free(path);
}

static int
run(struct session *s)
{
	struct agent a;
	int status = 1;

	if (agent_open(&a, s) == OK) {
		deliver(&a);
		agent_report(&a, "lmtp");
		status = 0;
	}
	agent_close(&a);
	return status;
}

static enum err
warm(const struct config *conf)
{
	(void)smtp_hostname(conf);
	return OK;
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	(void)conf;
	sandbox_allow(sb, SANDBOX_CAN_FORK);
}

static const struct session_program lmtp_client_program = {
	.name = "lmtp-client",
	.handover = "lmtp-out",
	.warm = warm,
	.sandbox = sandbox,
	.run = run,
};

int
main(int argc, char **argv)
{
	return session_main(&lmtp_client_program, argc, argv);
}
