/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

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
		return answer(day < wanted);
	case SEARCH_ON:
	case SEARCH_SENTON:
		return answer(day == wanted);
	default:
		return answer(day >= wanted);
	}
}

/*
 * INTERNALDATE is shown in the server's zone, so its day is of that zone. No zone is further than a
 * day from UTC: the zone, which costs, is only looked up near the wanted day.
 */
static enum search_answer
eval_internal_date(const struct search_key *key, int64_t when)
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

int
search_field_matches(struct search_message *msg, struct str value, struct str needle)
{
	struct str text;

	if (needle.len == 0)
		return 1;
	buf_reset(&msg->decoded);
	buf_reset(&msg->folded);
	rfc2047_decode(value, &msg->decoded);
	casemap_fold(buf_str(&msg->decoded), &msg->folded);
	text = buf_str(&msg->folded);
	return str_find_str(text, needle) < text.len;
}

static int
block_matches(struct search_message *msg, struct str block, const struct search_key *key)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;

	while (header_next(&it, &field))
		if (str_equal_i(field.name, key->word) &&
			search_field_matches(msg, field.value, buf_str(&key->needle)))
			return 1;
	return 0;
}

static enum search_answer
eval_header(const struct search_key *key, struct search_message *msg)
{
	struct str fields;

	if (!msg->has_record)
		return SEARCH_UNKNOWN;
	switch (mail_cache_header(msg->record, key->word, &fields)) {
	case MAIL_CACHE_HEADER_FOUND:
		return answer(block_matches(msg, fields, key));
	case MAIL_CACHE_HEADER_ABSENT:
		return SEARCH_NO;
	default:
		break;
	}
	if (!msg->has_content)
		return SEARCH_UNKNOWN;
	return answer(block_matches(msg, msg->content, key));
}

/* ---- the tree ---- */

static enum search_answer eval_key(const struct search_key *key, struct search_message *msg);

static enum search_answer
eval_children(const struct search_key *key, struct search_message *msg)
{
	/* The answer of one child that settles it; the other when all children give it. */
	enum search_answer settles = key->kind == SEARCH_AND ? SEARCH_NO : SEARCH_YES;
	enum search_answer result = key->kind == SEARCH_AND ? SEARCH_YES : SEARCH_NO;

	for (const struct search_key *child = key->child; child; child = child->next) {
		enum search_answer a = eval_key(child, msg);

		if (a == settles)
			return settles;
		if (a == SEARCH_UNKNOWN)
			result = SEARCH_UNKNOWN;
	}
	return result;
}

static enum search_answer
eval_record(const struct search_key *key, const struct search_message *msg)
{
	const struct index_message *m = msg->m;

	switch (key->kind) {
	case SEARCH_SEQ:
		return answer(numset_contains(&key->seqs, msg->seq));
	case SEARCH_FLAG:
		return answer((m->flags & key->flag) != 0);
	case SEARCH_RECENT:
		return answer(msg->recent);
	case SEARCH_NEW:
		return answer(msg->recent && !(m->flags & INDEX_SEEN));
	case SEARCH_KEYWORD:
		return answer(
			key->bit >= 0 && (m->keywords.bits[key->bit / 64] >> (key->bit % 64) & 1));
	case SEARCH_LARGER:
		return answer(m->size > key->number);
	case SEARCH_SMALLER:
		return answer(m->size < key->number);
	case SEARCH_BEFORE:
	case SEARCH_ON:
	case SEARCH_SINCE:
		return eval_internal_date(key, m->internal_date);
	default: /* SEARCH_ALL */
		return SEARCH_YES;
	}
}

static enum search_answer
eval_plain(const struct search_key *key, struct search_message *msg)
{
	switch (key->kind) {
	case SEARCH_AND:
	case SEARCH_OR:
		return eval_children(key, msg);
	case SEARCH_SENTBEFORE:
	case SEARCH_SENTON:
	case SEARCH_SENTSINCE:
		return eval_sent_date(key, msg);
	case SEARCH_HEADER:
		return eval_header(key, msg);
	case SEARCH_BODY:
	case SEARCH_TEXT:
		return msg->has_content ? answer(key->found) : SEARCH_UNKNOWN;
	default:
		return eval_record(key, msg);
	}
}

static enum search_answer
eval_key(const struct search_key *key, struct search_message *msg)
{
	enum search_answer a = eval_plain(key, msg);

	if (a == SEARCH_UNKNOWN || !key->negated)
		return a;
	return a == SEARCH_YES ? SEARCH_NO : SEARCH_YES;
}

enum search_answer
search_eval(const struct search_plan *plan, struct search_message *msg)
{
	return eval_key(plan->root, msg);
}
