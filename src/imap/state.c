/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/context.h"
#include "imap/notify.h"
#include "imap/rights.h"
#include "imap/seqset.h"
#include "imap/state.h"
#include "imap/urlauth.h"

uint32_t
imap_largest(const struct imap_session *s, int uid)
{
	uint32_t count;

	if (!s->view)
		return 0;
	count = index_view_count(s->view);
	return uid ? index_view_uid(s->view, count) : count;
}

int
imap_is_recent(const struct imap_session *s, uint32_t uid)
{
	return !(s->enabled & IMAP_REV2) && numset_contains(&s->recent, uid);
}

enum err
imap_parse_messages(struct imap_session *s, struct imap_parser *p, struct numset *seqs)
{
	struct numset uids = {0};
	size_t start = p->at;

	numset_free(seqs);
	if (s->uid || imap_parse_peek(p) == '$') {
		if (!imap_parse_uids(s, p, &uids))
			imap_seqset_from_uids(s->view, &uids, seqs);
		numset_free(&uids);
		return p->err;
	}
	if (imap_parse_sequence_set(p, imap_largest(s, 0), seqs))
		return p->err;
	if (seqs->count > 0 && seqs->ranges[seqs->count - 1].last > index_view_count(s->view)) {
		numset_free(seqs);
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "there is no message with such a number");
	}
	return OK;
}

enum err
imap_parse_uids(struct imap_session *s, struct imap_parser *p, struct numset *uids)
{
	if (imap_parse_try(p, '$')) {
		numset_copy(uids, &s->saved);
		return OK;
	}
	return imap_parse_sequence_set(p, imap_largest(s, 1), uids);
}

/* ---- mod-sequences ---- */

/*
 * After each tagged reply a CONDSTORE client takes the highest MODSEQ it has seen for the state of
 * its copy, unless HIGHESTMODSEQ says otherwise (RFC 7162 section 6). That is too high whenever
 * something with a lower mod-sequence could not be told yet: an expunge during FETCH, STORE or
 * SEARCH, or what a failed synchronization left. A client that then lost its connection would
 * never hear of it. So what it holds is followed here, and corrected. Too low a value only makes
 * the next answer to QRESYNC longer; it is brought up for those who use that.
 */
/* All up to here the client was told, flags too. */
static uint64_t
told_modseq(const struct imap_session *s)
{
	uint64_t told = index_view_modseq(s->view), missed = imap_notify_flags_missed(s);

	return missed && missed < told ? missed : told;
}

uint64_t
imap_state_due_modseq(struct imap_session *s)
{
	uint64_t held = s->modseq_sent > s->modseq_held ? s->modseq_sent : s->modseq_held, told;

	s->modseq_sent = 0;
	if (!s->view || !(s->enabled & IMAP_CONDSTORE))
		return 0;
	told = told_modseq(s);
	s->modseq_held = held;
	if (held == told || (held < told && !(s->enabled & IMAP_QRESYNC)))
		return 0;
	s->modseq_held = told;
	return told;
}

void
imap_send_highest_modseq(struct imap_session *s)
{
	s->modseq_held = told_modseq(s);
	s->modseq_sent = 0;
	imap_untagged(s, "OK [HIGHESTMODSEQ %" PRIu64 "] Highest", s->modseq_held);
}

void
imap_enable(struct imap_session *s, unsigned extensions)
{
	int first;

	if (extensions & IMAP_QRESYNC)
		extensions |= IMAP_CONDSTORE;
	first = (extensions & ~s->enabled & IMAP_CONDSTORE) != 0;
	s->enabled |= extensions;
	if (first && s->view)
		imap_send_highest_modseq(s);
}

/* ---- keywords ---- */

static int
has_unknown_keyword(const struct imap_session *s, const struct index_message *m)
{
	for (size_t i = s->keyword_count; i < INDEX_KEYWORDS_MAX; i++)
		if (m->keywords.bits[i / 64] >> (i % 64) & 1)
			return 1;
	return 0;
}

