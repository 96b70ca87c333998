/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DIRECTORY_PG_CONNECT_H
#define ROOST_AUTH_DIRECTORY_PG_CONNECT_H

#include <libpq-fe.h>

#include "lib/err.h"
#include "lib/log.h"

/*
 * Connects with a libpq connection string, its hosts tried in order, each for its share of what is
 * left of timeout_ms. *out is NULL after an error: E_TEMPFAIL, with a line of this level.
 */
enum err pg_connect(const char *conninfo, int timeout_ms, enum log_level level, PGconn **out);
/* Calls add with each file that the string names (certificates, password file). */
void pg_conninfo_files(const char *conninfo, void (*add)(void *arg, const char *path), void *arg);

#endif
