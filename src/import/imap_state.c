/* SPDX-License-Identifier: MIT */
#include "import/imap_state.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/io.h"
#include "lib/mem.h"

enum { STATE_MAX = 1 << 30 };
static const char head[] = "roost-import-imap 1\n";

struct imap_state_folder {
	char *name;
	unsigned number;
	uint32_t source_validity, validity;
	struct imap_state_message *all;
	size_t count, cap;
};

struct imap_state {
	int fd;
	struct buf out;
	void *texts; /* tree of char * */
	struct imap_state_folder **folders;
	size_t folder_count;
};

/* ---- texts ---- */

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(a, b);
}

const char *
imap_state_text(struct imap_state *s, struct str flags)
{
	char *text = str_dup(flags), **node = tsearch(text, &s->texts, compare_texts);

	if (!node)
		abort(); /* no memory */
	if (*node != text)
		free(text);
	return *node;
}

/* ---- messages ---- */

static int
compare_messages(const void *a, const void *b)
{
	const struct imap_state_message *x = a, *y = b;

	return x->source < y->source ? -1 : x->source > y->source;
}

static struct imap_state_message *
find(struct imap_state_folder *f, uint32_t source)
{
	struct imap_state_message key = {.source = source};

	if (f->count == 0 || f->all[f->count - 1].source < source)
		return NULL;
	return bsearch(&key, f->all, f->count, sizeof(*f->all), compare_messages);
}

/* In its place; those of one folder come rising, but for one that was tried again later. */
static void
add(struct imap_state_folder *f, struct imap_state_message m)
{
	struct imap_state_message *known = find(f, m.source);
	size_t at = f->count;

	if (known) {
		*known = m;
		return;
	}
	if (f->count == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 64;
		f->all = mem_realloc(f->all, f->cap, sizeof(*f->all));
	}
	while (at && f->all[at - 1].source > m.source)
		at--;
	memmove(&f->all[at + 1], &f->all[at], (f->count - at) * sizeof(*f->all));
	f->all[at] = m;
	f->count++;
}

/* ---- folders ---- */

static struct imap_state_folder *
folder_by_name(struct imap_state *s, struct str name)
{
	for (size_t i = 0; i < s->folder_count; i++)
		if (str_is(name, s->folders[i]->name))
			return s->folders[i];
	return NULL;
}

static struct imap_state_folder *
folder_set(struct imap_state *s, struct str name, uint32_t source_validity, uint32_t validity)
{
	struct imap_state_folder *f = folder_by_name(s, name);

	if (!f) {
		f = MEM_NEW(struct imap_state_folder);
		f->name = str_dup(name);
		f->number = (unsigned)s->folder_count;
		s->folders = mem_realloc(s->folders, s->folder_count + 1, sizeof(*s->folders));
		s->folders[s->folder_count++] = f;
	}
	f->source_validity = source_validity;
	f->validity = validity;
	f->count = 0;
	return f;
}

struct imap_state_folder *
imap_state_folder_get(
	struct imap_state *s, struct str name, uint32_t source_validity, uint32_t validity)
{
	struct imap_state_folder *f = folder_by_name(s, name);

	if (f && f->source_validity == source_validity && f->validity == validity)
		return f;
	f = folder_set(s, name, source_validity, validity);
	buf_printf(
		&s->out, "F %u %u %u %.*s\n", f->number, source_validity, validity, STR_ARG(name));
	return f;
}

const struct imap_state_message *
imap_state_messages(struct imap_state *s, struct imap_state_folder *f, size_t *count)
{
	(void)s;
	*count = f->count;
	return f->all;
}

const struct imap_state_message *
imap_state_find(struct imap_state *s, struct imap_state_folder *f, uint32_t source)
{
	(void)s;
	return find(f, source);
}

void
imap_state_put(struct imap_state *s, struct imap_state_folder *f, uint32_t source, uint32_t uid,
	const char *flags)
{
	add(f, (struct imap_state_message){.source = source, .uid = uid, .flags = flags});
	buf_printf(&s->out, "M %u %u %u %s\n", f->number, source, uid, flags);
}

/* ---- the file ---- */

/* A line that says nothing is skipped: what it was about is found by comparing. */
static void
read_line(struct imap_state *s, struct str line)
{
	struct str kind = str_split(&line, ' ');
	uint32_t number, a, b;

	if (str_to_u32(str_split(&line, ' '), &number) || str_to_u32(str_split(&line, ' '), &a) ||
		str_to_u32(str_split(&line, ' '), &b))
		return;
	if (str_is(kind, "F") && number <= s->folder_count)
		folder_set(s, line, a, b);
	else if (str_is(kind, "M") && number < s->folder_count && a && b)
		add(s->folders[number],
			(struct imap_state_message){
				.source = a, .uid = b, .flags = imap_state_text(s, line)});
}

static enum err
load(struct imap_state *s, const char *path)
{
	struct buf text = BUF_INIT(STATE_MAX);
	struct str rest;
	enum err e = io_read_file(path, &text);

	/* The end of a line that was being written. */
	while (text.len && text.p[text.len - 1] != '\n')
		text.len--;
	rest = buf_str(&text);
	if (e == OK && rest.len == 0) {
		e = ftruncate(s->fd, 0) == 0 ? OK : err_from_errno(errno);
		buf_add_cstr(&s->out, head);
	} else if (e == OK &&
		   (rest.len < sizeof(head) - 1 || memcmp(rest.p, head, sizeof(head) - 1) != 0)) {
		e = E_CORRUPT;
	} else if (e == OK) {
		e = ftruncate(s->fd, (off_t)rest.len) == 0 ? OK : err_from_errno(errno);
		while (rest.p && e == OK)
			read_line(s, str_split(&rest, '\n'));
	}
	buf_free(&text);
	return e;
}

enum err
imap_state_open(const char *path, struct imap_state **out)
{
	struct imap_state *s = MEM_NEW(struct imap_state);
	enum err e = OK;

	s->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd < 0)
		e = err_from_errno(errno);
	else if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
		e = errno == EWOULDBLOCK ? E_CONFLICT : err_from_errno(errno);
	if (e == OK)
		e = load(s, path);
	if (e)
		imap_state_close(&s);
	*out = s;
	return e;
}

enum err
imap_state_flush(struct imap_state *s)
{
	enum err e = s->out.len ? io_write_all(s->fd, s->out.p, s->out.len) : OK;

	buf_reset(&s->out);
	return e;
}

void
imap_state_close(struct imap_state **s)
{
	if (!*s)
		return;
	for (size_t i = 0; i < (*s)->folder_count; i++) {
		free((*s)->folders[i]->name);
		free((*s)->folders[i]->all);
		free((*s)->folders[i]);
	}
	free((*s)->folders);
	tdestroy((*s)->texts, free);
	buf_free(&(*s)->out);
	io_close(&(*s)->fd);
	MEM_FREE(*s);
}
