/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/index_schema.h"

#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "lib/mem.h"

enum { READERS_MAX = 1022, MMAP_THRESHOLD = 512 * 1024, TRIM_THRESHOLD = 1024 * 1024 };

static const char *const db_names[INDEX_DB_COUNT] = {
	[INDEX_DB_META] = "meta",
	[INDEX_DB_MAILBOX] = "mailbox",
	[INDEX_DB_MAILBOX_NAME] = "mailbox_name",
	[INDEX_DB_SUBSCRIPTION] = "subscription",
	[INDEX_DB_KEYWORD] = "keyword",
	[INDEX_DB_MESSAGE] = "message",
	[INDEX_DB_CHANGE] = "change",
	[INDEX_DB_CACHE] = "cache",
	[INDEX_DB_PENDING] = "pending",
};

enum err
index_err_of_mdb(int rc, const char *what)
{
	enum err e;

	switch (rc) {
	case MDB_SUCCESS:
		return OK;
	case MDB_NOTFOUND:
		return E_NOTFOUND;
	case MDB_MAP_FULL:
		return E_STATE;
	case MDB_READERS_FULL:
	case MDB_TXN_FULL:
		e = E_TEMPFAIL;
		break;
	case MDB_PAGE_NOTFOUND:
	case MDB_CORRUPTED:
	case MDB_PANIC:
	case MDB_VERSION_MISMATCH:
	case MDB_INVALID:
	case MDB_PAGE_FULL:
	case MDB_CURSOR_FULL:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_RSLOT:
	case MDB_BAD_TXN:
	case MDB_BAD_DBI:
		e = E_CORRUPT;
		break;
	case MDB_BAD_VALSIZE:
	case MDB_KEYEXIST:
		e = E_RANGE;
		break;
	default:
		e = rc > 0 ? err_from_errno(rc) : E_IO;
	}
	log_event(LOGL_WARN, "index.lmdb failed", "what", what, "error", mdb_strerror(rc), NULL);
	return e;
}

static int
open_databases(struct index_env *e)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(e->env, NULL, e->writable ? 0 : MDB_RDONLY, &txn);

	if (rc)
		return rc;
	for (int i = 0; i < INDEX_DB_COUNT && rc == 0; i++)
		rc = mdb_dbi_open(txn, db_names[i], e->writable ? MDB_CREATE : 0, &e->dbi[i]);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	/* A reader's handles last too only when its transaction is committed. */
	return mdb_txn_commit(txn);
}

/* LMDB does not show the descriptor that it has of it. */
static void
note_lock(struct index_env *e, const char *dir)
{
	char *path = mem_printf("%s/lock.mdb", dir);
	struct stat st = {0};

	(void)stat(path, &st);
	e->lock_dev = st.st_dev;
	e->lock_ino = st.st_ino;
	free(path);
}

enum err
index_env_open(const char *dir, int writable, uint64_t map_size, struct index_env **out)
{
	struct index_env *e = MEM_NEW(struct index_env);
	unsigned flags = MDB_NOTLS | (writable ? MDB_NOSYNC : MDB_RDONLY);
	int rc;

	*out = NULL;
	/*
	 * LMDB's writer has lists of 3 MB that are hardly ever used: fresh from the system they
	 * cost a page or two. malloc raises its threshold with each that is freed, takes the next
	 * ones out of its heap, and then they are cleared, and there, as a whole.
	 * The pages of a large transaction are freed one by one, from the top of the heap down: as
	 * malloc is set, each would be a system call of its own that gives one page back.
	 */
	if (writable) {
		(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
		(void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	}
	e->writable = writable;
	rc = mdb_env_create(&e->env);
	if (rc) {
		free(e);
		return index_err_of_mdb(rc, "create");
	}
	if (rc == 0)
		rc = mdb_env_set_maxdbs(e->env, INDEX_DB_COUNT);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(e->env, READERS_MAX);
	/* A reader takes the size that the file says. LMDB raises a size below what is in use. */
	if (rc == 0 && writable)
		rc = mdb_env_set_mapsize(e->env, (size_t)map_size);
	if (rc == 0)
		rc = mdb_env_open(e->env, dir, flags, 0600);
	if (rc == 0)
		rc = open_databases(e);
	if (rc == 0)
		note_lock(e, dir);
	if (rc == ENOENT || (rc == MDB_NOTFOUND && !writable)) {
		index_env_close(&e);
		return E_NOTFOUND;
	}
	if (rc) {
		index_env_close(&e);
		return index_err_of_mdb(rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc, "open");
	}
	*out = e;
	return OK;
}

void
index_env_close(struct index_env **e)
{
	if (*e == NULL)
		return;
	mdb_env_close((*e)->env);
	free(*e);
	*e = NULL;
}

static uint64_t
generation_of(int fd, const char *path)
{
	struct statx st;

	if (statx(fd, path, path[0] ? 0 : AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0)
		return 0;
	/* An inode number comes back soon, so the time of its making goes in. */
	return st.stx_ino ^ ((uint64_t)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec)
				    << 8;
}

uint64_t
index_env_generation(const struct index_env *e)
{
	mdb_filehandle_t fd;

	return mdb_env_get_fd(e->env, &fd) == 0 ? generation_of(fd, "") : 0;
}

uint64_t
index_env_generation_at(const char *dir)
{
	char *path = mem_printf("%s/data.mdb", dir);
	uint64_t generation = generation_of(AT_FDCWD, path);

	free(path);
	return generation;
}

static int
is_other_file(const char *dir, const char *name, dev_t dev, ino_t ino)
{
	char *path = mem_printf("%s/%s", dir, name);
	struct stat st;
	int other = stat(path, &st) != 0 || st.st_dev != dev || st.st_ino != ino;

	free(path);
	return other;
}

int
index_env_is_replaced(const struct index_env *e, const char *dir)
{
	mdb_filehandle_t fd;
	struct stat st;

	/* Readers that find another file of locks are not seen by the writer, nor is it by them. */
	return mdb_env_get_fd(e->env, &fd) != 0 || fstat(fd, &st) != 0 ||
	       is_other_file(dir, "data.mdb", st.st_dev, st.st_ino) ||
	       is_other_file(dir, "lock.mdb", e->lock_dev, e->lock_ino);
}

enum err
index_env_begin(struct index_env *e, int write, MDB_txn **out)
{
	int rc = mdb_txn_begin(e->env, NULL, write ? 0 : MDB_RDONLY, out);

	if (rc == MDB_MAP_RESIZED) {
		rc = mdb_env_set_mapsize(e->env, 0);
		if (rc == 0)
			rc = mdb_txn_begin(e->env, NULL, write ? 0 : MDB_RDONLY, out);
	}
	return index_err_of_mdb(rc, "begin");
}

enum err
index_env_grow(struct index_env *e)
{
	MDB_envinfo info;
	int rc = mdb_env_info(e->env, &info);

	if (rc)
		return index_err_of_mdb(rc, "grow");
	if (info.me_mapsize > SIZE_MAX / 2)
		return E_NOSPACE;
	rc = mdb_env_set_mapsize(e->env, info.me_mapsize * 2);
	if (rc == ENOMEM)
		return E_NOSPACE;
	if (rc == 0)
		log_event(
			LOGL_INFO, "index.map grown", "bytes", log_u64(info.me_mapsize * 2), NULL);
	return index_err_of_mdb(rc, "grow");
}
