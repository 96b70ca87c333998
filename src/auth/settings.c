/* SPDX-License-Identifier: MIT */
#include "auth/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/addr.h"
#include "auth/passwd_file.h"
#include "auth/password.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static char *
own_hostname(const struct config *conf)
{
	char name[256] = "";

	if (conf->hostname[0])
		return mem_strdup(conf->hostname);
	if (gethostname(name, sizeof(name) - 1) || !name[0])
		return mem_strdup("localhost");
	return mem_strdup(name);
}

static char *
dummy_hash(const char *scheme)
{
	char secret[33], *hash;

	io_random_hex(secret, 16);
	if (password_hash(scheme, str_of(secret), &hash))
		hash = mem_strdup("{PLAIN}");
	return hash;
}

static void
masters_copy(const struct config *conf, struct auth_settings *s)
{
	struct addr a;

	s->master_separator = mem_strdup(conf->auth_master_user_separator);
	s->master_users = mem_zalloc((conf->master_users.count + 1) * sizeof(char *));
	for (size_t i = 0; i < conf->master_users.count; i++) {
		if (!addr_parse(str_of(conf->master_users.items[i]), &a))
			s->master_users[s->master_user_count++] = mem_strdup(a.text);
		else
			log_event(LOGL_ERROR, "auth.settings bad", "setting", "master_users",
				"value", conf->master_users.items[i], "message",
				"not an address; write it as name@domain", NULL);
	}
}

/* A file tells nobody, nor do tables that only the administrator's own queries know. */
static int
is_watchable(const struct auth_settings *s)
{
	return s->use_postgresql && !s->passwd_file && !s->query_user[0] && !s->query_alias[0] &&
	       !s->query_domain[0] && !s->query_domain_alias[0];
}

struct auth_settings *
auth_settings_create(const struct config *conf)
{
	struct auth_settings *s = MEM_NEW(struct auth_settings);

	atomic_init(&s->refs, 1);
	s->use_postgresql = strcmp(conf->db, "postgresql") == 0;
	s->is_postfixadmin = strcmp(conf->directory_schema, "postfixadmin") == 0;
	s->sqlite_path = mem_strdup(conf->sqlite_path);
	s->postgresql = mem_strdup(conf->postgresql);
	s->db_timeout_ms = (int)conf->db_timeout;
	s->query_user = mem_strdup(conf->query_user);
	s->query_alias = mem_strdup(conf->query_alias);
	s->query_domain = mem_strdup(conf->query_domain);
	s->query_domain_alias = mem_strdup(conf->query_domain_alias);
	s->query_password_rehash = mem_strdup(conf->query_password_rehash);
	s->query_app_passwords = mem_strdup(conf->query_app_passwords);
	s->query_app_password_used = mem_strdup(conf->query_app_password_used);
	s->query_app_password_add = mem_strdup(conf->query_app_password_add);
	s->query_app_password_remove = mem_strdup(conf->query_app_password_remove);
	s->delimiters = mem_strdup(conf->recipient_delimiter);
	s->scheme = mem_strdup(conf->password_scheme);
	s->rehash = conf->password_rehash;
	s->hostname = own_hostname(conf);
	s->mail_dir = mem_strdup(conf->mail_dir);
	s->default_quota_bytes = conf->default_quota;
	s->default_quota_messages = (uint64_t)conf->default_quota_messages;
	s->max_connections_per_user = (uint64_t)conf->max_connections_per_user;
	s->max_connections_per_user_ip = (uint64_t)conf->max_connections_per_user_ip;
	s->allow_weak_schemes = conf->allow_weak_schemes;
	s->saslauthd_socket = mem_strdup(conf->saslauthd_socket);
	s->saslauthd_service = mem_strdup(conf->saslauthd_service);
	s->saslauthd_timeout_ms = (int)conf->saslauthd_timeout;
	masters_copy(conf, s);
	s->oauth = oauth_create(conf);
	s->passwd_file = conf->passwd_file[0] ? passwd_file_create(conf->passwd_file) : NULL;
	s->is_watchable = is_watchable(s);
	s->dummy = dummy_hash(s->scheme);
	return s;
}

struct auth_settings *
auth_settings_ref(struct auth_settings *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
auth_settings_unref(struct auth_settings **sp)
{
	struct auth_settings *s = *sp;

	*sp = NULL;
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	free(s->sqlite_path);
	free(s->postgresql);
	free(s->query_user);
	free(s->query_alias);
	free(s->query_domain);
	free(s->query_domain_alias);
	free(s->query_password_rehash);
	free(s->query_app_passwords);
	free(s->query_app_password_used);
	free(s->query_app_password_add);
	free(s->query_app_password_remove);
	free(s->delimiters);
	free(s->scheme);
	free(s->hostname);
	free(s->saslauthd_socket);
	free(s->saslauthd_service);
	free(s->mail_dir);
	for (size_t i = 0; i < s->master_user_count; i++)
		free(s->master_users[i]);
	free(s->master_users);
	free(s->master_separator);
	oauth_free(&s->oauth);
	passwd_file_free(&s->passwd_file);
	free(s->dummy);
	free(s);
}
