/* SPDX-License-Identifier: MIT */
#include "import/import.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum {
	BATCH_MESSAGES = 100,
	BATCH_BYTES = 16 * 1024 * 1024,
	/* How often, once a second, a service that is down or busy is asked again. */
	TRIES_MAX = 60,
};

/* A message that the mailbox has. */
struct present {
	unsigned char id[16];
	uint32_t uid;
	unsigned taken;
};

struct waiting {
	struct index_append *append;
	struct import_flags flags;
	int64_t date;
	uint64_t cookie, bytes;
};

struct import_box {
	struct import *im;
	struct index_mailbox box;
	struct numset claimed;
	struct present *present;
	size_t present_count, present_cap;
	import_taken *taken;
	void *arg;
	struct waiting waiting[BATCH_MESSAGES];
	size_t count;
	uint64_t waiting_bytes;
	/* the message that is being written */
	struct index_append *append;
	uint64_t bytes;
};

enum err
import_box_open(struct import *im, struct str name, unsigned special_use, struct import_box **out)
{
	struct import_box *b = MEM_NEW(struct import_box);
	enum err e = index_mailbox_get(im->user, name, &b->box);

	if (e == E_NOTFOUND) {
		e = index_mailbox_create(im->user, name, special_use, &b->box);
		if (e == E_EXISTS)
			e = index_mailbox_get(im->user, name, &b->box);
	}
	b->im = im;
	if (e)
		import_box_close(&b);
	*out = b;
	return e;
}

const struct index_mailbox *
import_box_mailbox(const struct import_box *b)
{
	return &b->box;
}

void
import_box_claim(struct import_box *b, uint32_t uid)
{
	numset_add(&b->claimed, uid);
}

/* ---- what is there ---- */

static enum err
present_add(const struct index_message *m, void *arg)
{
	static const unsigned char unknown[16];
	struct import_box *b = arg;

	/* A message of another program's may not have been looked at yet: it cannot be compared. */
	if (numset_contains(&b->claimed, m->uid) || memcmp(m->email_id, unknown, 16) == 0)
		return OK;
	if (b->present_count == b->present_cap) {
		b->present_cap = b->present_cap ? b->present_cap * 2 : 256;
		b->present = mem_realloc(b->present, b->present_cap, sizeof(*b->present));
	}
	b->present[b->present_count] = (struct present){.uid = m->uid};
	memcpy(b->present[b->present_count++].id, m->email_id, 16);
	return OK;
}

static int
present_compare(const void *a, const void *b)
{
	const struct present *x = a, *y = b;
	int order = memcmp(x->id, y->id, sizeof(x->id));

	return order ? order : x->uid < y->uid ? -1 : x->uid > y->uid;
}

static enum err
present_load(struct import_box *b)
{
	enum err e = index_refresh(b->im->user, b->box.id);

	b->present_count = 0;
	if (e == OK)
		e = index_message_each(b->im->user, b->box.id, 1, UINT32_MAX, present_add, b);
	if (b->present_count)
		qsort(b->present, b->present_count, sizeof(*b->present), present_compare);
	return e;
}

/* The first one of these bytes that nobody has, now taken; or NULL. */
static struct present *
present_take(struct import_box *b, const unsigned char id[16])
{
	size_t low = 0, high = b->present_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(b->present[mid].id, id, 16) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < b->present_count && memcmp(b->present[low].id, id, 16) == 0; low++) {
		if (b->present[low].taken)
			continue;
		b->present[low].taken = 1;
		return &b->present[low];
	}
	return NULL;
}

enum err
import_box_ready(struct import_box *b, import_taken *taken, void *arg)
{
	b->taken = taken;
	b->arg = arg;
	return present_load(b);
}

/* ---- committing ---- */

static void
waiting_free(struct waiting *w)
{
	index_append_free(&w->append);
	import_flags_free(&w->flags);
}

static void
take(struct import_box *b, const struct waiting *w, uint32_t uid, int is_new)
{
	numset_add(&b->claimed, uid);
	if (is_new) {
		b->im->messages++;
		b->im->bytes += w->bytes;
	} else {
		b->im->present++;
	}
	if (b->taken)
		b->taken(w->cookie, uid, b->arg);
}

/* Removes the n first that wait. */
static void
waiting_shift(struct import_box *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		waiting_free(&b->waiting[i]);
	memmove(b->waiting, b->waiting + n, (b->count - n) * sizeof(b->waiting[0]));
	b->count -= n;
	memset(b->waiting + b->count, 0, n * sizeof(b->waiting[0]));
}

