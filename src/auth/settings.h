/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SETTINGS_H
#define ROOST_AUTH_SETTINGS_H

#include <stdatomic.h>
#include <stdint.h>

#include "auth/oauth.h"
#include "lib/conf.h"

struct passwd_file;

/*
 * What the workers need of the settings, in a copy that nobody changes: a reload frees the
 * configuration while they run. Shared by counting references.
 */
struct auth_settings {
	atomic_int refs;
	int use_postgresql;
	int is_postfixadmin; /* the tables are PostfixAdmin's, who alone writes them */
	int is_watchable; /* directory_watch.h: who changes what look-ups read is heard of */
	char *sqlite_path, *postgresql;
	int db_timeout_ms;
	/* Replaced statements (directory_sql.h); "": ours. */
	char *query_user, *query_alias, *query_domain, *query_domain_alias;
	char *query_password_rehash, *query_app_passwords, *query_app_password_used;
	char *query_app_password_add, *query_app_password_remove;
	char *delimiters;
	char *scheme;
	int rehash; /* passwords stored in another scheme than that, at their next use */
	char *hostname; /* never empty */
	char *mail_dir;
	struct oauth *oauth; /* NULL: not configured */
	struct passwd_file *passwd_file; /* NULL: none */
	uint64_t default_quota_bytes, default_quota_messages;
	uint64_t max_connections_per_user, max_connections_per_user_ip; /* 0: no limit */
	int allow_weak_schemes;
	char *saslauthd_socket, *saslauthd_service; /* "": none; the protocol's name */
	int saslauthd_timeout_ms;
	char **master_users; /* canonical addresses */
	size_t master_user_count;
	char *master_separator; /* "": none */
	char *dummy; /* a hash of the scheme that no password matches */
};

/* Hashes once for dummy: takes some 20 ms. */
struct auth_settings *auth_settings_create(const struct config *conf);
struct auth_settings *auth_settings_ref(struct auth_settings *s);
void auth_settings_unref(struct auth_settings **s);

#endif
