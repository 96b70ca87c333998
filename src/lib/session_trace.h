/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SESSION_TRACE_H
#define ROOST_LIB_SESSION_TRACE_H

#include "lib/ctl.h"
#include "lib/ipc.h"
#include "lib/session_children.h"

/*
 * `roostctl trace`, for session.c: the administrator names a session or a user, and fetches what
 * those sessions report of their dialogue meanwhile. Who does not come back for a while is
 * forgotten.
 */

/*
 * {"session": ID}, {"user": ADDRESS} or {"network": IP}, "content": whether messages are shown
 * -> {"trace": N}
 */
void session_trace_verb_start(struct service_run *run, struct ctl_request *req, const json_t *args);
/* {"trace": N} -> {"lines": [...], "sessions": how many are looked at, "lost": lines} */
void session_trace_verb_read(struct service_run *run, struct ctl_request *req, const json_t *args);
void session_trace_verb_stop(struct service_run *run, struct ctl_request *req, const json_t *args);

/* A line that a child reported; who: 'C' or 'S'. */
void session_trace_take(struct parent *p, const struct child *c, char who, struct str line);
/* SESSION_TRACED of whoever hands clients over, and SESSION_TRACES to it. */
void session_trace_take_early(struct parent *p, const struct ipc_msg *m);
void session_trace_tell(struct parent *p, struct ipc_conn *link);
/* The child has another session, or user: whether it is looked at. */
void session_trace_look(struct parent *p, struct child *c);
void session_trace_end(struct parent *p);

#endif
