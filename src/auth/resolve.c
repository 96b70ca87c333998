/* SPDX-License-Identifier: MIT */
#include "auth/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "auth/lru.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* What stands behind one address, one step on. */
struct found {
	enum auth_rcpt_kind kind;
	struct addr key; /* where the mailbox or alias was found */
	char detail[ADDR_LOCAL_MAX + 1];
	struct directory_targets targets; /* ALIAS */
};

struct resolver {
	struct directory *d;
	struct auth_rcpt *out;
	struct lru *seen; /* aliases expanded and targets found, by address */
	const char *path[RESOLVE_DEPTH_MAX + 1]; /* the aliases above, for circles */
	size_t depth, live;
	enum auth_rcpt_kind dead_kind; /* of the first target that is none */
	int64_t deadline_ms;
};

/* A list of thousands takes thousands of look-ups; the asker waits this long beyond db_timeout. */
enum { RESOLVE_EXTRA_MS = 3000 };

/* ---- one step ---- */

/*
 * The domain of *a, followed through domain aliases. OK: *a is in a domain of ours; E_NOTFOUND:
 * remote; E_STATE: a circle.
 */
static enum err
domain_resolve(struct directory *d, struct addr *a, int *active)
{
	char target[ADDR_DOMAIN_MAX + 1];

	for (size_t hops = 0; hops <= RESOLVE_DEPTH_MAX; hops++) {
		enum err e = directory_domain_find(d, a->domain, active);

		if (e != E_NOTFOUND)
			return e;
		e = directory_domain_alias_find(d, a->domain, target);
		if (e)
			return e;
		addr_set_domain(a, target);
	}
	return E_STATE;
}

/* Steps 2 and 3. E_NOTFOUND: neither. */
static enum err
find_exact(struct directory *d, const struct addr *a, int skip_alias, struct found *f)
{
	struct directory_user user;
	enum err e = skip_alias ? E_NOTFOUND : directory_alias_find(d, a, &f->targets);

	f->key = *a;
	f->kind = AUTH_RCPT_ALIAS;
	if (e != E_NOTFOUND)
		return e;
	if (!addr_is_mailbox_name(a))
		return E_NOTFOUND;
	e = directory_user_find(d, a, &user);
	if (!e)
		f->kind = user.active ? AUTH_RCPT_MAILBOX : AUTH_RCPT_DISABLED;
	directory_user_free(&user);
	return e;
}

static enum err
find_catch_all(struct directory *d, const struct addr *a, struct found *f)
{
	struct addr pattern = *a;

	pattern.local[0] = pattern.raw_local[0] = '\0';
	addr_set_domain(&pattern, a->domain);
	f->key = pattern;
	f->kind = AUTH_RCPT_ALIAS;
	return directory_alias_find(d, &pattern, &f->targets);
}

/* Steps 2 to 5, in a domain of ours. E_NOTFOUND. */
static enum err
find_local(struct directory *d, const struct addr *a, int skip_alias, struct found *f)
{
	struct addr base;
	enum err e = find_exact(d, a, skip_alias, f);

	if (e != E_NOTFOUND)
		return e;
	if (!addr_split_detail(a, directory_settings(d)->delimiters, &base, f->detail)) {
		e = find_exact(d, &base, 0, f);
		if (e != E_NOTFOUND)
			return e;
		f->detail[0] = '\0';
	}
	return find_catch_all(d, a, f);
}

/* The server's postmaster, see auth_lookup_rcpt. E_NOTFOUND: there is no domain. */
static enum err
postmaster_addr(struct directory *d, struct addr *out)
{
	const char *hostname = directory_settings(d)->hostname;
	char domain[ADDR_DOMAIN_MAX + 1];
	int active;
	enum err e = addr_domain_parse(str_of(hostname), domain);

	if (!e)
		e = directory_domain_find(d, domain, &active);
	if (e == E_NOTFOUND || e == E_PARSE || e == E_TOOBIG)
		e = directory_domain_first(d, domain);
	if (e)
		return e;
	memcpy(out->local, "postmaster", sizeof("postmaster"));
	memcpy(out->raw_local, "postmaster", sizeof("postmaster"));
	addr_set_domain(out, domain);
	return OK;
}

static int
is_role(const struct directory *d, const struct addr *a)
{
	size_t len = strcspn(a->local, directory_settings(d)->delimiters);

	return str_equal(str_make(a->local, len), STR("postmaster")) ||
	       str_equal(str_make(a->local, len), STR("abuse"));
}

