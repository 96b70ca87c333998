/* SPDX-License-Identifier: MIT */
#include "mta-lite/aliases.h"

#include <stdlib.h>
#include <string.h>

#include "lib/domain_list.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/address_split.h"
#include "mta-lite/alias_files.h"

struct aliases {
	const struct config *conf;
	struct map_list tables;
	struct domain_list domains; /* local_domains */
};

static enum err
open_tables(struct aliases *a, struct maps *maps)
{
	const struct conf_list *names = &a->conf->alias_maps;
	struct conf_list opened = {mem_zalloc((names->count + 1) * sizeof(char *)), names->count};
	enum err e = OK;
	size_t i;

	for (i = 0; i < names->count; i++) {
		struct buf name = {0};

		aliases_table_name(str_of(names->items[i]), &name);
		opened.items[i] = buf_steal(&name);
		if (e == OK && aliases_table_is_refused(str_of(opened.items[i]))) {
			log_event(LOGL_ERROR, "map.setting failed", "setting", "alias_maps",
				"error", "tables of patterns cannot hold aliases", NULL);
			e = E_PARSE;
		}
	}
	if (e == OK)
		e = map_list_open(maps, "alias_maps", &opened, &a->tables);
	for (i = 0; i < opened.count; i++)
		free(opened.items[i]);
	free(opened.items);
	return e;
}

enum err
aliases_open(const struct config *conf, struct maps *maps, struct aliases **out)
{
	struct aliases *a = MEM_NEW(struct aliases);
	enum err e;
	size_t i;

	a->conf = conf;
	for (i = 0; i < conf->local_domains.count; i++)
		domain_list_add(&a->domains, "local_domains", conf->local_domains.items[i]);
	e = open_tables(a, maps);
	if (e)
		aliases_free(&a);
	*out = a;
	return e;
}

void
aliases_free(struct aliases **a)
{
	if (*a == NULL)
		return;
	map_list_free(&(*a)->tables);
	domain_list_free(&(*a)->domains);
	MEM_FREE(*a);
}

int
aliases_is_local(const struct aliases *a, struct str address)
{
	size_t at = address_domain_start(address);

	return at < address.len &&
	       domain_list_has(&a->domains, str_make(address.p + at, address.len - at));
}

/* The local part; empty if the address is none of a local domain. */
static struct str
name_of(const struct aliases *a, struct str address)
{
	if (a->tables.count == 0 || !aliases_is_local(a, address))
		return str_make(NULL, 0);
	return str_make(address.p, address_domain_start(address) - 1);
}

/* Names in a file stand there without the quotes of an address. */
static struct str
bare(struct str name, struct buf *space)
{
	size_t i;

	if (name.len < 2 || name.p[0] != '"' || name.p[name.len - 1] != '"')
		return name;
	for (i = 1; i + 1 < name.len; i++) {
		if (name.p[i] == '\\' && i + 2 < name.len)
			i++;
		buf_add_char(space, name.p[i]);
	}
	return buf_str(space);
}

/* With an extension, and *plain without it. */
static int
has_extension(const struct aliases *a, struct str name, struct str *plain)
{
	size_t cut = address_extension_start(name, a->conf->recipient_delimiter[0]);

	*plain = str_make(name.p, cut);
	return cut < name.len;
}

enum err
aliases_find(const struct aliases *a, struct str address, struct buf *value)
{
	struct buf space = {0};
	struct str name = bare(name_of(a, address), &space), plain;
	enum err e = E_NOTFOUND;

	buf_reset(value);
	if (name.len > 0)
		e = map_list_find(&a->tables, name, value);
	if (e == E_NOTFOUND && has_extension(a, name, &plain))
		e = map_list_find(&a->tables, plain, value);
	buf_free(&space);
	return e;
}

static enum err
find_owner(const struct aliases *a, struct str name, struct str domain, struct buf *owner)
{
	struct buf value = BUF_INIT(MAP_VALUE_MAX);
	enum err e;

	buf_reset(owner);
	buf_add_cstr(owner, "owner-");
	buf_add_str(owner, name);
	e = map_list_find(&a->tables, buf_str(owner), &value);
	if (e == OK)
		e = buf_printf(owner, "@%.*s", STR_ARG(domain));
	else
		buf_reset(owner);
	buf_free(&value);
	return e;
}

enum err
aliases_find_owner(const struct aliases *a, struct str address, struct buf *owner)
{
	struct str name = name_of(a, address), plain, domain;
	size_t at = address_domain_start(address);
	enum err e;

	buf_reset(owner);
	/* An owner has no owner. */
	if (name.len == 0 || str_starts_i(name, "owner-"))
		return E_NOTFOUND;
	domain = str_make(address.p + at, address.len - at);
	e = find_owner(a, name, domain, owner);
	if (e == E_NOTFOUND && has_extension(a, name, &plain))
		e = find_owner(a, plain, domain, owner);
	return e;
}
