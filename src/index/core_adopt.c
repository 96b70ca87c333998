/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/adopt.h"

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
#include "mail/mutf7.h"

/* How the folders on disk become mailboxes of the index, and cease to be. */

/* So many new folders at once are synced as one; a sync of its own for each takes minutes. */
enum { SYNC_TOGETHER_MIN = 32 };

/* Nobody else may have the id: a folder copied with its files brings one that is taken. */
static int
id_is_taken(struct core_tx *tx, uint32_t id)
{
	MDB_val v;

	return core_tx_get(tx, INDEX_DB_MAILBOX, index_key_u32(id), &v) == OK;
}

/*
 * Above all UIDVALIDITYs that a new mailbox may get next; one far in the future (2100) is damage,
 * and would leave no room.
 */
static void
respect_uidvalidity(struct core_tx *tx, uint32_t uidvalidity)
{
	if (tx->state.last_uidvalidity < uidvalidity && uidvalidity < UINT32_C(0xf0000000))
		tx->state.last_uidvalidity = uidvalidity;
}

static enum err
new_identity(struct core_tx *tx, struct core_uid_file *f)
{
	struct index_state *s = &tx->state;
	uint32_t now = (uint32_t)core_now_s();

	if (s->last_uidvalidity >= UINT32_MAX - 1 || s->next_mailbox >= UINT32_MAX - 1)
		return E_RANGE;
	memset(f, 0, sizeof(*f));
	f->uidvalidity = now > s->last_uidvalidity ? now : s->last_uidvalidity + 1;
	f->next_uid = 1;
	f->mailbox_id = s->next_mailbox;
	io_random(f->object_id, sizeof(f->object_id));
	return OK;
}

