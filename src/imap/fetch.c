/* SPDX-License-Identifier: MIT */
#include "imap/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "imap/limit.h"
#include "imap/rights.h"
#include "imap/scan.h"
#include "imap/seqset.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/stream.h"

/*
 * FETCH in one of two ways. Where the file is not needed, messages are scanned with the cursor and
 * their answers are collected in memory; every TEXT_MAX bytes the read transaction ends and the
 * text goes to the client, so that a slow one never holds a transaction. Otherwise messages are
 * taken in batches: \Seen is set for a whole batch with one request, then each is answered by
 * itself, its file streamed.
 *
 * Messages that another session expunged and this client was not told of yet are in the view but
 * nowhere else. They get no answer. The tagged reply is OK [EXPUNGEISSUED] (RFC 5530) if others
 * were answered (RFC 2180 section 4.1.2), and NO [EXPUNGEISSUED] if the numbers named nothing else.
 * UID FETCH is always OK: it ignores what is not there (RFC 3501 section 6.4.8).
 */
enum {
	TEXT_MAX = 128 << 10,
	/*
	 * A batch is marked \Seen before it is sent, so a client that goes away in the middle
	 * leaves messages marked that it never got. These bounds keep them few.
	 */
	BATCH_MESSAGES = 256,
	BATCH_BYTES = 4 << 20,
	PREFETCH_MESSAGES = 32,
};

struct batch_entry {
	uint32_t seq, uid;
	int unseen;
};

struct fetch_run {
	struct imap_session *s;
	struct fetch_plan plan;
	struct fetch_context context;
	struct index_message message; /* what msg.m points to */
	struct fetch_message msg;
	struct numset seqs;
	struct imap_limit limit;
	struct buf text, scratch;
	struct imap_scan scan;
	uint64_t known[2]; /* keyword bits that have names */
	uint32_t refresh_for; /* UID with a keyword bit beyond them; 0: none */
	uint32_t refreshed; /* UID for which the names were read again already */

	struct batch_entry batch[BATCH_MESSAGES];
	size_t batch_count;
	uint64_t batch_bytes;

	uint64_t answered, gone;
	enum err failed; /* the first message that could not be read */
	uint32_t failed_seq, failed_uid;
};

/* ---- the context of the command ---- */

static void
learn_keywords(struct fetch_run *run)
{
	size_t n = run->s->keyword_count;

	run->context.keywords = run->s->keywords;
	run->context.keyword_count = n;
	for (size_t i = 0; i < 2; i++) {
		size_t here = n > i * 64 ? n - i * 64 : 0;

		run->known[i] = here >= 64 ? UINT64_MAX : ((uint64_t)1 << here) - 1;
	}
}

static int
has_unknown_keyword(const struct fetch_run *run, const struct index_message *m)
{
	return (m->keywords.bits[0] & ~run->known[0]) || (m->keywords.bits[1] & ~run->known[1]);
}

static struct fetch_run *
run_create(struct imap_session *s)
{
	struct fetch_run *run = MEM_NEW(struct fetch_run);

	run->s = s;
	run->scan.index = s->index;
	run->scan.mailbox = s->mailbox;
	run->scan.view = s->view;
	run->scan.seqs = &run->seqs;
	run->scan.ctx = run;
	run->context.plan = &run->plan;
	run->context.index = s->index;
	run->context.mailbox = s->mailbox;
	run->context.place = &s->fetch_place;
	run->context.condstore = (s->enabled & IMAP_CONDSTORE) != 0;
	run->context.rev2 = (s->enabled & IMAP_REV2) != 0;
	run->context.uid_only = (s->enabled & IMAP_UIDONLY) != 0;
	fetch_flags_text_init(&run->context.flags);
	imap_check_keywords(s);
	learn_keywords(run);
	return run;
}

