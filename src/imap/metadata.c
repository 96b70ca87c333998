/* SPDX-License-Identifier: MIT */
#include "imap/metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imap/notify.h"
#include "imap/search.h"
#include "lib/mem.h"

/* GETMETADATA and SETMETADATA (RFC 5464): annotations of mailboxes and of the account. */

/* ---- what is asked for ---- */

static enum err
entry_parse(struct imap_parser *p, struct str *out)
{
	size_t start = p->at;
	enum err e = imap_parse_astring(p, out);

	if (!e && (out->len == 0 || out->p[0] != '/' || str_find(*out, 0, '*') < out->len ||
			  str_find(*out, 0, '%') < out->len)) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "expected the name of an entry, \"/...\"");
	}
	return e;
}

enum err
imap_metadata_entries_parse(struct imap_parser *p, struct imap_metadata_request *out)
{
	size_t n = 0;

	out->count = 0;
	if (imap_parse_peek(p) != '(') {
		out->count = 1;
		return entry_parse(p, &out->entries[0]);
	}
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		if (n > IMAP_METADATA_ENTRIES_MAX)
			return imap_parser_fail(p, E_TOOBIG, "too many entries");
		(void)entry_parse(p, &out->entries[out->count++]);
	}
	if (n == 0)
		return imap_parser_fail(p, E_PARSE, "expected the name of an entry");
	return p->err;
}

static enum err
depth_parse(struct imap_parser *p, struct imap_metadata_request *out)
{
	struct str word;

	if (imap_parse_word(p, "expected 0, 1 or infinity", &word))
		return p->err;
	if (str_is(word, "0"))
		out->depth = 0;
	else if (str_is(word, "1"))
		out->depth = 1;
	else if (str_is_i(word, "infinity"))
		out->depth = IMAP_METADATA_DEPTH_ALL;
	else
		return imap_parser_fail(p, E_PARSE, "expected 0, 1 or infinity");
	return OK;
}

/* "(MAXSIZE 1024 DEPTH 1)" */
static enum err
options_parse(struct imap_parser *p, struct imap_metadata_request *out)
{
	size_t n = 0;

	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		if (imap_parse_try_word(p, "MAXSIZE")) {
			out->has_max = 1;
			(void)imap_parse_space(p);
			(void)imap_parse_number64(p, &out->max);
		} else if (imap_parse_try_word(p, "DEPTH")) {
			(void)imap_parse_space(p);
			(void)depth_parse(p, out);
		} else {
			return imap_parser_fail(p, E_PARSE, "expected MAXSIZE or DEPTH");
		}
	}
	return p->err;
}

/* ---- what is told ---- */

struct answer {
	struct imap_session *s;
	struct imap_metadata_request *request;
	int found[IMAP_METADATA_ENTRIES_MAX]; /* the entry itself is there */
	size_t told;
	struct buf *out;
};

/* How many levels name lies below entry; -1: not at all. */
static int
levels_below(struct str entry, struct str name)
{
	int levels = 0;

	if (name.len < entry.len || !str_equal_i(str_make(name.p, entry.len), entry))
		return -1;
	if (name.len > entry.len && name.p[entry.len] != '/')
		return -1;
	for (size_t i = entry.len; i < name.len; i++)
		levels += name.p[i] == '/';
	return levels;
}

static void
value_write(struct buf *out, struct str value)
{
	if (value.len > 0 && memchr(value.p, '\0', value.len)) {
		(void)buf_printf(out, "~{%zu}\r\n", value.len);
		(void)buf_add_str(out, value);
	} else {
		imap_write_string(out, value);
	}
}

static void
entry_write(struct answer *a, struct str name)
{
	(void)buf_add_cstr(a->out, a->told++ ? " " : "");
	imap_write_astring(a->out, name);
	(void)buf_add_char(a->out, ' ');
}

static enum err
visit(struct str name, struct str value, void *arg)
{
	struct answer *a = arg;
	struct imap_metadata_request *r = a->request;
	int wanted = 0;

	for (size_t i = 0; i < r->count; i++) {
		int levels = levels_below(r->entries[i], name);

		a->found[i] |= levels == 0;
		wanted |=
			levels >= 0 && (r->depth == IMAP_METADATA_DEPTH_ALL || levels <= r->depth);
	}
	if (!wanted)
		return OK;
	if (r->has_max && value.len > r->max) {
		if (value.len > r->longest)
			r->longest = value.len;
		return OK;
	}
	entry_write(a, name);
	value_write(a->out, value);
	return OK;
}

/* What the administrator says of the server (section 6.2.1 of RFC 5464); no client sets it. */
static void
server_entries_visit(struct answer *a)
{
	const struct config *conf = a->s->conf;

	if (conf->server_admin[0])
		(void)visit(STR("/shared/admin"), str_of(conf->server_admin), a);
	if (conf->server_comment[0])
		(void)visit(STR("/shared/comment"), str_of(conf->server_comment), a);
}

enum err
imap_metadata_send(struct imap_session *s, uint32_t mailbox, struct str name,
	struct imap_metadata_request *request)
{
	struct answer a = {.s = s, .request = request, .out = &s->out};
	enum err e;

	(void)buf_add_cstr(&s->out, "METADATA ");
	if (mailbox == INDEX_METADATA_SERVER)
		(void)buf_add_cstr(&s->out, "\"\"");
	else
		imap_write_mailbox(s, &s->out, name);
	(void)buf_add_cstr(&s->out, " (");
	e = index_metadata_each(s->index, mailbox, visit, &a);
	if (!e && mailbox == INDEX_METADATA_SERVER)
		server_entries_visit(&a);
	for (size_t i = 0; i < request->count && request->depth == 0 && !e; i++) {
		if (a.found[i])
			continue;
		entry_write(&a, request->entries[i]);
		(void)buf_add_cstr(a.out, "NIL");
	}
	if (e || a.told == 0) {
		buf_reset(&s->out);
		return e;
	}
	(void)buf_add_char(&s->out, ')');
	imap_untagged_out(s);
	return OK;
}

