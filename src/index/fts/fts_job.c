/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/fts/fts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "index/client_private.h"
#include "index/fts/fts_extract.h"
#include "index/fts/fts_store.h"
#include "index/fts/fts_terms.h"
#include "index/index_client.h"
#include "index/message_id.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/sandbox.h"

/*
 * Indexes what one user's index lacks. What that is follows from the UIDs alone: those that a
 * mailbox has and the set committed with the documents has not. So the process may end at any
 * moment; it begins where the last commit was.
 */
/* iconv(3) loads its tables from here when it first sees a charset. */
static const char charset_path[] = "/usr/lib";

enum {
	/* A batch, which is what a kill costs, and what memory it takes. */
	BATCH_MESSAGES = 1000,
	BATCH_TERMS = 500 * 1000,
	BATCH_MS = 10 * 1000,
	IOPRIO_WHO_PROCESS = 1,
	IOPRIO_IDLE = 3 << 13,
	/* Gaps are taken out when so many documents, and a quarter of all, came in since. */
	COMPACT_MIN = 1000,
	/* It is made anew when more than half of the documents, and so many, are of no message. */
	STALE_MIN = 1000,
};

struct box {
	uint32_t id, uidvalidity, messages;
	uint64_t modseq;
	char object_id[33];
};

struct run {
	const struct config *conf;
	const struct fts_place *place;
	struct fts_job *job;
	char *fts_dir;
	struct index_user *user;
	struct fts_store *store;
	struct fts_terms terms;
	/* Numbers of documents by email id. */
	uint32_t *slots;
	size_t slot_count;
	struct box *boxes;
	size_t box_count;
	uint64_t messages; /* of all mailboxes */
	/* Since the last commit. */
	size_t batch_messages, batch_terms;
	int64_t batch_ms;
	uint64_t left; /* messages that could not be read */
};

/* ---- documents that are there ---- */

static size_t
slot_at(const struct run *r, const unsigned char id[FTS_ID_LEN])
{
	uint64_t h;

	ROOST_ASSERT(r->slots);
	memcpy(&h, id, sizeof(h));
	for (size_t at = (size_t)h & (r->slot_count - 1);; at = (at + 1) & (r->slot_count - 1)) {
		uint32_t doc = r->slots[at];

		if (!doc || memcmp(r->store->ids + (size_t)doc * FTS_ID_LEN, id, FTS_ID_LEN) == 0)
			return at;
	}
}

static void
note_documents(struct run *r, uint32_t from)
{
	size_t wanted = 4 * (size_t)r->store->id_count + 1024;

	if (!r->slots || r->slot_count < wanted / 2) {
		r->slot_count = 1024;
		while (r->slot_count < wanted)
			r->slot_count *= 2;
		free(r->slots);
		r->slots = mem_zalloc(r->slot_count * sizeof(*r->slots));
		from = 1;
	}
	for (uint32_t doc = from; doc < r->store->id_count; doc++)
		r->slots[slot_at(r, r->store->ids + (size_t)doc * FTS_ID_LEN)] = doc;
}

/* ---- one message ---- */

static void
content_id(const struct index_content *c, unsigned char id[FTS_ID_LEN])
{
	struct message_hash *h = message_hash_create();

	message_hash_feed(h, c->p, c->len);
	message_hash_finish(&h, id);
}

/* Whether a process ended in the middle of this message. */
static int
is_skipped(const struct run *r, uint32_t mailbox, uint32_t uid)
{
	return r->job->skip_uid == uid && r->job->skip_mailbox == mailbox;
}

static void
take_attachment(const struct mime_part *part, struct str body, void *ctx)
{
	struct run *r = ctx;
	struct buf text = BUF_INIT(FTS_EXTRACTED_MAX);

	fts_extract(part, body, &text);
	fts_terms_add_text(&r->terms, FTS_ATTACHED, buf_str(&text));
	buf_free(&text);
}

