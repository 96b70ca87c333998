/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/gzip.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Whether the index can be believed is said by two small files beside it. "boot" holds the id of
 * the boot during which it was last written: as long as the system runs, all that was committed
 * is in the page cache, whatever became of the process. It also names the very file, for a copy
 * that was put back does not know what happened since it was taken. "clean" exists while everything
 * is on disk; it is removed, and that synced, before the next change. An index with neither is
 * thrown away.
 */

static char *
system_boot_id(void)
{
	struct buf text = BUF_INIT(256);
	char *id;

	(void)io_read_file("/proc/sys/kernel/random/boot_id", &text);
	id = str_dup(str_trim(buf_str(&text)));
	buf_free(&text);
	if (id[0] == '\0') {
		/* Without one nothing survives the process, which is always safe. */
		char random[33];

		free(id);
		io_random_hex(random, 16);
		id = mem_strdup(random);
	}
	return id;
}

static char *
index_file(const char *index_dir, const char *name)
{
	return mem_printf("%s/%s", index_dir, name);
}

static int
file_exists(const char *index_dir, const char *name)
{
	char *path = index_file(index_dir, name);
	int found = access(path, F_OK) == 0;

	free(path);
	return found;
}

static void
boot_text(const struct index_core *c, uint64_t generation, struct buf *out)
{
	buf_printf(out, "%s %016llx\n", c->boot_id, (unsigned long long)generation);
}

static int
same_boot(const struct index_core *c)
{
	char *path = index_file(c->index_dir, "boot");
	struct buf text = BUF_INIT(256), want = {0};
	int same;

	boot_text(c, index_env_generation_at(c->index_dir), &want);
	same = io_read_file(path, &text) == OK && str_equal(buf_str(&text), buf_str(&want));
	free(path);
	buf_free(&want);
	buf_free(&text);
	return same;
}

/*
 * There is never half of it: whoever is killed in between would have thrown away a good index, and
 * with it the flags that no file's name has yet.
 */
static enum err
write_boot(const struct index_core *c)
{
	char *path = index_file(c->index_dir, "boot"), *tmp = index_file(c->index_dir, "boot.tmp");
	struct buf text = {0};
	enum err e = OK;
	int fd = -1;

	if (!same_boot(c)) {
		fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		boot_text(c, index_env_generation(c->env), &text);
		/* Not synced: an older one than the index is a reason to throw that away, no more.
		 */
		e = fd < 0 ? err_from_errno(errno) : io_write_all(fd, text.p, text.len);
		if (e == OK && rename(tmp, path) != 0)
			e = err_from_errno(errno);
	}
	io_close(&fd);
	buf_free(&text);
	free(tmp);
	free(path);
	return e;
}

enum err
index_core_discard(const char *index_dir)
{
	static const char *const files[] = {
		"boot", "boot.tmp", "clean", "data.mdb", "lock.mdb", "damaged"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *path = index_file(index_dir, files[i]);
		int failed = unlink(path) != 0 && errno != ENOENT;

		free(path);
		if (failed)
			return err_from_errno(errno);
	}
	return OK;
}

static enum err
open_env(struct index_core *c)
{
	enum err e;

	core_damage_watch(c->damage_path);
	e = index_env_open(c->index_dir, 1, c->map_size, &c->env);
	core_damage_watch(NULL);
	return e;
}

static enum err
load_state(struct core_tx *tx, void *arg)
{
	MDB_val k = {.mv_size = 5, .mv_data = (void *)"state"}, v;
	struct index_state *s = arg;
	enum err e;

	e = index_err_of_mdb(
		mdb_get(tx->txn, tx->core->env->dbi[INDEX_DB_META], &k, &v), "get state");
	return e ? e : index_state_decode(&v, s);
}

/*
 * A new index: mod-sequences begin above all that an earlier one can have given (2^20 a second, and
 * the floor for a clock that was set back), and stay below 2^53, which every client can hold.
 */
static void
fresh_state(struct index_core *c)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memset(&c->state, 0, sizeof(c->state));
	c->state.version = INDEX_SCHEMA_VERSION;
	c->state.modseq = (uint64_t)now.tv_sec << 20 | (uint64_t)now.tv_nsec / 1000;
	if (c->state.modseq < c->modseq_floor)
		c->state.modseq = c->modseq_floor;
	c->state.next_mailbox = 1;
}

