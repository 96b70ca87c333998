/* SPDX-License-Identifier: MIT */
#include "import/mbox.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/date.h"
#include "mail/header.h"

enum { WINDOW = 128 * 1024 };

static const char internal_subject[] = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";

struct state {
	const struct mbox_reader *r;
	enum mbox_format format;
	char *window;
	uint64_t base; /* offset of the window in the file */
	size_t pos, len;
	int eof;
	struct buf header;
	/* of the message at hand */
	struct mbox_message m;
	uint64_t content_length;
	int has_length, skip;
};

/* ---- reading ---- */

/* At least n bytes from pos on, unless the file ends before. n <= WINDOW. */
static enum err
ensure(struct state *s, size_t n)
{
	while (!s->eof && s->len - s->pos < n) {
		size_t got = 0;
		enum err e;

		if (s->pos) {
			memmove(s->window, s->window + s->pos, s->len - s->pos);
			s->base += s->pos;
			s->len -= s->pos;
			s->pos = 0;
		}
		e = s->r->read(
			s->r->arg, s->base + s->len, s->window + s->len, WINDOW - s->len, &got);
		if (e)
			return e;
		s->eof = got == 0;
		s->len += got;
	}
	return OK;
}

static struct str
rest(const struct state *s)
{
	return str_make(s->window + s->pos, s->len - s->pos);
}

/*
 * What follows of the line at pos, with its line end, or as much as the window holds. Empty at the
 * end of the file.
 */
static enum err
peek_line(struct state *s, struct str *out)
{
	enum err e = ensure(s, MBOX_FROM_MAX + 2);
	size_t lf;

	if (e)
		return e;
	lf = str_find(rest(s), 0, '\n');
	if (lf == rest(s).len && !s->eof) {
		e = ensure(s, WINDOW);
		lf = str_find(rest(s), 0, '\n');
	}
	*out = rest(s);
	if (lf < out->len)
		out->len = lf + 1;
	return e;
}

static int
ends_line(struct str line)
{
	return line.len && line.p[line.len - 1] == '\n';
}

static int
is_blank(struct str line)
{
	return str_is(line, "\n") || str_is(line, "\r\n");
}

static int
is_from(struct str line, int64_t *date)
{
	return line.len > 5 && memcmp(line.p, "From ", 5) == 0 &&
	       mbox_from_parse(str_trim(line), date) == OK;
}

static void
emit(struct state *s, struct str bytes)
{
	if (!s->skip && bytes.len)
		s->r->write(bytes.p, bytes.len, s->r->arg);
}

/* ---- the header ---- */

static void
status_letters(struct state *s, struct str value)
{
	static const char letters[] = "RAFTD";
	static const char *const flags[] = {
		"\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted"};

	for (size_t i = 0; i < value.len; i++) {
		const char *l = value.p[i] ? strchr(letters, value.p[i]) : NULL;

		if (l)
			import_flags_add(&s->m.flags, str_of(flags[l - letters]));
	}
}

/* Four hexadecimal digits. */
static void
mozilla_status(struct state *s, struct str value)
{
	static const char *const flags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted"};
	char text[9] = "";
	unsigned long bits;

	if (value.len == 0 || value.len > 8)
		return;
	memcpy(text, value.p, value.len);
	bits = strtoul(text, NULL, 16);
	for (unsigned i = 0; i < 4; i++)
		if (bits >> i & 1)
			import_flags_add(&s->m.flags, str_of(flags[i]));
}

static void
keywords(struct state *s, struct str value)
{
	while (value.p)
		import_flags_add(&s->m.flags, str_trim(str_split(&value, ' ')));
}

/* 1: the field is the mailbox's, not the message's. */
static int
take_field(struct state *s, const struct header_field *f, int *internal)
{
	struct str value = str_trim(f->value);
	time_t when;
	int zone;

	if (str_is_i(f->name, "Status") || str_is_i(f->name, "X-Status")) {
		status_letters(s, value);
	} else if (str_is_i(f->name, "X-Keywords") || str_is_i(f->name, "X-Mozilla-Keys")) {
		keywords(s, value);
	} else if (str_is_i(f->name, "X-Mozilla-Status")) {
		mozilla_status(s, value);
	} else if (str_is_i(f->name, "Content-Length")) {
		s->has_length = str_to_u64(value, &s->content_length) == OK;
	} else if (str_is_i(f->name, "X-IMAP")) {
		*internal |= 1;
	} else if (str_is_i(f->name, "X-UID") || str_is_i(f->name, "X-IMAPbase") ||
		   str_is_i(f->name, "X-Mozilla-Status2")) {
		return 1;
	} else {
		if (str_is_i(f->name, "Subject") && str_is(value, internal_subject))
			*internal |= 2;
		if (str_is_i(f->name, "Date") && !s->m.date &&
			date_parse_rfc5322(value, &when, &zone) == OK)
			s->m.date = when;
		return 0;
	}
	return 1;
}

/* Collects the header with its empty line; *whole: it is all there. */
static enum err
read_header(struct state *s, int *whole)
{
	struct str line;
	int64_t date;
	enum err e = OK;

	*whole = 0;
	buf_reset(&s->header);
	while (!*whole) {
		e = peek_line(s, &line);
		if (e || !line.len)
			return e;
		/* A message of nothing but a From_ line. */
		if (!s->header.len && is_from(line, &date))
			return OK;
		if (s->header.len + line.len > MBOX_HEADER_MAX)
			return OK;
		buf_add_str(&s->header, line);
		s->pos += line.len;
		*whole = is_blank(line);
	}
	return e;
}

