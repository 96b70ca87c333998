/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imap/scan.h"
#include "imap/search_fts.h"
#include "imap/search_words.h"
#include "imap/seqset.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/cache.h"

/*
 * A search goes in rounds, each a read transaction: the cursor runs over the records, and what they
 * and the stored cache records decide is decided there. Up to PENDING messages that need their file
 * are put by; then the transaction ends, and each of them is decided in one of its own. A round
 * also ends after ROUND_MS, so that the index can reuse its pages and the client is looked after.
 */
enum {
	PENDING = 512,
	ROUND_MS = 100,
	ROUND_LOOK = 256, /* messages between two looks at the clock */
};

struct run {
	const struct search_box *box;
	struct search_plan *plan;
	struct imap_progress *progress;
	struct search_result *out;
	struct search_message msg;
	unsigned score; /* of msg, if it matches */
	struct numset seqs; /* the messages in question */
	struct imap_scan scan;
	struct index_cache_walk *walk; /* of this round; NULL: not needed yet */
	uint32_t pending[PENDING];
	size_t pending_count;
	unsigned looked; /* messages since the last look at the clock */
	int64_t round_ms; /* when the round began */
	struct buf scratch;
};

void
search_box_selected(struct imap_session *s, struct search_box *out)
{
	imap_refresh_keywords(s, NULL);
	*out = (struct search_box){
		.index = s->index,
		.mailbox = s->mailbox,
		.view = s->view,
		.recent = &s->recent,
		.keywords = s->keywords,
		.keyword_count = s->keyword_count,
		.fts = s->fts,
	};
}

/* score: unless 0, when none are wanted. */
static void
add_found(struct search_result *r, uint32_t seq, unsigned score)
{
	if (r->count == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 256;
		r->seqs = mem_realloc(r->seqs, r->cap, sizeof(*r->seqs));
		if (score)
			r->scores = mem_realloc(r->scores, r->cap, sizeof(*r->scores));
	}
	if (score)
		r->scores[r->count] = (unsigned char)score;
	r->seqs[r->count++] = seq;
}

void
search_result_fini(struct search_result *r)
{
	free(r->seqs);
	free(r->scores);
	*r = (struct search_result){0};
}

/* Whether the round has lasted long enough. */
static int
is_time(unsigned *looked, int64_t began_ms)
{
	if (++*looked < ROUND_LOOK)
		return 0;
	*looked = 0;
	return io_now_ms() - began_ms >= ROUND_MS;
}

/* ---- deciding from the index ---- */

static enum err
message_init(struct run *run, struct index_message *m)
{
	run->msg.m = m;
	run->msg.has_record = run->msg.has_content = 0;
	run->msg.record = (struct str){NULL, 0};
	return run->plan->has_facts ? index_message_facts(run->box->index, run->box->mailbox, m)
				    : OK;
}

/* Where the relevancy is wanted a message is not decided before that is known. */
static enum search_answer
evaluate(struct run *run)
{
	enum search_answer a = search_eval(run->plan, &run->msg);

	run->score = 0;
	if (a != SEARCH_YES || !run->plan->wants_scores)
		return a;
	run->score = search_relevancy(run->plan, &run->msg);
	return run->score ? SEARCH_YES : SEARCH_UNKNOWN;
}

/* With the cache record if there is one. */
static enum err
look_into_cache(struct run *run, uint32_t uid, enum search_answer *a)
{
	enum err e = OK;

	if (!run->walk)
		e = index_cache_walk_begin(run->box->index, run->box->mailbox, &run->walk);
	if (!e)
		e = index_cache_walk_get(run->walk, uid, &run->msg.record);
	if (e == E_NOTFOUND || (!e && mail_cache_check(run->msg.record))) {
		run->msg.record = (struct str){NULL, 0};
		return OK;
	}
	if (e)
		return e;
	run->msg.has_record = 1;
	*a = evaluate(run);
	return OK;
}