static void
run_free(struct fetch_run *run)
{
	fetch_message_fini(&run->msg);
	fetch_plan_fini(&run->plan);
	numset_free(&run->seqs);
	buf_free(&run->text);
	buf_free(&run->scratch);
	free(run);
}

/* ---- one message ---- */

static void
note_failure(struct fetch_run *run, uint32_t seq, uint32_t uid, enum err e)
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
	log_event(LOGL_WARN, "imap.fetch failed", "error", err_word(e), "mailbox",
		log_u64(run->s->mailbox), "uid", log_u64(uid), NULL);
}

/*
 * What the client knows now, the synchronization need not repeat. A CONDSTORE client that did not
 * ask for MODSEQ has only half of a change.
 */
static void
note_told(struct fetch_run *run, const struct index_message *m, int tell_flags)
{
	struct imap_session *s = run->s;
	int condstore = run->context.condstore;
	int modseq = run->plan.has_modseq || (tell_flags && condstore);

	if (modseq && m->modseq > s->modseq_sent)
		s->modseq_sent = m->modseq;
	if ((run->plan.has_flags || tell_flags) && (modseq || !condstore) &&
		m->modseq > index_view_modseq(s->view))
		index_view_told(s->view, m->uid, m->modseq);
}

/* Appends the answer for m to run->text; holes are left in run->msg. */
static enum err
write_message(struct fetch_run *run, uint32_t seq, const struct index_message *m, int tell_flags)
{
	struct fetch_message *msg = &run->msg;
	enum err e = OK;

	run->message = *m;
	if (run->plan.has_facts)
		e = index_message_facts(run->s->index, run->s->mailbox, &run->message);
	if (!e && run->plan.has_ids)
		e = index_message_ids(run->s->index, run->s->mailbox, &run->message);
	msg->seq = seq;
	msg->m = &run->message;
	msg->recent = imap_is_recent(run->s, m->uid);
	msg->tell_flags = tell_flags;
	msg->record = (struct str){NULL, 0};
	if (!e && run->plan.need == FETCH_NEED_PEEK)
		(void)index_cache_peek(run->s->index, run->s->mailbox, m->uid, &msg->record);
	if (!e && run->plan.need >= FETCH_NEED_CACHE) {
		buf_reset(&run->scratch);
		e = index_cache_get(
			run->s->index, run->s->mailbox, m->uid, &run->scratch, &msg->record);
		if (e == E_TOOBIG) /* no record can hold it: all comes from the file */
			e = OK;
	}
	if (!e)
		e = fetch_item_write(&run->context, msg, &run->text);
	if (e) {
		note_failure(run, seq, m->uid, e);
		return e;
	}
	run->answered++;
	note_told(run, m, tell_flags);
	return OK;
}

/* ---- scanning ---- */

static enum err
visit_text(uint32_t seq, const struct index_message *m, void *ctx)
{
	struct fetch_run *run = ctx;

	if (run->text.len >= TEXT_MAX)
		return E_CANCELLED;
	if (run->plan.has_flags && has_unknown_keyword(run, m) && run->refreshed != m->uid) {
		run->refresh_for = m->uid;
		return E_CANCELLED;
	}
	if (!write_message(run, seq, m, 0) && run->plan.need > FETCH_NEED_RECORD)
		fetch_message_fini(&run->msg);
	return OK;
}

static enum err
visit_batch(uint32_t seq, const struct index_message *m, void *ctx)
{
	struct fetch_run *run = ctx;

	if (run->batch_count == BATCH_MESSAGES ||
		(run->batch_count && m->disk_size > BATCH_BYTES - run->batch_bytes))
		return E_CANCELLED;
	run->batch[run->batch_count++] =
		(struct batch_entry){seq, m->uid, !(m->flags & INDEX_SEEN)};
	run->batch_bytes += m->disk_size < BATCH_BYTES ? m->disk_size : BATCH_BYTES;
	if (run->batch_bytes > BATCH_BYTES)
		run->batch_bytes = BATCH_BYTES;
	return OK;
}