/* Those that rights allow to change. */
static void
flags_add(const struct imap_session *s, struct buf *out, unsigned rights, const char *last)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{INDEX_ANSWERED, "\\Answered"},
		{INDEX_FLAGGED, "\\Flagged"},
		{INDEX_DELETED, "\\Deleted"},
		{INDEX_SEEN, "\\Seen"},
		{INDEX_DRAFT, "\\Draft"},
	};
	const char *gap = "(";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(index_rights_flags(rights) & names[i].bit))
			continue;
		(void)buf_printf(out, "%s%s", gap, names[i].name);
		gap = " ";
	}
	for (size_t i = 0; i < s->keyword_count && (rights & RIGHT_WRITE); i++) {
		if (!s->keywords[i][0])
			continue;
		(void)buf_printf(out, "%s%s", gap, s->keywords[i]);
		gap = " ";
	}
	(void)buf_printf(out, "%s%s)", gap[0] == '(' ? "(" : "", last);
}

void
imap_send_mailbox_flags(struct imap_session *s)
{
	struct buf line = BUF_INIT(0);

	(void)buf_add_cstr(&line, "FLAGS ");
	flags_add(s, &line, RIGHTS_ALL, "");
	imap_untagged(s, "%s", buf_cstr(&line));
	buf_reset(&line);
	(void)buf_add_cstr(&line, "OK [PERMANENTFLAGS ");
	if (s->read_only)
		(void)buf_add_cstr(&line, "()");
	else
		/* A full table makes room when some keyword is not in use. */
		flags_add(s, &line, s->rights, s->rights & RIGHT_WRITE ? " \\*" : "");
	imap_untagged(s, "%s] Flags that are kept", buf_cstr(&line));
	buf_free(&line);
}

void
imap_refresh_keywords(struct imap_session *s, const struct index_message *m)
{
	char **names = NULL;
	size_t count = 0;
	uint64_t epoch = s->keywords_epoch;

	if (m && !m->keywords.bits[0] && !m->keywords.bits[1])
		return;
	(void)index_mailbox_keywords_epoch(s->index, s->mailbox, &epoch);
	if (m && epoch == s->keywords_epoch && !has_unknown_keyword(s, m))
		return;
	if (index_mailbox_keywords(s->index, s->mailbox, &names, &count))
		return;
	if (epoch == s->keywords_epoch && count <= s->keyword_count) {
		index_names_free(&names, count);
		return;
	}
	s->keywords_epoch = epoch;
	index_names_free(&s->keywords, s->keyword_count);
	s->keywords = names;
	s->keyword_count = count;
	imap_send_mailbox_flags(s);
}

void
imap_check_keywords(struct imap_session *s)
{
	uint64_t epoch = s->keywords_epoch;

	if (index_mailbox_keywords_epoch(s->index, s->mailbox, &epoch) == OK &&
		epoch != s->keywords_epoch)
		imap_refresh_keywords(s, NULL);
}

/* ---- telling changes ---- */

static void
fetch_begin(
	const struct imap_session *s, struct buf *line, uint32_t seq, const struct index_message *m)
{
	int uid_only = (s->enabled & IMAP_UIDONLY) != 0;

	buf_reset(line);
	(void)buf_add_cstr(line, "* ");
	(void)buf_add_u64(line, uid_only ? m->uid : seq);
	(void)buf_add_cstr(line, uid_only ? " UIDFETCH (" : " FETCH (");
}

static void
modseq_add(struct imap_session *s, struct buf *line, const struct index_message *m)
{
	(void)buf_add_cstr(line, "MODSEQ (");
	(void)buf_add_u64(line, m->modseq);
	(void)buf_add_char(line, ')');
	if (m->modseq > s->modseq_sent)
		s->modseq_sent = m->modseq;
}

static void
fetch_end(struct imap_session *s, struct buf *line, const struct index_message *m)
{
	(void)buf_add_cstr(line, ")\r\n");
	(void)stream_write_str(s->client, buf_str(line));
	index_view_told(s->view, m->uid, m->modseq);
}