/* All steps. OK sets f->kind; the caller frees f->targets. */
static enum err
find(struct directory *d, const struct addr *address, int skip_alias, struct found *f)
{
	struct addr a = *address;
	int active = 0;
	enum err e;

	memset(f, 0, sizeof(*f));
	e = domain_resolve(d, &a, &active);
	f->key = a;
	if (!e && active) {
		e = find_local(d, &a, skip_alias, f);
		if (e == E_NOTFOUND && is_role(d, &a)) {
			e = postmaster_addr(d, &a);
			if (!e)
				e = find_local(d, &a, 0, f);
		}
		if (e == E_NOTFOUND) {
			f->key = a;
			f->kind = AUTH_RCPT_UNKNOWN;
			e = OK;
		} else if (e == E_TOOBIG) {
			f->kind = AUTH_RCPT_LOOP;
			e = OK;
		}
		return e;
	}
	f->kind = e == OK ? AUTH_RCPT_DISABLED : e == E_STATE ? AUTH_RCPT_LOOP : AUTH_RCPT_REMOTE;
	return e == E_NOTFOUND || e == E_STATE ? OK : e;
}

/* ---- expansion ---- */

static enum err
target_add(struct resolver *r, const char *address, const char *key, int local)
{
	struct auth_rcpt *out = r->out;

	if (lru_find(r->seen, key))
		return OK;
	if (out->target_count == DIRECTORY_TARGETS_MAX)
		return E_TOOBIG;
	lru_put(r->seen, key);
	if ((out->target_count & (out->target_count - 1)) == 0)
		out->targets = mem_realloc(out->targets,
			out->target_count ? out->target_count * 2 : 1, sizeof(*out->targets));
	out->targets[out->target_count].address = mem_strdup(address);
	out->targets[out->target_count++].local = local;
	return OK;
}

/* raw: the local part as written. */
static enum err
target_add_parts(
	struct resolver *r, const char *local, const char *detail, const char *domain, int is_local)
{
	char sep[2] = {detail[0] ? directory_settings(r->d)->delimiters[0] : '\0', '\0'};
	char *address = mem_printf("%s%s%s@%s", local, sep, detail, domain);
	/* A tab in front keeps targets apart from the aliases in the same table. */
	char *key = mem_printf("\t%s", address);
	enum err e;

	/* Elsewhere the case of a local part may matter, but not for telling copies apart. */
	for (char *p = key; *p; p++)
		*p = str_lower(*p);
	e = target_add(r, address, key, is_local);
	free(key);
	free(address);
	return e;
}

static enum err expand(struct resolver *r, const struct addr *a, const char *parent);

static enum err
expand_alias(struct resolver *r, struct found *f)
{
	char *key;
	enum err e = OK;

	for (size_t i = 0; i < r->depth; i++)
		if (strcmp(r->path[i], f->key.text) == 0)
			return E_STATE;
	if (r->depth == RESOLVE_DEPTH_MAX)
		return E_STATE;
	if (lru_find(r->seen, f->key.text))
		return OK;
	key = mem_strdup(f->key.text);
	lru_put(r->seen, key);
	r->path[r->depth++] = key;
	for (size_t i = 0; i < f->targets.count && !e; i++) {
		struct addr target;

		if (addr_parse(str_of(f->targets.items[i]), &target)) {
			log_event(LOGL_WARN, "auth.alias bad", "alias", key, "target",
				f->targets.items[i], NULL);
			continue;
		}
		e = expand(r, &target, key);
	}
	r->depth--;
	free(key);
	return e;
}

/* E_STATE: a circle or too deep; E_TOOBIG: too many. parent: the alias that named a, or NULL. */
static enum err
expand(struct resolver *r, const struct addr *a, const char *parent)
{
	struct found *f;
	enum err e;

	if (io_now_ms() > r->deadline_ms)
		return E_TEMPFAIL;
	f = mem_alloc(sizeof(*f));
	e = find(r->d, a, parent && strcmp(parent, a->text) == 0, f);
	if (e)
		goto out;
	if (!parent)
		r->out->kind = f->kind;
	switch (f->kind) {
	case AUTH_RCPT_MAILBOX:
		r->live++;
		e = target_add_parts(r, f->key.local, f->detail, f->key.domain, 1);
		if (!parent) {
			r->out->mailbox = mem_strdup(f->key.text);
			r->out->detail = mem_strdup(f->detail);
		}
		break;
	case AUTH_RCPT_ALIAS:
		e = expand_alias(r, f);
		break;
	case AUTH_RCPT_REMOTE:
		r->live++;
		e = parent ? target_add_parts(r, a->raw_local, "", a->domain, 0) : OK;
		break;
	case AUTH_RCPT_LOOP:
		e = E_STATE;
		break;
	case AUTH_RCPT_UNKNOWN:
	case AUTH_RCPT_NO_DOMAINS:
	case AUTH_RCPT_DISABLED:
		if (!r->dead_kind)
			r->dead_kind = f->kind;
		e = parent ? target_add_parts(r, f->key.local, "", f->key.domain, 1) : OK;
		break;
	}
out:
	directory_targets_free(&f->targets);
	free(f);
	return e;
}

