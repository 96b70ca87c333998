/* SPDX-License-Identifier: MIT */
#include "imap/context.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "imap/seqset.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Results are kept as UIDs, so that expunges do not touch them. What changed since the last look is
 * asked of the index, and the search runs over that alone. A sorted result is sorted anew when
 * something joins it; the keys of what is in it never change, so that all else keeps its order.
 */
struct imap_context {
	struct imap_context *next;
	char *tag;
	int uid; /* the command's form */
	struct search_plan plan;
	int is_sorted;
	struct sort_program sort;
	struct fetch_plan fetch; /* of what joins when it comes (RFC 5465 section 7) */
	uint32_t seen; /* the highest UID at the last look */
	uint64_t modseq; /* the result is right up to here */
	struct numset uids;
	uint32_t *order; /* sorted: the same UIDs in their order */
	size_t count;
};

/* ---- life ---- */

static void
context_free(struct imap_context *c)
{
	search_plan_fini(&c->plan);
	fetch_plan_fini(&c->fetch);
	numset_free(&c->uids);
	free(c->order);
	free(c->tag);
	free(c);
}

void
imap_contexts_free(struct imap_session *s)
{
	while (s->contexts) {
		struct imap_context *c = s->contexts;

		s->contexts = c->next;
		context_free(c);
	}
}

static struct imap_context **
context_find(struct imap_session *s, struct str tag)
{
	struct imap_context **at = &s->contexts;

	while (*at && !str_is(tag, (*at)->tag))
		at = &(*at)->next;
	return at;
}

int
imap_context_exists(const struct imap_session *s, struct str tag)
{
	for (const struct imap_context *c = s->contexts; c; c = c->next)
		if (str_is(tag, c->tag))
			return 1;
	return 0;
}

