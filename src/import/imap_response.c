/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "import/imap_in.h"
#include "lib/mem.h"
#include "mail/date.h"

static enum err
proto(struct imap_in *in)
{
	if (!in->err)
		in->err = E_PROTO;
	return in->err;
}

/* The next token must be of this kind. */
static enum err
expect(struct imap_in *in, enum imap_token_kind kind, struct imap_token *t)
{
	enum err e = imap_in_token(in, t);

	return e == OK && t->kind != kind ? proto(in) : e;
}

/* A value that nobody asked for: a token, or a list with all that is in it. */
static enum err
skip_value(struct imap_in *in)
{
	unsigned depth = in->depth;
	struct imap_token t;
	enum err e;

	do {
		e = imap_in_token(in, &t);
		if (e == OK && t.kind == IMAP_LITERAL)
			e = imap_in_literal(in, t.size, NULL, NULL);
		if (e == OK && (t.kind == IMAP_EOL || in->depth < depth))
			e = proto(in);
	} while (e == OK && in->depth > depth);
	return e;
}

/* ---- FETCH ---- */

static enum err
read_flags(struct imap_in *in, struct imap_fetch *f)
{
	struct imap_token t;
	enum err e = expect(in, IMAP_OPEN, &t);

	import_flags_free(&f->flags);
	f->has_flags = 1;
	while (e == OK) {
		e = imap_in_token(in, &t);
		if (e || t.kind == IMAP_CLOSE)
			break;
		if (t.kind != IMAP_ATOM)
			return proto(in);
		import_flags_add(&f->flags, t.text);
	}
	return e;
}

static enum err
read_date(struct imap_in *in, struct imap_fetch *f)
{
	struct imap_token t;
	int zone;
	time_t when;
	enum err e = imap_in_token(in, &t);

	if (e)
		return e;
	if (t.kind != IMAP_QUOTED && t.kind != IMAP_ATOM)
		return proto(in);
	if (date_parse_imap(t.text, &when, &zone) == OK)
		f->date = when;
	return OK;
}

static enum err
read_body(struct imap_in *in, struct imap_fetch *f)
{
	struct imap_token t;
	enum err e = imap_in_token(in, &t);

	if (e)
		return e;
	if (t.kind == IMAP_ATOM && str_is_i(t.text, "NIL"))
		return OK;
	if (t.kind == IMAP_LITERAL || t.kind == IMAP_QUOTED) {
		f->has_body = 1;
		if (f->body_start)
			f->body_start(t.kind == IMAP_QUOTED ? t.text.len : t.size, f->arg);
		if (t.kind == IMAP_LITERAL)
			return imap_in_literal(in, t.size, f->body_write, f->arg);
		if (f->body_write)
			f->body_write(t.text.p, t.text.len, f->arg);
		return OK;
	}
	return proto(in);
}

enum err
imap_fetch_read(struct imap_in *in, struct imap_fetch *f)
{
	struct imap_token t;
	enum err e = expect(in, IMAP_OPEN, &t);

	f->uid = 0;
	f->has_flags = f->has_body = 0;
	f->date = 0;
	while (e == OK) {
		e = imap_in_token(in, &t);
		if (e || t.kind == IMAP_CLOSE)
			break;
		if (t.kind != IMAP_ATOM)
			return proto(in);
		if (str_is_i(t.text, "UID")) {
			e = expect(in, IMAP_ATOM, &t);
			if (e == OK && (str_to_u32(t.text, &f->uid) || f->uid == 0))
				e = proto(in);
		} else if (str_is_i(t.text, "FLAGS")) {
			e = read_flags(in, f);
		} else if (str_is_i(t.text, "INTERNALDATE")) {
			e = read_date(in, f);
		} else if (str_is_i(t.text, "BODY[]") && !f->has_body) {
			e = read_body(in, f);
		} else {
			e = skip_value(in);
		}
	}
	return e ? e : expect(in, IMAP_EOL, &t);
}

/* ---- LIST ---- */

