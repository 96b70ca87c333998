/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/adopt.h"
#include "lib/log.h"
#include "lib/mem.h"

/* What roostctl has done with one open user, in the thread of its worker. */

static enum err
flush(struct index_user_entry *u, const json_t *args, json_t **result)
{
	(void)args;
	(void)result;
	return index_user_flush(u);
}

static enum err
export_user(struct index_user_entry *u, const json_t *args, json_t **result)
{
	struct export_counts n = {0};
	enum err e = index_core_refresh(u->core, 0);

	(void)args;
	if (e == OK)
		e = index_user_flush(u);
	if (e == OK)
		e = export_dovecot(u->core, &n);
	if (e == OK)
		*result = json_pack("{s:I, s:I, s:I}", "folders", (json_int_t)n.folders, "messages",
			(json_int_t)n.messages, "keywords_lost", (json_int_t)n.keywords_lost);
	return e;
}

static enum err
recount(struct index_user_entry *u, const json_t *args, json_t **result)
{
	(void)args;
	(void)result;
	return index_core_quota_recount(u->core);
}

/* ---- expunged messages ---- */

enum { UNDELETE_MAX = 500 }; /* in one request; sessions of the user wait meanwhile */

static void
flags_text(unsigned flags, char out[8])
{
	static const char letters[] = "SRFTD"; /* in the order of enum index_flag */
	size_t n = 0;

	for (unsigned i = 0; letters[i]; i++)
		if (flags >> i & 1)
			out[n++] = letters[i];
	out[n] = '\0';
}

static void
add_expunged(const struct index_expunged *x, void *arg)
{
	char flags[8];
	json_t *row;

	flags_text(x->flags, flags);
	row = json_pack("{s:s%, s:I, s:I, s:I, s:I, s:s}", "mailbox", x->mailbox.p, x->mailbox.len,
		"uid", (json_int_t)x->uid, "expunged", (json_int_t)x->expunged, "internal_date",
		(json_int_t)x->internal_date, "size", (json_int_t)x->bytes, "flags", flags);
	if (x->new_uid)
		json_object_set_new(row, "new_uid", json_integer((json_int_t)x->new_uid));
	json_array_append_new(arg, row);
}

/* {mailbox, since, uid, list} -> {messages, more, error}. What was done is told also with an error.
 */
static enum err
undelete(struct index_user_entry *u, const json_t *args, json_t **result)
{
	const char *mailbox = json_string_value(json_object_get(args, "mailbox"));
	json_int_t uid = json_integer_value(json_object_get(args, "uid"));
	struct index_undelete what = {
		.mailbox = mailbox ? str_of(mailbox) : (struct str){0}, .max = UNDELETE_MAX};
	json_t *rows = json_array();
	int more = 0;
	enum err e;

	what.since = json_integer_value(json_object_get(args, "since"));
	what.uid = uid > 0 && uid <= UINT32_MAX ? (uint32_t)uid : 0;
	index_notes_flush(u);
	if (json_is_true(json_object_get(args, "list"))) {
		what.max = INDEX_MAILBOXES_MAX;
		e = index_core_expunged_each(u->core, &what, add_expunged, rows, &more);
	} else {
		e = index_core_undelete(u->core, &what, add_expunged, rows, &more);
	}
	if (e == E_CORRUPT) {
		json_decref(rows);
		return e;
	}
	*result = json_pack("{s:o, s:b}", "messages", rows, "more", more);
	if (e)
		json_object_set_new(*result, "error", json_string(err_word(e)));
	index_user_touch(u);
	return OK;
}

static enum err
purge(struct index_user_entry *u, const json_t *args, json_t **result)
{
	json_int_t older = json_integer_value(json_object_get(args, "older"));
	uint64_t n = index_core_purge(u->core, (int64_t)time(NULL) - older);

	*result = json_pack("{s:I}", "purged", (json_int_t)n);
	return OK;
}

/* ---- checking ---- */

