/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "import/imap_folder.h"
#include "import/import.h"
#include "import/import_verbs.h"
#include "index/adopt.h"
#include "index/maildir_name.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "mail/header.h"

/*
 * roostctl import maildir: copies, so that the source stays as it is and in its owner's hands. A
 * hard link would share owner, mode and modification time with it.
 */

enum { DEPTH_MAX = 32, LIST_MAX = ADOPT_LIST_MAX, SMALL_MAX = 1 << 20, PIECE = 64 * 1024 };

struct file {
	char *name;
	uint32_t uid; /* of a list beside it, for the order; 0: none */
	int64_t time;
	int in_new;
};

/* Keywords from the 27th on, of roost-keywords-more. */
struct more {
	uint32_t uid;
	struct str words; /* borrowed */
};

struct run {
	struct import *im;
	const char *prefix; /* of all mailboxes; "" without */
	const struct import_maildir_wishes *wishes;
	uint64_t found;
	struct buf more_text;
	struct more *more; /* rising by UID */
	size_t more_count, more_cap;
	struct buf head; /* of the message at hand, where its Message-ID is asked for */
	/* the folder at hand */
	int fd; /* the directory with cur and new */
	const char *name;
	struct import_box *box;
	struct file *files;
	size_t count, cap;
	struct buf list_text;
	struct adopt_list list;
	adopt_names letters; /* of dovecot-keywords or roost-keywords */
	struct adopt_keywords words; /* of Courier */
};

/* ---- what lies beside the messages ---- */

/* A regular file; out stays empty when there is none, or none that may be read. */
static void
read_beside(int dir, const char *file, size_t max, struct buf *out)
{
	struct stat st;
	int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	buf_reset(out);
	out->max = max;
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= max) {
		ssize_t n = 1;

		while (n > 0 && buf_reserve(out, PIECE < max - out->len ? PIECE : 1) == OK) {
			n = read(fd, out->p + out->len, out->cap - out->len);
			if (n > 0)
				out->len += (size_t)n;
		}
	}
	io_close(&fd);
}