static const struct {
	const char *name;
	unsigned use;
} uses[] = {
	{"\\All", INDEX_USE_ALL},
	{"\\AllMail", INDEX_USE_ALL}, /* XLIST's word */
	{"\\Archive", INDEX_USE_ARCHIVE},
	{"\\Drafts", INDEX_USE_DRAFTS},
	{"\\Flagged", INDEX_USE_FLAGGED},
	{"\\Starred", INDEX_USE_FLAGGED},
	{"\\Junk", INDEX_USE_JUNK},
	{"\\Spam", INDEX_USE_JUNK},
	{"\\Sent", INDEX_USE_SENT},
	{"\\Trash", INDEX_USE_TRASH},
};

static void
list_attribute(struct imap_list *l, struct str name)
{
	if (str_is_i(name, "\\Noselect") || str_is_i(name, "\\NonExistent"))
		l->no_select = 1;
	else if (str_is_i(name, "\\Noinferiors"))
		l->no_inferiors = 1;
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
		if (str_is_i(name, uses[i].name))
			l->special_use = uses[i].use;
}

/* NIL or one character in quotes. */
static enum err
read_separator(struct imap_in *in, char *out)
{
	struct imap_token t;
	enum err e = imap_in_token(in, &t);

	*out = 0;
	if (e)
		return e;
	if (t.kind == IMAP_QUOTED && t.text.len == 1)
		*out = t.text.p[0];
	else if (!(t.kind == IMAP_ATOM && str_is_i(t.text, "NIL")) &&
		 !(t.kind == IMAP_QUOTED && t.text.len == 0))
		return proto(in);
	return OK;
}

enum err
imap_list_read(struct imap_in *in, struct imap_list *out)
{
	struct imap_token t;
	enum err e = expect(in, IMAP_OPEN, &t);

	*out = (struct imap_list){.name = BUF_INIT(IMAP_IN_TEXT_MAX)};
	while (e == OK) {
		e = imap_in_token(in, &t);
		if (e || t.kind == IMAP_CLOSE)
			break;
		if (t.kind != IMAP_ATOM)
			return proto(in);
		list_attribute(out, t.text);
	}
	if (e == OK)
		e = read_separator(in, &out->separator);
	if (e == OK)
		e = imap_in_string(in, &out->name, NULL);
	return e ? e : imap_in_skip(in);
}

/* ---- NAMESPACE ---- */

/* "((prefix separator extensions) ...)" or NIL. */
static enum err
read_namespace_class(struct imap_in *in, struct imap_namespaces *out, int personal)
{
	struct imap_token t;
	enum err e = imap_in_token(in, &t);

	if (e || (t.kind == IMAP_ATOM && str_is_i(t.text, "NIL")))
		return e;
	if (t.kind != IMAP_OPEN)
		return proto(in);
	while (e == OK) {
		struct imap_namespace ns = {.personal = personal};
		struct buf prefix = BUF_INIT(IMAP_IN_TEXT_MAX);
		unsigned depth;

		e = imap_in_token(in, &t);
		if (e || t.kind == IMAP_CLOSE)
			break;
		if (t.kind != IMAP_OPEN)
			return proto(in);
		depth = in->depth;
		e = imap_in_string(in, &prefix, NULL);
		if (e == OK)
			e = read_separator(in, &ns.separator);
		while (e == OK && in->depth >= depth) {
			e = imap_in_token(in, &t);
			if (e == OK && t.kind == IMAP_LITERAL)
				e = imap_in_literal(in, t.size, NULL, NULL);
			if (e == OK && t.kind == IMAP_EOL)
				e = proto(in);
		}
		if (e == OK && out->count < IMAP_NAMESPACES_MAX) {
			ns.prefix = mem_strndup(prefix.p ? prefix.p : "", prefix.len);
			out->all[out->count++] = ns;
		}
		buf_free(&prefix);
	}
	return e;
}

enum err
imap_namespaces_read(struct imap_in *in, struct imap_namespaces *out)
{
	enum err e = OK;

	for (int i = 0; i < 3 && e == OK; i++)
		e = read_namespace_class(in, out, i == 0);
	return e ? e : imap_in_skip(in);
}

void
imap_namespaces_free(struct imap_namespaces *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->all[i].prefix);
	n->count = 0;
}
