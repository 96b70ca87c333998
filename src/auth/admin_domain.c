/* SPDX-License-Identifier: MIT */
#include "auth/admin.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* A change of a domain touches the log-ins of all its users. */
static void
forget_all(struct admin_job *j)
{
	auth_forget(j->auth, NULL);
}

/* An alias has no log-in. */
static void
forget_answers(struct admin_job *j)
{
	answers_forget(j->auth->answers);
}

static enum err
no_such_domain(struct admin_job *j, const char *domain)
{
	return admin_fail(j, E_NOTFOUND, "there is no domain %s; add it first: domain add %s",
		domain, domain);
}

enum err
admin_db_schema(struct admin_job *j, struct directory *d)
{
	struct db_result r;
	enum err e;

	if (!directory_has(d, SQL_SCHEMA_VERSION))
		return admin_fail(j, E_UNSUPPORTED,
			"the tables are another program's (directory_schema, query_user); Roost makes "
			"none there");
	directory_disconnect(d);
	e = directory_run(d, SQL_SCHEMA_VERSION, NULL, &r);
	if (!e) {
		j->value = json_object();
		admin_set_text(j->value, "database",
			directory_settings(d)->use_postgresql ? "postgresql" : "sqlite");
		admin_set_number(j->value, "version", db_result_get(&r, 0, "version"));
	}
	db_result_free(&r);
	return e;
}

enum err
admin_domain_add(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char domain[ADDR_DOMAIN_MAX + 1], target[ADDR_DOMAIN_MAX + 1];
	enum err e = admin_arg_domain(j, "domain", 1, domain);

	if (e)
		return e;
	e = directory_domain_alias_find(d, domain, target);
	if (!e)
		return admin_fail(j, E_EXISTS,
			"%s is an alias of %s; remove that first: domain-alias remove %s", domain,
			target, domain);
	if (e != E_NOTFOUND)
		return e;
	args.v[ARG_DOMAIN] = domain;
	args.v[ARG_NOW] = j->now;
	e = directory_run(d, SQL_DOMAIN_ADD, &args, &r);
	forget_all(j);
	if (e == E_EXISTS)
		e = admin_fail(j, e, "the domain %s is there already; nothing to do", domain);
	db_result_free(&r);
	return e;
}

static json_t *
flag_of(const char *cell)
{
	return json_boolean(cell && strcmp(cell, "0") != 0);
}

enum err
admin_domain_list(struct admin_job *j, struct directory *d)
{
	struct db_result r;
	enum err e = directory_run(d, SQL_DOMAIN_LIST, NULL, &r);

	if (!e)
		j->value = json_array();
	for (size_t i = 0; i < r.rows && !e; i++) {
		const char *name = db_result_get(&r, i, "name");
		json_t *o = json_pack("{s:s}", "domain", name ? name : "");

		json_object_set_new(o, "active", flag_of(db_result_get(&r, i, "active")));
		admin_set_number(o, "users", db_result_get(&r, i, "users"));
		admin_set_number(o, "aliases", db_result_get(&r, i, "aliases"));
		admin_set_number(o, "created", db_result_get(&r, i, "created"));
		json_array_append_new(j->value, o);
	}
	db_result_free(&r);
	return e;
}

enum err
admin_domain_set(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char domain[ADDR_DOMAIN_MAX + 1];
	int set = 0, active = 0;
	enum err e = admin_arg_domain(j, "domain", 1, domain);

	if (!e)
		e = admin_arg_bool(j, "active", &set, &active);
	if (!e && !set)
		e = admin_fail(j, E_PARSE, "nothing to change; give \"active\" as true or false");
	if (e)
		return e;
	args.v[ARG_DOMAIN] = domain;
	args.v[ARG_ACTIVE] = active ? "1" : "0";
	args.v[ARG_NOW] = j->now;
	e = directory_run(d, SQL_DOMAIN_SET, &args, &r);
	forget_all(j);
	if (!e && r.affected == 0)
		e = no_such_domain(j, domain);
	db_result_free(&r);
	return e;
}

