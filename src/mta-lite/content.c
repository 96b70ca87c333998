/* SPDX-License-Identifier: MIT */
#include "mta-lite/content.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/header.h"

struct field {
	char *text; /* with its last CRLF */
	size_t len, name_len, value_off;
};

struct content {
	struct spool *spool;
	struct spool body; /* in use when replaced */
	int replaced, changed, body_cr;
	uint64_t body_off; /* in the spool */
	struct field *fields;
	size_t count, room;
	struct buf head; /* the header as text, with the empty line; empty when not up to date */
};

/* What a client sent has CRLF alone by now; what stands here is copied as it is. */
static void
push_parsed(struct content *c, struct str block, const struct header_field *f)
{
	struct field *to;

	if (c->count == c->room) {
		c->room = c->room ? c->room * 2 : 32;
		c->fields = mem_realloc(c->fields, c->room, sizeof(*c->fields));
	}
	to = &c->fields[c->count++];
	to->len = f->len;
	to->text = mem_strndup(block.p + f->off, f->len);
	to->name_len = f->name.len;
	to->value_off = (size_t)(f->value.p - (block.p + f->off));
}

static void
parse(struct content *c, struct str block)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field f;
	size_t end = 0;

	while (c->count <= CONTENT_FIELDS_MAX && header_next(&it, &f) && f.name.len > 0) {
		push_parsed(c, block, &f);
		end = f.off + f.len;
	}
	c->body_off = end;
	if (block.len - end >= 2 && memcmp(block.p + end, "\r\n", 2) == 0)
		c->body_off += 2;
	/* A header that ends with the message may lack its last line end. */
	if (c->count > 0) {
		struct field *last = &c->fields[c->count - 1];

		if (last->len < 2 || memcmp(last->text + last->len - 2, "\r\n", 2) != 0) {
			last->text = mem_realloc(last->text, last->len + 3, 1);
			memcpy(last->text + last->len, "\r\n", 3);
			last->len += 2;
		}
	}
}

enum err
content_load(struct spool *spool, const char *dir, struct content **out)
{
	struct buf block = BUF_INIT(CONTENT_HEADER_MAX);
	char *chunk = mem_alloc(64 * 1024);
	struct content *c;
	struct str piece;
	enum err e;

	*out = NULL;
	do {
		e = spool_read(spool, block.len, chunk, 64 * 1024, &piece);
		if (e || piece.len == 0)
			break;
		/* The last piece may go past the bound: what counts is the header in it. */
		if (piece.len > CONTENT_HEADER_MAX - block.len)
			piece.len = CONTENT_HEADER_MAX - block.len;
		buf_add_str(&block, piece);
	} while (block.len < CONTENT_HEADER_MAX && header_block_len(buf_str(&block)) == block.len);
	free(chunk);
	if (e) {
		buf_free(&block);
		return e;
	}
	c = MEM_NEW(struct content);
	c->spool = spool;
	spool_init(&c->body, dir);
	parse(c, buf_str(&block));
	if (c->count > CONTENT_FIELDS_MAX ||
		(block.len == CONTENT_HEADER_MAX && c->body_off >= block.len))
		e = E_TOOBIG;
	buf_free(&block);
	if (e)
		content_free(&c);
	*out = c;
	return e;
}

void
content_free(struct content **c)
{
	size_t i;

	if (*c == NULL)
		return;
	for (i = 0; i < (*c)->count; i++)
		free((*c)->fields[i].text);
	free((*c)->fields);
	spool_free(&(*c)->body);
	buf_free(&(*c)->head);
	MEM_FREE(*c);
}

size_t
content_field_count(const struct content *c)
{
	return c->count;
}

struct str
content_field_name(const struct content *c, size_t i)
{
	return str_make(c->fields[i].text, c->fields[i].name_len);
}

struct str
content_field_value(const struct content *c, size_t i)
{
	const struct field *f = &c->fields[i];

	return str_make(f->text + f->value_off, f->len - 2 - f->value_off);
}

struct str
content_field_text(const struct content *c, size_t i)
{
	return str_make(c->fields[i].text, c->fields[i].len - 2);
}

enum err
content_find(const struct content *c, struct str name, size_t nth, size_t *i)
{
	size_t k;

	for (k = 0; k < c->count; k++) {
		if (str_equal_i(content_field_name(c, k), name) && --nth == 0) {
			*i = k;
			return OK;
		}
	}
	return E_NOTFOUND;
}

static void
touch(struct content *c)
{
	c->changed = 1;
	buf_reset(&c->head);
}

/* RFC 5322 section 2.2: printable ASCII but the colon. */
static int
name_is_valid(struct str name)
{
	size_t i;

	for (i = 0; i < name.len; i++) {
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
			return 0;
	}
	return name.len > 0;
}

static int
line_is_blank(struct str line)
{
	return str_trim(line).len == 0;
}

/* "Name:value" with safe folding and the last CRLF. */
static enum err
write_field(struct str name, struct str value, struct buf *out, size_t *value_off)
{
	int first = 1;
	size_t i;

	buf_add_str(out, name);
	buf_add_char(out, ':');
	*value_off = out->len;
	while (value.p != NULL) {
		struct str line = str_split(&value, '\n');

		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (!first && line_is_blank(line))
			continue;
		if (!first)
			buf_add_cstr(out, "\r\n");
		if (line.len > 0 && line.p[0] != ' ' && line.p[0] != '\t')
			buf_add_char(out, ' ');
		for (i = 0; i < line.len; i++) {
			unsigned char ch = (unsigned char)line.p[i];
			int ok = ch == '\t' || (ch >= ' ' && ch != 0x7f);

			buf_add_char(out, ok ? (char)ch : '?');
		}
		first = 0;
	}
	buf_add_cstr(out, "\r\n");
	return out->err;
}

