/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "imap/search_words.h"
#include "imap/seqset.h"
#include "lib/hex.h"
#include "lib/mem.h"
#include "mail/casemap.h"
#include "mail/charset.h"

enum search_argument {
	ARG_NONE,
	ARG_STRING,
	ARG_ADDRESS, /* a string that is looked for in addresses */
	ARG_FIELD,
	ARG_KEYWORD,
	ARG_DATE,
	ARG_SIZE,
	ARG_SECONDS,
	ARG_MODSEQ,
	ARG_ID,
	ARG_UID,
};

struct search_name {
	const char *name;
	enum search_kind kind;
	enum search_argument arg;
	int negated;
	unsigned flag; /* SEARCH_FLAG; of a UID: those behind it, not in front */
	const char *field; /* SEARCH_HEADER under a name of its own */
};

/*
 * "search-key" of RFC 3501 and RFC 9051 section 9, RFC 5032 (OLDER, YOUNGER), RFC 7162 (MODSEQ),
 * RFC 8474 (EMAILID, THREADID), RFC 8514 (SAVED...), but for OR, NOT, FUZZY, UID, sets and
 * parentheses.
 */
static const struct search_name search_names[] = {
	{"ALL", SEARCH_ALL},
	{"ANSWERED", SEARCH_FLAG, ARG_NONE, 0, INDEX_ANSWERED},
	{"BCC", SEARCH_HEADER, ARG_ADDRESS, 0, 0, "Bcc"},
	{"BEFORE", SEARCH_BEFORE, ARG_DATE},
	{"BODY", SEARCH_BODY, ARG_STRING},
	{"CC", SEARCH_HEADER, ARG_ADDRESS, 0, 0, "Cc"},
	{"DELETED", SEARCH_FLAG, ARG_NONE, 0, INDEX_DELETED},
	{"DRAFT", SEARCH_FLAG, ARG_NONE, 0, INDEX_DRAFT},
	{"EMAILID", SEARCH_EMAILID, ARG_ID},
	{"FLAGGED", SEARCH_FLAG, ARG_NONE, 0, INDEX_FLAGGED},
	{"FROM", SEARCH_HEADER, ARG_ADDRESS, 0, 0, "From"},
	{"HEADER", SEARCH_HEADER, ARG_FIELD},
	{"KEYWORD", SEARCH_KEYWORD, ARG_KEYWORD},
	{"LARGER", SEARCH_LARGER, ARG_SIZE},
	{"MODSEQ", SEARCH_MODSEQ, ARG_MODSEQ},
	{"NEW", SEARCH_NEW},
	{"OLD", SEARCH_RECENT, ARG_NONE, 1},
	{"OLDER", SEARCH_OLDER, ARG_SECONDS},
	{"ON", SEARCH_ON, ARG_DATE},
	{"RECENT", SEARCH_RECENT},
	{"SAVEDATESUPPORTED", SEARCH_ALL}, /* every mailbox of ours has save dates */
	{"SAVEDBEFORE", SEARCH_SAVEDBEFORE, ARG_DATE},
	{"SAVEDON", SEARCH_SAVEDON, ARG_DATE},
	{"SAVEDSINCE", SEARCH_SAVEDSINCE, ARG_DATE},
	{"SEEN", SEARCH_FLAG, ARG_NONE, 0, INDEX_SEEN},
	{"SENTBEFORE", SEARCH_SENTBEFORE, ARG_DATE},
	{"SENTON", SEARCH_SENTON, ARG_DATE},
	{"SENTSINCE", SEARCH_SENTSINCE, ARG_DATE},
	{"SINCE", SEARCH_SINCE, ARG_DATE},
	{"SMALLER", SEARCH_SMALLER, ARG_SIZE},
	{"SUBJECT", SEARCH_HEADER, ARG_STRING, 0, 0, "Subject"},
	{"TEXT", SEARCH_TEXT, ARG_STRING},
	{"THREADID", SEARCH_THREADID, ARG_ID},
	{"TO", SEARCH_HEADER, ARG_ADDRESS, 0, 0, "To"},
	{"UIDAFTER", SEARCH_UIDS, ARG_UID, 0, 1},
	{"UIDBEFORE", SEARCH_UIDS, ARG_UID},
	{"UNANSWERED", SEARCH_FLAG, ARG_NONE, 1, INDEX_ANSWERED},
	{"UNDELETED", SEARCH_FLAG, ARG_NONE, 1, INDEX_DELETED},
	{"UNDRAFT", SEARCH_FLAG, ARG_NONE, 1, INDEX_DRAFT},
	{"UNFLAGGED", SEARCH_FLAG, ARG_NONE, 1, INDEX_FLAGGED},
	{"UNKEYWORD", SEARCH_KEYWORD, ARG_KEYWORD, 1},
	{"UNSEEN", SEARCH_FLAG, ARG_NONE, 1, INDEX_SEEN},
	{"YOUNGER", SEARCH_YOUNGER, ARG_SECONDS},
};