static enum err
trust_or_discard(struct index_core *c)
{
	int same = same_boot(c), clean = file_exists(c->index_dir, "clean");
	enum err e = OK;

	if (file_exists(c->index_dir, "damaged")) {
		log_event(LOGL_ERROR, "index.env discarded", "dir", c->index_dir, "reason",
			"it ended the process", NULL);
		e = index_core_discard(c->index_dir);
		clean = 0;
	} else if (!same && !clean) {
		if (file_exists(c->index_dir, "data.mdb"))
			log_event(LOGL_WARN, "index.env discarded", "dir", c->index_dir, "reason",
				"unclean stop of the system", NULL);
		e = index_core_discard(c->index_dir);
		clean = 0;
	}
	if (e == OK)
		e = open_env(c);
	if (e == E_CORRUPT) {
		log_event(LOGL_ERROR, "index.env discarded", "dir", c->index_dir, "reason",
			"corrupt", NULL);
		e = index_core_discard(c->index_dir);
		if (e == OK)
			e = open_env(c);
	}
	c->clean_marked = clean;
	return e;
}

/* ---- a new tree ---- */

/* Without a file of ours that says it, well-known names do. */
static enum err
guess_special_use(struct core_tx *tx)
{
	struct core_box *boxes = NULL;
	size_t count = 0;
	unsigned given = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		unsigned use = core_name_special_use(boxes[i].name);

		if (!use || (given & use) || strchr(boxes[i].name, '/'))
			continue;
		given |= use;
		boxes[i].r.special_use = use;
		e = core_box_put(tx, &boxes[i]);
	}
	free(boxes);
	return e == OK && given ? core_special_use_write(tx) : e;
}

static enum err
load_texts(struct core_tx *tx, void *arg)
{
	int found = 0;
	enum err e = core_subscriptions_load(tx);

	(void)arg;
	if (e == OK)
		e = core_special_use_load(tx, &found);
	return e || found ? e : guess_special_use(tx);
}

static void
make_defaults(struct index_core *c)
{
	for (char **d = c->default_mailboxes; d && *d; d++) {
		uint32_t id;
		enum err e = index_core_create(c, str_of(*d), core_name_special_use(*d), &id);

		if (e == OK)
			e = index_core_subscribe(c, str_of(*d), 1);
		if (e && e != E_EXISTS)
			log_event(LOGL_WARN, "index.default failed", "maildir", c->maildir,
				"mailbox", *d, "error", err_word(e), NULL);
	}
}

static enum err
build(struct index_core *c, int new_user)
{
	enum err e;

	fresh_state(c);
	c->quota_file_stale = 1;
	c->building = 1;
	e = core_tree_look(c, 1);
	if (e == OK)
		e = core_run(c, load_texts, NULL);
	if (e == OK)
		e = index_core_refresh(c, 0);
	c->building = 0;
	if (e == OK && new_user)
		make_defaults(c);
	return e;
}

/*
 * What leads to the Maildir is on disk before anything in it is promised. Done before the file with
 * INBOX's UIDVALIDITY is there: who has that one needs this no more. It ends where the directories
 * are not ours.
 */
static enum err
sync_ancestors(const struct index_core *c)
{
	char *path = mem_strdup(c->maildir), *slash;
	enum err e = OK;

	while (e == OK && (slash = strrchr(path, '/')) && slash != path) {
		*slash = '\0';
		e = io_fsync_dir(path);
	}
	free(path);
	return e == E_ACCESS ? OK : e;
}

static enum err
open_tree(struct index_core *c, int *new_user)
{
	struct stat st;
	struct core_uid_file f;
	int unknown;
	enum err e = io_mkdir_parents(c->maildir, 0700);

	if (e == OK)
		e = io_mkdir_parents(c->index_dir, 0700);
	if (e)
		return e;
	c->maildir_fd = open(c->maildir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->maildir_fd < 0)
		return err_from_errno(errno);
	unknown = fstatat(c->maildir_fd, CORE_FILE_UID, &st, AT_SYMLINK_NOFOLLOW) != 0;
	*new_user = unknown && fstatat(c->maildir_fd, "cur", &st, AT_SYMLINK_NOFOLLOW) != 0;
	if (!unknown && core_uid_file_read(c, "", &f) == OK && f.modseq_floor > c->modseq_floor)
		c->modseq_floor = f.modseq_floor;
	/* Another tree was put in place: an index that is there tells of the one before. */
	if (unknown)
		e = index_core_discard(c->index_dir);
	if (e == OK && unknown && c->fsync)
		e = sync_ancestors(c);
	return e ? e : core_dir_make(c, "");
}

