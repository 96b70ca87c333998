/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/fts/fts_service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

enum {
	RETRY_MS = 2 * 1000, /* after a failure; twice as long after each further one */
	RETRY_MAX_MS = 10 * 60 * 1000,
	FULL_PAUSE_MS = 60 * 1000, /* when the disk is full */
	AGAIN_MS = 5 * 1000, /* to the next try at what could not be read */
};

static void
after_ms(struct event *ev, int64_t ms)
{
	struct timeval tv;

	ms = ms < 0 ? 0 : ms;
	tv = (struct timeval){ms / 1000, ms % 1000 * 1000};
	event_add(ev, &tv);
}

/* ---- users ---- */

struct fts_user *
fts_user_find(struct fts *fts, const char *name)
{
	struct fts_user *u;

	TAILQ_FOREACH(u, &fts->users, entry)
	{
		if (strcmp(u->name, name) == 0)
			return u;
	}
	return NULL;
}

struct fts_user *
fts_user_get(struct fts *fts, const char *name)
{
	struct fts_user *u = fts_user_find(fts, name);

	if (u) {
		/* Those who were last active stand in front. */
		TAILQ_REMOVE(&fts->users, u, entry);
		TAILQ_INSERT_HEAD(&fts->users, u, entry);
		return u;
	}
	u = MEM_NEW(struct fts_user);
	u->fts = fts;
	u->name = mem_strdup(name);
	u->job_fd = -1;
	TAILQ_INSERT_HEAD(&fts->users, u, entry);
	return u;
}

void
fts_user_place(struct fts_user *u, const char *maildir, const char *index_dir)
{
	free(u->maildir);
	free(u->index_dir);
	u->maildir = mem_strdup(maildir);
	u->index_dir = mem_strdup(index_dir);
}

static void
set_state(struct fts_user *u, enum fts_state state)
{
	if (u->state == FTS_WAITS)
		TAILQ_REMOVE(&u->fts->queue, u, queued);
	if (state == FTS_WAITS)
		TAILQ_INSERT_TAIL(&u->fts->queue, u, queued);
	u->state = state;
}

void
fts_user_changed(struct fts_user *u, int delay_ms)
{
	if (!u->changed_ms)
		u->changed_ms = io_now_ms();
	if (u->state == FTS_RUNS) {
		u->again = 1;
		return;
	}
	if (u->state == FTS_RESTS) {
		u->due_ms = io_now_ms() + delay_ms;
		set_state(u, FTS_WAITS);
	} else if (io_now_ms() + delay_ms < u->due_ms && !u->failures) {
		u->due_ms = io_now_ms() + delay_ms;
	}
	fts_pump(u->fts);
}

void
fts_user_free(struct fts_user *u)
{
	fts_answer_end(u);
	if (u->job_event) {
		(void)kill(u->job_pid, SIGKILL);
		while (waitpid(u->job_pid, NULL, 0) < 0 && errno == EINTR)
			;
		event_free(u->job_event);
		io_close(&u->job_fd);
	}
	set_state(u, FTS_RESTS);
	if (u->job)
		munmap(u->job, sizeof(*u->job));
	TAILQ_REMOVE(&u->fts->users, u, entry);
	free(u->name);
	free(u->maildir);
	free(u->index_dir);
	free(u);
}

void
fts_users_stop(struct fts *fts)
{
	struct fts_user *u, *next;

	for (u = TAILQ_FIRST(&fts->users); u; u = next) {
		next = TAILQ_NEXT(u, entry);
		fts_user_free(u);
	}
}

/* ---- jobs ---- */

/* Ended in disorder: at a message, twice, that one is passed over. */
static void
note_crash(struct fts_user *u, int status)
{
	log_event(LOGL_ERROR, "fts.index crashed", "user", u->name, "signal",
		log_u64(WIFSIGNALED(status) ? (unsigned)WTERMSIG(status) : 0), "mailbox",
		log_u64(u->job->mailbox), "uid", log_u64(u->job->uid), NULL);
	u->job->skip_mailbox = u->failures ? u->job->mailbox : 0;
	u->job->skip_uid = u->failures ? u->job->uid : 0;
}

