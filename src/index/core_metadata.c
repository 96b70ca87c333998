/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "index/entry_file.h"
#include "lib/io.h"
#include "lib/log.h"

/*
 * Annotations and rights lie in text files of the folder, which is all there is of them: sessions
 * read the files, so there is nothing that a rebuild of the index could lose. The index has only
 * the mod-sequence of the last change, for those who watch.
 */

enum err
core_entries_read(struct index_core *c, const char *dir, const char *file, struct entry_list *out)
{
	char aside[MAILDIR_NAME_MAX + 8];
	size_t bad = 0;
	enum err e = entry_file_read(c->maildir_fd, dir, file, out, &bad);
	int fd;

	if (e == E_NOTFOUND)
		return OK;
	if (bad)
		log_event(LOGL_WARN, "index.file bad", "maildir", c->maildir, "dir", dir, "file",
			file, NULL);
	if (e != E_CORRUPT)
		return e;
	/* What somebody can mend by hand is not overwritten. */
	e = core_dir_open(c, dir, CORE_TOP, &fd);
	if (e)
		return e;
	snprintf(aside, sizeof(aside), "%s.bad", file);
	log_event(LOGL_WARN, "index.file aside", "maildir", c->maildir, "dir", dir, "file", file,
		NULL);
	if (renameat(fd, file, fd, aside) != 0)
		e = err_from_errno(errno);
	io_close(&fd);
	return e;
}

enum err
core_entries_write(
	struct index_core *c, const char *dir, const char *file, const struct entry_list *l)
{
	struct buf text = {0};
	enum err e;

	entry_list_format(l, &text);
	e = core_text_write(c, dir, file, buf_str(&text));
	buf_free(&text);
	return e;
}

enum err
core_entries_copy(struct index_core *c, const char *from, const char *to, const char *file)
{
	struct entry_list l = {0};
	enum err e = core_entries_read(c, from, file, &l);

	if (e == OK && l.count)
		e = core_entries_write(c, to, file, &l);
	entry_list_free(&l);
	return e;
}

/* What watchers compare; see index_metadata_modseq. */
static enum err
note_change(struct core_tx *tx, uint32_t mailbox)
{
	struct index_key key = index_key_meta(INDEX_META_ENTRIES, mailbox);
	uint64_t modseq;

	core_tx_note(tx, mailbox);
	modseq = core_tx_modseq(tx);
	return core_tx_put(tx, INDEX_DB_META, key, &modseq, sizeof(modseq));
}

/* ---- annotations ---- */

struct annotate {
	uint32_t mailbox;
	const struct index_metadata *list;
	size_t count;
};

static enum err
apply_one(struct entry_list *l, const struct index_metadata *m, int *changed)
{
	const struct entry *old;
	struct buf name = {0};
	enum err e = entry_metadata_name(m->name, &name);

	if (e == OK && m->value.len > INDEX_METADATA_VALUE_MAX)
		e = E_TOOBIG;
	if (e)
		goto out;
	old = entry_list_get(l, buf_str(&name));
	if (m->is_nil) {
		*changed |= entry_list_remove(l, buf_str(&name));
	} else if (!old || !str_equal(buf_str(&old->value), m->value)) {
		entry_list_set(l, buf_str(&name), m->value);
		*changed = 1;
	}
out:
	buf_free(&name);
	return e;
}