/*
 * "clean" can be of an older index than the last: one whose removal the disk has not seen, or one
 * put back. UIDs that another index gave since then lie above the floor that this one knows.
 */
static enum err
check_floors(struct core_tx *tx, void *arg)
{
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	(void)arg;
	for (size_t i = 0; i < count && e == OK; i++) {
		struct core_uid_file f;
		int fd;

		if (core_dir_open(tx->core, boxes[i].dir, CORE_TOP, &fd))
			continue;
		io_close(&fd);
		e = core_uid_file_read(tx->core, boxes[i].dir, &f);
		if (e == E_NOTFOUND ||
			(e == OK && (f.next_uid != boxes[i].r.uid_floor ||
					    f.uidvalidity != boxes[i].r.uidvalidity)))
			e = E_CORRUPT;
	}
	free(boxes);
	return e;
}

/*
 * An index that was put back, or an old one whose place another had taken meanwhile, does not know
 * the mod-sequences that were given since: the floor shows it, for a new index begins behind it.
 */
static enum err
check_modseq(const struct index_core *c)
{
	uint64_t floor = c->modseq_floor, modseq = c->state.modseq;

	return floor == 0 || (modseq <= floor && modseq + CORE_MODSEQ_CHUNK >= floor) ? OK
										      : E_CORRUPT;
}

/* LMDB keeps the memory of a large transaction's pages until it is closed; malloc what was freed.
 */
static enum err
give_memory_back(struct index_core *c)
{
	enum { MESSAGES_MIN = 2000 };

	if (c->state.messages < MESSAGES_MIN)
		return OK;
	index_env_close(&c->env);
	(void)malloc_trim(0);
	return open_env(c);
}

static enum err
open_index(struct index_core *c, int new_user)
{
	struct core_batch_recovery batch = {0};
	int other_boot = !same_boot(c), built = 0;
	enum err e = trust_or_discard(c), known;

	if (e)
		return e;
	(void)mdb_reader_check(c->env->env, NULL);
	e = core_read(c, load_state, &c->state);
	if (e == OK)
		e = check_modseq(c);
	if (e == OK && other_boot)
		e = core_read(c, check_floors, NULL);
	known = e;
	e = core_batch_recover(c, known == OK, &batch);
	if (e) {
		core_batch_recovery_free(&batch);
		return e;
	}
	e = known;
	if (e == OK)
		e = index_core_refresh(c, 0);
	else if (e == E_NOTFOUND) {
		e = build(c, new_user);
		built = 1;
	}
	if (e == E_CORRUPT) {
		log_event(LOGL_ERROR, "index.env discarded", "dir", c->index_dir, "reason",
			"corrupt", NULL);
		index_env_close(&c->env);
		e = index_core_discard(c->index_dir);
		if (e == OK)
			e = open_env(c);
		c->clean_marked = 0;
		if (e == OK)
			e = build(c, new_user);
		built = 1;
	}
	if (e == OK)
		e = core_batch_recovered(c, &batch);
	core_batch_recovery_free(&batch);
	if (e == OK && built)
		e = give_memory_back(c);
	return e ? e : write_boot(c);
}

