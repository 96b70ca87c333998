/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <stdlib.h>
#include <string.h>

#include "imap/seqset.h"
#include "lib/mem.h"
#include "mail/casemap.h"
#include "mail/charset.h"

enum search_argument { ARG_NONE, ARG_STRING, ARG_FIELD, ARG_KEYWORD, ARG_DATE, ARG_NUMBER };

struct search_name {
	const char *name;
	enum search_kind kind;
	enum search_argument arg;
	int negated;
	unsigned flag; /* SEARCH_FLAG */
	const char *field; /* SEARCH_HEADER under a name of its own */
};

/* RFC 3501 section 9, "search-key", but for OR, NOT, UID, sequence sets and parentheses. */
static const struct search_name search_names[] = {
	{"ALL", SEARCH_ALL},
	{"ANSWERED", SEARCH_FLAG, ARG_NONE, 0, INDEX_ANSWERED},
	{"BCC", SEARCH_HEADER, ARG_STRING, 0, 0, "Bcc"},
	{"BEFORE", SEARCH_BEFORE, ARG_DATE},
	{"BODY", SEARCH_BODY, ARG_STRING},
	{"CC", SEARCH_HEADER, ARG_STRING, 0, 0, "Cc"},
	{"DELETED", SEARCH_FLAG, ARG_NONE, 0, INDEX_DELETED},
	{"DRAFT", SEARCH_FLAG, ARG_NONE, 0, INDEX_DRAFT},
	{"FLAGGED", SEARCH_FLAG, ARG_NONE, 0, INDEX_FLAGGED},
	{"FROM", SEARCH_HEADER, ARG_STRING, 0, 0, "From"},
	{"HEADER", SEARCH_HEADER, ARG_FIELD},
	{"KEYWORD", SEARCH_KEYWORD, ARG_KEYWORD},
	{"LARGER", SEARCH_LARGER, ARG_NUMBER},
	{"NEW", SEARCH_NEW},
	{"OLD", SEARCH_RECENT, ARG_NONE, 1},
	{"ON", SEARCH_ON, ARG_DATE},
	{"RECENT", SEARCH_RECENT},
	{"SEEN", SEARCH_FLAG, ARG_NONE, 0, INDEX_SEEN},
	{"SENTBEFORE", SEARCH_SENTBEFORE, ARG_DATE},
	{"SENTON", SEARCH_SENTON, ARG_DATE},
	{"SENTSINCE", SEARCH_SENTSINCE, ARG_DATE},
	{"SINCE", SEARCH_SINCE, ARG_DATE},
	{"SMALLER", SEARCH_SMALLER, ARG_NUMBER},
	{"SUBJECT", SEARCH_HEADER, ARG_STRING, 0, 0, "Subject"},
	{"TEXT", SEARCH_TEXT, ARG_STRING},
	{"TO", SEARCH_HEADER, ARG_STRING, 0, 0, "To"},
	{"UNANSWERED", SEARCH_FLAG, ARG_NONE, 1, INDEX_ANSWERED},
	{"UNDELETED", SEARCH_FLAG, ARG_NONE, 1, INDEX_DELETED},
	{"UNDRAFT", SEARCH_FLAG, ARG_NONE, 1, INDEX_DRAFT},
	{"UNFLAGGED", SEARCH_FLAG, ARG_NONE, 1, INDEX_FLAGGED},
	{"UNKEYWORD", SEARCH_KEYWORD, ARG_KEYWORD, 1},
	{"UNSEEN", SEARCH_FLAG, ARG_NONE, 1, INDEX_SEEN},
};

enum { NAME_COUNT = sizeof(search_names) / sizeof(search_names[0]) };

/* One parse under way. */
struct search_parse {
	struct imap_session *s;
	struct imap_parser *p;
	struct search_plan *plan;
	struct str charset;
	unsigned depth;
};

static enum err parse_key(struct search_parse *sp, struct search_key **out);

static struct search_key *
key_create(enum search_kind kind)
{
	struct search_key *key = MEM_NEW(struct search_key);

	key->kind = kind;
	key->bit = -1;
	if (kind >= SEARCH_BODY)
		key->need = SEARCH_NEED_CONTENT;
	else if (kind >= SEARCH_SENTBEFORE)
		key->need = SEARCH_NEED_CACHE;
	return key;
}