/* The n first that wait. */
static enum err
commit(struct import_box *b, size_t n)
{
	struct index_append *appends[BATCH_MESSAGES] = {0};
	struct index_append_info info[BATCH_MESSAGES] = {0};
	uint32_t uids[BATCH_MESSAGES], uidvalidity;
	enum err e;

	for (size_t i = 0; i < n; i++) {
		const struct waiting *w = &b->waiting[i];

		appends[i] = w->append;
		info[i] = (struct index_append_info){.flags = w->flags.flags,
			.keywords = (const char *const *)w->flags.keywords,
			.keyword_count = w->flags.count,
			.internal_date = w->date};
	}
	e = index_append_commit(b->im->user, appends, info, n, &uidvalidity, uids);
	if (e)
		return e;
	for (size_t i = 0; i < n; i++)
		take(b, &b->waiting[i], uids[i], 1);
	waiting_shift(b, n);
	return OK;
}

/*
 * The connection broke: whether the last batch arrived nobody has told. The mailbox knows, once the
 * service answers again.
 */
static enum err
find_out(struct import_box *b)
{
	enum err e = present_load(b);

	for (size_t i = 0; i < b->count && e == OK;) {
		unsigned char id[16];
		const struct present *p;

		index_append_email_id(b->waiting[i].append, id);
		p = present_take(b, id);
		if (!p) {
			i++;
			continue;
		}
		take(b, &b->waiting[i], p->uid, 1);
		waiting_free(&b->waiting[i]);
		memmove(b->waiting + i, b->waiting + i + 1,
			(b->count - i - 1) * sizeof(b->waiting[0]));
		b->count--;
		memset(b->waiting + b->count, 0, sizeof(b->waiting[0]));
	}
	return e;
}

/* More keywords than a mailbox can have: this message comes without its own. */
static enum err
commit_without_keywords(struct import_box *b)
{
	enum err e;

	for (size_t i = 0; i < b->waiting[0].flags.count; i++)
		free(b->waiting[0].flags.keywords[i]);
	b->waiting[0].flags.count = 0;
	e = commit(b, 1);
	if (e == OK) {
		import_progress_break(b->im);
		tool_error("%s: a message lost its keywords: there are too many in this mailbox",
			b->box.name);
	}
	return e;
}

enum err
import_box_flush(struct import_box *b)
{
	unsigned tries = 0;
	size_t n = b->count;
	enum err e = OK;

	while (b->count && e == OK) {
		e = commit(b, n < b->count ? n : b->count);
		if ((e == E_TOOBIG || e == E_RANGE) && n > 1) {
			n = 1; /* one of them it is */
			e = OK;
		} else if (e == E_TOOBIG || e == E_RANGE) {
			e = commit_without_keywords(b);
		}
		while (e == E_TEMPFAIL && tries++ < TRIES_MAX) {
			(void)poll(NULL, 0, 1000);
			e = find_out(b);
		}
	}
	b->waiting_bytes = 0;
	import_progress(b->im);
	return e;
}

/* ---- one message ---- */

enum err
import_message_start(struct import_box *b, uint64_t size_hint)
{
	enum err e;

	import_message_drop(b);
	b->bytes = 0;
	e = index_append_create(b->im->user, b->box.id, size_hint, &b->append);
	for (unsigned tries = 0; e == E_TEMPFAIL && tries < TRIES_MAX; tries++) {
		(void)poll(NULL, 0, 1000);
		e = index_append_create(b->im->user, b->box.id, size_hint, &b->append);
	}
	return e;
}

void
import_message_write(struct import_box *b, const char *p, size_t len)
{
	b->bytes += len;
	(void)index_append_write(b->append, p, len);
}

void
import_message_drop(struct import_box *b)
{
	index_append_free(&b->append);
}

enum err
import_message_end(
	struct import_box *b, const struct import_flags *flags, int64_t date, uint64_t cookie)
{
	struct waiting *w = &b->waiting[b->count];
	struct present *p;
	unsigned char id[16];
	enum err e = index_append_finish(b->append);

	if (e) {
		import_message_drop(b);
		return e;
	}
	*w = (struct waiting){.cookie = cookie, .bytes = b->bytes, .date = date};
	index_append_email_id(b->append, id);
	p = present_take(b, id);
	if (p) {
		import_message_drop(b);
		take(b, w, p->uid, 0);
		import_progress(b->im);
		return OK;
	}
	w->append = b->append;
	b->append = NULL;
	w->flags.flags = flags->flags;
	for (; w->flags.count < flags->count; w->flags.count++)
		w->flags.keywords[w->flags.count] = mem_strdup(flags->keywords[w->flags.count]);
	b->count++;
	b->waiting_bytes += w->bytes;
	if (b->count == BATCH_MESSAGES || b->waiting_bytes >= BATCH_BYTES)
		return import_box_flush(b);
	return OK;
}

void
import_box_close(struct import_box **b)
{
	if (!*b)
		return;
	import_message_drop(*b);
	for (size_t i = 0; i < (*b)->count; i++)
		waiting_free(&(*b)->waiting[i]);
	index_mailbox_free(&(*b)->box);
	numset_free(&(*b)->claimed);
	free((*b)->present);
	MEM_FREE(*b);
}
