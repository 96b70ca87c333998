/* SPDX-License-Identifier: MIT */
#include "imap/search_fts.h"

#include <stdlib.h>
#include <string.h>

#include "imap/search_words.h"
#include "index/fts/fts_client.h"
#include "lib/mem.h"

enum {
	/* The header fields of fewer messages are read faster than asked about. */
	HEADERS_MIN = 16,
	/* The same of fields that cache records have. */
	CACHED_MIN = 2000,
};

/* A set of email ids. */
struct id_table {
	struct str ids; /* borrowed */
	uint32_t *slots; /* number of the id + 1; 0: free */
	size_t slot_count;
};

struct search_fts_key {
	const struct numset *uids; /* that the index has */
	int all_maybe;
	struct id_table yes, maybe;
	struct str scores; /* of yes, in its order; may be empty */
};

struct search_fts {
	struct fts_reply reply;
	struct search_key *asked[FTS_KEYS_MAX]; /* of the plan */
	struct search_fts_key keys[FTS_KEYS_MAX];
	size_t count;
};

/* ---- sets of ids: hashes already ---- */

static size_t
slot_of(const struct id_table *t, const unsigned char id[SEARCH_ID_LEN])
{
	uint64_t h;
	size_t at;

	memcpy(&h, id, sizeof(h));
	for (at = (size_t)h & (t->slot_count - 1); t->slots[at];
		at = (at + 1) & (t->slot_count - 1))
		if (memcmp(t->ids.p + (size_t)(t->slots[at] - 1) * SEARCH_ID_LEN, id,
			    SEARCH_ID_LEN) == 0)
			break;
	return at;
}

static void
table_make(struct id_table *t, struct str ids)
{
	size_t count = ids.len / SEARCH_ID_LEN;

	t->ids = ids;
	t->slot_count = 16;
	while (t->slot_count < 2 * count)
		t->slot_count *= 2;
	t->slots = mem_zalloc(t->slot_count * sizeof(*t->slots));
	for (size_t i = 0; i < count; i++)
		t->slots[slot_of(t, (const unsigned char *)ids.p + i * SEARCH_ID_LEN)] =
			(uint32_t)i + 1;
}

/* Its place plus 1; 0: it is not there. */
static uint32_t
table_find(const struct id_table *t, const unsigned char id[SEARCH_ID_LEN])
{
	return t->slots[slot_of(t, id)];
}

/* ---- asking ---- */

static void
key_describe(const struct search_key *key, struct fts_key *out)
{
	out->where = key->kind == SEARCH_TEXT	? FTS_IN_TEXT
		     : key->kind == SEARCH_BODY ? FTS_IN_BODY
						: FTS_IN_HEADER;
	out->how = !key->words ? FTS_SUBSTRING : key->fuzzy ? FTS_FUZZY : FTS_BY_WORDS;
	out->needle = buf_str(&key->needle);
}

static enum err
ask(struct search_fts *fts, const struct search_box *box)
{
	struct fts_key keys[FTS_KEYS_MAX];
	struct index_mailbox m = {0};
	enum err e = index_mailbox_get_id(box->index, box->mailbox, &m);

	fts_reply_init(&fts->reply);
	for (size_t i = 0; i < fts->count; i++)
		key_describe(fts->asked[i], &keys[i]);
	e = e ? e
	      : fts_client_ask(box->fts, m.object_id, m.uidvalidity, keys, fts->count, &fts->reply);
	index_mailbox_free(&m);
	return e;
}

/* Bodies are asked about always: what is in documents attached to a message the index alone knows.
 */
static void
choose_keys(struct search_fts *fts, const struct search_plan *plan, uint64_t count)
{
	for (size_t i = 0; i < plan->text_count && fts->count < FTS_KEYS_MAX; i++)
		fts->asked[fts->count++] = plan->texts[i];
	for (size_t i = 0; i < plan->header_count && fts->count < FTS_KEYS_MAX; i++) {
		struct search_key *key = plan->headers[i];

		/* Any field has the empty string, and that of none is asked by its name. */
		if (key->needle.len && count >= (key->is_cached ? CACHED_MIN : HEADERS_MIN))
			fts->asked[fts->count++] = key;
	}
}

void
search_fts_ask(struct search_plan *plan, const struct search_box *box, uint64_t count)
{
	struct search_fts *fts;

	/* The user's index has his own mail alone. */
	if (!box->fts || !count || index_mailbox_is_shared(box->mailbox))
		return;
	fts = plan->fts = MEM_NEW(struct search_fts);
	choose_keys(fts, plan, count);
	if (!fts->count) {
		MEM_FREE(plan->fts);
		return;
	}
	if (ask(fts, box)) {
		search_fts_forget(plan);
		return;
	}
	for (size_t i = 0; i < fts->count; i++) {
		struct search_fts_key *key = &fts->keys[i];

		key->uids = &fts->reply.uids;
		key->all_maybe = fts->reply.keys[i].all_maybe;
		key->scores = fts->reply.keys[i].scores;
		table_make(&key->yes, fts->reply.keys[i].yes);
		table_make(&key->maybe, fts->reply.keys[i].maybe);
		fts->asked[i]->fts = key;
	}
}

void
search_fts_forget(struct search_plan *plan)
{
	struct search_fts *fts = plan->fts;

	if (!fts)
		return;
	for (size_t i = 0; i < fts->count; i++) {
		fts->asked[i]->fts = NULL;
		free(fts->keys[i].yes.slots);
		free(fts->keys[i].maybe.slots);
	}
	fts_reply_free(&fts->reply);
	MEM_FREE(plan->fts);
}

enum search_answer
search_fts_answer(const struct search_fts_key *key, const struct index_message *m)
{
	static const unsigned char none[SEARCH_ID_LEN];

	/* Not indexed yet, or not even looked at. */
	if (!numset_contains(key->uids, m->uid) || memcmp(m->email_id, none, sizeof(none)) == 0)
		return SEARCH_UNKNOWN;
	if (table_find(&key->yes, m->email_id))
		return SEARCH_YES;
	if (key->all_maybe || table_find(&key->maybe, m->email_id))
		return SEARCH_UNKNOWN;
	return SEARCH_NO;
}

unsigned
search_fts_score(const struct search_fts_key *key, const struct index_message *m)
{
	uint32_t at;

	if (search_fts_answer(key, m) != SEARCH_YES)
		return 0;
	at = table_find(&key->yes, m->email_id);
	return at <= key->scores.len ? (unsigned char)key->scores.p[at - 1] : 0;
}
