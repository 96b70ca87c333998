/* SPDX-License-Identifier: MIT */
#include "mta-lite/restrict_private.h"

#include <stdlib.h>

#include "lib/mem.h"

/* relay_domains and relay_recipient_maps: domains of others for which mail is taken (a backup MX).
 */

/* A word of the list names a table, else it is a domain. */
static int
is_table(const char *word)
{
	return strchr(word, ':') != NULL || word[0] == '/';
}

void
restrict_relay_open(struct restrict_set *s)
{
	const struct conf_list *list = &s->conf->relay_domains;
	struct conf_list names = {mem_zalloc((list->count + 1) * sizeof(char *)), 0};
	size_t i;

	for (i = 0; i < list->count; i++) {
		if (is_table(list->items[i]))
			names.items[names.count++] = list->items[i];
		else
			domain_list_add(&s->relay.domains, "relay_domains", list->items[i]);
	}
	restrict_tables(s, "relay_domains", &names, &s->relay.tables);
	restrict_tables(
		s, "relay_recipient_maps", &s->conf->relay_recipient_maps, &s->relay.recipients);
	free(names.items);
}

void
restrict_relay_close(struct restrict_set *s)
{
	domain_list_free(&s->relay.domains);
	map_list_free(&s->relay.tables);
	map_list_free(&s->relay.recipients);
}

enum err
restrict_relay_domain(const struct restrict_set *s, const char *address)
{
	const char *domain = restrict_domain(address);
	struct map_address key = {.address = str_of(domain)};
	struct buf value = {0};
	enum err e;

	if (domain == NULL)
		return E_NOTFOUND;
	if (domain_list_covers(&s->relay.domains, str_of(domain)))
		return OK;
	e = map_find_address(&s->relay.tables, &key, map_keys_domain, &value, NULL);
	buf_free(&value);
	return e == OK || e == E_NOTFOUND ? e : E_TEMPFAIL;
}

enum err
restrict_relay_recipient(const struct restrict_set *s, const char *address)
{
	struct map_address key = {
		.address = str_of(address), .delimiter = s->conf->recipient_delimiter[0]};
	struct buf value = {0};
	enum err e;

	if (s->relay.recipients.count == 0)
		return OK;
	e = map_find_address(&s->relay.recipients, &key, map_keys_rewrite, &value, NULL);
	buf_free(&value);
	return e == OK || e == E_NOTFOUND ? e : E_TEMPFAIL;
}