static enum err
annotate_step(struct core_tx *tx, void *arg)
{
	const struct annotate *a = arg;
	const char *file = a->mailbox ? ENTRY_FILE_METADATA : ENTRY_FILE_METADATA_SERVER;
	struct entry_list l = {0};
	struct core_box box = {0};
	size_t before;
	int changed = 0;
	enum err e = a->mailbox ? core_box_get(tx, a->mailbox, &box) : OK;

	if (e == OK)
		e = core_entries_read(tx->core, box.dir, file, &l);
	before = entry_list_bytes(&l);
	for (size_t i = 0; i < a->count && e == OK; i++)
		e = apply_one(&l, &a->list[i], &changed);
	/* What is over the bounds already may become less. */
	if (e == OK && entry_list_bytes(&l) > before &&
		(l.count > INDEX_METADATA_COUNT_MAX ||
			entry_list_bytes(&l) > INDEX_METADATA_TOTAL_MAX))
		e = E_QUOTA;
	if (e == OK && changed)
		e = core_entries_write(tx->core, box.dir, file, &l);
	if (e == OK && changed)
		e = note_change(tx, a->mailbox);
	/* RFC 7162 section 3.2: it counts as a change of the mailbox. */
	if (e == OK && changed && a->mailbox) {
		box.r.highest_modseq = core_tx_modseq(tx);
		e = core_box_put(tx, &box);
	}
	entry_list_free(&l);
	return e;
}

enum err
index_core_metadata_set(
	struct index_core *c, uint32_t mailbox, const struct index_metadata *list, size_t count)
{
	struct annotate a = {.mailbox = mailbox, .list = list, .count = count};

	return core_run(c, annotate_step, &a);
}

/* ---- rights ---- */

struct grant {
	uint32_t mailbox;
	struct str identifier, rights;
	enum index_acl_op op;
};

/* The rights that identifier has now, and those that it gets. */
static enum err
new_rights(const struct grant *g, const struct entry_list *l, char out[ENTRY_RIGHTS_MAX + 1])
{
	const struct entry *old = entry_list_get(l, g->identifier);
	struct str had = old ? buf_str(&old->value) : (struct str){0};
	struct buf sum = {0};
	enum err e = entry_rights_normalize(g->rights, out);

	if (e)
		return e;
	if (g->op == INDEX_ACL_ADD) {
		buf_add_str(&sum, had);
		buf_add_str(&sum, g->rights);
		e = entry_rights_normalize(buf_str(&sum), out);
	} else if (g->op == INDEX_ACL_REMOVE) {
		for (size_t i = 0; i < had.len; i++)
			if (str_find(g->rights, 0, had.p[i]) == g->rights.len)
				buf_add_char(&sum, had.p[i]);
		e = entry_rights_normalize(buf_str(&sum), out);
	}
	buf_free(&sum);
	return e;
}

static enum err
grant_step(struct core_tx *tx, void *arg)
{
	const struct grant *g = arg;
	char rights[ENTRY_RIGHTS_MAX + 1];
	struct entry_list l = {0};
	struct core_box box;
	int changed = 1;
	enum err e = core_box_get(tx, g->mailbox, &box);

	if (e == OK)
		e = core_entries_read(tx->core, box.dir, ENTRY_FILE_ACL, &l);
	if (e == OK)
		e = new_rights(g, &l, rights);
	if (e == OK &&
		(g->op == INDEX_ACL_DELETE || (g->op == INDEX_ACL_REMOVE && rights[0] == '\0')))
		changed = entry_list_remove(&l, g->identifier);
	else if (e == OK)
		entry_list_set(&l, g->identifier, str_of(rights));
	if (e == OK && changed && g->op != INDEX_ACL_DELETE && l.count > INDEX_ACL_COUNT_MAX)
		e = E_QUOTA;
	if (e == OK && changed)
		e = core_entries_write(tx->core, box.dir, ENTRY_FILE_ACL, &l);
	if (e == OK && changed)
		core_tx_note(tx, g->mailbox);
	entry_list_free(&l);
	return e;
}

enum err
index_core_acl_set(struct index_core *c, uint32_t mailbox, struct str identifier,
	enum index_acl_op op, struct str rights)
{
	struct grant g = {.mailbox = mailbox, .identifier = identifier, .rights = rights, .op = op};
	enum err e = entry_identifier_check(identifier);

	return e ? e : core_run(c, grant_step, &g);
}
