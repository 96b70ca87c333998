/* SPDX-License-Identifier: MIT */
#include "mta-lite/map_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { CHECK_EVERY_MS = 1000 };

struct map_entry {
	size_t key, key_len, value, value_len; /* in text */
	size_t order;
};

char *
map_path(const struct config *conf, struct str name)
{
	const char *file = conf->config_file ? conf->config_file : "";
	const char *slash = strrchr(file, '/');

	if ((name.len > 0 && name.p[0] == '/') || slash == NULL)
		return str_dup(name);
	return mem_printf("%.*s/%.*s", (int)(slash - file), file, STR_ARG(name));
}

static int
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum err
read_all(int fd, size_t size, struct buf *out)
{
	enum err e = buf_reserve(out, size + 1);
	ssize_t n = 1;

	while (e == OK && n > 0) {
		e = buf_reserve(out, 4096);
		if (e)
			break;
		n = read(fd, out->p + out->len, 4096);
		if (n < 0 && errno != EINTR)
			e = err_from_errno(errno);
		else if (n > 0)
			out->len += (size_t)n;
	}
	return e;
}

/* Symbolic links are followed: who may write the settings names the file. */
static enum err
load(struct map_text *t, struct buf *out)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	enum err e = OK;

	if (fd < 0)
		return err_from_errno(errno);
	if (fstat(fd, &st) != 0)
		e = err_from_errno(errno);
	else if (!S_ISREG(st.st_mode))
		e = E_ACCESS;
	else if (st.st_size > MAP_FILE_MAX)
		e = E_TOOBIG;
	if (e == OK)
		e = read_all(fd, (size_t)st.st_size, out);
	if (e == OK)
		t->seen = st;
	close(fd);
	return e;
}

int
map_text_changed(struct map_text *t, const struct map *map, struct buf *out)
{
	int64_t now = io_now_ms();
	struct stat st;
	enum err e;

	if (t->checked_ms && now - t->checked_ms < CHECK_EVERY_MS)
		return 0;
	t->checked_ms = now;
	if (t->loaded && !t->failed && stat(t->path, &st) == 0 && same_file(&st, &t->seen))
		return 0;
	buf_reset(out);
	out->max = MAP_FILE_MAX + 4096;
	e = load(t, out);
	if (e) {
		if (!t->failed)
			log_event(LOGL_ERROR, "map.file unreadable", "table", map->name, "path",
				t->path, "error", err_text(e), "using",
				t->loaded ? "what it said before" : "nothing", NULL);
		t->failed = 1;
		return 0;
	}
	t->loaded = 1;
	t->failed = 0;
	return 1;
}

void
map_text_fini(struct map_text *t)
{
	MEM_FREE(t->path);
}

/* ---- lines ---- */

static int
cut_line(struct map_lines *it, struct str *line)
{
	if (it->rest.len == 0)
		return 0;
	*line = str_split(&it->rest, '\n');
	it->number++;
	if (line->len > 0 && line->p[line->len - 1] == '\r')
		line->len--;
	return 1;
}

static int
says_nothing(struct str line)
{
	line = str_trim(line);
	return line.len == 0 || line.p[0] == '#';
}

int
map_lines_next(struct map_lines *it, struct str *line, unsigned *number)
{
	struct str piece;

	buf_reset(&it->line);
	it->line.max = MAP_LINE_MAX;
	do {
		if (!cut_line(it, &piece))
			return 0;
	} while (says_nothing(piece));
	*number = it->number;
	(void)buf_add_str(&it->line, piece);
	for (;;) {
		struct map_lines before = *it;

		if (!cut_line(it, &piece))
			break;
		if (says_nothing(piece))
			continue;
		if (!str_is_space(piece.p[0])) {
			it->rest = before.rest;
			it->number = before.number;
			break;
		}
		(void)buf_add_str(&it->line, piece);
	}
	*line = str_trim(buf_str(&it->line));
	return 1;
}

void
map_lines_fini(struct map_lines *it)
{
	buf_free(&it->line);
}

/* ---- keys and values ---- */

void
map_table_add(struct map_table *t, struct str key, struct str value)
{
	struct map_entry *e;
	size_t i;

	if ((t->count & (t->count - 1)) == 0)
		t->entries =
			mem_realloc(t->entries, t->count ? t->count * 2 : 1, sizeof(*t->entries));
	e = &t->entries[t->count];
	*e = (struct map_entry){t->text.len, key.len, t->text.len + key.len, value.len, t->count};
	t->count++;
	buf_add_str(&t->text, key);
	buf_add_str(&t->text, value);
	for (i = 0; i < key.len; i++)
		t->text.p[e->key + i] = str_lower(t->text.p[e->key + i]);
}

static struct str
key_of(const struct map_table *t, const struct map_entry *e)
{
	return str_make(t->text.p + e->key, e->key_len);
}

static int
compare(const void *a, const void *b, void *table)
{
	const struct map_entry *x = a, *y = b;
	int by_key = str_compare(key_of(table, x), key_of(table, y));

	if (by_key)
		return by_key;
	return x->order < y->order ? -1 : x->order > y->order;
}

size_t
map_table_sort(struct map_table *t)
{
	size_t i, kept = 0, before = t->count;

	if (t->count == 0)
		return 0;
	qsort_r(t->entries, t->count, sizeof(*t->entries), compare, t);
	for (i = 1; i < t->count; i++) {
		if (!str_equal(key_of(t, &t->entries[i]), key_of(t, &t->entries[kept])))
			t->entries[++kept] = t->entries[i];
	}
	t->count = kept + 1;
	return before - t->count;
}

enum err
map_table_find(const struct map_table *t, struct str key, struct str *value)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct map_entry *e = &t->entries[mid];
		int order = str_compare(key, key_of(t, e));

		if (order == 0) {
			*value = str_make(t->text.p + e->value, e->value_len);
			return OK;
		}
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return E_NOTFOUND;
}

void
map_table_fini(struct map_table *t)
{
	buf_free(&t->text);
	free(t->entries);
	*t = (struct map_table){0};
}