enum { NAME_COUNT = sizeof(search_names) / sizeof(search_names[0]) };

/* One parse under way. */
struct search_parse {
	struct imap_session *s;
	struct imap_parser *p;
	struct search_plan *plan;
	unsigned depth;
	unsigned filters; /* that are being put in */
	unsigned fuzzy; /* FUZZY keys around the one at hand */
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
		numset_free(&key->uids);
		free(key->set);
		free(key->word);
		buf_free(&key->needle);
		free(key->words);
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
	parent->relevant |= child->relevant && !child->negated;
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
		e = charset_to_utf8(str_of(sp->plan->charset), text, &utf8);
	if (!e)
		e = casemap_fold(buf_str(&utf8), &key->needle);
	if (!e && (sp->fuzzy || search_is_by_words(sp->s->conf)))
		key->words = search_words_create(buf_str(&key->needle), sp->fuzzy > 0);
	key->fuzzy = key->relevant = key->words && sp->fuzzy;
	buf_free(&utf8);
	return e;
}

/* A field name in the command is bounded by the line and has no business to hold odd bytes. */
static enum err
parse_field_name(struct search_parse *sp, struct search_key *key)
{
	struct str name;
	enum err e = imap_parse_astring(sp->p, &name);

	if (e)
		return e;
	if (name.len == 0)
		return imap_parser_fail(sp->p, E_PARSE, "expected the name of a header field");
	for (size_t i = 0; i < name.len; i++)
		if (name.p[i] <= ' ' || name.p[i] == ':' || name.p[i] >= 0x7f)
			return imap_parser_fail(
				sp->p, E_PARSE, "expected the name of a header field");
	key->word = str_dup(name);
	return imap_parse_space(sp->p);
}

static enum err
parse_keyword(struct search_parse *sp, struct search_key *key)
{
	struct str word;
	enum err e = imap_parse_atom(sp->p, "expected a keyword", &word);

	if (!e)
		key->word = str_dup(word);
	return e;
}

/* RFC 5032 section 3: at least a second. */
static enum err
parse_seconds(struct search_parse *sp, struct search_key *key)
{
	uint32_t seconds = 0;
	enum err e = imap_parse_nz_number(sp->p, &seconds);

	key->number = seconds;
	return e;
}

/*
 * RFC 7162 section 3.1.5. There is one mod-sequence for all of a message: the name and the type of
 * the metadata item are read and passed over, as the section says.
 */
static enum err
parse_modseq(struct search_parse *sp, struct search_key *key)
{
	struct str entry, type;
	enum err e = OK;

	sp->plan->has_modseq = 1;
	if (imap_parse_peek(sp->p) == '"') {
		imap_parse_string(sp->p, &entry);
		imap_parse_space(sp->p);
		e = imap_parse_atom(sp->p, "expected \"priv\", \"shared\" or \"all\"", &type);
		if (e)
			return e;
		if (!str_is_i(type, "priv") && !str_is_i(type, "shared") && !str_is_i(type, "all"))
			return imap_parser_fail(
				sp->p, E_PARSE, "expected \"priv\", \"shared\" or \"all\"");
		e = imap_parse_space(sp->p);
	}
	return e ? e : imap_parse_number64(sp->p, &key->number);
}

/* <objectid> of RFC 8474 section 7. Ours are a letter and hexadecimal; another is nobody's. */
static enum err
parse_id(struct search_parse *sp, struct search_key *key)
{
	char letter = key->kind == SEARCH_EMAILID ? IMAP_EMAIL_ID : IMAP_THREAD_ID;
	struct str id;
	enum err e = imap_parse_atom(sp->p, "expected an object id", &id);

	if (e)
		return e;
	key->id_known = id.len > 0 && id.p[0] == letter &&
			hex_read(str_make(id.p + 1, id.len - 1), key->id, SEARCH_ID_LEN);
	return OK;
}

