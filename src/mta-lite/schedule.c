/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/schedule.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "lib/mem.h"

/* Urgent, normal and patient jobs of a destination. */
enum { BANDS = 3 };
/* Deliveries in a row over one connection while others wait for a place. */
enum { FOLLOW_MAX = 10 };
/* How long a destination's good name lasts without mail for it. */
enum { KNOWN_MS = 60 * 60 * 1000 };
/* Senders whose line is looked for before a job opens another one; a bound on the work. */
enum { SENDERS_LOOKED_AT = 32 };

/* What is known of a destination, and for how many places that is good. */
enum class { CLASS_GOOD, CLASS_NEW, CLASS_SUSPECT, CLASS_COUNT };

struct schedule_job {
	TAILQ_ENTRY(schedule_job) link;
	enum class class; /* of its place, while it runs */
	struct destination *destination;
	struct sender_queue *queue; /* NULL once it runs */
	unsigned followed; /* jobs before it on the same connection */
	void *arg;
};

/* The jobs of one sender in one band of one destination. */
TAILQ_HEAD(sender_queues, sender_queue);
struct sender_queue {
	TAILQ_ENTRY(sender_queue) link;
	TAILQ_HEAD(, schedule_job) jobs;
	struct destination *destination;
	unsigned band;
	char *sender;
};

enum list { LIST_NONE, LIST_GOOD, LIST_NEW, LIST_SUSPECT, LIST_DELAYED, LIST_DEAD, LIST_COUNT };

struct destination {
	char *name; /* first: the tree compares through it */
	TAILQ_ENTRY(destination) link;
	enum list list; /* where it is linked */
	struct sender_queues bands[BANDS];
	unsigned running, waiting;
	unsigned window; /* deliveries at once; 0: not heard of yet */
	unsigned credit; /* successes towards a larger window */
	int dead;
	int suspect; /* it was not reached lately, as far as anybody knows */
	int64_t dead_until_ms, next_start_ms, heard_ms;
	char *reason;
};

TAILQ_HEAD(destinations, destination);
struct schedule {
	void *tree; /* of destinations, by name */
	struct destinations lists[LIST_COUNT];
	struct schedule_limits limits;
	unsigned running, waiting, busy;
	unsigned places[CLASS_COUNT]; /* taken by running jobs */
	unsigned turn; /* counts starts: who is next of several lists */
};

static int
compare(const void *a, const void *b)
{
	return strcasecmp(
		((const struct destination *)a)->name, ((const struct destination *)b)->name);
}

struct schedule *
schedule_create(const struct schedule_limits *limits)
{
	struct schedule *s = MEM_NEW(struct schedule);
	int i;

	for (i = 0; i < LIST_COUNT; i++)
		TAILQ_INIT(&s->lists[i]);
	s->limits = *limits;
	return s;
}

static void
destination_free(struct schedule *s, struct destination *d)
{
	if (d->list != LIST_NONE)
		TAILQ_REMOVE(&s->lists[d->list], d, link);
	(void)tdelete(d, &s->tree, compare);
	free(d->name);
	free(d->reason);
	free(d);
}

static void
put_in_list(struct schedule *s, struct destination *d, enum list list)
{
	if (d->list == list)
		return;
	if (d->list != LIST_NONE)
		TAILQ_REMOVE(&s->lists[d->list], d, link);
	if (list != LIST_NONE)
		TAILQ_INSERT_TAIL(&s->lists[list], d, link);
	d->list = list;
}

static unsigned
window_of(const struct schedule *s, const struct destination *d)
{
	unsigned window = d->window ? d->window : 1;

	if (s->limits.rate_delay_ms > 0)
		return 1;
	return window < s->limits.per_destination ? window : s->limits.per_destination;
}

/* Where a destination belongs, as it is. */
static void
place(struct schedule *s, struct destination *d)
{
	if (d->waiting == 0)
		put_in_list(s, d, LIST_NONE);
	else if (d->dead)
		put_in_list(s, d, LIST_DEAD);
	else if (d->running >= window_of(s, d))
		put_in_list(s, d, LIST_NONE);
	else if (d->next_start_ms)
		put_in_list(s, d, LIST_DELAYED);
	else
		put_in_list(s, d, d->window ? LIST_GOOD : d->suspect ? LIST_SUSPECT : LIST_NEW);
}

/* twalk(3) must not see the tree change: nodes are collected first. */
struct collect {
	struct destination **v;
	size_t n, size;
};

