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

/* Delivers the job's recipients one by one and reports each; then that the job is done. */
void local_deliver(struct local *l, struct agent *a);

#endif