static void
add_finding(const struct index_fsck_finding *x, void *arg)
{
	json_t *row = json_pack(
		"{s:s, s:s, s:b}", "check", x->check, "what", x->detail, "mended", x->mended);

	/* Names of files may be any bytes. */
	if (!row)
		row = json_pack("{s:s, s:s, s:b}", "check", x->check, "what",
			"(not UTF-8; see the log)", "mended", x->mended);
	if (x->mailbox)
		json_object_set_new(row, "mailbox", json_string(x->mailbox));
	json_array_append_new(arg, row);
}

/* {step: "tree" | "mailbox" | "totals", id, repair} -> {found: [...]} */
static enum err
fsck(struct index_user_entry *u, const json_t *args, json_t **result)
{
	const char *step = json_string_value(json_object_get(args, "step"));
	json_int_t id = json_integer_value(json_object_get(args, "id"));
	int repair = json_is_true(json_object_get(args, "repair"));
	json_t *rows = json_array();
	enum err e = index_user_flush(u);

	if (e == OK && step && strcmp(step, "tree") == 0)
		e = index_core_fsck_tree(u->core, repair, add_finding, rows);
	else if (e == OK && step && strcmp(step, "mailbox") == 0)
		e = index_core_fsck_mailbox(u->core, (uint32_t)id, repair, add_finding, rows);
	else if (e == OK)
		e = index_core_fsck_totals(u->core, repair, add_finding, rows);
	if (e == OK)
		e = index_user_flush(u);
	if (e)
		json_decref(rows);
	else
		*result = json_pack("{s:o}", "found", rows);
	return e;
}

/* ---- in the thread of the worker, and back ---- */

struct user_job {
	struct ctl_request *req;
	struct index_service_state *service;
	char *user;
	json_t *args, *result;
	const char *failure;
	index_job_fn *run;
	int found;
	enum err e;
};

static const struct {
	const char *verb, *failure;
	index_job_fn *run;
} jobs[] = {
	{"flush-user", "flushed", flush},
	{"export-user", "exported", export_user},
	{"quota-recount", "counted", recount},
	{"undelete", "looked through", undelete},
	{"purge-expunged", "purged", purge},
	{"fsck", "checked", fsck},
};

static void
job_done(void *owner, void *arg)
{
	struct user_job *j = arg;

	(void)owner;
	if (!j->found)
		ctl_reply_error(j->req, E_NOTFOUND,
			"'%s' is not open; nothing of it is waiting to be written", j->user);
	else if (j->e)
		ctl_reply_error(
			j->req, j->e, "the mail of '%s' could not be %s", j->user, j->failure);
	else
		ctl_reply_ok(j->req, json_incref(j->result));
	json_decref(j->result);
	json_decref(j->args);
	free(j->user);
	free(j);
}

static void
job_in_worker(void *owner, void *arg)
{
	struct user_job *j = arg;
	struct index_user_entry *u = index_worker_find(owner, j->user);
	struct index_opening *op = index_opening_find(owner, j->user);

	if (op) {
		index_opening_wait(op, job_in_worker, j);
		return;
	}
	if (u && u->away) {
		index_away_wait(u, job_in_worker, j);
		return;
	}
	if (u) {
		j->found = 1;
		j->e = u->corrupt ? E_CORRUPT : j->run(u, j->args, &j->result);
		if (j->e == E_CORRUPT && !u->corrupt)
			index_user_corrupt(u);
	}
	index_queue_add(&j->service->queue, job_done, j);
}

void
index_job_begin(struct index_service_state *s, struct index_worker *w, struct ctl_request *req,
	const char *verb, const json_t *args)
{
	const char *user = json_string_value(json_object_get(args, "user"));
	struct user_job *j;

	if (!user) {
		ctl_reply_error(req, E_PARSE, "the argument 'user' is missing");
		return;
	}
	j = MEM_NEW(struct user_job);
	j->req = req;
	j->user = mem_strdup(user);
	j->service = s;
	/* A copy: the counts of references are not for two threads. */
	j->args = json_deep_copy(args);
	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
		if (strcmp(jobs[i].verb, verb) == 0) {
			j->run = jobs[i].run;
			j->failure = jobs[i].failure;
		}
	}
	ROOST_ASSERT(j->run);
	index_queue_add(&w->queue, job_in_worker, j);
}
