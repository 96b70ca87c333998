/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LOCAL_RUN_H
#define ROOST_MTA_LOCAL_RUN_H

#include "lib/conf.h"
#include "lib/ipc.h"
#include "mta-lite/forward.h"
#include "mta-lite/local_copy.h"
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

/* Mail for a pipe transport: what roost-local-run knows of it itself is not in here. */
struct local_pipe {
	char *transport, *nexthop; /* names one of pipe_transports */
	char *queue_id, *envid, *sender, *client;
	uint64_t content_offset, content_len;
	struct local_pipe_rcpt {
		char *address, *original; /* original: "" when it is the address */
	} * rcpts;
	size_t rcpt_count;
};

void local_pipe_put(struct buf *body, const struct local_pipe *p);
/* E_PROTO. The caller frees *out in either case. */
enum err local_pipe_get(struct str body, struct local_pipe *out);
void local_pipe_free(struct local_pipe *p);

/*
 * The rest is roost-local-run's. Each sets the answer. client: closed by its other end when nobody
 * waits for the answer any more: what is not finished then must not be.
 */
struct local_run {
	const struct config *conf;
	const struct local_job *job; /* NULL for a pipe transport */
	int file, client;
	struct smtp_answer *answer;
};
/* Becomes the user for the job, for good. 0: not possible, the answer says why. */
int local_user_become(struct local_run *r);
/* group: "" for the user's own. */
int local_user_become_named(struct local_run *r, const char *user, const char *group);
void local_file_deliver(struct local_run *r);
void local_maildir_deliver(struct local_run *r);
/* The command of an alias or a .forward. */
void local_shell_run(struct local_run *r);
/* A pipe transport, for recipients of whom all get the same answer. It becomes its user. */
void local_pipe_run(struct local_run *r, const struct local_pipe *p);

/* A program that gets the message. All borrowed. */
struct local_command {
	char *const *argv; /* argv[0] is its path */
	char *const *env;
	struct local_copy *copy; /* what it gets on its standard input */
	const char *name; /* "the command of alice@example.test", for answers */
	int64_t time_limit_ms;
	enum queue_status done; /* what success is */
};
void local_command_run(struct local_run *r, const struct local_command *what);
/* Its environment; at most LOCAL_ENVIRONMENT_MAX. */
enum { LOCAL_ENVIRONMENT_MAX = 32 };
struct local_environment {
	char *v[LOCAL_ENVIRONMENT_MAX]; /* ended by NULL */
	size_t n;
};
/* What means something to a shell, or would be an option, becomes "_". */
void local_environment_set(struct local_environment *env, const char *name, struct str value);
/* PATH, HOME, USER and LOGNAME of who we are now. */
void local_environment_set_user(struct local_environment *env);
void local_environment_free(struct local_environment *env);
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
