/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "import/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/auth_client.h"
#include "index/core_files.h"
#include "index/core_name.h"
#include "index/index_client.h"
#include "index/maildir_name.h"
#include "lib/io.h"
#include "lib/mem.h"

/*
 * One user. What exists and with which flags is read in one transaction; then the files are copied.
 * When some are gone by then, their messages were expunged after that point: it is read again and
 * the difference copied, until a state of the mail is there as a whole. That state is the backup.
 */

enum { PASSES_MAX = 50, SHOW_MS = 500 };

struct box {
	uint32_t id, uidvalidity, uidnext;
	char object_id[33];
	char dir[MAILDIR_NAME_MAX + 1]; /* "" for INBOX */
	char **keywords;
	size_t keyword_count;
	size_t first, count; /* of messages */
};
struct message {
	uint32_t uid;
	unsigned flags;
	struct index_keywords keywords;
	char *base;
};
/* A message that is in the copy. */
struct copied {
	uint32_t box, uid; /* box: its id */
	uint64_t size;
	char hash[BACKUP_HASH_TEXT];
	char *path; /* below the copy's Maildir */
	int wanted; /* by the last snapshot */
};

struct user_backup {
	struct backup *b;
	struct index_user *u;
	const char *name;
	char *home, *stage, *previous; /* directories; previous may be NULL */
	struct manifest old;
	struct box *boxes;
	size_t box_count, box_cap;
	struct message *messages;
	size_t count, cap;
	struct copied *copied; /* by box and UID, but for those of this pass */
	size_t copied_count, copied_cap, sorted;
	uint64_t missing; /* in this pass */
	uid_t uid;
	gid_t gid;
};

/* ---- the state of the mail ---- */

static void
snapshot_free(struct user_backup *x)
{
	for (size_t i = 0; i < x->box_count; i++)
		index_names_free(&x->boxes[i].keywords, x->boxes[i].keyword_count);
	for (size_t i = 0; i < x->count; i++)
		free(x->messages[i].base);
	x->box_count = x->count = 0;
}

static enum err
add_message(const struct index_message *m, void *arg)
{
	struct user_backup *x = arg;

	if (x->count == x->cap) {
		x->cap = x->cap ? x->cap * 2 : 1024;
		x->messages = mem_realloc(x->messages, x->cap, sizeof(*x->messages));
	}
	x->messages[x->count++] = (struct message){.uid = m->uid,
		.flags = m->flags,
		.keywords = m->keywords,
		.base = str_dup(m->file)};
	return OK;
}

static enum err
add_box(const struct index_mailbox *m, void *arg)
{
	struct user_backup *x = arg;
	struct box *box;
	enum err e;

	if (x->box_count == x->box_cap) {
		x->box_cap = x->box_cap ? x->box_cap * 2 : 16;
		x->boxes = mem_realloc(x->boxes, x->box_cap, sizeof(*x->boxes));
	}
	box = &x->boxes[x->box_count];
	*box = (struct box){.id = m->id,
		.uidvalidity = m->uidvalidity,
		.uidnext = m->uidnext,
		.first = x->count};
	memcpy(box->object_id, m->object_id, sizeof(box->object_id));
	if (strcmp(m->name, "INBOX") != 0) {
		e = core_name_to_dir(m->name, box->dir);
		if (e)
			return e;
	}
	e = index_mailbox_keywords(x->u, m->id, &box->keywords, &box->keyword_count);
	if (e)
		return e;
	x->box_count++;
	e = index_message_each(x->u, m->id, 1, UINT32_MAX, add_message, x);
	x->boxes[x->box_count - 1].count = x->count - box->first;
	return e;
}

static enum err
snapshot(struct user_backup *x)
{
	enum err e = index_refresh(x->u, 0);

	snapshot_free(x);
	if (e == OK)
		e = index_read_begin(x->u);
	if (e)
		return e;
	e = index_mailbox_each(x->u, add_box, x);
	index_read_end(x->u);
	return e;
}

/* ---- one message ---- */

static uint32_t
letters_of(const struct message *m)
{
	return (uint32_t)(m->keywords.bits[0] & ((1u << CORE_LETTERS) - 1));
}

/* "DIR/cur/NAME": its UID is in the name, whatever happened to that on the way. */
static enum err
path_of(const struct box *box, const struct message *m, struct buf *out)
{
	struct maildir_name n;
	enum err e = maildir_name_parse(str_of(m->base), &n);

	buf_printf(out, "%s%scur/", box->dir, box->dir[0] ? "/" : "");
	if (e == OK && n.has_uid && n.uid == m->uid)
		buf_add_cstr(out, m->base);
	else if (e == OK)
		e = maildir_base_rebuild(&n, n.has_size ? n.size : UINT64_MAX,
			n.has_crlf_size ? n.crlf_size : UINT64_MAX, m->uid, out);
	maildir_info_build(m->flags, letters_of(m), 0, out);
	return e;
}

