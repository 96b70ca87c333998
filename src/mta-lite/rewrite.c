/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/address_split.h"
#include "mta-lite/ehlo.h"

struct rewrite {
	const struct config *conf;
	char delimiter;
	int once; /* what a table gives is not looked up again */
	int masquerades;
	struct map_list canonical, sender_canonical, recipient_canonical, virtual_alias, relocated,
		sender_bcc, recipient_bcc;
};

enum err
rewrite_open(const struct config *conf, struct maps *maps, struct rewrite **out)
{
	struct rewrite *r = MEM_NEW(struct rewrite);
	const struct {
		const char *setting;
		const struct conf_list *names;
		struct map_list *tables;
	} all[] = {
		{"canonical_maps", &conf->canonical_maps, &r->canonical},
		{"sender_canonical_maps", &conf->sender_canonical_maps, &r->sender_canonical},
		{"recipient_canonical_maps", &conf->recipient_canonical_maps,
			&r->recipient_canonical},
		{"virtual_alias_maps", &conf->virtual_alias_maps, &r->virtual_alias},
		{"relocated_maps", &conf->relocated_maps, &r->relocated},
		{"sender_bcc_maps", &conf->sender_bcc_maps, &r->sender_bcc},
		{"recipient_bcc_maps", &conf->recipient_bcc_maps, &r->recipient_bcc},
	};
	enum err e = OK;
	size_t i;

	r->conf = conf;
	r->delimiter = conf->recipient_delimiter[0];
	r->masquerades = conf->masquerade_domains.count > 0;
	for (i = 0; e == OK && i < sizeof(all) / sizeof(all[0]); i++)
		e = map_list_open(maps, all[i].setting, all[i].names, all[i].tables);
	if (e)
		rewrite_close(&r);
	*out = r;
	return e;
}

enum err
rewrite_open_generic(const struct config *conf, struct maps *maps, struct rewrite **out)
{
	struct rewrite *r = MEM_NEW(struct rewrite);
	enum err e;

	r->conf = conf;
	r->delimiter = conf->recipient_delimiter[0];
	r->once = 1;
	e = map_list_open(maps, "smtp_generic_maps", &conf->smtp_generic_maps, &r->canonical);
	if (e)
		rewrite_close(&r);
	*out = r;
	return e;
}

void
rewrite_close(struct rewrite **r)
{
	if (*r == NULL)
		return;
	map_list_free(&(*r)->canonical);
	map_list_free(&(*r)->sender_canonical);
	map_list_free(&(*r)->recipient_canonical);
	map_list_free(&(*r)->virtual_alias);
	map_list_free(&(*r)->relocated);
	map_list_free(&(*r)->sender_bcc);
	map_list_free(&(*r)->recipient_bcc);
	MEM_FREE(*r);
}

static enum err
find(const struct rewrite *r, const struct map_list *tables, struct str address, struct buf *value,
	struct str *extension)
{
	size_t at = address_domain_start(address);
	struct map_address a = {.address = address, .delimiter = r->delimiter};

	/* generic(5): a name alone is one of this host. */
	a.local = r->once &&
		  str_is_i(str_make(address.p + at, address.len - at), smtp_hostname(r->conf));

	if (tables->count == 0)
		return E_NOTFOUND;
	return map_find_address(tables, &a, map_keys_rewrite, value, extension);
}

/*
 * What a table's word stands for: "@other" keeps the user, a word without a domain gets ours, and
 * an extension that the key left out is carried over (propagate_unmatched_extensions).
 */
static void
put_result(const struct rewrite *r, struct str word, struct str address, struct str extension,
	struct buf *out)
{
	size_t at = address_domain_start(word), own = address_domain_start(address);

	if (word.len > 0 && word.p[0] == '@') {
		buf_add(out, address.p, own > 0 && own < address.len ? own - 1 : address.len);
		buf_add_str(out, word);
		return;
	}
	if (at == word.len) {
		buf_add_str(out, word);
		buf_add_str(out, extension);
		buf_printf(out, "@%s", smtp_hostname(r->conf));
		return;
	}
	buf_add(out, word.p, at - 1);
	buf_add_str(out, extension);
	buf_add(out, word.p + at - 1, word.len - at + 1);
}

