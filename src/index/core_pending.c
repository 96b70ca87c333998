/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"
#include "index/core_expunged.h"
#include "index/core_uidlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * File names follow the index in the background. A pending entry says that a message's name may be
 * out of date; it is worked off by renaming first and correcting the record after. Done twice it
 * does no harm: the second time the file is found under its new name.
 */

struct rename_job {
	uint32_t uid;
	struct core_message m;
	char name[MAILDIR_NAME_MAX + 1]; /* new one */
	size_t base_len;
	int in_new; /* where it is to be */
	int unnamed; /* it has not had its UID in its name yet */
	int renamed;
};
struct batch {
	uint32_t mailbox;
	int more_file; /* roost-keywords-more is to be written */
	struct core_box box;
	struct core_touch touch;
	struct rename_job jobs[CORE_RENAMES_PER_STEP];
	size_t count;
	int found;
};

static enum err
batch_add(struct core_tx *tx, struct batch *b, uint32_t uid)
{
	struct rename_job *j = &b->jobs[b->count];
	enum err e;

	if (uid == 0) {
		b->more_file = 1;
		return OK;
	}
	e = core_message_get(tx, b->mailbox, uid, &j->m);
	if (e == E_NOTFOUND) {
		/* Left over; drop the entry. */
		j->m.r.name.len = 0;
		e = OK;
	}
	j->uid = uid;
	j->renamed = 0;
	b->count++;
	return e;
}

/* The first mailbox that has pending entries, and up to a batch of them. */
static enum err
batch_read(struct core_tx *tx, void *arg)
{
	struct batch *b = arg;
	uint32_t id, uid;
	MDB_cursor *cur;
	MDB_val k, v;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_PENDING], &cur), "pending");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_FIRST); e == OK && b->count < CORE_RENAMES_PER_STEP;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || (b->found && id != b->mailbox))
			break;
		b->mailbox = id;
		b->found = 1;
		e = batch_add(tx, b, uid);
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	if (e == E_NOTFOUND)
		e = OK;
	if (e == OK && b->found)
		e = core_box_get(tx, b->mailbox, &b->box);
	return e;
}

/* How the file is to be called. E_TOOBIG: there is no room for that. */
static enum err
wanted_name(struct index_core *c, struct batch *b, struct rename_job *j)
{
	struct index_message_record *r = &j->m.r;
	uint32_t letters = (uint32_t)(r->keywords.bits[0] & ((1u << CORE_LETTERS) - 1));
	struct buf name = BUF_INIT(MAILDIR_NAME_MAX);
	struct maildir_name n;
	enum err e = maildir_name_parse(r->name, &n);

	if (e)
		return e;
	j->unnamed = n.uid != j->uid;
	/* What nobody has been shown yet stays where other programs look for new mail. */
	j->in_new = r->in_new && r->flags == 0 && letters == 0 && j->uid >= b->box.r.recent_from &&
		    j->unnamed;
	/* Of many files at once only the names were read. */
	if (j->unnamed && !n.has_size && r->disk_size == 0)
		e = core_file_size(c, b->touch.fd[r->in_new ? 0 : 1], j->m.name, &r->disk_size,
			&r->internal_date);
	if (e && e != E_NOTFOUND)
		return e;
	index_message_wanted_base(r, j->uid, &name);
	j->base_len = name.len;
	if (!j->in_new || n.has_info)
		maildir_info_build(r->flags, letters, n.others, &name);
	e = name.err;
	if (e == OK) {
		memcpy(j->name, name.p, name.len);
		j->name[name.len] = '\0';
	}
	buf_free(&name);
	return e;
}