static void
read_courier_keywords(struct run *r)
{
	struct buf text = {0};
	struct dirent *d;
	DIR *dirp;
	int fd = openat(
		r->fd, "courierimapkeywords", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	dirp = fd < 0 ? NULL : fdopendir(fd);
	if (!dirp) {
		io_close(&fd);
		return;
	}
	read_beside(fd, ":list", LIST_MAX, &text);
	adopt_courier_keywords(buf_str(&text), &r->words);
	while ((d = readdir(dirp))) {
		if (d->d_name[0] == ':' || strcmp(d->d_name, ".") == 0 ||
			strcmp(d->d_name, "..") == 0)
			continue;
		read_beside(fd, d->d_name, SMALL_MAX, &text);
		adopt_courier_keyword_change(str_of(d->d_name), buf_str(&text), &r->words);
	}
	adopt_keywords_finish(&r->words);
	closedir(dirp);
	buf_free(&text);
}

static int
compare_more(const void *a, const void *b)
{
	const struct more *x = a, *y = b;

	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static void
read_more(struct run *r)
{
	struct str rest;

	r->more_count = 0;
	read_beside(r->fd, "roost-keywords-more", LIST_MAX, &r->more_text);
	rest = buf_str(&r->more_text);
	while (rest.p) {
		struct str words = str_split(&rest, '\n');
		uint32_t uid;

		if (str_to_u32(str_split(&words, ' '), &uid))
			continue;
		if (r->more_count == r->more_cap) {
			r->more_cap = r->more_cap ? r->more_cap * 2 : 64;
			r->more = mem_realloc(r->more, r->more_cap, sizeof(*r->more));
		}
		r->more[r->more_count++] = (struct more){.uid = uid, .words = words};
	}
	if (r->more_count)
		qsort(r->more, r->more_count, sizeof(*r->more), compare_more);
}

/* Lists of UIDs say the order; without one it is that of delivery. */
static void
read_lists(struct run *r)
{
	struct buf text = {0};

	memset(r->letters, 0, sizeof(r->letters));
	read_beside(r->fd, "roost-keywords", SMALL_MAX, &text);
	if (!text.len)
		read_beside(r->fd, "dovecot-keywords", SMALL_MAX, &text);
	adopt_dovecot_keywords(buf_str(&text), r->letters);
	buf_free(&text);
	read_beside(r->fd, "dovecot-uidlist", LIST_MAX, &r->list_text);
	if (r->list_text.len) {
		(void)adopt_dovecot_uidlist(buf_str(&r->list_text), &r->list);
	} else {
		read_beside(r->fd, "courierimapuiddb", LIST_MAX, &r->list_text);
		(void)adopt_courier_uiddb(buf_str(&r->list_text), &r->list);
	}
	read_courier_keywords(r);
	read_more(r);
}

static void
folder_forget(struct run *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->files[i].name);
	r->count = 0;
	adopt_list_free(&r->list);
	adopt_keywords_free(&r->words);
	buf_free(&r->list_text);
}

/* ---- the messages ---- */

static void
add_file(struct run *r, const char *name, int in_new)
{
	struct maildir_name n;
	struct adopt_line *line;

	if (name[0] == '.' || maildir_name_parse(str_of(name), &n))
		return;
	if (r->wishes->uid && n.uid != r->wishes->uid)
		return;
	if (r->count == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 256;
		r->files = mem_realloc(r->files, r->cap, sizeof(*r->files));
	}
	line = adopt_list_find(&r->list, str_of(name), n.uid);
	if (line)
		line->taken = 1;
	r->files[r->count++] = (struct file){.name = mem_strdup(name),
		.uid = line ? line->uid : 0,
		.time = n.time,
		.in_new = in_new};
}

static enum err
list_files(struct run *r, const char *sub)
{
	struct dirent *d;
	DIR *dirp;
	int fd = openat(r->fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	enum err e = OK;

	if (fd < 0)
		return errno == ENOENT ? OK : err_from_errno(errno);
	dirp = fdopendir(fd);
	if (!dirp) {
		e = err_from_errno(errno);
		io_close(&fd);
		return e;
	}
	while ((errno = 0, d = readdir(dirp)))
		add_file(r, d->d_name, strcmp(sub, "new") == 0);
	e = errno ? err_from_errno(errno) : OK;
	closedir(dirp);
	return e;
}

static int
compare_files(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (!x->uid != !y->uid)
		return x->uid ? -1 : 1;
	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The file may have got other flags, or have moved from new to cur, since it was listed. */
static enum err
find_again(struct run *r, const struct file *f, int *fd)
{
	struct maildir_name n, other;
	struct dirent *d;
	DIR *dirp;
	int dir = openat(r->fd, "cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	(void)maildir_name_parse(str_of(f->name), &n);
	dirp = dir < 0 ? NULL : fdopendir(dir);
	if (!dirp) {
		io_close(&dir);
		return E_NOTFOUND;
	}
	while (*fd < 0 && (d = readdir(dirp)))
		if (maildir_name_parse(str_of(d->d_name), &other) == OK &&
			str_equal(n.base, other.base))
			*fd = openat(
				dir, d->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	closedir(dirp);
	return *fd < 0 ? E_NOTFOUND : OK;
}

static void
flags_of(struct run *r, const struct file *f, struct import_flags *out)
{
	static const struct {
		unsigned flag;
		const char *name;
	} flags[] = {{INDEX_SEEN, "\\Seen"}, {INDEX_ANSWERED, "\\Answered"},
		{INDEX_FLAGGED, "\\Flagged"}, {INDEX_DELETED, "\\Deleted"},
		{INDEX_DRAFT, "\\Draft"}};
	const struct index_keywords *words = adopt_keywords_find(&r->words, str_of(f->name));
	struct maildir_name n;

	(void)maildir_name_parse(str_of(f->name), &n);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (n.flags & flags[i].flag)
			import_flags_add(out, str_of(flags[i].name));
	/* "P", passed, is what IMAP calls $Forwarded. */
	if (n.others >> ('P' - 'A') & 1)
		import_flags_add(out, STR("$Forwarded"));
	for (int i = 0; i < 26; i++)
		if (n.letters >> i & 1)
			import_flags_add(out, str_of(r->letters[i]));
	if (n.has_uid && r->more_count) {
		struct more key = {.uid = n.uid};
		const struct more *more =
			bsearch(&key, r->more, r->more_count, sizeof(key), compare_more);
		struct str rest = more ? more->words : key.words;

		while (rest.p)
			import_flags_add(out, str_split(&rest, ' '));
	}
	for (int i = 0; words && i < INDEX_KEYWORDS_MAX; i++)
		if (words->bits[i / 64] >> (i % 64) & 1)
			import_flags_add(out, str_of(r->words.names[i]));
}

/* Through zlib, which gives out what is not compressed as it is. Takes fd. */
static enum err
copy_bytes(struct run *r, int fd)
{
	gzFile z = gzdopen(fd, "rb");
	char *bytes = mem_alloc(PIECE);
	enum err e = OK;
	int n, rc = 0;

	if (!z) {
		io_close(&fd);
		free(bytes);
		return E_NOSPACE;
	}
	buf_reset(&r->head);
	r->head.max = PIECE;
	while ((n = gzread(z, bytes, PIECE)) > 0) {
		import_message_write(r->box, bytes, (size_t)n);
		if (r->wishes->message_id && !r->head.len)
			buf_add(&r->head, bytes, (size_t)n);
	}
	if (n < 0) {
		(void)gzerror(z, &rc);
		e = rc == Z_ERRNO ? err_from_errno(errno) : E_CORRUPT;
	}
	/* A compressed file that ends too soon is told at the end only. */
	if (gzclose_r(z) == Z_BUF_ERROR && e == OK)
		e = E_CORRUPT;
	free(bytes);
	return e;
}

/* Whether it is the one that is asked for. */
static int
is_wished(const struct run *r)
{
	struct header_field f;
	struct str id;

	if (!r->wishes->message_id)
		return 1;
	if (!header_find(buf_str(&r->head), STR("Message-ID"), &f))
		return 0;
	id = str_trim(f.value);
	if (id.len > 1 && id.p[0] == '<' && id.p[id.len - 1] == '>') {
		id.p++;
		id.len -= 2;
	}
	return str_is(id, r->wishes->message_id);
}

static enum err
take_file(struct run *r, const struct file *f)
{
	char *path = mem_printf("%s/%s", f->in_new ? "new" : "cur", f->name);
	int fd = openat(r->fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct import_flags flags = {0};
	struct stat st = {0};
	enum err e = fd >= 0 ? OK : errno == ENOENT ? find_again(r, f, &fd) : err_from_errno(errno);

	if (e == OK && fstat(fd, &st) != 0)
		e = err_from_errno(errno);
	if (e == OK && !S_ISREG(st.st_mode))
		e = E_UNSUPPORTED;
	if (e == OK) {
		e = import_message_start(r->box, (uint64_t)st.st_size);
		if (e) {
			io_close(&fd);
			free(path);
			return e;
		}
		e = copy_bytes(r, fd);
		fd = -1;
	}
	io_close(&fd);
	free(path);
	/* Gone since it was listed: somebody removed it. */
	if (e == E_NOTFOUND)
		return OK;
	if (e) {
		import_message_drop(r->box);
		import_failed(r->im, r->name, f->name,
			e == E_UNSUPPORTED ? "this is no regular file" : err_text(e));
		return OK;
	}
	if (!is_wished(r)) {
		import_message_drop(r->box);
		return OK;
	}
	r->found++;
	flags_of(r, f, &flags);
	e = import_message_end(r->box, &flags, st.st_mtime, 0);
	import_flags_free(&flags);
	return e;
}

/* ---- folders ---- */

/* Closes fd. */
static enum err
take_folder(struct run *r, int fd, const char *name)
{
	enum err e;

	r->fd = fd;
	r->im->where = r->name = name;
	read_lists(r);
	adopt_list_finish(&r->list);
	e = list_files(r, "new");
	e = e ? e : list_files(r, "cur");
	if (e) {
		import_failed(r->im, name, NULL, err_text(e));
		e = OK;
		goto out;
	}
	if (!r->count && (r->wishes->uid || r->wishes->message_id))
		goto out; /* no mailbox is made for nothing */
	if (r->count)
		qsort(r->files, r->count, sizeof(*r->files), compare_files);
	r->im->expected += r->count;
	e = import_box_open(r->im, str_of(name), 0, &r->box);
	if (e == E_RANGE || e == E_TOOBIG) {
		import_failed(r->im, name, NULL, "a mailbox cannot have this name");
		e = OK;
		goto out;
	}
	e = e ? e : import_box_ready(r->box, NULL, NULL);
	for (size_t i = 0; i < r->count && e == OK; i++)
		e = take_file(r, &r->files[i]);
	e = e ? e : import_box_flush(r->box);
	if (e) {
		import_progress_break(r->im);
		tool_error("%s: %s", name, err_text(e));
	} else {
		r->im->mailboxes++;
	}
out:
	import_box_close(&r->box);
	folder_forget(r);
	io_close(&r->fd);
	r->im->where = r->name = NULL;
	return e;
}

static int
has_cur(int fd)
{
	struct stat st;

	return fstatat(fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static char *
join(const char *above, const struct buf *name)
{
	return *above ? mem_printf("%s/%.*s", above, STR_ARG(buf_str(name)))
		      : mem_printf("%.*s", STR_ARG(buf_str(name)));
}

static int
is_wanted(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
	       strcmp(d->d_name, "cur") != 0 && strcmp(d->d_name, "new") != 0 &&
	       strcmp(d->d_name, "tmp") != 0;
}

static enum err take_below(struct run *r, int dir, const char *above, int depth);

/* Takes fd. */
static enum err
take_directory(struct run *r, int fd, const char *file, const char *above, int depth)
{
	int is_plus = file[0] == '.';
	struct buf name = {0};
	char *path;
	enum err e = OK;

	/* Roost's own deleted folders and the like begin with two dots. */
	if (is_plus && (depth || file[1] == '.' || !has_cur(fd))) {
		io_close(&fd);
		return OK;
	}
	if (is_plus && str_is_i(str_of(file + 1), "INBOX"))
		buf_add_cstr(&name, "INBOX_"); /* another folder than INBOX */
	else
		imap_folder_name(str_of(file + is_plus), is_plus ? '.' : '/', STR(""), &name);
	path = r->wishes->dir && r->wishes->into ? mem_strdup(r->wishes->into) : join(above, &name);
	if (has_cur(fd) && (!r->wishes->dir || strcmp(file, r->wishes->dir) == 0)) {
		int again = fcntl(fd, F_DUPFD_CLOEXEC, 3);

		e = again < 0 ? err_from_errno(errno) : take_folder(r, again, path);
	}
	if (e == OK && !is_plus)
		e = take_below(r, fd, path, depth + 1);
	free(path);
	buf_free(&name);
	io_close(&fd);
	return e;
}

/*
 * The folders below a directory: ".Archive.2026" as Maildir++ has them, "Archive" with folders in
 * it as some programs lay them out. above: the mailbox of the directory, "" for the top.
 */
static enum err
take_below(struct run *r, int dir, const char *above, int depth)
{
	struct dirent **list = NULL;
	int n = depth < DEPTH_MAX ? scandirat(dir, ".", &list, is_wanted, alphasort) : 0;
	enum err e = n < 0 ? err_from_errno(errno) : OK;

	for (int i = 0; i < n; i++) {
		const char *file = list[i]->d_name;
		int fd =
			e ? -1 : openat(dir, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0)
			e = take_directory(r, fd, file, above, depth);
		free(list[i]);
	}
	free(list);
	return e;
}

static enum err
subscribe(struct run *r, int dir)
{
	struct buf text = {0}, names = {0};
	struct str rest;
	enum err e = OK;

	read_beside(dir, "subscriptions", LIST_MAX, &text);
	if (text.len) {
		adopt_dovecot_subscriptions(buf_str(&text), &names);
	} else {
		read_beside(dir, "courierimapsubscribed", LIST_MAX, &text);
		adopt_courier_subscriptions(buf_str(&text), &names);
	}
	rest = buf_str(&names);
	while (rest.p && e == OK) {
		struct str line = str_trim(str_split(&rest, '\n'));
		struct buf name = {0};
		char *path;

		if (!line.len)
			continue;
		imap_folder_name(line, '.', STR(""), &name);
		path = join(r->prefix, &name);
		e = index_subscribe(r->im->user, str_of(path), 1);
		if (e == E_RANGE || e == E_TOOBIG)
			e = OK;
		free(path);
		buf_free(&name);
	}
	buf_free(&text);
	buf_free(&names);
	return e;
}

static enum err
run(struct run *r, const char *path)
{
	const struct import_maildir_wishes *w = r->wishes;
	const char *top = w->into ? w->into : "INBOX";
	int again, dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err e = OK;

	if (dir < 0) {
		tool_error("%s: %s", path, strerror(errno));
		return err_from_errno(errno);
	}
	if (has_cur(dir) && (!w->dir || !*w->dir)) {
		again = fcntl(dir, F_DUPFD_CLOEXEC, 3);
		e = again < 0 ? err_from_errno(errno) : take_folder(r, again, top);
	}
	if (e == OK && (!w->dir || *w->dir))
		e = take_below(r, dir, r->prefix, 0);
	if (e == OK && !w->dir)
		e = subscribe(r, dir);
	io_close(&dir);
	return e;
}

enum err
import_maildir_tree(struct import *im, const char *path, const struct import_maildir_wishes *wishes,
	uint64_t *found)
{
	struct run r = {.im = im, .fd = -1, .wishes = wishes};
	enum err e;

	r.prefix = wishes->into && !wishes->dir ? wishes->into : "";
	e = run(&r, path);
	*found = r.found;
	free(r.files);
	free(r.more);
	buf_free(&r.more_text);
	buf_free(&r.head);
	return e;
}

enum err
import_maildir(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"mailbox", 0}, {NULL, 0}};
	struct import_maildir_wishes wishes = {0};
	struct import im;
	struct tool_args a;
	uint64_t found;
	enum err e = tool_args_parse(argc, argv, options, 2, 2, &a);

	if (e)
		return e;
	wishes.into = a.values[0];
	e = import_begin(t, a.positional[0], IMPORT_MAY_READ_ALL, &im);
	if (e == OK)
		e = import_sandbox(&im, a.positional[1], 0);
	if (e == OK)
		e = import_maildir_tree(&im, a.positional[1], &wishes, &found);
	if (e == OK && !im.mailboxes && !im.failed) {
		tool_error("%s: there is no Maildir", a.positional[1]);
		e = E_NOTFOUND;
	}
	return import_end(&im, e);
}
