/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/hex.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * roost-uidvalidity:
 *
 *   roost 1
 *   uidvalidity 1790000000
 *   next-uid 1001
 *   mailbox-id 3
 *   object-id 0123456789abcdef0123456789abcdef
 *   last-uidvalidity 1790000007
 *   modseq-floor 1876951041048576
 *
 * No UID at or above next-uid was ever given to a message, so that after a loss of the index UIDs
 * go on from there. The last two lines are INBOX's alone. A deleted mailbox takes its UIDVALIDITY
 * along, and when many were made in a second those are ahead of the clock. And no mod-sequence
 * above modseq-floor was ever given: an index that is made anew begins behind it when the clock was
 * set back.
 */

enum err
core_text_read(struct index_core *c, const char *dir, const char *file, struct buf *out)
{
	char *path = core_dir_path(c, dir, file);
	enum err e;

	buf_reset(out);
	out->max = CORE_TEXT_FILE_MAX;
	e = io_read_file(path, out);
	free(path);
	return e;
}

/* sync: it is on disk then; otherwise before the next answer. */
static enum err
write_tmp(struct index_core *c, int top, const char *tmp, struct str text, int sync)
{
	int fd = openat(top, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	enum err e;

	if (fd < 0)
		return err_from_errno(errno);
	e = io_write_all(fd, text.p, text.len);
	if (e == OK && sync && c->fsync && fsync(fd) != 0)
		e = err_from_errno(errno);
	if (e == OK && !sync)
		core_sync_note(c, fd);
	io_close(&fd);
	return e;
}

static enum err
text_write(struct index_core *c, const char *dir, const char *file, struct str text, int sync)
{
	char tmp[MAILDIR_NAME_MAX + 8];
	enum err e;
	int top;

	e = core_dir_open(c, dir, CORE_TOP, &top);
	if (e)
		return e;
	snprintf(tmp, sizeof(tmp), "%s.tmp", file);
	e = write_tmp(c, top, tmp, text, sync);
	if (e == OK && renameat(top, tmp, top, file) != 0)
		e = err_from_errno(errno);
	if (e == OK && sync && c->fsync && fsync(top) != 0)
		e = err_from_errno(errno);
	if (e == OK && !sync)
		core_sync_note(c, top);
	if (e) {
		log_event(LOGL_ERROR, "index.file write failed", "maildir", c->maildir, "dir", dir,
			"file", file, "error", err_word(e), NULL);
		unlinkat(top, tmp, 0);
	}
	io_close(&top);
	return e;
}

enum err
core_text_write(struct index_core *c, const char *dir, const char *file, struct str text)
{
	return text_write(c, dir, file, text, 1);
}

enum err
core_text_write_soon(struct index_core *c, const char *dir, const char *file, struct str text)
{
	return text_write(c, dir, file, text, 0);
}

enum err
core_uid_file_read(struct index_core *c, const char *dir, struct core_uid_file *out)
{
	struct buf text = {0};
	enum err e = core_text_read(c, dir, CORE_FILE_UID, &text);
	int have_object = 0;
	struct str rest;

	memset(out, 0, sizeof(*out));
	if (e) {
		buf_free(&text);
		return e == E_NOTFOUND || err_is_temporary(e) ? e : E_CORRUPT;
	}
	rest = buf_str(&text);
	if (!str_is(str_split(&rest, '\n'), "roost 1"))
		e = E_CORRUPT;
	while (rest.p && e == OK) {
		struct str value = str_split(&rest, '\n'), key = str_split(&value, ' ');

		if (str_is(key, "uidvalidity"))
			e = str_to_u32(value, &out->uidvalidity);
		else if (str_is(key, "next-uid"))
			e = str_to_u32(value, &out->next_uid);
		else if (str_is(key, "mailbox-id"))
			e = str_to_u32(value, &out->mailbox_id);
		else if (str_is(key, "last-uidvalidity"))
			e = str_to_u32(value, &out->last_uidvalidity);
		else if (str_is(key, "modseq-floor"))
			e = str_to_u64(value, &out->modseq_floor);
		else if (str_is(key, "object-id"))
			have_object = hex_read(value, out->object_id, sizeof(out->object_id));
	}
	if (!have_object || out->uidvalidity == 0 || out->next_uid == 0 || out->mailbox_id == 0)
		e = E_CORRUPT;
	buf_free(&text);
	if (e)
		log_event(LOGL_WARN, "index.file bad", "maildir", c->maildir, "dir", dir, "file",
			CORE_FILE_UID, NULL);
	return e ? E_CORRUPT : OK;
}

enum err
core_uid_file_write(struct index_core *c, const char *dir, const struct core_uid_file *f)
{
	uint64_t floor = c->state.modseq + CORE_MODSEQ_CHUNK;
	/* While an index is made the state does not have it yet. */
	uint32_t last = c->state.last_uidvalidity > f->last_uidvalidity ? c->state.last_uidvalidity
									: f->last_uidvalidity;
	char object_id[2 * sizeof(f->object_id) + 1];
	struct buf text = {0};
	enum err e;

	if (floor < c->modseq_floor)
		floor = c->modseq_floor;
	hex_write(f->object_id, sizeof(f->object_id), object_id);
	buf_printf(&text, "roost 1\nuidvalidity %u\nnext-uid %u\nmailbox-id %u\nobject-id %s\n",
		f->uidvalidity, f->next_uid, f->mailbox_id, object_id);
	if (dir[0] == '\0' && last)
		buf_printf(&text, "last-uidvalidity %u\n", last);
	if (dir[0] == '\0')
		buf_printf(&text, "modseq-floor %llu\n", (unsigned long long)floor);
	e = core_text_write(c, dir, CORE_FILE_UID, buf_str(&text));
	if (e == OK && dir[0] == '\0')
		c->modseq_floor = floor;
	buf_free(&text);
	return e;
}

enum err
core_modseq_reserve(struct index_core *c, uint64_t modseq)
{
	struct core_uid_file f;
	enum err e;

	if (modseq <= c->modseq_floor)
		return OK;
	e = core_uid_file_read(c, "", &f);
	/* One that is missing or damaged is made anew, with the floor, when INBOX is looked at. */
	if (e)
		return e == E_NOTFOUND || e == E_CORRUPT ? OK : e;
	return core_uid_file_write(c, "", &f);
}

enum err
core_uid_reserve(struct index_core *c, struct core_box *b, size_t n)
{
	struct core_uid_file f = {.uidvalidity = b->r.uidvalidity, .mailbox_id = b->r.id};
	enum err e;

	if (n > UINT32_MAX - CORE_UID_CHUNK || b->r.uidnext > UINT32_MAX - CORE_UID_CHUNK - n)
		return E_RANGE;
	if (b->r.uidnext + n <= b->r.uid_floor)
		return OK;
	f.next_uid = b->r.uidnext + (uint32_t)n + CORE_UID_CHUNK;
	memcpy(f.object_id, b->r.object_id, sizeof(f.object_id));
	e = core_uid_file_write(c, b->dir, &f);
	if (e == OK)
		b->r.uid_floor = f.next_uid;
	return e;
}
