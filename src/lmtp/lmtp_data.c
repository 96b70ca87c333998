/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lmtp/lmtp_data.h"

#include <string.h>

/*
 * Where the next byte stands. The table is the rule of RFC 5321 section 4.5.2:
 *
 *   state    '.'        CR         LF        other
 *   BOL      DOT        CR         TEXT      TEXT
 *   DOT      TEXT (1)   DOT_CR     TEXT (1)  TEXT (1)     (1) the dot before is dropped
 *   DOT_CR   TEXT       CR         end       TEXT         the CR held back comes out
 *   TEXT     TEXT       CR         TEXT      TEXT
 *   CR       TEXT       CR         BOL       TEXT
 */
enum { BOL, DOT, DOT_CR, TEXT, CR, END };

static int
after(int state, char c)
{
	switch (state) {
	case BOL:
		return c == '.' ? DOT : c == '\r' ? CR : TEXT;
	case DOT:
		return c == '\r' ? DOT_CR : TEXT;
	case DOT_CR:
		return c == '\n' ? END : c == '\r' ? CR : TEXT;
	case CR:
		return c == '\n' ? BOL : c == '\r' ? CR : TEXT;
	default:
		return c == '\r' ? CR : TEXT;
	}
}

int
lmtp_dot_feed(
	struct lmtp_dot *d, const char *p, size_t len, size_t *used, lmtp_sink sink, void *arg)
{
	size_t run = 0, i = 0; /* p[run..i) waits to be passed on */

	while (i < len && d->state != END) {
		int from = d->state;

		if (from == TEXT) {
			const char *cr = memchr(p + i, '\r', len - i);

			i = cr != NULL ? (size_t)(cr - p) : len;
			if (i == len) {
				break;
			}
		}
		if (from == DOT_CR && p[i] != '\n') {
			sink(arg, "\r", 1); /* was no end after all */
		}
		d->state = after(from, p[i]);
		if (d->state == DOT || d->state == DOT_CR || d->state == END) {
			if (i > run) {
				sink(arg, p + run, i - run);
			}
			run = i + 1;
		}
		i++;
	}
	if (i > run) {
		sink(arg, p + run, i - run);
	}
	*used = i;
	return d->state == END;
}

/* ---- header ---- */

void
lmtp_header_init(struct lmtp_header *h)
{
	*h = (struct lmtp_header){
		.delivered = BUF_INIT(LMTP_DELIVERED_MAX),
		.message_id = BUF_INIT(LMTP_FIELD_LOOK),
	};
}

void
lmtp_header_fini(struct lmtp_header *h)
{
	buf_free(&h->delivered);
	buf_free(&h->message_id);
}

static void
keep_delivered(struct lmtp_header *h, struct str value)
{
	size_t start = h->delivered.len;

	if (buf_reserve(&h->delivered, value.len + 1) == OK) {
		buf_add_str(&h->delivered, value);
		buf_add_char(&h->delivered, '\n');
		for (size_t i = start; i < h->delivered.len; i++) {
			h->delivered.p[i] = str_lower(h->delivered.p[i]);
		}
	}
}

/* The start of a field: line is its first line, or as much of that as is looked at. */
static void
look_at_field(struct lmtp_header *h, struct str line)
{
	struct str value = line, name = str_trim(str_split(&value, ':'));

	value = str_trim(value);
	if (str_is_i(name, "Return-Path")) {
		h->dropping = 1;
	} else if (str_is_i(name, "Received")) {
		h->received++;
	} else if (str_is_i(name, "Delivered-To")) {
		keep_delivered(h, value);
	} else if (str_is_i(name, "Message-ID") && h->message_id.len == 0) {
		buf_add_str(&h->message_id, value);
	}
}

/* Decides about a line from its beginning; then its bytes are passed on or not. */
static void
begin_line(struct lmtp_header *h, struct str line)
{
	if (line.len > 0 && (line.p[0] == ' ' || line.p[0] == '\t')) {
		return; /* goes with the field before it */
	}
	h->dropping = 0;
	if (line.len == 0 || line.p[0] == '\n' ||
		(line.len > 1 && memcmp(line.p, "\r\n", 2) == 0) ||
		memchr(line.p, ':', line.len) == NULL) {
		h->in_body = 1; /* the empty line, or what was never a header */
		return;
	}
	look_at_field(h, line);
}

static void
pass(const struct lmtp_header *h, const char *p, size_t len, lmtp_sink sink, void *arg)
{
	if (len > 0 && !h->dropping) {
		sink(arg, p, len);
	}
}

/* Gives out the beginning of a line that came in several pieces. */
static void
flush_look(struct lmtp_header *h, lmtp_sink sink, void *arg)
{
	begin_line(h, str_make(h->look, h->look_len));
	pass(h, h->look, h->look_len, sink, arg);
	h->look_len = 0;
}

/* The start of a line that does not end in p: gathers enough to decide. Returns the bytes taken. */
static size_t
gather(struct lmtp_header *h, const char *p, size_t len, const char *lf, lmtp_sink sink, void *arg)
{
	size_t line = lf != NULL ? (size_t)(lf - p) + 1 : len;
	size_t room = sizeof(h->look) - h->look_len, n = line < room ? line : room;

	memcpy(h->look + h->look_len, p, n);
	h->look_len += n;
	if (n == line && lf != NULL) {
		flush_look(h, sink, arg);
	} else if (h->look_len == sizeof(h->look)) {
		flush_look(h, sink, arg);
		h->in_line = 1; /* the rest of the line shares its fate */
	}
	return n;
}

void
lmtp_header_feed(struct lmtp_header *h, const char *p, size_t len, lmtp_sink sink, void *arg)
{
	while (len > 0 && !h->in_body) {
		const char *lf = memchr(p, '\n', len);
		size_t n;

		if (h->in_line) {
			n = lf != NULL ? (size_t)(lf - p) + 1 : len;
			pass(h, p, n, sink, arg);
			h->in_line = lf == NULL;
		} else if (h->look_len > 0 || lf == NULL || (size_t)(lf - p) >= sizeof(h->look)) {
			n = gather(h, p, len, lf, sink, arg);
		} else {
			n = (size_t)(lf - p) + 1;
			begin_line(h, str_make(p, n));
			pass(h, p, n, sink, arg);
		}
		p += n;
		len -= n;
	}
	if (len > 0) {
		sink(arg, p, len);
	}
}

void
lmtp_header_finish(struct lmtp_header *h, lmtp_sink sink, void *arg)
{
	if (h->look_len > 0) {
		flush_look(h, sink, arg);
	}
}

int
lmtp_header_delivered_to(const struct lmtp_header *h, const char *address)
{
	struct str rest = buf_str(&h->delivered);

	while (rest.p != NULL) {
		if (str_is(str_split(&rest, '\n'), address)) {
			return 1;
		}
	}
	return 0;
}
