/* SPDX-License-Identifier: MIT */
#include "auth/rehash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/password.h"
#include "auth/service.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

struct rehash {
	struct worker_job job;
	struct auth_service *auth;
	char *user, *password, *stored;
	char *scheme; /* of the new form, for the log */
	enum err result;
};

static enum err
replace(struct directory *d, const struct addr *a, const char *old, const char *hash)
{
	char now[24];
	struct db_result r;
	enum err e;

	snprintf(now, sizeof(now), "%" PRId64, (int64_t)time(NULL));
	struct directory_args args = {.v = {[ARG_ADDRESS] = a->text,
					      [ARG_LOCAL] = a->local,
					      [ARG_DOMAIN] = a->domain,
					      [ARG_PASSWORD] = hash,
					      [ARG_OLD] = old,
					      [ARG_NOW] = now}};
	e = directory_run(d, SQL_PASSWORD_REHASH, &args, &r);
	/* An administrator's query may be one that returns what it has changed. */
	if (!e && r.affected == 0 && r.rows == 0)
		e = E_CONFLICT;
	db_result_free(&r);
	return e;
}

static void
rehash_run(struct worker_job *job, struct directory *d)
{
	struct rehash *r = (struct rehash *)job;
	char *hash = NULL;
	struct addr a;

	r->scheme = mem_strdup(directory_settings(d)->scheme);
	r->result = addr_parse(str_of(r->user), &a);
	if (!r->result)
		r->result = password_hash(r->scheme, str_of(r->password), &hash);
	if (!r->result)
		r->result = replace(d, &a, r->stored, hash);
	if (hash)
		explicit_bzero(hash, strlen(hash));
	free(hash);
}

static void
note_result(const char *user, const char *scheme, enum err e)
{
	metrics_add_labels(METRIC_PASSWORD_REHASHES, 1,
		e == E_CONFLICT ? "changed"
		: e		? "failed"
				: "ok",
		NULL);
	if (e)
		log_event(LOGL_WARN, "auth.rehash fail", "user", user, "scheme", scheme, "reason",
			e == E_CONFLICT ? "changed" : err_word(e), NULL);
	else
		log_event(LOGL_INFO, "auth.rehash ok", "user", user, "scheme", scheme, NULL);
}

static void
rehash_done(struct worker_job *job)
{
	struct rehash *r = (struct rehash *)job;
	struct auth_service *auth = r->auth;

	note_result(r->user, r->scheme, r->result);
	rehash_free(&r);
	auth_job_done(auth);
}

struct rehash *
rehash_create(const char *user, struct str password, const char *stored)
{
	struct rehash *r = MEM_NEW(struct rehash);

	r->job.run = rehash_run;
	r->job.done = rehash_done;
	r->job.lane = WORKER_DOUBTFUL;
	r->user = mem_strdup(user);
	r->password = str_dup(password);
	r->stored = mem_strdup(stored);
	return r;
}

void
rehash_submit(struct auth_service *auth, struct rehash **rp)
{
	struct rehash *r = *rp;

	*rp = NULL;
	r->auth = auth;
	if (!worker_pool_submit(auth->workers, &r->job))
		return;
	note_result(r->user, NULL, E_TEMPFAIL);
	rehash_free(&r);
}

static void
wipe(char *text)
{
	explicit_bzero(text, strlen(text));
	free(text);
}

void
rehash_free(struct rehash **r)
{
	if (!*r)
		return;
	wipe((*r)->password);
	wipe((*r)->stored);
	free((*r)->user);
	free((*r)->scheme);
	MEM_FREE(*r);
}
