/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_MASTER_H
#define ROOST_MASTER_MASTER_H

#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>
#include <jansson.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/ipc.h"
#include "lib/metrics.h"
#include "master/daemons.h"
#include "master/listeners.h"

/*
 * The master process: state shared by master.c (start, stop, reload), child.c (processes) and
 * control.c (roostctl).
 */
enum child_state {
	CHILD_WAITING, /* not running; starts when its turn or its back-off is over */
	CHILD_STARTING,
	CHILD_READY,
	CHILD_RESTING, /* not running, nobody needs it; starts when somebody connects */
	CHILD_STOPPING, /* told to stop */
	CHILD_GONE, /* over; the record is freed */
};

struct master;

enum { CHILD_CALLERS_MAX = 4 };

/* One process of a daemon, through all its restarts. */
struct child {
	struct child *next;
	struct master *m;
	const struct daemon_def *def;
	enum child_state state;
	pid_t pid; /* 0: none */
	struct ipc_conn *control;
	struct event *timer; /* restart */
	struct event *callers[CHILD_CALLERS_MAX]; /* its sockets, while it rests */
	size_t caller_count;
	int64_t started_ms;
	unsigned backoff_ms, restarts;
	int retired; /* replaced by a reload: not started again */
	int stop_sent;
};

enum master_phase { MASTER_STARTING, MASTER_RUNNING, MASTER_ENDING };

struct master {
	struct event_base *base;
	struct config *conf;
	struct listeners listeners;
	struct child *children;
	enum master_phase phase;
	enum daemon_stage stage; /* while ending */
	int64_t stage_deadline_ms;
	int lock_fd, limits_fd, known_fd, tokens_fd;
	struct counters *counters; /* of each daemon, over all restarts */
	int64_t started_ms;
	struct event *signals[4]; /* TERM, INT, HUP, CHLD */
	struct event *stage_timer, *last_timer;
	struct event *control_event;
	int control_fd;
	struct pid_list {
		pid_t *pids;
		size_t count;
	} orphans; /* process groups whose leader, a session parent, died before its sessions */
	int exit_status;
};

/* Runs until stopped; returns the exit status. conf is taken over. */
int master_run(struct config *conf);
/* Begins the orderly end. */
void master_stop(struct master *m);
/* A child became ready or ended: the next step of starting or ending. */
void master_progress(struct master *m);
/* Starts what is missing of those that start last, or of the others. */
void master_start_wanted(struct master *m, int last);
/* Whether those that start last have been started. */
int master_have_last(const struct master *m);

/* ---- reload.c ---- */

/* Reads the configuration again. *problems: why nothing was changed, a line each. */
enum err master_reload(struct master *m, struct buf *problems);

/* ---- counters.c ---- */

/* Makes the memory in which each daemon counts, and our own. */
enum err counters_create(struct counters **out);
void counters_free(struct counters **counters);
/* The memory of a daemon, to hand over; -1 for one that is not in daemon_defs. Borrowed. */
int counters_fd(const struct counters *counters, const struct daemon_def *def);
/* Descriptors of all of them that can only be read; each call of add borrows one. */
void counters_each_read_only(
	const struct counters *counters, void (*add)(void *arg, int fd), void *arg);
/* A process of the daemon was started anew after it ended by itself. */
void counters_restarted(struct counters *counters, const struct daemon_def *def);
/* How many of its processes are ready; 0: what it said of its state is no more true. */
void counters_ready(struct counters *counters, const struct daemon_def *def, unsigned processes);

/* ---- child.c ---- */

struct child *child_create(struct master *m, const struct daemon_def *def);
void child_start(struct child *c);
/* One that is CHILD_RESTING waits at other sockets now: the listeners are new. */
void child_rest_anew(struct child *c);
/* Sends MASTER_STOP; also to one that was retired. */
void child_stop(struct child *c);
/* Another one has taken its place: it ends when its clients are done. */
void child_retire(struct child *c);
void child_kill(struct child *c);
/* New settings by descriptor; no fresh start. */
void child_send_fd(struct child *c, uint16_t frame, int fd);
/* SIGCHLD. */
void children_reap(struct master *m);
/* Removes records that are over. */
void children_sweep(struct master *m);
/* The settings as this daemon may see them. */
enum err child_settings_fd(const struct config *conf, const struct daemon_def *def, int *fd_out);
/* Sessions whose parent died; they are children of ours then. */
void orphans_signal(struct master *m, int signum);
size_t orphans_left(struct master *m); /* process groups */

/* ---- control.c ---- */

enum err control_open(struct master *m, struct buf *problems);
void control_close(struct master *m);

#endif
