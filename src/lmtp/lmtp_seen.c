/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lmtp/lmtp_seen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/siphash.h"

enum {
	FILE_MAX = 8 << 20,
	TIDY_SIZE = 64 * 1024, /* from here on lines that are too old are looked for */
	LINE_SIZE = 64,
};

static void
make_hash(struct str message_id, struct str sender, struct str folder, char out[33])
{
	/* The key is no secret: who knows a message's id and sender needs no collision. */
	static const struct siphash_key key = {0x726f6f7374, 0x6c6d7470};
	struct buf text = {0};
	struct siphash h;

	buf_add_str(&text, message_id);
	buf_add_char(&text, '\0');
	buf_add_str(&text, sender);
	buf_add_char(&text, '\0');
	buf_add_str(&text, folder);
	h = siphash_128(&key, buf_str(&text));
	snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, h.a, h.b);
	buf_free(&text);
}

static int
is_current(const struct lmtp_seen *s, struct str line, struct str *hash)
{
	struct str rest = line, number = str_split(&rest, ' ');
	uint64_t when;

	*hash = rest;
	return str_to_u64(number, &when) == OK && when <= s->now_s + s->window_s &&
	       s->now_s < when + s->window_s;
}

static int
has_hash(const struct lmtp_seen *s, struct str text)
{
	while (text.len) {
		struct str hash, line = str_split(&text, '\n');

		if (is_current(s, line, &hash) && str_is(hash, s->hash))
			return 1;
	}
	return 0;
}

/* Leaves the lines out that are too old. Cut short by a crash, it has lost some: see the header. */
static void
tidy(const struct lmtp_seen *s, struct str text)
{
	struct buf kept = {0};

	while (text.len) {
		struct str hash, line = str_split(&text, '\n');

		if (is_current(s, line, &hash))
			buf_printf(&kept, "%.*s\n", STR_ARG(line));
	}
	if (lseek(s->fd, 0, SEEK_SET) == 0 && ftruncate(s->fd, 0) == 0)
		(void)io_write_all(s->fd, kept.p, kept.len);
	buf_free(&kept);
}

static enum err
lock_and_read(const char *path, struct lmtp_seen *s, struct buf *text)
{
	struct stat st;

	s->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (s->fd < 0)
		return err_from_errno(errno);
	while (flock(s->fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return err_from_errno(errno);
	if (fstat(s->fd, &st) != 0)
		return err_from_errno(errno);
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return E_CORRUPT;
	if (buf_reserve(text, (size_t)st.st_size))
		return E_TOOBIG;
	text->len = (size_t)st.st_size;
	return io_read_exact(s->fd, text->p, text->len);
}

enum err
lmtp_seen_open(const char *home, int64_t window_ms, struct str message_id, struct str sender,
	struct str folder, struct lmtp_seen *out)
{
	char *path = mem_printf("%s/roost-delivered", home);
	struct buf text = BUF_INIT(FILE_MAX + LINE_SIZE);
	enum err e;

	*out = (struct lmtp_seen){.fd = -1,
		.now_s = (uint64_t)time(NULL),
		.window_s = (uint64_t)(window_ms + 999) / 1000};
	make_hash(message_id, sender, folder, out->hash);
	e = lock_and_read(path, out, &text);
	if (e) {
		log_event(LOGL_WARN, "lmtp.duplicates failed", "path", path, "reason", err_word(e),
			NULL);
		io_close(&out->fd);
		e = OK;
	} else if (has_hash(out, buf_str(&text))) {
		e = E_EXISTS;
	} else if (text.len > TIDY_SIZE) {
		tidy(out, buf_str(&text));
	}
	buf_free(&text);
	free(path);
	return e;
}

void
lmtp_seen_close(struct lmtp_seen *s, int delivered)
{
	char line[LINE_SIZE];

	if (s->fd >= 0 && delivered) {
		int len = snprintf(line, sizeof(line), "%" PRIu64 " %s\n", s->now_s, s->hash);

		(void)io_write_all(s->fd, line, (size_t)len);
	}
	io_close(&s->fd);
}
