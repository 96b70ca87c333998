/* SPDX-License-Identifier: MIT */
#include "mail/mime.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/header.h"
#include "mail/mime_private.h"

enum {
	DEPTH_MAX = 64,
	BOUNDARY_MAX = 256, /* RFC 2046 section 5.1.1 says 70; a longer one is not a boundary */
	HOLD_BODY = BOUNDARY_MAX + 8,
	FIELD_NAME_MAX = 998,
};

/* A multipart whose end has not come. */
struct level {
	struct mime_part *part;
	struct str boundary;
};

/*
 * Bytes are either accounted for (off) or held: a line of a header until it is whole, and the
 * beginning of a body line as long as it may be a boundary. Line ends are counted for the message
 * as a whole; a part's numbers are differences, so that closing sixty parts at once costs sixty
 * steps and not sixty passes.
 */
struct mime_parser {
	struct mime_limits limits;
	struct mime_message *m;
	struct mime_arena *arena;
	struct mime_part *part; /* the innermost open one */
	struct level levels[DEPTH_MAX];
	unsigned level_count;
	int in_header;

	uint64_t off, lines, bare;
	int bol; /* at the beginning of a line */
	unsigned last_eol; /* length of the line end before it, 0 at the start */
	char last; /* the last byte seen */
	struct buf hold;
	uint64_t hold_total; /* bytes held, those over the bound included */
	int swallow; /* the rest of an over-long boundary line is to come */

	struct buf field; /* the header field being read */
	uint64_t field_off;
	size_t header_left; /* of limits.header_bytes, for this header */
	size_t total_left; /* of limits.header_total */
	int field_open, field_bad;
	size_t fields_left;
	struct mime_preview preview;
};

static void
limits_fill(struct mime_limits *l)
{
	if (!l->depth || l->depth > DEPTH_MAX)
		l->depth = DEPTH_MAX;
	if (!l->parts)
		l->parts = 1000;
	if (!l->fields)
		l->fields = 2000;
	if (!l->params)
		l->params = 100;
	if (!l->header_bytes)
		l->header_bytes = 256 * 1024;
	if (!l->header_total)
		l->header_total = 1024 * 1024;
	if (!l->preview_bytes)
		l->preview_bytes = 4096;
}

/* Whether the header of this part is that of a message. */
static int
is_message_head(const struct mime_part *part)
{
	return !part->parent || part->parent->kind == MIME_MESSAGE;
}

/* A new part whose header begins here. */
static void
part_open(struct mime_parser *p, struct mime_part *parent)
{
	struct mime_part *part = mime_arena_alloc(p->arena, sizeof(*part)), **end;

	part->parent = parent;
	part->number = 1;
	if (parent) {
		part->depth = parent->depth + 1;
		end = &parent->child;
		if (p->part != parent && p->part) {
			/* The sibling just closed is the last one so far. */
			part->number = p->part->number + 1;
			end = &p->part->next;
		}
		*end = part;
	}
	part->header_off = p->off;
	part->header_bare_lf = p->bare; /* where the count stood, until the header ends */
	if (parent && parent->kind == MIME_MULTIPART && str_is_i(parent->subtype, "digest")) {
		part->type = STR("message");
		part->subtype = STR("rfc822");
	} else {
		part->type = STR("text");
		part->subtype = STR("plain");
	}
	p->part = part;
	p->m->part_count++;
	p->in_header = 1;
	p->header_left = p->limits.header_bytes;
	p->field_open = p->field_bad = 0;
	if (p->m->part_count >= p->limits.parts)
		p->level_count = 0; /* all the rest is this part's */
}

struct mime_parser *
mime_parser_create(const struct mime_limits *limits)
{
	struct mime_parser *p = MEM_NEW(struct mime_parser);

	if (limits)
		p->limits = *limits;
	limits_fill(&p->limits);
	p->m = MEM_NEW(struct mime_message);
	p->arena = p->m->arena = mime_arena_create();
	p->bol = 1;
	p->total_left = p->limits.header_total;
	p->fields_left = p->limits.fields;
	mime_preview_init(&p->preview, p->limits.preview_bytes);
	part_open(p, NULL);
	p->m->root = p->part;
	return p;
}

/* The array grows by doubling inside the arena: a power of two is full. */
static void
field_keep(struct mime_parser *p, const struct mime_field *f)
{
	struct mime_part *part = p->part;
	size_t n = part->field_count;

	if (!p->fields_left) {
		part->fields_cut = 1;
		return;
	}
	p->fields_left--;
	if (n == 0 || (n >= 16 && (n & (n - 1)) == 0)) {
		size_t cap = n ? n * 2 : 16;
		struct mime_field *v = mime_arena_alloc(p->arena, cap * sizeof(*v));

		if (n)
			memcpy(v, part->fields, n * sizeof(*v));
		part->fields = v;
	}
	part->fields[part->field_count++] = *f;
}