static enum err
visit(uint32_t seq, const struct index_message *m, void *ctx)
{
	struct run *run = ctx;
	struct index_message full = *m;
	enum search_answer a;
	enum err e;

	if (run->pending_count == PENDING || is_time(&run->looked, run->round_ms))
		return E_CANCELLED;
	e = message_init(run, &full);
	if (e)
		return e;
	a = evaluate(run);
	/* Where every message's file is needed the record can wait. */
	if (a == SEARCH_UNKNOWN && run->plan->has_cache_keys)
		e = look_into_cache(run, full.uid, &a);
	if (a == SEARCH_YES)
		add_found(run->out, seq, run->score);
	else if (a == SEARCH_UNKNOWN)
		run->pending[run->pending_count++] = seq;
	return e;
}

/* ---- deciding from the message ---- */

static enum err
decide_by_content(struct run *run, uint32_t uid, enum search_answer *a)
{
	struct index_content content;
	enum err e = index_content_open(run->box->index, run->box->mailbox, uid, &content);

	if (e)
		return e;
	run->msg.content = str_make(content.p, content.len);
	run->msg.has_content = 1;
	search_content_scan(run->plan->texts, run->plan->text_count, run->msg.content);
	*a = evaluate(run);
	index_content_close(&content);
	return OK;
}

/* Inside a read transaction. */
static enum err
decide(struct run *run, uint32_t uid, enum search_answer *a)
{
	struct index_message m;
	enum err e = index_message_get(run->box->index, run->box->mailbox, uid, &m);

	e = e ? e : message_init(run, &m);
	if (e)
		return e;
	if (!run->plan->has_cache_keys)
		return decide_by_content(run, uid, a);
	buf_reset(&run->scratch);
	e = index_cache_get(
		run->box->index, run->box->mailbox, uid, &run->scratch, &run->msg.record);
	if (e && e != E_TOOBIG) /* then no record can hold it: all comes from the file */
		return e;
	run->msg.has_record = 1;
	*a = evaluate(run);
	return *a == SEARCH_UNKNOWN ? decide_by_content(run, uid, a) : OK;
}

