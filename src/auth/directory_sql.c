/* SPDX-License-Identifier: MIT */
#include "auth/directory_sql.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"

/*
 * All SQL of the directory, in words that both databases understand. The casts tell PostgreSQL the
 * type of a parameter where nothing else does.
 */
#define RULES                                                                                      \
	"(SELECT rules FROM quota q WHERE q.domain = mailbox.domain AND "                          \
	"q.local = mailbox.local) AS quota_rules"

#define LAST_LOGIN "last_login, last_login_ip, last_login_protocol"
#define CONNECTIONS "max_connections, max_connections_per_ip"

static const char *const texts[SQL_COUNT] = {
	[SQL_SCHEMA_VERSION] = "SELECT max(version) AS version FROM schema_version",
	[SQL_DOMAIN_FIND] = "SELECT active FROM domain WHERE name = :domain",
	[SQL_DOMAIN_FIRST] = "SELECT name FROM domain WHERE active <> 0 ORDER BY name LIMIT 1",
	[SQL_DOMAIN_ALIAS_FIND] =
		"SELECT target FROM domain_alias WHERE alias = :domain AND active <> 0",
	[SQL_USER_FIND] = "SELECT password, quota_bytes, quota_messages, " RULES ", active, "
			  "protocols, networks, max_connections, max_connections_per_ip, host, "
			  "acl_groups "
			  "FROM mailbox WHERE domain = :domain AND local = :local",
	[SQL_ALIAS_FIND] = "SELECT target FROM alias WHERE domain = :domain AND local = :local "
			   "AND active <> 0 ORDER BY target LIMIT 10001",
	[SQL_LOGIN_NOTE] = "UPDATE mailbox SET last_login = :now, last_login_ip = :ip, "
			   "last_login_protocol = :protocols "
			   "WHERE domain = :domain AND local = :local",
	/* A password that was changed meanwhile stays. */
	[SQL_PASSWORD_REHASH] = "UPDATE mailbox SET password = :password, changed = :now WHERE "
				"domain = :domain AND local = :local AND password = :old",
	[SQL_APP_PASSWORD_LIST] =
		"SELECT name, password, services AS protocols, networks, created, expires, "
		"last_used, last_used_ip, last_used_protocol FROM app_password WHERE domain = :domain AND local = :local "
		"ORDER BY name LIMIT 100",
	[SQL_APP_PASSWORD_NOTE] = "UPDATE app_password SET last_used = :now, last_used_ip = :ip, "
				  "last_used_protocol = :protocols WHERE "
				  "domain = :domain AND local = :local AND name = :name",
	[SQL_APP_PASSWORD_ADD] =
		"INSERT INTO app_password (domain, local, name, password, services, networks, "
		"created, expires) VALUES (:domain, :local, :name, :password, :protocols, "
		":networks, :now, CAST(:expires AS BIGINT))",
	[SQL_APP_PASSWORD_REMOVE] = "DELETE FROM app_password WHERE domain = :domain AND "
				    "local = :local AND name = :name",
	[SQL_BEGIN] = "BEGIN",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_USER_ADD] =
		"INSERT INTO mailbox (domain, local, password, quota_bytes, "
		"quota_messages, name, protocols, networks, max_connections, "
		"max_connections_per_ip, host, acl_groups, created, changed) VALUES (:domain, :local, "
		":password, :quota, :messages, :name, COALESCE(CAST(:protocols AS TEXT), ''), "
		"COALESCE(CAST(:networks AS TEXT), ''), :connections, :connections_per_ip, "
		"COALESCE(CAST(:host AS TEXT), ''), COALESCE(CAST(:acl_groups AS TEXT), ''), "
		":now, :now)",
	[SQL_USER_LIST] =
		"SELECT local, domain, name, quota_bytes, quota_messages, " RULES
		", active, created, "
		"changed, " LAST_LOGIN ", " CONNECTIONS
		", protocols, networks, host, acl_groups, password FROM mailbox WHERE (CAST(:domain AS TEXT) IS NULL OR domain = "
		"CAST(:domain AS TEXT)) AND (CAST(:address AS TEXT) IS NULL OR "
		"domain || '@' || local > CAST(:address AS TEXT)) "
		"ORDER BY domain || '@' || local LIMIT CAST(:limit AS BIGINT)",
	[SQL_USER_SHOW] =
		"SELECT local, domain, name, quota_bytes, quota_messages, " RULES
		", active, created, "
		"changed, " LAST_LOGIN ", " CONNECTIONS
		", protocols, networks, host, acl_groups FROM mailbox WHERE domain = :domain AND local = :local",
	/*
	 * force: 1 quota_bytes is set, also to NULL; 0: it stays. set: so for quota_messages, and
	 * set_connections, set_connections_per_ip for the limits of connections.
	 */
	[SQL_USER_SET] =
		"UPDATE mailbox SET password = COALESCE(CAST(:password AS TEXT), password), "
		"quota_bytes = CASE WHEN CAST(:force AS BIGINT) = 1 THEN CAST(:quota AS BIGINT) "
		"ELSE quota_bytes END, "
		"quota_messages = CASE WHEN CAST(:set AS BIGINT) = 1 THEN "
		"CAST(:messages AS BIGINT) ELSE quota_messages END, "
		"max_connections = CASE WHEN CAST(:set_connections AS BIGINT) = 1 THEN "
		"CAST(:connections AS BIGINT) ELSE max_connections END, "
		"max_connections_per_ip = CASE WHEN CAST(:set_connections_per_ip AS BIGINT) = 1 "
		"THEN CAST(:connections_per_ip AS BIGINT) ELSE max_connections_per_ip END, "
		"active = COALESCE(CAST(:active AS SMALLINT), active), "
		"name = COALESCE(CAST(:name AS TEXT), name), "
		"host = COALESCE(CAST(:host AS TEXT), host), "
		"acl_groups = COALESCE(CAST(:acl_groups AS TEXT), acl_groups), "
		"protocols = COALESCE(CAST(:protocols AS TEXT), protocols), "
		"networks = COALESCE(CAST(:networks AS TEXT), networks), changed = :now "
		"WHERE domain = :domain AND local = :local",
	[SQL_USER_REMOVE] = "DELETE FROM mailbox WHERE domain = :domain AND local = :local",
	[SQL_QUOTA_SET] = "INSERT INTO quota (domain, local, rules, changed) VALUES (:domain, "
			  ":local, :rules, :now) ON CONFLICT (domain, local) DO UPDATE SET "
			  "rules = EXCLUDED.rules, changed = EXCLUDED.changed",
	[SQL_QUOTA_CLEAR] = "DELETE FROM quota WHERE domain = :domain AND local = :local",
	[SQL_DOMAIN_ADD] =
		"INSERT INTO domain (name, created, changed) VALUES (:domain, :now, :now)",
	[SQL_DOMAIN_LIST] =
		"SELECT name, active, created, changed, (SELECT count(*) FROM mailbox m "
		"WHERE m.domain = domain.name) AS users, (SELECT count(DISTINCT local) FROM alias a "
		"WHERE a.domain = domain.name) AS aliases FROM domain ORDER BY name",
	[SQL_DOMAIN_SET] =
		"UPDATE domain SET active = :active, changed = :now WHERE name = :domain",
	[SQL_DOMAIN_REMOVE] =
		"DELETE FROM domain WHERE name = :domain AND (CAST(:force AS BIGINT) = 1 "
		"OR NOT EXISTS (SELECT 1 FROM mailbox WHERE mailbox.domain = :domain))",
	[SQL_ALIAS_ADD] = "INSERT INTO alias (domain, local, target, created) "
			  "VALUES (:domain, :local, :target, :now) ON CONFLICT DO NOTHING",
	[SQL_ALIAS_LIST] =
		"SELECT local, domain, target, active FROM alias WHERE (CAST(:domain AS TEXT) "
		"IS NULL OR domain = CAST(:domain AS TEXT)) AND (CAST(:local AS TEXT) IS NULL OR "
		"local = CAST(:local AS TEXT)) ORDER BY domain, local, target",
	[SQL_ALIAS_REMOVE] = "DELETE FROM alias WHERE domain = :domain AND local = :local AND "
			     "(CAST(:target AS TEXT) IS NULL OR target = CAST(:target AS TEXT))",
	[SQL_DOMAIN_ALIAS_ADD] = "INSERT INTO domain_alias (alias, target, created) "
				 "VALUES (:domain, :target, :now)",
	[SQL_DOMAIN_ALIAS_LIST] = "SELECT alias, target, active FROM domain_alias ORDER BY alias",
	[SQL_DOMAIN_ALIAS_REMOVE] = "DELETE FROM domain_alias WHERE alias = :domain",
};