static void
targets_drop(struct auth_rcpt *r)
{
	for (size_t i = 0; i < r->target_count; i++)
		free(r->targets[i].address);
	MEM_FREE(r->targets);
	r->target_count = 0;
}

enum err
resolve_rcpt(struct directory *d, struct str address, struct auth_rcpt *out)
{
	struct resolver r = {.d = d, .out = out};
	struct addr a = {0};
	enum err e = OK;

	memset(out, 0, sizeof(*out));
	if (str_is_i(address, "postmaster")) {
		e = postmaster_addr(d, &a);
		if (e == E_NOTFOUND) {
			out->kind = AUTH_RCPT_NO_DOMAINS;
			return OK;
		}
	} else if (addr_parse(address, &a)) {
		e = E_PARSE;
	}
	if (e)
		return e;
	r.seen = lru_create(4 * DIRECTORY_TARGETS_MAX, 1);
	r.deadline_ms = io_now_ms() + directory_settings(d)->db_timeout_ms + RESOLVE_EXTRA_MS;
	e = expand(&r, &a, NULL);
	lru_free(&r.seen);
	if (e == E_STATE || e == E_TOOBIG) {
		out->kind = AUTH_RCPT_LOOP;
		e = OK;
	} else if (!e && out->kind == AUTH_RCPT_ALIAS && r.live == 0) {
		out->kind = r.dead_kind ? r.dead_kind : AUTH_RCPT_UNKNOWN;
	}
	if (e || (out->kind != AUTH_RCPT_MAILBOX && out->kind != AUTH_RCPT_ALIAS))
		targets_drop(out);
	return e;
}

enum err
resolve_may_send_as(struct directory *d, const char *user, struct str address)
{
	const char *delimiters = directory_settings(d)->delimiters;
	char detail[ADDR_LOCAL_MAX + 1];
	struct addr me, target;
	struct auth_rcpt rcpt;
	enum err e;

	if (addr_parse(str_of(user), &me))
		return E_PARSE;
	e = resolve_rcpt(d, address, &rcpt);
	if (e)
		return e;
	e = E_ACCESS;
	for (size_t i = 0; i < rcpt.target_count && e; i++) {
		if (!rcpt.targets[i].local || addr_parse(str_of(rcpt.targets[i].address), &target))
			continue;
		if (strcmp(target.text, me.text) == 0)
			e = OK;
		else if (!addr_split_detail(&target, delimiters, &target, detail) &&
			 strcmp(target.text, me.text) == 0)
			e = OK;
	}
	for (size_t i = 0; i < rcpt.target_count; i++)
		free(rcpt.targets[i].address);
	free(rcpt.targets);
	free(rcpt.mailbox);
	free(rcpt.detail);
	return e;
}

enum err
resolve_login(struct directory *d, const struct addr *a, struct directory_user *out)
{
	struct addr real = *a;
	int active = 0;
	enum err e;

	memset(out, 0, sizeof(*out));
	e = domain_resolve(d, &real, &active);
	if (e)
		return e == E_STATE ? E_NOTFOUND : e;
	if (!addr_is_mailbox_name(&real))
		return E_NOTFOUND;
	e = directory_user_find(d, &real, out);
	if (!e && !active)
		out->active = 0;
	return e;
}

enum err
resolve_user(struct directory *d, struct str address, struct directory_user *out, char *detail)
{
	struct addr a, base;
	enum err e;

	memset(out, 0, sizeof(*out));
	detail[0] = '\0';
	if (addr_parse(address, &a))
		return E_PARSE;
	e = resolve_login(d, &a, out);
	if (e == E_NOTFOUND &&
		!addr_split_detail(&a, directory_settings(d)->delimiters, &base, detail))
		e = resolve_login(d, &base, out);
	if (!e && !out->active)
		e = E_ACCESS;
	return e;
}

char *
resolve_home(const struct auth_settings *s, const struct addr *a)
{
	return mem_printf("%s/%s/%s", s->mail_dir, a->domain, a->local);
}