/* To a name that nobody should have; a file that has it after all stays. */
static int
rename_free(int from, const char *name, int to, const char *wanted)
{
	if (renameat2(from, name, to, wanted, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	return renameat(from, name, to, wanted);
}

/* A name that gets a UID has nobody's file behind it. */
static int
rename_one(struct batch *b, const struct rename_job *j)
{
	int from = b->touch.fd[j->m.r.in_new ? 0 : 1], to = b->touch.fd[j->in_new ? 0 : 1];

	if (!j->unnamed)
		return renameat(from, j->m.name, to, j->name);
	return rename_free(from, j->m.name, to, j->name);
}

static void
rename_files(struct index_core *c, struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct rename_job *j = &b->jobs[i];

		j->m.r.name.p = j->m.name;
		if (j->m.r.name.len == 0 || wanted_name(c, b, j))
			continue;
		if (j->m.r.in_new == j->in_new && strcmp(j->m.name, j->name) == 0)
			continue;
		if (rename_one(b, j) == 0 ||
			(errno == ENOENT &&
				faccessat(b->touch.fd[j->in_new ? 0 : 1], j->name, F_OK, 0) == 0)) {
			j->renamed = 1;
			core_memory(c, b->mailbox)->unsynced = 1;
			continue;
		}
		if (errno == ENOENT) {
			/* Another program was there: let the next look sort it out. */
			b->touch.clean[0] = b->touch.clean[1] = 0;
			continue;
		}
		log_event(LOGL_WARN, "index.rename failed", "maildir", c->maildir, "dir",
			b->box.dir, "file", j->m.name, "error", log_errno(errno), NULL);
	}
}

/*
 * The index could not be told, as on a full disk: the files get back the names that it knows, so
 * that they are found meanwhile, above all by an expunge, which is the way out.
 */
static void
rename_back(const struct index_core *c, const struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct rename_job *j = &b->jobs[i];
		int from = b->touch.fd[j->in_new ? 0 : 1], to = b->touch.fd[j->m.r.in_new ? 0 : 1];

		if (j->renamed && rename_free(from, j->name, to, j->m.name) != 0)
			log_event(LOGL_WARN, "index.rename failed", "maildir", c->maildir, "dir",
				b->box.dir, "file", j->name, "error", log_errno(errno), NULL);
	}
}

static enum err
batch_done(struct core_tx *tx, void *arg)
{
	struct batch *b = arg;
	struct core_box box;
	enum err e = core_box_get(tx, b->mailbox, &box);

	for (size_t i = 0; i < b->count && e == OK; i++) {
		struct rename_job *j = &b->jobs[i];
		struct core_message old, m;

		e = core_tx_del(tx, INDEX_DB_PENDING, index_key_message(b->mailbox, j->uid));
		if (e || !j->renamed)
			continue;
		e = core_message_get(tx, b->mailbox, j->uid, &old);
		if (e)
			break;
		m = old;
		m.r.in_new = j->in_new;
		m.r.disk_size = j->m.r.disk_size;
		m.r.internal_date = j->m.r.internal_date;
		core_message_set_name(&m, str_of(j->name), j->base_len);
		e = core_message_change(tx, &box, j->uid, &old, &m, 0);
	}
	if (e == OK && b->more_file)
		e = core_tx_del(tx, INDEX_DB_PENDING, index_key_message(b->mailbox, 0));
	core_touch_end(tx->core, &b->touch, &box);
	return e ? e : core_box_put(tx, &box);
}

static enum err
more_step(struct core_tx *tx, void *arg)
{
	struct batch *b = arg;

	return core_keywords_more_write(tx, &b->box);
}

static enum err
drop_mailbox_step(struct core_tx *tx, void *arg)
{
	struct batch *b = arg;

	return core_tx_del_mailbox(tx, INDEX_DB_PENDING, b->mailbox);
}

/* 1: something was pending. An error waits for the next time. */
int
core_rename_step(struct index_core *c)
{
	struct batch *b = mem_zalloc(sizeof(*b));
	enum err e;
	int found;

	b->touch.fd[0] = b->touch.fd[1] = -1;
	e = core_read(c, batch_read, b);
	found = b->found;
	if (e == E_NOTFOUND && found)
		e = core_run(c, drop_mailbox_step, b);
	else if (e == OK && found) {
		e = core_touch_begin(c, &b->box, 1, 1, &b->touch);
		if (e == E_NOTFOUND)
			/* The folder went away under us; what is left is for the next look. */
			e = core_run(c, drop_mailbox_step, b);
		else if (e == OK) {
			rename_files(c, b);
			if (b->more_file)
				e = core_read(c, more_step, b);
			if (e == OK)
				e = core_run(c, batch_done, b);
			if (e)
				rename_back(c, b);
			core_uidlist_check_later(c, b->mailbox);
		}
	}
	core_touch_close(&b->touch);
	free(b);
	if (e)
		log_event(LOGL_WARN, "index.pending failed", "maildir", c->maildir, "error",
			err_word(e), NULL);
	return found && e == OK;
}

/* ---- deleted folders ---- */

