/* SPDX-License-Identifier: MIT */
#include "auth/passwd_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

struct line {
	char *address; /* normalised */
	struct str password, extra; /* in the text */
	size_t number;
};

struct passwd_file {
	char *path;
	pthread_mutex_t lock;
	int is_read;
	struct buf text;
	struct line *lines; /* sorted by address */
	size_t count;
	struct stat st; /* of what was read */
};

/* ---- reading ---- */

static int
compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int order = strcmp(x->address, y->address);

	return order ? order : x->number < y->number ? -1 : 1;
}

static void
lines_free(struct passwd_file *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->lines[i].address);
	MEM_FREE(f->lines);
	f->count = 0;
}

/* 0: not a user; anything but a comment and an empty line is logged. */
static int
line_parse(const struct passwd_file *f, struct str text, size_t number, struct line *out)
{
	struct str rest = text, name = str_split(&rest, ':');
	struct addr a;

	if (text.len == 0 || text.p[0] == '#')
		return 0;
	*out = (struct line){.password = str_split(&rest, ':'), .number = number};
	/* uid, gid, gecos, home, shell; what follows may have colons (IPv6 networks). */
	for (int i = 0; i < 5; i++)
		str_split(&rest, ':');
	out->extra = rest.p ? rest : STR("");
	if (!out->password.p || addr_parse(name, &a) || !addr_is_mailbox_name(&a)) {
		log_event(LOGL_WARN, "auth.passwd-file bad", "path", f->path, "line",
			log_u64(number), "message", "not ADDRESS:{SCHEME}PASSWORD", NULL);
		return 0;
	}
	out->address = mem_strdup(a.text);
	return 1;
}

static void
text_parse(struct passwd_file *f)
{
	struct str rest = buf_str(&f->text);
	size_t number = 0, room = 0;

	while (rest.p) {
		struct str text = str_split(&rest, '\n');
		struct line line;

		if (text.len > 0 && text.p[text.len - 1] == '\r')
			text.len--;
		if (!line_parse(f, text, ++number, &line))
			continue;
		if (f->count == room) {
			room = room ? room * 2 : 64;
			f->lines = mem_realloc(f->lines, room, sizeof(*f->lines));
		}
		f->lines[f->count++] = line;
	}
	if (f->count > 0)
		qsort(f->lines, f->count, sizeof(*f->lines), compare);
}

static int
is_unchanged(const struct passwd_file *f, const struct stat *st)
{
	return f->is_read && st->st_ino == f->st.st_ino && st->st_size == f->st.st_size &&
	       st->st_mtim.tv_sec == f->st.st_mtim.tv_sec &&
	       st->st_mtim.tv_nsec == f->st.st_mtim.tv_nsec;
}

/* Under the lock. What cannot be read leaves what was there. */
static void
refresh(struct passwd_file *f)
{
	struct buf fresh = BUF_INIT(PASSWD_FILE_MAX);
	struct stat st;
	enum err e = OK;

	if (stat(f->path, &st) != 0)
		e = E_NOTFOUND;
	else if (is_unchanged(f, &st))
		return;
	if (!e)
		e = io_read_file(f->path, &fresh);
	if (e) {
		log_event(LOGL_ERROR, "auth.passwd-file fail", "path", f->path, "error",
			err_word(e), NULL);
		buf_free(&fresh);
		return;
	}
	lines_free(f);
	buf_wipe(&f->text);
	buf_free(&f->text);
	f->text = fresh;
	f->st = st;
	f->is_read = 1;
	text_parse(f);
}

struct passwd_file *
passwd_file_create(const char *path)
{
	struct passwd_file *f = MEM_NEW(struct passwd_file);

	f->path = mem_strdup(path);
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

void
passwd_file_free(struct passwd_file **fp)
{
	struct passwd_file *f = *fp;

	*fp = NULL;
	if (!f)
		return;
	lines_free(f);
	buf_wipe(&f->text);
	buf_free(&f->text);
	pthread_mutex_destroy(&f->lock);
	free(f->path);
	free(f);
}

/* ---- finding ---- */

/* Of several the last. */
static const struct line *
find(const struct passwd_file *f, const char *address)
{
	size_t low = 0, high = f->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(f->lines[middle].address, address) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && strcmp(f->lines[low - 1].address, address) == 0 ? &f->lines[low - 1]
									  : NULL;
}

/* E_PARSE: what is none; nobody is let in by something that was meant and not understood. */
static enum err
extra_take(struct directory_user *u, struct str key, struct str value)
{
	if (str_is(key, "quota_bytes"))
		return str_to_u64(value, &u->quota_bytes);
	if (str_is(key, "quota_messages"))
		return str_to_u64(value, &u->quota_messages);
	if (str_is(key, "protocols")) {
		free(u->protocols);
		u->protocols = str_dup(value);
	} else if (str_is(key, "networks")) {
		free(u->networks);
		u->networks = str_dup(value);
	} else if (str_is(key, "host")) {
		return moved_host_parse(value, u->host);
	} else if (str_is(key, "acl_groups") || str_is(key, "userdb_acl_groups")) {
		return acl_groups_normalise(value, u->acl_groups);
	} else if (str_is(key, "nologin")) {
		u->active = 0;
	}
	return OK;
}

enum err
passwd_file_find(struct passwd_file *f, const struct auth_settings *s, const struct addr *a,
	struct directory_user *out)
{
	const struct line *line;
	struct str rest;
	enum err e = OK;

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&f->lock);
	refresh(f);
	line = find(f, a->text);
	if (!line) {
		e = f->is_read ? E_NOTFOUND : E_TEMPFAIL;
		goto out;
	}
	out->addr = *a;
	out->is_of_file = 1;
	out->password = str_dup(line->password);
	out->protocols = mem_strdup("");
	out->networks = mem_strdup("");
	out->active = 1;
	out->quota_bytes = s->default_quota_bytes;
	out->quota_messages = s->default_quota_messages;
	out->max_connections = (uint32_t)s->max_connections_per_user;
	out->max_connections_per_ip = (uint32_t)s->max_connections_per_user_ip;
	for (rest = line->extra; rest.p && !e;) {
		struct str value = str_split(&rest, ' '), key = str_split(&value, '=');

		e = extra_take(out, key, value);
	}
	/* With both, "nologin" only says that he is to go there. */
	if (out->host[0])
		out->active = 1;
	if (e) {
		log_event(LOGL_ERROR, "auth.passwd-file bad", "path", f->path, "line",
			log_u64(line->number), "message", "a number, host or group is malformed",
			NULL);
		directory_user_free(out);
		e = E_TEMPFAIL;
	}
out:
	pthread_mutex_unlock(&f->lock);
	return e;
}