static void
field_end(struct mime_parser *p)
{
	struct header_iter it = HEADER_ITER(buf_str(&p->field));
	struct header_field h;
	int message = is_message_head(p->part);

	if (!p->field_open)
		return;
	p->field_open = 0;
	if (p->field_bad || !header_next(&it, &h) || !h.name.len || h.name.len > FIELD_NAME_MAX) {
		if (p->field_bad)
			p->part->fields_cut = 1;
		return;
	}
	if (message) {
		struct str all = mime_arena_dup(p->arena, buf_str(&p->field));
		struct mime_field f = {.off = p->field_off, .whole = all};

		f.name = str_make(all.p + (h.name.p - p->field.p), h.name.len);
		f.value = str_make(all.p + (h.value.p - p->field.p), h.value.len);
		field_keep(p, &f);
	}
	if (str_starts_i(h.name, "content-"))
		mime_content_field(p->part, str_make(h.name.p + 8, h.name.len - 8), h.value,
			p->limits.params, p->arena);
}

/* Takes a line, or as much of it as was kept, into the field being read. */
static void
field_line(struct mime_parser *p, const char *line, size_t kept, uint64_t total)
{
	if (!p->field_open || (line[0] != ' ' && line[0] != '\t')) {
		field_end(p);
		p->field_open = 1;
		p->field_bad = 0;
		p->field_off = p->off;
		buf_reset(&p->field);
	}
	if (kept < total || kept > p->header_left || kept > p->total_left)
		p->field_bad = 1;
	if (p->field_bad) {
		/* Over the bound: this field and all behind it are not looked at. */
		p->header_left = 0;
		return;
	}
	p->header_left -= kept;
	p->total_left -= kept;
	buf_add(&p->field, line, kept);
}

static void
account(struct mime_parser *p, uint64_t len, unsigned eol)
{
	p->off += len;
	p->lines += eol > 0;
	p->bare += eol == 1;
	p->last_eol = eol;
	p->bol = eol > 0;
}

/* Ends the part's header at a place with these counts. */
static void
header_close(struct mime_parser *p, uint64_t end, uint64_t lines, uint64_t bare)
{
	struct mime_part *part = p->part;

	field_end(p);
	part->header_len = end - part->header_off;
	part->header_bare_lf = bare - part->header_bare_lf;
	part->body_off = end;
	part->body_lines = lines; /* where the counts stood, until the body ends */
	part->body_bare_lf = bare;
	/* Also where no empty line comes: it is one without parts. */
	if (str_is_i(part->type, "multipart"))
		part->kind = MIME_MULTIPART;
	p->in_header = 0;
}

static int
is_message_type(const struct mime_part *part)
{
	return str_is_i(part->type, "message") &&
	       (str_is_i(part->subtype, "rfc822") || str_is_i(part->subtype, "global")) &&
	       part->encoding != MAIL_ENCODING_BASE64 && part->encoding != MAIL_ENCODING_QP;
}

static void
multipart_open(struct mime_parser *p)
{
	const struct mime_param *b = mime_param_find(&p->part->params, "boundary");
	struct level *l;
	struct str boundary;

	if (!b || p->level_count == DEPTH_MAX || p->part->depth + 1 >= p->limits.depth ||
		p->m->part_count >= p->limits.parts)
		return;
	boundary = b->value;
	while (boundary.len && str_is_space(boundary.p[boundary.len - 1]))
		boundary.len--; /* RFC 2046: it does not end with a blank */
	if (!boundary.len || boundary.len > BOUNDARY_MAX)
		return;
	l = &p->levels[p->level_count++];
	l->part = p->part;
	l->boundary = boundary;
}

/* The empty line came: what is the body? */
static void
body_open(struct mime_parser *p)
{
	struct mime_part *part = p->part;

	header_close(p, p->off, p->lines, p->bare);
	if (part->kind == MIME_MULTIPART) {
		multipart_open(p);
	} else if (is_message_type(part) && part->depth + 1 < p->limits.depth &&
		   p->m->part_count < p->limits.parts) {
		part->kind = MIME_MESSAGE;
		part_open(p, part);
	} else {
		mime_preview_begin(&p->preview, part);
	}
}

/*
 * Closes the innermost part and those around it up to, and without, stop. strip: the last line end
 * belongs to the boundary line that follows (RFC 2046 section 5.1.1), unless it is that of the
 * empty line behind a header, or of another boundary line: then there is none to give, and no part
 * around ends before what is inside it.
 */