static enum err
add_content(struct run *r, const struct box *box, uint32_t uid, const struct index_content *c,
	const unsigned char id[FTS_ID_LEN])
{
	int skipped = is_skipped(r, box->id, uid);
	enum err e;

	fts_terms_reset(&r->terms);
	r->job->mailbox = box->id;
	r->job->uid = uid;
	if (!skipped)
		fts_terms_add_message(&r->terms, str_make(c->p, c->len), take_attachment, r);
	r->job->uid = 0;
	fts_terms_finish(&r->terms);
	e = fts_store_add(
		r->store, id, r->terms.list, r->terms.count, r->terms.incomplete || skipped);
	note_documents(r, r->store->id_count - 1);
	r->batch_terms += r->terms.count;
	return e;
}

/* OK: the index has the message's text now. E_NOTFOUND: the message is gone, or its file. */
static enum err
take_message(struct run *r, const struct box *box, uint32_t uid)
{
	static const unsigned char none[FTS_ID_LEN];
	unsigned char id[FTS_ID_LEN];
	struct index_content content;
	struct index_message m;
	enum err e = index_read_begin(r->user);

	if (e)
		return e;
	e = index_message_get(r->user, box->id, uid, &m);
	if (!e)
		memcpy(id, m.email_id, sizeof(id));
	index_read_end(r->user);
	if (e)
		return e;
	if (memcmp(id, none, sizeof(id)) != 0 && r->slots[slot_at(r, id)])
		return OK;
	e = index_content_open(r->user, box->id, uid, &content);
	if (e)
		return e;
	/* Nobody has looked into it yet: the id that it will get. */
	if (memcmp(id, none, sizeof(id)) == 0)
		content_id(&content, id);
	if (!r->slots[slot_at(r, id)])
		e = add_content(r, box, uid, &content, id);
	index_content_close(&content);
	return e;
}

/* ---- one mailbox ---- */

static enum err
commit(struct run *r, const struct box *box, const struct fts_mailbox *state)
{
	enum err e = fts_mailbox_put(r->store, box->object_id, state);

	e = e ? e : fts_store_commit(r->store);
	r->batch_messages = r->batch_terms = 0;
	r->batch_ms = io_now_ms();
	return e;
}

static int
batch_is_full(const struct run *r)
{
	return r->batch_messages >= BATCH_MESSAGES || r->batch_terms >= BATCH_TERMS ||
	       io_now_ms() - r->batch_ms >= BATCH_MS;
}

static enum err
collect_uid(const struct index_message *m, void *arg)
{
	numset_add(arg, m->uid);
	return OK;
}

static enum err
present_uids(struct run *r, const struct box *box, struct numset *out)
{
	enum err e = index_read_begin(r->user);

	if (e)
		return e;
	e = index_message_each(r->user, box->id, 1, UINT32_MAX, collect_uid, out);
	index_read_end(r->user);
	return e;
}

/*
 * What is in the index of the mailbox, without what has gone, and what is missing. *due: nothing
 * has to be done.
 */
static enum err
compare_box(struct run *r, const struct box *box, struct fts_mailbox *state, struct numset *missing,
	int *due)
{
	struct numset present = {0}, kept = {0};
	enum err e = fts_mailbox_get(r->store, box->object_id, state);

	*due = 0;
	if (e || (state->modseq && state->modseq == box->modseq &&
			 state->uidvalidity == box->uidvalidity))
		return e;
	if (state->uidvalidity != box->uidvalidity)
		numset_free(&state->uids);
	state->uidvalidity = box->uidvalidity;
	e = present_uids(r, box, &present);
	if (!e) {
		numset_subtract(&present, &state->uids, missing);
		numset_intersect(&present, &state->uids, &kept);
		numset_free(&state->uids);
		state->uids = kept;
		*due = 1;
	}
	numset_free(&present);
	return e;
}

