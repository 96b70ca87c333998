/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MAP_H
#define ROOST_MTA_MAP_H

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/sandbox.h"
#include "lib/str.h"

/*
 * Tables "type:name" (roost-tables(5)). One module for whoever looks something up: restrictions,
 * rewriting, routing, delivery.
 *
 * The warm parent of a session, or a service in its `start`, makes one `struct maps` and opens all
 * tables that the settings name, as root and before the sandbox; maps_sandbox then keeps what they
 * need reachable. Its children and the loop look up. Files are read again when they have changed;
 * connections to databases and servers are made in the process that asks, at its first question.
 */
struct maps; /* all tables of a process */
struct map; /* one of them; owned by its maps */

struct maps *maps_create(const struct config *conf);
void maps_free(struct maps **m);
/*
 * The table with this name; the same one for the same name. E_PARSE: the name makes no sense, *why
 * (if not NULL) says so. A file that cannot be read is no error here: it is logged, and look-ups
 * are E_TEMPFAIL until it can.
 */
enum err maps_get(struct maps *m, struct str name, struct map **out, struct buf *why);
/* What the opened tables need: directories of files, connections. */
void maps_sandbox(const struct maps *m, struct sandbox *sb);
/* Reads again what has changed. For a warm parent before it forks: its children share the result.
 */
void maps_refresh(struct maps *m);

/* A longer key is in no table; for tables of patterns there is no bound. */
enum { MAP_KEY_MAX = 1024, MAP_VALUE_MAX = 64 * 1024 };

/*
 * OK: *value has what is found for key. E_NOTFOUND: the table was asked and has nothing.
 * E_TEMPFAIL: nobody knows; never treat it as E_NOTFOUND. *value is emptied first.
 */
enum err map_find(struct map *m, struct str key, struct buf *value);
/* The name as it was opened. Borrowed. */
const char *map_name(const struct map *m);

/* Several tables; the first that has something answers. */
struct map_list {
	struct map **items;
	size_t count;
};
/* Names separated by blanks or commas. Errors as maps_get; *out is empty then. */
enum err map_list_parse(
	struct maps *m, const struct conf_list *names, struct map_list *out, struct buf *why);
/* The same for the setting of this name, with what is wrong in the log. */
enum err map_list_open(
	struct maps *m, const char *setting, const struct conf_list *names, struct map_list *out);
void map_list_free(struct map_list *l);
/* As map_find. A table that fails ends the search. */
enum err map_list_find(const struct map_list *l, struct str key, struct buf *value);

/*
 * Keys made of an address user+extension@domain, in the order in which they are tried. Tables of
 * patterns and of networks are asked for the whole address alone (pcre_table(5) and the like).
 */
enum map_key {
	MAP_KEYS_END,
	MAP_KEY_ADDRESS, /* user+extension@domain */
	MAP_KEY_PLAIN, /* user@domain */
	MAP_KEY_LOCAL_EXT, /* user+extension; only for an address of a local domain */
	MAP_KEY_LOCAL, /* user; the same */
	MAP_KEY_USER_EXT_AT, /* user+extension@ */
	MAP_KEY_USER_AT, /* user@ */
	MAP_KEY_AT_DOMAIN, /* @domain */
	MAP_KEY_DOMAIN, /* domain */
	MAP_KEY_PARENTS, /* parent domains, longest first */
	MAP_KEY_DOT_PARENTS, /* the same, with a dot before */
	MAP_KEY_ANY, /* "*" */
};
extern const enum map_key map_keys_access[]; /* access(5) */
extern const enum map_key map_keys_rewrite[]; /* virtual(5), canonical(5), relocated(5) */
extern const enum map_key map_keys_transport[]; /* transport(5) */
extern const enum map_key map_keys_domain[]; /* a host or domain name in access(5) */

struct map_address {
	struct str address; /* or a domain alone */
	char delimiter; /* recipient_delimiter; 0: extensions are not looked at */
	int local; /* its domain is one of this machine: MAP_KEY_LOCAL counts */
};
/*
 * *extension: NULL, or gets the "+extension" that the matching key left out (borrowed from
 * a->address; empty if none). Results as map_find.
 */
enum err map_find_address(const struct map_list *l, const struct map_address *a,
	const enum map_key *keys, struct buf *value, struct str *extension);
/* An IP address in access(5): the whole, then ever shorter networks at "." or ":". */
enum err map_find_ip(const struct map_list *l, struct str ip, struct buf *value);

#endif