static void
note_failure(struct run *run, uint32_t seq, uint32_t uid, enum err e)
{
	struct search_result *r = run->out;

	if (e == E_NOTFOUND) {
		r->gone++;
		return;
	}
	if (r->failed)
		return;
	r->failed = e;
	r->failed_seq = seq;
	r->failed_uid = uid;
	log_event(LOGL_WARN, "imap.search failed", "error", err_word(e), "mailbox",
		log_u64(run->box->mailbox), "uid", log_u64(uid), NULL);
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int
compare_long_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Those from place first on by their numbers, with their scores. */
static void
sort_found(struct search_result *r, size_t first)
{
	size_t count = r->count - first;
	uint64_t *both;

	if (!r->scores) {
		qsort(r->seqs + first, count, sizeof(uint32_t), compare_numbers);
		return;
	}
	both = mem_alloc(count * sizeof(*both));
	for (size_t i = 0; i < count; i++)
		both[i] = (uint64_t)r->seqs[first + i] << 8 | r->scores[first + i];
	qsort(both, count, sizeof(*both), compare_long_numbers);
	for (size_t i = 0; i < count; i++) {
		r->seqs[first + i] = (uint32_t)(both[i] >> 8);
		r->scores[first + i] = (unsigned char)both[i];
	}
	free(both);
}

static enum err
decide_pending(struct run *run, size_t found_before)
{
	for (size_t i = 0; i < run->pending_count; i++) {
		uint32_t seq = run->pending[i], uid = index_view_uid(run->box->view, seq);
		enum search_answer a = SEARCH_NO;
		enum err e = index_read_begin(run->box->index);

		if (e)
			return e;
		e = decide(run, uid, &a);
		index_read_end(run->box->index);
		if (e)
			note_failure(run, seq, uid, e);
		else if (a == SEARCH_YES)
			add_found(run->out, seq, run->score);
		e = imap_progress_tick(run->progress, seq);
		if (e)
			return e;
	}
	/* They came behind those that the round had found. */
	if (run->pending_count && run->out->count > found_before)
		sort_found(run->out, found_before);
	run->pending_count = 0;
	return OK;
}

/* ---- the run ---- */

/* Sets beside other keys are all that has to be looked at. */
static void
choose_messages(struct run *run)
{
	uint32_t count = index_view_count(run->box->view);

	if (run->plan->among) {
		imap_seqset_from_uids(run->box->view, run->plan->among, &run->seqs);
		return;
	}
	if (count)
		numset_add_range(&run->seqs, 1, count);
	for (const struct search_key *key = run->plan->root->child; key; key = key->next) {
		struct numset these = {0}, both = {0};

		if (key->kind != SEARCH_UIDS || key->negated)
			continue;
		imap_seqset_from_uids(run->box->view, &key->uids, &these);
		numset_intersect(&run->seqs, &these, &both);
		numset_free(&these);
		numset_free(&run->seqs);
		run->seqs = both;
	}
}

static enum err
run_round(struct run *run, int *more)
{
	enum err e = index_read_begin(run->box->index);

	if (e)
		return e;
	run->round_ms = io_now_ms();
	e = imap_scan_round(&run->scan, more);
	index_cache_walk_end(&run->walk);
	index_read_end(run->box->index);
	return e;
}

enum err
search_run(const struct search_box *box, struct search_plan *plan, struct imap_progress *progress,
	struct search_result *out)
{
	struct run *run = MEM_NEW(struct run);
	int more = 1;
	enum err e = OK;

	run->box = run->msg.box = box;
	run->plan = plan;
	run->progress = progress;
	run->out = out;
	choose_messages(run);
	if (plan->looked_max)
		imap_limit_cut(box->view, &run->seqs, plan->looked_max, &out->limit);
	search_stems_bind(plan, box);
	search_fts_ask(plan, box, numset_size(&run->seqs));
	run->scan = (struct imap_scan){.index = box->index,
		.mailbox = box->mailbox,
		.view = box->view,
		.seqs = &run->seqs,
		.visit = visit,
		.ctx = run};
	while (more && !e) {
		size_t before = out->count;

		e = run_round(run, &more);
		e = e ? e : decide_pending(run, before);
		e = e ? e : imap_progress_tick(progress, run->scan.next);
	}
	out->gone += run->scan.gone;
	search_fts_forget(plan);
	numset_free(&run->seqs);
	buf_free(&run->scratch);
	buf_free(&run->msg.decoded);
	buf_free(&run->msg.folded);
	free(run);
	return e;
}

/* ---- messages that were found ---- */

struct each_run {
	const struct search_each *each;
	struct imap_scan scan;
	struct index_cache_walk *walk;
	size_t at; /* in each->seqs */
	unsigned looked;
	int64_t round_ms;
	struct buf scratch;
};

/* A record that is not stored is made from the message, which takes longer. */
static enum err
each_record(struct each_run *run, uint32_t uid, struct str *record)
{
	const struct search_box *box = run->each->box;
	enum err e = OK;

	if (!run->walk)
		e = index_cache_walk_begin(box->index, box->mailbox, &run->walk);
	if (!e)
		e = index_cache_walk_get(run->walk, uid, record);
	if (!e && !mail_cache_check(*record))
		return OK;
	if (e && e != E_NOTFOUND)
		return e;
	buf_reset(&run->scratch);
	e = index_cache_get(box->index, box->mailbox, uid, &run->scratch, record);
	if (e == E_TEMPFAIL || e == E_CORRUPT)
		return e;
	if (e)
		*record = (struct str){NULL, 0};
	run->looked = ROUND_LOOK; /* a file was read: no long transaction over that */
	return OK;
}

static enum err
each_visit(uint32_t seq, const struct index_message *m, void *ctx)
{
	struct each_run *run = ctx;
	const struct search_each *each = run->each;
	struct index_message full = *m;
	struct str record = {NULL, 0};
	enum err e = OK;

	if (is_time(&run->looked, run->round_ms))
		return E_CANCELLED;
	while (run->at < each->count && each->seqs[run->at] < seq)
		run->at++;
	if (each->with_facts)
		e = index_message_facts(each->box->index, each->box->mailbox, &full);
	if (!e && each->with_record)
		e = each_record(run, full.uid, &record);
	return e ? e : each->visit(run->at, &full, record, each->ctx);
}

enum err
search_each(const struct search_each *each)
{
	const struct search_box *box = each->box;
	struct each_run run = {.each = each};
	struct numset seqs = {0};
	int more = each->count > 0;
	enum err e = OK;

	for (size_t i = 0; i < each->count; i++)
		numset_add(&seqs, each->seqs[i]);
	run.scan = (struct imap_scan){.index = box->index,
		.mailbox = box->mailbox,
		.view = box->view,
		.seqs = &seqs,
		.visit = each_visit,
		.ctx = &run};
	while (more && !e) {
		e = index_read_begin(box->index);
		if (e)
			break;
		run.round_ms = io_now_ms();
		e = imap_scan_round(&run.scan, &more);
		index_cache_walk_end(&run.walk);
		index_read_end(box->index);
		if (!e && each->progress)
			e = imap_progress_tick(each->progress, run.scan.next);
	}
	numset_free(&seqs);
	buf_free(&run.scratch);
	return e;
}

enum err
search_sent_date(
	const struct search_box *box, const struct index_message *m, struct str field, int64_t *out)
{
	struct index_message full = *m;
	time_t when = 0;
	int zone;
	enum err e;

	if (!mail_cache_sent_date_read(field, &when, &zone)) {
		*out = (int64_t)when;
		return OK;
	}
	e = index_message_facts(box->index, box->mailbox, &full);
	*out = full.internal_date;
	return e;
}

static enum err
modseq_visit(size_t n, const struct index_message *m, struct str record, void *ctx)
{
	uint64_t *highest = ctx;

	(void)n;
	(void)record;
	if (m->modseq > *highest)
		*highest = m->modseq;
	return OK;
}

enum err
search_highest_modseq(
	const struct search_box *box, const uint32_t *seqs, size_t count, uint64_t *out)
{
	struct search_each each = {
		.box = box, .seqs = seqs, .count = count, .visit = modseq_visit, .ctx = out};

	*out = 0;
	return search_each(&each);
}

/* ---- commands ---- */

void
search_start(struct imap_session *s, struct search_plan *plan, struct search_box *box,
	struct imap_progress *progress)
{
	if (plan->has_modseq)
		imap_enable(s, IMAP_CONDSTORE);
	/* RFC 7162 section 3.2.10.2 */
	s->has_numbers = plan->has_numbers;
	search_box_selected(s, box);
	search_plan_bind(plan, box);
	imap_progress_begin(progress, s, index_view_count(s->view));
}

enum err
search_reply(struct imap_session *s, const struct search_result *r, const char *done)
{
	char text[128];

	if (!r->failed)
		return imap_limit_reply_ok(s, &r->limit, r->gone ? "EXPUNGEISSUED" : NULL, done);
	snprintf(text, sizeof(text), "Message %u (UID %u) cannot be read: %s", r->failed_seq,
		r->failed_uid, err_text(r->failed));
	return imap_reply_no(s, err_is_temporary(r->failed) ? "UNAVAILABLE" : "SERVERBUG", text);
}

int
search_is_refused(const struct search_plan *plan)
{
	return plan->bad_charset || plan->undefined_filter;
}

enum err
search_reply_refused(struct imap_session *s, const struct search_plan *plan)
{
	char *code;

	if (plan->undefined_filter) {
		code = mem_printf("UNDEFINED-FILTER %s", plan->undefined_filter);
		(void)imap_reply_no(s, code, "There is no such filter, or it is not a search");
		free(code);
		return OK;
	}
	return imap_reply_no(
		s, "BADCHARSET (US-ASCII UTF-8 ISO-8859-1)", "This charset is not known here");
}