/* ---- the commands ---- */

/* The mailbox of a command, or with an empty name the server. */
static enum err
mailbox_find(struct imap_session *s, struct str name, uint32_t *id)
{
	struct index_mailbox box = {0};
	enum err e = OK;

	*id = INDEX_METADATA_SERVER;
	if (name.len > 0) {
		e = index_mailbox_get(s->index, name, &box);
		*id = box.id;
		index_mailbox_free(&box);
	}
	return e;
}

/* The options come in front of the mailbox by section 5, behind it in the examples: both are taken.
 */
static enum err
get_parse(struct imap_parser *p, struct imap_metadata_request *r, struct str *name)
{
	(void)imap_parse_space(p);
	if (imap_parse_peek(p) == '(') {
		(void)options_parse(p, r);
		(void)imap_parse_space(p);
	}
	(void)imap_parse_mailbox(p, name);
	(void)imap_parse_space(p);
	/* An entry begins with "/" or is quoted, which no option does. */
	if (imap_parse_peek_text(p, "(MAXSIZE ") || imap_parse_peek_text(p, "(DEPTH ")) {
		(void)options_parse(p, r);
		(void)imap_parse_space(p);
	}
	(void)imap_metadata_entries_parse(p, r);
	return imap_parse_end(p);
}

static enum err
run_get(struct imap_session *s, struct imap_parser *p)
{
	struct imap_metadata_request *r = MEM_NEW(struct imap_metadata_request);
	struct str name;
	uint32_t mailbox;
	char code[64];
	enum err e;

	if (get_parse(p, r, &name)) {
		free(r);
		return p->err;
	}
	e = mailbox_find(s, name, &mailbox);
	if (!e)
		e = imap_metadata_send(s, mailbox, name, r);
	snprintf(code, sizeof(code), "METADATA LONGENTRIES %" PRIu64, r->longest);
	e = e ? imap_reply_error(s, e, "mailbox")
	      : imap_reply_ok(s, r->longest ? code : NULL, "Getmetadata completed");
	free(r);
	return e;
}

struct set {
	struct index_metadata entries[IMAP_METADATA_ENTRIES_MAX];
	size_t count;
};

static enum err
set_parse(struct imap_parser *p, struct set *set, struct str *name)
{
	size_t n = 0;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, name);
	(void)imap_parse_space(p);
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		struct index_metadata *m = &set->entries[set->count];

		if (n > IMAP_METADATA_ENTRIES_MAX)
			return imap_parser_fail(p, E_TOOBIG, "too many entries");
		(void)entry_parse(p, &m->name);
		(void)imap_parse_space(p);
		(void)imap_parse_nstring8(p, &m->value, &m->is_nil);
		set->count++;
	}
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected an entry and its value");
	return imap_parse_end(p);
}

/* The server's shared entries are the administrator's (RFC 5464 section 3.3). */
static int
may_set(const struct set *set, uint32_t mailbox)
{
	if (mailbox != INDEX_METADATA_SERVER)
		return 1;
	for (size_t i = 0; i < set->count; i++)
		if (str_starts_i(set->entries[i].name, "/shared/"))
			return 0;
	return 1;
}

/* RFC 5466 section 3.2: only what can be searched for becomes a filter. */
static int
filters_are_good(struct imap_session *s, const struct set *set, uint32_t mailbox)
{
	for (size_t i = 0; i < set->count && mailbox == INDEX_METADATA_SERVER; i++) {
		const struct index_metadata *m = &set->entries[i];

		if (str_starts_i(m->name, "/private/filters/values/") && !m->is_nil &&
			!search_is_filter(s, m->value))
			return 0;
	}
	return 1;
}

static enum err
set_reply(struct imap_session *s, enum err e)
{
	char code[64];

	snprintf(code, sizeof(code), "METADATA MAXSIZE %d", INDEX_METADATA_VALUE_MAX);
	switch (e) {
	case OK:
		return imap_reply_ok(s, NULL, "Setmetadata completed");
	case E_TOOBIG:
		return imap_reply_no(s, code, "The value is too long");
	case E_QUOTA:
		return imap_reply_no(
			s, "METADATA TOOMANY", "Too many entries, or too much in them");
	case E_RANGE:
		return imap_reply_no(s, "CANNOT",
			"Entries begin with /private/ or /shared/ and have no controls");
	default:
		return imap_reply_error(s, e, "mailbox");
	}
}

static enum err
run_set(struct imap_session *s, struct imap_parser *p)
{
	struct set *set = MEM_NEW(struct set);
	struct str name;
	uint32_t mailbox;
	enum err e;

	if (set_parse(p, set, &name)) {
		free(set);
		return p->err;
	}
	e = mailbox_find(s, name, &mailbox);
	if (!e && !may_set(set, mailbox))
		e = E_ACCESS;
	if (!e && !filters_are_good(s, set, mailbox)) {
		free(set);
		return imap_reply_no(s, "CANNOT", "The value of a filter is a search");
	}
	if (!e)
		e = index_metadata_set(s->index, mailbox, set->entries, set->count);
	if (!e)
		imap_notify_own_metadata(s, mailbox, set->entries, set->count);
	free(set);
	return set_reply(s, e);
}

const struct imap_command imap_command_getmetadata = {
	.name = "GETMETADATA",
	.rfc = "5464 4.2",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "METADATA",
	.run = run_get,
};
const struct imap_command imap_command_setmetadata = {
	.name = "SETMETADATA",
	.rfc = "5464 4.3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_set,
};