static enum err
take_uids(struct run *r, const struct box *box, struct fts_mailbox *state,
	const struct numset *missing, uint64_t *left)
{
	enum err e = OK;

	for (size_t i = 0; i < missing->count && !e; i++) {
		for (uint64_t uid = missing->ranges[i].first; uid <= missing->ranges[i].last && !e;
			uid++) {
			e = take_message(r, box, (uint32_t)uid);
			if (e == OK)
				numset_add(&state->uids, (uint32_t)uid);
			/* A file that cannot be read must not keep the others away. */
			if (e == E_NOTFOUND || e == E_ACCESS || e == E_TEMPFAIL) {
				*left += e != E_NOTFOUND;
				e = OK;
			}
			atomic_fetch_add(&r->job->done, 1);
			r->batch_messages++;
			if (!e && batch_is_full(r))
				e = commit(r, box, state);
		}
	}
	return e;
}

static enum err
index_box(struct run *r, const struct box *box)
{
	struct fts_mailbox state;
	struct numset missing = {0};
	uint64_t left = 0;
	int due;
	enum err e = compare_box(r, box, &state, &missing, &due);

	if (!e && due) {
		state.modseq = 0;
		e = take_uids(r, box, &state, &missing, &left);
		if (!e) {
			state.modseq = left ? 0 : box->modseq;
			e = fts_mailbox_put(r->store, box->object_id, &state);
		}
		r->left += left;
	}
	numset_free(&missing);
	fts_mailbox_free(&state);
	return e;
}

/* ---- the user ---- */

static enum err
collect_box(const struct index_mailbox *m, void *arg)
{
	struct run *r = arg;
	struct box *box;

	r->boxes = mem_realloc(r->boxes, r->box_count + 1, sizeof(*r->boxes));
	box = &r->boxes[r->box_count++];
	*box = (struct box){.id = m->id,
		.uidvalidity = m->uidvalidity,
		.messages = m->messages,
		.modseq = m->highest_modseq};
	memcpy(box->object_id, m->object_id, sizeof(box->object_id));
	r->messages += m->messages;
	return OK;
}

static enum err
count_missing(struct run *r)
{
	uint64_t total = 0;
	enum err e = OK;

	for (size_t i = 0; i < r->box_count && !e; i++) {
		struct fts_mailbox state;
		struct numset missing = {0};
		int due;

		e = compare_box(r, &r->boxes[i], &state, &missing, &due);
		total += numset_size(&missing);
		numset_free(&missing);
		fts_mailbox_free(&state);
	}
	atomic_store(&r->job->done, 0);
	atomic_store(&r->job->total, total);
	return e;
}

static enum err
index_boxes(struct run *r)
{
	enum err e = count_missing(r);

	r->batch_ms = io_now_ms();
	for (size_t i = 0; i < r->box_count && !e; i++)
		e = index_box(r, &r->boxes[i]);
	return e ? e : fts_store_commit(r->store);
}

/* name: "words", or "new" for one that is to take its place. Opened empty if it is damaged. */
static enum err
open_store(struct run *r, const char *name)
{
	enum err e = fts_store_open(r->fts_dir, name, 1, &r->store);

	if (e == E_CORRUPT) {
		log_event(LOGL_WARN, "fts.index dropped", "user", r->place->user, "reason",
			err_word(e), NULL);
		e = fts_store_remove(r->fts_dir, name);
		e = e ? e : fts_store_open(r->fts_dir, name, 1, &r->store);
	}
	MEM_FREE(r->slots);
	r->slot_count = 0;
	if (!e)
		note_documents(r, 1);
	return e;
}

static int
has_gaps(struct run *r)
{
	struct buf text = {0};
	uint32_t docs = r->store->id_count - 1, before = 0;

	if (fts_db_text(r->store->db, STR("compacted"), &text) == OK)
		(void)str_to_u32(buf_str(&text), &before);
	buf_free(&text);
	return docs > before && docs - before >= COMPACT_MIN && docs - before > docs / 4;
}

static enum err
compact(struct run *r)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", r->store->id_count - 1);
	enum err e = fts_db_set_text(r->store->db, STR("compacted"), str_make(text, (size_t)n));

	e = e ? e : fts_store_commit(r->store);
	fts_store_close(&r->store);
	return e ? e : fts_store_compact(r->fts_dir);
}

