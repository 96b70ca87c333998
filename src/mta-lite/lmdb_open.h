/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LMDB_OPEN_H
#define ROOST_MTA_LMDB_OPEN_H

#include <stddef.h>

#include <lmdb.h>

/*
 * Opens the LMDB environment in a directory, made if there is none, and its unnamed database. 0, or
 * LMDB's error with nothing left open. The caller ends *env with mdb_env_close.
 */
int lmdb_open(const char *dir, size_t map_size, unsigned flags, MDB_env **env, MDB_dbi *dbi);

#endif