uint64_t
imap_context_modseq(const struct imap_session *s)
{
	return index_view_read_modseq(s->view);
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The set of numbers in any order. */
static void
set_of(const uint32_t *v, size_t count, struct numset *out)
{
	uint32_t *rising = mem_alloc((count + 1) * sizeof(*rising));

	if (count)
		memcpy(rising, v, count * sizeof(*rising));
	qsort(rising, count, sizeof(*rising), compare_numbers);
	numset_free(out);
	for (size_t i = 0; i < count; i++)
		numset_add(out, rising[i]);
	free(rising);
}

static int
is_full(const struct imap_session *s, int sorted)
{
	unsigned all = 0, of_kind = 0;

	for (const struct imap_context *c = s->contexts; c; c = c->next) {
		all++;
		of_kind += c->is_sorted;
	}
	return all >= IMAP_CONTEXTS_MAX || (sorted && of_kind >= IMAP_CONTEXTS_SORTED_MAX);
}

void
imap_context_refuse(struct imap_session *s, const char *why)
{
	struct buf tag = BUF_INIT(0);

	imap_write_string(&tag, s->tag);
	imap_untagged(s, "NO [NOUPDATE %s] %s", buf_cstr(&tag), why);
	buf_free(&tag);
}

void
imap_context_add(struct imap_session *s, struct search_plan *plan, const struct sort_program *sort,
	struct fetch_plan *fetch, int uid, uint64_t modseq, const uint32_t *seqs, size_t count)
{
	struct imap_context *c;

	if (is_full(s, sort != NULL)) {
		imap_context_refuse(s, "Too many contexts");
		return;
	}
	c = MEM_NEW(struct imap_context);
	c->tag = str_dup(s->tag);
	c->uid = uid;
	c->plan = *plan;
	memset(plan, 0, sizeof(*plan));
	c->fetch = *fetch;
	memset(fetch, 0, sizeof(*fetch));
	c->seen = imap_largest(s, 1);
	c->modseq = modseq;
	c->count = count;
	c->order = mem_alloc((count + 1) * sizeof(*c->order));
	for (size_t i = 0; i < count; i++)
		c->order[i] = index_view_uid(s->view, seqs[i]);
	set_of(c->order, count, &c->uids);
	if (sort) {
		c->is_sorted = 1;
		c->sort = *sort;
	} else {
		MEM_FREE(c->order);
	}
	c->next = s->contexts;
	s->contexts = c;
}

/* ---- telling ---- */

static void
line_begin(const struct imap_context *c, const char *item, struct buf *line)
{
	buf_reset(line);
	(void)buf_add_cstr(line, "ESEARCH (TAG ");
	imap_write_string(line, str_of(c->tag));
	(void)buf_printf(line, ")%s %s (", c->uid ? " UID" : "", item);
}

static void
line_end(struct imap_session *s, struct buf *line)
{
	(void)buf_add_char(line, ')');
	imap_untagged(s, "%s", buf_cstr(line));
}

/* A set without an order: position 0 (RFC 5267 section 4.3.3, 4.3.4). */
static void
tell_set(struct imap_session *s, const struct imap_context *c, const char *item,
	const struct numset *uids)
{
	struct buf line = BUF_INIT(0);
	struct numset seqs = {0};

	if (numset_is_empty(uids))
		return;
	line_begin(c, item, &line);
	(void)buf_add_cstr(&line, "0 ");
	if (!c->uid)
		imap_seqset_from_uids(s->view, uids, &seqs);
	(void)numset_format(c->uid ? uids : &seqs, &line);
	line_end(s, &line);
	numset_free(&seqs);
	buf_free(&line);
}

/* "position number,number,..." for order[from .. to - 1]. */
static void
add_places(struct imap_session *s, const struct imap_context *c, const uint32_t *order, size_t from,
	size_t to, struct buf *line)
{
	(void)buf_printf(line, "%s%zu ", line->p[line->len - 1] == '(' ? "" : " ", from + 1);
	for (size_t i = from; i < to; i++) {
		if (i > from)
			(void)buf_add_char(line, ',');
		(void)buf_add_u64(line, c->uid ? order[i] : index_view_seq(s->view, order[i]));
	}
}

/* The last places first: then those in front keep theirs. */
static void
tell_removed_places(struct imap_session *s, const struct imap_context *c, const struct numset *gone)
{
	struct buf line = BUF_INIT(0);

	if (numset_is_empty(gone))
		return;
	line_begin(c, "REMOVEFROM", &line);
	for (size_t to = c->count; to > 0;) {
		size_t from = to;

		while (from > 0 && numset_contains(gone, c->order[from - 1]))
			from--;
		if (from < to)
			add_places(s, c, c->order, from, to, &line);
		to = from < to ? from : to - 1;
	}
	line_end(s, &line);
	buf_free(&line);
}

/* The first places first: each is then the place in the finished result. */
static void
tell_added_places(struct imap_session *s, const struct imap_context *c, const uint32_t *order,
	size_t count, const struct numset *added)
{
	struct buf line = BUF_INIT(0);

	if (numset_is_empty(added))
		return;
	line_begin(c, "ADDTO", &line);
	for (size_t from = 0; from < count;) {
		size_t to = from;

		while (to < count && numset_contains(added, order[to]))
			to++;
		if (from < to)
			add_places(s, c, order, from, to, &line);
		from = from < to ? to : from + 1;
	}
	line_end(s, &line);
	buf_free(&line);
}

/* ---- what changed ---- */

/* Those of uids that are not in the mailbox any more. */
static enum err
find_gone(struct imap_session *s, const struct numset *uids, uint64_t since, struct numset *out)
{
	struct numset vanished = {0};
	struct index_message m;
	int complete = 0;
	enum err e = index_read_begin(s->index);

	if (e)
		return e;
	e = index_vanished_since(s->index, s->mailbox, since, &vanished, &complete);
	if (!e && complete)
		numset_intersect(uids, &vanished, out);
	/* The log does not go back so far: one look at each. */
	for (size_t i = 0; i < uids->count && !e && !complete; i++) {
		for (uint64_t uid = uids->ranges[i].first; uid <= uids->ranges[i].last && !e;
			uid++) {
			e = index_message_get(s->index, s->mailbox, (uint32_t)uid, &m);
			if (e == E_NOTFOUND) {
				numset_add(out, (uint32_t)uid);
				e = OK;
			}
		}
	}
	index_read_end(s->index);
	numset_free(&vanished);
	return e;
}

struct update {
	struct numset matched; /* of the changed ones */
	struct numset added, removed;
};

/* Runs the search over what changed. */
static enum err
find_changes(struct imap_session *s, struct imap_context *c, struct update *u)
{
	uint64_t now = imap_context_modseq(s);
	uint64_t since = c->modseq <= now ? c->modseq : 0; /* 0: the index was made anew */
	struct numset changed = {0}, known = {0}, gone = {0};
	struct search_result result = {0};
	struct imap_progress progress;
	struct search_box box;
	enum err e = index_changed_since(s->index, s->mailbox, since, &changed);

	search_box_selected(s, &box);
	search_plan_bind(&c->plan, &box);
	imap_progress_begin(&progress, s, 0);
	c->plan.among = &changed;
	c->plan.now = (int64_t)time(NULL);
	if (!e && !numset_is_empty(&changed))
		e = search_run(&box, &c->plan, &progress, &result);
	c->plan.among = NULL;
	e = e ? e : find_gone(s, &c->uids, since, &gone);
	for (size_t i = 0; i < result.count; i++)
		numset_add(&u->matched, index_view_uid(s->view, result.seqs[i]));
	numset_subtract(&u->matched, &c->uids, &u->added);
	numset_intersect(&c->uids, &changed, &known);
	numset_subtract(&known, &u->matched, &u->removed);
	for (size_t i = 0; i < gone.count; i++)
		numset_add_range(&u->removed, gone.ranges[i].first, gone.ranges[i].last);
	numset_free(&changed);
	numset_free(&known);
	numset_free(&gone);
	search_result_fini(&result);
	if (!e)
		c->modseq = now;
	return e;
}

/* What the result is afterwards. */
static void
apply(struct imap_context *c, const struct update *u)
{
	struct numset left = {0};

	numset_subtract(&c->uids, &u->removed, &left);
	for (size_t i = 0; i < u->added.count; i++)
		numset_add_range(&left, u->added.ranges[i].first, u->added.ranges[i].last);
	numset_free(&c->uids);
	c->uids = left;
}

/* ---- sorted results ---- */

/* The UIDs of left in their order; those that went in the meantime stay out. */
static enum err
sort_uids(struct imap_session *s, const struct imap_context *c, const struct numset *left,
	uint32_t **order, size_t *count)
{
	struct search_box box;
	struct numset seqs = {0};
	size_t n = 0;
	enum err e;

	search_box_selected(s, &box);
	imap_seqset_from_uids(s->view, left, &seqs);
	*order = mem_alloc((size_t)(numset_size(&seqs) + 1) * sizeof(**order));
	for (size_t i = 0; i < seqs.count; i++)
		for (uint32_t seq = seqs.ranges[i].first; seq <= seqs.ranges[i].last; seq++)
			(*order)[n++] = seq;
	numset_free(&seqs);
	*count = n;
	e = sort_run(&box, &c->sort, NULL, *order, NULL, count);
	for (size_t i = 0; i < *count; i++)
		(*order)[i] = index_view_uid(s->view, (*order)[i]);
	return e;
}

static void
take_out(struct imap_context *c, const struct numset *gone)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++)
		if (!numset_contains(gone, c->order[i]))
			c->order[kept++] = c->order[i];
	c->count = kept;
}