static enum err
flush_text(struct fetch_run *run)
{
	enum err e = stream_write(run->s->client, run->text.p, run->text.len);

	buf_reset(&run->text);
	return e;
}

static enum err
fetch_texts(struct fetch_run *run)
{
	int more = 1;
	enum err e = OK;

	run->scan.visit = visit_text;
	while (more && !e) {
		e = imap_scan_round(&run->scan, &more);
		if (!e)
			e = flush_text(run);
		if (!e && session_should_end(run->s->base))
			e = E_CANCELLED;
		if (run->refresh_for) {
			imap_refresh_keywords(run->s, NULL);
			learn_keywords(run);
			run->refreshed = run->refresh_for;
			run->refresh_for = 0;
		}
	}
	return e;
}

/* ---- batches ---- */

/* Sends run->text with the literals of the file in their places. */
static enum err
send_message(struct fetch_run *run)
{
	struct fetch_message *msg = &run->msg;
	struct stream *client = run->s->client;
	size_t at = 0;
	enum err e = OK;

	for (size_t i = 0; i < msg->hole_count && !e; i++) {
		struct fetch_hole *hole = &msg->holes[i];

		e = stream_write(client, run->text.p + at, hole->at - at);
		at = hole->at;
		if (!e)
			e = fetch_body_send(&run->context, msg, hole, client);
	}
	if (!e)
		e = stream_write(client, run->text.p + at, run->text.len - at);
	fetch_message_fini(msg);
	buf_reset(&run->text);
	return e;
}

/*
 * A literal was announced and cannot be filled: whatever came next would be taken for message
 * text. The connection is cut.
 */
static enum err
cut_connection(struct fetch_run *run, uint32_t uid, enum err e)
{
	if (e == E_CORRUPT) {
		log_event(LOGL_ERROR, "imap.fetch cut", "error", err_word(e), "mailbox",
			log_u64(run->s->mailbox), "uid", log_u64(uid), NULL);
		run->s->end = "cut";
	}
	shutdown(stream_fd(run->s->client), SHUT_RDWR);
	return E_CLOSED;
}

static enum err
fetch_one(struct fetch_run *run, const struct batch_entry *entry, int marked)
{
	struct imap_session *s = run->s;
	struct index_message m;
	enum err e = index_read_begin(s->index);

	if (e)
		return e;
	e = index_message_get(s->index, s->mailbox, entry->uid, &m);
	if (!e && (run->plan.has_flags || marked) && has_unknown_keyword(run, &m)) {
		imap_refresh_keywords(s, &m);
		learn_keywords(run);
	}
	if (e)
		note_failure(run, entry->seq, entry->uid, e);
	else
		e = write_message(run, entry->seq, &m, marked);
	index_read_end(s->index);
	if (e)
		return OK; /* noted; the others are answered */
	e = send_message(run);
	return e ? cut_connection(run, entry->uid, e) : OK;
}

/*
 * 1 when the messages of the batch that were unseen are \Seen now. When the index cannot be asked,
 * mail can still be read: the client gets it, unmarked.
 */
static int
mark_seen(struct fetch_run *run)
{
	struct imap_session *s = run->s;
	struct numset uids = {0};
	uint64_t modseq;
	enum err e = OK;

	if (!run->plan.marks_seen || s->read_only)
		return 0;
	for (size_t i = 0; i < run->batch_count; i++)
		if (run->batch[i].unseen)
			numset_add(&uids, run->batch[i].uid);
	if (!numset_is_empty(&uids))
		e = imap_rights_check(s, s->mailbox, RIGHT_SEEN);
	if (!e && !numset_is_empty(&uids))
		e = index_store(s->index, s->mailbox, &uids, INDEX_STORE_ADD, INDEX_SEEN, NULL, 0,
			UINT64_MAX, NULL, &modseq);
	if (e && e != E_ACCESS)
		log_event(LOGL_WARN, "imap.fetch unmarked", "error", err_word(e), "mailbox",
			log_u64(s->mailbox), NULL);
	numset_free(&uids);
	return !e;
}

