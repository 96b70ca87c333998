/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "index/message_parse.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Messages that came in unparsed are parsed in the background. The user's worker picks some, a
 * thread of low priority reads and parses their files, and the worker takes what they brought into
 * the index in one transaction of a few milliseconds. A user has one batch under way at a time, and
 * batches are parsed in the order in which they come, so that a tree of a million does not keep
 * others from theirs. Nothing is lost by a stop: what has no email id yet is found again.
 */

struct parse_job {
	struct parse_job *next;
	struct index_worker *worker;
	char *user;
	uint64_t generation;
	int maildir_fd;
	uint64_t max;
	struct index_core_unparsed items[INDEX_PARSE_MAX];
	struct message_parsed parsed[INDEX_PARSE_MAX];
	enum err errors[INDEX_PARSE_MAX];
	size_t count;
};

static void
job_free(struct parse_job *j)
{
	for (size_t i = 0; i < j->count; i++) {
		index_core_unparsed_free(&j->items[i]);
		message_parsed_free(&j->parsed[i]);
	}
	io_close(&j->maildir_fd);
	free(j->user);
	free(j);
}

/* ---- in the parsing thread ---- */

static enum err
parse_one(
	const struct parse_job *j, const struct index_core_unparsed *u, struct message_parsed *out)
{
	static const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(j->maildir_fd, u->path, flags);
	enum err e;

	*out = (struct message_parsed){0};
	if (fd < 0)
		fd = openat(j->maildir_fd, u->wanted_path, flags);
	/* Gone or renamed meanwhile; its reader will find it. */
	if (fd < 0)
		return E_NOTFOUND;
	e = message_parse_fd(fd, j->max, out);
	io_close(&fd);
	return e;
}

static void parse_done(void *worker, void *job);

static void *
parse_thread(void *arg)
{
	struct index_parser *p = arg;

	/* For this thread alone, as Linux has it. */
	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
	pthread_mutex_lock(&p->mutex);
	for (;;) {
		struct parse_job *j = p->first;

		if (p->stop)
			break;
		if (!j) {
			pthread_cond_wait(&p->cond, &p->mutex);
			continue;
		}
		atomic_fetch_sub(&p->queued, 1);
		p->first = j->next;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->mutex);
		for (size_t i = 0; i < j->count; i++)
			j->errors[i] = atomic_load(&p->stopping)
					       ? E_CLOSED
					       : parse_one(j, &j->items[i], &j->parsed[i]);
		index_queue_add(&j->worker->queue, parse_done, j);
		pthread_mutex_lock(&p->mutex);
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static void
job_submit(struct index_parser *p, struct parse_job *j)
{
	pthread_mutex_lock(&p->mutex);
	atomic_fetch_add(&p->queued, 1);
	*p->last = j;
	p->last = &j->next;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->mutex);
}

enum err
index_parser_start(struct index_parser *p, size_t threads)
{
	sigset_t all, old;
	enum err e = OK;

	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->last = &p->first;
	p->threads = mem_zalloc((threads + 1) * sizeof(*p->threads));
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; p->count < threads && e == OK; p->count += e == OK)
		e = err_from_errno(pthread_create(&p->threads[p->count], NULL, parse_thread, p));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

void
index_parser_stop(struct index_parser *p)
{
	atomic_store(&p->stopping, 1);
	pthread_mutex_lock(&p->mutex);
	p->stop = 1;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->mutex);
	for (size_t i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
}

void
index_parser_fini(struct index_parser *p)
{
	for (struct parse_job *j = p->first, *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->mutex);
	MEM_FREE(p->threads);
}

/* ---- in the worker's ---- */

static void
parse_after(struct index_user_entry *u, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	event_add(u->parse, &tv);
}

void
index_user_parse(struct index_user_entry *u)
{
	uint64_t unparsed = index_core_unparsed(u->core);

	if (u->worker->service->parser.count == 0 || u->worker->draining)
		return;
	/* New ones, or the first look: from the beginning. */
	if (unparsed > u->parse_known) {
		u->parse_at = (struct index_core_place){0};
		u->parse_end = 0;
	}
	u->parse_known = unparsed;
	if (unparsed && !u->parse_end && !u->parsing && !event_pending(u->parse, EV_TIMEOUT, NULL))
		parse_after(u, INDEX_PARSE_PAUSE_MS);
}

