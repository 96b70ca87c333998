/* SPDX-License-Identifier: MIT */
#include "auth/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"
#include "auth/saslauthd.h"
#include "lib/mem.h"

/* As many users as one answer may list. */
enum { LIST_MAX = 100000, NAME_MAX_BYTES = 255, HASH_MAX_BYTES = 1000 };

/* Every change is followed by this, also one that failed half-way: who knows what was committed. */
static void
forget(struct admin_job *j, const struct addr *a)
{
	auth_forget(j->auth, a->text);
}

static enum err
hash_password(struct admin_job *j, const char *password, char **out)
{
	const char *scheme;
	enum err e = admin_arg_text(j, "scheme", 0, &scheme);

	if (e)
		return e;
	if (!scheme)
		scheme = j->scheme;
	if (password_scheme_is_weak(scheme) && !j->auth->settings->allow_weak_schemes)
		return admin_fail(j, E_PARSE,
			"%s is a weak scheme; choose another, or set allow_weak_schemes = yes",
			scheme);
	e = saslauthd_is_scheme(scheme) ? saslauthd_stored(password, out)
					: password_hash(scheme, str_of(password), out);
	if (e == E_UNSUPPORTED)
		return admin_fail(j, E_PARSE,
			"there is no password scheme %s; roost-auth(8) lists them", scheme);
	if (e == E_TOOBIG)
		return admin_fail(j, E_PARSE,
			"the password is too long; at most %d bytes, %d for BLF-CRYPT",
			PASSWORD_MAX, PASSWORD_BLF_MAX);
	if (e == E_RANGE)
		return admin_fail(j, E_PARSE,
			"the password is empty or has a control character; give another one");
	return e;
}

/* "quota_bytes", or "quota" for short. */
static enum err
quota_arg(struct admin_job *j, int *set, char text[24], const char **value)
{
	const char *key = json_object_get(j->args, "quota_bytes") ? "quota_bytes" : "quota";
	uint64_t n;
	int is_null;
	enum err e = admin_arg_number(j, key, set, &is_null, &n);

	snprintf(text, 24, "%" PRIu64, n);
	*value = *set && !is_null ? text : NULL;
	return e;
}

static enum err
messages_arg(struct admin_job *j, int *set, char text[24], const char **value)
{
	uint64_t n;
	int is_null;
	enum err e = admin_arg_number(j, "quota_messages", set, &is_null, &n);

	snprintf(text, 24, "%" PRIu64, n);
	*value = *set && !is_null ? text : NULL;
	return e;
}

/* The limits of connections, for user_add and user_set. */
struct connections {
	int set[2];
	char text[2][24];
};

static enum err
connections_args(struct admin_job *j, struct connections *c, struct directory_args *args)
{
	static const struct {
		const char *key;
		enum directory_arg value, set;
	} rows[] = {{"max_connections", ARG_CONNECTIONS, ARG_SET_CONNECTIONS},
		{"max_connections_per_ip", ARG_CONNECTIONS_PER_IP, ARG_SET_CONNECTIONS_PER_IP}};
	enum err e = OK;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !e; i++) {
		uint64_t n;
		int is_null;

		e = admin_arg_number(j, rows[i].key, &c->set[i], &is_null, &n);
		if (!e && n > UINT32_MAX)
			e = admin_fail(j, E_PARSE, "\"%s\" is too large", rows[i].key);
		snprintf(c->text[i], sizeof(c->text[i]), "%" PRIu64, n);
		args->v[rows[i].value] = c->set[i] && !is_null ? c->text[i] : NULL;
		args->v[rows[i].set] = c->set[i] ? "1" : "0";
	}
	return e;
}

/* "" takes it away. */
static enum err
host_arg(struct admin_job *j, char host[MOVED_HOST_MAX + 1], struct directory_args *args)
{
	const char *text;
	enum err e = admin_arg_text(j, "host", 0, &text);

	if (e || !text)
		return e;
	if (moved_host_parse(str_of(text), host))
		return admin_fail(j, E_PARSE,
			"\"host\" is not the name or address of a server; write it as "
			"mail.example.net, [2001:db8::1] or mail.example.net:143");
	args->v[ARG_HOST] = host;
	return OK;
}

