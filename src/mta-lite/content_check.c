/* SPDX-License-Identifier: MIT */
#include "mta-lite/content_check.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mail/header.h"
#include "mail/mime.h"

enum { CHECK_TEXT_MAX = 64 * 1024, CHECK_EDITS_MAX = 20000, CHECK_BCC_MAX = 100 };

static const struct {
	const char *word;
	enum content_action action;
	int needs_text;
} actions[] = {
	{"BCC", CONTENT_BCC, 1},
	{"DISCARD", CONTENT_DISCARD, 0},
	{"DUNNO", CONTENT_DUNNO, 0},
	{"FILTER", CONTENT_FILTER, 1},
	{"HOLD", CONTENT_HOLD, 0},
	{"IGNORE", CONTENT_IGNORE, 0},
	{"INFO", CONTENT_INFO, 0},
	{"PREPEND", CONTENT_PREPEND, 1},
	{"REDIRECT", CONTENT_REDIRECT, 1},
	{"REJECT", CONTENT_REJECT, 0},
	{"REPLACE", CONTENT_REPLACE, 1},
	{"STRIP", CONTENT_STRIP, 0},
	{"WARN", CONTENT_WARN, 0},
};

enum err
content_action_parse(struct str value, enum content_action *action, struct str *text)
{
	struct str rest = str_trim(value), word = str_split(&rest, ' ');
	size_t i;

	*text = str_trim(rest);
	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (!str_is_i(word, actions[i].word))
			continue;
		*action = actions[i].action;
		return actions[i].needs_text && text->len == 0 ? E_PARSE : OK;
	}
	return E_PARSE;
}

int
content_checks_empty(const struct content_checks *c)
{
	return c->header.count + c->mime_header.count + c->nested_header.count + c->body.count == 0;
}

void
content_verdict_free(struct content_verdict *v)
{
	size_t i;

	for (i = 0; i < v->bcc_count; i++)
		free(v->bcc[i]);
	free(v->bcc);
	free(v->reply);
	free(v->hold);
	free(v->filter);
	free(v->redirect);
	memset(v, 0, sizeof(*v));
}

/* One run. */
struct run {
	const struct content_checks *checks;
	struct content *c;
	const char *id;
	struct content_verdict *out;
	struct buf value; /* the last answer of a table */
	struct content_edit *edits; /* of the body; text on the heap */
	size_t edit_count;
};

/* What becomes of the field or line itself. */
enum fate { KEEP, DROP, REPLACED, PREPENDED };

static void
set_text(char **slot, struct str text)
{
	free(*slot);
	*slot = str_dup(text);
}

/* "550 5.7.1 text", "5.7.1 text", "text" or nothing. */
static char *
make_reply(struct str text)
{
	if (text.len >= 4 && (text.p[0] == '4' || text.p[0] == '5') && str_is_digit(text.p[1]) &&
		str_is_digit(text.p[2]) && text.p[3] == ' ')
		return str_dup(text);
	if (text.len >= 5 && text.p[1] == '.' && (text.p[0] == '4' || text.p[0] == '5'))
		return mem_printf("%c50 %.*s", text.p[0], STR_ARG(text));
	if (text.len == 0)
		text = STR("Message content rejected");
	return mem_printf("550 5.7.1 %.*s", STR_ARG(text));
}

static void
add_bcc(struct content_verdict *v, struct str address)
{
	if (v->bcc_count >= CHECK_BCC_MAX)
		return;
	v->bcc = mem_realloc(v->bcc, v->bcc_count + 1, sizeof(*v->bcc));
	v->bcc[v->bcc_count++] = str_dup(address);
}

static void
log_action(struct run *r, const char *where, struct str action)
{
	/* The action's own text; never what it was found in. */
	log_event(LOGL_INFO, "content.check", "queue_id", r->id, "where", where, "action",
		log_str(action), NULL);
}

static int
is_decision(enum content_action action)
{
	switch (action) {
	case CONTENT_BCC:
	case CONTENT_DISCARD:
	case CONTENT_FILTER:
	case CONTENT_HOLD:
	case CONTENT_REDIRECT:
	case CONTENT_REJECT:
		return 1;
	default:
		return 0;
	}
}

static void
log_ignored(struct run *r, const char *where, const char *reason)
{
	log_event(LOGL_WARN, "content.check ignored", "where", where, "action",
		log_str(buf_str(&r->value)), "reason", reason, NULL);
}

/* Looks text up and takes the action; *text: what stands behind the word, borrowed from r->value.
 */
static enum err
ask(struct run *r, const struct map_list *tables, const char *where, struct str subject,
	enum fate *fate, struct str *text)
{
	enum content_action action;
	struct content_verdict *v = r->out;
	enum err e;