static enum err
update_sorted(struct imap_session *s, struct imap_context *c, struct update *u)
{
	uint32_t *order = NULL;
	size_t count = 0;
	struct numset there = {0}, more = {0};
	enum err e;

	apply(c, u);
	if (numset_is_empty(&u->added)) {
		tell_removed_places(s, c, &u->removed);
		take_out(c, &u->removed);
		return OK;
	}
	e = sort_uids(s, c, &c->uids, &order, &count);
	if (e) {
		free(order);
		return e;
	}
	/* What the sort did not find any more has gone with the others, or never came. */
	set_of(order, count, &there);
	numset_subtract(&c->uids, &there, &more);
	for (size_t i = 0; i < more.count; i++) {
		uint32_t first = more.ranges[i].first, last = more.ranges[i].last;

		numset_remove_range(&u->added, first, last);
		numset_add_range(&u->removed, first, last);
	}
	tell_removed_places(s, c, &u->removed);
	tell_added_places(s, c, order, count, &u->added);
	numset_free(&c->uids);
	c->uids = there;
	free(c->order);
	c->order = order;
	c->count = count;
	numset_free(&more);
	return OK;
}

/*
 * In front of ADDTO (RFC 5465 section 7). A message that joins because its flags changed is known
 * to the client.
 */
