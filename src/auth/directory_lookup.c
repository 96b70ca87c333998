/* SPDX-License-Identifier: MIT */
#include "auth/directory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth/passwd_file.h"
#include "lib/log.h"
#include "lib/mem.h"

/* The typed look-ups. Rows may come from a query of the administrator's: nothing in them is
 * trusted. */

static void
garbage(const char *query, const char *column, const char *key)
{
	log_event(LOGL_ERROR, "auth.database garbage", "query", query, "column", column, "key", key,
		NULL);
}

/* Databases write a truth in many ways; a missing one is yes. */
static int
is_true(const char *text)
{
	static const char *const no[] = {"0", "f", "false", "n", "no", "off", ""};

	for (size_t i = 0; text && i < sizeof(no) / sizeof(no[0]); i++)
		if (str_is_i(str_of(text), no[i]))
			return 0;
	return 1;
}

/* NULL is fallback. Negative numbers mean "no limit" in some schemas. */
static enum err
number_of(const char *text, uint64_t fallback, uint64_t *out)
{
	*out = fallback;
	if (!text)
		return OK;
	if (text[0] == '-') {
		*out = 0;
		return OK;
	}
	return str_to_u64(str_of(text), out);
}

static uint32_t
bounded(uint64_t n)
{
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static char *
text_dup(const char *text)
{
	return mem_strdup(text ? text : "");
}

static enum err
database_user_find(struct directory *d, const struct addr *a, struct directory_user *out)
{
	struct directory_args args = {
		.v = {[ARG_ADDRESS] = a->text, [ARG_LOCAL] = a->local, [ARG_DOMAIN] = a->domain}};
	struct db_result r;
	uint64_t connections, per_ip;
	const char *password, *rules, *host, *groups;
	enum err e;

	memset(out, 0, sizeof(*out));
	e = directory_run(d, SQL_USER_FIND, &args, &r);
	if (!e && r.rows == 0)
		e = E_NOTFOUND;
	if (e)
		goto out;
	password = db_result_get(&r, 0, "password");
	if (number_of(db_result_get(&r, 0, "quota_bytes"),
		    directory_settings(d)->default_quota_bytes, &out->quota_bytes) ||
		number_of(db_result_get(&r, 0, "quota_messages"),
			directory_settings(d)->default_quota_messages, &out->quota_messages) ||
		number_of(db_result_get(&r, 0, "max_connections"),
			directory_settings(d)->max_connections_per_user, &connections) ||
		number_of(db_result_get(&r, 0, "max_connections_per_ip"),
			directory_settings(d)->max_connections_per_user_ip, &per_ip)) {
		garbage("query_user", "a number", a->text);
		e = E_TEMPFAIL;
		goto out;
	}
	host = db_result_get(&r, 0, "host");
	/* He is not to get in here only because nobody can tell where else. */
	if (host && moved_host_parse(str_of(host), out->host)) {
		garbage("query_user", "host", a->text);
		e = E_TEMPFAIL;
		goto out;
	}
	groups = db_result_get(&r, 0, "acl_groups");
	/* Some may take rights away, so that none of them are another user's rights. */
	if (groups && acl_groups_normalise(str_of(groups), out->acl_groups)) {
		garbage("query_user", "acl_groups", a->text);
		e = E_TEMPFAIL;
		goto out;
	}
	rules = db_result_get(&r, 0, "quota_rules");
	/* Half of a rule could be another one. */
	if (rules && strlen(rules) >= sizeof(out->quota_rules))
		garbage("query_user", "quota_rules", a->text);
	else if (rules)
		snprintf(out->quota_rules, sizeof(out->quota_rules), "%s", rules);
	out->addr = *a;
	out->password = text_dup(password);
	out->protocols = text_dup(db_result_get(&r, 0, "protocols"));
	out->networks = text_dup(db_result_get(&r, 0, "networks"));
	out->active = is_true(db_result_get(&r, 0, "active"));
	out->max_connections = bounded(connections);
	out->max_connections_per_ip = bounded(per_ip);
out:
	db_result_free(&r);
	return e;
}

enum err
directory_user_find(struct directory *d, const struct addr *a, struct directory_user *out)
{
	const struct auth_settings *s = directory_settings(d);
	enum err e = s->passwd_file ? passwd_file_find(s->passwd_file, s, a, out) : E_NOTFOUND;

	return e == E_NOTFOUND ? database_user_find(d, a, out) : e;
}

void
directory_user_free(struct directory_user *u)
{
	if (u->password)
		OPENSSL_cleanse(u->password, strlen(u->password));
	MEM_FREE(u->password);
	MEM_FREE(u->protocols);
	MEM_FREE(u->networks);
	memset(u, 0, sizeof(*u));
}

enum err
directory_domain_find(struct directory *d, const char *domain, int *active)
{
	struct directory_args args = {.v = {[ARG_DOMAIN] = domain}};
	struct db_result r;
	enum err e = directory_run(d, SQL_DOMAIN_FIND, &args, &r);

	if (!e && r.rows == 0)
		e = E_NOTFOUND;
	if (!e)
		*active = is_true(db_result_get(&r, 0, "active"));
	db_result_free(&r);
	return e;
}

/* A domain name in the first row. */
static enum err
domain_query(struct directory *d, enum directory_statement id, const char *column,
	const char *domain, char *out)
{
	struct directory_args args = {.v = {[ARG_DOMAIN] = domain}};
	struct db_result r;
	enum err e = directory_run(d, id, &args, &r);

	if (!e && r.rows == 0)
		e = E_NOTFOUND;
	if (!e) {
		const char *text = db_result_get(&r, 0, column);

		if (!text || addr_domain_parse(str_of(text), out)) {
			garbage("query_domain_alias", column, domain);
			e = E_TEMPFAIL;
		}
	}
	db_result_free(&r);
	return e;
}

enum err
directory_domain_alias_find(struct directory *d, const char *domain, char *target)
{
	return domain_query(d, SQL_DOMAIN_ALIAS_FIND, "target", domain, target);
}

enum err
directory_domain_first(struct directory *d, char *domain)
{
	/* A schema of somebody else's has no table "domain" to look in. */
	if (directory_settings(d)->query_domain[0])
		return E_NOTFOUND;
	return domain_query(d, SQL_DOMAIN_FIRST, "name", "", domain);
}

void
directory_targets_free(struct directory_targets *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->items[i]);
	MEM_FREE(t->items);
	t->count = 0;
}

