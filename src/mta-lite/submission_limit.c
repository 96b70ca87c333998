/* SPDX-License-Identifier: MIT */
#include "mta-lite/submission_limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/lmdb_open.h"

enum {
	MAP_SIZE = 512 << 20, /* some half a million users a day; sparse */
	NAME_MAX_BYTES = 500, /* LMDB's keys end at 511 */
	SWEEP = 10, /* records looked at for old ones with each new one */
	MINUTE_S = 60,
	HALF_HOUR_S = 1800,
	HOUR_TICKS = 61,
	DAY_TICKS = 49,
};

/* The value of a record, in the machine's byte order. Slot: tick modulo the number of slots. */
struct sent {
	int64_t minute, half_hour; /* the last tick that has a slot */
	int64_t noticed[SUBMISSION_PERIODS]; /* when somebody was told; 0: not */
	uint32_t hour[HOUR_TICKS], day[DAY_TICKS], over[DAY_TICKS], spare;
};

struct submission_limit {
	MDB_env *env;
	MDB_dbi dbi;
};

static const int64_t period_s[SUBMISSION_PERIODS] = {3600, 24 * 3600};

static enum err
failed(const char *what, int rc)
{
	log_event(LOGL_ERROR, "submission_limit.failed", "step", what, "error", mdb_strerror(rc),
		NULL);
	return rc == MDB_MAP_FULL || rc == ENOSPC ? E_NOSPACE : E_IO;
}

struct submission_limits
submission_limits_of(const struct config *conf)
{
	return (struct submission_limits){.most = {(uint64_t)conf->submission_limit_hour,
						  (uint64_t)conf->submission_limit_day}};
}

int
submission_limits_any(const struct submission_limits *limits)
{
	return limits->most[SUBMISSION_HOUR] > 0 || limits->most[SUBMISSION_DAY] > 0;
}

char *
submission_limit_dir(const struct config *conf)
{
	return mem_printf("%s/submission", conf->queue_dir);
}

enum err
submission_limit_open(const struct config *conf, struct submission_limit **out)
{
	struct submission_limit *l = MEM_NEW(struct submission_limit);
	/* The last transaction may be lost in a power cut, the rest must hold together. */
	unsigned flags = MDB_NOTLS | (conf->mail_fsync ? MDB_NOMETASYNC : MDB_NOSYNC);
	char *dir = submission_limit_dir(conf);
	int rc = lmdb_open(dir, MAP_SIZE, flags, &l->env, &l->dbi);

	*out = NULL;
	free(dir);
	if (rc) {
		submission_limit_close(&l);
		return failed("open", rc);
	}
	*out = l;
	return OK;
}

void
submission_limit_close(struct submission_limit **l)
{
	if (*l == NULL)
		return;
	if ((*l)->env)
		mdb_env_close((*l)->env);
	MEM_FREE(*l);
}

/* ---- windows ---- */

/* Empties the slots of the ticks that have passed. */
static void
advance(int64_t *tick, int64_t now, uint32_t *slots, size_t n)
{
	int64_t t;

	/* A clock that was set back a long way; a little is waited for. */
	if (now - *tick >= (int64_t)n || *tick - now >= (int64_t)n) {
		memset(slots, 0, n * sizeof(*slots));
		*tick = now;
		return;
	}
	for (t = *tick + 1; t <= now; t++)
		slots[(size_t)t % n] = 0;
	if (now > *tick)
		*tick = now;
}

static uint64_t
total(const uint32_t *slots, size_t n)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += slots[i];
	return sum;
}

static void
add(uint32_t *slot, uint64_t n)
{
	*slot = n > UINT32_MAX - *slot ? UINT32_MAX : *slot + (uint32_t)n;
}

/* From the newest slot on, wherever they were counted. */
static void
take_away(int64_t tick, uint32_t *slots, size_t n, uint64_t amount)
{
	size_t i;

	for (i = 0; i < n && amount > 0; i++) {
		uint32_t *slot = &slots[(size_t)(tick - (int64_t)i + (int64_t)n) % n];
		uint32_t part = amount < *slot ? (uint32_t)amount : *slot;

		*slot -= part;
		amount -= part;
	}
}

/* When so much of the window has passed that there is room for n. */
static int64_t
wait_for(const uint32_t *slots, size_t n, int64_t tick, int64_t tick_s, uint64_t most,
	uint64_t wanted, int64_t now)
{
	uint64_t left = total(slots, n);
	int64_t t;

	for (t = tick - (int64_t)n + 1; t <= tick && left + wanted > most; t++)
		left -= slots[(size_t)(t + (int64_t)n) % n];
	/* Tick t - 1 leaves when the tick n further begins. */
	return (t - 1 + (int64_t)n) * tick_s - now;
}

