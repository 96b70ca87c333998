/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "imap/context.h"
#include "imap/esearch.h"
#include "imap/rights.h"
#include "imap/search.h"
#include "lib/mem.h"

/* The ESEARCH command: a search of many mailboxes (RFC 7377). */

enum { SOURCES_MAX = 256 }; /* mailbox specifiers and names of one command */

enum source_kind {
	SOURCE_SELECTED,
	SOURCE_PERSONAL, /* "inboxes" too: mail can be delivered into each */
	SOURCE_SUBSCRIBED,
	SOURCE_SUBTREE,
	SOURCE_SUBTREE_ONE,
	SOURCE_MAILBOX,
};

static const struct {
	const char *name;
	enum source_kind kind;
	int with_names;
} source_names[] = {
	{"selected", SOURCE_SELECTED, 0},
	{"inboxes", SOURCE_PERSONAL, 0},
	{"personal", SOURCE_PERSONAL, 0},
	{"subscribed", SOURCE_SUBSCRIBED, 0},
	{"subtree", SOURCE_SUBTREE, 1},
	{"subtree-one", SOURCE_SUBTREE_ONE, 1},
	{"mailboxes", SOURCE_MAILBOX, 1},
};
enum { NAME_COUNT = sizeof(source_names) / sizeof(source_names[0]) };

/* A mailbox that is to be searched. */
struct target {
	uint32_t id, uidvalidity;
	char *name;
};

struct multisearch {
	struct imap_session *s;
	struct {
		enum source_kind kind;
		struct str name; /* borrowed from the parser */
	} sources[SOURCES_MAX];
	size_t source_count;
	int only_selected;
	struct esearch_return ret;
	struct search_plan plan;
	struct numset subscribed; /* ids of mailboxes */
	struct target *targets;
	size_t target_count, target_cap;
	struct imap_progress progress;
	enum err failed; /* the first mailbox or message that could not be read */
};

/* ---- parsing ---- */

static enum err
add_source(struct imap_parser *p, struct multisearch *ms, enum source_kind kind, struct str name)
{
	if (ms->source_count == SOURCES_MAX)
		return imap_parser_fail(p, E_TOOBIG, "too many mailboxes");
	ms->sources[ms->source_count].kind = kind;
	ms->sources[ms->source_count++].name = name;
	ms->only_selected &= kind == SOURCE_SELECTED;
	return OK;
}

/* <one-or-more-mailbox> of RFC 5465 */
static enum err
parse_names(struct imap_parser *p, struct multisearch *ms, enum source_kind kind)
{
	struct str name;
	size_t n = 0;

	imap_parse_space(p);
	if (imap_parse_peek(p) != '(') {
		if (imap_parse_mailbox(p, &name))
			return p->err;
		return add_source(p, ms, kind, name);
	}
	imap_parse_open(p);
	while (imap_parse_item(p, &n))
		if (imap_parse_mailbox(p, &name) || add_source(p, ms, kind, name))
			break;
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a mailbox name");
	return p->err;
}

static enum err
parse_source(struct imap_parser *p, struct multisearch *ms)
{
	size_t start = p->at, i = 0;
	struct str word;

	if (imap_parse_word(p, "expected a mailbox specifier", &word))
		return p->err;
	while (i < NAME_COUNT && !str_is_i(word, source_names[i].name))
		i++;
	if (i == NAME_COUNT) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "there is no such mailbox specifier");
	}
	if (source_names[i].with_names)
		return parse_names(p, ms, source_names[i].kind);
	return add_source(p, ms, source_names[i].kind, (struct str){NULL, 0});
}

/* "IN (...)" and the space behind it. Scope options could follow in it; none are defined. */
static enum err
parse_sources(struct imap_parser *p, struct multisearch *ms)
{
	size_t n = 0;

	ms->only_selected = 1;
	if (!imap_parse_try_word(p, "IN"))
		return add_source(p, ms, SOURCE_SELECTED, (struct str){NULL, 0});
	imap_parse_space(p);
	imap_parse_open(p);
	while (imap_parse_item(p, &n))
		if (parse_source(p, ms))
			break;
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a mailbox specifier");
	return imap_parse_space(p);
}

static int
has_selected(const struct multisearch *ms)
{
	for (size_t i = 0; i < ms->source_count; i++)
		if (ms->sources[i].kind == SOURCE_SELECTED)
			return 1;
	return 0;
}

