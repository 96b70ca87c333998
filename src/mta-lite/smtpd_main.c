/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include <stdlib.h>
#include <time.h>

#include "mail/date.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/smtpd_dnsbl.h"
#include "mta-lite/smtpd_filter.h"
#include "mta-lite/smtpd_limit.h"
#include "mta-lite/smtpd_rules.h"
#include "trace/trace.h"

static enum err
smtpd_warm(const struct config *conf)
{
	/* Looked up while files can still be read. */
	(void)smtp_hostname(conf);
	(void)date_local_zone(time(NULL));
	if (smtpd_rules_open(conf))
		return E_IO;
	if (smtpd_dnsbl_open(conf))
		return E_IO;
	if (smtpd_limit_open(conf))
		return E_IO;
	return queue_store_init(conf);
}

static enum err
smtpd_check(const struct config *conf)
{
	enum err e = smtpd_rules_open(conf), e2 = smtpd_dnsbl_open(conf);

	return e ? e : e2;
}

/* Create-only, and only where new mail goes: the rest of the queue is out of reach. */
static void
smtpd_sandbox(const struct config *conf, struct sandbox *sb)
{
	char *incoming = queue_dir_path(conf, QUEUE_INCOMING);

	sandbox_allow_path(sb, incoming, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow(sb, SANDBOX_CAN_FORK);
	smtpd_rules_sandbox(conf, sb);
	smtpd_filter_sandbox(conf, sb);
	smtpd_limit_sandbox(conf, sb);
	free(incoming);
}

static const char *const smtpd_accept[] = {"sendmail", NULL};

static const struct session_program smtpd_program = {
	.name = "smtpd",
	.tracer = &trace_smtp,
	.handover = "smtpd",
	.accept = smtpd_accept,
	.warm = smtpd_warm,
	.check = smtpd_check,
	.sandbox = smtpd_sandbox,
	.refresh = smtpd_rules_refresh,
	.same_host = 1,
	.run = smtpd_run,
	.release = smtpd_release,
};

int
main(int argc, char **argv)
{
	return session_main(&smtpd_program, argc, argv);
}
