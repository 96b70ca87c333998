/* SPDX-License-Identifier: MIT */
#include "auth/directory_sql.h"

/*
 * PostfixAdmin's tables as they are; only read, for PostfixAdmin writes them. Truths are BOOLEAN in
 * PostgreSQL and numbers in SQLite: a bare column is a condition in both.
 */
#define IS_TRUE(column) "CASE WHEN " column " THEN 1 ELSE 0 END"
/* An alias domain has a row in "domain" too. */
#define IS_OURS                                                                                    \
	"NOT backupmx AND NOT EXISTS (SELECT 1 FROM alias_domain ad "                              \
	"WHERE ad.alias_domain = domain.domain AND ad.active)"
#define USER_COLUMNS                                                                                         \
	"SELECT local_part AS local, domain, name, quota AS quota_bytes, NULL AS quota_messages, password, " \
	"NULL AS quota_rules, " IS_TRUE("active") " AS active, NULL AS created, NULL AS changed, "           \
						  "NULL AS last_login FROM mailbox "

const char *const directory_sql_postfixadmin[SQL_COUNT] = {
	[SQL_DOMAIN_FIND] = "SELECT " IS_TRUE(
		"active") " AS active FROM domain WHERE domain = :domain AND " IS_OURS,
	/* The row "ALL" stands for an administrator's right, not for a domain. */
	[SQL_DOMAIN_FIRST] = "SELECT domain AS name FROM domain WHERE active AND domain <> 'ALL' "
			     "AND " IS_OURS " ORDER BY domain LIMIT 1",
	[SQL_DOMAIN_ALIAS_FIND] = "SELECT target_domain AS target FROM alias_domain "
				  "WHERE alias_domain = :domain AND active",
	[SQL_USER_FIND] = "SELECT password, quota AS quota_bytes, " IS_TRUE(
		"active") " AS active FROM mailbox WHERE username = :address",
	/* Each mailbox has an alias to itself, which would only take the detail off. */
	[SQL_ALIAS_FIND] = "SELECT goto AS target FROM alias "
			   "WHERE address = :address AND active AND goto <> address",
	[SQL_BEGIN] = "BEGIN",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_USER_LIST] = USER_COLUMNS
	"WHERE (CAST(:domain AS TEXT) IS NULL OR domain = CAST(:domain AS TEXT)) AND "
	"(CAST(:address AS TEXT) IS NULL OR "
	"domain || '@' || local_part > CAST(:address AS TEXT)) "
	"ORDER BY domain || '@' || local_part LIMIT CAST(:limit AS BIGINT)",
	[SQL_USER_SHOW] = USER_COLUMNS
	"WHERE username = CAST(:local AS TEXT) || '@' || CAST(:domain AS TEXT)",
	[SQL_DOMAIN_LIST] = "SELECT domain AS name, " IS_TRUE(
		"active") " AS active, NULL AS created, NULL AS changed, (SELECT count(*) FROM "
			  "mailbox m WHERE m.domain = domain.domain) AS users, (SELECT count(*) "
			  "FROM alias a WHERE a.domain = domain.domain AND a.goto <> a.address) AS "
			  "aliases FROM domain WHERE domain <> 'ALL' AND " IS_OURS
			  " ORDER BY domain",
	[SQL_ALIAS_LIST] = "SELECT substr(address, 1, length(address) - length(domain) - 1) AS "
			   "local, domain, goto AS target, " IS_TRUE(
				   "active") " AS active FROM alias WHERE goto <> address AND "
					     "(CAST(:domain AS TEXT) IS NULL OR "
					     "domain = CAST(:domain AS TEXT)) AND "
					     "(CAST(:local AS TEXT) IS NULL OR address = "
					     "CAST(:local AS TEXT) || '@' || domain) "
					     "ORDER BY domain, address",
	[SQL_DOMAIN_ALIAS_LIST] = "SELECT alias_domain AS alias, target_domain AS target, " IS_TRUE(
		"active") " AS active FROM alias_domain ORDER BY alias_domain",
};
