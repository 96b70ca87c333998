/* SPDX-License-Identifier: MIT */
#include "auth/access.h"

#include <string.h>

/* The next word of a list; 0: there is none. */
static int
next_word(struct str *rest, struct str *word)
{
	static const char between[] = " ,\t\r\n";
	size_t len = 0;

	while (rest->len > 0 && strchr(between, rest->p[0]))
		*rest = str_make(rest->p + 1, rest->len - 1);
	while (len < rest->len && !strchr(between, rest->p[len]))
		len++;
	*word = str_make(rest->p, len);
	*rest = str_make(rest->p + len, rest->len - len);
	return len > 0;
}

static int
is_empty(const char *list)
{
	struct str rest = str_of(list ? list : ""), word;

	return !next_word(&rest, &word);
}

int
access_service_allowed(const char *list, const char *service)
{
	struct str rest = str_of(list ? list : ""), word;

	if (is_empty(list))
		return 1;
	while (next_word(&rest, &word))
		if (str_is_i(word, service))
			return 1;
	return 0;
}

int
access_network_allowed(const char *list, const struct net_addr *addr)
{
	struct str rest = str_of(list ? list : ""), word;
	struct net_cidr net;

	if (is_empty(list))
		return 1;
	if (addr->len == 0)
		return 0;
	while (next_word(&rest, &word))
		if (!net_cidr_parse(word, &net) && net_cidr_match(&net, addr))
			return 1;
	return 0;
}

static int
is_service(struct str word)
{
	return str_is_i(word, "imap") || str_is_i(word, "pop3") || str_is_i(word, "smtp");
}

static int
is_network(struct str word)
{
	struct net_cidr net;

	return net_cidr_parse(word, &net) == OK;
}

static enum err
normalise(const char *list, int (*is_good)(struct str word), struct buf *out, struct str *bad)
{
	struct str rest = str_of(list), word;

	buf_reset(out);
	while (next_word(&rest, &word)) {
		if (!is_good(word)) {
			*bad = word;
			return E_PARSE;
		}
		if (out->len > 0)
			buf_add_char(out, ' ');
		for (size_t i = 0; i < word.len; i++)
			buf_add_char(out, str_lower(word.p[i]));
		if (out->len > ACCESS_LIST_MAX)
			return E_TOOBIG;
	}
	return OK;
}

enum err
access_services_normalise(const char *list, struct buf *out, struct str *bad)
{
	return normalise(list, is_service, out, bad);
}

enum err
access_networks_normalise(const char *list, struct buf *out, struct str *bad)
{
	return normalise(list, is_network, out, bad);
}
