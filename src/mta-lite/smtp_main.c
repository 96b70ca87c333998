/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include "mta-lite/ehlo.h"
#include "mta-lite/smtp_deliver.h"

static struct smtp_out shared;

static int
run(struct session *s)
{
	struct smtp_out out = shared;
	struct smtp_session session = {.out = &out};
	struct agent a;
	int status = 1;

	out.conf = s->conf;
	agent_open(&a, s);
	while (agent_next(&a) == OK) {
		smtp_deliver(&session, &a);
		smtp_session_notice(&session, &a);
		agent_report(&a);
		status = 0;
	}
	smtp_session_close(&session);
	transcript_reset(&session.transcript);
	agent_close(&a);
	return status;
}

static enum err
warm(const struct config *conf)
{
	(void)smtp_hostname(conf);
	return smtp_out_open(conf, &shared);
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow(sb, SANDBOX_CAN_FORK | SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
	if (conf->smtp_bind_address[0] || conf->smtp_bind_address6[0])
		sandbox_allow(sb, SANDBOX_CAN_BIND_SOURCE);
	maps_sandbox(shared.maps, sb);
	srs_sandbox(shared.srs, sb);
}

static void
refresh(const struct config *conf)
{
	(void)conf;
	maps_refresh(shared.maps);
	srs_refresh(shared.srs);
}

static const struct session_program smtp_program = {
	.name = "smtp",
	.handover = "smtp-out",
	.rests = 1,
	.warm = warm,
	.check = warm,
	.sandbox = sandbox,
	.refresh = refresh,
	.run = run,
};

int
main(int argc, char **argv)
{
	return session_main(&smtp_program, argc, argv);
}
