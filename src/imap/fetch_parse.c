/* SPDX-License-Identifier: MIT */
#include "imap/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

struct fetch_name {
	const char *name;
	enum fetch_kind kind;
	enum fetch_need need;
	enum section_kind section; /* of FETCH_SECTION */
	int seen; /* sets \Seen */
};

/* RFC 3501 section 9, "fetch-att", but for those with a section or modifiers behind the name. */
static const struct fetch_name fetch_names[] = {
	{"UID", FETCH_UID, FETCH_NEED_RECORD},
	{"FLAGS", FETCH_FLAGS, FETCH_NEED_RECORD},
	{"INTERNALDATE", FETCH_INTERNALDATE, FETCH_NEED_RECORD},
	{"RFC822.SIZE", FETCH_RFC822_SIZE, FETCH_NEED_RECORD},
	{"MODSEQ", FETCH_MODSEQ, FETCH_NEED_RECORD},
	{"ENVELOPE", FETCH_ENVELOPE, FETCH_NEED_CACHE},
	{"BODY", FETCH_BODY, FETCH_NEED_CACHE},
	{"BODYSTRUCTURE", FETCH_BODYSTRUCTURE, FETCH_NEED_CACHE},
	{"SAVEDATE", FETCH_SAVEDATE, FETCH_NEED_RECORD},
	{"EMAILID", FETCH_EMAILID, FETCH_NEED_RECORD},
	{"THREADID", FETCH_THREADID, FETCH_NEED_RECORD},
	{"RFC822", FETCH_SECTION, FETCH_NEED_CONTENT, SECTION_ALL, 1},
	{"RFC822.HEADER", FETCH_SECTION, FETCH_NEED_CONTENT, SECTION_HEADER, 0},
	{"RFC822.TEXT", FETCH_SECTION, FETCH_NEED_CONTENT, SECTION_TEXT, 1},
};

/* RFC 3501 section 6.4.5: each stands alone, never in a list. */
static const struct {
	const char *name;
	enum fetch_kind kinds[5];
	size_t count;
} fetch_macros[] = {
	{"ALL", {FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_RFC822_SIZE, FETCH_ENVELOPE}, 4},
	{"FAST", {FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_RFC822_SIZE}, 3},
	{"FULL", {FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_RFC822_SIZE, FETCH_ENVELOPE, FETCH_BODY},
		5},
};

/* UID and MODSEQ may come on top of those that were asked for. */
enum { ITEMS_ROOM = FETCH_ITEMS_MAX + 2 };
enum { NAME_COUNT = sizeof(fetch_names) / sizeof(fetch_names[0]) };
enum { MACRO_COUNT = sizeof(fetch_macros) / sizeof(fetch_macros[0]) };

static struct fetch_item *
add_item(struct fetch_plan *plan, enum fetch_kind kind, enum fetch_need need)
{
	struct fetch_item *item;

	/* Room for all at once: items hold sections, which are better not moved about. */
	if (!plan->items)
		plan->items = mem_zalloc(ITEMS_ROOM * sizeof(*plan->items));
	item = &plan->items[plan->count++];
	item->kind = kind;
	if (need > plan->need)
		plan->need = need;
	if (kind == FETCH_FLAGS)
		plan->has_flags = 1;
	if (kind == FETCH_UID)
		plan->has_uid = 1;
	if (kind == FETCH_MODSEQ)
		plan->has_modseq = 1;
	if (kind == FETCH_INTERNALDATE || kind == FETCH_RFC822_SIZE)
		plan->has_facts = 1;
	if (kind == FETCH_EMAILID || kind == FETCH_THREADID)
		plan->has_ids = 1;
	return item;
}

static void
add_kind(struct fetch_plan *plan, enum fetch_kind kind)
{
	for (size_t i = 0; i < NAME_COUNT; i++) {
		if (fetch_names[i].kind == kind) {
			add_item(plan, kind, fetch_names[i].need);
			return;
		}
	}
}

