/* SPDX-License-Identifier: MIT */
#include "auth/admin.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/access.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- errors ---- */

enum err
admin_fail(struct admin_job *j, enum err e, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	free(j->message);
	j->message = buf_steal(&text);
	return e;
}

enum err
admin_fail_db(struct admin_job *j, enum err e)
{
	if (e == E_TEMPFAIL && !j->message)
		return admin_fail(j, e,
			"the database cannot be reached or refused; see the log of roost-auth, "
			"then try again");
	return e;
}

/* ---- arguments ---- */

enum err
admin_arg_text(struct admin_job *j, const char *key, int must, const char **out)
{
	const json_t *v = json_object_get(j->args, key);

	*out = NULL;
	if (!v || json_is_null(v))
		return must ? admin_fail(j, E_PARSE, "\"%s\" is missing; give it", key) : OK;
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return admin_fail(j, E_PARSE, "\"%s\" must be a text without NUL", key);
	*out = json_string_value(v);
	return OK;
}

enum err
admin_arg_addr(struct admin_job *j, const char *key, int pattern, struct addr *out)
{
	const char *text;
	enum err e = admin_arg_text(j, key, 1, &text);

	if (e)
		return e;
	ROOST_ASSERT(text); /* it must be there */
	if (pattern && text[0] == '@')
		e = addr_parse_pattern(str_of(text), out);
	else
		e = addr_parse(str_of(text), out);
	if (e)
		return admin_fail(j, E_PARSE, "\"%s\" is not an address; write it as name@domain%s",
			text, pattern ? ", or @domain to catch all" : "");
	return OK;
}

enum err
admin_arg_domain(struct admin_job *j, const char *key, int must, char *out)
{
	const char *text;
	enum err e = admin_arg_text(j, key, must, &text);

	out[0] = '\0';
	if (e || !text)
		return e;
	if (addr_domain_parse(str_of(text), out))
		return admin_fail(j, E_PARSE,
			"\"%s\" is not a domain; write a name such as example.com", text);
	return OK;
}

enum err
admin_arg_bool(struct admin_job *j, const char *key, int *set, int *out)
{
	const json_t *v = json_object_get(j->args, key);

	*set = v != NULL;
	if (v && !json_is_boolean(v))
		return admin_fail(j, E_PARSE, "\"%s\" must be true or false", key);
	*out = json_is_true(v);
	return OK;
}

enum err
admin_arg_number(struct admin_job *j, const char *key, int *set, int *is_null, uint64_t *out)
{
	const json_t *v = json_object_get(j->args, key);

	*set = v != NULL;
	*is_null = json_is_null(v);
	*out = 0;
	if (!v || *is_null)
		return OK;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return admin_fail(j, E_PARSE,
			"\"%s\" must be a whole number of at least 0 (0: no limit)", key);
	*out = (uint64_t)json_integer_value(v);
	return OK;
}

enum err
admin_arg_name(struct admin_job *j, int must, size_t max, const char **out)
{
	enum err e = admin_arg_text(j, "name", must, out);

	if (!e && *out &&
		(strlen(*out) > max || !str_is_utf8(str_of(*out)) || str_has_control(str_of(*out))))
		return admin_fail(
			j, E_PARSE, "\"name\" must be one line of at most %zu bytes", max);
	return e;
}

static enum err
list_arg(struct admin_job *j, const char *key, const char *what,
	enum err (*normalise)(const char *list, struct buf *out, struct str *bad), char **out)
{
	struct buf b = {0};
	struct str bad = {0};
	const char *text;
	enum err e = admin_arg_text(j, key, 0, &text);

	*out = NULL;
	if (e || !text)
		return e;
	e = normalise(text, &b, &bad);
	if (e == E_PARSE)
		e = admin_fail(j, e, "\"%s\": \"%.*s\" is not %s", key, STR_ARG(bad), what);
	else if (e)
		e = admin_fail(
			j, E_PARSE, "\"%s\" may have at most %d bytes", key, ACCESS_LIST_MAX);
	else
		*out = mem_strdup(buf_cstr(&b));
	buf_free(&b);
	return e;
}

enum err
admin_arg_protocols(struct admin_job *j, char **out)
{
	return list_arg(j, "protocols", "a protocol; these are imap, pop3 and smtp",
		access_services_normalise, out);
}

enum err
admin_arg_networks(struct admin_job *j, char **out)
{
	return list_arg(j, "networks", "a network; write it as 192.0.2.0/24 or 2001:db8::/32",
		access_networks_normalise, out);
}

enum err
admin_no_such_user(struct admin_job *j, const struct addr *a)
{
	return admin_fail(j, E_NOTFOUND, "there is no user %s; \"user list\" shows all", a->text);
}

void
admin_set_text(json_t *object, const char *key, const char *cell)
{
	json_object_set_new(object, key, json_string(cell ? cell : ""));
}

void
admin_set_number(json_t *object, const char *key, const char *cell)
{
	uint64_t n;

	if (cell && !str_to_u64(str_of(cell), &n) && n <= INT64_MAX)
		json_object_set_new(object, key, json_integer((json_int_t)n));
	else
		json_object_set_new(object, key, json_null());
}