static int
compare_copied(const void *a, const void *b)
{
	const struct copied *x = a, *y = b;

	if (x->box != y->box)
		return x->box < y->box ? -1 : 1;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static struct copied *
find_copied(struct user_backup *x, uint32_t box, uint32_t uid)
{
	struct copied key = {.box = box, .uid = uid};

	return x->sorted ? bsearch(&key, x->copied, x->sorted, sizeof(key), compare_copied) : NULL;
}

static struct copied *
add_copied(struct user_backup *x, uint32_t box, uint32_t uid, const char *path)
{
	if (x->copied_count == x->copied_cap) {
		x->copied_cap = x->copied_cap ? x->copied_cap * 2 : 1024;
		x->copied = mem_realloc(x->copied, x->copied_cap, sizeof(*x->copied));
	}
	x->copied[x->copied_count] =
		(struct copied){.box = box, .uid = uid, .path = mem_strdup(path), .wanted = 1};
	return &x->copied[x->copied_count++];
}

/* The same file in the backup before, if it has it: the part before the flags never changes. */
static enum err
link_previous(struct user_backup *x, const struct box *box, const struct message *m,
	const char *path, const char *target)
{
	const struct manifest_folder *f =
		x->previous ? manifest_folder_find(&x->old, str_of(box->dir)) : NULL;
	const struct manifest_message *old;
	struct str name, old_name;
	struct copied *c;
	struct stat st;
	char *from;
	enum err e = E_NOTFOUND;

	if (!f || f->uidvalidity != box->uidvalidity)
		return e;
	old = manifest_message_find(f, m->uid);
	if (!old)
		return e;
	name = str_of(strrchr(path, '/') + 1);
	name.len = str_find(name, 0, ':');
	old_name = old->name;
	old_name.len = str_find(old_name, 0, ':');
	if (!str_equal(name, old_name))
		return e;
	from = mem_printf("%s/Maildir/%s%scur/%.*s", x->previous, box->dir, box->dir[0] ? "/" : "",
		STR_ARG(old->name));
	/* A file of another size is damaged: it is copied anew. */
	if (lstat(from, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == old->size &&
		link(from, target) == 0) {
		c = add_copied(x, box->id, m->uid, path);
		c->size = old->size;
		memcpy(c->hash, old->hash.p, BACKUP_HASH_TEXT - 1);
		x->b->linked++;
		e = OK;
	}
	free(from);
	return e;
}

/* The owner of the mail owns the copy, too, so that it can be put back as it is. */
static void
give_away(const struct user_backup *x, int fd)
{
	if (geteuid() == 0 && fchown(fd, x->uid, x->gid) != 0)
		tool_error("%s: a file of the copy keeps its owner: %s", x->name, strerror(errno));
}

static enum err
copy_file(struct user_backup *x, const struct box *box, const struct message *m, const char *path,
	const char *target)
{
	struct copied *c;
	struct stat st;
	int from = -1, to;
	enum err e = index_content_file(x->u, box->id, m->uid, &from);

	if (e)
		return e;
	to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 || fstat(from, &st) != 0)
		e = err_from_errno(errno);
	if (e == OK) {
		struct timespec times[2] = {st.st_mtim, st.st_mtim};

		c = add_copied(x, box->id, m->uid, path);
		e = backup_hash_copy(from, to, c->hash, &c->size);
		give_away(x, to);
		if (e == OK && futimens(to, times) != 0)
			e = err_from_errno(errno);
		x->b->bytes += c->size;
	}
	io_close(&from);
	io_close(&to);
	return e == E_NOTFOUND ? E_IO : e;
}

static enum err
take_message(struct user_backup *x, const struct box *box, const struct message *m)
{
	struct buf path = {0};
	struct copied *c = find_copied(x, box->id, m->uid);
	char *target, *from;
	enum err e = path_of(box, m, &path);

	target = mem_printf("%s/Maildir/%s", x->stage, buf_cstr(&path));
	if (e == OK && c) {
		c->wanted = 1;
		if (strcmp(c->path, buf_cstr(&path)) != 0) {
			from = mem_printf("%s/Maildir/%s", x->stage, c->path);
			e = rename(from, target) == 0 ? OK : err_from_errno(errno);
			free(from);
			free(c->path);
			c->path = mem_strdup(buf_cstr(&path));
		}
	} else if (e == OK && link_previous(x, box, m, buf_cstr(&path), target) != OK) {
		e = copy_file(x, box, m, buf_cstr(&path), target);
		if (e == E_NOTFOUND) {
			x->missing++;
			e = OK;
		}
	}
	free(target);
	buf_free(&path);
	return e;
}

/* ---- folders ---- */

static enum err
make_dir(const struct user_backup *x, const char *path)
{
	int fd;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_from_errno(errno);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_from_errno(errno);
	give_away(x, fd);
	io_close(&fd);
	return OK;
}

static enum err
make_folder(const struct user_backup *x, const char *dir)
{
	static const char *const subs[] = {"", "/cur", "/new", "/tmp"};
	enum err e = OK;

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && e == OK; i++) {
		char *path = mem_printf("%s/Maildir/%s%s", x->stage, dir, subs[i]);

		e = make_dir(x, path);
		free(path);
	}
	return e;
}