static int64_t
retry_ms(const struct fts_user *u)
{
	int64_t ms = RETRY_MS;

	for (unsigned i = 1; i < u->failures && ms < RETRY_MAX_MS; i++)
		ms *= 2;
	return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

static void
job_ended(struct fts_user *u, int status)
{
	struct fts *fts = u->fts;
	int end = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	int64_t delay = 0;

	fts->running--;
	fts->jobs++;
	fts->indexed += atomic_load(&u->job->done);
	set_state(u, FTS_RESTS);
	metrics_add(METRIC_FTS_MESSAGES, atomic_load(&u->job->done));
	metrics_add_labels(METRIC_FTS_JOBS, 1,
		end == FTS_JOB_DONE   ? "done"
		: end == FTS_JOB_FULL ? "full"
				      : "failed",
		NULL);
	if (end == FTS_JOB_DONE) {
		u->failures = 0;
		u->job->skip_uid = 0;
		if (!u->again)
			u->changed_ms = 0;
	} else if (end == FTS_JOB_FULL) {
		log_event(LOGL_ERROR, "fts.index paused", "user", u->name, "reason", "disk full",
			NULL);
		fts->full_until_ms = io_now_ms() + FULL_PAUSE_MS;
		u->again = 1;
	} else {
		if (end != FTS_JOB_AGAIN)
			note_crash(u, status);
		u->failures++;
		fts->failed++;
		delay = end == FTS_JOB_AGAIN && u->failures == 1 ? AGAIN_MS : retry_ms(u);
		u->again = 1;
	}
	if (u->again && !service_is_draining(fts->run)) {
		u->again = 0;
		u->due_ms = io_now_ms() + delay;
		set_state(u, FTS_WAITS);
	}
}

static void
on_job_end(evutil_socket_t fd, short what, void *arg)
{
	struct fts_user *u = arg;
	int status = 0;
	char byte;

	(void)what;
	if (read(fd, &byte, 1) < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	event_free(u->job_event);
	u->job_event = NULL;
	io_close(&u->job_fd);
	while (waitpid(u->job_pid, &status, 0) < 0 && errno == EINTR)
		;
	job_ended(u, status);
	fts_pump(u->fts);
}

static void __attribute__((noreturn)) job_main(struct fts_user *u, int fd)
{
	struct fts_place place = {u->name, u->maildir, u->index_dir};

	/* Another service would take the same user for one that nobody works at. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	service_leave_in_child(u->fts->run, &fd, 1);
	_exit(fts_job_run(service_conf(u->fts->run), &place, u->job));
}

static void
job_prepare(struct fts_user *u)
{
	if (!u->job) {
		u->job = mmap(NULL, sizeof(*u->job), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (u->job == MAP_FAILED)
			u->job = NULL;
	}
	if (!u->job)
		return;
	u->job->uid = u->job->mailbox = 0;
	u->job->fresh = u->fresh;
	u->job->compact = u->compact;
	u->fresh = u->compact = 0;
}

/* E_TEMPFAIL: no process to be had. */
static enum err
job_start(struct fts_user *u)
{
	int fds[2];

	job_prepare(u);
	if (!u->job || pipe2(fds, O_CLOEXEC) != 0)
		return E_TEMPFAIL;
	u->job_pid = fork();
	if (u->job_pid == 0)
		job_main(u, fds[1]);
	close(fds[1]);
	if (u->job_pid < 0) {
		close(fds[0]);
		return E_TEMPFAIL;
	}
	(void)io_set_nonblocking(fds[0], 1);
	u->job_fd = fds[0];
	u->job_event =
		event_new(service_base(u->fts->run), fds[0], EV_READ | EV_PERSIST, on_job_end, u);
	event_add(u->job_event, NULL);
	u->again = 0;
	set_state(u, FTS_RUNS);
	u->fts->running++;
	return OK;
}

void
fts_pump(struct fts *fts)
{
	int64_t now = io_now_ms(), next = INT64_MAX;
	unsigned max = (unsigned)service_conf(fts->run)->fts_processes;
	struct fts_user *u, *following;

	if (service_is_draining(fts->run))
		return;
	for (u = TAILQ_FIRST(&fts->queue); u && fts->running < max; u = following) {
		int64_t due = u->due_ms > fts->full_until_ms ? u->due_ms : fts->full_until_ms;

		following = TAILQ_NEXT(u, queued);
		if (due <= now && job_start(u) != OK)
			due = now + RETRY_MS;
		if (u->state == FTS_WAITS && due < next)
			next = due;
	}
	/* When none may be started the end of one brings us here again. */
	if (next != INT64_MAX)
		after_ms(fts->pump, next - now);
}
