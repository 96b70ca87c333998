/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_ADMIN_H
#define ROOST_AUTH_ADMIN_H

#include <jansson.h>

#include "auth/directory.h"
#include "auth/service.h"

/* The administration verbs, executed in workers; private to admin*.c. */

struct admin_job {
	struct worker_job job;
	struct auth_service *auth;
	struct ctl_request *req;
	const json_t *args;
	enum err (*verb)(struct admin_job *j, struct directory *d);
	char *scheme;
	enum err result;
	json_t *value; /* with OK; NULL: an empty object */
	char *message; /* with an error; NULL: the error's own text */
	char now[24]; /* seconds, for SQL */
	int in_bulk; /* a transaction is open already */
};

/* Sets the message and returns e. */
enum err admin_fail(struct admin_job *j, enum err e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* What a failed change of the directory means to the administrator. */
enum err admin_fail_db(struct admin_job *j, enum err e);

/*
 * Arguments. E_PARSE with a message: missing (when must is 1) or of the wrong type. A missing one
 * that need not be there leaves *out NULL.
 */
enum err admin_arg_text(struct admin_job *j, const char *key, int must, const char **out);
enum err admin_arg_addr(struct admin_job *j, const char *key, int pattern, struct addr *out);
/* out[ADDR_DOMAIN_MAX + 1]; "" when it is missing and need not be there. */
enum err admin_arg_domain(struct admin_job *j, const char *key, int must, char *out);
/* *set: whether it is there. */
enum err admin_arg_bool(struct admin_job *j, const char *key, int *set, int *out);
/* A number >= 0, or null (*is_null) for the default. */
enum err admin_arg_number(
	struct admin_job *j, const char *key, int *set, int *is_null, uint64_t *out);

/*
 * "protocols" and "networks", as they are stored (auth/access.h), on the heap. A missing one leaves
 * *out NULL.
 */
enum err admin_arg_protocols(struct admin_job *j, char **out);
enum err admin_arg_networks(struct admin_job *j, char **out);
/* What "name" may be: one line. NULL when it is missing and need not be there. */
enum err admin_arg_name(struct admin_job *j, int must, size_t max, const char **out);
enum err admin_no_such_user(struct admin_job *j, const struct addr *a);

/* Sets key to the number in a cell of a result, or to null. */
void admin_set_text(json_t *object, const char *key, const char *cell); /* NULL: "" */
void admin_set_number(json_t *object, const char *key, const char *cell);

/* {database, version}: connects anew, which makes or upgrades the tables. */
enum err admin_db_schema(struct admin_job *j, struct directory *d);
enum err admin_user_add(struct admin_job *j, struct directory *d);
enum err admin_user_list(struct admin_job *j, struct directory *d);
enum err admin_user_show(struct admin_job *j, struct directory *d);
enum err admin_user_set(struct admin_job *j, struct directory *d);
enum err admin_user_remove(struct admin_job *j, struct directory *d);
enum err admin_import(struct admin_job *j, struct directory *d);
/* Puts a "password_hash" in the place of the arguments' "password". */
enum err admin_password_prepare(struct admin_job *j, struct directory *d);
enum err admin_app_password_add(struct admin_job *j, struct directory *d);
enum err admin_app_password_list(struct admin_job *j, struct directory *d);
enum err admin_app_password_remove(struct admin_job *j, struct directory *d);
enum err admin_domain_add(struct admin_job *j, struct directory *d);
enum err admin_domain_list(struct admin_job *j, struct directory *d);
enum err admin_domain_set(struct admin_job *j, struct directory *d);
enum err admin_domain_remove(struct admin_job *j, struct directory *d);
enum err admin_alias_add(struct admin_job *j, struct directory *d);
enum err admin_alias_list(struct admin_job *j, struct directory *d);
enum err admin_alias_remove(struct admin_job *j, struct directory *d);
enum err admin_domain_alias_add(struct admin_job *j, struct directory *d);
enum err admin_domain_alias_list(struct admin_job *j, struct directory *d);
enum err admin_domain_alias_remove(struct admin_job *j, struct directory *d);

#endif