static enum err
pass(struct user_backup *x)
{
	enum err e = OK;

	x->missing = 0;
	for (size_t i = 0; i < x->copied_count; i++)
		x->copied[i].wanted = 0;
	for (size_t i = 0; i < x->box_count && e == OK; i++) {
		const struct box *box = &x->boxes[i];

		e = make_folder(x, box->dir);
		for (size_t k = 0; k < box->count && e == OK; k++) {
			e = take_message(x, box, &x->messages[box->first + k]);
			if (x->b->is_terminal && io_now_ms() - x->b->shown_ms > SHOW_MS) {
				x->b->shown_ms = io_now_ms();
				x->b->line_open = 1;
				fprintf(stderr, "\r\033[K%s: %zu of %zu messages", x->name,
					x->copied_count, x->count);
				fflush(stderr);
			}
		}
	}
	if (x->copied_count)
		qsort(x->copied, x->copied_count, sizeof(*x->copied), compare_copied);
	x->sorted = x->copied_count;
	return e;
}

/* What an earlier pass copied and is not there any more. */
static void
drop_unwanted(struct user_backup *x)
{
	size_t n = 0;

	for (size_t i = 0; i < x->copied_count; i++) {
		struct copied *c = &x->copied[i];

		if (c->wanted) {
			x->copied[n++] = *c;
		} else {
			char *path = mem_printf("%s/Maildir/%s", x->stage, c->path);

			(void)unlink(path);
			free(path);
			free(c->path);
		}
	}
	x->copied_count = x->sorted = n;
}

/* ---- the small files ---- */

static enum err
write_text(struct user_backup *x, const char *dir, const char *file, const struct buf *text)
{
	char *path = mem_printf("%s/Maildir/%s%s%s", x->stage, dir, dir[0] ? "/" : "", file);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	enum err e = fd < 0 ? err_from_errno(errno) : io_write_all(fd, text->p, text->len);

	if (fd >= 0)
		give_away(x, fd);
	io_close(&fd);
	free(path);
	return e;
}

static enum err
write_numbers(struct user_backup *x, const struct box *box)
{
	struct buf text = {0};
	uint32_t last = 0;
	enum err e;

	/* The floor as Roost has it: above all UIDs that were given. */
	buf_printf(&text, "roost 1\nuidvalidity %u\nnext-uid %u\nmailbox-id %u\nobject-id %s\n",
		box->uidvalidity, box->uidnext + CORE_UID_CHUNK, box->id, box->object_id);
	for (size_t i = 0; i < x->box_count && !box->dir[0]; i++)
		if (x->boxes[i].uidvalidity > last)
			last = x->boxes[i].uidvalidity;
	if (last)
		buf_printf(&text, "last-uidvalidity %u\n", last);
	e = write_text(x, box->dir, CORE_FILE_UID, &text);
	buf_free(&text);
	return e;
}

static enum err
write_keywords(struct user_backup *x, const struct box *box)
{
	struct buf letters = {0}, more = {0};
	enum err e = OK;

	for (size_t i = 0; i < box->keyword_count && i < CORE_LETTERS; i++)
		if (box->keywords[i] && box->keywords[i][0])
			buf_printf(&letters, "%zu %s\n", i, box->keywords[i]);
	for (size_t k = 0; k < box->count; k++) {
		const struct message *m = &x->messages[box->first + k];
		int any = 0;

		for (size_t i = CORE_LETTERS; i < box->keyword_count; i++) {
			if (!(m->keywords.bits[i / 64] >> (i % 64) & 1) || !box->keywords[i][0])
				continue;
			if (!any)
				buf_printf(&more, "%u", m->uid);
			buf_printf(&more, " %s", box->keywords[i]);
			any = 1;
		}
		if (any)
			buf_add_char(&more, '\n');
	}
	if (letters.len)
		e = write_text(x, box->dir, CORE_FILE_KEYWORDS, &letters);
	if (letters.len && e == OK)
		e = write_text(x, box->dir, "dovecot-keywords", &letters);
	if (more.len && e == OK)
		e = write_text(x, box->dir, CORE_FILE_KEYWORDS_MORE, &more);
	buf_free(&letters);
	buf_free(&more);
	return e;
}

