/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/log.h"
#include "mta-lite/spf.h"

/* The input is policies, one a line; every name has one of them, which the name's length chooses.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str input;

static enum dns_verdict
txt(void *arg, const char *name, struct buf *out, size_t *n)
{
	struct str rest = input, line;
	size_t skip = strlen(name) % 5;

	(void)arg;
	do
		line = str_split(&rest, '\n');
	while (rest.p != NULL && skip-- > 0);
	line.len = str_find(line, 0, '\0');
	buf_add_str(out, line);
	buf_add_char(out, '\0');
	*n = 1;
	return DNS_FOUND;
}

static enum dns_verdict
addresses(void *arg, const char *name, int six, struct net_addr *v, size_t max, size_t *n)
{
	(void)arg;
	(void)max;
	*n = net_addr_parse(six ? STR("[2001:db8::9]:1") : STR("192.0.2.9:1"), 0, v) == OK;
	return strlen(name) % 3 ? DNS_FOUND : DNS_NO_DATA;
}

static enum dns_verdict
names(struct buf *out, size_t *n)
{
	buf_add(out, "one.example.test\0two.test", 26);
	*n = 2;
	return DNS_FOUND;
}

static enum dns_verdict
mx(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	(void)name;
	return names(out, n);
}

static enum dns_verdict
ptr(void *arg, const struct net_addr *peer, struct buf *out, size_t *n)
{
	(void)arg;
	(void)peer;
	return names(out, n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dns_source dns = {
		.txt = txt, .addresses = addresses, .mx = mx, .ptr = ptr};
	struct net_addr peer;
	struct spf_query q = {.peer = &peer,
		.helo = "helo.example.test",
		.sender = "a+b-c@example.test",
		.receiver = "mx.example.test"};
	struct spf_answer got;

	log_set_level(LOGL_ERROR);
	input = str_make((const char *)data, size);
	(void)net_addr_parse(STR("192.0.2.1:1"), 0, &peer);
	spf_check(&dns, &q, &got);
	(void)net_addr_parse(STR("[2001:db8::1]:1"), 0, &peer);
	q.sender = "";
	spf_check(&dns, &q, &got);
	return 0;
}