static void
collect(const void *node, VISIT which, void *arg)
{
	struct collect *c = arg;

	if (which != postorder && which != leaf)
		return;
	if (c->n == c->size) {
		c->size = c->size ? c->size * 2 : 64;
		c->v = mem_realloc(c->v, c->size, sizeof(struct destination *));
	}
	c->v[c->n++] = *(struct destination *const *)node;
}

static struct collect
all_destinations(struct schedule *s)
{
	struct collect c = {0};

	twalk_r(s->tree, collect, &c);
	return c;
}

void
schedule_free(struct schedule **s)
{
	struct collect c;
	size_t i;

	if (*s == NULL)
		return;
	ROOST_ASSERT((*s)->running == 0 && (*s)->waiting == 0);
	c = all_destinations(*s);
	for (i = 0; i < c.n; i++)
		destination_free(*s, c.v[i]);
	free(c.v);
	MEM_FREE(*s);
}

void
schedule_set_limits(struct schedule *s, const struct schedule_limits *limits)
{
	struct collect c = all_destinations(s);
	size_t i;

	s->limits = *limits;
	for (i = 0; i < c.n; i++)
		place(s, c.v[i]);
	free(c.v);
}

void
schedule_revive(struct schedule *s)
{
	struct collect c = all_destinations(s);
	size_t i;

	for (i = 0; i < c.n; i++) {
		c.v[i]->dead = 0;
		place(s, c.v[i]);
	}
	free(c.v);
}

void
schedule_revive_one(struct schedule *s, const char *destination)
{
	struct destination key = {.name = (char *)destination}, **at;

	at = tfind(&key, &s->tree, compare);
	if (at == NULL)
		return;
	(*at)->dead = 0;
	place(s, *at);
}

void
schedule_sweep(struct schedule *s, int64_t now_ms)
{
	struct collect c = all_destinations(s);
	size_t i;

	for (i = 0; i < c.n; i++) {
		struct destination *d = c.v[i];

		if (d->dead && now_ms >= d->dead_until_ms) {
			d->dead = 0;
			place(s, d);
		}
		if (d->running == 0 && d->waiting == 0 && !d->dead &&
			(d->window == 0 || now_ms - d->heard_ms > KNOWN_MS))
			destination_free(s, d);
	}
	free(c.v);
}

static struct destination *
find_or_make(struct schedule *s, const char *name)
{
	struct destination key = {.name = (char *)(uintptr_t)name};
	struct destination **at = tfind(&key, &s->tree, compare), *d;
	int i;

	if (at)
		return *at;
	d = MEM_NEW(struct destination);
	d->name = mem_strdup(name);
	for (i = 0; i < BANDS; i++)
		TAILQ_INIT(&d->bands[i]);
	(void)tsearch(d, &s->tree, compare);
	return d;
}

int
schedule_is_unproven(struct schedule *s, const char *destination, unsigned waiting)
{
	struct destination key = {.name = (char *)(uintptr_t)destination};
	struct destination **at = tfind(&key, &s->tree, compare);

	return at && (*at)->window == 0 && (*at)->waiting >= waiting;
}

/* ---- jobs of a destination ---- */

/* The sender's queue. Senders are few at most destinations; a list keeps their turn. */
static struct sender_queue *
queue_of(struct destination *d, unsigned band, const char *sender)
{
	struct sender_queue *q;
	unsigned looked = 0;

	TAILQ_FOREACH_REVERSE(q, &d->bands[band], sender_queues, link)
	{
		if (strcasecmp(q->sender, sender) == 0)
			return q;
		if (++looked == SENDERS_LOOKED_AT)
			break;
	}
	q = MEM_NEW(struct sender_queue);
	q->destination = d;
	q->band = band;
	q->sender = mem_strdup(sender);
	TAILQ_INIT(&q->jobs);
	TAILQ_INSERT_TAIL(&d->bands[band], q, link);
	return q;
}

static void
unlink_job(struct schedule *s, struct schedule_job *job)
{
	struct destination *d = job->destination;
	struct sender_queue *q = job->queue;

	TAILQ_REMOVE(&q->jobs, job, link);
	job->queue = NULL;
	d->waiting--;
	s->waiting--;
	if (TAILQ_EMPTY(&q->jobs)) {
		TAILQ_REMOVE(&d->bands[q->band], q, link);
		free(q->sender);
		free(q);
	}
}

/* The sender whose turn it is goes to the end of the line. */
static struct schedule_job *
first_job(struct destination *d)
{
	unsigned band;

	for (band = 0; band < BANDS; band++) {
		struct sender_queue *q = TAILQ_FIRST(&d->bands[band]);

		if (q) {
			TAILQ_REMOVE(&d->bands[band], q, link);
			TAILQ_INSERT_TAIL(&d->bands[band], q, link);
			return TAILQ_FIRST(&q->jobs);
		}
	}
	return NULL;
}