static enum err
groups_arg(struct admin_job *j, char groups[ACL_GROUPS_MAX + 1], struct directory_args *args)
{
	const char *text;
	enum err e = admin_arg_text(j, "acl_groups", 0, &text);

	if (e || !text)
		return e;
	if (acl_groups_normalise(str_of(text), groups))
		return admin_fail(j, E_PARSE,
			"\"acl_groups\" are names of letters, digits and -_. with commas between, "
			"%d bytes at most",
			ACL_GROUPS_MAX);
	args->v[ARG_ACL_GROUPS] = groups;
	return OK;
}

/* *out NULL: not given; "": the rules are taken away. */
static enum err
rules_arg(struct admin_job *j, const char **out)
{
	struct quota_rules rules = {0};
	struct buf why = {0};
	enum err e = admin_arg_text(j, "quota_rules", 0, out);

	if (!e && *out && strlen(*out) > QUOTA_RULES_USER_MAX)
		e = admin_fail(j, E_PARSE, "\"quota_rules\" may have at most %d bytes",
			QUOTA_RULES_USER_MAX);
	else if (!e && *out && quota_rules_add(&rules, str_of(*out), &why))
		e = admin_fail(j, E_PARSE, "\"quota_rules\": %s", buf_cstr(&why));
	quota_rules_free(&rules);
	buf_free(&why);
	return e;
}

static enum err
rules_set(struct admin_job *j, struct directory *d, const struct addr *a, const char *rules)
{
	struct directory_args args = {.v = {[ARG_LOCAL] = a->local,
					      [ARG_DOMAIN] = a->domain,
					      [ARG_RULES] = rules,
					      [ARG_NOW] = j->now}};
	struct db_result r = {0};
	enum err e = directory_run(d, *rules ? SQL_QUOTA_SET : SQL_QUOTA_CLEAR, &args, &r);

	db_result_free(&r);
	return e;
}

/* Whether the domain is there; says what to do when it is not. */
static enum err
need_domain(struct admin_job *j, struct directory *d, const char *domain)
{
	int active;
	enum err e = directory_domain_find(d, domain, &active);

	if (e == E_NOTFOUND)
		return admin_fail(
			j, e, "there is no domain %s; add it first: domain add %s", domain, domain);
	return e;
}

/* A password that was hashed before, of a scheme known here. NULL: none is given. */
static enum err
hash_arg(struct admin_job *j, const char **out)
{
	enum err e = admin_arg_text(j, "password_hash", 0, out);

	if (!e && *out &&
		(strlen(*out) > HASH_MAX_BYTES || str_has_control(str_of(*out)) ||
			!(password_is_known(*out) || saslauthd_is_meant(*out))))
		return admin_fail(j, E_PARSE,
			"\"password_hash\" is of no scheme known here; roost-auth(8) lists them");
	return e;
}

enum err
admin_password_prepare(struct admin_job *j, struct directory *d)
{
	json_t *args = (json_t *)(uintptr_t)j->args;
	const char *password;
	char *hash = NULL;
	enum err e = admin_arg_text(j, "password", 0, &password);

	(void)d;
	if (e || !password)
		return e;
	e = hash_password(j, password, &hash);
	if (!e) {
		json_object_set_new(args, "password_hash", json_string(hash));
		json_object_del(args, "password");
	}
	free(hash);
	return e;
}

