/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/restrict.h"

/* A restriction list, and access actions, since any text may be one: never a crash, and a reply
 * that is one line. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct restrict_names *
names(void *arg)
{
	static const struct restrict_names none = {E_NOTFOUND, E_NOTFOUND, "unknown", "unknown"};

	(void)arg;
	return &none;
}

static enum dns_verdict
no_addresses(void *arg, const char *name, int six, struct net_addr *v, size_t max, size_t *n)
{
	(void)arg;
	(void)name;
	(void)six;
	(void)v;
	(void)max;
	*n = 0;
	return DNS_NO_NAME;
}

static enum dns_verdict
no_texts(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	(void)name;
	(void)out;
	*n = 0;
	return DNS_FAILED;
}

static enum err
kind(void *arg, const char *address, enum auth_rcpt_kind *out)
{
	(void)arg;
	(void)address;
	*out = AUTH_RCPT_REMOTE;
	return OK;
}

static enum err
may(void *arg, const char *user, const char *address)
{
	(void)arg;
	(void)user;
	(void)address;
	return E_ACCESS;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *conf = conf_defaults("/nonexistent");
	struct maps *maps = maps_create(conf);
	char *list = mem_strndup((const char *)data, size);
	struct restrict_effects effects = {0};
	struct restrict_set *set;
	struct buf reply = {0};
	struct net_addr client;
	struct restrict_facts f = {.client = &client,
		.client_ip = "192.0.2.1",
		.helo = "x",
		.sender = "a@b.example",
		.recipient = "c@d.example"};
	struct restrict_host host = {NULL, names,
		{NULL, no_addresses, no_texts, no_texts, no_texts, NULL}, kind, may, NULL, NULL};

	log_set_level(LOGL_ERROR);
	/* Files, servers and pauses are not what is tried out here. */
	if (strstr(list, "sleep") || strstr(list, "file") || strstr(list, "sql") ||
		strstr(list, "tcp") || strstr(list, "hash") || strstr(list, "btree"))
		goto out;
	(void)net_addr_parse(STR("192.0.2.1:25"), 0, &client);
	(void)conf_set(conf, "smtpd_recipient_restrictions", list, NULL);
	(void)conf_set(conf, "smtpd_relay_restrictions", list, NULL);
	set = restrict_create(conf, maps);
	if (restrict_run(set, RESTRICT_RECIPIENT, &f, &host, &effects, &reply) == RESTRICT_REJECT) {
		ROOST_ASSERT(reply.len > 4 && (reply.p[0] == '4' || reply.p[0] == '5'));
		ROOST_ASSERT(!str_has_control(buf_str(&reply)));
	}
	restrict_free(&set);
out:
	restrict_effects_free(&effects);
	buf_free(&reply);
	maps_free(&maps);
	conf_free(&conf);
	free(list);
	return 0;
}