static enum err
target_add(struct directory_targets *t, struct str text)
{
	if (text.len == 0)
		return OK;
	if (t->count == DIRECTORY_TARGETS_MAX)
		return E_TOOBIG;
	if ((t->count & (t->count - 1)) == 0)
		t->items = mem_realloc(t->items, t->count ? t->count * 2 : 1, sizeof(char *));
	t->items[t->count++] = str_dup(text);
	return OK;
}

/* A row is one address or, as other schemas have it, several with commas or line ends between. */
static enum err
row_add(struct directory_targets *t, struct str row)
{
	size_t start = 0;
	int quoted = 0;

	for (size_t i = 0; i < row.len; i++) {
		enum err e;

		if (quoted && row.p[i] == '\\' && i + 1 < row.len) {
			i++;
			continue;
		}
		if (row.p[i] == '"')
			quoted = !quoted;
		if (quoted || (row.p[i] != ',' && row.p[i] != '\n'))
			continue;
		e = target_add(t, str_trim(str_make(row.p + start, i - start)));
		if (e)
			return e;
		start = i + 1;
	}
	return target_add(t, str_trim(str_make(row.p + start, row.len - start)));
}

enum err
directory_alias_find(struct directory *d, const struct addr *a, struct directory_targets *out)
{
	struct directory_args args = {
		.v = {[ARG_ADDRESS] = a->text, [ARG_LOCAL] = a->local, [ARG_DOMAIN] = a->domain}};
	struct db_result r;
	enum err e;

	memset(out, 0, sizeof(*out));
	e = directory_run(d, SQL_ALIAS_FIND, &args, &r);
	for (size_t i = 0; i < r.rows && !e; i++) {
		const char *text = db_result_get(&r, i, "target");

		if (text)
			e = row_add(out, str_of(text));
	}
	if (!e && out->count == 0)
		e = E_NOTFOUND;
	if (e)
		directory_targets_free(out);
	db_result_free(&r);
	return e;
}
