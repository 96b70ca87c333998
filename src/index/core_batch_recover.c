/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"
#include "index/core_uidlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * A batch that was begun is finished. Its files are looked for rather than expected: a power cut
 * may have brought back older names (flags) of those that it takes, and of those that it made some
 * may have been renamed since, when it was done and only its file came back.
 */

/* ---- what lies in a folder ---- */

struct seen {
	uint64_t key; /* of the part of the name that stays */
	uint32_t uid; /* U=; 0: none */
	int in_new;
	char *name;
};
struct listing {
	int fd[2]; /* new, cur; -1: there is no such folder */
	struct seen *files;
	size_t count, cap;
	struct numset uids;
	int is_read;
};

static void
listing_close(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->files[i].name);
	free(l->files);
	numset_free(&l->uids);
	io_close(&l->fd[0]);
	io_close(&l->fd[1]);
}

/* Up to the first field or the flags: they may be added and changed. */
static uint64_t
lasting_key(struct str name)
{
	struct str part = str_split(&name, ':');

	part = str_split(&part, ',');
	return core_base_hash(part);
}

static void
listing_add(struct listing *l, const char *name, int in_new)
{
	struct maildir_name n;

	if (name[0] == '.' || maildir_name_parse(str_of(name), &n))
		return;
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->files = mem_realloc(l->files, l->cap, sizeof(*l->files));
	}
	l->files[l->count++] =
		(struct seen){lasting_key(str_of(name)), n.uid, in_new, mem_strdup(name)};
	if (n.uid)
		numset_add(&l->uids, n.uid);
}

