/* SPDX-License-Identifier: MIT */
#include "imap/list.h"

#include <stdlib.h>
#include <string.h>

#include "imap/acl.h"
#include "imap/metadata.h"
#include "imap/pattern.h"
#include "imap/special_use.h"
#include "imap/status.h"
#include "imap/tree.h"
#include "lib/mem.h"

/*
 * LIST and LSUB (RFC 3501 section 6.3.8, 6.3.9), with LIST-EXTENDED (RFC 5258); and XLIST, what
 * Gmail had before RFC 6154 and some clients, Outlook among them, still look for: LIST in its
 * oldest form, which tells what a mailbox is for, under the names of then too, and which one is the
 * INBOX.
 */

enum { PATTERNS_MAX = 64 };

enum list_option {
	SUBSCRIBED = 1,
	SPECIAL_USE = 2,
	REMOTE = 4, /* there are no remote mailboxes: accepted, changes nothing */
	RECURSIVEMATCH = 8,
	CHILDREN = 16, /* always told */
	STATUS = 32,
	METADATA = 64,
	MYRIGHTS = 128, /* RFC 8440 */
};

enum list_kind { KIND_LIST, KIND_LSUB, KIND_XLIST };
static const char *const kind_names[] = {"LIST", "LSUB", "XLIST"};

struct list {
	enum list_kind kind;
	int lsub;
	int extended; /* any of the three ways of RFC 5258 section 1 */
	int utf8; /* patterns and names are in UTF-8, not in modified UTF-7 */
	unsigned select, give; /* options */
	unsigned status_items;
	struct imap_metadata_request metadata; /* RFC 9590 */
	struct str reference;
	struct str names[PATTERNS_MAX];
	size_t name_count;
	struct imap_pattern *patterns[PATTERNS_MAX];
	struct imap_tree tree;
};

struct option_name {
	const char *name;
	enum list_option bit;
};
static const struct option_name select_names[] = {
	{"SUBSCRIBED", SUBSCRIBED},
	{"SPECIAL-USE", SPECIAL_USE},
	{"REMOTE", REMOTE},
	{"RECURSIVEMATCH", RECURSIVEMATCH},
	{NULL, 0},
};
static const struct option_name return_names[] = {
	{"SUBSCRIBED", SUBSCRIBED},
	{"SPECIAL-USE", SPECIAL_USE},
	{"CHILDREN", CHILDREN},
	{"STATUS", STATUS},
	{"METADATA", METADATA},
	{"MYRIGHTS", MYRIGHTS},
	{NULL, 0},
};

/* ---- parsing ---- */

static enum err
options_parse(struct imap_parser *p, const struct option_name *known, struct list *l, unsigned *out)
{
	size_t n = 0;

	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		const struct option_name *o = known;
		size_t start = p->at;
		struct str word;

		if (imap_parse_word(p, "expected a LIST option", &word))
			break;
		while (o->name && !str_is_i(word, o->name))
			o++;
		if (!o->name) {
			p->at = start;
			return imap_parser_fail(p, E_PARSE, "there is no such LIST option");
		}
		*out |= o->bit;
		if (o->bit == STATUS) {
			(void)imap_parse_space(p);
			(void)imap_parse_status_items(p, &l->status_items);
		}
		if (o->bit == METADATA) {
			(void)imap_parse_space(p);
			(void)imap_metadata_entries_parse(p, &l->metadata);
		}
	}
	return p->err;
}

static enum err
patterns_parse(struct imap_parser *p, struct list *l)
{
	size_t n = 0;

	if (imap_parse_peek(p) != '(') {
		l->name_count = 1;
		return imap_parse_list_mailbox(p, &l->names[0]);
	}
	l->extended = 1;
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		if (n > PATTERNS_MAX)
			return imap_parser_fail(p, E_TOOBIG, "too many patterns");
		(void)imap_parse_list_mailbox(p, &l->names[l->name_count++]);
	}
	if (n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a mailbox pattern");
	return p->err;
}