/* What section 2.2 wants answered with BAD; NULL: all is well. */
static const char *
problem_of(const struct imap_session *s, const struct multisearch *ms)
{
	if (has_selected(ms) && !s->view)
		return "Select a mailbox first";
	if (ms->plan.has_numbers && !ms->only_selected)
		return "Message numbers mean nothing in other mailboxes";
	if (ms->ret.items & ESEARCH_SAVE && !ms->only_selected)
		return "SAVE goes with the selected mailbox alone";
	if (ms->ret.items & ESEARCH_UPDATE && !has_selected(ms))
		return "UPDATE goes with the selected mailbox";
	if (ms->ret.items & ESEARCH_UPDATE && imap_context_exists(s, s->tag))
		return "This tag names an updating search already";
	return NULL;
}

/* ---- which mailboxes ---- */

/* Whether name is below top, with one only as its direct child. */
static int
is_below(struct str name, struct str top, int one)
{
	if (name.len <= top.len || name.p[top.len] != '/' ||
		!str_equal(str_make(name.p, top.len), top))
		return 0;
	return !one || str_find(name, top.len + 1, '/') == name.len;
}

static int
is_source(const struct multisearch *ms, const struct index_mailbox *m)
{
	struct str name = str_of(m->name);

	for (size_t i = 0; i < ms->source_count; i++) {
		enum source_kind kind = ms->sources[i].kind;
		struct str wanted = ms->sources[i].name;

		if ((kind == SOURCE_PERSONAL && !index_mailbox_is_shared(m->id)) ||
			(kind == SOURCE_SELECTED && m->id == ms->s->mailbox))
			return 1;
		if (kind == SOURCE_SUBSCRIBED && numset_contains(&ms->subscribed, m->id))
			return 1;
		if (kind >= SOURCE_SUBTREE && str_equal(name, wanted))
			return 1;
		if ((kind == SOURCE_SUBTREE || kind == SOURCE_SUBTREE_ONE) &&
			is_below(name, wanted, kind == SOURCE_SUBTREE_ONE))
			return 1;
	}
	return 0;
}

static enum err
on_subscription(struct str name, void *arg)
{
	struct multisearch *ms = arg;
	struct index_mailbox m = {0};
	enum err e = index_mailbox_get(ms->s->index, name, &m);

	if (!e)
		numset_add(&ms->subscribed, m.id);
	index_mailbox_free(&m);
	return e == E_NOTFOUND ? OK : e;
}

/* Each once, however often it is named. */
static enum err
on_mailbox(const struct index_mailbox *m, void *arg)
{
	struct multisearch *ms = arg;

	if (!is_source(ms, m))
		return OK;
	/* RFC 7377 section 2.2: what cannot be read is passed over. */
	if (imap_rights_check(ms->s, m->id, RIGHT_READ))
		return OK;
	if (ms->target_count == ms->target_cap) {
		ms->target_cap = ms->target_cap ? 2 * ms->target_cap : 16;
		ms->targets = mem_realloc(ms->targets, ms->target_cap, sizeof(*ms->targets));
	}
	ms->targets[ms->target_count++] =
		(struct target){m->id, m->uidvalidity, mem_strdup(m->name)};
	return OK;
}

static enum err
find_targets(struct multisearch *ms)
{
	enum err e = OK;

	for (size_t i = 0; i < ms->source_count && !e; i++)
		if (ms->sources[i].kind == SOURCE_SUBSCRIBED)
			e = index_subscription_each(ms->s->index, on_subscription, ms);
	return e ? e : index_mailbox_each(ms->s->index, on_mailbox, ms);
}

/* ---- searching ---- */

static enum err
search_box(struct multisearch *ms, const struct target *t, const struct search_box *box)
{
	struct imap_session *s = ms->s;
	int selected = t->id == s->mailbox && s->view;
	uint64_t modseq = selected ? imap_context_modseq(s) : 0;
	struct search_result r = {0};
	enum err e;

	search_plan_bind(&ms->plan, box);
	e = search_run(box, &ms->plan, &ms->progress, &r);
	if (!e && r.count) {
		struct esearch_reply reply = {s, &ms->ret, box, &ms->plan, r.seqs, r.scores,
			r.count, 1, t->name, t->uidvalidity};

		e = esearch_send(&reply);
	}
	if (r.failed && !ms->failed)
		ms->failed = r.failed;
	if (!e && !r.failed && ms->only_selected)
		esearch_save(s, &ms->ret, r.seqs, r.count);
	/* The plan goes with it: it is the only mailbox, or else another copy would be needed. */
	if (selected)
		ms->plan.wants_scores = 0;
	if (!e && ms->ret.items & ESEARCH_UPDATE && selected)
		imap_context_add(s, &ms->plan, NULL, &ms->ret.fetch, 1, modseq, r.seqs, r.count);
	search_result_fini(&r);
	return e;
}

