/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LAZY_LIBRARY_H
#define ROOST_MTA_LAZY_LIBRARY_H

#include "lib/buf.h"
#include "lib/err.h"

/*
 * The clients of databases with all that they need are larger than whole processes of ours, and
 * most hosts have no such table: they are loaded when a table asks for one.
 *
 * lazy_pq.c and lazy_sqlite.c have those functions of libpq and SQLite that the tables use, under
 * their own names, and pass each call on. So a program is linked with these or with the library.
 */

/* Before the sandbox, and before any function of it is called. E_UNSUPPORTED: *why says why. */
enum err lazy_pq_load(struct buf *why);
enum err lazy_sqlite_load(struct buf *why);

/* For the two: a function for each of the names. E_UNSUPPORTED: they are all NULL. */
enum err lazy_library_load(const char *library, const char *const *names, size_t count,
	void **functions, struct buf *why);

#endif