static int
compare_seen(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static enum err
listing_read(struct listing *l)
{
	enum err e = OK;

	if (l->is_read)
		return OK;
	l->is_read = 1;
	for (int i = 0; i < 2 && e == OK; i++) {
		int fd = openat(l->fd[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dirp = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *d;

		if (!dirp) {
			e = err_from_errno(errno);
			io_close(&fd);
			continue;
		}
		while ((errno = 0, d = readdir(dirp)))
			listing_add(l, d->d_name, i == 0);
		e = errno ? err_from_errno(errno) : OK;
		closedir(dirp);
	}
	if (l->count)
		qsort(l->files, l->count, sizeof(*l->files), compare_seen);
	return e;
}

static const struct seen *
listing_find(const struct listing *l, struct str name)
{
	struct seen want = {.key = lasting_key(name)};

	return l->count ? bsearch(&want, l->files, l->count, sizeof(want), compare_seen) : NULL;
}

/* What is damaged will not be whole the next time. */
static int
may_be_better_later(enum err e)
{
	return e && e != E_CORRUPT && err_is_temporary(e);
}

/* E_NOTFOUND: it is not the folder that it was. */
static enum err
folder_open(struct index_core *c, const struct core_batch_folder *f, struct listing *l)
{
	char dir[MAILDIR_NAME_MAX + 1];
	struct core_uid_file id;
	enum err e;

	snprintf(dir, sizeof(dir), "%.*s", STR_ARG(f->dir));
	e = core_uid_file_read(c, dir, &id);
	if (e || id.uidvalidity != f->uidvalidity)
		return may_be_better_later(e) ? e : E_NOTFOUND;
	e = core_dir_open(c, dir, CORE_NEW, &l->fd[0]);
	return e ? e : core_dir_open(c, dir, CORE_CUR, &l->fd[1]);
}

/* ---- messages ---- */

struct redo {
	struct index_core *c;
	const struct core_batch_plan *plan;
	char to_dir[MAILDIR_NAME_MAX + 1];
	struct listing from, to;
	int tmp_fd;
	size_t done, gone;
};

static enum err
place(struct redo *r, const struct core_batch_message *m, int src_dir, const char *src)
{
	int dst_dir = r->to.fd[m->dst_in_new ? 0 : 1];
	char dst[MAILDIR_NAME_MAX + 1];

	snprintf(dst, sizeof(dst), "%.*s", STR_ARG(m->dst));
	if (m->kind == CORE_BATCH_COPY)
		return core_copy_link(r->c, src_dir, src, r->to_dir, dst_dir, dst);
	return renameat(src_dir, src, dst_dir, dst) == 0 ? OK : err_from_errno(errno);
}

/* Under the name that it had, else wherever it is now. */
static enum err
redo_message(struct redo *r, const struct core_batch_message *m)
{
	char src[MAILDIR_NAME_MAX + 1];
	const struct seen *found;
	enum err e;

	if (numset_contains(&r->to.uids, m->uid))
		return OK;
	snprintf(src, sizeof(src), "%.*s", STR_ARG(m->src));
	if (m->kind == CORE_BATCH_APPEND)
		return place(r, m, r->tmp_fd, src);
	e = place(r, m, r->from.fd[m->src_in_new ? 0 : 1], src);
	if (e != E_NOTFOUND)
		return e;
	e = listing_read(&r->from);
	found = e ? NULL : listing_find(&r->from, m->src);
	if (e == OK && !found)
		e = E_NOTFOUND;
	return e ? e : place(r, m, r->from.fd[found->in_new ? 0 : 1], found->name);
}

static enum err
redo_open(struct redo *r)
{
	const struct core_batch_plan *p = r->plan;
	enum err e = folder_open(r->c, &p->to, &r->to);

	if (e == OK)
		e = listing_read(&r->to);
	if (e == OK && p->messages[0].kind == CORE_BATCH_APPEND)
		return core_dir_open(r->c, r->to_dir, CORE_TMP, &r->tmp_fd);
	return e ? e : folder_open(r->c, &p->from, &r->from);
}

static enum err
redo_messages(struct index_core *c, const struct core_batch_plan *p)
{
	struct redo r = {
		.c = c, .plan = p, .from = {.fd = {-1, -1}}, .to = {.fd = {-1, -1}}, .tmp_fd = -1};
	enum err e;

	snprintf(r.to_dir, sizeof(r.to_dir), "%.*s", STR_ARG(p->to.dir));
	e = redo_open(&r);
	for (size_t i = 0; i < p->message_count && e == OK; i++) {
		e = redo_message(&r, &p->messages[i]);
		r.done += e == OK;
		/* Removed by another program, or expunged when all of it was long done. */
		r.gone += e == E_NOTFOUND;
		if (e == E_NOTFOUND)
			e = OK;
	}
	for (int i = 0; i < 2; i++) {
		if (r.to.fd[i] >= 0)
			core_sync_note(c, r.to.fd[i]);
		if (r.from.fd[i] >= 0)
			core_sync_note(c, r.from.fd[i]);
	}
	log_event(LOGL_INFO, "index.batch redone", "maildir", c->maildir, "dir", r.to_dir, "there",
		log_u64(r.done), "gone", log_u64(r.gone), NULL);
	listing_close(&r.from);
	listing_close(&r.to);
	io_close(&r.tmp_fd);
	/* A folder that went away took its messages along. */
	return e == E_NOTFOUND ? OK : e;
}

struct committed {
	const struct core_batch_plan *plan;
	int is;
};

/* The index has taken all of it over: then it is done, whatever became of the messages since. */
static enum err
committed_step(struct core_tx *tx, void *arg)
{
	struct committed *cm = arg;
	const struct core_batch_plan *p = cm->plan;
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count; i++)
		if (boxes[i].r.uidvalidity == p->to.uidvalidity &&
			boxes[i].r.uidnext > p->messages[p->message_count - 1].uid)
			cm->is = 1;
	free(boxes);
	return e;
}

/* ---- folders ---- */

/* roost-special-use names folders: in the index that was lost they had their new names already. */
static enum err
rename_special_use(struct index_core *c, const struct core_batch_plan *p)
{
	struct buf text = {0}, out = {0};
	enum err e = core_text_read(c, "", CORE_FILE_SPECIAL_USE, &text);
	struct str rest = buf_str(&text);
	int changed = 0;

	while (rest.p && rest.len && e == OK) {
		struct str folder = str_split(&rest, '\n'), word = str_split(&folder, ' ');

		for (size_t i = 0; i < p->rename_count; i++) {
			const struct core_batch_rename *r = &p->renames[i];

			if (!str_equal(folder, str_make(r->dir.p + 1, r->dir.len - 1)))
				continue;
			folder = str_make(r->new_dir.p + 1, r->new_dir.len - 1);
			changed = 1;
			break;
		}
		buf_printf(&out, "%.*s %.*s\n", STR_ARG(word), STR_ARG(folder));
	}
	if (e == OK && changed)
		e = core_text_write(c, "", CORE_FILE_SPECIAL_USE, buf_str(&out));
	buf_free(&text);
	buf_free(&out);
	return e == E_NOTFOUND ? OK : e;
}

static int
is_mailbox(struct index_core *c, const char *dir, uint32_t uidvalidity)
{
	struct core_uid_file f;

	return core_uid_file_read(c, dir, &f) == OK && f.uidvalidity == uidvalidity;
}

static enum err
redo_renames(struct index_core *c, const struct core_batch_plan *p)
{
	char dir[MAILDIR_NAME_MAX + 1], new_dir[MAILDIR_NAME_MAX + 1];
	size_t moved = 0, here = 0;

	for (size_t i = 0; i < p->rename_count; i++) {
		const struct core_batch_rename *r = &p->renames[i];

		snprintf(dir, sizeof(dir), "%.*s", STR_ARG(r->dir));
		snprintf(new_dir, sizeof(new_dir), "%.*s", STR_ARG(r->new_dir));
		if (is_mailbox(c, dir, r->uidvalidity)) {
			if (renameat2(c->maildir_fd, dir, c->maildir_fd, new_dir,
				    RENAME_NOREPLACE) == 0)
				moved++;
			else if (errno != EEXIST)
				return err_from_errno(errno);
		} else {
			here += is_mailbox(c, new_dir, r->uidvalidity);
		}
	}
	core_sync_note(c, c->maildir_fd);
	log_event(LOGL_INFO, "index.batch redone", "maildir", c->maildir, "renamed", log_u64(moved),
		"there", log_u64(here), NULL);
	return moved || here ? rename_special_use(c, p) : OK;
}

/* ---- all of it ---- */

static enum err
read_plan(struct index_core *c, struct core_batch_recovery *r)
{
	char *path = core_dir_path(c, "", CORE_FILE_BATCH);
	enum err e = io_read_file(path, &r->text);

	free(path);
	if (e == OK)
		e = core_batch_parse(buf_str(&r->text), &r->plan);
	if (e == E_CORRUPT)
		log_event(LOGL_WARN, "index.file bad", "maildir", c->maildir, "dir", "", "file",
			CORE_FILE_BATCH, NULL);
	return e;
}

enum err
core_batch_recover(struct index_core *c, int known, struct core_batch_recovery *r)
{
	struct committed cm = {.plan = &r->plan};
	enum err e = read_plan(c, r);

	r->found = e != E_NOTFOUND;
	if (e)
		return may_be_better_later(e) ? e : OK;
	if (r->plan.message_count && known)
		e = core_read(c, committed_step, &cm);
	if (e == OK && r->plan.message_count && !cm.is)
		e = redo_messages(c, &r->plan);
	if (e == OK && r->plan.rename_count)
		e = redo_renames(c, &r->plan);
	if (e)
		log_event(LOGL_ERROR, "index.batch failed", "maildir", c->maildir, "step", "redo",
			"error", err_word(e), NULL);
	return e;
}

struct find_box {
	uint32_t uidvalidity, id;
};

static enum err
find_box_step(struct core_tx *tx, void *arg)
{
	struct find_box *f = arg;
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count; i++)
		if (boxes[i].r.uidvalidity == f->uidvalidity)
			f->id = boxes[i].r.id;
	free(boxes);
	return e;
}

/* 0: there is none. */
static uint32_t
box_of(struct index_core *c, const struct core_batch_folder *f)
{
	struct find_box find = {.uidvalidity = f->uidvalidity};

	return f->uidvalidity && core_read(c, find_box_step, &find) == OK ? find.id : 0;
}

static enum err
remove_replaced(struct index_core *c, const struct core_batch_plan *p, uint32_t from, uint32_t to)
{
	struct numset uids = {0}, gone = {0};
	struct buf path = {0};
	uint64_t modseq;
	enum err e = OK;

	/* Only for one that came in its place. */
	if (p->message_count && index_core_locate(c, to, p->messages[0].uid, &path) == OK) {
		numset_add(&uids, p->replaced);
		e = index_core_expunge(c, from, &uids, 1, &gone, &modseq);
	}
	buf_free(&path);
	numset_free(&uids);
	numset_free(&gone);
	return e;
}

enum err
core_batch_recovered(struct index_core *c, struct core_batch_recovery *r)
{
	uint32_t from = box_of(c, &r->plan.from), to = box_of(c, &r->plan.to);
	enum err e = OK;

	if (!r->found)
		return OK;
	/* Whatever the times of the directories say. */
	if (to)
		e = core_scan(c, to, 1);
	if (e == OK && from && from != to)
		e = core_scan(c, from, 1);
	if (e == OK && r->plan.replaced && from && to)
		e = remove_replaced(c, &r->plan, from, to);
	if (e == OK)
		e = index_core_sync(c);
	if (e == OK) {
		c->batch = CORE_BATCH_DONE;
		e = core_batch_settle(c);
	}
	return e == E_NOTFOUND || e == E_ACCESS ? OK : e;
}

void
core_batch_recovery_free(struct core_batch_recovery *r)
{
	core_batch_plan_free(&r->plan);
	buf_free(&r->text);
}
