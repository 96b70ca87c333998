/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "imap/scan.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/stream.h"

/*
 * SEARCH in rounds: the cursor runs over the records, and what they alone decide is decided there.
 * Up to PENDING messages that need their cache record or file are put by; then the scan's
 * transaction ends, and each of them is decided in one of its own.
 *
 * Messages that another session expunged match nothing; the reply then has [EXPUNGEISSUED] (RFC
 * 5530). A message whose file cannot be read makes the reply NO, since the result may lack it.
 */
enum {
	PENDING = 512,
	/* A long search says that it lives, and finds out that nobody waits for it any more. */
	TELL_AFTER_SECONDS = 15,
};

struct search_run {
	struct imap_session *s;
	struct search_plan plan;
	struct search_message msg;
	struct numset seqs; /* the messages in question */
	struct imap_scan scan;
	uint32_t pending[PENDING];
	size_t pending_count;
	uint32_t *found; /* message numbers */
	size_t found_count, found_cap;
	struct buf scratch;
	uint64_t gone;
	enum err failed;
	uint32_t failed_seq, failed_uid;
	time_t told; /* monotonic */
};

static time_t
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

static void
run_free(struct search_run *run)
{
	search_plan_fini(&run->plan);
	numset_free(&run->seqs);
	free(run->found);
	buf_free(&run->scratch);
	buf_free(&run->msg.decoded);
	buf_free(&run->msg.folded);
	free(run);
}

static void
add_found(struct search_run *run, uint32_t seq)
{
	if (run->found_count == run->found_cap) {
		run->found_cap = run->found_cap ? 2 * run->found_cap : 256;
		run->found = mem_realloc(run->found, run->found_cap, sizeof(*run->found));
	}
	run->found[run->found_count++] = seq;
}

/* ---- deciding ---- */

static enum err
message_init(struct search_run *run, uint32_t seq, struct index_message *m)
{
	run->msg.seq = seq;
	run->msg.m = m;
	run->msg.recent = imap_is_recent(run->s, m->uid);
	run->msg.has_record = run->msg.has_content = 0;
	run->msg.record = (struct str){NULL, 0};
	return run->plan.has_facts ? index_message_facts(run->s->index, run->s->mailbox, m) : OK;
}

static enum err
visit(uint32_t seq, const struct index_message *m, void *ctx)
{
	struct search_run *run = ctx;
	struct index_message full = *m;
	enum search_answer a;
	enum err e;

	if (run->pending_count == PENDING)
		return E_CANCELLED;
	e = message_init(run, seq, &full);
	if (e)
		return e;
	a = search_eval(&run->plan, &run->msg);
	if (a == SEARCH_YES)
		add_found(run, seq);
	else if (a == SEARCH_UNKNOWN)
		run->pending[run->pending_count++] = seq;
	return OK;
}

static enum err
decide_by_content(struct search_run *run, uint32_t uid, enum search_answer *a)
{
	struct imap_session *s = run->s;
	struct index_content content;
	enum err e = index_content_open(s->index, s->mailbox, uid, &content);

	if (e)
		return e;
	run->msg.content = str_make(content.p, content.len);
	run->msg.has_content = 1;
	search_content_scan(run->plan.texts, run->plan.text_count, run->msg.content);
	*a = search_eval(&run->plan, &run->msg);
	index_content_close(&content);
	return OK;
}

/* Inside a read transaction. */
static enum err
decide(struct search_run *run, uint32_t seq, uint32_t uid, enum search_answer *a)
{
	struct imap_session *s = run->s;
	struct index_message m;
	enum err e = index_message_get(s->index, s->mailbox, uid, &m);

	e = e ? e : message_init(run, seq, &m);
	if (e)
		return e;
	buf_reset(&run->scratch);
	e = index_cache_get(s->index, s->mailbox, uid, &run->scratch, &run->msg.record);
	if (e && e != E_TOOBIG) /* then no record can hold it: all comes from the file */
		return e;
	run->msg.has_record = 1;
	*a = search_eval(&run->plan, &run->msg);
	return *a == SEARCH_UNKNOWN ? decide_by_content(run, uid, a) : OK;
}

/* Between two messages. An error ends the search. */
static enum err
pause_a_moment(struct search_run *run, uint32_t seq)
{
	struct imap_session *s = run->s;
	time_t now = seconds();

	if (session_should_end(s->base))
		return E_CANCELLED;
	if (now - run->told < TELL_AFTER_SECONDS)
		return OK;
	run->told = now;
	imap_untagged(s, "OK Searching, at message %" PRIu32 " of %" PRIu32, seq,
		index_view_count(s->view));
	return stream_flush(s->client);
}

