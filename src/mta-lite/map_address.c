/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "mta-lite/address_split.h"
#include "mta-lite/map.h"
#include "mta-lite/map_private.h"

const enum map_key map_keys_access[] = {MAP_KEY_ADDRESS, MAP_KEY_PLAIN, MAP_KEY_DOMAIN,
	MAP_KEY_PARENTS, MAP_KEY_USER_EXT_AT, MAP_KEY_USER_AT, MAP_KEYS_END};
const enum map_key map_keys_rewrite[] = {MAP_KEY_ADDRESS, MAP_KEY_PLAIN, MAP_KEY_LOCAL_EXT,
	MAP_KEY_LOCAL, MAP_KEY_AT_DOMAIN, MAP_KEYS_END};
const enum map_key map_keys_transport[] = {MAP_KEY_ADDRESS, MAP_KEY_PLAIN, MAP_KEY_DOMAIN,
	MAP_KEY_DOT_PARENTS, MAP_KEY_ANY, MAP_KEYS_END};
const enum map_key map_keys_domain[] = {MAP_KEY_DOMAIN, MAP_KEY_PARENTS, MAP_KEYS_END};

/* An address in pieces, and the key under construction. */
struct search {
	const struct map_list *list;
	struct str address, user, extension, domain; /* extension with its delimiter */
	int has_at;
	struct buf key, *value;
};

static void
take_apart(struct search *s, const struct map_address *a)
{
	size_t at = a->address.len, cut;

	s->address = a->address;
	while (at > 0 && a->address.p[at - 1] != '@')
		at--;
	s->has_at = at > 0;
	s->user = s->has_at ? str_make(a->address.p, at - 1) : str_make(NULL, 0);
	s->domain = str_make(a->address.p + at, a->address.len - at);
	if (!s->has_at && a->local) {
		s->user = a->address;
		s->domain = str_make(NULL, 0);
	}
	cut = address_extension_start(s->user, a->delimiter);
	if (cut == s->user.len)
		return;
	s->extension = str_make(s->user.p + cut, s->user.len - cut);
	s->user.len = cut;
}

/* The whole key is asked of every table, a part of one only of those that hold keys. */
static enum err
ask(struct search *s, int whole)
{
	size_t i;

	if (s->key.err)
		return E_NOTFOUND;
	for (i = 0; i < s->list->count; i++) {
		struct map *m = s->list->items[i];
		enum err e = whole || !m->type->pattern ? map_find(m, buf_str(&s->key), s->value)
							: E_NOTFOUND;

		if (e != E_NOTFOUND)
			return e;
	}
	return E_NOTFOUND;
}

static enum err
ask_pieces(struct search *s, struct str first, struct str second, const char *middle,
	struct str last, int whole)
{
	buf_reset(&s->key);
	buf_add_str(&s->key, first);
	buf_add_str(&s->key, second);
	buf_add_cstr(&s->key, middle);
	buf_add_str(&s->key, last);
	return ask(s, whole);
}

static enum err
ask_parents(struct search *s, const char *before)
{
	struct str name = s->domain, none = {NULL, 0};

	/* Not those of an address literal. */
	if (name.len > 0 && name.p[0] == '[')
		return E_NOTFOUND;
	for (;;) {
		size_t dot = str_find(name, 0, '.');
		enum err e;

		if (dot + 1 >= name.len)
			return E_NOTFOUND;
		name = str_make(name.p + dot + 1, name.len - dot - 1);
		e = ask_pieces(s, none, none, before, name, 0);
		if (e != E_NOTFOUND)
			return e;
	}
}

static enum err
ask_key(struct search *s, enum map_key key, int local)
{
	struct str none = {NULL, 0};
	int ext = s->extension.len > 0;

	switch (key) {
	case MAP_KEY_ADDRESS:
		return s->has_at || local ? ask_pieces(s, s->address, none, "", none, 1)
					  : E_NOTFOUND;
	case MAP_KEY_PLAIN:
		return s->has_at && ext ? ask_pieces(s, s->user, none, "@", s->domain, 0)
					: E_NOTFOUND;
	case MAP_KEY_LOCAL_EXT:
		return local && ext ? ask_pieces(s, s->user, s->extension, "", none, 0)
				    : E_NOTFOUND;
	case MAP_KEY_LOCAL:
		return local ? ask_pieces(s, s->user, none, "", none, 0) : E_NOTFOUND;
	case MAP_KEY_USER_EXT_AT:
		return s->has_at && ext ? ask_pieces(s, s->user, s->extension, "@", none, 0)
					: E_NOTFOUND;
	case MAP_KEY_USER_AT:
		return s->has_at ? ask_pieces(s, s->user, none, "@", none, 0) : E_NOTFOUND;
	case MAP_KEY_AT_DOMAIN:
		return s->has_at ? ask_pieces(s, none, none, "@", s->domain, 0) : E_NOTFOUND;
	case MAP_KEY_DOMAIN:
		return s->domain.len > 0 ? ask_pieces(s, none, none, "", s->domain, !s->has_at)
					 : E_NOTFOUND;
	case MAP_KEY_PARENTS:
		return ask_parents(s, "");
	case MAP_KEY_DOT_PARENTS:
		return ask_parents(s, ".");
	case MAP_KEY_ANY:
		return ask_pieces(s, none, none, "*", none, 0);
	case MAP_KEYS_END:
		break;
	}
	return E_NOTFOUND;
}

/* Keys in which an extension of the address is not found again. */
static int
leaves_extension_out(enum map_key key)
{
	return key == MAP_KEY_PLAIN || key == MAP_KEY_LOCAL || key == MAP_KEY_USER_AT ||
	       key == MAP_KEY_AT_DOMAIN;
}

enum err
map_find_address(const struct map_list *l, const struct map_address *a, const enum map_key *keys,
	struct buf *value, struct str *extension)
{
	struct search s = {.list = l, .key = BUF_INIT(MAP_KEY_MAX), .value = value};
	enum err e = E_NOTFOUND;
	size_t i;

	take_apart(&s, a);
	if (extension)
		*extension = str_make(NULL, 0);
	for (i = 0; keys[i] != MAP_KEYS_END && e == E_NOTFOUND; i++) {
		e = ask_key(&s, keys[i], a->local);
		if (e == OK && extension && leaves_extension_out(keys[i]))
			*extension = s.extension;
	}
	buf_free(&s.key);
	return e;
}

enum err
map_find_ip(const struct map_list *l, struct str ip, struct buf *value)
{
	struct search s = {.list = l, .key = BUF_INIT(MAP_KEY_MAX), .value = value};
	struct str none = {NULL, 0};
	char sep = str_find(ip, 0, ':') < ip.len ? ':' : '.';
	enum err e = ask_pieces(&s, ip, none, "", none, 1);

	while (e == E_NOTFOUND) {
		size_t cut = ip.len;

		while (cut > 0 && ip.p[cut - 1] != sep)
			cut--;
		if (cut <= 1)
			break;
		ip.len = cut - 1;
		if (ip.p[ip.len - 1] != sep) /* "2001:db8::" is not cut in its gap */
			e = ask_pieces(&s, ip, none, "", none, 0);
	}
	buf_free(&s.key);
	return e;
}