/* For Dovecot and what else reads its list; and what is in the manifest. */
static enum err
write_lists(struct user_backup *x, const struct box *box, struct buf *manifest)
{
	struct buf list = {0};
	enum err e = OK;

	buf_printf(&list, "3 V%u N%u G%s\n", box->uidvalidity, box->uidnext, box->object_id);
	buf_printf(manifest, "F %u %u %s\n", box->uidvalidity, box->uidnext,
		box->dir[0] ? box->dir : ".");
	for (size_t k = 0; k < box->count; k++) {
		const struct copied *c = find_copied(x, box->id, x->messages[box->first + k].uid);
		struct str name;

		if (!c)
			continue; /* missing, said */
		name = str_of(strrchr(c->path, '/') + 1);
		buf_printf(manifest, "M %u %llu %s %.*s\n", c->uid, (unsigned long long)c->size,
			c->hash, STR_ARG(name));
		name.len = str_find(name, 0, ':');
		buf_printf(&list, "%u :%.*s\n", c->uid, STR_ARG(name));
	}
	e = write_text(x, box->dir, "dovecot-uidlist", &list);
	buf_free(&list);
	return e ? e : manifest->err;
}

/* Files that Roost keeps beside the messages, other than those that are made from the index here.
 */
static int
is_kept(const char *file)
{
	static const char *const made[] = {
		CORE_FILE_UID, CORE_FILE_KEYWORDS, CORE_FILE_KEYWORDS_MORE, "roost-uidlist", NULL};

	for (int i = 0; made[i]; i++)
		if (strcmp(file, made[i]) == 0)
			return 0;
	return strcmp(file, "subscriptions") == 0 || strcmp(file, "maildirfolder") == 0 ||
	       (strncmp(file, "roost-", 6) == 0 && !str_ends_i(str_of(file), ".tmp"));
}

static enum err
copy_small(struct user_backup *x, const char *from, const char *to)
{
	char hash[BACKUP_HASH_TEXT];
	uint64_t size;
	struct stat st;
	int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), out;
	enum err e = OK;

	if (in < 0)
		return errno == ENOENT || errno == ELOOP ? OK : err_from_errno(errno);
	if (fstat(in, &st) != 0 || !S_ISREG(st.st_mode)) {
		io_close(&in);
		return OK;
	}
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, st.st_mode & 0777);
	if (out < 0)
		e = err_from_errno(errno);
	else
		e = backup_hash_copy(in, out, hash, &size);
	if (out >= 0)
		give_away(x, out);
	io_close(&in);
	io_close(&out);
	return e;
}

static enum err
copy_beside(struct user_backup *x, const struct box *box)
{
	char *top = mem_printf("%s/Maildir/%s", x->home, box->dir);
	DIR *dirp = opendir(top);
	struct dirent *d;
	enum err e = OK;

	while (dirp && e == OK && (d = readdir(dirp))) {
		char *from, *to;

		if (!is_kept(d->d_name))
			continue;
		from = mem_printf("%s/%s", top, d->d_name);
		to = mem_printf("%s/Maildir/%s/%s", x->stage, box->dir, d->d_name);
		e = copy_small(x, from, to);
		free(from);
		free(to);
	}
	if (dirp)
		closedir(dirp);
	free(top);
	if (e == OK && box->dir[0]) {
		struct buf none = {0};

		e = write_text(x, box->dir, "maildirfolder", &none);
	}
	return e;
}