/* RFC 9738 section 3.2: UIDAFTER 5 is what "UID 6:*" would be if "*" were never less than 6. */
static enum err
parse_uid(struct search_parse *sp, struct search_key *key)
{
	uint32_t uid = 0;
	enum err e = imap_parse_nz_number(sp->p, &uid);

	if (!e && key->flag && uid < UINT32_MAX)
		numset_add_range(&key->uids, uid + 1, UINT32_MAX);
	if (!e && !key->flag && uid > 1)
		numset_add_range(&key->uids, 1, uid - 1);
	return e;
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
		e = parse_field_name(sp, key);
		return e ? e : parse_needle(sp, key);
	case ARG_STRING:
	case ARG_ADDRESS:
		key->is_addresses = n->arg == ARG_ADDRESS;
		if (n->field)
			key->word = mem_strdup(n->field);
		key->is_cached = n->field != NULL;
		return parse_needle(sp, key);
	case ARG_KEYWORD:
		return parse_keyword(sp, key);
	case ARG_DATE:
		return imap_parse_date(sp->p, &key->day);
	case ARG_SECONDS:
		return parse_seconds(sp, key);
	case ARG_MODSEQ:
		return parse_modseq(sp, key);
	case ARG_ID:
		return parse_id(sp, key);
	case ARG_UID:
		return parse_uid(sp, key);
	default:
		return imap_parse_number64(sp->p, &key->number);
	}
}

/* ---- keys ---- */

/*
 * A sequence set, of message numbers or, behind UID, of UIDs, or "$" (RFC 5182), which is the same
 * behind both. What is not there matches nothing. Message numbers mean what they do now, whatever
 * is expunged later (RFC 5267 section 4.3).
 */
static enum err
parse_set(struct search_parse *sp, int uid, struct search_key **out)
{
	struct search_key *key = *out = key_create(SEARCH_UIDS);
	struct imap_session *s = sp->s;
	struct numset seqs = {0};
	size_t start;
	enum err e;

	if (uid && imap_parse_space(sp->p))
		return sp->p->err;
	if (imap_parse_try(sp->p, '$')) {
		sp->plan->has_numbers = 1;
		numset_copy(&key->uids, &s->saved);
		return OK;
	}
	start = sp->p->at;
	if (uid) {
		e = imap_parse_sequence_set(sp->p, imap_largest(s, 1), &key->uids);
		if (!e)
			key->set = mem_strndup(sp->p->line.p + start, sp->p->at - start);
		return e;
	}
	sp->plan->has_numbers = 1;
	/* RFC 9586 section 3.5 */
	if (s->enabled & IMAP_UIDONLY)
		return imap_parser_fail_code(
			sp->p, "UIDREQUIRED", "there are no message numbers with UIDONLY");
	e = imap_parse_sequence_set(sp->p, imap_largest(s, 0), &seqs);
	if (!e && s->view)
		imap_seqset_to_uids(s->view, &seqs, &key->uids);
	numset_free(&seqs);
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

/*
 * RFC 6203 section 3. What strings are in the keys behind it is matched by words that are like it;
 * all else as without it, which section 5 leaves to us.
 */
static enum err
parse_fuzzy(struct search_parse *sp, struct search_key **out)
{
	enum err e = imap_parse_space(sp->p);

	sp->plan->has_fuzzy = 1;
	sp->fuzzy++;
	if (!e)
		e = parse_key(sp, out);
	sp->fuzzy--;
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

/* ---- filters (RFC 5466) ---- */

static enum err parse_keys(struct search_parse *sp, struct search_key *into);

/* A filter has no literals: nothing comes behind its text. */
static enum err
filter_has_no_more(void *ctx, struct str *line)
{
	(void)ctx;
	*line = (struct str){NULL, 0};
	return E_PARSE;
}

static enum err
filter_has_no_literal(void *ctx, int sync, char *p, size_t size)
{
	(void)ctx;
	(void)sync;
	(void)p;
	(void)size;
	return E_PARSE;
}

static enum err
filter_has_nothing_to_skip(void *ctx, uint64_t size)
{
	(void)ctx;
	(void)size;
	return E_PARSE;
}

static const struct imap_source filter_source = {
	.line = filter_has_no_more,
	.literal = filter_has_no_literal,
	.skip = filter_has_nothing_to_skip,
};

/* The keys in value as children of into; value is in UTF-8 whatever the command is in. */
static enum err
filter_parse(struct search_parse *sp, struct str value, struct search_key *into)
{
	struct imap_parser *outer = sp->p, inner;
	char *charset = sp->plan->charset;
	enum err e;

	imap_parser_init(&inner, &filter_source);
	inner.line = value;
	sp->p = &inner;
	sp->plan->charset = NULL;
	sp->filters++;
	e = parse_keys(sp, into);
	sp->filters--;
	sp->plan->charset = charset;
	sp->p = outer;
	if (e == E_TOOBIG)
		(void)imap_parser_fail(outer, E_TOOBIG, "too much to look for in the filters");
	imap_parser_reset(&inner);
	return e;
}

/* Of those that are not there, or form a loop, the first is told. */
static void
filter_is_undefined(struct search_parse *sp, struct str name)
{
	if (!sp->plan->undefined_filter)
		sp->plan->undefined_filter = str_dup(name);
}

static enum err
filter_read(struct imap_session *s, struct str name, struct buf *value)
{
	static const char *const roots[] = {"/private/filters/values/", "/shared/filters/values/"};
	enum err e = E_NOTFOUND;

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]) && e == E_NOTFOUND; i++) {
		char *entry = mem_printf("%s%.*s", roots[i], STR_ARG(name));

		buf_reset(value);
		e = index_metadata_get(s->index, INDEX_METADATA_SERVER, str_of(entry), value);
		free(entry);
	}
	return e;
}

