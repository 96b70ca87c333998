/* SPDX-License-Identifier: MIT */
#include "lib/domain_list.h"

#include <stdlib.h>

#include "lib/idn.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { NAME_SIZE = 256 }; /* RFC 1035 section 2.3.4 */

void
domain_list_add(struct domain_list *l, const char *setting, const char *word)
{
	char name[NAME_SIZE];

	if (idn_to_ascii(str_of(word), name, sizeof(name))) {
		log_event(LOGL_ERROR, "map.setting failed", "setting", setting, "value", word,
			"error", "it is no domain", NULL);
		return;
	}
	l->items = mem_realloc(l->items, l->count + 1, sizeof(*l->items));
	l->items[l->count++] = mem_strdup(name);
}

int
domain_list_has(const struct domain_list *l, struct str domain)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (str_is_i(domain, l->items[i]))
			return 1;
	}
	return 0;
}

int
domain_list_covers(const struct domain_list *l, struct str domain)
{
	while (domain.p != NULL && domain.len > 0) {
		if (domain_list_has(l, domain))
			return 1;
		(void)str_split(&domain, '.');
	}
	return 0;
}

void
domain_list_free(struct domain_list *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct domain_list){0};
}
