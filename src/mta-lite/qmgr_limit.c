/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/log.h"
#include "mta-lite/submission_limit.h"

/*
 * The administrator's verbs about what users have sent. Sessions of roost-smtpd count it; the
 * environment is opened for the moment only, since qmgr forks.
 */

struct listing {
	json_t *rows;
	const char *user; /* this one only; or NULL */
	struct submission_limits limits;
};

static json_t *
most_json(uint64_t most)
{
	return most ? json_integer((json_int_t)most) : json_null();
}

static void
list_one(void *arg, const char *user, const struct submission_use *use)
{
	struct listing *l = arg;
	json_t *row;

	if ((l->user && strcasecmp(l->user, user) != 0) || !str_is_utf8(str_of(user)))
		return;
	row = json_pack("{s:s, s:I, s:I, s:I}", "user", user, "hour",
		(json_int_t)use->count[SUBMISSION_HOUR], "day",
		(json_int_t)use->count[SUBMISSION_DAY], "over", (json_int_t)use->over);
	json_object_set_new(row, "hour_limit", most_json(l->limits.most[SUBMISSION_HOUR]));
	json_object_set_new(row, "day_limit", most_json(l->limits.most[SUBMISSION_DAY]));
	json_array_append_new(l->rows, row);
}

static struct submission_limit *
open_store(struct service_run *run, struct ctl_request *req)
{
	struct submission_limit *store;
	enum err e = submission_limit_open(service_conf(run), &store);

	if (e)
		ctl_reply_error(req, e, "what users have sent cannot be read: %s", err_text(e));
	return e ? NULL : store;
}

void
qmgr_limit_list(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct submission_limit *store = open_store(run, req);
	struct listing l = {.user = json_string_value(json_object_get(args, "user")),
		.limits = submission_limits_of(service_conf(run))};
	enum err e;

	if (store == NULL)
		return;
	l.rows = json_array();
	e = submission_limit_each(store, (int64_t)time(NULL), list_one, &l);
	submission_limit_close(&store);
	if (e == OK) {
		ctl_reply_ok(req, l.rows);
		return;
	}
	json_decref(l.rows);
	ctl_reply_error(req, e, "what users have sent cannot be read: %s", err_text(e));
}

void
qmgr_limit_reset(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	const char *user = json_string_value(json_object_get(args, "user"));
	int all = json_is_true(json_object_get(args, "all"));
	struct submission_limit *store;
	size_t n;
	enum err e;

	if ((user == NULL) != all || (user && user[0] == '\0')) {
		ctl_reply_error(req, E_PARSE, "say which user, or --all");
		return;
	}
	store = open_store(run, req);
	if (store == NULL)
		return;
	e = submission_limit_reset(store, user, &n);
	submission_limit_close(&store);
	if (e) {
		ctl_reply_error(req, e, "what users have sent cannot be changed: %s", err_text(e));
		return;
	}
	log_event(LOGL_INFO, "submission_limit.reset", "user", user ? user : "all", "count",
		log_u64(n), NULL);
	ctl_reply_ok(req, json_pack("{s:I}", "users", (json_int_t)n));
}