static enum err
parse_filter(struct search_parse *sp, struct search_key **out)
{
	const char *charset = sp->plan->charset;
	struct buf value = {0};
	struct str name;
	enum err e = imap_parse_space(sp->p);

	*out = key_create(SEARCH_AND);
	e = e ? e : imap_parse_atom(sp->p, "expected the name of a filter", &name);
	if (e)
		return e;
	if (str_find(name, 0, '/') < name.len)
		return imap_parser_fail(sp->p, E_PARSE, "no filter can be called so");
	if (charset && !str_is_i(str_of(charset), "UTF-8") &&
		!str_is_i(str_of(charset), "US-ASCII"))
		return imap_parser_fail_code(sp->p, "BADCHARSET (UTF-8 US-ASCII)",
			"a filter is in UTF-8, and so must the search be");
	e = sp->filters == SEARCH_FILTERS_MAX ? E_NOTFOUND : filter_read(sp->s, name, &value);
	if (!e)
		e = filter_parse(sp, buf_str(&value), *out);
	buf_free(&value);
	if (sp->p->err)
		return sp->p->err;
	/* What the index cannot tell for now is not there for now. */
	if (e)
		filter_is_undefined(sp, name);
	return OK;
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
	if (str_is_i(word, "FUZZY"))
		return parse_fuzzy(sp, out);
	if (str_is_i(word, "UID"))
		return parse_set(sp, 1, out);
	if (str_is_i(word, "FILTER"))
		return parse_filter(sp, out);
	for (size_t i = 0; i < NAME_COUNT; i++) {
		const struct search_name *n = &search_names[i];

		if (!str_is_i(word, n->name))
			continue;
		*out = key_create(n->kind);
		(*out)->negated = n->negated;
		(*out)->flag = n->flag;
		if (n->kind >= SEARCH_LARGER && n->kind <= SEARCH_YOUNGER)
			plan->has_facts = 1;
		if ((*out)->need == SEARCH_NEED_CACHE)
			plan->has_cache_keys = 1;
		if ((*out)->need == SEARCH_NEED_CONTENT) {
			if (plan->text_count == SEARCH_TEXTS_MAX)
				return imap_parser_fail(
					sp->p, E_TOOBIG, "too many BODY and TEXT keys");
			plan->texts[plan->text_count++] = *out;
		}
		if (n->kind == SEARCH_HEADER && plan->header_count < SEARCH_TEXTS_MAX)
			plan->headers[plan->header_count++] = *out;
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
	else if (c == '*' || c == '$' || (c >= '0' && c <= '9'))
		e = parse_set(sp, 0, out);
	else
		e = parse_named(sp, out);
	sp->depth--;
	return e;
}

/* A charset's name and the space behind it. */
static enum err
parse_charset(struct search_parse *sp)
{
	struct str charset;

	imap_parse_astring(sp->p, &charset);
	if (imap_parse_space(sp->p))
		return sp->p->err;
	sp->plan->bad_charset = !charset_is_known(charset);
	sp->plan->charset = str_dup(charset);
	return OK;
}

static enum err
parse_keys(struct search_parse *sp, struct search_key *into)
{
	enum err e = OK;

	while (!e) {
		struct search_key *key = NULL;

		e = parse_key(sp, &key);
		if (key)
			key_add_child(into, key);
		if (e || imap_parse_at_end(sp->p))
			break;
		e = imap_parse_space(sp->p);
	}
	return e ? e : imap_parse_end(sp->p);
}

static void
plan_init(struct search_plan *plan)
{
	memset(plan, 0, sizeof(*plan));
	plan->root = key_create(SEARCH_AND);
	plan->now = (int64_t)time(NULL);
}

enum err
search_plan_parse(struct imap_session *s, struct imap_parser *p, struct search_plan *out)
{
	struct search_parse sp = {.s = s, .p = p, .plan = out};
	enum err e = OK;

	plan_init(out);
	/* RFC 3501 section 6.4.4 */
	if (imap_parse_try_word(p, "CHARSET")) {
		/* RFC 9755 section 3 */
		if ((s->enabled & IMAP_UTF8) && !(s->enabled & IMAP_REV2))
			return imap_parser_fail(p, E_PARSE, "no CHARSET with UTF8=ACCEPT");
		imap_parse_space(p);
		e = parse_charset(&sp);
	}
	return e ? e : parse_keys(&sp, out->root);
}

enum err
search_criteria_parse(struct imap_session *s, struct imap_parser *p, struct search_plan *out)
{
	struct search_parse sp = {.s = s, .p = p, .plan = out};
	enum err e;

	plan_init(out);
	e = parse_charset(&sp);
	return e ? e : parse_keys(&sp, out->root);
}

enum err
search_plan_want_scores(struct search_plan *plan, struct imap_parser *p, int wanted)
{
	/* A filter that is not there may have had it. */
	if (wanted && !plan->has_fuzzy && !plan->undefined_filter)
		return imap_parser_fail(p, E_PARSE, "RELEVANCY goes with FUZZY");
	plan->wants_scores = wanted;
	return OK;
}

int
search_is_filter(struct imap_session *s, struct str value)
{
	struct search_plan plan;
	struct search_parse sp = {.s = s, .plan = &plan};
	struct imap_parser none;
	int good;

	plan_init(&plan);
	imap_parser_init(&none, &filter_source);
	sp.p = &none;
	good = filter_parse(&sp, value, plan.root) == OK;
	search_plan_fini(&plan);
	imap_parser_reset(&none);
	return good;
}

void
search_plan_fini(struct search_plan *plan)
{
	key_free(plan->root);
	search_stems_free(&plan->stems);
	free(plan->charset);
	free(plan->undefined_filter);
	memset(plan, 0, sizeof(*plan));
}

/* ---- the mailbox ---- */

static void
bind_keyword(struct search_key *key, const struct search_box *box)
{
	key->bit = -1;
	for (size_t i = 0; i < box->keyword_count && i < INDEX_KEYWORDS_MAX; i++)
		if (str_is_i(str_of(key->word), box->keywords[i]))
			key->bit = (int)i;
}

static void
bind_keys(struct search_key *key, const struct search_box *box)
{
	uint32_t count = index_view_count(box->view);

	for (; key; key = key->next) {
		bind_keys(key->child, box);
		if (key->kind == SEARCH_KEYWORD)
			bind_keyword(key, box);
		if (key->set)
			(void)imap_seqset_parse(str_of(key->set), index_view_uid(box->view, count),
				&key->uids, NULL);
	}
}

void
search_plan_bind(struct search_plan *plan, const struct search_box *box)
{
	bind_keys(plan->root, box);
}
