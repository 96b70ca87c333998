/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LOCAL_RUN_H
#define ROOST_MTA_LOCAL_RUN_H

#include "lib/conf.h"
#include "lib/ipc.h"
#include "mta-lite/forward.h"
#include "mta-lite/local_frame.h"
#include "mta-lite/smtp_client.h"

/* Files and commands: what roost-local asks of roost-local-run. */

struct local_job {
	char *target; /* "|command", "/file", "/maildir/" */
	char *sender, *recipient, *original; /* "" for <>; "" for no original */
	int forward; /* it stands in the .forward of the recipient, who is the user to become */
	uint64_t content_offset, content_len;
};

void local_job_put(struct buf *body, const struct local_job *j);
/* E_PROTO. The caller frees *out in either case. */
enum err local_job_get(struct str body, struct local_job *out);
void local_job_free(struct local_job *j);

/*
 * The rest is roost-local-run's. Each sets the answer. client: closed by its other end when nobody
 * waits for the answer any more: what is not finished then must not be.
 */
struct local_run {
	const struct config *conf;
	const struct local_job *job;
	int file, client;
	struct smtp_answer *answer;
};
/* Becomes the user for the job, for good. 0: not possible, the answer says why. */
int local_user_become(struct local_run *r);
void local_file_deliver(struct local_run *r);
void local_maildir_deliver(struct local_run *r);
void local_command_run(struct local_run *r);
/* Whether whoever asked is gone. */
int local_run_abandoned(const struct local_run *r);

/*
 * Reads the .forward of an address; for that the process becomes its user for good, except root.
 * The caller frees *out.
 */
void local_forward_read(const struct config *conf, struct str address, struct forward *out);

/* Whether uid is one that Roost's own processes have. */
int local_user_is_ours(const struct config *conf, uid_t uid);
/* 0: the system does not let go of root. */
int local_user_set(uid_t uid, gid_t gid);

#endif