static void
bring_up_to(struct sent *s, int64_t now)
{
	int64_t half_hour = s->half_hour;

	advance(&s->minute, now / MINUTE_S, s->hour, HOUR_TICKS);
	advance(&half_hour, now / HALF_HOUR_S, s->over, DAY_TICKS);
	advance(&s->half_hour, now / HALF_HOUR_S, s->day, DAY_TICKS);
}

static struct submission_use
use_of(const struct sent *s)
{
	return (struct submission_use){
		.count = {total(s->hour, HOUR_TICKS), total(s->day, DAY_TICKS)},
		.over = total(s->over, DAY_TICKS),
	};
}

/* Nothing in it that matters. */
static int
is_empty(const struct sent *s, int64_t now)
{
	struct submission_use use = use_of(s);

	return use.count[SUBMISSION_HOUR] == 0 && use.count[SUBMISSION_DAY] == 0 && use.over == 0 &&
	       (s->noticed[SUBMISSION_DAY] == 0 ||
		       now - s->noticed[SUBMISSION_DAY] >= period_s[SUBMISSION_DAY]);
}

/* ---- records ---- */

static int
load(struct submission_limit *l, MDB_txn *txn, const char *user, int64_t now, struct sent *out)
{
	MDB_val k = {strlen(user), (void *)user}, v;
	int rc = mdb_get(txn, l->dbi, &k, &v);

	memset(out, 0, sizeof(*out));
	if (rc == 0 && v.mv_size == sizeof(*out))
		memcpy(out, v.mv_data, sizeof(*out));
	bring_up_to(out, now);
	return rc;
}

static int
store(struct submission_limit *l, MDB_txn *txn, const char *user, const struct sent *s)
{
	MDB_val k = {strlen(user), (void *)user}, v = {sizeof(*s), (void *)s};

	return mdb_put(txn, l->dbi, &k, &v, 0);
}

/* A few records behind the one for a new user lose their place if they are old. */
static void
sweep(struct submission_limit *l, MDB_txn *txn, const char *user, int64_t now)
{
	MDB_val k = {strlen(user), (void *)user}, v;
	MDB_cursor *cur;
	int rc, i;

	if (mdb_cursor_open(txn, l->dbi, &cur))
		return;
	rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(cur, &k, &v, MDB_FIRST);
	for (i = 0; i < SWEEP && rc == 0; i++) {
		struct sent s = {0};

		if (v.mv_size == sizeof(s)) {
			memcpy(&s, v.mv_data, sizeof(s));
			bring_up_to(&s, now);
		}
		if (is_empty(&s, now))
			(void)mdb_cursor_del(cur, 0);
		rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cur);
}

/* ---- judging ---- */

/* 1: within the limits. n: what is asked for; what was taken already within this message. */
static int
fits(const struct sent *s, uint64_t n, const struct submission_limits *limits, int64_t now,
	struct submission_over *over)
{
	struct submission_use use = use_of(s);
	int p;

	for (p = SUBMISSION_PERIODS - 1; p >= 0; p--) {
		uint64_t most = limits->most[p];

		if (most == 0 || (n <= most && use.count[p] <= most - n))
			continue;
		*over = (struct submission_over){.period = (enum submission_period)p,
			.most = most,
			.use = use,
			.never = n > most};
		if (!over->never)
			over->wait_s = p == SUBMISSION_HOUR
					       ? wait_for(s->hour, HOUR_TICKS, s->minute, MINUTE_S,
							 most, n, now)
					       : wait_for(s->day, DAY_TICKS, s->half_hour,
							 HALF_HOUR_S, most, n, now);
		return 0;
	}
	return 1;
}

static void
note_over(struct sent *s, uint64_t n, int64_t now, struct submission_over *over)
{
	int64_t *noticed = &s->noticed[over->period];

	add(&s->over[(size_t)s->half_hour % DAY_TICKS], n);
	over->use = use_of(s);
	over->notice = *noticed == 0 || now - *noticed >= period_s[over->period] || *noticed > now;
	if (over->notice)
		*noticed = now;
}

/*
 * pending: what the same message has already, for which nothing is noted. counts: what fits is
 * taken.
 */
