/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <string.h>

#include "imap/search_fts.h"
#include "imap/search_words.h"
#include "mail/cache.h"
#include "mail/casemap.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/rfc2047.h"

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

/* ---- header fields ---- */

/* Whether decoding would change nothing: ASCII on one line without encoded words. */
static int
is_plain(struct str value)
{
	unsigned char high = 0;
	const char *q;

	for (size_t i = 0; i < value.len; i++)
		high |= (unsigned char)value.p[i] | (unsigned char)(value.p[i] < ' ' ? 0x80 : 0);
	if (high & 0x80)
		return 0;
	q = memmem(value.p, value.len, "=?", 2);
	return q == NULL;
}

/* The needle is folded: to capitals, as far as it is ASCII. */
static int
plain_contains(struct str value, struct str needle)
{
	char first = needle.p[0], other = str_lower(first);

	for (size_t i = 0; i + needle.len <= value.len; i++) {
		size_t n = 1;

		if (value.p[i] != first && value.p[i] != other)
			continue;
		while (n < needle.len && str_upper(value.p[i + n]) == needle.p[n])
			n++;
		if (n == needle.len)
			return 1;
	}
	return 0;
}

/* The value decoded and folded, in the scratch of msg. */
static struct str
folded_value(struct search_message *msg, struct str value)
{
	buf_reset(&msg->decoded);
	buf_reset(&msg->folded);
	rfc2047_decode(value, &msg->decoded);
	casemap_fold(buf_str(&msg->decoded), &msg->folded);
	return buf_str(&msg->folded);
}

int
search_field_matches(struct search_message *msg, struct str value, struct str needle)
{
	struct str text;

	if (needle.len == 0)
		return 1;
	if (is_plain(value))
		return plain_contains(value, needle);
	text = folded_value(msg, value);
	return str_find_str(text, needle) < text.len;
}

/* The relevancy of the best of the fields, at most enough; 0: none matches. */
static unsigned
block_score(
	struct search_message *msg, struct str block, const struct search_key *key, unsigned enough)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;
	unsigned best = 0;

	while (best < enough && header_next(&it, &field)) {
		unsigned score;

		if (!str_is_i(field.name, key->word))
			continue;
		if (key->words)
			score = search_words_of(key->words, folded_value(msg, field.value));
		else
			score = search_field_matches(msg, field.value, buf_str(&key->needle)) ? 100
											      : 0;
		best = score > best ? score : best;
	}
	return best;
}

/* SEARCH_YES: *score is the relevancy, if that is as good as enough it may be more. */
static enum search_answer
header_score(
	const struct search_key *key, struct search_message *msg, unsigned enough, unsigned *score)
{
	struct str fields;

	*score = 0;
	/* What the index has of a header is all of it, so that it knows where a field is not. */
	if (key->fts && search_fts_answer(key->fts, msg->m) == SEARCH_NO)
		return SEARCH_NO;
	if (!msg->has_record)
		return SEARCH_UNKNOWN;
	switch (mail_cache_header(msg->record, str_of(key->word), &fields)) {
	case MAIL_CACHE_HEADER_FOUND:
		*score = block_score(msg, fields, key, enough);
		return answer(*score != 0);
	case MAIL_CACHE_HEADER_ABSENT:
		return SEARCH_NO;
	default:
		break;
	}
	if (!msg->has_content)
		return SEARCH_UNKNOWN;
	*score = block_score(msg, msg->content, key, enough);
	return answer(*score != 0);
}

static enum search_answer
eval_header(const struct search_key *key, struct search_message *msg)
{
	unsigned score;

	return header_score(key, msg, 1, &score);
}

/* ---- texts ---- */

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
		out->unknown |= header_score(key, msg, 100, &score) == SEARCH_UNKNOWN;
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