/* Scripts and whatever else lies beside the Maildir. */
static enum err
copy_home(struct user_backup *x, const char *below, int depth)
{
	char *top = mem_printf("%s%s", x->home, below);
	DIR *dirp = depth < 16 ? opendir(top) : NULL;
	struct dirent *d;
	enum err e = OK;

	while (dirp && e == OK && (d = readdir(dirp))) {
		char *from, *to, *next, target[PATH_MAX];
		struct stat st;
		ssize_t n;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
			(!depth && (strncmp(d->d_name, "Maildir", 7) == 0 ||
					   strcmp(d->d_name, "index") == 0)))
			continue;
		from = mem_printf("%s/%s", top, d->d_name);
		to = mem_printf("%s%s/%s", x->stage, below, d->d_name);
		next = mem_printf("%s/%s", below, d->d_name);
		if (lstat(from, &st) != 0) {
			e = errno == ENOENT ? OK : err_from_errno(errno);
		} else if (S_ISDIR(st.st_mode)) {
			e = make_dir(x, to);
			e = e ? e : copy_home(x, next, depth + 1);
		} else if (S_ISLNK(st.st_mode)) {
			n = readlink(from, target, sizeof(target) - 1);
			target[n > 0 ? n : 0] = '\0';
			if (n > 0 && symlink(target, to) != 0)
				e = err_from_errno(errno);
		} else {
			e = copy_small(x, from, to);
		}
		free(from);
		free(to);
		free(next);
	}
	if (dirp)
		closedir(dirp);
	free(top);
	return e;
}

/* ---- a user ---- */

static enum err
write_all(struct user_backup *x)
{
	struct buf manifest = {0};
	char *path = mem_printf("%s/" BACKUP_MANIFEST, x->stage);
	enum err e = OK;

	buf_add_cstr(&manifest, "roost-backup-user 1\n");
	for (size_t i = 0; i < x->box_count && e == OK; i++) {
		e = copy_beside(x, &x->boxes[i]);
		e = e ? e : write_numbers(x, &x->boxes[i]);
		e = e ? e : write_keywords(x, &x->boxes[i]);
		e = e ? e : write_lists(x, &x->boxes[i], &manifest);
	}
	if (e == OK)
		e = copy_home(x, "", 0);
	if (e == OK)
		e = io_write_file_atomic(path, manifest.p, manifest.len, 0600);
	buf_free(&manifest);
	free(path);
	return e;
}

static enum err
take_user(struct user_backup *x)
{
	char *maildir = mem_printf("%s/Maildir", x->home);
	char *old = x->previous ? mem_printf("%s/" BACKUP_MANIFEST, x->previous) : NULL;
	struct stat st;
	int passes = 0;
	enum err e = stat(maildir, &st) == 0 ? OK : err_from_errno(errno);

	x->uid = st.st_uid;
	x->gid = st.st_gid;
	/* Without the list of the one before everything is copied. */
	if (old && manifest_load(old, &x->old) != OK)
		MEM_FREE(x->previous);
	if (e == OK)
		e = io_mkdir_parents(x->stage, 0700);
	if (e == OK)
		e = make_dir(x, x->stage);
	if (e == OK)
		e = make_folder(x, "");
	do {
		e = e ? e : snapshot(x);
		e = e ? e : pass(x);
	} while (e == OK && x->missing && ++passes < PASSES_MAX);
	if (e == OK)
		drop_unwanted(x);
	if (e == OK && x->missing) {
		tool_error("%s: %llu messages have no file; see roostctl fsck", x->name,
			(unsigned long long)x->missing);
		x->b->failed++;
	}
	e = e ? e : write_all(x);
	x->b->messages += x->copied_count;
	free(maildir);
	free(old);
	return e;
}

/* The two last parts of the home: the domain and what stands before the '@'. */
static const char *
tail_of(const char *home)
{
	const char *p = home + strlen(home);

	for (int slashes = 0; p > home; p--)
		if (*p == '/' && ++slashes == 2)
			return p + 1;
	return home;
}

enum err
backup_user(struct backup *b, const char *address)
{
	struct user_backup x = {.b = b, .name = address};
	struct auth_client *auth = auth_client_create(b->tool->conf);
	struct auth_user user;
	enum err e = auth_lookup_user(auth, str_of(address), &user, NULL);

	auth_client_free(&auth);
	if (e == OK)
		e = index_open(b->tool->conf, &user, &x.u);
	if (e == OK) {
		x.home = mem_strdup(user.home);
		x.stage = mem_printf("%s/mail/%s", b->stage, tail_of(user.home));
		if (b->previous)
			x.previous = mem_printf("%s/mail/%s", b->previous, tail_of(user.home));
		e = take_user(&x);
	}
	if (b->line_open)
		fputs("\r\033[K", stderr);
	b->line_open = 0;
	if (e) {
		tool_user_error(address, e);
		b->failed++;
	} else {
		b->users++;
	}
	snapshot_free(&x);
	for (size_t i = 0; i < x.copied_count; i++)
		free(x.copied[i].path);
	free(x.copied);
	free(x.boxes);
	free(x.messages);
	manifest_free(&x.old);
	index_close(&x.u);
	auth_user_free(&user);
	free(x.home);
	free(x.stage);
	free(x.previous);
	return e == E_NOSPACE || e == E_IO || e == E_TEMPFAIL ? e : OK;
}