static void
note_failure(struct search_run *run, uint32_t seq, uint32_t uid, enum err e)
{
	if (e == E_NOTFOUND) {
		run->gone++;
		return;
	}
	if (run->failed)
		return;
	run->failed = e;
	run->failed_seq = seq;
	run->failed_uid = uid;
	log_event(LOGL_WARN, "imap.search failed", "error", err_word(e), "mailbox",
		log_u64(run->s->mailbox), "uid", log_u64(uid), NULL);
}

static enum err
decide_pending(struct search_run *run)
{
	struct imap_session *s = run->s;

	for (size_t i = 0; i < run->pending_count; i++) {
		uint32_t seq = run->pending[i], uid = index_view_uid(s->view, seq);
		enum search_answer a = SEARCH_NO;
		enum err e = index_read_begin(s->index);

		if (e)
			return e;
		e = decide(run, seq, uid, &a);
		index_read_end(s->index);
		if (e)
			note_failure(run, seq, uid, e);
		else if (a == SEARCH_YES)
			add_found(run, seq);
		e = pause_a_moment(run, seq);
		if (e)
			return e;
	}
	run->pending_count = 0;
	return OK;
}

/* ---- the command ---- */

/* A sequence set or UID set beside other keys is all that has to be looked at. */
static void
choose_messages(struct search_run *run)
{
	uint32_t count = index_view_count(run->s->view);

	for (const struct search_key *key = run->plan.root->child; key; key = key->next) {
		if (key->kind == SEARCH_SEQ && !key->negated) {
			numset_copy(&run->seqs, &key->seqs);
			if (count < UINT32_MAX)
				numset_remove_range(&run->seqs, count + 1, UINT32_MAX);
			return;
		}
	}
	if (count)
		numset_add_range(&run->seqs, 1, count);
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static enum err
find(struct search_run *run)
{
	int more = 1;
	enum err e = OK;

	run->scan = (struct imap_scan){.s = run->s, .seqs = &run->seqs, .visit = visit, .ctx = run};
	while (more && !e) {
		e = imap_scan_round(&run->scan, &more);
		if (!e)
			e = decide_pending(run);
	}
	run->gone += run->scan.gone;
	if (!e && run->plan.root->need > SEARCH_NEED_RECORD && run->found_count)
		qsort(run->found, run->found_count, sizeof(*run->found), compare_numbers);
	return e;
}

static void
send_found(struct search_run *run)
{
	struct imap_session *s = run->s;
	struct buf *out = &run->scratch;

	buf_reset(out);
	buf_add_cstr(out, "* SEARCH");
	for (size_t i = 0; i < run->found_count; i++) {
		uint32_t n = run->found[i];

		buf_add_char(out, ' ');
		buf_add_u64(out, s->uid ? index_view_uid(s->view, n) : n);
	}
	buf_add_cstr(out, "\r\n");
	stream_write_str(s->client, buf_str(out));
}

static enum err
reply(struct search_run *run, enum err e)
{
	struct imap_session *s = run->s;
	char text[128];

	if (e)
		return imap_reply_error(s, e, "message");
	send_found(run);
	if (run->failed) {
		snprintf(text, sizeof(text), "Message %u (UID %u) cannot be read: %s",
			run->failed_seq, run->failed_uid, err_text(run->failed));
		return imap_reply_no(
			s, err_is_temporary(run->failed) ? "UNAVAILABLE" : "SERVERBUG", text);
	}
	return imap_reply_ok(s, run->gone ? "EXPUNGEISSUED" : NULL,
		s->uid ? "UID SEARCH completed" : "SEARCH completed");
}

static enum err
search_messages(struct search_run *run)
{
	struct imap_session *s = run->s;

	if (run->plan.bad_charset)
		return imap_reply_no(s, "BADCHARSET (US-ASCII UTF-8 ISO-8859-1)",
			"This charset is not known here");
	if (run->plan.has_keywords) {
		imap_refresh_keywords(s, NULL);
		search_plan_bind(&run->plan, s->keywords, s->keyword_count);
	}
	choose_messages(run);
	return reply(run, find(run));
}

static enum err
search(struct imap_session *s, struct imap_parser *p)
{
	struct search_run *run = MEM_NEW(struct search_run);
	enum err e;

	run->s = s;
	run->told = seconds();
	imap_parse_space(p);
	e = search_plan_parse(s, p, &run->plan);
	if (!e)
		e = search_messages(run);
	run_free(run);
	return e;
}

const struct imap_command imap_command_search = {
	.name = "SEARCH",
	.rfc = "3501 6.4.4",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.run = search,
};