	*fate = KEEP;
	if (tables->count == 0)
		return OK;
	if (subject.len > CHECK_TEXT_MAX)
		subject.len = CHECK_TEXT_MAX;
	e = map_list_find(tables, subject, &r->value);
	if (e == E_NOTFOUND)
		return OK;
	if (e)
		return E_TEMPFAIL;
	if (content_action_parse(buf_str(&r->value), &action, text)) {
		log_ignored(r, where, "not an action");
		return OK;
	}
	if (r->checks->changes_only && is_decision(action)) {
		log_ignored(r, where, "it is too late for that");
		return OK;
	}
	if (action != CONTENT_DUNNO)
		log_action(r, where, buf_str(&r->value));
	switch (action) {
	case CONTENT_BCC:
		add_bcc(v, *text);
		break;
	case CONTENT_DISCARD:
		v->discard = 1;
		break;
	case CONTENT_FILTER:
		set_text(&v->filter, *text);
		break;
	case CONTENT_HOLD:
		set_text(&v->hold, text->len ? *text : STR("content check"));
		break;
	case CONTENT_IGNORE:
	case CONTENT_STRIP:
		*fate = DROP;
		break;
	case CONTENT_PREPEND:
		*fate = PREPENDED;
		break;
	case CONTENT_REPLACE:
		*fate = REPLACED;
		break;
	case CONTENT_REDIRECT:
		set_text(&v->redirect, *text);
		break;
	case CONTENT_REJECT:
		free(v->reply);
		v->reply = make_reply(*text);
		break;
	case CONTENT_DUNNO:
	case CONTENT_INFO:
	case CONTENT_WARN:
		break;
	}
	return OK;
}

static int
decided(const struct run *r)
{
	return r->out->reply != NULL || r->out->discard;
}

/* A field as the tables see it: folds are LF. */
static void
unify(struct str field, struct buf *out)
{
	size_t i;

	buf_reset(out);
	for (i = 0; i < field.len; i++) {
		if (field.p[i] != '\r')
			buf_add_char(out, field.p[i]);
	}
	while (out->len > 0 && out->p[out->len - 1] == '\n')
		out->len--;
}

static int
is_mime_field(struct str name)
{
	return str_starts_i(name, "Content-") || str_is_i(name, "MIME-Version");
}

/* "Name: value" into its two halves. */
static void
split_field(struct str text, struct str *name, struct str *value)
{
	*name = str_trim(str_split(&text, ':'));
	*value = text;
}

/* *i: the field; behind a change the last one that came of it. */
static enum err
change_field(struct run *r, size_t *i, enum fate fate, struct str text)
{
	struct str name, value;
	enum err e;

	if (fate == DROP) {
		content_remove(r->c, (*i)--);
		return OK;
	}
	split_field(text, &name, &value);
	e = content_insert(r->c, *i, name, value);
	if (e) {
		log_ignored(r, "header", "not a header field");
		return e == E_PARSE ? OK : e;
	}
	if (fate == REPLACED)
		content_remove(r->c, *i + 1);
	else
		(*i)++;
	return OK;
}

static enum err
check_header(struct run *r)
{
	struct buf text = {0};
	enum err e = OK;
	size_t i;

	for (i = 0; e == OK && i < content_field_count(r->c) && !decided(r); i++) {
		const struct map_list *tables = is_mime_field(content_field_name(r->c, i))
							? &r->checks->mime_header
							: &r->checks->header;
		struct str with;
		enum fate fate;

		unify(content_field_text(r->c, i), &text);
		e = ask(r, tables, "header", buf_str(&text), &fate, &with);
		if (e == OK && fate != KEEP)
			e = change_field(r, &i, fate, with);
	}
	buf_free(&text);
	return e;
}

static enum err
add_edit(struct run *r, uint64_t offset, uint64_t len, enum fate fate, struct str text)
{
	struct content_edit *edit;
	struct buf with = {0};

	if (r->edit_count >= CHECK_EDITS_MAX)
		return E_TOOBIG;
	if (fate != DROP) {
		buf_add_str(&with, text);
		buf_add_cstr(&with, "\r\n");
	}
	if (fate == PREPENDED)
		len = 0;
	r->edits = mem_realloc(r->edits, r->edit_count + 1, sizeof(*r->edits));
	edit = &r->edits[r->edit_count++];
	*edit = (struct content_edit){.offset = offset, .len = len};
	edit->text.len = with.len;
	edit->text.p = buf_steal(&with);
	return OK;
}

/* Fields of a part's or an inner message's header, at offset in the body. */
static enum err
check_inner_header(struct run *r, struct str block, uint64_t offset, int nested)
{
	struct header_iter it = HEADER_ITER(block);
	struct buf text = {0};
	struct header_field f;
	enum err e = OK;

	while (e == OK && !decided(r) && header_next(&it, &f)) {
		const struct map_list *tables = nested && !is_mime_field(f.name)
							? &r->checks->nested_header
							: &r->checks->mime_header;
		struct str with;
		enum fate fate;

		unify(str_make(block.p + f.off, f.len), &text);
		e = ask(r, tables, "inner header", buf_str(&text), &fate, &with);
		if (e == OK && fate != KEEP)
			e = add_edit(r, offset + f.off, f.len, fate, with);
	}
	buf_free(&text);
	return e;
}

