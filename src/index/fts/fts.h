/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_FTS_H
#define ROOST_FTS_FTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conf.h"
#include "lib/service.h"

/*
 * roost-fts: the service keeps a list of users whose mail has changed and forks: one process at a
 * time (setting fts_processes) that indexes what one user lacks, and for each user who searches one
 * that answers. Both are confined to that user before they read anything of his.
 */

extern const struct service fts_service;

/* Whose mail; borrowed. */
struct fts_place {
	const char *user, *maildir, *index_dir;
};

/* ---- fts_job.c: a process that indexes ---- */

/* Shared with the service, which so knows how far it is, and at what it ended. */
struct fts_job {
	atomic_uint_fast64_t done, total; /* messages */
	/* When it has ended: messages of the user, those that could not be read, and of the index.
	 */
	atomic_uint_fast64_t messages, missing, documents, bytes;
	uint32_t mailbox, uid; /* at hand; 0: none */
	/* A message at which a process ended in disorder: only its id is taken in. */
	uint32_t skip_mailbox, skip_uid;
	int fresh; /* what is there is damaged, or not wanted: begin anew */
	int compact; /* leave no gaps */
};

enum fts_job_end {
	FTS_JOB_DONE = 0,
	FTS_JOB_AGAIN = 10, /* something is left, for a later try */
	FTS_JOB_FULL = 11, /* no room on the disk */
};

/* In a process of its own, confined here. Returns its exit status. */
int fts_job_run(const struct config *conf, const struct fts_place *place, struct fts_job *job);

/* ---- fts_answer.c: a process that answers ---- */

/* channel: to the service, which gives clients. Returns the exit status. */
int fts_answer_run(const struct config *conf, const char *user, int channel);

/* Frames that name a place (fts_proto.h). */
struct buf;
void fts_place_put(const struct fts_place *place, struct buf *out);

#endif
