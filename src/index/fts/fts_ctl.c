/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_service.h"

#include <stdlib.h>
#include <string.h>

#include "index/index_schema.h"
#include "lib/io.h"
#include "lib/metrics.h"

/* What roostctl asks: `status` of one user, and work that is begun; roostctl asks again for how far
 * it is. */

static const char *const state_names[] = {
	[FTS_RESTS] = "idle", [FTS_WAITS] = "waiting", [FTS_RUNS] = "indexing"};

struct totals {
	uint64_t waiting, lag_ms, documents, bytes;
};

static struct totals
totals_of(const struct fts *fts)
{
	struct totals t = {0};
	int64_t now = io_now_ms();
	const struct fts_user *u;

	TAILQ_FOREACH(u, &fts->users, entry)
	{
		t.waiting += u->state == FTS_WAITS;
		if (u->changed_ms && (uint64_t)(now - u->changed_ms) > t.lag_ms)
			t.lag_ms = (uint64_t)(now - u->changed_ms);
		t.documents += u->job ? atomic_load(&u->job->documents) : 0;
		t.bytes += u->job ? atomic_load(&u->job->bytes) : 0;
	}
	return t;
}

void
fts_gauges_set(const struct fts *fts)
{
	struct totals t = totals_of(fts);

	metrics_set(METRIC_FTS_LAG, t.lag_ms / 1000);
	metrics_set(METRIC_FTS_WAITING, t.waiting);
	metrics_set(METRIC_FTS_BYTES, t.bytes);
}

void
fts_status(struct service_run *run, json_t *object)
{
	struct fts *fts = service_state(run);
	struct totals t = totals_of(fts);

	json_object_set_new(object, "indexing", json_integer((json_int_t)fts->running));
	json_object_set_new(object, "waiting", json_integer((json_int_t)t.waiting));
	json_object_set_new(object, "lag_ms", json_integer((json_int_t)t.lag_ms));
	json_object_set_new(object, "answering", json_integer((json_int_t)fts->answering));
	json_object_set_new(object, "clients", json_integer((json_int_t)fts->questions));
	json_object_set_new(object, "messages_indexed", json_integer((json_int_t)fts->indexed));
	json_object_set_new(object, "jobs", json_integer((json_int_t)fts->jobs));
	json_object_set_new(object, "jobs_failed", json_integer((json_int_t)fts->failed));
	json_object_set_new(object, "documents", json_integer((json_int_t)t.documents));
	json_object_set_new(object, "bytes", json_integer((json_int_t)t.bytes));
	json_object_set_new(object, "disk_full", json_boolean(io_now_ms() < fts->full_until_ms));
}

/* The user, with the place that roostctl found in the directory. NULL: answered. */
static struct fts_user *
user_of(struct fts *fts, struct ctl_request *req, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "user"));
	const char *home = json_string_value(json_object_get(args, "home"));
	char *maildir = NULL, *index_dir = NULL;
	struct fts_user *u = NULL;

	if (!name || !home || index_paths(service_conf(fts->run), home, &maildir, &index_dir)) {
		ctl_reply_error(req, E_PARSE, "name a user and his home");
	} else {
		u = fts_user_get(fts, name);
		fts_user_place(u, maildir, index_dir);
	}
	free(maildir);
	free(index_dir);
	return u;
}

/* "full": nothing is indexed before there is room on the disk, and nobody should wait for it. */
static const char *
state_of(const struct fts_user *u)
{
	if (u->state == FTS_WAITS && u->failures)
		return "failed";
	if (u->state == FTS_WAITS && io_now_ms() < u->fts->full_until_ms)
		return "full";
	return state_names[u->state];
}

static json_t *
describe(const struct fts_user *u)
{
	const struct fts_job *job = u->job;

	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "user", u->name, "state",
		state_of(u), "known", job && u->state == FTS_RESTS && !u->changed_ms, "messages",
		(json_int_t)(job ? atomic_load(&job->messages) : 0), "missing",
		(json_int_t)(job ? atomic_load(&job->missing) : 0), "documents",
		(json_int_t)(job ? atomic_load(&job->documents) : 0), "bytes",
		(json_int_t)(job ? atomic_load(&job->bytes) : 0), "done",
		(json_int_t)(job ? atomic_load(&job->done) : 0), "total",
		(json_int_t)(job ? atomic_load(&job->total) : 0));
}

static void
verb_user(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct fts_user *u = user_of(service_state(run), req, args);

	if (u)
		ctl_reply_ok(req, describe(u));
}

static void
begin(struct service_run *run, struct ctl_request *req, const json_t *args, int fresh, int compact)
{
	struct fts_user *u = user_of(service_state(run), req, args);

	if (!u)
		return;
	u->fresh |= fresh;
	u->compact |= compact;
	u->failures = 0;
	u->due_ms = 0;
	/* Who asks by hand may have made room. */
	u->fts->full_until_ms = 0;
	fts_user_changed(u, 0);
	ctl_reply_ok(req, describe(u));
}

static void
verb_rescan(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	begin(run, req, args, 0, 0);
}

static void
verb_optimize(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	begin(run, req, args, 0, 1);
}

static void
verb_drop(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	begin(run, req, args, 1, 0);
}

const struct ctl_verb fts_ctl_verbs[] = {{"user", verb_user}, {"rescan", verb_rescan},
	{"optimize", verb_optimize}, {"drop", verb_drop}, {NULL, NULL}};