/* A folder that was not finished lacks something, even with its file of UIDs there. */
static enum err
complete_folder(struct index_core *c, const char *dir)
{
	static const char *const subs[] = {"new", "cur", "tmp"};
	char path[MAILDIR_NAME_MAX + 8];
	struct stat st;

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++) {
		snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", subs[i]);
		if (fstatat(c->maildir_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return core_dir_make(c, dir);
	}
	return OK;
}

enum err
core_tree_adopt(struct core_tx *tx, const char *name, const char *dir, struct core_box *out)
{
	struct core_uid_file f;
	enum err e = core_uid_file_read(tx->core, dir, &f);

	if (e == OK)
		respect_uidvalidity(tx, f.last_uidvalidity);
	if (e == E_NOTFOUND || e == E_CORRUPT ||
		(e == OK && (f.mailbox_id >= UINT32_MAX - 1 || id_is_taken(tx, f.mailbox_id)))) {
		int foreign = e == E_NOTFOUND, fsync_was = tx->core->fsync;
		uint32_t own;

		e = new_identity(tx, &f);
		own = f.uidvalidity;
		if (e == OK && foreign)
			e = adopt_folder(tx->core, dir, &f);
		if (e == OK && foreign)
			e = adopt_acl(tx->core, dir);
		/* What was taken over is on disk before the file says so. */
		if (tx->core->sync_together && f.uidvalidity == own)
			tx->core->fsync = 0;
		if (e == OK)
			e = core_uid_file_write(tx->core, dir, &f);
		tx->core->fsync = fsync_was;
	}
	if (e)
		return e;
	e = complete_folder(tx->core, dir);
	if (e)
		return e;
	/* Whoever made it may not have come that far. */
	core_sync_note(tx->core, tx->core->maildir_fd);
	memset(out, 0, sizeof(*out));
	out->r.id = f.mailbox_id;
	out->r.uidvalidity = f.uidvalidity;
	out->r.uidnext = f.next_uid;
	out->r.uid_floor = f.next_uid;
	out->r.recent_from = f.next_uid;
	out->r.highest_modseq = core_tx_modseq(tx);
	/* What vanished before is not known here. */
	out->r.vanished_floor = out->r.highest_modseq;
	memcpy(out->r.object_id, f.object_id, sizeof(f.object_id));
	core_box_set_name(out, str_of(name), str_of(dir));
	core_quota_box_rules(tx, &out->r);
	respect_uidvalidity(tx, f.uidvalidity);
	if (tx->state.next_mailbox <= f.mailbox_id)
		tx->state.next_mailbox = f.mailbox_id + 1;
	e = core_box_put(tx, out);
	if (e == OK) {
		MDB_val k = {.mv_size = strlen(name), .mv_data = (void *)name}, v;
		struct index_key id = index_key_u32(out->r.id);

		v = index_key_val(&id);
		e = index_err_of_mdb(
			mdb_put(tx->txn, tx->core->env->dbi[INDEX_DB_MAILBOX_NAME], &k, &v, 0),
			"put name");
	}
	if (e == OK)
		e = core_keywords_load(tx, out);
	core_tx_note(tx, 0);
	return e;
}

enum err
core_tree_forget(struct core_tx *tx, const struct core_box *b)
{
	static const enum index_db dbs[] = {INDEX_DB_MESSAGE, INDEX_DB_CHANGE, INDEX_DB_CACHE,
		INDEX_DB_PENDING, INDEX_DB_KEYWORD};
	MDB_val k = {.mv_size = b->r.name.len, .mv_data = (void *)b->name};
	enum err e = OK;
	int rc;

	for (size_t i = 0; i < sizeof(dbs) / sizeof(dbs[0]) && e == OK; i++)
		e = core_tx_del_mailbox(tx, dbs[i], b->r.id);
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_MAILBOX, index_key_u32(b->r.id));
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_META, index_key_meta(INDEX_META_ENTRIES, b->r.id));
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_META, index_key_meta(INDEX_META_KEYWORDS, b->r.id));
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_META, index_key_meta(INDEX_META_URL_KEY, b->r.id));
	if (e)
		return e;
	rc = mdb_del(tx->txn, tx->core->env->dbi[INDEX_DB_MAILBOX_NAME], &k, NULL);
	tx->state.messages -= b->r.messages;
	tx->state.bytes -= b->r.disk_bytes;
	tx->state.unparsed -= b->r.unparsed;
	tx->state.ignored_messages -= b->r.quota_ignore ? b->r.messages : 0;
	tx->state.ignored_bytes -= b->r.quota_ignore ? b->r.disk_bytes : 0;
	core_tx_note(tx, b->r.id);
	core_tx_note(tx, 0);
	return index_err_of_mdb(rc, "del name");
}

/* ---- listing ---- */

struct listing {
	char (*dirs)[MAILDIR_NAME_MAX + 1];
	size_t count, cap;
	char (*odd)[MAILDIR_NAME_MAX + 1]; /* that no mailbox of ours is called */
	size_t odd_count, odd_cap;
	int force, again; /* the next look is not to rely on the time */
	int half_made;
	int64_t mtime_ns;
	uint32_t uidvalidity; /* that Dovecot has given last, from the name of a file */
};

/* Whatever is odd about the tree is said once for each state of it. */
static void
log_skipped(struct index_core *c, const struct listing *l, const char *dir, const char *reason)
{
	if (c->skipped_mtime_ns != l->mtime_ns)
		log_event(LOGL_WARN, "index.folder skipped", "maildir", c->maildir, "dir", dir,
			"reason", reason, NULL);
}

enum { HALF_MADE_S = 60 };