/* One table to its end: until it has nothing more, or the address itself. */
static enum err
follow(const struct rewrite *r, const struct map_list *tables, struct buf *address)
{
	struct buf value = BUF_INIT(MAP_VALUE_MAX), next = BUF_INIT(MAP_KEY_MAX);
	unsigned depth;
	enum err e = OK;

	for (depth = 0; tables->count > 0 && depth < REWRITE_DEPTH_MAX; depth++) {
		struct str extension = {NULL, 0};

		e = find(r, tables, buf_str(address), &value, &extension);
		if (e)
			break;
		buf_reset(&next);
		put_result(r, str_trim(buf_str(&value)), buf_str(address), extension, &next);
		if (next.err || str_equal_i(buf_str(&next), buf_str(address))) {
			e = next.err;
			break;
		}
		buf_reset(address);
		e = buf_add_buf(address, &next);
		if (e || r->once)
			break;
	}
	buf_free(&value);
	buf_free(&next);
	if (depth == REWRITE_DEPTH_MAX)
		return E_TOOBIG;
	return e == E_NOTFOUND ? OK : e;
}

/* host.example.com becomes example.com (masquerade_domains); "!name" in the list keeps a name. */
static void
masquerade(const struct rewrite *r, struct buf *address)
{
	const struct conf_list *list = &r->conf->masquerade_domains;
	struct str all = buf_str(address);
	size_t at = address_domain_start(all), i;
	struct str domain = str_make(all.p + at, all.len - at);

	if (!r->masquerades || at == all.len ||
		conf_list_has(&r->conf->masquerade_exceptions, str_make(all.p, at - 1)))
		return;
	for (i = 0; i < list->count; i++) {
		const char *name = list->items[i];
		int keep = name[0] == '!';
		struct str parent = str_of(name + keep);

		if (str_equal_i(domain, parent))
			return;
		if (domain.len <= parent.len || domain.p[domain.len - parent.len - 1] != '.' ||
			!str_ends_i(domain, name + keep))
			continue;
		if (!keep) {
			buf_truncate(address, at);
			buf_add_str(address, parent);
		}
		return;
	}
}

static enum err
rewrite_one(const struct rewrite *r, enum rewrite_class c, struct buf *address)
{
	enum err e = follow(
		r, c == REWRITE_SENDER ? &r->sender_canonical : &r->recipient_canonical, address);

	return e ? e : follow(r, &r->canonical, address);
}

enum err
rewrite_envelope(const struct rewrite *r, enum rewrite_class c, struct str address, struct buf *out)
{
	enum err e;

	buf_reset(out);
	e = buf_add_str(out, address);
	if (e || address.len == 0)
		return e;
	e = rewrite_one(r, c, out);
	if (e == OK && c == REWRITE_SENDER)
		masquerade(r, out);
	return e;
}

int
rewrite_changes_header(const struct rewrite *r)
{
	return r->canonical.count || r->sender_canonical.count || r->recipient_canonical.count ||
	       r->masquerades;
}

/* ---- headers ---- */

static int
header_class(struct str name, enum rewrite_class *c)
{
	static const struct {
		const char *name;
		enum rewrite_class c;
	} fields[] = {{"From", REWRITE_SENDER}, {"Sender", REWRITE_SENDER},
		{"Reply-To", REWRITE_SENDER}, {"To", REWRITE_RECIPIENT}, {"Cc", REWRITE_RECIPIENT},
		{"Bcc", REWRITE_RECIPIENT}};
	size_t i;

	if (str_starts_i(name, "Resent-"))
		name = str_make(name.p + 7, name.len - 7);
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (str_is_i(name, fields[i].name)) {
			*c = fields[i].c;
			return 1;
		}
	}
	return 0;
}