static void
find_deleted(struct index_core *c)
{
	struct dirent *d;
	DIR *dirp;
	int fd;

	c->more_deleted = 0;
	if (core_dir_open(c, "", CORE_TOP, &fd))
		return;
	dirp = fdopendir(fd);
	if (!dirp) {
		io_close(&fd);
		return;
	}
	while ((d = readdir(dirp))) {
		if (strncmp(d->d_name, CORE_DELETED_PREFIX, strlen(CORE_DELETED_PREFIX)) != 0)
			continue;
		c->deleted_dir = mem_strdup(d->d_name);
		c->more_deleted = 1;
		break;
	}
	closedir(dirp);
}

/* Unlinks up to *budget entries of an open directory; consumes fd. Descends no further than depth.
 */
static void
empty_dir(int fd, int depth, int *budget)
{
	struct dirent *d;
	DIR *dirp = fdopendir(fd);

	if (!dirp) {
		io_close(&fd);
		return;
	}
	while (*budget > 0 && (d = readdir(dirp))) {
		int sub;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		(*budget)--;
		if (unlinkat(dirfd(dirp), d->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM))
			continue;
		if (depth == 0)
			continue;
		sub = openat(
			dirfd(dirp), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			empty_dir(sub, depth - 1, budget);
		(void)unlinkat(dirfd(dirp), d->d_name, AT_REMOVEDIR);
	}
	closedir(dirp);
}

static int
do_deleted(struct index_core *c)
{
	int budget = CORE_UNLINKS_PER_STEP, fd;

	if (!c->deleted_dir) {
		if (!c->more_deleted)
			return 0;
		find_deleted(c);
		if (!c->deleted_dir)
			return 0;
	}
	if (c->expunge_keep_s && core_keep_deleted(c, c->deleted_dir, &budget)) {
		/* Nothing of it is removed then; the next time. */
		log_event(LOGL_WARN, "index.keep failed", "maildir", c->maildir, "dir",
			c->deleted_dir, NULL);
		c->more_deleted = 0;
		MEM_FREE(c->deleted_dir);
		return 0;
	}
	if (budget > 0 && core_dir_open(c, c->deleted_dir, CORE_TOP, &fd) == OK)
		empty_dir(fd, 4, &budget);
	if (budget > 0) {
		if (unlinkat(c->maildir_fd, c->deleted_dir, AT_REMOVEDIR) != 0 && errno != ENOENT) {
			log_event(LOGL_WARN, "index.folder left", "maildir", c->maildir, "dir",
				c->deleted_dir, "error", log_errno(errno), NULL);
			c->more_deleted = 0;
		}
		MEM_FREE(c->deleted_dir);
	}
	return 1;
}

/* ---- tmp/ ---- */

enum { TMP_LIFETIME_S = 36 * 3600 };

static void
clean_one(int fd, int64_t before)
{
	struct dirent *d;
	struct stat st;
	DIR *dirp = fdopendir(fd);

	if (!dirp) {
		io_close(&fd);
		return;
	}
	while ((d = readdir(dirp))) {
		if (d->d_name[0] == '.' ||
			fstatat(dirfd(dirp), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		/* ctime too: mtime is the internal date, which may be any. */
		if (S_ISREG(st.st_mode) && st.st_mtime < before && st.st_ctime < before)
			(void)unlinkat(dirfd(dirp), d->d_name, 0);
	}
	closedir(dirp);
}

struct boxes {
	struct core_box *list;
	size_t count;
};

static enum err
boxes_step(struct core_tx *tx, void *arg)
{
	struct boxes *b = arg;

	return core_box_list(tx, &b->list, &b->count);
}

void
index_core_clean_tmp(struct index_core *c)
{
	struct boxes b = {0};
	int fd;

	if (core_read(c, boxes_step, &b) == OK)
		for (size_t i = 0; i < b.count; i++)
			if (core_dir_open(c, b.list[i].dir, CORE_TMP, &fd) == OK)
				clean_one(fd, core_now_s() - TMP_LIFETIME_S);
	free(b.list);
}

int
index_core_background(struct index_core *c)
{
	int more = core_rename_step(c);

	more |= do_deleted(c);
	/* As long as there are renames a list of UIDs is needed. */
	if (!more)
		more = core_uidlist_check(c);
	(void)core_batch_settle(c);
	core_purge_step(c);
	core_quota_flush(c);
	return more;
}

uint64_t
index_core_pending(struct index_core *c)
{
	MDB_txn *txn;
	MDB_stat st = {0};

	if (index_env_begin(c->env, 0, &txn))
		return 0;
	if (mdb_stat(txn, c->env->dbi[INDEX_DB_PENDING], &st))
		st.ms_entries = 0;
	mdb_txn_abort(txn);
	return st.ms_entries;
}
