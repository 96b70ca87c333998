/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include <openssl/ssl.h>

#include "lib/log.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/smtp_deliver.h"

/* Made once in the parent and never changed; every delivery is a child of its own. */
static struct dns *resolver;
static SSL_CTX *tls_context;

static int
run(struct session *s)
{
	char mta[DNS_NAME_SIZE];
	struct agent a;
	int status = 1;

	if (agent_open(&a, s) == OK) {
		smtp_deliver(&a, resolver, tls_context, mta);
		agent_report(&a, mta);
		status = 0;
	}
	agent_close(&a);
	return status;
}

static enum err
warm(const struct config *conf)
{
	(void)smtp_hostname(conf);
	tls_context = SSL_CTX_new(TLS_client_method());
	if (tls_context == NULL) {
		log_event(LOGL_ERROR, "smtp.start failed", "error", "no TLS context", NULL);
		return E_IO;
	}
	/* What is older than TLS 1.2 is no better than plaintext. */
	(void)SSL_CTX_set_min_proto_version(tls_context, TLS1_2_VERSION);
	SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(tls_context, SSL_MODE_AUTO_RETRY);
	return dns_open(conf, &resolver);
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	(void)conf;
	sandbox_allow(sb, SANDBOX_CAN_FORK | SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
}

static const struct session_program smtp_program = {
	.name = "smtp",
	.handover = "smtp-out",
	.warm = warm,
	.sandbox = sandbox,
	.run = run,
};

int
main(int argc, char **argv)
{
	return session_main(&smtp_program, argc, argv);
}