void
imap_send_flags(struct imap_session *s, uint32_t seq, const struct index_message *m, int with_uid)
{
	struct buf *line = &s->flags_line;
	int condstore = (s->enabled & IMAP_CONDSTORE) != 0;

	/* A STORE of a whole mailbox comes through here: nothing is allocated or formatted. */
	imap_refresh_keywords(s, m);
	fetch_begin(s, line, seq, m);
	/* RFC 7162 section 3.2.4: UID goes with MODSEQ; RFC 9051 section 7.5.2: always. */
	if (with_uid || condstore || (s->enabled & IMAP_REV2)) {
		(void)buf_add_cstr(line, "UID ");
		(void)buf_add_u64(line, m->uid);
		(void)buf_add_char(line, ' ');
	}
	(void)buf_add_cstr(line, "FLAGS ");
	imap_write_flags(s, m, line);
	if (condstore) {
		(void)buf_add_char(line, ' ');
		modseq_add(s, line, m);
	}
	fetch_end(s, line, m);
}

void
imap_send_modseq(struct imap_session *s, uint32_t seq, const struct index_message *m)
{
	struct buf *line = &s->flags_line;

	fetch_begin(s, line, seq, m);
	(void)buf_add_cstr(line, "UID ");
	(void)buf_add_u64(line, m->uid);
	(void)buf_add_char(line, ' ');
	modseq_add(s, line, m);
	fetch_end(s, line, m);
}