/* Recursion is bounded by SEARCH_DEPTH_MAX, which the parser kept. */
static void
key_free(struct search_key *key)
{
	while (key) {
		struct search_key *next = key->next;

		key_free(key->child);
		numset_free(&key->seqs);
		buf_free(&key->needle);
		free(key);
		key = next;
	}
}

/* Behind those of the same need: what is cheap is looked at first, else the order is the client's.
 */
static void
key_add_child(struct search_key *parent, struct search_key *child)
{
	struct search_key **at = &parent->child;

	while (*at && (*at)->need <= child->need)
		at = &(*at)->next;
	child->next = *at;
	*at = child;
	if (child->need > parent->need)
		parent->need = child->need;
}

/* ---- arguments ---- */

/* An argument in the command's charset to the form that is looked for. */
static enum err
parse_needle(struct search_parse *sp, struct search_key *key)
{
	struct buf utf8 = BUF_INIT(0);
	struct str text;
	enum err e = imap_parse_astring(sp->p, &text);

	if (!e)
		e = charset_to_utf8(sp->charset, text, &utf8);
	if (!e)
		e = casemap_fold(buf_str(&utf8), &key->needle);
	buf_free(&utf8);
	return e;
}

/* A field name in the command is bounded by the line and has no business to hold odd bytes. */
static enum err
parse_field_name(struct search_parse *sp, struct str *out)
{
	enum err e = imap_parse_astring(sp->p, out);

	if (e)
		return e;
	if (out->len == 0)
		return imap_parser_fail(sp->p, E_PARSE, "expected the name of a header field");
	for (size_t i = 0; i < out->len; i++)
		if (out->p[i] <= ' ' || out->p[i] == ':' || out->p[i] >= 0x7f)
			return imap_parser_fail(
				sp->p, E_PARSE, "expected the name of a header field");
	return imap_parse_space(sp->p);
}

static enum err
parse_argument(struct search_parse *sp, const struct search_name *n, struct search_key *key)
{
	enum err e;

	if (n->arg == ARG_NONE)
		return OK;
	e = imap_parse_space(sp->p);
	if (e)
		return e;
	switch (n->arg) {
	case ARG_FIELD:
		e = parse_field_name(sp, &key->word);
		return e ? e : parse_needle(sp, key);
	case ARG_STRING:
		key->word = str_of(n->field);
		return parse_needle(sp, key);
	case ARG_KEYWORD:
		sp->plan->has_keywords = 1;
		return imap_parse_atom(sp->p, "expected a keyword", &key->word);
	case ARG_DATE:
		return imap_parse_date(sp->p, &key->day);
	default:
		return imap_parse_number(sp->p, &key->number);
	}
}

/* ---- keys ---- */

/* A sequence set, of message numbers or, behind UID, of UIDs. What is not there matches nothing. */
static enum err
parse_set(struct search_parse *sp, int uid, struct search_key **out)
{
	struct search_key *key = *out = key_create(SEARCH_SEQ);
	struct numset uids = {0};
	enum err e;

	if (!uid)
		return imap_parse_sequence_set(sp->p, imap_largest(sp->s, 0), &key->seqs);
	e = imap_parse_space(sp->p);
	if (!e)
		e = imap_parse_sequence_set(sp->p, imap_largest(sp->s, 1), &uids);
	if (!e)
		imap_seqset_from_uids(sp->s->view, &uids, &key->seqs);
	numset_free(&uids);
	return e;
}

static enum err
parse_or(struct search_parse *sp, struct search_key **out)
{
	*out = key_create(SEARCH_OR);
	for (int i = 0; i < 2; i++) {
		struct search_key *child = NULL;
		enum err e = imap_parse_space(sp->p);

		if (!e)
			e = parse_key(sp, &child);
		if (child)
			key_add_child(*out, child);
		if (e)
			return e;
	}
	return OK;
}

static enum err
parse_not(struct search_parse *sp, struct search_key **out)
{
	enum err e = imap_parse_space(sp->p);

	if (!e)
		e = parse_key(sp, out);
	if (*out)
		(*out)->negated = !(*out)->negated;
	return e;
}