enum err
admin_domain_remove(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char domain[ADDR_DOMAIN_MAX + 1];
	int set, force = 0, active;
	enum err e = admin_arg_domain(j, "domain", 1, domain);

	if (!e)
		e = admin_arg_bool(j, "force", &set, &force);
	if (e)
		return e;
	args.v[ARG_DOMAIN] = domain;
	args.v[ARG_FORCE] = force ? "1" : "0";
	e = directory_run(d, SQL_DOMAIN_REMOVE, &args, &r);
	forget_all(j);
	if (!e && r.affected == 0) {
		e = directory_domain_find(d, domain, &active);
		if (e == E_NOTFOUND)
			e = no_such_domain(j, domain);
		else if (!e)
			e = admin_fail(j, E_CONFLICT,
				"%s still has users; remove them first, or repeat with --force",
				domain);
	}
	db_result_free(&r);
	return e;
}

/* ---- aliases ---- */

/* A target as it is stored: normalised, except for the case of its local part. */
static enum err
target_text(struct admin_job *j, const json_t *v, char **out)
{
	struct addr a;

	if (!json_is_string(v) ||
		addr_parse(str_make(json_string_value(v), json_string_length(v)), &a))
		return admin_fail(j, E_PARSE,
			"the target \"%s\" is not an address; write it as name@domain",
			json_is_string(v) ? json_string_value(v) : "");
	*out = mem_printf("%s@%s", a.raw_local, a.domain);
	return OK;
}

static enum err
targets_insert(struct admin_job *j, struct directory *d, struct directory_args *args,
	const json_t *targets, uint64_t *added)
{
	enum err e = OK;

	for (size_t i = 0; i < json_array_size(targets) && !e; i++) {
		struct db_result r;
		char *target = NULL;

		e = target_text(j, json_array_get(targets, i), &target);
		if (e)
			break;
		args->v[ARG_TARGET] = target;
		e = directory_run(d, SQL_ALIAS_ADD, args, &r);
		*added += r.affected;
		db_result_free(&r);
		free(target);
	}
	return e;
}

/* All targets or none. */
static enum err
alias_insert(struct admin_job *j, struct directory *d, struct directory_args *args,
	const json_t *targets, uint64_t *added)
{
	struct db_result r;
	enum err e;

	if (j->in_bulk)
		return targets_insert(j, d, args, targets, added);
	e = directory_run(d, SQL_BEGIN, NULL, &r);

	db_result_free(&r);
	if (e)
		return e;
	e = targets_insert(j, d, args, targets, added);
	if (!e) {
		e = directory_run(d, SQL_COMMIT, NULL, &r);
		db_result_free(&r);
	}
	if (e) {
		directory_run(d, SQL_ROLLBACK, NULL, &r);
		db_result_free(&r);
	}
	return e;
}

enum err
admin_alias_add(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	const json_t *targets = json_object_get(j->args, "targets");
	uint64_t added = 0;
	struct addr a;
	int active;
	enum err e = admin_arg_addr(j, "address", 1, &a);

	if (!e && (!json_is_array(targets) || json_array_size(targets) == 0 ||
			  json_array_size(targets) > DIRECTORY_TARGETS_MAX))
		e = admin_fail(j, E_PARSE, "\"targets\" must be a list of 1 to %d addresses",
			DIRECTORY_TARGETS_MAX);
	if (!e) {
		e = directory_domain_find(d, a.domain, &active);
		if (e == E_NOTFOUND)
			e = no_such_domain(j, a.domain);
	}
	if (e)
		return e;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	args.v[ARG_NOW] = j->now;
	e = alias_insert(j, d, &args, targets, &added);
	forget_answers(j);
	if (e == E_CONFLICT)
		e = no_such_domain(j, a.domain);
	if (!e && added == 0)
		e = admin_fail(j, E_EXISTS, "%s has these targets already; nothing to do", a.text);
	return e;
}

