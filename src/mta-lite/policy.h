/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_POLICY_H
#define ROOST_MTA_POLICY_H

#include "lib/buf.h"
#include "lib/net.h"

/*
 * A policy server in Postfix's access delegation protocol (postgrey, policyd-spf, rate limiters): a
 * request is lines "name=value" and an empty line, the answer a line "action=..." and an empty
 * line. The connection is kept for the session's next question.
 */
struct policy;

enum { POLICY_ANSWER_MAX = 4096 };

/* spec: see endpoint_parse. timeout_ms: for connecting and for an answer. E_PARSE. */
enum err policy_create(struct str spec, int timeout_ms, struct policy **out);
void policy_free(struct policy **p);

/* Appends a line; line ends and NUL bytes in value become "?". NULL stands for "". */
void policy_put(struct buf *request, const char *name, const char *value);
/*
 * Sends a request without its empty line; *action gets what stands behind "action=": an access
 * action such as "DUNNO" or "451 text". A connection that was lost while it waited is made anew
 * once. E_TIMEOUT, E_CLOSED, E_IO, ...: the server cannot be asked; E_PROTO: it answers something
 * else.
 */
enum err policy_ask(struct policy *p, const struct buf *request, struct buf *action);

#endif