/* A line of a few KB: some clients take no more. */
void
imap_send_vanished(struct imap_session *s, const struct numset *uids, int earlier)
{
	enum { RANGES_A_LINE = 400 };
	struct numset part = {0};
	struct buf *line = &s->flags_line; /* s->out may hold the code of the tagged reply */

	for (size_t i = 0; i < uids->count; i += RANGES_A_LINE) {
		part.ranges = uids->ranges + i;
		part.count = uids->count - i < RANGES_A_LINE ? uids->count - i : RANGES_A_LINE;
		buf_reset(line);
		(void)buf_add_cstr(line, earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
		(void)numset_format(&part, line);
		(void)buf_add_cstr(line, "\r\n");
		(void)stream_write_str(s->client, buf_str(line));
	}
}

void
imap_state_claim_recent(struct imap_session *s, uint32_t first_seq)
{
	uint32_t from = 0, count = index_view_count(s->view);

	if (s->read_only) {
		struct index_mailbox box = {0};

		/* EXAMINE must not take \Recent from anybody (RFC 3501 section 6.3.2). */
		if (!index_mailbox_get_id(s->index, s->mailbox, &box))
			from = box.recent_from;
		index_mailbox_free(&box);
	} else if (index_claim_recent(s->index, s->mailbox, &from)) {
		from = 0;
	}
	if (from == 0)
		return;
	if (first_seq < index_view_lower(s->view, from))
		first_seq = index_view_lower(s->view, from);
	for (uint32_t seq = first_seq; seq <= count; seq++)
		numset_add(&s->recent, index_view_uid(s->view, seq));
}

/* The expunges of one synchronization come before all else in it. */
struct sync {
	struct imap_session *s;
	struct numset vanished; /* not sent yet */
	unsigned wanted; /* imap_notify_selected */
	uint64_t from; /* mod-sequence before it */
};

static void
vanished_flush(struct sync *y)
{
	imap_send_vanished(y->s, &y->vanished, 0);
	numset_free(&y->vanished);
}

static void
on_expunged(uint32_t seq, uint32_t uid, void *arg)
{
	struct sync *y = arg;

	numset_remove_range(&y->s->recent, uid, uid);
	numset_remove_range(&y->s->saved, uid, uid);
	/* Mostly imap_contexts_update has told it: this is what came in between. */
	if (y->s->contexts) {
		vanished_flush(y);
		imap_contexts_expunged(y->s, seq, uid);
	}
	if (y->s->enabled & (IMAP_QRESYNC | IMAP_UIDONLY))
		numset_add(&y->vanished, uid);
	else
		imap_untagged(y->s, "%" PRIu32 " EXPUNGE", seq);
}

static void
on_changed(uint32_t seq, const struct index_message *m, void *arg)
{
	struct sync *y = arg;

	if (!(y->wanted & IMAP_NOTIFY_FLAGS)) {
		imap_notify_miss_flags(y->s, y->from);
		return;
	}
	vanished_flush(y);
	/* RFC 3501 section 6.4.8: answers to a UID command have the UID; RFC 5465 section 5.1. */
	imap_send_flags(y->s, seq, m, y->s->uid || y->s->notify);
}

/* No transaction waits for a slow client. */
static void
on_pause(void *arg)
{
	struct sync *y = arg;

	stream_hold(y->s->client, 0);
	stream_hold(y->s->client, 1);
}

static void
on_exists(uint32_t count, void *arg)
{
	struct sync *y = arg;

	vanished_flush(y);
	imap_untagged(y->s, "%" PRIu32 " EXISTS", count);
}

static void
flags_tell(struct imap_session *s, uint32_t uid)
{
	uint32_t seq = index_view_seq(s->view, uid);
	struct index_message m;

	if (!seq || index_read_begin(s->index))
		return;
	if (!index_message_get(s->index, s->mailbox, uid, &m))
		imap_send_flags(s, seq, &m, 1);
	index_read_end(s->index);
}

/* Flags are wanted again, after a time when they were not. */
static void
missed_flags_tell(struct imap_session *s, struct sync *y)
{
	enum { PIECE = 1000 };
	struct numset uids = {0};
	size_t told = 0;

	if (index_changed_since(s->index, s->mailbox, imap_notify_flags_missed(s), &uids))
		return;
	for (size_t i = 0; i < uids.count; i++) {
		for (uint64_t uid = uids.ranges[i].first; uid <= uids.ranges[i].last; uid++) {
			flags_tell(s, (uint32_t)uid);
			if (++told % PIECE == 0)
				on_pause(y);
		}
	}
	numset_free(&uids);
	imap_notify_forget_flags(s);
}

void
imap_state_sync(struct imap_session *s, int with_expunges)
{
	static const struct index_view_events events = {
		on_expunged, on_changed, on_exists, on_pause};
	struct sync sync = {.s = s};
	uint32_t last_uid;
	enum err e;

	if (!s->view)
		return;
	imap_urlauth_sync(s);
	sync.wanted = imap_notify_selected(s);
	if (!(sync.wanted & IMAP_NOTIFY_MESSAGES))
		return;
	sync.from = index_view_modseq(s->view);
	last_uid = imap_largest(s, 1);
	stream_hold(s->client, 1);
	if ((sync.wanted & IMAP_NOTIFY_FLAGS) && imap_notify_flags_missed(s))
		missed_flags_tell(s, &sync);
	e = index_view_sync(s->view, with_expunges && !s->contexts, &events, &sync);
	if (!e && s->contexts) {
		/* RFC 5267: ADDTO behind EXISTS, REMOVEFROM in front of EXPUNGE. */
		imap_contexts_update(s);
		if (with_expunges)
			e = index_view_sync(s->view, 1, &events, &sync);
	}
	vanished_flush(&sync);
	stream_hold(s->client, 0);
	if (e == E_NOTFOUND && !s->end)
		imap_bye(s, "deleted", "The selected mailbox was deleted");
	if (e)
		return;
	/* New messages stand at the end: UIDs rise. */
	if (imap_largest(s, 1) > last_uid) {
		imap_state_claim_recent(s, index_view_lower(s->view, last_uid + 1));
		if (!(s->enabled & IMAP_REV2))
			imap_untagged(s, "%" PRIu64 " RECENT", numset_size(&s->recent));
		imap_notify_fetch_new(s, last_uid);
	}
}

void
imap_state_unselect(struct imap_session *s)
{
	imap_notify_unselected(s);
	index_view_close(&s->view);
	index_names_free(&s->keywords, s->keyword_count);
	s->keyword_count = 0;
	s->mailbox = 0;
	s->uidvalidity = 0;
	s->read_only = 0;
	s->modseq_held = s->modseq_sent = 0;
	s->url_key_told = 0;
	numset_free(&s->recent);
	numset_free(&s->saved);
	imap_contexts_free(s);
	if (s->state == IMAP_SELECTED) {
		imap_state_set(s, IMAP_AUTHENTICATED);
		if (!s->end)
			session_report(s->base, s->user.name, "");
	}
}