/* Nothing ever wrote the table as it was. */
#define TO_VERSION_2                                                                               \
	"DROP TABLE quota; CREATE TABLE quota (domain TEXT NOT NULL, local TEXT NOT NULL, "        \
	"rules TEXT NOT NULL, changed BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (domain, local), "    \
	"FOREIGN KEY (domain, local) REFERENCES mailbox (domain, local) ON DELETE CASCADE); "      \
	"UPDATE schema_version SET version = 2"

#define TO_VERSION_3                                                                               \
	"ALTER TABLE mailbox ADD COLUMN protocols TEXT NOT NULL DEFAULT ''; "                      \
	"ALTER TABLE mailbox ADD COLUMN networks TEXT NOT NULL DEFAULT ''; "                       \
	"UPDATE schema_version SET version = 3"

#define TO_VERSION_4                                                                               \
	"ALTER TABLE mailbox ADD COLUMN max_connections BIGINT; "                                  \
	"ALTER TABLE mailbox ADD COLUMN max_connections_per_ip BIGINT; "                           \
	"ALTER TABLE mailbox ADD COLUMN last_login_ip TEXT; "                                      \
	"ALTER TABLE mailbox ADD COLUMN last_login_protocol TEXT; "                                \
	"ALTER TABLE app_password ADD COLUMN last_used_ip TEXT; "                                  \
	"ALTER TABLE app_password ADD COLUMN last_used_protocol TEXT; "                            \
	"UPDATE schema_version SET version = 4"