static void
fetch_added(struct imap_session *s, struct imap_context *c, const struct numset *added)
{
	struct numset fresh = {0};
	uint32_t seen = c->seen;
	enum err e;

	c->seen = imap_largest(s, 1);
	if (!c->fetch.count || c->seen <= seen)
		return;
	numset_copy(&fresh, added);
	numset_remove_range(&fresh, 0, seen);
	if (!numset_is_empty(&fresh)) {
		/* Whole messages may be wanted. */
		stream_hold(s->client, 0);
		e = imap_fetch_unasked(s, &c->fetch, &fresh);
		stream_hold(s->client, 1);
		if (e)
			log_event(LOGL_WARN, "imap.context failed", "error", err_word(e), "mailbox",
				log_u64(s->mailbox), NULL);
	}
	numset_free(&fresh);
}

static enum err
context_update(struct imap_session *s, struct imap_context *c)
{
	struct update u = {{0}};
	enum err e = find_changes(s, c, &u);

	if (!e)
		fetch_added(s, c, &u.added);

	if (!e && c->is_sorted) {
		e = update_sorted(s, c, &u);
	} else if (!e) {
		tell_set(s, c, "REMOVEFROM", &u.removed);
		tell_set(s, c, "ADDTO", &u.added);
		apply(c, &u);
	}
	numset_free(&u.matched);
	numset_free(&u.added);
	numset_free(&u.removed);
	return e;
}

void
imap_contexts_update(struct imap_session *s)
{
	uint64_t now = s->contexts ? imap_context_modseq(s) : 0;

	for (struct imap_context *c = s->contexts; c; c = c->next) {
		enum err e = c->modseq != now ? context_update(s, c) : OK;

		/* The next change looks again at what changed since. */
		if (e)
			log_event(LOGL_WARN, "imap.context failed", "error", err_word(e), "mailbox",
				log_u64(s->mailbox), NULL);
	}
}

void
imap_contexts_expunged(struct imap_session *s, uint32_t seq, uint32_t uid)
{
	(void)seq;
	for (struct imap_context *c = s->contexts; c; c = c->next) {
		struct numset gone = {0};

		if (!numset_contains(&c->uids, uid))
			continue;
		numset_add(&gone, uid);
		numset_remove_range(&c->uids, uid, uid);
		if (c->is_sorted) {
			tell_removed_places(s, c, &gone);
			take_out(c, &gone);
		} else {
			tell_set(s, c, "REMOVEFROM", &gone);
		}
		numset_free(&gone);
	}
}

/* ---- CANCELUPDATE (RFC 5267 section 4.3.5) ---- */

static enum err
run_cancelupdate(struct imap_session *s, struct imap_parser *p)
{
	struct str tags[IMAP_CONTEXTS_MAX];
	size_t n = 0;

	do {
		(void)imap_parse_space(p);
		if (n == IMAP_CONTEXTS_MAX)
			return imap_parser_fail(p, E_TOOBIG, "too many tags");
		if (imap_parse_string(p, &tags[n++]))
			return p->err;
	} while (!imap_parse_at_end(p));
	if (imap_parse_end(p))
		return p->err;
	for (size_t i = 0; i < n; i++)
		if (!*context_find(s, tags[i]))
			return imap_reply_bad(s, NULL, "There is no updating search with this tag");
	for (size_t i = 0; i < n; i++) {
		struct imap_context **at = context_find(s, tags[i]), *c = *at;

		/* The same tag may stand there twice. */
		if (!c)
			continue;
		*at = c->next;
		context_free(c);
	}
	return imap_reply_ok(s, NULL, "No further updates");
}

const struct imap_command imap_command_cancelupdate = {
	.name = "CANCELUPDATE",
	.rfc = "5267 4.3.5",
	.states = IN_SELECTED,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "CONTEXT=SEARCH CONTEXT=SORT",
	.run = run_cancelupdate,
};
