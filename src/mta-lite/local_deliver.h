/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LOCAL_DELIVER_H
#define ROOST_MTA_LOCAL_DELIVER_H

#include "mta-lite/agent.h"
#include "mta-lite/rcpt_lookup.h"

/*
 * Mail for aliases of this machine. What an alias leads to becomes a message of its own in the
 * queue, where each of its recipients has its own status; so nobody gets it twice because another
 * one could not be reached.
 */
struct local {
	struct config *conf; /* of the start: tables keep their settings for good */
	struct maps *maps;
	struct rewrite *rewrite;
	struct aliases *aliases;
	struct srs *srs; /* or NULL */
	struct rcpt_lookup lookup; /* auth is each session's own */
};

/* For the warm parent, before the sandbox. E_PARSE: logged. */
enum err local_open(const struct config *conf, struct local *l);

/* OK: the message has been passed on for this address before; E_NOTFOUND: not; E_IO. */
enum err local_was_here(const struct agent *a, const char *address);
/*
 * Asks roost-local-run and waits for its answer, time_limit_ms and what locks may take. Without one
 * the recipient is tried again.
 */
void local_ask_run(struct local *l, struct agent *a, unsigned frame, struct str body,
	int64_t time_limit_ms, struct smtp_answer *answer);

/* In local_pipe.c: a job for a pipe transport. */
void local_pipe_deliver(struct local *l, struct agent *a);

/* Delivers the job's recipients one by one and reports each; then that the job is done. */
void local_deliver(struct local *l, struct agent *a);

#endif