/* Those with a section behind them. */
static const struct section_name {
	const char *name, *label;
	enum fetch_kind kind;
	int seen; /* sets \Seen */
	int partial; /* may have "<off.count>" */
} section_names[] = {
	{"BODY", "BODY[", FETCH_SECTION, 1, 1},
	{"BODY.PEEK", "BODY[", FETCH_SECTION, 0, 1},
	{"BINARY", "BINARY[", FETCH_BINARY, 1, 1},
	{"BINARY.PEEK", "BINARY[", FETCH_BINARY, 0, 1},
	{"BINARY.SIZE", "BINARY.SIZE[", FETCH_BINARY_SIZE, 0, 0},
};

static const struct section_name *
section_name_find(struct str word)
{
	for (size_t i = 0; i < sizeof(section_names) / sizeof(section_names[0]); i++)
		if (str_is_i(word, section_names[i].name))
			return &section_names[i];
	return NULL;
}

/* "[section]<partial>" */
static enum err
parse_section(struct imap_parser *p, const struct section_name *name, struct fetch_plan *plan)
{
	struct fetch_item *item = add_item(plan, name->kind, FETCH_NEED_CACHE);
	enum fetch_need need = FETCH_NEED_CONTENT;

	imap_parse_section(p, &item->section);
	if (!p->err && name->kind != FETCH_SECTION && item->section.kind != SECTION_ALL)
		return imap_parser_fail(p, E_PARSE, "only part numbers can stand here");
	if (name->partial)
		imap_parse_partial(p, &item->partial, &item->off, &item->count);
	if (p->err)
		return p->err;
	/*
	 * RFC 3501's numbers have 32 bits, RFC 9051's offsets 63. What is added to them later must
	 * not overflow either.
	 */
	if (item->partial && (item->off > INT64_MAX || item->count > INT64_MAX))
		return imap_parser_fail(p, E_PARSE, "the range is too large");
	if (item->section.kind == SECTION_HEADER_FIELDS && item->section.path_len == 0)
		need = FETCH_NEED_CACHE;
	if (need > plan->need)
		plan->need = need;
	plan->marks_seen |= name->seen;

	buf_add_cstr(&item->label, name->label);
	section_format(&item->section, &item->label);
	buf_add_char(&item->label, ']');
	if (item->partial) {
		buf_add_char(&item->label, '<');
		buf_add_u64(&item->label, item->off);
		buf_add_char(&item->label, '>');
	}
	return item->label.err;
}

/* RFC 8970 section 4. Other parentheses behind it are not its own. */
static enum err
parse_preview(struct imap_parser *p, struct fetch_plan *plan)
{
	int lazy = imap_parse_try_text(p, " (LAZY)");
	struct fetch_item *item =
		add_item(plan, FETCH_PREVIEW, lazy ? FETCH_NEED_PEEK : FETCH_NEED_CACHE);

	item->lazy = lazy;
	return p->err;
}

static enum err
parse_named(struct imap_parser *p, struct str word, struct fetch_plan *plan)
{
	for (size_t i = 0; i < NAME_COUNT; i++) {
		const struct fetch_name *n = &fetch_names[i];
		struct fetch_item *item;

		if (!str_is_i(word, n->name))
			continue;
		item = add_item(plan, n->kind, n->need);
		plan->marks_seen |= n->seen;
		if (n->kind == FETCH_SECTION) {
			item->section.kind = n->section;
			buf_add_cstr(&item->label, n->name);
		}
		return OK;
	}
	return imap_parser_fail(p, E_PARSE, "unknown FETCH item");
}

static enum err
parse_item(struct imap_parser *p, struct str word, struct fetch_plan *plan)
{
	const struct section_name *name = section_name_find(word);

	if (plan->count >= FETCH_ITEMS_MAX)
		return imap_parser_fail(p, E_TOOBIG, "too many FETCH items");
	if (imap_parse_peek(p) == '[' && name)
		return parse_section(p, name, plan);
	if (str_is_i(word, "PREVIEW"))
		return parse_preview(p, plan);
	return parse_named(p, word, plan);
}

