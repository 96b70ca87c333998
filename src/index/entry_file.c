/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/entry_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/index_client.h"
#include "lib/hex.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char first_line[] = "roost 1";

void
entry_list_free(struct entry_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->items[i].name);
		buf_free(&l->items[i].value);
	}
	free(l->items);
	*l = (struct entry_list){0};
}

/* Where name is, or where it belongs. */
static size_t
place(const struct entry_list *l, struct str name, int *found)
{
	size_t low = 0, high = l->count;

	*found = 0;
	while (low < high && !*found) {
		size_t mid = low + (high - low) / 2;
		int order = str_compare(str_of(l->items[mid].name), name);

		if (order < 0)
			low = mid + 1;
		else
			high = mid;
		if (order == 0) {
			low = mid;
			*found = 1;
		}
	}
	return low;
}

const struct entry *
entry_list_get(const struct entry_list *l, struct str name)
{
	int found;
	size_t at = place(l, name, &found);

	return found ? &l->items[at] : NULL;
}

void
entry_list_set(struct entry_list *l, struct str name, struct str value)
{
	int found;
	size_t at = place(l, name, &found);
	struct entry *e;

	ROOST_ASSERT(name.len > 0 && !memchr(name.p, '\0', name.len));
	if (!found) {
		l->items = mem_realloc(l->items, l->count + 1, sizeof(*l->items));
		memmove(l->items + at + 1, l->items + at, (l->count - at) * sizeof(*l->items));
		l->items[at] = (struct entry){.name = str_dup(name)};
		l->count++;
	}
	e = &l->items[at];
	buf_reset(&e->value);
	buf_add_str(&e->value, value);
}

int
entry_list_remove(struct entry_list *l, struct str name)
{
	int found;
	size_t at = place(l, name, &found);

	if (!found)
		return 0;
	free(l->items[at].name);
	buf_free(&l->items[at].value);
	l->count--;
	memmove(l->items + at, l->items + at + 1, (l->count - at) * sizeof(*l->items));
	return 1;
}

size_t
entry_list_bytes(const struct entry_list *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->count; i++)
		n += strlen(l->items[i].name) + l->items[i].value.len;
	return n;
}

/* ---- text ---- */

/* What escape writes, and no other text of the same byte. */
static int
capital_value(char c)
{
	return c >= 'a' && c <= 'f' ? -1 : hex_value(c);
}

static enum err
unescape(struct str s, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < s.len; i++) {
		int hi, lo;

		if (s.p[i] != '%') {
			buf_add_char(out, s.p[i]);
			continue;
		}
		if (s.len - i < 3)
			return E_PARSE;
		hi = capital_value(s.p[i + 1]);
		lo = capital_value(s.p[i + 2]);
		if (hi < 0 || lo < 0)
			return E_PARSE;
		buf_add_char(out, (char)(hi << 4 | lo));
		i += 2;
	}
	return out->err;
}

static void
escape(struct str s, int with_space, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || c == '%' || (with_space && c == ' '))
			buf_printf(out, "%%%02X", c);
		else
			buf_add_char(out, s.p[i]);
	}
}

enum err
entry_list_parse(struct str text, struct entry_list *out, size_t *bad)
{
	struct buf name = {0}, value = {0};
	size_t wrong = 0;

	*out = (struct entry_list){0};
	if (bad)
		*bad = 0;
	if (!str_is(str_split(&text, '\n'), first_line))
		return E_CORRUPT;
	while (text.p) {
		struct str line = str_split(&text, '\n'), word;

		if (line.len == 0)
			continue;
		word = str_split(&line, ' ');
		if (!line.p || unescape(word, &name) || unescape(line, &value) || name.len == 0 ||
			memchr(name.p, '\0', name.len))
			wrong++;
		else
			entry_list_set(out, buf_str(&name), buf_str(&value));
	}
	buf_free(&name);
	buf_free(&value);
	if (bad)
		*bad = wrong;
	return OK;
}