static enum err
make_field(struct str name, struct str value, struct field *f)
{
	struct buf text = BUF_INIT(CONTENT_HEADER_MAX);
	enum err e;

	if (!name_is_valid(name))
		return E_PARSE;
	e = write_field(name, value, &text, &f->value_off);
	if (e) {
		buf_free(&text);
		return e;
	}
	f->name_len = name.len;
	f->len = text.len;
	f->text = buf_steal(&text);
	return OK;
}

enum err
content_insert(struct content *c, size_t i, struct str name, struct str value)
{
	struct field f;
	enum err e;

	if (c->count >= CONTENT_FIELDS_MAX)
		return E_TOOBIG;
	e = make_field(name, value, &f);
	if (e)
		return e;
	if (c->count == c->room) {
		c->room = c->room ? c->room * 2 : 32;
		c->fields = mem_realloc(c->fields, c->room, sizeof(*c->fields));
	}
	if (i > c->count)
		i = c->count;
	memmove(&c->fields[i + 1], &c->fields[i], (c->count - i) * sizeof(*c->fields));
	c->fields[i] = f;
	c->count++;
	touch(c);
	return OK;
}

enum err
content_set_value(struct content *c, size_t i, struct str value)
{
	struct field f;
	enum err e = make_field(content_field_name(c, i), value, &f);

	if (e)
		return e;
	free(c->fields[i].text);
	c->fields[i] = f;
	touch(c);
	return OK;
}

void
content_remove(struct content *c, size_t i)
{
	free(c->fields[i].text);
	c->count--;
	memmove(&c->fields[i], &c->fields[i + 1], (c->count - i) * sizeof(*c->fields));
	touch(c);
}

int
content_changed(const struct content *c)
{
	return c->changed;
}

uint64_t
content_body_size(const struct content *c)
{
	return c->replaced ? c->body.size : c->spool->size - c->body_off;
}

enum err
content_body_read(struct content *c, uint64_t offset, void *p, size_t size, struct str *out)
{
	if (c->replaced)
		return spool_read(&c->body, offset, p, size, out);
	return spool_read(c->spool, c->body_off + offset, p, size, out);
}

void
content_body_replace(struct content *c)
{
	spool_reset(&c->body);
	c->replaced = 1;
	c->body_cr = 0;
	touch(c);
}

enum err
content_body_add(struct content *c, struct str bytes)
{
	struct buf out = {0};
	size_t i;
	enum err e;

	(void)buf_reserve(&out, bytes.len + 64);
	for (i = 0; i < bytes.len; i++) {
		char ch = bytes.p[i];

		/* A bare CR in a body is what smuggling is made of: it becomes a line end. */
		if (c->body_cr && ch != '\n')
			buf_add_cstr(&out, "\r\n");
		if (ch == '\n')
			buf_add_cstr(&out, "\r\n");
		else if (ch != '\r')
			buf_add_char(&out, ch);
		c->body_cr = ch == '\r';
	}
	e = spool_add(&c->body, buf_str(&out));
	buf_free(&out);
	touch(c);
	return e;
}

/* Copies [from, to) of the body as it is. */
static enum err
copy_body(struct content *c, uint64_t from, uint64_t to, struct spool *out)
{
	char *chunk = mem_alloc(64 * 1024);
	struct str piece;
	enum err e = OK;

	while (e == OK && from < to) {
		size_t want = to - from < 64 * 1024 ? (size_t)(to - from) : 64 * 1024;

		e = content_body_read(c, from, chunk, want, &piece);
		if (e == OK && piece.len == 0)
			e = E_IO;
		if (e == OK)
			e = spool_add(out, piece);
		from += piece.len;
	}
	free(chunk);
	return e;
}

enum err
content_body_edit(struct content *c, const struct content_edit *edits, size_t n)
{
	struct spool made;
	uint64_t at = 0;
	size_t i;
	enum err e = OK;

	spool_init(&made, c->body.dir);
	for (i = 0; e == OK && i < n; i++) {
		e = copy_body(c, at, edits[i].offset, &made);
		if (e == OK)
			e = spool_add(&made, edits[i].text);
		at = edits[i].offset + edits[i].len;
	}
	if (e == OK)
		e = copy_body(c, at, content_body_size(c), &made);
	if (e) {
		spool_free(&made);
		return e;
	}
	spool_free(&c->body);
	c->body = made;
	c->replaced = 1;
	touch(c);
	return OK;
}

static const struct buf *
head_text(struct content *c)
{
	size_t i;

	if (c->head.len == 0) {
		for (i = 0; i < c->count; i++)
			buf_add(&c->head, c->fields[i].text, c->fields[i].len);
		buf_add_cstr(&c->head, "\r\n");
	}
	return &c->head;
}

uint64_t
content_size(struct content *c)
{
	return head_text(c)->len + content_body_size(c);
}

enum err
content_read(struct content *c, uint64_t offset, void *p, size_t size, struct str *out)
{
	const struct buf *head = head_text(c);

	if (offset < head->len) {
		*out = str_make(head->p + offset, head->len - (size_t)offset);
		if (out->len > size)
			out->len = size;
		return OK;
	}
	return content_body_read(c, offset - head->len, p, size, out);
}

enum err
content_store(struct content *c, struct spool *out)
{
	enum err e = spool_add(out, buf_str(head_text(c)));

	return e ? e : copy_body(c, 0, content_body_size(c), out);
}