static enum err
list_parse(struct imap_parser *p, struct list *l)
{
	(void)imap_parse_space(p);
	if (imap_parse_peek(p) == '(' && l->kind == KIND_LIST) {
		l->extended = 1;
		if (options_parse(p, select_names, l, &l->select))
			return p->err;
		/* RFC 5258 section 3.1: it needs another option to be recursive about. */
		if ((l->select & RECURSIVEMATCH) && !(l->select & SUBSCRIBED))
			return imap_parser_fail(p, E_PARSE, "RECURSIVEMATCH needs SUBSCRIBED");
		(void)imap_parse_space(p);
	}
	(void)imap_parse_astring(p, &l->reference);
	(void)imap_parse_space(p);
	if (l->kind != KIND_LIST) {
		l->name_count = 1;
		(void)imap_parse_list_mailbox(p, &l->names[0]);
		return imap_parse_end(p);
	}
	(void)patterns_parse(p, l);
	if (imap_parse_try(p, ' ')) {
		l->extended = 1;
		if (!imap_parse_try_word(p, "RETURN"))
			return imap_parser_fail(p, E_PARSE, "expected RETURN");
		(void)imap_parse_space(p);
		(void)options_parse(p, return_names, l, &l->give);
	}
	/* Each is implied by the selection option of its name. */
	l->give |= l->select & (SUBSCRIBED | SPECIAL_USE);
	return imap_parse_end(p);
}

/* ---- answering ---- */