static void
parts_close(struct mime_parser *p, const struct mime_part *stop, int strip)
{
	struct mime_part *part = p->part;
	uint64_t begin, end, lines, bare;
	unsigned eol;

	mime_preview_end(&p->preview);
	if (part == stop)
		return;
	begin = p->in_header ? part->header_off : part->body_off;
	eol = strip && p->off - begin >= p->last_eol ? p->last_eol : 0;
	end = p->off - eol;
	lines = p->lines - (eol > 0);
	bare = p->bare - (eol == 1);
	if (p->in_header)
		header_close(p, end, lines, bare);
	for (;; part = part->parent) {
		part->body_len = end - part->body_off;
		part->body_lines = lines - part->body_lines;
		part->body_bare_lf = bare - part->body_bare_lf;
		if (part->parent == stop)
			break;
	}
	p->part = part; /* the outermost closed: part_open links the next one behind it */
}

/*
 * The level whose boundary the line has, or -1. line: without its line end. The longest match wins,
 * and of equal ones the innermost, so that a boundary may be a prefix of another.
 */
static int
boundary_find(const struct mime_parser *p, struct str line)
{
	size_t best_len = 0;
	int best = -1;

	if (line.len < 3 || line.p[0] != '-' || line.p[1] != '-')
		return -1;
	for (int i = (int)p->level_count - 1; i >= 0; i--) {
		struct str b = p->levels[i].boundary;

		if (b.len > best_len && b.len <= line.len - 2 &&
			memcmp(line.p + 2, b.p, b.len) == 0) {
			best = i;
			best_len = b.len;
		}
	}
	return best;
}

/* If the line (kept: its first bytes, without line end) is a boundary, acts on it and returns 1. */
static int
boundary_line(struct mime_parser *p, struct str kept, uint64_t total, unsigned eol)
{
	int at = boundary_find(p, kept);
	struct mime_part *parent;
	size_t tail;

	if (at < 0)
		return 0;
	parent = p->levels[at].part;
	tail = 2 + p->levels[at].boundary.len;
	parts_close(p, parent, 1);
	account(p, total, eol);
	p->in_header = 0;
	if (kept.len >= tail + 2 && kept.p[tail] == '-' && kept.p[tail + 1] == '-') {
		p->level_count = (unsigned)at;
		p->part = parent; /* what follows is its epilogue */
		return 1;
	}
	p->level_count = (unsigned)at + 1;
	part_open(p, parent);
	return 1;
}

/* A whole line of a header; eol: length of its line end, 0 at the end of the input. */
static void
header_line(struct mime_parser *p, const char *line, size_t kept, uint64_t total, unsigned eol)
{
	size_t text = kept < total ? kept : kept - eol;

	if (p->level_count && boundary_line(p, str_make(line, text), total, eol))
		return;
	if (total == eol) {
		account(p, total, eol);
		body_open(p);
		return;
	}
	field_line(p, line, kept, total);
	account(p, total, eol);
}

static void
hold(struct mime_parser *p, const char *bytes, size_t len, size_t max)
{
	size_t room = p->hold.len < max ? max - p->hold.len : 0;

	buf_add(&p->hold, bytes, len < room ? len : room);
	p->hold_total += len;
}

static void
hold_clear(struct mime_parser *p)
{
	buf_reset(&p->hold);
	p->hold_total = 0;
}

/* Up to the end of a line. Returns the bytes used. */
static size_t
feed_header(struct mime_parser *p, const char *bytes, size_t len)
{
	const char *lf = memchr(bytes, '\n', len);
	size_t n = lf ? (size_t)(lf - bytes) + 1 : len, max;
	unsigned eol;

	/* A line that is too long for the field may yet be a boundary. */
	max = p->header_left < HOLD_BODY ? HOLD_BODY : p->header_left + 1;
	if (!lf) {
		hold(p, bytes, n, max);
		p->last = bytes[n - 1];
		return n;
	}
	eol = (n >= 2 ? bytes[n - 2] : p->last) == '\r' ? 2 : 1;
	p->last = '\n';
	if (!p->hold_total) {
		header_line(p, bytes, n, n, eol);
		return n;
	}
	hold(p, bytes, n, max);
	header_line(p, p->hold.p, p->hold.len, p->hold_total, eol);
	hold_clear(p);
	return n;
}

/*
 * Body bytes up to a line that may be a boundary. first: the line at the start is known not to be
 * one. before: the byte before bytes[0]. Returns the bytes used.
 */
static size_t
body_run(struct mime_parser *p, const char *bytes, size_t len, int first, char before)
{
	size_t i = 0;
	int check = p->level_count > 0;

	while (i < len) {
		const char *lf;

		if (check && p->bol && bytes[i] == '-' && !first)
			break;
		first = 0;
		lf = memchr(bytes + i, '\n', len - i);
		if (!lf) {
			p->bol = 0;
			i = len;
			break;
		}
		i = (size_t)(lf - bytes) + 1;
		p->last_eol = (i >= 2 ? bytes[i - 2] : before) == '\r' ? 2 : 1;
		p->bare += p->last_eol == 1;
		p->lines++;
		p->bol = 1;
	}
	p->off += i;
	if (p->preview.active)
		mime_preview_feed(&p->preview, bytes, i);
	return i;
}

