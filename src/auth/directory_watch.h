/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DIRECTORY_WATCH_H
#define ROOST_AUTH_DIRECTORY_WATCH_H

#include "auth/answers.h"
#include "auth/cache.h"
#include "auth/settings.h"

/*
 * A thread that hears of changes in PostgreSQL which did not come through roost-auth (NOTIFY on
 * the channel roost_directory) and makes others forget: all answers of the directory, and of the
 * passwords that of the user whose address is the payload, none where it is "alias", else all. It
 * forgets everything whenever it begins to listen, too: nobody knows what was missed. With SQLite
 * it waits. While the database is away what is remembered stays, for at most auth_cache_ttl.
 */
struct directory_watch;

/* Call it when the sandbox is closed, which threads inherit. */
struct directory_watch *directory_watch_create(
	struct auth_settings *settings, struct cache *cache, struct answers *answers);
/* Waits for the thread, at most about db_timeout. */
void directory_watch_free(struct directory_watch **w);
/* From now on these: connects anew. */
void directory_watch_set_settings(struct directory_watch *w, struct auth_settings *settings);
/* Whether changes are heard of now. */
int directory_watch_is_up(struct directory_watch *w);
/*
 * Whether every change of what a look-up reads is heard of now: the triggers of
 * schema_pg_watch.sql or postfixadmin_watch.sql are there, and the settings name no other tables.
 */
int directory_watch_is_complete(struct directory_watch *w);

#endif
