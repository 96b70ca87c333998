/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <string.h>

#include "imap/search_fts.h"
#include "mail/cache.h"
#include "mail/date.h"
#include "mail/header.h"

/*
 * Three-valued logic (Kleene): a key for which too little is known is SEARCH_UNKNOWN, and a tree is
 * decided as soon as the cheap keys decide it.
 */

enum { DAY_SECONDS = 86400 };

static enum search_answer
answer(int yes)
{
	return yes ? SEARCH_YES : SEARCH_NO;
}

/* ---- dates ---- */

static enum search_answer
compare_days(enum search_kind kind, int day, int wanted)
{
	switch (kind) {
	case SEARCH_BEFORE:
	case SEARCH_SENTBEFORE:
	case SEARCH_SAVEDBEFORE:
		return answer(day < wanted);
	case SEARCH_ON:
	case SEARCH_SENTON:
	case SEARCH_SAVEDON:
		return answer(day == wanted);
	default:
		return answer(day >= wanted);
	}
}

/*
 * INTERNALDATE and SAVEDATE are shown in the server's zone, so their day is of that zone. No zone
 * is further than a day from UTC: the zone, which costs, is only looked up near the wanted day.
 */
static enum search_answer
eval_local_date(const struct search_key *key, int64_t when)
{
	int64_t day = when / DAY_SECONDS - (when % DAY_SECONDS < 0);

	if (day >= (int64_t)key->day - 1 && day <= (int64_t)key->day + 1)
		day = date_day((time_t)when, date_local_zone((time_t)when));
	else
		day = day < key->day ? (int64_t)key->day - 1 : (int64_t)key->day + 1;
	return compare_days(key->kind, (int)day, key->day);
}

/* The day as the sender wrote it; a message without a Date matches none of the SENT keys. */
static enum search_answer
eval_sent_date(const struct search_key *key, const struct search_message *msg)
{
	struct header_field date;
	time_t when;
	int zone;

	if (!msg->has_record || (!msg->record.len && !msg->has_content))
		return SEARCH_UNKNOWN;
	if (msg->record.len) {
		if (mail_cache_sent_date(msg->record, &when, &zone))
			return SEARCH_NO;
	} else if (!header_find(msg->content, STR("Date"), &date) ||
		   date_parse_rfc5322(date.value, &when, &zone)) {
		return SEARCH_NO;
	}
	return compare_days(key->kind, date_day(when, zone), key->day);
}

/* ---- texts ---- */

static enum search_answer
eval_header(const struct search_key *key, struct search_message *msg)
{
	unsigned score;

	return search_header_score(key, msg, 1, &score);
}

static enum search_answer
eval_text(const struct search_key *key, const struct search_message *msg)
{
	enum search_answer a = key->fts ? search_fts_answer(key->fts, msg->m) : SEARCH_UNKNOWN;

	return a == SEARCH_UNKNOWN && msg->has_content ? answer(key->found) : a;
}

/* ---- the tree ---- */

static enum search_answer eval_key(
	const struct search_key *key, struct search_message *msg, int64_t now);

static enum search_answer
eval_children(const struct search_key *key, struct search_message *msg, int64_t now)
{
	/* The answer of one child that settles it; the other when all children give it. */
	enum search_answer settles = key->kind == SEARCH_AND ? SEARCH_NO : SEARCH_YES;
	enum search_answer result = key->kind == SEARCH_AND ? SEARCH_YES : SEARCH_NO;

	for (const struct search_key *child = key->child; child; child = child->next) {
		enum search_answer a = eval_key(child, msg, now);

		if (a == settles)
			return settles;
		if (a == SEARCH_UNKNOWN)
			result = SEARCH_UNKNOWN;
	}
	return result;
}

static int
is_recent(const struct search_message *msg)
{
	return msg->box->recent && numset_contains(msg->box->recent, msg->m->uid);
}

static enum search_answer
eval_id(const struct search_key *key, const unsigned char id[SEARCH_ID_LEN])
{
	return answer(key->id_known && memcmp(id, key->id, SEARCH_ID_LEN) == 0);
}