static enum err
parse_parentheses(struct search_parse *sp, struct search_key **out)
{
	size_t n = 0;

	*out = key_create(SEARCH_AND);
	imap_parse_open(sp->p);
	while (imap_parse_item(sp->p, &n)) {
		struct search_key *child = NULL;
		enum err e = parse_key(sp, &child);

		if (child)
			key_add_child(*out, child);
		if (e)
			return e;
	}
	if (!sp->p->err && n == 0)
		return imap_parser_fail(sp->p, E_PARSE, "expected a search key");
	return sp->p->err;
}

static enum err
parse_named(struct search_parse *sp, struct search_key **out)
{
	struct search_plan *plan = sp->plan;
	struct str word;
	enum err e = imap_parse_word(sp->p, "expected a search key", &word);

	if (e)
		return e;
	if (str_is_i(word, "OR"))
		return parse_or(sp, out);
	if (str_is_i(word, "NOT"))
		return parse_not(sp, out);
	if (str_is_i(word, "UID"))
		return parse_set(sp, 1, out);
	for (size_t i = 0; i < NAME_COUNT; i++) {
		const struct search_name *n = &search_names[i];

		if (!str_is_i(word, n->name))
			continue;
		*out = key_create(n->kind);
		(*out)->negated = n->negated;
		(*out)->flag = n->flag;
		if (n->kind >= SEARCH_LARGER && n->kind <= SEARCH_SINCE)
			plan->has_facts = 1;
		if ((*out)->need == SEARCH_NEED_CONTENT) {
			if (plan->text_count == SEARCH_TEXTS_MAX)
				return imap_parser_fail(
					sp->p, E_TOOBIG, "too many BODY and TEXT keys");
			plan->texts[plan->text_count++] = *out;
		}
		return parse_argument(sp, n, *out);
	}
	return imap_parser_fail(sp->p, E_PARSE, "unknown search key");
}

/* *out may be set also after an error: the caller hangs it into the tree, which is freed whole. */
static enum err
parse_key(struct search_parse *sp, struct search_key **out)
{
	int c = imap_parse_peek(sp->p);
	enum err e;

	if (++sp->plan->key_count > SEARCH_KEYS_MAX)
		return imap_parser_fail(sp->p, E_TOOBIG, "too many search keys");
	if (++sp->depth > SEARCH_DEPTH_MAX)
		return imap_parser_fail(sp->p, E_TOOBIG, "search keys nested too deep");
	if (c == '(')
		e = parse_parentheses(sp, out);
	else if (c == '*' || (c >= '0' && c <= '9'))
		e = parse_set(sp, 0, out);
	else
		e = parse_named(sp, out);
	sp->depth--;
	return e;
}

/* "CHARSET" SP astring SP, if it is there (RFC 3501 section 6.4.4). */
static enum err
parse_charset(struct search_parse *sp)
{
	if (!imap_parse_try_word(sp->p, "CHARSET"))
		return OK;
	imap_parse_space(sp->p);
	imap_parse_astring(sp->p, &sp->charset);
	if (imap_parse_space(sp->p))
		return sp->p->err;
	sp->plan->bad_charset = !charset_is_known(sp->charset);
	return OK;
}

enum err
search_plan_parse(struct imap_session *s, struct imap_parser *p, struct search_plan *out)
{
	struct search_parse sp = {.s = s, .p = p, .plan = out};
	enum err e;

	memset(out, 0, sizeof(*out));
	out->root = key_create(SEARCH_AND);
	e = parse_charset(&sp);
	while (!e) {
		struct search_key *key = NULL;

		e = parse_key(&sp, &key);
		if (key)
			key_add_child(out->root, key);
		if (e || imap_parse_at_end(p))
			break;
		e = imap_parse_space(p);
	}
	return e ? e : imap_parse_end(p);
}

void
search_plan_fini(struct search_plan *plan)
{
	key_free(plan->root);
	memset(plan, 0, sizeof(*plan));
}

/* ---- keywords ---- */

static void
bind_keys(struct search_key *key, char *const *keywords, size_t count)
{
	for (; key; key = key->next) {
		bind_keys(key->child, keywords, count);
		if (key->kind != SEARCH_KEYWORD)
			continue;
		key->bit = -1;
		for (size_t i = 0; i < count && i < INDEX_KEYWORDS_MAX; i++)
			if (str_is_i(key->word, keywords[i]))
				key->bit = (int)i;
	}
}

void
search_plan_bind(struct search_plan *plan, char *const *keywords, size_t count)
{
	if (plan->has_keywords)
		bind_keys(plan->root, keywords, count);
}