enum err
admin_alias_list(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char domain[ADDR_DOMAIN_MAX + 1];
	json_t *targets = NULL;
	char *last = NULL;
	enum err e = admin_arg_domain(j, "domain", 0, domain);

	if (e)
		return e;
	args.v[ARG_DOMAIN] = domain[0] ? domain : NULL;
	e = directory_run(d, SQL_ALIAS_LIST, &args, &r);
	if (!e)
		j->value = json_array();
	for (size_t i = 0; i < r.rows && !e; i++) {
		const char *local = db_result_get(&r, i, "local");
		const char *target = db_result_get(&r, i, "target");
		const char *name = db_result_get(&r, i, "domain");
		char *address = mem_printf("%s@%s", local ? local : "", name ? name : "");

		if (!last || strcmp(last, address) != 0) {
			json_t *o = json_pack("{s:s, s:[]}", "address", address, "targets");

			json_object_set_new(o, "active", flag_of(db_result_get(&r, i, "active")));
			targets = json_object_get(o, "targets");
			json_array_append_new(j->value, o);
			free(last);
			last = mem_strdup(address);
		}
		json_array_append_new(targets, json_string(target ? target : ""));
		free(address);
	}
	free(last);
	db_result_free(&r);
	return e;
}

/* {address, target?}: one target, or all. */
enum err
admin_alias_remove(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	const json_t *target = json_object_get(j->args, "target");
	struct db_result r;
	char *text = NULL;
	struct addr a;
	enum err e = admin_arg_addr(j, "address", 1, &a);

	if (!e && target)
		e = target_text(j, target, &text);
	if (e)
		return e;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	args.v[ARG_TARGET] = text;
	e = directory_run(d, SQL_ALIAS_REMOVE, &args, &r);
	forget_answers(j);
	if (!e && r.affected == 0)
		e = admin_fail(j, E_NOTFOUND, "there is no such alias %s; \"alias list\" shows all",
			a.text);
	db_result_free(&r);
	free(text);
	return e;
}

/* ---- domain aliases ---- */

enum err
admin_domain_alias_add(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char alias[ADDR_DOMAIN_MAX + 1], target[ADDR_DOMAIN_MAX + 1];
	int active;
	enum err e = admin_arg_domain(j, "alias", 1, alias);

	if (!e)
		e = admin_arg_domain(j, "target", 1, target);
	if (e)
		return e;
	e = directory_domain_find(d, alias, &active);
	if (!e)
		return admin_fail(j, E_EXISTS,
			"%s is a domain itself; remove it first: domain remove %s", alias, alias);
	if (e != E_NOTFOUND)
		return e;
	args.v[ARG_DOMAIN] = alias;
	args.v[ARG_TARGET] = target;
	args.v[ARG_NOW] = j->now;
	e = directory_run(d, SQL_DOMAIN_ALIAS_ADD, &args, &r);
	forget_all(j);
	if (e == E_EXISTS)
		e = admin_fail(j, e,
			"%s is an alias already; remove it first: domain-alias remove %s", alias,
			alias);
	else if (e == E_CONFLICT)
		e = no_such_domain(j, target);
	db_result_free(&r);
	return e;
}

enum err
admin_domain_alias_list(struct admin_job *j, struct directory *d)
{
	struct db_result r;
	enum err e = directory_run(d, SQL_DOMAIN_ALIAS_LIST, NULL, &r);

	if (!e)
		j->value = json_array();
	for (size_t i = 0; i < r.rows && !e; i++) {
		const char *alias = db_result_get(&r, i, "alias");
		const char *target = db_result_get(&r, i, "target");
		json_t *o = json_pack(
			"{s:s, s:s}", "alias", alias ? alias : "", "target", target ? target : "");

		json_object_set_new(o, "active", flag_of(db_result_get(&r, i, "active")));
		json_array_append_new(j->value, o);
	}
	db_result_free(&r);
	return e;
}

enum err
admin_domain_alias_remove(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r;
	char alias[ADDR_DOMAIN_MAX + 1];
	enum err e = admin_arg_domain(j, "alias", 1, alias);

	if (e)
		return e;
	args.v[ARG_DOMAIN] = alias;
	e = directory_run(d, SQL_DOMAIN_ALIAS_REMOVE, &args, &r);
	forget_all(j);
	if (!e && r.affected == 0)
		e = admin_fail(j, E_NOTFOUND,
			"there is no domain alias %s; \"domain-alias list\" shows all", alias);
	db_result_free(&r);
	return e;
}