/* Without the documents that no message has any more. */
static enum err
make_anew(struct run *r)
{
	enum err e = fts_store_remove(r->fts_dir, "new");

	fts_store_close(&r->store);
	e = e ? e : open_store(r, "new");
	e = e ? e : index_boxes(r);
	fts_store_close(&r->store);
	e = e ? e : fts_store_replace(r->fts_dir);
	return e ? e : open_store(r, "words");
}

static enum err
run_all(struct run *r)
{
	uint32_t docs;
	enum err e = fts_store_remove(r->fts_dir, "new");

	if (!e && r->job->fresh)
		e = fts_store_remove(r->fts_dir, "words");
	e = e ? e : open_store(r, "words");
	e = e ? e : index_mailbox_each(r->user, collect_box, r);
	e = e ? e : index_boxes(r);
	if (e)
		return e;
	docs = r->store->id_count - 1;
	if (docs > STALE_MIN && docs / 2 > r->messages)
		e = make_anew(r);
	if (!e) {
		atomic_store(&r->job->documents, r->store->id_count - 1);
		atomic_store(&r->job->messages, r->messages);
		atomic_store(&r->job->missing, r->left);
		if (r->job->compact || has_gaps(r))
			e = compact(r);
	}
	atomic_store(&r->job->bytes, fts_store_bytes(r->fts_dir));
	return e;
}

/* ---- the process ---- */

static enum err
confine(const struct fts_place *place, const char *fts_dir)
{
	struct sandbox *sb = sandbox_create();
	char *lock = mem_printf("%s/lock.mdb", place->index_dir);
	enum err e;

	sandbox_allow_path(sb, place->maildir, SANDBOX_READ);
	sandbox_allow_path(sb, place->index_dir, SANDBOX_READ);
	/* A reader of LMDB writes its slot in the table of readers. */
	sandbox_allow_path(sb, lock, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow_path(sb, fts_dir, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow_path(sb, charset_path, SANDBOX_READ);
	fts_extract_sandbox(sb);
	e = sandbox_enter(sb);
	sandbox_free(&sb);
	free(lock);
	return e == E_UNSUPPORTED ? OK : e;
}

static enum err
prepare(struct run *r)
{
	enum err e = io_mkdir_parents(r->fts_dir, 0700);

	(void)setpriority(PRIO_PROCESS, 0, 19);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	e = e ? e : confine(r->place, r->fts_dir);
	return e ? e
		 : client_user_create(r->conf, r->place->user, r->place->maildir,
			   r->place->index_dir, &r->user);
}

int
fts_job_run(const struct config *conf, const struct fts_place *place, struct fts_job *job)
{
	struct run r = {.conf = conf, .place = place, .job = job};
	int64_t begin = io_now_ms();
	enum err e;

	r.fts_dir = mem_printf("%s/fts", place->index_dir);
	e = prepare(&r);
	e = e ? e : run_all(&r);
	/* What lies there is damaged in a way that opening it did not show. */
	if (e == E_CORRUPT) {
		fts_store_close(&r.store);
		(void)fts_store_remove(r.fts_dir, "words");
	}
	if (e || atomic_load(&job->done))
		log_event(e ? LOGL_WARN : LOGL_INFO, e ? "fts.index failed" : "fts.index ok",
			"user", place->user, "error", e ? err_word(e) : NULL, "messages",
			log_u64(atomic_load(&job->done)), "ms", log_i64(io_now_ms() - begin), NULL);
	fts_store_close(&r.store);
	index_close(&r.user);
	fts_terms_free(&r.terms);
	free(r.slots);
	free(r.boxes);
	free(r.fts_dir);
	if (e == E_NOSPACE)
		return FTS_JOB_FULL;
	return e || r.left ? FTS_JOB_AGAIN : FTS_JOB_DONE;
}