static enum err
check_line(struct run *r, struct str line, uint64_t offset)
{
	struct str with, bare = line;
	enum fate fate;
	enum err e;

	while (bare.len > 0 && (bare.p[bare.len - 1] == '\n' || bare.p[bare.len - 1] == '\r'))
		bare.len--;
	e = ask(r, &r->checks->body, "body", bare, &fate, &with);
	return e == OK && fate != KEEP ? add_edit(r, offset, line.len, fate, with) : e;
}

/* Reads [from, to) of the body into out, at most max bytes of it. */
static enum err
read_range(struct run *r, uint64_t from, uint64_t to, uint64_t max, struct buf *out)
{
	char *chunk = mem_alloc(64 * 1024);
	enum err e = OK;

	buf_reset(out);
	if (to - from > max)
		to = from + max;
	while (e == OK && from < to) {
		struct str piece;
		size_t want = to - from < 64 * 1024 ? (size_t)(to - from) : 64 * 1024;

		e = content_body_read(r->c, from, chunk, want, &piece);
		if (e == OK && piece.len == 0)
			break;
		if (e == OK)
			e = buf_add_str(out, piece);
		from += piece.len;
	}
	free(chunk);
	return e;
}

static enum err
check_lines(struct run *r, uint64_t from, uint64_t to)
{
	struct buf text = {0};
	size_t off = 0;
	enum err e = OK;

	if (r->checks->body.count == 0 || from >= to)
		return OK;
	e = read_range(r, from, to, r->checks->body_limit, &text);
	while (e == OK && off < text.len && !decided(r)) {
		size_t end = str_find(buf_str(&text), off, '\n');

		end = end < text.len ? end + 1 : text.len;
		e = check_line(r, str_make(text.p + off, end - off), from + off);
		off = end;
	}
	buf_free(&text);
	return e;
}

static enum err
check_inner(struct run *r, const struct mime_part *p, uint64_t body_off)
{
	struct buf block = {0};
	enum err e;

	e = read_range(r, p->header_off - body_off, p->header_off - body_off + p->header_len,
		CONTENT_HEADER_MAX, &block);
	if (e == OK)
		e = check_inner_header(r, buf_str(&block), p->header_off - body_off,
			p->parent && p->parent->kind == MIME_MESSAGE);
	buf_free(&block);
	return e;
}

static enum err
parse_message(struct content *c, struct mime_message **out)
{
	struct mime_parser *parser = mime_parser_create(NULL);
	char *chunk = mem_alloc(64 * 1024);
	uint64_t off = 0;
	struct str piece;
	enum err e;

	for (;;) {
		e = content_read(c, off, chunk, 64 * 1024, &piece);
		if (e || piece.len == 0)
			break;
		mime_parser_feed(parser, piece.p, piece.len);
		off += piece.len;
	}
	mime_parser_finish(parser, out);
	mime_parser_free(&parser);
	free(chunk);
	return e;
}

/* What is behind the message's own header: parts' headers, and lines between and in them. */
static enum err
check_body(struct run *r)
{
	uint64_t body_off = content_size(r->c) - content_body_size(r->c), at = 0;
	struct mime_message *m;
	const struct mime_part *p;
	enum err e = parse_message(r->c, &m);

	for (p = mime_part_next(m->root); e == OK && p && !decided(r); p = mime_part_next(p)) {
		uint64_t start = p->header_off - body_off;

		e = check_lines(r, at, start);
		if (e == OK)
			e = check_inner(r, p, body_off);
		at = start + p->header_len;
	}
	if (e == OK && !decided(r))
		e = check_lines(r, at, content_body_size(r->c));
	mime_message_free(&m);
	return e;
}

enum err
content_checks_run(const struct content_checks *checks, struct content *c, const char *id,
	struct content_verdict *out)
{
	struct run r = {
		.checks = checks, .c = c, .id = id, .out = out, .value = BUF_INIT(MAP_VALUE_MAX)};
	enum err e = OK;
	size_t i;

	memset(out, 0, sizeof(*out));
	if (checks->header.count || checks->mime_header.count)
		e = check_header(&r);
	if (e == OK && !decided(&r) &&
		(checks->body.count || checks->mime_header.count || checks->nested_header.count))
		e = check_body(&r);
	if (e == OK && !decided(&r) && r.edit_count > 0)
		e = content_body_edit(c, r.edits, r.edit_count);
	for (i = 0; i < r.edit_count; i++)
		free((char *)r.edits[i].text.p);
	free(r.edits);
	buf_free(&r.value);
	return e;
}