#define TO_VERSION_5                                                                               \
	"ALTER TABLE mailbox ADD COLUMN host TEXT NOT NULL DEFAULT ''; "                           \
	"UPDATE schema_version SET version = 5"

#define TO_VERSION_6                                                                               \
	"ALTER TABLE mailbox ADD COLUMN acl_groups TEXT NOT NULL DEFAULT ''; "                     \
	"UPDATE schema_version SET version = 6"

#define TO_VERSION_7 "UPDATE schema_version SET version = 7"

/* The triggers name columns, so they are made anew with each version that has others. */
#define DROP_WATCH                                                                                 \
	"DROP TRIGGER IF EXISTS roost_directory_changed ON mailbox; "                              \
	"DROP TRIGGER IF EXISTS roost_directory_changed ON quota; "                                \
	"DROP TRIGGER IF EXISTS roost_directory_changed ON domain; "                               \
	"DROP TRIGGER IF EXISTS roost_directory_changed ON domain_alias; "                         \
	"DROP TRIGGER IF EXISTS roost_directory_changed ON alias; "                                \
	"DROP TRIGGER IF EXISTS roost_directory_emptied ON mailbox; "                              \
	"DROP TRIGGER IF EXISTS roost_directory_emptied ON quota"

const struct db_schema_upgrade db_schema_upgrades[DB_SCHEMA_VERSION - 1] = {
	{TO_VERSION_2, TO_VERSION_2},
	{TO_VERSION_3, TO_VERSION_3},
	{TO_VERSION_4, TO_VERSION_4},
	{TO_VERSION_5, TO_VERSION_5},
	{TO_VERSION_6, TO_VERSION_6},
	{TO_VERSION_7 "; " DROP_WATCH ";\n"
#include "src/auth/schema_pg_watch.inc"
		,
		TO_VERSION_7},
};

static const char *const arg_names[ARG_COUNT] = {
	[ARG_ADDRESS] = "address",
	[ARG_LOCAL] = "local",
	[ARG_DOMAIN] = "domain",
	[ARG_PASSWORD] = "password",
	[ARG_OLD] = "old",
	[ARG_QUOTA] = "quota",
	[ARG_MESSAGES] = "messages",
	[ARG_ACTIVE] = "active",
	[ARG_NAME] = "name",
	[ARG_TARGET] = "target",
	[ARG_NOW] = "now",
	[ARG_FORCE] = "force",
	[ARG_LIMIT] = "limit",
	[ARG_RULES] = "rules",
	[ARG_SET] = "set",
	[ARG_PROTOCOLS] = "protocols",
	[ARG_NETWORKS] = "networks",
	[ARG_EXPIRES] = "expires",
	[ARG_IP] = "ip",
	[ARG_CONNECTIONS] = "connections",
	[ARG_CONNECTIONS_PER_IP] = "connections_per_ip",
	[ARG_SET_CONNECTIONS] = "set_connections",
	[ARG_SET_CONNECTIONS_PER_IP] = "set_connections_per_ip",
	[ARG_HOST] = "host",
	[ARG_ACL_GROUPS] = "acl_groups",
};

#define REPLACEABLE(id, name)                                                                      \
	{                                                                                          \
		id, #name, offsetof(struct auth_settings, name)                                    \
	}