enum err
admin_user_add(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r = {0};
	const char *password = NULL, *stored = NULL, *name, *rules = NULL;
	char quota[24], messages[24], *hash = NULL, *protocols = NULL, *networks = NULL;
	char host[MOVED_HOST_MAX + 1], groups[ACL_GROUPS_MAX + 1];
	struct connections connections;
	struct addr a;
	int set;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (!e && !addr_is_mailbox_name(&a))
		e = admin_fail(j, E_PARSE,
			"\"%s\" cannot be a mailbox; use letters, digits and .-_+ and at most %d bytes "
			"before the @",
			a.text, ADDR_MAILBOX_LOCAL_MAX);
	if (!e)
		e = hash_arg(j, &stored);
	if (!e)
		e = admin_arg_name(j, 0, NAME_MAX_BYTES, &name);
	if (!e)
		e = quota_arg(j, &set, quota, &args.v[ARG_QUOTA]);
	if (!e)
		e = messages_arg(j, &set, messages, &args.v[ARG_MESSAGES]);
	if (!e)
		e = rules_arg(j, &rules);
	if (!e)
		e = connections_args(j, &connections, &args);
	if (!e)
		e = host_arg(j, host, &args);
	if (!e)
		e = groups_arg(j, groups, &args);
	if (!e)
		e = admin_arg_protocols(j, &protocols);
	if (!e)
		e = admin_arg_networks(j, &networks);
	if (!e)
		e = need_domain(j, d, a.domain);
	if (!e && stored)
		hash = mem_strdup(stored);
	if (!e && !stored)
		e = admin_arg_text(j, "password", 1, &password);
	if (!e && !stored)
		e = hash_password(j, password, &hash);
	if (e)
		goto out;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	args.v[ARG_PASSWORD] = hash;
	args.v[ARG_PROTOCOLS] = protocols;
	args.v[ARG_NETWORKS] = networks;
	args.v[ARG_NAME] = name ? name : "";
	args.v[ARG_NOW] = j->now;
	e = directory_run(d, SQL_USER_ADD, &args, &r);
	if (!e && rules && *rules)
		e = rules_set(j, d, &a, rules);
	forget(j, &a);
	if (e == E_EXISTS)
		e = admin_fail(j, e, "%s is there already; change it with \"user set\"", a.text);
	if (!e)
		j->value = json_pack("{s:s}", "address", a.text);
out:
	db_result_free(&r);
	if (hash)
		explicit_bzero(hash, strlen(hash));
	free(hash);
	free(protocols);
	free(networks);
	return e;
}

static json_t *
user_object(const struct db_result *r, size_t row)
{
	const char *local = db_result_get(r, row, "local");
	const char *domain = db_result_get(r, row, "domain");
	const char *name = db_result_get(r, row, "name");
	const char *active = db_result_get(r, row, "active"), *rules;
	char *address = mem_printf("%s@%s", local ? local : "", domain ? domain : "");
	json_t *o = json_pack("{s:s, s:b, s:s}", "address", address, "active",
		active && strcmp(active, "0") != 0, "name", name ? name : "");

	if (o) {
		admin_set_number(o, "quota_bytes", db_result_get(r, row, "quota_bytes"));
		admin_set_number(o, "quota_messages", db_result_get(r, row, "quota_messages"));
		rules = db_result_get(r, row, "quota_rules");
		json_object_set_new(o, "quota_rules", json_string(rules ? rules : ""));
		admin_set_text(o, "protocols", db_result_get(r, row, "protocols"));
		admin_set_text(o, "networks", db_result_get(r, row, "networks"));
		admin_set_text(o, "host", db_result_get(r, row, "host"));
		admin_set_text(o, "acl_groups", db_result_get(r, row, "acl_groups"));
		admin_set_number(o, "max_connections", db_result_get(r, row, "max_connections"));
		admin_set_number(o, "max_connections_per_ip",
			db_result_get(r, row, "max_connections_per_ip"));
		admin_set_number(o, "created", db_result_get(r, row, "created"));
		admin_set_number(o, "changed", db_result_get(r, row, "changed"));
		admin_set_number(o, "last_login", db_result_get(r, row, "last_login"));
		admin_set_text(o, "last_login_ip", db_result_get(r, row, "last_login_ip"));
		admin_set_text(
			o, "last_login_protocol", db_result_get(r, row, "last_login_protocol"));
	}
	free(address);
	return o;
}

/* {domain?, after?: an address, limit?}: sorted by domain and local part. */
enum err
admin_user_list(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char domain[ADDR_DOMAIN_MAX + 1], limit[24], *after = NULL;
	uint64_t max = LIST_MAX;
	struct addr a;
	int set, is_null, has_with, with_hashes = 0;
	enum err e = admin_arg_domain(j, "domain", 0, domain);

	if (!e)
		e = admin_arg_bool(j, "with_hashes", &has_with, &with_hashes);
	if (!e)
		e = admin_arg_number(j, "limit", &set, &is_null, &max);
	if (!e && json_object_get(j->args, "after")) {
		e = admin_arg_addr(j, "after", 0, &a);
		if (!e)
			after = mem_printf("%s@%s", a.domain, a.local);
	}
	if (e)
		return e;
	if (!set || max == 0 || max > LIST_MAX)
		max = LIST_MAX;
	snprintf(limit, sizeof(limit), "%" PRIu64, set ? max : max + 1);
	args.v[ARG_DOMAIN] = domain[0] ? domain : NULL;
	args.v[ARG_ADDRESS] = after;
	args.v[ARG_LIMIT] = limit;
	e = directory_run(d, SQL_USER_LIST, &args, &r);
	if (!e && r.rows > max)
		e = admin_fail(j, E_TOOBIG,
			"there are more than %d users; ask for one domain, or page with \"after\" and "
			"\"limit\"",
			LIST_MAX);
	if (!e) {
		j->value = json_array();
		for (size_t i = 0; i < r.rows; i++)
			json_array_append_new(j->value, user_object(&r, i));
		for (size_t i = 0; i < r.rows && with_hashes; i++)
			admin_set_text(json_array_get(j->value, i), "password_hash",
				db_result_get(&r, i, "password"));
	}
	db_result_free(&r);
	free(after);
	return e;
}

