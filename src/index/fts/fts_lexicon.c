/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/fts/fts_lexicon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/io.h"
#include "lib/mem.h"

enum { SLOTS_MIN = 1 << 12 };

void
fts_lexicon_free(struct fts_lexicon *l)
{
	buf_free(&l->text);
	free(l->slots);
	*l = (struct fts_lexicon){0};
}

static uint32_t
checksum(uint32_t crc, const char *p, size_t len)
{
	return (uint32_t)crc32_z(crc, (const unsigned char *)p, len);
}

/* ---- the file ---- */

static enum err
read_to_end(int fd, struct fts_lexicon *l, size_t len)
{
	size_t more = len - l->text.len;
	enum err e = buf_reserve(&l->text, more);

	while (!e && l->text.len < len) {
		ssize_t n =
			pread(fd, l->text.p + l->text.len, len - l->text.len, (off_t)l->text.len);

		if (n > 0)
			l->text.len += (size_t)n;
		else if (n == 0)
			e = E_CORRUPT;
		else if (errno != EINTR)
			e = err_from_errno(errno);
	}
	return e;
}

enum err
fts_lexicon_load(struct fts_lexicon *l, const char *path, uint64_t len, uint32_t crc)
{
	size_t before = l->text.len;
	enum err e = OK;
	int fd;

	if (len < before || len > FTS_LEXICON_MAX)
		return E_CORRUPT;
	if (len > before) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return errno == ENOENT ? E_CORRUPT : err_from_errno(errno);
		e = read_to_end(fd, l, (size_t)len);
		close(fd);
	}
	if (e) {
		buf_truncate(&l->text, before);
		return e;
	}
	l->crc = checksum(l->crc, l->text.p + before, l->text.len - before);
	l->saved = l->text.len;
	if (l->crc != crc || (len && (l->text.p[0] != '\n' || l->text.p[len - 1] != '\n')))
		return E_CORRUPT;
	return OK;
}

enum err
fts_lexicon_save(struct fts_lexicon *l, const char *path)
{
	size_t at = l->saved;
	enum err e = OK;
	int fd;

	if (l->text.len == l->saved)
		return OK;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_from_errno(errno);
	/* What a process that was killed had appended does not count. */
	if (ftruncate(fd, (off_t)at) != 0)
		e = err_from_errno(errno);
	while (!e && at < l->text.len) {
		ssize_t n = pwrite(fd, l->text.p + at, l->text.len - at, (off_t)at);

		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno != EINTR)
			e = err_from_errno(errno);
	}
	if (!e && fdatasync(fd) != 0)
		e = err_from_errno(errno);
	close(fd);
	if (e)
		return e;
	l->crc = checksum(l->crc, l->text.p + l->saved, l->text.len - l->saved);
	l->saved = l->text.len;
	return OK;
}

/* ---- the writer's table ---- */

static size_t
hash_of(struct str s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return (size_t)(h ^ h >> 29);
}

/* The term's slot, or the free one where it belongs. */
static uint32_t *
slot_of(const struct fts_lexicon *l, struct str term)
{
	size_t at = hash_of(term) & (l->slot_count - 1);

	for (;; at = (at + 1) & (l->slot_count - 1)) {
		uint32_t off = l->slots[at];

		if (!off || (l->text.len - off > term.len &&
				    memcmp(l->text.p + off, term.p, term.len) == 0 &&
				    l->text.p[off + term.len] == '\n'))
			return &l->slots[at];
	}
}

static void
table_make(struct fts_lexicon *l, size_t slots)
{
	struct str term;
	size_t at = 0;

	free(l->slots);
	l->slot_count = slots;
	l->slots = mem_zalloc(slots * sizeof(*l->slots));
	l->term_count = 0;
	while (fts_lexicon_next(l, &at, &term)) {
		*slot_of(l, term) = (uint32_t)(term.p - l->text.p);
		if (2 * ++l->term_count > l->slot_count) {
			table_make(l, 2 * l->slot_count);
			return;
		}
	}
}

enum err
fts_lexicon_add(struct fts_lexicon *l, struct str term)
{
	uint32_t *slot;

	if (!l->slots)
		table_make(l, SLOTS_MIN);
	slot = slot_of(l, term);
	if (*slot)
		return OK;
	if (l->text.len + term.len + 2 > FTS_LEXICON_MAX)
		return E_TOOBIG;
	if (l->text.len == 0)
		(void)buf_add_char(&l->text, '\n');
	*slot = (uint32_t)l->text.len;
	(void)buf_add_str(&l->text, term);
	(void)buf_add_char(&l->text, '\n');
	if (2 * ++l->term_count > l->slot_count)
		table_make(l, 2 * l->slot_count);
	return OK;
}

/* ---- looking ---- */

int
fts_lexicon_next(const struct fts_lexicon *l, size_t *at, struct str *term)
{
	const char *end;

	if (*at == 0)
		*at = 1;
	if (*at >= l->text.len)
		return 0;
	end = memchr(l->text.p + *at, '\n', l->text.len - *at);
	*term = str_make(l->text.p + *at, (size_t)(end - (l->text.p + *at)));
	*at += term->len + 1;
	return 1;
}

void
fts_lexicon_scan(const struct fts_lexicon *l, const struct words_query *q, size_t i,
	int (*each)(struct str term, void *ctx), void *ctx)
{
	enum words_how how = q->runs[i].how;
	struct buf pattern = {0};
	const char *p = l->text.p, *end = l->text.p + l->text.len;

	if (how == WORDS_BEGINS || how == WORDS_IS)
		(void)buf_add_char(&pattern, '\n');
	(void)buf_add_str(&pattern, q->runs[i].text);
	if (how == WORDS_ENDS || how == WORDS_IS)
		(void)buf_add_char(&pattern, '\n');
	while (p < end) {
		const char *hit = memmem(p, (size_t)(end - p), pattern.p, pattern.len), *from;

		if (!hit)
			break;
		/* From the line end before the term through the one behind it. */
		from = *hit == '\n' ? hit : memrchr(l->text.p, '\n', (size_t)(hit - l->text.p));
		p = memchr(from + 1, '\n', (size_t)(end - from - 1));
		if (!p || !each(str_make(from + 1, (size_t)(p - from - 1)), ctx))
			break;
	}
	buf_free(&pattern);
}
