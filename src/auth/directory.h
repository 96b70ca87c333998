/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DIRECTORY_H
#define ROOST_AUTH_DIRECTORY_H

#include <stddef.h>
#include <stdint.h>

#include "auth/acl_groups.h"
#include "auth/addr.h"
#include "auth/moved.h"
#include "auth/settings.h"
#include "lib/err.h"
#include "lib/quota_rules.h"

/*
 * The directory of domains, users and aliases: one interface over PostgreSQL (libpq) and SQLite.
 * Calls block, for at most about db_timeout. A database that is down, slow or answers garbage is
 * E_TEMPFAIL, never E_NOTFOUND. While it is known to be down, calls fail at once and one a second
 * tries again.
 */

/* What the connections of a process know together. Threads share one. */
struct directory_health;
struct directory_health *directory_health_create(void);
void directory_health_free(struct directory_health **h);
int directory_health_is_down(struct directory_health *h);

/* One thread's connection, opened when first needed. */
struct directory;
struct directory *directory_create(struct auth_settings *settings, struct directory_health *health);
void directory_free(struct directory **d);
/* The next question makes another connection, which makes or upgrades the tables. */
void directory_disconnect(struct directory *d);
const struct auth_settings *directory_settings(const struct directory *d);
/* Checks the replaceable queries. E_PARSE: *why (the caller frees it) says which and what. */
enum err directory_check_queries(const struct auth_settings *s, char **why);

/* ---- look-ups ---- */

struct directory_user {
	struct addr addr;
	char *password; /* stored form */
	char *protocols, *networks; /* where he may log in from: auth/access.h */
	uint64_t quota_bytes, quota_messages; /* 0: no limit */
	char quota_rules[QUOTA_RULES_USER_MAX + 1]; /* lib/quota_rules.h */
	uint32_t max_connections, max_connections_per_ip; /* 0: no limit */
	char host[MOVED_HOST_MAX + 1]; /* where his mail is; "": here */
	char acl_groups[ACL_GROUPS_MAX + 1]; /* auth/acl_groups.h */
	int active;
	int is_of_file; /* from passwd_file; a change there is told by nobody */
};
void directory_user_free(struct directory_user *u);
/*
 * The mailbox of exactly this address, of passwd_file or else of the database. *out is zeroed
 * first. E_NOTFOUND.
 */
enum err directory_user_find(struct directory *d, const struct addr *a, struct directory_user *out);
/* E_NOTFOUND: not a domain of ours. */
enum err directory_domain_find(struct directory *d, const char *domain, int *active);
/* The domain that this one stands for, into target[ADDR_DOMAIN_MAX + 1]. E_NOTFOUND. */
enum err directory_domain_alias_find(struct directory *d, const char *domain, char *target);
/* The active domain whose name sorts first. E_NOTFOUND. */
enum err directory_domain_first(struct directory *d, char *domain);

struct directory_targets {
	char **items;
	size_t count;
};
enum { DIRECTORY_TARGETS_MAX = 10000 };
void directory_targets_free(struct directory_targets *t);
/* What exactly this address ("@domain": the catch-all) is an alias for. E_NOTFOUND; E_TOOBIG. */
enum err directory_alias_find(
	struct directory *d, const struct addr *a, struct directory_targets *out);
/* ---- administration: the statements by name ---- */

enum directory_statement {
	SQL_SCHEMA_VERSION,
	SQL_DOMAIN_FIND,
	SQL_DOMAIN_FIRST,
	SQL_DOMAIN_ALIAS_FIND,
	SQL_USER_FIND,
	SQL_ALIAS_FIND,
	SQL_LOGIN_NOTE,
	SQL_PASSWORD_REHASH,
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_APP_PASSWORD_LIST,
	SQL_APP_PASSWORD_NOTE,
	SQL_APP_PASSWORD_ADD,
	SQL_APP_PASSWORD_REMOVE,
	SQL_USER_ADD,
	SQL_USER_LIST,
	SQL_USER_SHOW,
	SQL_USER_SET,
	SQL_USER_REMOVE,
	SQL_QUOTA_SET,
	SQL_QUOTA_CLEAR,
	SQL_DOMAIN_ADD,
	SQL_DOMAIN_LIST,
	SQL_DOMAIN_SET,
	SQL_DOMAIN_REMOVE,
	SQL_ALIAS_ADD,
	SQL_ALIAS_LIST,
	SQL_ALIAS_REMOVE,
	SQL_DOMAIN_ALIAS_ADD,
	SQL_DOMAIN_ALIAS_LIST,
	SQL_DOMAIN_ALIAS_REMOVE,
	SQL_COUNT
};

/* Whether the schema has this statement. Somebody else's has none that writes unless it was set. */
int directory_has(const struct directory *d, enum directory_statement id);

/* Arguments by name, ":local" and so on in the SQL. NULL is SQL's NULL. */
enum directory_arg {
	ARG_ADDRESS,
	ARG_LOCAL,
	ARG_DOMAIN,
	ARG_PASSWORD,
	ARG_OLD,
	ARG_QUOTA,
	ARG_MESSAGES,
	ARG_ACTIVE,
	ARG_NAME,
	ARG_TARGET,
	ARG_NOW,
	ARG_FORCE,
	ARG_LIMIT,
	ARG_RULES,
	ARG_SET,
	ARG_PROTOCOLS,
	ARG_NETWORKS,
	ARG_EXPIRES,
	ARG_IP,
	ARG_CONNECTIONS,
	ARG_CONNECTIONS_PER_IP,
	ARG_SET_CONNECTIONS,
	ARG_SET_CONNECTIONS_PER_IP,
	ARG_HOST,
	ARG_ACL_GROUPS,
	ARG_COUNT
};
struct directory_args {
	const char *v[ARG_COUNT];
};

/* Rows of text. */
struct db_result {
	size_t rows, cols;
	uint64_t affected; /* rows inserted, changed or deleted */
	char **names; /* of the columns */
	char **cells; /* rows * cols, row by row; NULL is SQL's NULL */
};
void db_result_free(struct db_result *r);
/* The cell in the column of that name; NULL for SQL's NULL or when there is no such column. */
const char *db_result_get(const struct db_result *r, size_t row, const char *column);

/*
 * Runs one statement. *out is zeroed first, the caller frees it. E_EXISTS: unique key; E_CONFLICT:
 * foreign key; E_TEMPFAIL. Between SQL_BEGIN and SQL_COMMIT a lost connection fails the whole.
 */
enum err directory_run(struct directory *d, enum directory_statement id,
	const struct directory_args *args, struct db_result *out);

#endif
