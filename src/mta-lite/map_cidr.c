/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/net.h"
#include "mta-lite/map_rules.h"

/* cidr:FILE, networks (cidr_table(5)). */

static void *
cidr_compile(struct str *line, unsigned *groups, const char **why)
{
	struct net_cidr net, *out;
	size_t end = 0;

	while (end < line->len && !str_is_space(line->p[end]))
		end++;
	if (net_cidr_parse(str_make(line->p, end), &net) != OK) {
		*why = "no network";
		return NULL;
	}
	*line = str_make(line->p + end, line->len - end);
	*groups = 0;
	out = MEM_NEW(struct net_cidr);
	*out = net;
	return out;
}

static enum err
cidr_match(const void *pattern, struct str subject, struct map_groups *groups)
{
	const struct net_cidr *net = pattern;
	struct net_cidr host;
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	(void)groups;
	/* A bare address parses as a network of its own. */
	if (str_find(subject, 0, '/') < subject.len || net_cidr_parse(subject, &host) != OK ||
		memcmp(host.addr, net->addr, whole) != 0)
		return E_NOTFOUND;
	if (rest != 0 && ((host.addr[whole] ^ net->addr[whole]) >> (8 - rest)) != 0)
		return E_NOTFOUND;
	return OK;
}

static const struct map_pattern_type cidr_patterns = {
	.compile = cidr_compile,
	.match = cidr_match,
	.free = free,
};

static enum err
cidr_open(struct map *map, struct str argument, struct buf *why)
{
	return map_rules_open(map, &cidr_patterns, argument, why);
}

const struct map_type map_type_cidr = {
	.name = "cidr",
	.pattern = 1,
	.open = cidr_open,
	.find = map_rules_file_find,
	.refresh = map_rules_refresh,
	.sandbox = map_rules_sandbox,
	.close = map_rules_close,
};