void
entry_list_format(const struct entry_list *l, struct buf *out)
{
	buf_printf(out, "%s\n", first_line);
	for (size_t i = 0; i < l->count; i++) {
		escape(str_of(l->items[i].name), 1, out);
		buf_add_char(out, ' ');
		escape(buf_str(&l->items[i].value), 0, out);
		buf_add_char(out, '\n');
	}
}

/* ---- files ---- */

static enum err
read_all(int fd, size_t size, struct buf *out)
{
	enum err e = buf_reserve(out, size);

	if (e == OK)
		e = io_read_exact(fd, out->p, size);
	if (e == OK)
		out->len = size;
	/* Written anew each time, never in place: shorter than it was is damage. */
	return e == E_CLOSED ? E_CORRUPT : e;
}

static enum err
open_file(int maildir_fd, const char *dir, const char *file, int *fd)
{
	int top = openat(
		maildir_fd, dir[0] ? dir : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	*fd = -1;
	if (top >= 0) {
		/* Not to wait for a writer if somebody put a FIFO there. */
		*fd = openat(top, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	if (*fd < 0) {
		enum err e = errno == ELOOP || errno == ENOTDIR || errno == ENXIO
				     ? E_NOTFOUND
				     : err_from_errno(errno);

		io_close(&top);
		return e;
	}
	io_close(&top);
	return OK;
}

enum err
entry_file_read(
	int maildir_fd, const char *dir, const char *file, struct entry_list *out, size_t *bad)
{
	struct buf text = {0};
	struct stat st;
	int fd;
	enum err e = open_file(maildir_fd, dir, file, &fd);

	*out = (struct entry_list){0};
	if (bad)
		*bad = 0;
	if (e)
		return e;
	if (fstat(fd, &st) != 0)
		e = err_from_errno(errno);
	else if (!S_ISREG(st.st_mode))
		e = E_NOTFOUND;
	else if (st.st_size > ENTRY_FILE_MAX)
		e = E_CORRUPT;
	if (e == OK)
		e = read_all(fd, (size_t)st.st_size, &text);
	if (e == OK)
		e = entry_list_parse(buf_str(&text), out, bad);
	io_close(&fd);
	buf_free(&text);
	return e;
}

/* ---- annotations ---- */

enum err
entry_metadata_name(struct str name, struct buf *out)
{
	struct str rest = name;

	buf_reset(out);
	if (name.len == 0 || name.len > INDEX_METADATA_NAME_MAX || name.p[0] != '/' ||
		str_has_control(name) || !str_is_ascii(name))
		return E_RANGE;
	if (!str_starts_i(name, "/private/") && !str_starts_i(name, "/shared/"))
		return E_RANGE;
	if (name.p[name.len - 1] == '/' || str_find(name, 0, '*') < name.len ||
		str_find(name, 0, '%') < name.len)
		return E_RANGE;
	str_split(&rest, '/');
	while (rest.p)
		if (str_split(&rest, '/').len == 0)
			return E_RANGE;
	for (size_t i = 0; i < name.len; i++)
		buf_add_char(out, str_lower(name.p[i]));
	return out->err;
}

/* ---- rights ---- */

enum err
entry_rights_normalize(struct str rights, char out[ENTRY_RIGHTS_MAX + 1])
{
	static const char all[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < rights.len; i++)
		if (rights.p[i] == '\0' || !strchr(all, rights.p[i]))
			return E_RANGE;
	for (const char *c = all; *c; c++)
		if (str_find(rights, 0, *c) < rights.len)
			out[n++] = *c;
	out[n] = '\0';
	return OK;
}

enum err
entry_identifier_check(struct str identifier)
{
	if (identifier.len > INDEX_ACL_IDENTIFIER_MAX)
		return E_TOOBIG;
	if (identifier.len == 0 || str_has_control(identifier) || !str_is_utf8(identifier))
		return E_RANGE;
	return OK;
}