enum err
admin_user_show(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	struct addr a;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (e)
		return e;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	e = directory_run(d, SQL_USER_SHOW, &args, &r);
	if (!e && r.rows == 0)
		e = admin_no_such_user(j, &a);
	if (!e)
		j->value = user_object(&r, 0);
	db_result_free(&r);
	return e;
}

enum err
admin_user_set(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r = {0};
	const char *password = NULL, *name = NULL, *rules = NULL;
	char quota[24], messages[24], *hash = NULL, *protocols = NULL, *networks = NULL;
	char host[MOVED_HOST_MAX + 1], groups[ACL_GROUPS_MAX + 1];
	struct connections connections = {0};
	struct addr a;
	int set_quota = 0, set_messages = 0, set_active = 0, active;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (!e)
		e = admin_arg_text(j, "password", 0, &password);
	if (!e)
		e = admin_arg_name(j, 0, NAME_MAX_BYTES, &name);
	if (!e)
		e = quota_arg(j, &set_quota, quota, &args.v[ARG_QUOTA]);
	if (!e)
		e = messages_arg(j, &set_messages, messages, &args.v[ARG_MESSAGES]);
	if (!e)
		e = rules_arg(j, &rules);
	if (!e)
		e = connections_args(j, &connections, &args);
	if (!e)
		e = host_arg(j, host, &args);
	if (!e)
		e = groups_arg(j, groups, &args);
	if (!e)
		e = admin_arg_protocols(j, &protocols);
	if (!e)
		e = admin_arg_networks(j, &networks);
	if (!e)
		e = admin_arg_bool(j, "active", &set_active, &active);
	if (!e && !password && !name && !set_quota && !set_messages && !rules && !set_active &&
		!protocols && !networks && !connections.set[0] && !connections.set[1] &&
		!args.v[ARG_HOST] && !args.v[ARG_ACL_GROUPS])
		e = admin_fail(j, E_PARSE,
			"nothing to change; give a password, quota_bytes, quota_messages, quota_rules, "
			"active, protocols, networks, max_connections, max_connections_per_ip, "
			"host, acl_groups or name");
	if (!e && password)
		e = hash_password(j, password, &hash);
	if (e)
		goto out;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	args.v[ARG_PASSWORD] = hash;
	args.v[ARG_PROTOCOLS] = protocols;
	args.v[ARG_NETWORKS] = networks;
	args.v[ARG_NAME] = name;
	args.v[ARG_FORCE] = set_quota ? "1" : "0";
	args.v[ARG_SET] = set_messages ? "1" : "0";
	args.v[ARG_ACTIVE] = !set_active ? NULL : active ? "1" : "0";
	args.v[ARG_NOW] = j->now;
	e = directory_run(d, SQL_USER_SET, &args, &r);
	if (!e && r.affected == 0)
		e = admin_no_such_user(j, &a);
	if (!e && rules)
		e = rules_set(j, d, &a, rules);
	forget(j, &a);
out:
	db_result_free(&r);
	if (hash)
		explicit_bzero(hash, strlen(hash));
	free(hash);
	free(protocols);
	free(networks);
	return e;
}

enum err
admin_user_remove(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	struct addr a;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (e)
		return e;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	e = directory_run(d, SQL_USER_REMOVE, &args, &r);
	forget(j, &a);
	if (!e && r.affected == 0)
		e = admin_no_such_user(j, &a);
	db_result_free(&r);
	return e;
}