static enum err
rewrite_value(const struct rewrite *r, enum rewrite_class c, struct str value, struct buf *out)
{
	struct buf address = BUF_INIT(MAP_KEY_MAX);
	struct rewrite_span span;
	size_t pos = 0, copied = 0;
	enum err e = OK;

	buf_reset(out);
	while (e == OK && rewrite_next_address(value, &pos, &span)) {
		buf_add(out, value.p + copied, span.offset - copied);
		buf_reset(&address);
		buf_add(&address, value.p + span.offset, span.len);
		/* One that is too long for a table is in none. */
		if (address.err == OK && address_domain_start(buf_str(&address)) < address.len) {
			e = rewrite_one(r, c, &address);
			if (e == OK)
				masquerade(r, &address);
			buf_add_buf(out, &address);
		} else {
			buf_add(out, value.p + span.offset, span.len);
		}
		copied = span.offset + span.len;
	}
	buf_add(out, value.p + copied, value.len - copied);
	buf_free(&address);
	return e ? e : out->err;
}

enum err
rewrite_header(const struct rewrite *r, struct content *c)
{
	struct buf value = BUF_INIT(CONTENT_HEADER_MAX);
	enum rewrite_class class;
	enum err e = OK;
	size_t i;

	for (i = 0; e == OK && i < content_field_count(c); i++) {
		if (!header_class(content_field_name(c, i), &class))
			continue;
		e = rewrite_value(r, class, content_field_value(c, i), &value);
		if (e == OK && !str_equal(buf_str(&value), content_field_value(c, i)))
			e = content_set_value(c, i, buf_str(&value));
	}
	buf_free(&value);
	return e;
}

/* ---- recipients ---- */

void
rewrite_list_free(struct rewrite_list *l)
{
	buf_free(&l->text);
	l->count = 0;
}

static enum err
push(struct rewrite_list *l, struct str address)
{
	size_t off;

	for (off = 0; off < l->text.len; off += strlen(l->text.p + off) + 1) {
		if (str_is_i(address, l->text.p + off))
			return OK;
	}
	if (l->count >= REWRITE_ADDRESSES_MAX)
		return E_TOOBIG;
	buf_add_str(&l->text, address);
	buf_add_char(&l->text, '\0');
	l->count++;
	return OK;
}

/* OK: something was found, and its ends are in *out. */
static enum err
expand(const struct rewrite *r, struct str address, unsigned depth, struct rewrite_list *out)
{
	struct buf value = BUF_INIT(MAP_VALUE_MAX), target = BUF_INIT(MAP_KEY_MAX);
	struct str extension = {NULL, 0}, rest;
	enum err e;

	if (depth > REWRITE_DEPTH_MAX)
		return E_TOOBIG;
	e = find(r, &r->virtual_alias, address, &value, &extension);
	rest = buf_str(&value);
	while (e == OK && rest.p != NULL) {
		struct str word = str_trim(str_split(&rest, ','));
		enum err found;

		if (word.len == 0)
			continue;
		buf_reset(&target);
		put_result(r, word, address, extension, &target);
		if (target.err) {
			e = target.err;
		} else if (str_equal_i(buf_str(&target), address)) {
			/* An alias that names itself, too, ends there. */
			e = push(out, address);
		} else {
			found = expand(r, buf_str(&target), depth + 1, out);
			e = found == E_NOTFOUND ? push(out, buf_str(&target)) : found;
		}
	}
	buf_free(&value);
	buf_free(&target);
	return e;
}

enum err
rewrite_virtual(const struct rewrite *r, struct str address, struct rewrite_list *out)
{
	enum err e;

	memset(out, 0, sizeof(*out));
	e = expand(r, address, 0, out);
	if (e)
		rewrite_list_free(out);
	return e;
}

enum err
rewrite_relocated(const struct rewrite *r, struct str address, struct buf *where)
{
	return find(r, &r->relocated, address, where, NULL);
}

enum err
rewrite_bcc(const struct rewrite *r, enum rewrite_class c, struct str address, struct buf *copy)
{
	return find(
		r, c == REWRITE_SENDER ? &r->sender_bcc : &r->recipient_bcc, address, copy, NULL);
}