static enum err
judge(struct submission_limit *l, const char *user, uint64_t pending, uint64_t n, int counts,
	const struct submission_limits *limits, int64_t now, struct submission_over *over)
{
	struct sent s;
	MDB_txn *txn;
	int rc, known, fit;

	if (user[0] == '\0' || strlen(user) > NAME_MAX_BYTES)
		return failed("name", MDB_BAD_VALSIZE);
	rc = mdb_txn_begin(l->env, NULL, 0, &txn);
	if (rc)
		return failed("begin", rc);
	rc = load(l, txn, user, now, &s);
	known = rc == 0;
	if (rc && rc != MDB_NOTFOUND) {
		mdb_txn_abort(txn);
		return failed("read", rc);
	}
	fit = fits(&s, pending + n, limits, now, over);
	if (fit && !counts) {
		mdb_txn_abort(txn);
		return OK;
	}
	if (fit) {
		add(&s.hour[(size_t)s.minute % HOUR_TICKS], n);
		add(&s.day[(size_t)s.half_hour % DAY_TICKS], n);
	} else {
		note_over(&s, n, now, over);
	}
	if (!known)
		sweep(l, txn, user, now);
	rc = store(l, txn, user, &s);
	if (rc) {
		mdb_txn_abort(txn);
		return failed("write", rc);
	}
	rc = mdb_txn_commit(txn);
	if (rc)
		return failed("commit", rc);
	return fit ? OK : E_QUOTA;
}

enum err
submission_limit_take(struct submission_limit *l, const char *user, uint64_t n,
	const struct submission_limits *limits, int64_t now, struct submission_over *over)
{
	return judge(l, user, 0, n, 1, limits, now, over);
}

enum err
submission_limit_ask(struct submission_limit *l, const char *user, uint64_t pending, uint64_t n,
	const struct submission_limits *limits, int64_t now, struct submission_over *over)
{
	return judge(l, user, pending, n, 0, limits, now, over);
}

/* ---- taking back ---- */

/* Changes a record that is there. */
static void
change(struct submission_limit *l, const char *user, int64_t now,
	void (*edit)(struct sent *s, uint64_t n), uint64_t n)
{
	struct sent s;
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

	if (rc) {
		(void)failed("begin", rc);
		return;
	}
	rc = load(l, txn, user, now, &s);
	if (rc == 0) {
		edit(&s, n);
		rc = store(l, txn, user, &s);
	}
	if (rc == 0) {
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (txn)
		mdb_txn_abort(txn);
	if (rc && rc != MDB_NOTFOUND) /* reset meanwhile */
		(void)failed("return", rc);
}

static void
edit_return(struct sent *s, uint64_t n)
{
	take_away(s->minute, s->hour, HOUR_TICKS, n);
	take_away(s->half_hour, s->day, DAY_TICKS, n);
}

static void
edit_renotice(struct sent *s, uint64_t period)
{
	s->noticed[period] = 0;
}

void
submission_limit_return(struct submission_limit *l, const char *user, uint64_t n, int64_t now)
{
	change(l, user, now, edit_return, n);
}

void
submission_limit_renotice(
	struct submission_limit *l, const char *user, enum submission_period period, int64_t now)
{
	change(l, user, now, edit_renotice, (uint64_t)period);
}

enum err
submission_limit_reset(struct submission_limit *l, const char *user, size_t *n)
{
	MDB_stat st;
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

	*n = 0;
	if (rc)
		return failed("begin", rc);
	if (user && user[0]) {
		MDB_val k = {strlen(user), (void *)user};

		rc = k.mv_size > NAME_MAX_BYTES ? MDB_NOTFOUND : mdb_del(txn, l->dbi, &k, NULL);
		*n = rc == 0;
		if (rc == MDB_NOTFOUND)
			rc = 0;
	} else if (user == NULL) {
		rc = mdb_stat(txn, l->dbi, &st);
		if (rc == 0)
			rc = mdb_drop(txn, l->dbi, 0);
		if (rc == 0)
			*n = st.ms_entries;
	}
	if (rc) {
		mdb_txn_abort(txn);
		*n = 0;
		return failed("reset", rc);
	}
	rc = mdb_txn_commit(txn);
	return rc ? failed("commit", rc) : OK;
}

enum err
submission_limit_each(struct submission_limit *l, int64_t now,
	void (*each)(void *arg, const char *user, const struct submission_use *use), void *arg)
{
	MDB_cursor *cur;
	MDB_val k, v;
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return failed("begin", rc);
	rc = mdb_cursor_open(txn, l->dbi, &cur);
	if (rc) {
		mdb_txn_abort(txn);
		return failed("cursor", rc);
	}
	while ((rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) == 0) {
		struct submission_use use;
		struct sent s;
		char *user;

		if (v.mv_size != sizeof(s))
			continue;
		memcpy(&s, v.mv_data, sizeof(s));
		bring_up_to(&s, now);
		if (is_empty(&s, now))
			continue;
		use = use_of(&s);
		user = str_dup(str_make(k.mv_data, k.mv_size));
		each(arg, user, &use);
		free(user);
	}
	mdb_cursor_close(cur);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? OK : failed("list", rc);
}
