/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_copy.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COPY_CHUNK = 32 * 1024 };

static const char from_word[] = "From ";

void
local_copy_init(struct local_copy *c, int fd, uint64_t offset, uint64_t len, unsigned how)
{
	*c = (struct local_copy){
		.fd = fd, .offset = offset, .end = offset + len, .how = how, .line_start = 1};
}

/* An envelope address as one word of a line. */
static void
add_word(struct buf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		buf_add_char(out, c <= ' ' || c == 0x7f ? '_' : (char)c);
	}
}

void
local_copy_from_line(struct local_copy *c, const char *sender, int64_t now)
{
	time_t when = (time_t)now;
	char date[64];
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL ||
		strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm) == 0)
		memcpy(date, "Thu Jan  1 00:00:00 1970", 25);
	buf_add_cstr(&c->head, from_word);
	add_word(&c->head, sender[0] ? sender : "MAILER-DAEMON");
	buf_printf(&c->head, " %s\n", date);
}

void
local_copy_field(struct local_copy *c, const char *name, const char *value)
{
	buf_printf(&c->head, "%s: %s\n", name, value);
}

void
local_copy_head(struct local_copy *c, const char *sender, const char *recipient,
	const char *original, int64_t now)
{
	if (c->how & LOCAL_COPY_FROM)
		local_copy_from_line(c, sender, now);
	buf_printf(&c->head, "Return-Path: <%s>\n", sender);
	if (original[0])
		local_copy_field(c, "X-Original-To", original);
	if (recipient[0])
		local_copy_field(c, "Delivered-To", recipient);
}

static void
put_held(struct local_copy *c, struct buf *out)
{
	if (c->held.len == sizeof(from_word) - 1)
		buf_add_char(out, '>');
	buf_add_buf(out, &c->held);
	buf_reset(&c->held);
	c->line_start = 0;
}

/* One byte of the content, whose line ends are LF already. */
static void
put_byte(struct local_copy *c, char byte, struct buf *out)
{
	if ((c->how & LOCAL_COPY_QUOTE) && c->line_start) {
		if (byte == from_word[c->held.len]) {
			buf_add_char(&c->held, byte);
			if (c->held.len == sizeof(from_word) - 1)
				put_held(c, out);
			return;
		}
		put_held(c, out);
	}
	buf_add_char(out, byte);
	c->line_start = byte == '\n';
}

static void
convert(struct local_copy *c, const char *p, size_t len, struct buf *out)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (c->held_cr && p[i] != '\n')
			put_byte(c, '\r', out);
		c->held_cr = p[i] == '\r';
		if (!c->held_cr)
			put_byte(c, p[i], out);
	}
}

static void
finish(struct local_copy *c, struct buf *out)
{
	c->ended = 1;
	if (c->held_cr)
		put_byte(c, '\r', out);
	if (c->held.len > 0)
		put_held(c, out);
	if (!c->line_start)
		buf_add_char(out, '\n');
	if (c->how & LOCAL_COPY_BLANK)
		buf_add_char(out, '\n');
}

enum err
local_copy_next(struct local_copy *c, struct buf *out)
{
	char chunk[COPY_CHUNK];
	size_t want = sizeof(chunk);
	ssize_t n;

	if (!c->started) {
		c->started = 1;
		return buf_add_buf(out, &c->head);
	}
	if (c->offset >= c->end) {
		if (c->ended)
			return E_CLOSED;
		finish(c, out);
		return out->err;
	}
	if (want > c->end - c->offset)
		want = (size_t)(c->end - c->offset);
	do
		n = pread(c->fd, chunk, want, (off_t)c->offset);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return E_IO;
	c->offset += (uint64_t)n;
	convert(c, chunk, (size_t)n, out);
	return out->err;
}

void
local_copy_free(struct local_copy *c)
{
	buf_free(&c->held);
	buf_free(&c->head);
}