static enum err
take_header(struct state *s)
{
	struct header_iter it = HEADER_ITER(buf_str(&s->header));
	struct header_field f;
	int internal = 0;
	enum err e;

	if (!s->header.len)
		return s->r->start(&s->m, s->r->arg);

	while (header_next(&it, &f))
		(void)take_field(s, &f, &internal);
	s->skip = internal == 3 && s->m.offset == 0;
	e = s->skip ? OK : s->r->start(&s->m, s->r->arg);
	if (e)
		return e;
	it = HEADER_ITER(buf_str(&s->header));
	internal = 0;
	while (header_next(&it, &f)) {
		struct mbox_message kept = s->m;
		int hidden;

		s->m.flags = (struct import_flags){0};
		hidden = take_field(s, &f, &internal);
		import_flags_free(&s->m.flags);
		s->m = kept;
		if (!hidden)
			emit(s, str_make(s->header.p + f.off, f.len));
	}
	emit(s, str_make(s->header.p + it.pos, s->header.len - it.pos));
	return OK;
}

/* ---- the body ---- */

/* Whether a message can end at this offset. */
static enum err
is_boundary(struct state *s, uint64_t offset, int *yes)
{
	char text[MBOX_FROM_MAX + 4];
	struct str line;
	int64_t date;
	size_t len = 0, got = 1;
	enum err e = OK;

	while (len < sizeof(text) && got && e == OK) {
		e = s->r->read(s->r->arg, offset + len, text + len, sizeof(text) - len, &got);
		len += got;
	}
	*yes = 0;
	if (e)
		return e;
	line = str_make(text, len);
	for (int i = 0; i < 2 && line.len; i++) {
		struct str after = line, first = str_split(&after, '\n');

		if (first.len > 1 || (first.len == 1 && first.p[0] != '\r') || !after.p)
			break;
		line = after;
	}
	if (line.len == 0) {
		/* Behind the end would be a length that is wrong. */
		e = len || offset == 0 ? OK : s->r->read(s->r->arg, offset - 1, text, 1, &got);
		*yes = len || got;
		return e;
	}
	line.len = str_find(line, 0, '\n');
	*yes = is_from(line, &date);
	return OK;
}

/* Exactly content_length bytes, then what separates it from the next. */
static enum err
copy_counted(struct state *s)
{
	uint64_t left = s->content_length;
	struct str line;
	enum err e = OK;

	while (left && e == OK) {
		struct str piece;

		e = ensure(s, 1);
		piece = rest(s);
		if (!piece.len)
			break;
		if (piece.len > left)
			piece.len = (size_t)left;
		emit(s, piece);
		s->pos += piece.len;
		left -= piece.len;
	}
	while (e == OK && (e = peek_line(s, &line)) == OK && is_blank(line))
		s->pos += line.len;
	return e;
}

/* One ">" that quotes goes. */
static struct str
unquote(const struct state *s, struct str line)
{
	size_t marks = 0;

	while (marks < line.len && line.p[marks] == '>')
		marks++;
	if (marks == 0 || line.len - marks < 5 || memcmp(line.p + marks, "From ", 5) != 0 ||
		s->format == MBOX_CL2 || (s->format == MBOX_O && marks > 1))
		return line;
	return str_make(line.p + 1, line.len - 1);
}

/* Line by line. after_blank: the header's empty line stands before it. */
static enum err
copy_lines(struct state *s, int after_blank)
{
	char held[2];
	size_t held_len = 0; /* an empty line that may be the one between two messages */
	int starts = 1;
	struct str line;
	int64_t date;
	enum err e;

	for (;;) {
		e = peek_line(s, &line);
		if (e || !line.len)
			return e;
		if (starts && after_blank && is_from(line, &date))
			return OK;
		emit(s, str_make(held, held_len));
		held_len = 0;
		after_blank = starts && is_blank(line);
		if (after_blank) {
			memcpy(held, line.p, line.len);
			held_len = line.len;
		} else {
			emit(s, starts ? unquote(s, line) : line);
		}
		starts = ends_line(line);
		s->pos += line.len;
	}
}

static enum err
read_message(struct state *s)
{
	struct str line;
	int whole, counted = 0;
	enum err e = peek_line(s, &line);

	if (e)
		return e;
	s->m = (struct mbox_message){.offset = s->base + s->pos};
	s->has_length = s->skip = 0;
	(void)is_from(line, &s->m.date);
	s->pos += line.len;
	e = read_header(s, &whole);
	if (e == OK)
		e = take_header(s);
	if (e == OK && whole && s->has_length && s->format != MBOX_O && s->format != MBOX_RD &&
		s->content_length < UINT64_MAX / 2)
		e = is_boundary(s, s->base + s->pos + s->content_length, &counted);
	if (e == OK)
		e = counted ? copy_counted(s) : copy_lines(s, whole || !s->header.len);
	if (e == OK && !s->skip)
		e = s->r->end(&s->m, s->r->arg);
	import_flags_free(&s->m.flags);
	return e;
}

enum err
mbox_read(const struct mbox_reader *r, enum mbox_format format)
{
	struct state s = {.r = r, .format = format, .header = BUF_INIT(MBOX_HEADER_MAX + 2)};
	struct str line;
	enum err e;

	s.window = mem_alloc(WINDOW);
	while ((e = peek_line(&s, &line)) == OK && is_blank(line))
		s.pos += line.len;
	/* The first may have any date: the file says by its place that it is one. */
	if (e == OK && line.len && (line.len < 5 || memcmp(line.p, "From ", 5) != 0))
		e = E_PARSE;
	while (e == OK && (e = peek_line(&s, &line)) == OK && line.len)
		e = read_message(&s);
	free(s.window);
	buf_free(&s.header);
	return e;
}
