/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/map_private.h"

/*
 * lmdb:FILE, what postmap(1) made (lmdb_table(5)); FILE.lmdb if there is such a file. Postfix locks
 * with flock(2) and not LMDB's own way, and so do we.
 */

enum { LMDB_LOCK_MS = 5000, LMDB_LOCK_PAUSE_NS = 20 * 1000 * 1000 };

struct map_lmdb {
	char *path;
	MDB_env *env; /* of this process: it does not outlive a fork */
	struct stat seen;
};

static enum err
lmdb_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_lmdb *l = MEM_NEW(struct map_lmdb);
	struct stat st;
	char *with_end;

	map->data = l;
	if (argument.len == 0) {
		buf_printf(why, "'%s' names no file", map->name);
		return E_PARSE;
	}
	l->path = map_path(map->conf, argument);
	with_end = mem_printf("%s.lmdb", l->path);
	if (stat(with_end, &st) == 0) {
		free(l->path);
		l->path = with_end;
	} else {
		free(with_end);
	}
	return OK;
}

static void
close_env(struct map_lmdb *l)
{
	if (l->env)
		mdb_env_close(l->env);
	l->env = NULL;
}

static enum err
failed(const struct map *map, const char *what, int error)
{
	log_event(LOGL_ERROR, "map.database failed", "table", map->name, "doing", what, "error",
		mdb_strerror(error), NULL);
	return E_TEMPFAIL;
}

static enum err
open_env(struct map *map)
{
	struct map_lmdb *l = map->data;
	struct stat st;
	int error;

	if (stat(l->path, &st) != 0)
		return failed(map, "open", errno);
	if (l->env && (st.st_ino != l->seen.st_ino || st.st_dev != l->seen.st_dev))
		close_env(l);
	if (l->env)
		return OK;
	l->seen = st;
	error = mdb_env_create(&l->env);
	if (error == 0)
		error = mdb_env_open(
			l->env, l->path, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK | MDB_NORDAHEAD, 0);
	if (error) {
		close_env(l);
		return failed(map, "open", error);
	}
	return OK;
}

static enum err
lock(struct map *map, int fd)
{
	int64_t deadline_ms = io_now_ms() + LMDB_LOCK_MS;
	const struct timespec pause = {.tv_nsec = LMDB_LOCK_PAUSE_NS};

	while (flock(fd, LOCK_SH | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return failed(map, "lock", errno);
		if (io_now_ms() >= deadline_ms)
			return failed(map, "lock", ETIMEDOUT);
		(void)nanosleep(&pause, NULL);
	}
	return OK;
}

/* Some writers store the NUL behind a key and its value. */
static int
get(MDB_txn *txn, MDB_dbi dbi, struct str key, MDB_val *value)
{
	MDB_val k = {key.len, (void *)key.p};
	int error = mdb_get(txn, dbi, &k, value);

	if (error == MDB_NOTFOUND) {
		k.mv_size++;
		error = mdb_get(txn, dbi, &k, value);
	}
	return error;
}

static enum err
read_value(struct map *map, struct str key, struct buf *value)
{
	struct map_lmdb *l = map->data;
	MDB_txn *txn = NULL;
	MDB_val found;
	MDB_dbi dbi;
	int error = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);

	if (error == 0)
		error = mdb_dbi_open(txn, NULL, 0, &dbi);
	if (error == 0)
		error = get(txn, dbi, key, &found);
	if (error == 0)
		(void)buf_add_str(
			value, str_make(found.mv_data, strnlen(found.mv_data, found.mv_size)));
	mdb_txn_abort(txn);
	if (error == MDB_NOTFOUND)
		return E_NOTFOUND;
	return error ? failed(map, "look up", error) : OK;
}

static enum err
lmdb_find(struct map *map, struct str key, struct buf *value)
{
	struct map_lmdb *l = map->data;
	mdb_filehandle_t fd;
	enum err e = open_env(map);

	if (e)
		return e;
	if (key.len > (size_t)mdb_env_get_maxkeysize(l->env) - 1)
		return E_NOTFOUND;
	(void)mdb_env_get_fd(l->env, &fd);
	e = lock(map, fd);
	if (e)
		return e;
	e = read_value(map, key, value);
	(void)flock(fd, LOCK_UN);
	return e;
}

static void
lmdb_sandbox(const struct map *map, struct sandbox *sb)
{
	map_sandbox_file(sb, ((const struct map_lmdb *)map->data)->path);
}

static void
lmdb_close(struct map *map)
{
	struct map_lmdb *l = map->data;

	close_env(l);
	free(l->path);
	free(l);
}

const struct map_type map_type_lmdb = {
	.name = "lmdb",
	.fold = 1,
	.open = lmdb_open,
	.find = lmdb_find,
	.sandbox = lmdb_sandbox,
	.close = lmdb_close,
};
