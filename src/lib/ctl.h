/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_CTL_H
#define ROOST_LIB_CTL_H

#include <jansson.h>

#include "lib/err.h"

struct service_run;
struct config;

/*
 * The administration channel. Every service listens on run/ctl-NAME (reachable by the
 * administrator only). A request frame of type CTL_REQUEST holds
 * {"verb": "...", "args": {...}}; the answer of type CTL_REPLY is {"ok": true, "result": ...} or
 * {"ok": false, "error": "notfound", "message": "what is wrong and what to do"}.
 */
enum ctl_type { CTL_REQUEST = 1, CTL_REPLY = 2 };

struct ctl_request; /* one unanswered request; freed by answering it */

struct ctl_verb {
	const char *name;
	/* args is borrowed until the answer. Answer now or later, exactly once. */
	void (*run)(struct service_run *run, struct ctl_request *req, const json_t *args);
};

/* result is taken over (its reference is stolen); NULL is an empty object. */
void ctl_reply_ok(struct ctl_request *req, json_t *result);
void ctl_reply_error(struct ctl_request *req, enum err e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Asks service NAME and waits. args is taken over, NULL is an empty object. OK: *result is the
 * result, the caller drops it. Otherwise *message (never NULL then) is on the heap: the service's
 * own, or what to do when it cannot be reached (E_TEMPFAIL).
 */
enum err ctl_call(const struct config *conf, const char *service, const char *verb, json_t *args,
	json_t **result, char **message);

#endif