int
index_user_is_parsing(const struct index_user_entry *u)
{
	return u->parsing != NULL || event_pending(u->parse, EV_TIMEOUT, NULL);
}

void
index_user_parse_event(evutil_socket_t fd, short what, void *arg)
{
	struct index_user_entry *u = arg;
	struct parse_job *j;
	int more;

	(void)fd;
	(void)what;
	if (u->corrupt || u->parsing || u->worker->draining)
		return;
	/* Whoever is asking comes first, but not for ever. */
	if (io_now_ms() - u->request_ms < INDEX_PARSE_QUIET_MS &&
		u->parse_waits++ < INDEX_PARSE_WAITS_MAX) {
		parse_after(u, INDEX_PARSE_QUIET_MS);
		return;
	}
	u->parse_waits = 0;
	if (atomic_load(&u->worker->service->parser.queued) >= INDEX_PARSE_QUEUE_MAX) {
		parse_after(u, INDEX_PARSE_AGAIN_MS);
		return;
	}
	j = MEM_NEW(struct parse_job);
	j->maildir_fd = -1;
	if (index_core_unparsed_take(u->core, &u->parse_at, j->items, INDEX_PARSE_MAX,
		    INDEX_PARSE_BYTES, &j->count, &more))
		more = 0;
	u->parse_end = !more;
	if (j->count)
		j->maildir_fd = index_core_maildir_dup(u->core);
	if (j->maildir_fd < 0) {
		job_free(j);
		if (more)
			parse_after(u, INDEX_PARSE_PAUSE_MS);
		return;
	}
	j->worker = u->worker;
	j->user = mem_strdup(u->name);
	j->generation = index_core_generation(u->core);
	j->max = index_core_unfold_max(u->core);
	u->parsing = j;
	job_submit(&u->worker->service->parser, j);
}

static size_t
notes_of(struct parse_job *j, struct index_core_note *notes)
{
	size_t n = 0;

	for (size_t i = 0; i < j->count; i++) {
		const struct message_parsed *m = &j->parsed[i];

		if (j->errors[i])
			continue;
		notes[n] = (struct index_core_note){.mailbox = j->items[i].mailbox,
			.uid = j->items[i].uid,
			.blob = buf_str(&m->cache),
			.has_facts = 1,
			.size = m->size_crlf,
			.date = j->items[i].date_known ? 0 : m->mtime_s};
		memcpy(notes[n].email_id, m->email_id, sizeof(m->email_id));
		memcpy(notes[n].thread_id, m->thread_id, sizeof(m->thread_id));
		n++;
	}
	return n;
}

static void
take_in(struct index_user_entry *u, struct parse_job *j)
{
	struct index_core_note notes[INDEX_PARSE_MAX];
	size_t n = notes_of(j, notes);
	enum err e = n ? index_core_notes_put(u->core, notes, n) : OK;

	if (e == E_CORRUPT)
		index_user_corrupt(u);
	if (e) {
		log_event(LOGL_WARN, "index.parse failed", "user", u->name, "error", err_word(e),
			NULL);
		return;
	}
	atomic_fetch_add(&u->worker->parsed, n);
	u->parse_known = index_core_unparsed(u->core);
	if (u->parse_end)
		log_event(LOGL_INFO, "index.parse ok", "user", u->name, "left",
			log_u64(u->parse_known), NULL);
	else if (!u->worker->draining)
		parse_after(u, 0);
}

static void
parse_done(void *worker, void *job)
{
	struct parse_job *j = job;
	struct index_user_entry *u = index_worker_find(worker, j->user);

	if (u && u->away) {
		index_away_wait(u, parse_done, j);
		return;
	}
	/* The one it was for may be gone, and another one of that name be there. */
	if (u && u->parsing == j) {
		u->parsing = NULL;
		if (u->corrupt || index_core_generation(u->core) != j->generation) {
			/* The index is another one, in which these are not known. */
			u->parse_known = 0;
			index_user_parse(u);
		} else {
			take_in(u, j);
		}
	}
	job_free(j);
}
