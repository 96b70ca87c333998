/* SPDX-License-Identifier: MIT */
#include "auth/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/app_password.h"
#include "lib/mem.h"

static enum err
list(struct directory *d, const struct addr *a, struct db_result *out)
{
	struct directory_args args = {
		.v = {[ARG_ADDRESS] = a->text, [ARG_LOCAL] = a->local, [ARG_DOMAIN] = a->domain}};

	return directory_run(d, SQL_APP_PASSWORD_LIST, &args, out);
}

/* Whether the schema can do it, ours or with the query of this setting. */
static enum err
need_statement(struct admin_job *j, const struct directory *d, enum directory_statement id,
	const char *setting)
{
	if (directory_has(d, id))
		return OK;
	return admin_fail(j, E_UNSUPPORTED,
		"the directory is somebody else's schema, which has no app passwords unless "
		"%s is set",
		setting);
}

static enum err
need_user(struct admin_job *j, struct directory *d, const struct addr *a)
{
	struct directory_user user;
	enum err e = directory_user_find(d, a, &user);

	directory_user_free(&user);
	return e == E_NOTFOUND ? admin_no_such_user(j, a) : e;
}

static enum err
need_room(struct admin_job *j, struct directory *d, const struct addr *a)
{
	struct db_result r;
	enum err e = list(d, a, &r);

	if (!e && r.rows >= APP_PASSWORD_USER_MAX)
		e = admin_fail(j, E_TOOBIG, "%s has %d app passwords; remove one first", a->text,
			APP_PASSWORD_USER_MAX);
	db_result_free(&r);
	return e;
}

/* {address, name, protocols?, networks?, expires?: seconds}: {address, name, password} */
enum err
admin_app_password_add(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r = {0};
	char text[APP_PASSWORD_TEXT] = "", letters[APP_PASSWORD_LETTERS + 1], expires[24];
	char *protocols = NULL, *networks = NULL, *hash = NULL;
	const char *name;
	uint64_t end;
	int set = 0, is_null = 0;
	struct addr a;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (!e)
		e = admin_arg_name(j, 1, VERIFY_APP_NAME_MAX, &name);
	if (!e)
		e = admin_arg_protocols(j, &protocols);
	if (!e)
		e = admin_arg_networks(j, &networks);
	if (!e)
		e = admin_arg_number(j, "expires", &set, &is_null, &end);
	if (!e)
		e = need_statement(j, d, SQL_APP_PASSWORD_ADD, "query_app_password_add");
	if (!e)
		e = need_statement(j, d, SQL_APP_PASSWORD_LIST, "query_app_passwords");
	if (!e)
		e = need_user(j, d, &a);
	if (!e)
		e = need_room(j, d, &a);
	if (e)
		goto out;
	app_password_make(text);
	if (!app_password_letters(str_of(text), letters) || app_password_hash(letters, &hash)) {
		e = E_TEMPFAIL;
		goto out;
	}
	snprintf(expires, sizeof(expires), "%" PRIu64, end);
	args.v[ARG_ADDRESS] = a.text;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	args.v[ARG_NAME] = name;
	args.v[ARG_PASSWORD] = hash;
	args.v[ARG_PROTOCOLS] = protocols ? protocols : "";
	args.v[ARG_NETWORKS] = networks ? networks : "";
	args.v[ARG_EXPIRES] = set && !is_null ? expires : NULL;
	args.v[ARG_NOW] = j->now;
	e = directory_run(d, SQL_APP_PASSWORD_ADD, &args, &r);
	if (e == E_EXISTS)
		e = admin_fail(j, e, "%s has an app password \"%s\" already; remove it first",
			a.text, name);
	if (!e)
		j->value = json_pack(
			"{s:s, s:s, s:s}", "address", a.text, "name", name, "password", text);
out:
	db_result_free(&r);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(letters, sizeof(letters));
	free(hash);
	free(protocols);
	free(networks);
	return e;
}

enum err
admin_app_password_list(struct admin_job *j, struct directory *d)
{
	struct db_result r = {0};
	struct addr a;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (!e)
		e = need_statement(j, d, SQL_APP_PASSWORD_LIST, "query_app_passwords");
	if (!e)
		e = need_user(j, d, &a);
	if (!e)
		e = list(d, &a, &r);
	if (!e)
		j->value = json_array();
	for (size_t i = 0; i < r.rows && !e; i++) {
		json_t *o = json_object();

		admin_set_text(o, "name", db_result_get(&r, i, "name"));
		admin_set_text(o, "protocols", db_result_get(&r, i, "protocols"));
		admin_set_text(o, "networks", db_result_get(&r, i, "networks"));
		admin_set_number(o, "created", db_result_get(&r, i, "created"));
		admin_set_number(o, "expires", db_result_get(&r, i, "expires"));
		admin_set_number(o, "last_used", db_result_get(&r, i, "last_used"));
		admin_set_text(o, "last_used_ip", db_result_get(&r, i, "last_used_ip"));
		admin_set_text(o, "last_used_protocol", db_result_get(&r, i, "last_used_protocol"));
		json_array_append_new(j->value, o);
	}
	db_result_free(&r);
	return e;
}

enum err
admin_app_password_remove(struct admin_job *j, struct directory *d)
{
	struct directory_args args = {0};
	struct db_result r = {0};
	const char *name;
	struct addr a;
	enum err e = admin_arg_addr(j, "address", 0, &a);

	if (!e)
		e = admin_arg_name(j, 1, VERIFY_APP_NAME_MAX, &name);
	if (!e)
		e = need_statement(j, d, SQL_APP_PASSWORD_REMOVE, "query_app_password_remove");
	if (e)
		return e;
	args.v[ARG_ADDRESS] = a.text;
	args.v[ARG_LOCAL] = a.local;
	args.v[ARG_DOMAIN] = a.domain;
	args.v[ARG_NAME] = name;
	e = directory_run(d, SQL_APP_PASSWORD_REMOVE, &args, &r);
	if (!e && r.affected == 0)
		e = admin_fail(j, E_NOTFOUND, "%s has no app password \"%s\"", a.text, name);
	db_result_free(&r);
	return e;
}