const struct directory_replaceable directory_replaceable[] = {
	REPLACEABLE(SQL_USER_FIND, query_user),
	REPLACEABLE(SQL_ALIAS_FIND, query_alias),
	REPLACEABLE(SQL_DOMAIN_FIND, query_domain),
	REPLACEABLE(SQL_DOMAIN_ALIAS_FIND, query_domain_alias),
	REPLACEABLE(SQL_PASSWORD_REHASH, query_password_rehash),
	REPLACEABLE(SQL_APP_PASSWORD_LIST, query_app_passwords),
	REPLACEABLE(SQL_APP_PASSWORD_NOTE, query_app_password_used),
	REPLACEABLE(SQL_APP_PASSWORD_ADD, query_app_password_add),
	REPLACEABLE(SQL_APP_PASSWORD_REMOVE, query_app_password_remove),
	{0, NULL, 0},
};

/* The administrator's text of a statement, or "". */
static const char *
own_text(const struct auth_settings *s, enum directory_statement id)
{
	for (const struct directory_replaceable *r = directory_replaceable; r->setting; r++)
		if (r->id == id)
			return *(char *const *)((const char *)s + r->offset);
	return "";
}

/* What is only about users in our own table, who are elsewhere when their look-up is replaced. */
static int
needs_our_users(enum directory_statement id)
{
	return id == SQL_LOGIN_NOTE || id == SQL_PASSWORD_REHASH || id == SQL_APP_PASSWORD_LIST ||
	       id == SQL_APP_PASSWORD_NOTE || id == SQL_APP_PASSWORD_ADD ||
	       id == SQL_APP_PASSWORD_REMOVE;
}

const char *
directory_sql_text(const struct auth_settings *s, enum directory_statement id)
{
	const char *own = own_text(s, id);
	const char *text = s->is_postfixadmin ? directory_sql_postfixadmin[id] : texts[id];

	if (own[0])
		return own;
	if (s->query_user[0] && (needs_our_users(id) || id == SQL_SCHEMA_VERSION))
		return "";
	return text ? text : "";
}

/* Length of the quoted text or comment at p; 0: there is none; SIZE_MAX: it does not end. */
static size_t
opaque_len(const char *p)
{
	const char *end;

	if (*p == '\'' || *p == '"') {
		end = strchr(p + 1, *p);
		return end ? (size_t)(end - p) + 1 : SIZE_MAX;
	}
	if (p[0] == '-' && p[1] == '-')
		return strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*') {
		end = strstr(p + 2, "*/");
		return end ? (size_t)(end - p) + 2 : SIZE_MAX;
	}
	if (p[0] == ':' && p[1] == ':')
		return 2;
	return 0;
}

static size_t
name_len(const char *p)
{
	size_t n = 0;

	while (str_is_alnum(p[n]) || p[n] == '_')
		n++;
	return n;
}

/* The number, from 1, of this argument in the statement; 0: there are too many. */
static size_t
param_number(struct db_statement *st, size_t arg)
{
	for (size_t i = 0; i < st->param_count; i++)
		if (st->params[i] == arg)
			return i + 1;
	if (st->param_count == DB_PARAMS_MAX)
		return 0;
	st->params[st->param_count++] = (unsigned char)arg;
	return st->param_count;
}

static enum err
param_add(struct db_statement *st, struct str name, char mark, struct buf *out, char **why)
{
	for (size_t arg = 0; arg < ARG_COUNT; arg++) {
		size_t number;

		if (!str_is(name, arg_names[arg]))
			continue;
		number = param_number(st, arg);
		if (number == 0)
			break;
		buf_add_char(out, mark);
		buf_add_u64(out, number);
		return OK;
	}
	if (why)
		*why = mem_printf("unknown parameter ':%.*s'; roost-auth(8) says which there are",
			STR_ARG(name));
	return E_PARSE;
}

enum err
db_statement_compile(const char *sql, char mark, struct db_statement *out, char **why)
{
	struct db_statement st = {0};
	struct buf text = BUF_INIT(65536);
	enum err e = OK;

	memset(out, 0, sizeof(*out));
	while (*sql && !e) {
		size_t len = opaque_len(sql);

		if (len == SIZE_MAX) {
			if (why)
				*why = mem_strdup("a quote or comment is not closed; close it");
			e = E_PARSE;
		} else if (len > 0) {
			e = buf_add(&text, sql, len);
			sql += len;
		} else if (*sql == ':' && name_len(sql + 1) > 0 && !str_is_digit(sql[1])) {
			len = name_len(sql + 1);
			e = param_add(&st, str_make(sql + 1, len), mark, &text, why);
			sql += len + 1;
		} else {
			e = buf_add_char(&text, *sql++);
		}
	}
	if (!e) {
		st.sql = buf_steal(&text);
		*out = st;
	}
	buf_free(&text);
	return e;
}

void
db_statement_free(struct db_statement *st)
{
	MEM_FREE(st->sql);
}