/* The line held is whole, or long enough to know. eol: 0 when its end has not come. */
static void
body_held(struct mime_parser *p, unsigned eol)
{
	struct str line = buf_str(&p->hold);
	struct str text = str_make(line.p, line.len - eol);

	if (boundary_line(p, text, line.len, eol))
		p->swallow = !eol;
	else
		body_run(p, line.p, line.len, 1, '\n');
	hold_clear(p);
}

/* The rest of a boundary line that was longer than a boundary can be. */
static size_t
feed_swallow(struct mime_parser *p, const char *bytes, size_t len)
{
	const char *lf = memchr(bytes, '\n', len);
	size_t n = lf ? (size_t)(lf - bytes) + 1 : len;
	unsigned eol = (n >= 2 ? bytes[n - 2] : p->last) == '\r' ? 2 : 1;

	account(p, n, lf ? eol : 0);
	p->last = bytes[n - 1];
	p->swallow = !lf;
	if (p->in_header) {
		p->part->header_off = p->off;
		p->part->header_bare_lf = p->bare;
	}
	return n;
}

/* At the beginning of a body line with "-": decides what it is as soon as that can be known. */
static size_t
feed_candidate(struct mime_parser *p, const char *bytes, size_t len)
{
	size_t have = p->hold.len, n = 0;
	const char *lf;

	/* "-x" is decided with its second byte: the usual case of a list or a signature. */
	if (have == 0 && len >= 2 && bytes[1] != '-') {
		n = body_run(p, bytes, len, 1, p->last);
		p->last = bytes[n - 1];
		return n;
	}
	n = HOLD_BODY - have < len ? HOLD_BODY - have : len;
	lf = memchr(bytes, '\n', n);
	if (lf)
		n = (size_t)(lf - bytes) + 1;
	hold(p, bytes, n, HOLD_BODY);
	if (lf) {
		size_t all = p->hold.len;

		p->last = '\n';
		body_held(
			p, all >= 2 && bytes[n - 1] == '\n' && p->hold.p[all - 2] == '\r' ? 2 : 1);
	} else {
		p->last = bytes[n - 1];
		if (p->hold.len == HOLD_BODY)
			body_held(p, 0);
	}
	return n;
}

static size_t
feed_body(struct mime_parser *p, const char *bytes, size_t len)
{
	size_t n;

	if (p->hold.len || (p->level_count && p->bol && bytes[0] == '-'))
		return feed_candidate(p, bytes, len);
	n = body_run(p, bytes, len, 0, p->last);
	if (n)
		p->last = bytes[n - 1];
	return n;
}

static void
note_bytes(struct mime_message *m, const char *bytes, size_t len)
{
	if (!m->has_nul && memchr(bytes, '\0', len))
		m->has_nul = 1;
	for (size_t i = 0; !m->has_8bit && i < len;) {
		size_t end = len - i < 4096 ? len : i + 4096;
		unsigned char any = 0;

		for (; i < end; i++)
			any |= (unsigned char)bytes[i];
		m->has_8bit = any >= 0x80;
	}
}

void
mime_parser_feed(struct mime_parser *p, const void *bytes, size_t len)
{
	const char *c = bytes;

	if (!len)
		return;
	note_bytes(p->m, c, len);
	while (len) {
		size_t n;

		if (p->swallow)
			n = feed_swallow(p, c, len);
		else
			n = p->in_header ? feed_header(p, c, len) : feed_body(p, c, len);
		c += n;
		len -= n;
	}
}

void
mime_parser_finish(struct mime_parser *p, struct mime_message **out)
{
	struct mime_message *m = p->m;

	if (p->hold_total && p->in_header) {
		header_line(p, p->hold.p, p->hold.len, p->hold_total, 0);
		hold_clear(p);
	} else if (p->hold_total) {
		body_held(p, 0);
	}
	parts_close(p, NULL, 0);
	m->size = p->off;
	m->size_crlf = p->off + p->bare;
	m->preview = mime_arena_dup(p->arena, mime_preview_text(&p->preview));
	p->m = NULL;
	*out = m;
}

void
mime_parser_free(struct mime_parser **pp)
{
	struct mime_parser *p = *pp;

	if (!p)
		return;
	mime_message_free(&p->m);
	mime_preview_fini(&p->preview);
	buf_free(&p->hold);
	buf_free(&p->field);
	MEM_FREE(*pp);
}

void
mime_message_free(struct mime_message **m)
{
	if (!*m)
		return;
	mime_arena_free(&(*m)->arena);
	MEM_FREE(*m);
}