/* Those behind the entry that is about to be fetched. */
static void
prefetch(struct fetch_run *run, size_t i)
{
	size_t end = i + PREFETCH_MESSAGES;

	for (size_t j = i + 1; j < run->batch_count && j <= end; j++)
		index_content_prefetch(run->s->index, run->s->mailbox, run->batch[j].uid);
}

static enum err
fetch_batches(struct fetch_run *run)
{
	int more = 1;
	enum err e = OK;

	run->scan.visit = visit_batch;
	while (more && !e) {
		int marked;

		run->batch_count = 0;
		run->batch_bytes = 0;
		e = imap_scan_round(&run->scan, &more);
		marked = mark_seen(run);
		for (size_t i = 0; i < run->batch_count && !e; i++) {
			if (i % PREFETCH_MESSAGES == 0)
				prefetch(run, i);
			e = fetch_one(run, &run->batch[i], marked && run->batch[i].unseen);
			if (!e && session_should_end(run->s->base))
				e = E_CANCELLED;
		}
	}
	return e;
}

/* ---- CHANGEDSINCE and VANISHED (RFC 7162) ---- */

/*
 * UIDs below UIDNEXT that the mailbox does not have, when the change log does not go back far
 * enough. Messages that came since the view was last in step are in the mailbox too.
 */
static enum err
note_present(const struct index_message *m, void *arg)
{
	numset_add(arg, m->uid);
	return OK;
}

static enum err
all_missing(struct imap_session *s, const struct numset *seen, struct numset *out)
{
	struct index_mailbox box = {0};
	struct numset all = {0}, present = {0};
	uint32_t last = imap_largest(s, 1);
	enum err e = index_mailbox_get_id(s->index, s->mailbox, &box);

	numset_copy(&present, seen);
	if (!e)
		e = index_message_each(
			s->index, s->mailbox, last + 1, UINT32_MAX, note_present, &present);
	if (!e && box.uidnext > 1)
		numset_add_range(&all, 1, box.uidnext - 1);
	numset_subtract(&all, &present, out);
	index_mailbox_free(&box);
	numset_free(&all);
	numset_free(&present);
	return e;
}

/*
 * RFC 7162 section 3.2.5.2: the highest UID up to which the client has the same messages as the
 * mailbox, as far as its samples show.
 */
static uint32_t
matched_uid(const struct imap_session *s, const struct fetch_resync *r)
{
	const struct numset *seqs = &r->known_seqs, *uids = &r->known_seq_uids;
	size_t k = 0;
	uint32_t uid = uids->count ? uids->ranges[0].first : 0, matched = 0;

	for (size_t i = 0; i < seqs->count; i++) {
		for (uint32_t seq = seqs->ranges[i].first; seq <= seqs->ranges[i].last; seq++) {
			if (k == uids->count || index_view_uid(s->view, seq) != uid)
				return matched;
			matched = uid;
			if (uid < uids->ranges[k].last)
				uid++;
			else if (++k < uids->count)
				uid = uids->ranges[k].first;
		}
	}
	return matched;
}

/*
 * VANISHED (EARLIER) for those of uids that were expunged behind since. Those still in the view are
 * told by the synchronization, as VANISHED alone (RFC 7162 section 3.2.10). resync may be NULL.
 */