/* ---- running ---- */

static void
admin_run(struct worker_job *job, struct directory *d)
{
	struct admin_job *j = (struct admin_job *)job;

	snprintf(j->now, sizeof(j->now), "%" PRId64, (int64_t)time(NULL));
	j->result = admin_fail_db(j, j->verb(j, d));
}

/* The document is freed with the request; its password is no use to anybody then. */
static void
wipe_password(const json_t *args)
{
	const json_t *v = json_object_get(args, "password");

	if (json_is_string(v))
		explicit_bzero((void *)(uintptr_t)json_string_value(v), json_string_length(v));
}

static void
admin_done(struct worker_job *job)
{
	struct admin_job *j = (struct admin_job *)job;
	struct auth_service *auth = j->auth;

	wipe_password(j->args);
	if (j->result)
		ctl_reply_error(
			j->req, j->result, "%s", j->message ? j->message : err_text(j->result));
	else
		ctl_reply_ok(j->req, j->value);
	free(j->message);
	free(j->scheme);
	free(j);
	auth_job_done(auth);
}

static void
submit(struct service_run *run, struct ctl_request *req, const json_t *args,
	enum err (*verb)(struct admin_job *j, struct directory *d))
{
	struct auth_service *auth = service_state(run);
	struct admin_job *j = MEM_NEW(struct admin_job);

	j->job.run = admin_run;
	j->job.done = admin_done;
	j->auth = auth;
	j->req = req;
	j->args = args;
	j->verb = verb;
	j->scheme = mem_strdup(auth->settings->scheme);
	if (worker_pool_submit(auth->workers, &j->job)) {
		ctl_reply_error(req, E_TEMPFAIL, "roost-auth is overloaded; try again later");
		free(j->scheme);
		free(j);
	}
}

static void
submit_change(struct service_run *run, struct ctl_request *req, const json_t *args,
	enum err (*verb)(struct admin_job *j, struct directory *d))
{
	const struct auth_service *auth = service_state(run);

	if (auth->settings->is_postfixadmin) {
		wipe_password(args);
		ctl_reply_error(req, E_UNSUPPORTED,
			"the directory is PostfixAdmin's (directory_schema = postfixadmin), which is "
			"only read here; make the change in PostfixAdmin");
		return;
	}
	submit(run, req, args, verb);
}

/* Needs no database. */
static void
cache_flush_verb(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct auth_service *auth = service_state(run);
	const json_t *user = json_object_get(args, "user");
	struct addr a;

	if (user && (!json_is_string(user) || addr_parse(str_of(json_string_value(user)), &a))) {
		ctl_reply_error(
			req, E_PARSE, "\"user\" is not an address; write it as name@domain");
		return;
	}
	auth_forget(auth, user ? a.text : NULL);
	penalty_flush(auth->penalty, user ? a.text : NULL);
	ctl_reply_ok(req, NULL);
}

#define VERB(name, how)                                                                            \
	static void run_##name(                                                                    \
		struct service_run *run, struct ctl_request *req, const json_t *args)              \
	{                                                                                          \
		how(run, req, args, admin_##name);                                                 \
	}
#define QUESTION(name) VERB(name, submit)
#define CHANGE(name) VERB(name, submit_change)

/* Not CHANGE for app passwords, for which there may be queries in any schema: they see themselves.
 */
QUESTION(db_schema)
CHANGE(user_add)
QUESTION(user_list)
QUESTION(user_show)
CHANGE(user_set)
CHANGE(user_remove)
CHANGE(import)
QUESTION(app_password_add)
QUESTION(app_password_list)
QUESTION(app_password_remove)
CHANGE(domain_add)
QUESTION(domain_list)
CHANGE(domain_set)
CHANGE(domain_remove)
CHANGE(alias_add)
QUESTION(alias_list)
CHANGE(alias_remove)
CHANGE(domain_alias_add)
QUESTION(domain_alias_list)
CHANGE(domain_alias_remove)

const struct ctl_verb admin_verbs[] = {
	{"db-schema", run_db_schema},
	{"user-add", run_user_add},
	{"user-list", run_user_list},
	{"user-show", run_user_show},
	{"user-set", run_user_set},
	{"user-remove", run_user_remove},
	{"import", run_import},
	{"app-password-add", run_app_password_add},
	{"app-password-list", run_app_password_list},
	{"app-password-remove", run_app_password_remove},
	{"domain-add", run_domain_add},
	{"domain-list", run_domain_list},
	{"domain-set", run_domain_set},
	{"domain-remove", run_domain_remove},
	{"alias-add", run_alias_add},
	{"alias-list", run_alias_list},
	{"alias-remove", run_alias_remove},
	{"domain-alias-add", run_domain_alias_add},
	{"domain-alias-list", run_domain_alias_list},
	{"domain-alias-remove", run_domain_alias_remove},
	{"cache-flush", cache_flush_verb},
	{NULL, NULL},
};