static enum err
search_other(struct multisearch *ms, const struct target *t)
{
	struct imap_session *s = ms->s;
	struct index_view *view = NULL;
	char **keywords = NULL;
	size_t keyword_count = 0;
	enum err e;

	(void)index_refresh(s->index, t->id);
	e = index_view_open(s->index, t->id, &view);
	if (!e)
		e = index_mailbox_keywords(s->index, t->id, &keywords, &keyword_count);
	if (!e) {
		struct search_box box = {.index = s->index,
			.mailbox = t->id,
			.view = view,
			.keywords = keywords,
			.keyword_count = keyword_count,
			.fts = s->fts};

		e = search_box(ms, t, &box);
	}
	index_names_free(&keywords, keyword_count);
	if (view)
		index_view_close(&view);
	return e == E_NOTFOUND ? OK : e; /* removed in the meantime */
}

static enum err
search_targets(struct multisearch *ms)
{
	struct imap_session *s = ms->s;
	const struct target *selected = NULL;
	enum err e = OK;

	imap_progress_begin(&ms->progress, s, 0);
	for (size_t i = 0; i < ms->target_count && !e; i++) {
		if (s->view && ms->targets[i].id == s->mailbox)
			selected = &ms->targets[i];
		else
			e = search_other(ms, &ms->targets[i]);
		e = e ? e : imap_progress_tick(&ms->progress, i + 1);
	}
	/* The selected one last: with UPDATE it takes the plan. */
	if (!e && selected) {
		struct search_box box;

		if (ms->plan.has_modseq)
			imap_enable(s, IMAP_CONDSTORE);
		search_box_selected(s, &box);
		e = search_box(ms, selected, &box);
	}
	return e;
}

static enum err
multisearch_do(struct multisearch *ms)
{
	struct imap_session *s = ms->s;
	const char *problem = problem_of(s, ms);
	enum err e;

	if (problem)
		return imap_reply_bad(s, NULL, problem);
	if (search_is_refused(&ms->plan)) {
		esearch_save_failed(s, &ms->ret);
		return search_reply_refused(s, &ms->plan);
	}
	if (!ms->ret.given)
		ms->ret = (struct esearch_return){.given = 1, .items = ESEARCH_ALL};
	e = find_targets(ms);
	e = e ? e : search_targets(ms);
	if (e || ms->failed)
		esearch_save_failed(s, &ms->ret);
	if (e)
		return imap_reply_error(s, e, "mailbox");
	if (ms->failed)
		return imap_reply_no(s, err_is_temporary(ms->failed) ? "UNAVAILABLE" : "SERVERBUG",
			"Not every message could be read");
	return imap_reply_ok(s, NULL, "ESEARCH completed");
}

static void
multisearch_free(struct multisearch *ms)
{
	esearch_return_fini(&ms->ret);
	search_plan_fini(&ms->plan);
	numset_free(&ms->subscribed);
	for (size_t i = 0; i < ms->target_count; i++)
		free(ms->targets[i].name);
	free(ms->targets);
	free(ms);
}

static enum err
run_esearch(struct imap_session *s, struct imap_parser *p)
{
	struct multisearch *ms = MEM_NEW(struct multisearch);
	enum err e;

	ms->s = s;
	(void)imap_parse_space(p);
	(void)parse_sources(p, ms);
	(void)esearch_return_parse(p, &ms->ret);
	e = search_plan_parse(s, p, &ms->plan);
	e = e ? e : search_plan_want_scores(&ms->plan, p, (ms->ret.items & ESEARCH_RELEVANCY) != 0);
	if (!e)
		e = multisearch_do(ms);
	multisearch_free(ms);
	return e;
}

const struct imap_command imap_command_esearch = {
	.name = "ESEARCH",
	.rfc = "7377 2",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "MULTISEARCH",
	.run = run_esearch,
};