static enum err
tell_vanished(struct imap_session *s, uint64_t since, const struct numset *uids,
	const struct fetch_resync *resync)
{
	struct numset every = {0}, seen = {0}, gone = {0}, asked = {0};
	uint32_t count = imap_largest(s, 0);
	int complete;
	enum err e = index_read_begin(s->index);

	if (e)
		return e;
	if (count > 0)
		numset_add_range(&every, 1, count);
	imap_seqset_to_uids(s->view, &every, &seen);
	e = index_vanished_since(s->index, s->mailbox, since, &gone, &complete);
	if (!e && !complete)
		e = all_missing(s, &seen, &gone);
	index_read_end(s->index);
	if (!e && !complete && resync)
		numset_remove_range(&gone, 0, matched_uid(s, resync));
	if (!e) {
		numset_intersect(&gone, uids, &asked);
		numset_subtract(&asked, &seen, &gone);
		imap_send_vanished(s, &gone, 1);
	}
	numset_free(&every);
	numset_free(&seen);
	numset_free(&gone);
	numset_free(&asked);
	return e;
}

/* Leaves in run->seqs the messages at the places that PARTIAL names. */
static void
apply_partial(struct fetch_run *run)
{
	const struct fetch_plan *plan = &run->plan;
	uint64_t first = plan->partial_from, last = plan->partial_to, place = 1;
	uint64_t total = numset_size(&run->seqs);
	struct numset chosen = {0};

	if (first > last) {
		first = plan->partial_to;
		last = plan->partial_from;
	}
	if (plan->from_end) {
		uint64_t behind = first - 1;

		first = last > total ? 1 : total - last + 1;
		last = behind > total ? 0 : total - behind;
	}
	for (size_t i = 0; i < run->seqs.count; i++) {
		const struct numset_range *r = &run->seqs.ranges[i];
		uint64_t n = (uint64_t)r->last - r->first + 1;
		uint64_t from = first > place ? first - place : 0;
		uint64_t to = last >= place ? last - place + 1 : 0;

		to = to > n ? n : to;
		if (from < to)
			numset_add_range(&chosen, (uint32_t)(r->first + from),
				(uint32_t)(r->first + to - 1));
		place += n;
	}
	numset_free(&run->seqs);
	run->seqs = chosen;
}

/*
 * Leaves in run->seqs what is to be answered, and tells what vanished of uids. PARTIAL comes before
 * CHANGEDSINCE (RFC 9394 section 3.4).
 */
static enum err
apply_modifiers(struct fetch_run *run, const struct numset *uids, const struct fetch_resync *resync)
{
	struct imap_session *s = run->s;
	struct numset changed = {0}, seqs = {0}, both = {0};
	enum err e = OK;

	if (run->plan.vanished)
		e = tell_vanished(s, run->plan.changed_since, uids, resync);
	if (!e && run->plan.is_partial)
		apply_partial(run);
	if (!e && run->plan.is_changed_since) {
		e = index_changed_since(s->index, s->mailbox, run->plan.changed_since, &changed);
		imap_seqset_from_uids(s->view, &changed, &seqs);
		numset_intersect(&run->seqs, &seqs, &both);
		numset_free(&run->seqs);
		run->seqs = both;
	}
	numset_free(&changed);
	numset_free(&seqs);
	return e;
}

enum err
imap_fetch_resync(struct imap_session *s, const struct fetch_resync *r)
{
	struct fetch_run *run = run_create(s);
	struct numset uids = {0};
	enum err e;

	if (r->has_uids)
		numset_copy(&uids, &r->uids);
	else
		numset_add_range(&uids, 1, UINT32_MAX);
	/* A moment that this index never was at: it was rebuilt. All is news. */
	fetch_plan_resync(r->since > index_view_modseq(s->view) ? 0 : r->since, &run->plan);
	imap_seqset_from_uids(s->view, &uids, &run->seqs);
	e = apply_modifiers(run, &uids, r);
	if (!e)
		e = fetch_texts(run);
	if (!e)
		e = run->failed;
	numset_free(&uids);
	run_free(run);
	return e;
}

enum err
imap_fetch_unasked(struct imap_session *s, const struct fetch_plan *plan, const struct numset *uids)
{
	struct fetch_run *run = run_create(s);
	enum err e;

	run->plan = *plan;
	imap_seqset_from_uids(s->view, uids, &run->seqs);
	e = plan->need == FETCH_NEED_CONTENT || plan->marks_seen ? fetch_batches(run)
								 : fetch_texts(run);
	run->plan = (struct fetch_plan){0};
	run_free(run);
	return e;
}

