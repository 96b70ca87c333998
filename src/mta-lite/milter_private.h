/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MILTER_PRIVATE_H
#define ROOST_MTA_MILTER_PRIVATE_H

#include "mta-lite/milter.h"
#include "mta-lite/milter_wire.h"

/* One filter in one session. */
enum milter_state {
	MILTER_NEW, /* not connected yet */
	MILTER_READY,
	MILTER_PASSED, /* accepted this message: hears nothing until the next */
	MILTER_GONE, /* accepted the session, or failed: hears nothing more */
};

struct milter {
	struct net_addr addr;
	char name[NET_ADDR_TEXT];
	enum milter_default on_failure;
	enum milter_state state;
	int failed; /* GONE for a failure: on_failure is its word */
	struct smtp_io *io;
	struct milter_terms terms;
	struct buf in;
	int in_message; /* MAIL was sent and not aborted or finished */
};

/* A change of the envelope that a filter asked for, kept until it has finished in good order. */
struct milter_change {
	int kind; /* enum milter_response */
	char *address;
};

struct milters {
	struct milter_settings set;
	const struct milter_server *server;
	struct milter *v;
	size_t count;
	char *reply; /* the last refusal */
	char *session_reply; /* of connect or helo */
	int discard;
	struct milter_change *changes;
	size_t change_count;
};

/* Sends the macros of a stage for a command that follows. */
enum err milter_send_macros(
	struct milters *ms, struct milter *m, enum milter_stage stage, int command);
/*
 * What a response means: OK go on, or a refusal: ms->reply is set (E_ACCESS). E_PROTO: not an
 * answer to a command. Sets the filter's state.
 */
enum err milter_take_answer(struct milters *ms, struct milter *m, int response, struct str data);
/* Logs, closes, and makes of it what the filter's default action says: NULL or ms->reply. */
const char *milter_fail(struct milters *ms, struct milter *m, const char *what, enum err e);
/* Ends the connection. */
void milter_close(struct milter *m);

/* One filter's part of milters_message. */
const char *milter_run_message(
	struct milters *ms, struct milter *m, struct content *c, int *hold, char **reason);

#endif