struct schedule_job *
schedule_add(struct schedule *s, const char *destination, const char *sender,
	const struct schedule_kind *kind, void *arg)
{
	struct schedule_job *job = MEM_NEW(struct schedule_job);
	struct destination *d = find_or_make(s, destination);
	unsigned band = kind->priority > 0 ? 0 : kind->priority == 0 ? 1 : 2;

	if (d->waiting == 0 && d->running == 0) {
		s->busy++;
		if (kind->retry && d->window == 0)
			d->suspect = 1;
	}
	/* New mail for what was not tried in this life is a reason to look. */
	if (!kind->retry && d->reason == NULL)
		d->suspect = 0;
	job->destination = d;
	job->arg = arg;
	job->queue = queue_of(d, band, sender);
	TAILQ_INSERT_TAIL(&job->queue->jobs, job, link);
	d->waiting++;
	s->waiting++;
	place(s, d);
	return job;
}

static void
count_start(struct schedule *s, struct schedule_job *job, int64_t now_ms)
{
	struct destination *d = job->destination;

	job->class = d->window ? CLASS_GOOD : d->suspect ? CLASS_SUSPECT : CLASS_NEW;
	s->places[job->class]++;
	d->running++;
	s->running++;
	if (s->limits.rate_delay_ms > 0)
		d->next_start_ms = now_ms + s->limits.rate_delay_ms;
}

static struct schedule_job *
start_first(struct schedule *s, struct destination *d, int64_t now_ms)
{
	struct schedule_job *job = first_job(d);

	unlink_job(s, job);
	count_start(s, job, now_ms);
	/* To the end of the line. */
	put_in_list(s, d, LIST_NONE);
	place(s, d);
	return job;
}

static void
wake_delayed(struct schedule *s, int64_t now_ms)
{
	struct destination *d = TAILQ_FIRST(&s->lists[LIST_DELAYED]);

	while (d) {
		struct destination *next = TAILQ_NEXT(d, link);

		if (now_ms >= d->next_start_ms) {
			d->next_start_ms = 0;
			place(s, d);
		}
		d = next;
	}
}

/* Whether one more of the class may start: those that have not proved themselves never take all. */
static int
has_place(const struct schedule *s, enum class class)
{
	unsigned total = s->limits.total, reserve = total / 5;
	unsigned unproven = s->places[CLASS_NEW] + s->places[CLASS_SUSPECT];

	if (reserve == 0 && total > 1)
		reserve = 1;
	if (class == CLASS_GOOD)
		return s->running < total;
	if (unproven >= total - reserve)
		return 0;
	return class == CLASS_NEW || total < 4 || s->places[CLASS_SUSPECT] < total * 3 / 5;
}

struct schedule_job *
schedule_next(struct schedule *s, int64_t now_ms)
{
	/* Who is asked first, in turns: most often those that answer. */
	static const enum class orders[4][CLASS_COUNT] = {
		{CLASS_SUSPECT, CLASS_NEW, CLASS_GOOD},
		{CLASS_GOOD, CLASS_NEW, CLASS_SUSPECT},
		{CLASS_NEW, CLASS_GOOD, CLASS_SUSPECT},
		{CLASS_GOOD, CLASS_NEW, CLASS_SUSPECT},
	};
	static const enum list lists[] = {LIST_GOOD, LIST_NEW, LIST_SUSPECT};
	unsigned turn, i;

	if (!TAILQ_EMPTY(&s->lists[LIST_DELAYED]))
		wake_delayed(s, now_ms);
	if (s->running >= s->limits.total)
		return NULL;
	turn = s->turn++;
	for (i = 0; i < CLASS_COUNT; i++) {
		enum class class = orders[turn & 3][i];
		struct destinations *list = &s->lists[lists[class]];

		if (TAILQ_EMPTY(list) || !has_place(s, class))
			continue;
		return start_first(s,
			class != CLASS_GOOD && (turn & 4) ? TAILQ_LAST(list, destinations)
							  : TAILQ_FIRST(list),
			now_ms);
	}
	return NULL;
}

struct schedule_job *
schedule_next_dead(struct schedule *s, int64_t now_ms)
{
	struct destination *d;
	struct schedule_job *job;

	while ((d = TAILQ_FIRST(&s->lists[LIST_DEAD])) != NULL && now_ms >= d->dead_until_ms) {
		d->dead = 0;
		place(s, d);
	}
	if (d == NULL)
		return NULL;
	job = first_job(d);
	unlink_job(s, job);
	count_start(s, job, 0);
	d->next_start_ms = 0;
	place(s, d);
	return job;
}