static void
entry_write(const struct imap_session *s, const struct list *l, const struct imap_tree_entry *e,
	struct buf *out)
{
	(void)buf_printf(out, "%s (", kind_names[l->kind]);
	(void)buf_add_cstr(out, e->has_children ? "\\HasChildren" : "\\HasNoChildren");
	if (l->lsub && !e->selected)
		(void)buf_add_cstr(out, " \\Noselect");
	else if (!l->lsub && !e->exists)
		(void)buf_add_cstr(out, l->extended ? " \\NonExistent" : " \\Noselect");
	if ((l->give & SUBSCRIBED) && e->subscribed)
		(void)buf_add_cstr(out, " \\Subscribed");
	if (l->kind == KIND_XLIST && strcmp(e->name, "INBOX") == 0)
		(void)buf_add_cstr(out, " \\Inbox");
	imap_special_use_write(e->special_use, out);
	if (l->kind == KIND_XLIST)
		imap_special_use_write_xlist(e->special_use, out);
	(void)buf_add_cstr(out, ") \"/\" ");
	imap_write_mailbox(s, out, str_of(e->name));
	if ((l->select & RECURSIVEMATCH) && e->selected_below)
		(void)buf_add_cstr(out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
}

/*
 * Whether a name that matches the pattern but is not selected itself is told, because of what lies
 * below it and is not told: RFC 5258 section 3.3 and 3.5; RFC 3501 section 6.3.8 for levels that
 * are no mailboxes, 6.3.9 for LSUB.
 */
static int
tell_as_parent(const struct list *l, const struct imap_tree_entry *e)
{
	if (l->lsub || (l->select & RECURSIVEMATCH) || (l->extended && !e->exists))
		return e->selected_unmatched_below;
	return !l->extended && !e->exists && e->has_children;
}

/* RFC 9590 section 3: one that cannot be looked up is left out. */
static void
metadata_send(struct imap_session *s, struct list *l, struct str name)
{
	struct index_mailbox box = {0};

	if (!index_mailbox_get(s->index, name, &box))
		(void)imap_metadata_send(s, box.id, name, &l->metadata);
	index_mailbox_free(&box);
}

static void
entry_send(struct imap_session *s, struct list *l, const struct imap_tree_entry *e)
{
	if (!e->matches || !(e->selected || tell_as_parent(l, e)))
		return;
	entry_write(s, l, e, &s->out);
	imap_untagged_out(s);
	if ((l->give & MYRIGHTS) && e->exists && e->selected)
		(void)imap_acl_send_myrights(s, str_of(e->name));
	/* RFC 5819 section 2: not for names that are only there for their children. */
	if ((l->give & STATUS) && e->exists && e->selected)
		(void)imap_status_send(s, str_of(e->name), l->status_items);
	if ((l->give & METADATA) && e->exists && e->selected)
		metadata_send(s, l, str_of(e->name));
}

static void
entry_judge(const struct list *l, struct imap_tree_entry *e)
{
	struct str wire = str_of(l->utf8 ? e->name : e->wire);

	e->matches = 0;
	for (size_t i = 0; i < l->name_count && !e->matches; i++)
		e->matches = imap_pattern_match(l->patterns[i], wire);
	e->selected = (l->select & SUBSCRIBED) ? e->subscribed : e->exists;
	if ((l->select & SPECIAL_USE) && !e->special_use)
		e->selected = 0;
}

static enum err
list_send(struct imap_session *s, struct list *l)
{
	enum err e;

	/* An empty name asks for the delimiter (RFC 3501 section 6.3.8), unless extended. */
	if (!l->extended && !l->lsub && l->names[0].len == 0) {
		imap_untagged(s, "%s (\\Noselect) \"/\" \"\"", kind_names[l->kind]);
		return OK;
	}
	e = imap_tree_load(s->index, ((l->select | l->give) & SUBSCRIBED) != 0, &l->tree);
	if (e)
		return e;
	for (size_t i = 0; i < l->name_count; i++)
		l->patterns[i] = imap_pattern_create(l->reference, l->names[i]);
	for (size_t i = 0; i < l->tree.n; i++)
		entry_judge(l, &l->tree.v[i]);
	imap_tree_mark_parents(&l->tree);
	for (size_t i = 0; i < l->tree.n; i++)
		entry_send(s, l, &l->tree.v[i]);
	return OK;
}

/* ---- one name, unasked ---- */

struct child {
	const char *parent;
	size_t len;
	int found;
};

static enum err
child_find(const struct index_mailbox *m, void *arg)
{
	struct child *c = arg;

	if (strncmp(m->name, c->parent, c->len) != 0 || m->name[c->len] != '/')
		return OK;
	c->found = 1;
	return E_CANCELLED;
}

void
imap_list_send_one(struct imap_session *s, const struct index_mailbox *box, const char *old_name)
{
	struct child c = {.parent = box->name, .len = strlen(box->name)};
	struct imap_list_entry line = {.name = box->name,
		.exists = 1,
		.special_use = box->special_use,
		.old_name = old_name};

	(void)index_mailbox_each(s->index, child_find, &c);
	line.has_children = c.found;
	imap_list_send_entry(s, &line);
}

void
imap_list_send_entry(struct imap_session *s, const struct imap_list_entry *e)
{
	(void)buf_printf(&s->out, "LIST (%s%s%s%s",
		e->has_children ? "\\HasChildren" : "\\HasNoChildren",
		e->exists ? "" : " \\NonExistent", e->no_access ? " \\NoAccess" : "",
		e->subscribed ? " \\Subscribed" : "");
	imap_special_use_write(e->special_use, &s->out);
	(void)buf_add_cstr(&s->out, ") \"/\" ");
	imap_write_mailbox(s, &s->out, str_of(e->name));
	if (e->old_name) {
		(void)buf_add_cstr(&s->out, " (\"OLDNAME\" (");
		imap_write_mailbox(s, &s->out, str_of(e->old_name));
		(void)buf_add_cstr(&s->out, "))");
	}
	imap_untagged_out(s);
}

static enum err
list_run(struct imap_session *s, struct imap_parser *p, enum list_kind kind)
{
	struct list *l = MEM_NEW(struct list);
	enum err e;

	l->kind = kind;
	l->lsub = kind == KIND_LSUB;
	l->utf8 = imap_uses_utf8(s);
	if (l->lsub)
		l->select = SUBSCRIBED;
	e = list_parse(p, l);
	if (!e && (l->status_items & IMAP_STATUS_HIGHESTMODSEQ))
		imap_enable(s, IMAP_CONDSTORE);
	if (!e)
		e = list_send(s, l);
	for (size_t i = 0; i < l->name_count; i++)
		imap_pattern_free(&l->patterns[i]);
	imap_tree_free(&l->tree);
	free(l);
	if (p->err)
		return p->err;
	if (e)
		return imap_reply_error(s, e, "mailbox");
	return imap_reply_ok(s, NULL, kind == KIND_LSUB ? "Lsub completed" : "List completed");
}

static enum err
run_list(struct imap_session *s, struct imap_parser *p)
{
	return list_run(s, p, KIND_LIST);
}

static enum err
run_lsub(struct imap_session *s, struct imap_parser *p)
{
	return list_run(s, p, KIND_LSUB);
}

static enum err
run_xlist(struct imap_session *s, struct imap_parser *p)
{
	return list_run(s, p, KIND_XLIST);
}

const struct imap_command imap_command_list = {
	.name = "LIST",
	.rfc = "3501 6.3.8",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "LIST-EXTENDED LIST-STATUS LIST-METADATA SPECIAL-USE",
	.run = run_list,
};
const struct imap_command imap_command_lsub = {
	.name = "LSUB",
	.rfc = "3501 6.3.9",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_lsub,
};
const struct imap_command imap_command_xlist = {
	.name = "XLIST",
	.rfc = "6154 1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "XLIST",
	.run = run_xlist,
};