/* A link is never followed: it leads out of what is this user's. */
static int
is_folder(struct index_core *c, struct listing *l, const char *dir)
{
	char path[MAILDIR_NAME_MAX + 8];
	struct stat st, cur;

	if (fstatat(c->maildir_fd, dir, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	if (S_ISLNK(st.st_mode))
		log_skipped(c, l, dir, "link");
	if (!S_ISDIR(st.st_mode))
		return 0;
	snprintf(path, sizeof(path), "%s/cur", dir);
	if (fstatat(c->maildir_fd, path, &cur, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == EACCES) {
			log_skipped(c, l, dir, "access");
			l->again = 1;
		}
		/* Somebody may be about to make the rest, which our own times do not show. */
		if (st.st_mtime > core_now_s() - HALF_MADE_S)
			l->again = l->half_made = 1;
		return 0;
	}
	if (!S_ISDIR(cur.st_mode))
		log_skipped(c, l, dir, "no directory cur");
	return S_ISDIR(cur.st_mode);
}

static void
add_dir(char (**dirs)[MAILDIR_NAME_MAX + 1], size_t *count, size_t *cap, const char *dir)
{
	if (*count == *cap) {
		*cap = *cap ? *cap * 2 : 16;
		*dirs = mem_realloc(*dirs, *cap, sizeof(**dirs));
	}
	snprintf((*dirs)[(*count)++], sizeof(**dirs), "%s", dir);
}

/*
 * Names in UTF-8 become modified UTF-7, so that there is one way to write a name, for us and every
 * other Maildir++ program. Behind the reading: the new name is not to be met in the same turn.
 */
static void
take_odd(struct index_core *c, struct listing *l)
{
	char name[INDEX_MAILBOX_NAME_MAX + 1], ours[MAILDIR_NAME_MAX + 1];

	for (size_t i = 0; i < l->odd_count; i++) {
		const char *dir = l->odd[i];

		if (l->count >= INDEX_MAILBOXES_MAX || core_name_from_utf8(dir, name, ours) ||
			renameat2(c->maildir_fd, dir, c->maildir_fd, ours, RENAME_NOREPLACE)) {
			log_skipped(c, l, dir, "name");
			continue;
		}
		log_event(LOGL_INFO, "index.folder renamed", "maildir", c->maildir, "dir", dir,
			"to", ours, NULL);
		core_sync_note(c, c->maildir_fd);
		add_dir(&l->dirs, &l->count, &l->cap, ours);
	}
}

static void
listing_add(struct index_core *c, struct listing *l, const char *dir)
{
	char name[INDEX_MAILBOX_NAME_MAX + 1];

	if (strncmp(dir, CORE_DELETED_PREFIX, strlen(CORE_DELETED_PREFIX)) == 0) {
		c->more_deleted = 1;
		return;
	}
	if (strncmp(dir, "dovecot-uidvalidity.", 20) == 0) {
		uint32_t last = adopt_dovecot_uidvalidity(str_of(dir + 20));

		l->uidvalidity = last > l->uidvalidity ? last : l->uidvalidity;
		return;
	}
	if (dir[0] != '.' || strcmp(dir, ".") == 0 || strcmp(dir, "..") == 0 ||
		!is_folder(c, l, dir))
		return;
	if (l->count + l->odd_count >= INDEX_MAILBOXES_MAX)
		log_skipped(c, l, dir, "name");
	else if (core_name_from_dir(dir, name))
		add_dir(&l->odd, &l->odd_count, &l->odd_cap, dir);
	else
		add_dir(&l->dirs, &l->count, &l->cap, dir);
}

static int
compare_dirs(const void *a, const void *b)
{
	return strcmp(a, b);
}

static enum err
listing_read(struct index_core *c, struct listing *l)
{
	struct dirent *d;
	DIR *dirp;
	int fd;
	enum err e = core_dir_open(c, "", CORE_TOP, &fd);

	if (e)
		return e;
	l->mtime_ns = core_dir_mtime_ns(fd);
	dirp = fdopendir(fd);
	if (!dirp) {
		io_close(&fd);
		return err_from_errno(errno);
	}
	while ((errno = 0, d = readdir(dirp)))
		listing_add(c, l, d->d_name);
	e = errno ? err_from_errno(errno) : OK;
	closedir(dirp);
	take_odd(c, l);
	if (l->count)
		qsort(l->dirs, l->count, sizeof(*l->dirs), compare_dirs);
	return e;
}

/* Numbers that folders bring are not to be given to others that are adopted before them. */
static void
respect_numbers(struct core_tx *tx, const char *dir)
{
	struct core_uid_file f;

	respect_uidvalidity(tx, adopt_peek_uidvalidity(tx->core, dir));
	if (core_uid_file_read(tx->core, dir, &f))
		return;
	respect_uidvalidity(tx, f.uidvalidity);
	if (tx->state.next_mailbox <= f.mailbox_id && f.mailbox_id < UINT32_MAX - 1)
		tx->state.next_mailbox = f.mailbox_id + 1;
}

static int
is_listed(const struct listing *l, const char *dir)
{
	return l->count && bsearch(dir, l->dirs, l->count, sizeof(*l->dirs), compare_dirs);
}

/* The mailbox whose folder was called otherwise before, told by its own file; else NULL. */
static struct core_box *
find_renamed(struct index_core *c, struct core_box *gone, size_t count, const char *dir)
{
	struct core_uid_file f;

	if (count == 0 || core_uid_file_read(c, dir, &f))
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (gone[i].r.id == f.mailbox_id && gone[i].r.uidvalidity == f.uidvalidity &&
			memcmp(gone[i].r.object_id, f.object_id, sizeof(f.object_id)) == 0)
			return &gone[i];
	return NULL;
}

static enum err
name_is_known(struct core_tx *tx, const char *name)
{
	MDB_val k = {.mv_size = strlen(name), .mv_data = (void *)name}, v;

	return index_err_of_mdb(
		mdb_get(tx->txn, tx->core->env->dbi[INDEX_DB_MAILBOX_NAME], &k, &v), "get name");
}

/*
 * A folder that another program renamed is the mailbox that it was, with all that only the index
 * has of it; the others that are gone are forgotten.
 */
static enum err
look_for_gone(struct core_tx *tx, const struct listing *l, struct core_box *boxes, size_t count)
{
	char name[INDEX_MAILBOX_NAME_MAX + 1];
	size_t gone = 0;
	int special = 0;
	enum err e = OK;

	for (size_t i = 0; i < count; i++)
		if (boxes[i].dir[0] && !is_listed(l, boxes[i].dir))
			boxes[gone++] = boxes[i];
	for (size_t i = 0; i < l->count && gone && e == OK; i++) {
		struct core_box *b;

		if (core_name_from_dir(l->dirs[i], name) || name_is_known(tx, name) == OK)
			continue;
		b = find_renamed(tx->core, boxes, gone, l->dirs[i]);
		if (!b)
			continue;
		e = core_box_rename(tx, b, name, l->dirs[i]);
		special |= b->r.special_use != 0;
		core_tx_note(tx, b->r.id);
		core_tx_note(tx, 0);
		*b = boxes[--gone];
	}
	for (size_t i = 0; i < gone && e == OK; i++) {
		boxes[i].r.name = str_of(boxes[i].name);
		e = core_tree_forget(tx, &boxes[i]);
	}
	return e == OK && special ? core_special_use_write(tx) : e;
}

static enum err
look_step(struct core_tx *tx, void *arg)
{
	struct listing *l = arg;
	struct core_box *boxes = NULL, box;
	char name[INDEX_MAILBOX_NAME_MAX + 1];
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	if (e == OK)
		e = look_for_gone(tx, l, boxes, count);
	/* The first look of a new index. */
	if (count == 0) {
		respect_uidvalidity(tx, l->uidvalidity);
		respect_numbers(tx, "");
	}
	for (size_t i = 0; i < l->count && count == 0; i++)
		respect_numbers(tx, l->dirs[i]);
	free(boxes);
	if (e == OK && core_box_find(tx, STR("INBOX"), &box) == E_NOTFOUND)
		e = core_tree_adopt(tx, "INBOX", "", &box);
	tx->core->sync_together = tx->core->fsync && l->count > count + SYNC_TOGETHER_MIN;
	for (size_t i = 0; i < l->count && e == OK; i++) {
		e = core_name_from_dir(l->dirs[i], name);
		if (e)
			break;
		e = name_is_known(tx, name);
		if (e == E_NOTFOUND)
			e = core_tree_adopt(tx, name, l->dirs[i], &box);
		/* One folder that is not ours to write must not keep the others away. */
		if (e == E_ACCESS || e == E_NOTFOUND) {
			log_skipped(tx->core, l, l->dirs[i], err_word(e));
			l->again = 1;
			e = OK;
		}
	}
	if (e == OK && tx->core->sync_together && syncfs(tx->core->maildir_fd) != 0)
		e = err_from_errno(errno);
	tx->core->sync_together = 0;
	tx->core->skipped_mtime_ns = l->mtime_ns;
	tx->state.tree_mtime_ns = l->again || core_time_is_fresh(l->mtime_ns) ? 0 : l->mtime_ns;
	return e;
}

enum err
core_tree_look(struct index_core *c, int force)
{
	struct listing l = {.force = force};
	int64_t mtime = core_dir_mtime_ns(c->maildir_fd);
	enum err e;

	if (!force && mtime && mtime == c->state.tree_mtime_ns)
		return OK;
	e = listing_read(c, &l);
	c->tree_half_made = l.half_made;
	if (e == OK)
		e = core_run(c, look_step, &l);
	free(l.dirs);
	free(l.odd);
	return e;
}

/* ---- subscriptions, special use ---- */

/* The files of other programs name INBOX's children and siblings without the first dot. */
static enum err
name_from_file(struct str text, char name[INDEX_MAILBOX_NAME_MAX + 1])
{
	char dir[MAILDIR_NAME_MAX + 2], ours[MAILDIR_NAME_MAX + 1];

	text = str_trim(text);
	if (str_is_i(text, "INBOX")) {
		snprintf(name, INDEX_MAILBOX_NAME_MAX + 1, "INBOX");
		return OK;
	}
	if (text.len == 0 || text.len >= MAILDIR_NAME_MAX || str_has_control(text))
		return E_RANGE;
	snprintf(dir, sizeof(dir), ".%.*s", STR_ARG(text));
	return core_name_from_dir(dir, name) == OK ? OK : core_name_from_utf8(dir, name, ours);
}

enum err
core_subscriptions_load(struct core_tx *tx)
{
	struct buf text = {0};
	enum err e = adopt_subscriptions_read(tx->core, &text);
	char name[INDEX_MAILBOX_NAME_MAX + 1];
	struct str rest = buf_str(&text);
	size_t count = 0;

	while (rest.p && e == OK && count < INDEX_MAILBOXES_MAX) {
		struct str line = str_split(&rest, '\n');
		MDB_val k, v = {0};

		if (name_from_file(line, name))
			continue;
		count++;
		k = (MDB_val){.mv_size = strlen(name), .mv_data = name};
		e = index_err_of_mdb(
			mdb_put(tx->txn, tx->core->env->dbi[INDEX_DB_SUBSCRIPTION], &k, &v, 0),
			"put subscription");
	}
	buf_free(&text);
	return e == E_NOTFOUND || e == E_ACCESS ? OK : e;
}

enum err
core_special_use_load(struct core_tx *tx, int *found)
{
	struct buf text = {0};
	enum err e = core_text_read(tx->core, "", CORE_FILE_SPECIAL_USE, &text);
	struct str rest = buf_str(&text);
	char name[INDEX_MAILBOX_NAME_MAX + 1];
	struct core_box box;

	*found = e == OK;
	while (rest.p && e == OK) {
		struct str folder = str_split(&rest, '\n'), word = str_split(&folder, ' ');
		unsigned use = core_special_use_parse(word);

		if (!use || name_from_file(folder, name) || core_box_find(tx, str_of(name), &box))
			continue;
		box.r.special_use = use;
		e = core_box_put(tx, &box);
	}
	buf_free(&text);
	return e == E_NOTFOUND || e == E_ACCESS ? OK : e;
}

enum err
core_special_use_write(struct core_tx *tx)
{
	struct core_box *boxes = NULL;
	struct buf text = {0};
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		const char *word = core_special_use_word(boxes[i].r.special_use);

		if (word)
			buf_printf(&text, "%s %s\n", word,
				boxes[i].dir[0] ? boxes[i].dir + 1 : "INBOX");
	}
	if (e == OK)
		e = core_text_write(tx->core, "", CORE_FILE_SPECIAL_USE, buf_str(&text));
	free(boxes);
	buf_free(&text);
	return e;
}