int64_t
schedule_wait_ms(const struct schedule *s, int64_t now_ms)
{
	const struct destination *d;
	int64_t least = -1;

	if (s->running >= s->limits.total)
		return -1;
	TAILQ_FOREACH(d, &s->lists[LIST_DELAYED], link)
	{
		int64_t wait = d->next_start_ms > now_ms ? d->next_start_ms - now_ms : 0;

		if (least < 0 || wait < least)
			least = wait;
	}
	return least;
}

/* ---- ends ---- */

static void
count_end(struct schedule *s, struct schedule_job *job)
{
	job->destination->running--;
	s->running--;
	s->places[job->class]--;
}

static void
note_reached(struct schedule *s, struct destination *d, int64_t now_ms)
{
	d->heard_ms = now_ms;
	d->dead = 0;
	d->suspect = 0;
	if (d->window == 0) {
		d->window = s->limits.initial;
		return;
	}
	if (d->window < s->limits.per_destination && ++d->credit >= d->window) {
		d->window++;
		d->credit = 0;
	}
}

static void
note_unreached(struct schedule *s, struct destination *d, int64_t now_ms)
{
	d->credit = 0;
	if (d->window > 1) {
		d->window--;
		return;
	}
	d->window = 0;
	d->suspect = 1;
	d->dead = 1;
	d->dead_until_ms = now_ms + s->limits.dead_ms;
}

void
schedule_done(struct schedule *s, struct schedule_job **job, enum schedule_outcome outcome,
	int64_t now_ms)
{
	struct destination *d = (*job)->destination;

	if ((*job)->queue)
		unlink_job(s, *job);
	else
		count_end(s, *job);
	if (outcome == SCHEDULE_REACHED)
		note_reached(s, d, now_ms);
	else if (outcome == SCHEDULE_UNREACHED)
		note_unreached(s, d, now_ms);
	place(s, d);
	if (d->running == 0 && d->waiting == 0) {
		s->busy--;
		if (d->window == 0 && !d->dead)
			destination_free(s, d);
	}
	MEM_FREE(*job);
}

struct schedule_job *
schedule_follow(struct schedule *s, struct schedule_job **job, int64_t now_ms)
{
	struct destination *d = (*job)->destination;
	unsigned followed = (*job)->followed + 1;
	int others = !TAILQ_EMPTY(&s->lists[LIST_GOOD]) || !TAILQ_EMPTY(&s->lists[LIST_NEW]) ||
		     !TAILQ_EMPTY(&s->lists[LIST_SUSPECT]);
	struct schedule_job *next;

	if (d->waiting == 0 || d->dead || s->limits.rate_delay_ms > 0 ||
		d->running > s->limits.per_destination || s->running > s->limits.total)
		return NULL;
	if (s->running >= s->limits.total && others && followed >= FOLLOW_MAX)
		return NULL;
	next = first_job(d);
	unlink_job(s, next);
	count_start(s, next, now_ms);
	next->followed = followed;
	schedule_done(s, job, SCHEDULE_REACHED, now_ms);
	return next;
}

void
schedule_set_reason(struct schedule *s, struct schedule_job *job, const char *reason)
{
	(void)s;
	free(job->destination->reason);
	job->destination->reason = mem_strdup(reason);
}

const char *
schedule_reason(const struct schedule_job *job)
{
	return job->destination->reason ? job->destination->reason : "";
}

int64_t
schedule_dead_until_ms(const struct schedule_job *job)
{
	return job->destination->dead_until_ms;
}

void *
schedule_job_arg(const struct schedule_job *job)
{
	return job->arg;
}

const char *
schedule_job_destination(const struct schedule_job *job)
{
	return job->destination->name;
}

unsigned
schedule_running(const struct schedule *s)
{
	return s->running;
}

unsigned
schedule_waiting(const struct schedule *s)
{
	return s->waiting;
}

unsigned
schedule_destinations(const struct schedule *s)
{
	return s->busy;
}

int64_t
schedule_backoff_ms(int64_t minimal_ms, int64_t maximal_ms, uint32_t attempts)
{
	int64_t wait = minimal_ms;

	while (attempts-- > 1 && wait < maximal_ms)
		wait = wait > maximal_ms / 2 ? maximal_ms : wait * 2;
	return wait < maximal_ms ? wait : maximal_ms;
}