static enum err
parse_list(struct imap_parser *p, struct fetch_plan *plan)
{
	size_t n = 0;

	imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		struct str word;

		imap_parse_word(p, "expected a FETCH item", &word);
		if (p->err || parse_item(p, word, plan))
			return p->err;
	}
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a FETCH item");
	return p->err;
}

/* A single item or a macro. */
static enum err
parse_single(struct imap_parser *p, struct fetch_plan *plan)
{
	struct str word;
	enum err e = imap_parse_word(p, "expected a FETCH item", &word);

	if (e)
		return e;
	for (size_t i = 0; i < MACRO_COUNT; i++) {
		if (!str_is_i(word, fetch_macros[i].name))
			continue;
		for (size_t k = 0; k < fetch_macros[i].count; k++)
			add_kind(plan, fetch_macros[i].kinds[k]);
		return OK;
	}
	return parse_item(p, word, plan);
}

/* UID is answered first; one that was asked for keeps its place (RFC 3501 section 6.4.8). */
static void
ensure_uid(struct fetch_plan *plan)
{
	if (plan->has_uid)
		return;
	plan->has_uid = 1;
	memmove(plan->items + 1, plan->items, plan->count * sizeof(*plan->items));
	plan->items[0] = (struct fetch_item){.kind = FETCH_UID};
	plan->count++;
}

/* " (CHANGEDSINCE n VANISHED PARTIAL 1:9)" (RFC 7162 section 3.1.4.1, 3.2.6, RFC 9394). */
static enum err
parse_modifiers(struct imap_parser *p, struct fetch_plan *plan)
{
	size_t n = 0;

	imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		size_t start = p->at;
		struct str word;

		if (imap_parse_word(p, "expected a FETCH modifier", &word))
			break;
		if (str_is_i(word, "CHANGEDSINCE") && !plan->is_changed_since) {
			plan->is_changed_since = 1;
			imap_parse_space(p);
			imap_parse_number64(p, &plan->changed_since);
		} else if (str_is_i(word, "VANISHED") && !plan->vanished) {
			plan->vanished = 1;
		} else if (str_is_i(word, "PARTIAL") && !plan->is_partial) {
			plan->is_partial = 1;
			imap_parse_space(p);
			imap_parse_partial_range(
				p, &plan->from_end, &plan->partial_from, &plan->partial_to);
		} else {
			p->at = start;
			return imap_parser_fail(p, E_PARSE, "there is no such FETCH modifier");
		}
	}
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a FETCH modifier");
	if (!p->err && plan->vanished && !plan->is_changed_since)
		return imap_parser_fail(p, E_PARSE, "VANISHED needs CHANGEDSINCE");
	/* The array has room for it behind FETCH_ITEMS_MAX. */
	if (!p->err && plan->is_changed_since && !plan->has_modseq)
		add_kind(plan, FETCH_MODSEQ);
	return p->err;
}

void
fetch_plan_resync(uint64_t since, struct fetch_plan *out)
{
	memset(out, 0, sizeof(*out));
	add_kind(out, FETCH_UID);
	add_kind(out, FETCH_FLAGS);
	add_kind(out, FETCH_MODSEQ);
	out->is_changed_since = 1;
	out->changed_since = since;
	out->vanished = 1;
}

enum err
fetch_plan_parse(struct imap_parser *p, int with_uid, struct fetch_plan *out)
{
	enum err e;

	memset(out, 0, sizeof(*out));
	e = imap_parse_peek(p) == '(' ? parse_list(p, out) : parse_single(p, out);
	if (!e && imap_parse_try(p, ' '))
		e = parse_modifiers(p, out);
	if (!e)
		e = imap_parse_end(p);
	if (!e && with_uid)
		ensure_uid(out);
	return e;
}

enum err
fetch_plan_parse_list(struct imap_parser *p, struct fetch_plan *out)
{
	enum err e;

	memset(out, 0, sizeof(*out));
	e = parse_list(p, out);
	if (!e)
		ensure_uid(out);
	return e;
}

void
fetch_plan_fini(struct fetch_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		section_fini(&plan->items[i].section);
		buf_free(&plan->items[i].label);
	}
	free(plan->items);
	memset(plan, 0, sizeof(*plan));
}