static char **
copy_names(const char *const *names)
{
	size_t n = 0;
	char **out;

	while (names && names[n])
		n++;
	out = mem_zalloc((n + 1) * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = mem_strdup(names[i]);
	return out;
}

void
index_core_set_options(struct index_core *c, const struct index_core_options *o)
{
	c->unfold_max = (o->max_message_size ? o->max_message_size : 50 << 20) * GZIP_UNFOLD_FACTOR;
	c->expunge_keep_s = o->expunge_keep_s;
}

enum err
index_core_open(const struct index_core_options *o, struct index_core **out)
{
	struct index_core *c = MEM_NEW(struct index_core);
	int new_user = 0;
	enum err e;

	c->maildir = mem_strdup(o->maildir);
	c->index_dir = mem_strdup(o->index_dir);
	c->damage_path = index_file(c->index_dir, "damaged");
	c->host = mem_strdup(o->host);
	c->boot_id = o->boot_id ? mem_strdup(o->boot_id) : system_boot_id();
	c->default_mailboxes = copy_names(o->default_mailboxes);
	c->map_size = o->map_size;
	c->modseq_floor = o->modseq_floor;
	c->fsync = o->fsync;
	index_core_set_options(c, o);
	c->maildir_fd = -1;
	c->more_deleted = 1;
	core_quota_rules_set(c, o->limits.rules);
	core_quota_sizes_look(c, o->limits.bytes);
	e = open_tree(c, &new_user);
	if (e == OK)
		e = open_index(c, new_user);
	if (e) {
		log_event(LOGL_ERROR, "index.open failed", "maildir", c->maildir, "error",
			err_word(e), NULL);
		index_core_close(&c, 0);
		*out = NULL;
		return e;
	}
	/* Nobody watches while it is opened. */
	index_core_set_watcher(c, o->on_change, o->arg);
	index_core_set_limits(c, &o->limits);
	*out = c;
	return OK;
}

void
index_core_set_watcher(struct index_core *c,
	void (*on_change)(uint32_t mailbox, uint64_t modseq, void *arg), void *arg)
{
	c->on_change = on_change;
	c->arg = arg;
}

static int
is_replaced(const char *path, int fd)
{
	struct stat named, opened;

	return stat(path, &named) != 0 || fstat(fd, &opened) != 0 ||
	       named.st_ino != opened.st_ino || named.st_dev != opened.st_dev;
}

int
index_core_is_gone(const struct index_core *c)
{
	return index_env_is_replaced(c->env, c->index_dir) ||
	       is_replaced(c->maildir, c->maildir_fd);
}

uint64_t
index_core_generation(const struct index_core *c)
{
	return index_env_generation(c->env);
}

struct folder {
	uint32_t mailbox;
	struct core_box box;
};

static enum err
folder_step(struct core_tx *tx, void *arg)
{
	struct folder *f = arg;

	return core_box_get(tx, f->mailbox, &f->box);
}

/* Removals and renames that no answer waited for: an index that is believed must not be ahead. */
static enum err
sync_folder(struct index_core *c, uint32_t mailbox)
{
	static const enum core_sub subs[] = {CORE_NEW, CORE_CUR};
	struct folder f = {.mailbox = mailbox};
	enum err e = core_read(c, folder_step, &f);

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && e == OK; i++) {
		int fd;

		e = core_dir_open(c, f.box.dir, subs[i], &fd);
		if (e == OK && fsync(fd) != 0)
			e = err_from_errno(errno);
		io_close(&fd);
	}
	return e == E_NOTFOUND ? OK : e;
}

static enum err
sync_everything(struct index_core *c)
{
	enum err e = index_core_sync(c);

	for (size_t i = 0; i < c->memory_count && e == OK; i++) {
		if (!c->memory[i].unsynced)
			continue;
		e = sync_folder(c, c->memory[i].id);
		if (e == OK)
			c->memory[i].unsynced = 0;
	}
	/* The file too, not an older one of that name. */
	return e ? e : io_fsync_dir(c->index_dir);
}

static void
mark_clean(struct index_core *c)
{
	char *path = index_file(c->index_dir, "clean");
	int fd;

	if (mdb_env_sync(c->env->env, 1) == 0 && (!c->fsync || sync_everything(c) == OK)) {
		fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 && c->fsync)
			(void)io_fsync_dir(c->index_dir);
		io_close(&fd);
	}
	free(path);
}

void
index_core_close(struct index_core **cp, int clean)
{
	struct index_core *c = *cp;

	if (!c)
		return;
	if (c->env) {
		core_quota_flush(c);
		core_batch_close(c);
		if (clean && !c->clean_marked)
			mark_clean(c);
		else
			(void)index_core_sync(c);
	}
	for (size_t i = 0; i < c->sync_count; i++)
		close(c->sync[i].fd);
	index_env_close(&c->env);
	io_close(&c->maildir_fd);
	for (char **d = c->default_mailboxes; *d; d++)
		free(*d);
	free(c->default_mailboxes);
	free(c->sync);
	free(c->memory);
	free(c->memory_slots);
	quota_rules_free(&c->rules);
	free(c->rules_text);
	free(c->deleted_dir);
	free(c->boot_id);
	free(c->host);
	free(c->index_dir);
	free(c->damage_path);
	free(c->maildir);
	free(c);
	*cp = NULL;
}

uint64_t
index_core_modseq(struct index_core *c, uint32_t mailbox)
{
	struct folder f = {.mailbox = mailbox};

	return core_read(c, folder_step, &f) ? 0 : f.box.r.highest_modseq;
}

enum err
index_core_folder_path(struct index_core *c, uint32_t mailbox, char **path)
{
	struct folder f = {.mailbox = mailbox};
	enum err e = core_read(c, folder_step, &f);

	*path = e ? NULL : core_dir_path(c, f.box.dir, NULL);
	return e;
}