static enum search_answer
eval_record(const struct search_key *key, const struct search_message *msg, int64_t now)
{
	const struct index_message *m = msg->m;

	switch (key->kind) {
	case SEARCH_UIDS:
		return answer(numset_contains(&key->uids, m->uid));
	case SEARCH_FLAG:
		return answer((m->flags & key->flag) != 0);
	case SEARCH_RECENT:
		return answer(is_recent(msg));
	case SEARCH_NEW:
		return answer(!(m->flags & INDEX_SEEN) && is_recent(msg));
	case SEARCH_KEYWORD:
		return answer(
			key->bit >= 0 && (m->keywords.bits[key->bit / 64] >> (key->bit % 64) & 1));
	case SEARCH_MODSEQ:
		return answer(m->modseq >= key->number);
	case SEARCH_LARGER:
		return answer(m->size > key->number);
	case SEARCH_SMALLER:
		return answer(m->size < key->number);
	case SEARCH_BEFORE:
	case SEARCH_ON:
	case SEARCH_SINCE:
		return eval_local_date(key, m->internal_date);
	case SEARCH_SAVEDBEFORE:
	case SEARCH_SAVEDON:
	case SEARCH_SAVEDSINCE:
		return eval_local_date(key, m->save_date);
	/* RFC 5032 section 3: both take in the second itself. */
	case SEARCH_OLDER:
		return answer(m->internal_date <= now - (int64_t)key->number);
	case SEARCH_YOUNGER:
		return answer(m->internal_date >= now - (int64_t)key->number);
	default: /* SEARCH_ALL */
		return SEARCH_YES;
	}
}

static enum search_answer
eval_plain(const struct search_key *key, struct search_message *msg, int64_t now)
{
	switch (key->kind) {
	case SEARCH_AND:
	case SEARCH_OR:
		return eval_children(key, msg, now);
	case SEARCH_SENTBEFORE:
	case SEARCH_SENTON:
	case SEARCH_SENTSINCE:
		return eval_sent_date(key, msg);
	case SEARCH_HEADER:
		return eval_header(key, msg);
	case SEARCH_BODY:
	case SEARCH_TEXT:
		return eval_text(key, msg);
	case SEARCH_EMAILID:
		return eval_id(key, msg->m->email_id);
	case SEARCH_THREADID:
		return eval_id(key, msg->m->thread_id);
	default:
		return eval_record(key, msg, now);
	}
}

static enum search_answer
eval_key(const struct search_key *key, struct search_message *msg, int64_t now)
{
	enum search_answer a = eval_plain(key, msg, now);

	if (a == SEARCH_UNKNOWN || !key->negated)
		return a;
	return a == SEARCH_YES ? SEARCH_NO : SEARCH_YES;
}

/* ---- relevancy ---- */

struct relevancy {
	unsigned sum, count; /* of the keys that have one */
	int unknown;
};

static void relevancy_add(const struct search_key *key, struct search_message *msg, int64_t now,
	struct relevancy *out);

static unsigned
relevancy_mean(const struct relevancy *r)
{
	return r->count ? (r->sum + r->count / 2) / r->count : 100;
}

/* Of those that match, the best. */
static void
relevancy_of_or(const struct search_key *key, struct search_message *msg, int64_t now,
	struct relevancy *out)
{
	unsigned best = 0;

	for (const struct search_key *child = key->child; child; child = child->next) {
		struct relevancy one = {0, 0, 0};
		enum search_answer a = eval_key(child, msg, now);

		if (!child->relevant || child->negated || a == SEARCH_NO)
			continue;
		if (a == SEARCH_UNKNOWN)
			out->unknown = 1;
		else
			relevancy_add(child, msg, now, &one);
		out->unknown |= one.unknown;
		if (one.count && relevancy_mean(&one) > best)
			best = relevancy_mean(&one);
	}
	out->sum += best;
	out->count += best > 0;
}

static void
relevancy_add(const struct search_key *key, struct search_message *msg, int64_t now,
	struct relevancy *out)
{
	unsigned score = 0;

	if (!key->relevant || key->negated)
		return;
	switch (key->kind) {
	case SEARCH_AND:
		for (const struct search_key *child = key->child; child; child = child->next)
			relevancy_add(child, msg, now, out);
		return;
	case SEARCH_OR:
		relevancy_of_or(key, msg, now, out);
		return;
	case SEARCH_HEADER:
		out->unknown |= search_header_score(key, msg, 100, &score) == SEARCH_UNKNOWN;
		break;
	default:
		score = key->fts ? search_fts_score(key->fts, msg->m) : 0;
		if (!score && msg->has_content)
			score = key->score;
		out->unknown |= !score && !msg->has_content;
		break;
	}
	out->sum += score;
	out->count += score > 0;
}

unsigned
search_relevancy(const struct search_plan *plan, struct search_message *msg)
{
	struct relevancy r = {0, 0, 0};

	relevancy_add(plan->root, msg, plan->now, &r);
	return r.unknown ? 0 : relevancy_mean(&r);
}

enum search_answer
search_eval(const struct search_plan *plan, struct search_message *msg)
{
	return eval_key(plan->root, msg, plan->now);
}
