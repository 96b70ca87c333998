/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/hex.h"
#include "lib/io.h"
#include "lib/log.h"

static const char uidvalidity_prefix[] = "dovecot-uidvalidity.";

struct writing {
	struct export_counts *counts;
	struct core_box *boxes;
	size_t box_count;
	const struct core_box *box;
	struct buf uidlist, keywords;
	struct buf uidls; /* roost-uidl, of INBOX */
	struct str uidls_left; /* UIDs rise in it */
	uint32_t uidl_uid; /* of what was cut off it last, and that */
	struct str uidl;
};

static enum err
list_step(struct core_tx *tx, void *arg)
{
	struct writing *x = arg;

	return core_box_list(tx, &x->boxes, &x->box_count);
}

/* UIDs are asked for rising. */
static struct str
uidl_of(struct writing *x, uint32_t uid)
{
	struct str none = {0};

	while (x->uidl_uid < uid && x->uidls_left.p) {
		struct str id = str_split(&x->uidls_left, '\n'), number = str_split(&id, ' ');
		int bad = str_has_control(id) || str_find(id, 0, ' ') < id.len;

		if (str_to_u32(number, &x->uidl_uid) == OK)
			x->uidl = bad ? none : id;
	}
	if (x->uidl_uid != uid)
		return none;
	return x->uidl;
}

static enum err
uidlist_lines(struct core_tx *tx, struct writing *x)
{
	struct index_key key = index_key_message(x->box->r.id, 0);
	MDB_val k = index_key_val(&key), v;
	struct index_message_record m;
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "export");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || id != x->box->r.id)
			break;
		e = index_message_decode(&v, &m);
		if (e)
			break;
		buf_printf(&x->uidlist, "%u ", uid);
		if (uidl_of(x, uid).len)
			buf_printf(&x->uidlist, "P%.*s ", STR_ARG(uidl_of(x, uid)));
		buf_add_char(&x->uidlist, ':');
		buf_add(&x->uidlist, m.name.p, m.base_len);
		buf_add_char(&x->uidlist, '\n');
		x->counts->messages++;
		x->counts->keywords_lost += core_keywords_has_more(&m.keywords) != 0;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

static enum err
folder_step(struct core_tx *tx, void *arg)
{
	struct writing *x = arg;
	adopt_names names;
	enum err e;

	buf_printf(&x->uidlist, "3 V%u N%u G", x->box->r.uidvalidity, x->box->r.uidnext);
	/* Dovecot's name of the mailbox has as many bits as ours. */
	(void)hex_add(x->box->r.object_id, sizeof(x->box->r.object_id), &x->uidlist);
	buf_add_char(&x->uidlist, '\n');
	e = uidlist_lines(tx, x);
	if (e == OK)
		e = core_keywords_get(tx, x->box->r.id, names);
	for (int i = 0; i < CORE_LETTERS && e == OK; i++)
		if (names[i][0])
			buf_printf(&x->keywords, "%d %s\n", i, names[i]);
	return e ? e : x->uidlist.err;
}

/* Where all were taken back an older one would give them again; one that was never taken over
 * stays. */
static enum err
export_acl(struct index_core *c, const char *dir)
{
	struct entry_list l;
	struct buf text = {0};
	enum err e = entry_file_read(c->maildir_fd, dir, ENTRY_FILE_ACL, &l, NULL);
	int fd = -1;

	if (e == E_NOTFOUND) {
		e = OK;
	} else if (e == OK && l.count) {
		export_dovecot_acl(&l, &text);
		e = core_text_write(c, dir, "dovecot-acl", buf_str(&text));
	} else if (e == OK) {
		e = core_dir_open(c, dir, CORE_TOP, &fd);
		if (e == OK && unlinkat(fd, "dovecot-acl", 0) != 0 && errno != ENOENT)
			e = err_from_errno(errno);
		io_close(&fd);
	}
	entry_list_free(&l);
	buf_free(&text);
	return e;
}

static enum err
export_folder(struct index_core *c, struct writing *x)
{
	enum err e;

	buf_reset(&x->uidlist);
	buf_reset(&x->keywords);
	buf_reset(&x->uidls);
	if (x->box->dir[0] == '\0')
		(void)core_text_read(c, "", CORE_FILE_UIDL, &x->uidls);
	x->uidls_left = buf_str(&x->uidls);
	x->uidl_uid = 0;
	e = core_read(c, folder_step, x);
	if (e == OK)
		e = core_text_write(c, x->box->dir, "dovecot-keywords", buf_str(&x->keywords));
	if (e == OK)
		e = core_text_write(c, x->box->dir, "dovecot-uidlist", buf_str(&x->uidlist));
	if (e == OK)
		e = export_acl(c, x->box->dir);
	x->counts->folders += e == OK;
	return e;
}

/* The number is in a file and in the name of another; of several the highest counts. */
static enum err
export_uidvalidity(struct index_core *c)
{
	char number[9], name[sizeof(uidvalidity_prefix) + 8];
	struct dirent *d;
	DIR *dirp;
	int fd;
	enum err e = core_dir_open(c, "", CORE_TOP, &fd);

	if (e)
		return e;
	dirp = fdopendir(fd);
	if (!dirp) {
		io_close(&fd);
		return err_from_errno(errno);
	}
	while ((d = readdir(dirp)))
		if (strncmp(d->d_name, uidvalidity_prefix, sizeof(uidvalidity_prefix) - 1) == 0)
			(void)unlinkat(c->maildir_fd, d->d_name, 0);
	closedir(dirp);
	snprintf(number, sizeof(number), "%08x", c->state.last_uidvalidity);
	snprintf(name, sizeof(name), "%s%s", uidvalidity_prefix, number);
	fd = openat(c->maildir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);
	if (fd < 0)
		return err_from_errno(errno);
	io_close(&fd);
	return core_text_write(c, "", "dovecot-uidvalidity", str_of(number));
}

static enum err
subscriptions_step(struct core_tx *tx, void *arg)
{
	(void)arg;
	return core_subscriptions_write(tx);
}

enum err
export_dovecot(struct index_core *c, struct export_counts *out)
{
	struct writing x = {.counts = out};
	enum err e;

	memset(out, 0, sizeof(*out));
	e = core_read(c, list_step, &x);
	for (size_t i = 0; i < x.box_count && e == OK; i++) {
		x.box = &x.boxes[i];
		e = export_folder(c, &x);
	}
	if (e == OK)
		e = core_read(c, subscriptions_step, NULL);
	if (e == OK)
		e = export_uidvalidity(c);
	log_event(e ? LOGL_ERROR : LOGL_INFO, e ? "index.export failed" : "index.export ok",
		"maildir", c->maildir, "folders", log_u64(out->folders), "messages",
		log_u64(out->messages), "error", e ? err_word(e) : NULL, NULL);
	free(x.boxes);
	buf_free(&x.uidlist);
	buf_free(&x.keywords);
	buf_free(&x.uidls);
	return e;
}
