/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DIRECTORY_SQL_H
#define ROOST_AUTH_DIRECTORY_SQL_H

#include "auth/directory_db.h"

/*
 * Turns named parameters (":domain") into the database's numbered ones, leaving alone what stands
 * in quotes and comments, and PostgreSQL's "::type". E_PARSE: an unknown name, an open quote, or
 * more than DB_PARAMS_MAX different ones; *why (if not NULL; the caller frees it) has the reason.
 */
enum err db_statement_compile(const char *sql, char mark, struct db_statement *out, char **why);
void db_statement_free(struct db_statement *st);
/* Those that read PostfixAdmin's tables; NULL for those that would write. */
extern const char *const directory_sql_postfixadmin[SQL_COUNT];
/* The statements that a setting replaces, ended by a NULL setting; offset: in auth_settings. */
struct directory_replaceable {
	enum directory_statement id;
	const char *setting;
	size_t offset;
};
extern const struct directory_replaceable directory_replaceable[];
/* The text of a statement, "" where the schema has none: the administrator's, or ours. */
const char *directory_sql_text(const struct auth_settings *s, enum directory_statement id);

#endif
