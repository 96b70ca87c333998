/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_POSTFIX_DIRECTORY_H
#define ROOST_IMPORT_POSTFIX_DIRECTORY_H

#include "import/postfix_conf.h"

/*
 * Where a Postfix has its virtual users: the PostgreSQL table (pgsql_table(5)) that
 * virtual_mailbox_maps names, and with it the database that Roost's directory can be on.
 */
struct postfix_directory {
	char *file; /* of the table; NULL: there is none */
	char *dsn; /* a libpq connection string; NULL: the file says no database, or cannot be read
		    */
	int postfixadmin; /* its query reads PostfixAdmin's tables */
};
/* Reads the file. What is wrong with it becomes a line in *left. */
void postfix_directory_find(
	const struct postfix_main *m, struct postfix_directory *out, struct buf *left);
void postfix_directory_free(struct postfix_directory *d);
/*
 * Whether the directory itself knows what this table ("pgsql:FILE") says: the aliases of
 * PostfixAdmin.
 */
int postfix_directory_covers(const struct postfix_directory *d, struct str table);

#endif
