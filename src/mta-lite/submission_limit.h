/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SUBMISSION_LIMIT_H
#define ROOST_MTA_SUBMISSION_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/conf.h"
#include "lib/err.h"

/*
 * How many recipients each user has sent to in the last hour and the last day, which a stolen
 * password soon shows in. The hour is counted in minutes and the day in half-hours, each window
 * with one of these more than it is long: so never more than the limit in any hour or day.
 *
 * The counts lie in an LMDB environment that all sessions share, one record of fixed size a user,
 * which goes when nothing of the last day is in it. Its transactions come one after the other, in
 * whatever process they are: no two messages take the same rest of a limit.
 */
struct submission_limit;

enum submission_period { SUBMISSION_HOUR, SUBMISSION_DAY, SUBMISSION_PERIODS };

/* Recipients; 0: no limit. */
struct submission_limits {
	uint64_t most[SUBMISSION_PERIODS];
};
struct submission_limits submission_limits_of(const struct config *conf);
int submission_limits_any(const struct submission_limits *limits);

/* What one user has sent. */
struct submission_use {
	uint64_t count[SUBMISSION_PERIODS];
	uint64_t over; /* recipients in the last day that were over a limit */
};

/* Why it is too much. */
struct submission_over {
	enum submission_period period;
	uint64_t most; /* the limit */
	struct submission_use use; /* with what was over now, without it among the sent */
	int never; /* more at once than the limit: it will not be less later */
	int64_t wait_s; /* until there is room, if nothing else is sent */
	int notice; /* the first time in this period: somebody is to be told */
};

/* Where the environment lies below queue_dir; the caller frees. */
char *submission_limit_dir(const struct config *conf);
/* In the process that asks: an environment must not be used over a fork. Logged. */
enum err submission_limit_open(const struct config *conf, struct submission_limit **out);
void submission_limit_close(struct submission_limit **l);

/*
 * Counts n recipients of a user (a name of up to 500 bytes) at now, Unix time. OK: they are within
 * the limits, and on disk. E_QUOTA: nothing was taken, *over says why. Other errors: the store
 * cannot be used (logged).
 */
enum err submission_limit_take(struct submission_limit *l, const char *user, uint64_t n,
	const struct submission_limits *limits, int64_t now, struct submission_over *over);
/*
 * Whether n more could be taken with a message that has some already (pending): the same, but that
 * what fits is not counted, and nothing is written.
 */
enum err submission_limit_ask(struct submission_limit *l, const char *user, uint64_t pending,
	uint64_t n, const struct submission_limits *limits, int64_t now,
	struct submission_over *over);
/* What was taken was not sent after all. Errors are logged. */
void submission_limit_return(struct submission_limit *l, const char *user, uint64_t n, int64_t now);
/* The notice could not be given: the next time that it is too much wants one again. */
void submission_limit_renotice(
	struct submission_limit *l, const char *user, enum submission_period period, int64_t now);

/* user NULL: all. *n: how many were known. */
enum err submission_limit_reset(struct submission_limit *l, const char *user, size_t *n);
/* Calls back for each user who sent something in the last day, by name. */
enum err submission_limit_each(struct submission_limit *l, int64_t now,
	void (*each)(void *arg, const char *user, const struct submission_use *use), void *arg);

#endif