/* ---- the command ---- */

static const char *
failure_code(enum err e)
{
	if (e == E_TOOBIG)
		return "LIMIT";
	if (e == E_UNSUPPORTED)
		return "UNKNOWN-CTE"; /* RFC 3516 section 4.3 */
	return err_is_temporary(e) ? "UNAVAILABLE" : "SERVERBUG";
}

static enum err
reply(struct fetch_run *run, enum err e)
{
	struct imap_session *s = run->s;
	uint64_t gone = run->gone + run->scan.gone;
	char text[128];

	if (e)
		return imap_reply_error(s, e, "message");
	if (run->failed) {
		snprintf(text, sizeof(text), "Message %u (UID %u) cannot be read: %s",
			run->failed_seq, run->failed_uid, err_text(run->failed));
		return imap_reply_no(s, failure_code(run->failed), text);
	}
	if (gone && !run->answered && !s->uid)
		return imap_reply_no(s, "EXPUNGEISSUED", "These messages no longer exist");
	if (gone)
		return imap_limit_reply_ok(
			s, &run->limit, "EXPUNGEISSUED", "Some of the messages no longer exist");
	return imap_limit_reply_ok(
		s, &run->limit, NULL, s->uid ? "UID FETCH completed" : "FETCH completed");
}

/* RFC 9738 section 3.1: a page that is too large is refused. */
static int
page_is_too_large(const struct fetch_run *run, struct imap_limit *out)
{
	const struct fetch_plan *plan = &run->plan;
	uint32_t from = plan->partial_from, to = plan->partial_to;

	*out = (struct imap_limit){.messages = imap_limit_of_messages(run->s->conf)};
	return plan->is_partial && (from < to ? to - from : from - to) >= out->messages;
}

static enum err
fetch_do(struct fetch_run *run, const struct numset *uids)
{
	struct imap_session *s = run->s;
	enum err e;

	if (page_is_too_large(run, &run->limit))
		return imap_limit_reply_no(s, &run->limit);
	if (run->plan.has_modseq) {
		imap_enable(s, IMAP_CONDSTORE);
		run->context.condstore = 1;
	}
	if (s->uid)
		imap_seqset_from_uids(s->view, uids, &run->seqs);
	e = apply_modifiers(run, uids, NULL);
	imap_limit_cut(s->view, &run->seqs, imap_limit_of_messages(s->conf), &run->limit);
	if (!e && (run->plan.need == FETCH_NEED_CONTENT || run->plan.marks_seen))
		e = fetch_batches(run);
	else if (!e)
		e = fetch_texts(run);
	return reply(run, e);
}

static enum err
fetch(struct imap_session *s, struct imap_parser *p)
{
	struct fetch_run *run = run_create(s);
	struct numset uids = {0};
	enum err e;

	imap_parse_space(p);
	if (s->uid)
		imap_parse_uids(s, p, &uids);
	else
		imap_parse_messages(s, p, &run->seqs);
	imap_parse_space(p);
	e = fetch_plan_parse(p, s->uid, &run->plan);
	if (!e && run->plan.vanished && !(s->uid && (s->enabled & IMAP_QRESYNC)))
		e = imap_parser_fail(p, E_PARSE, "VANISHED needs UID FETCH and ENABLE QRESYNC");
	if (!e && run->plan.is_partial && !s->uid)
		e = imap_parser_fail(p, E_PARSE, "PARTIAL needs UID FETCH");
	if (!e)
		e = fetch_do(run, &uids);
	numset_free(&uids);
	run_free(run);
	return e;
}

const struct imap_command imap_command_fetch = {
	.name = "FETCH",
	.rfc = "3501 6.4.5",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "PREVIEW SAVEDATE PARTIAL",
	.run = fetch,
};
