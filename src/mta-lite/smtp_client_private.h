/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_CLIENT_PRIVATE_H
#define ROOST_MTA_SMTP_CLIENT_PRIVATE_H

#include "mta-lite/smtp_client.h"
#include "mta-lite/smtp_io.h"
#include "mta-lite/smtp_reply.h"

/* RFC 5321 section 4.5.3.2. */
enum {
	SMTP_WAIT_GREETING_MS = 5 * 60 * 1000,
	SMTP_WAIT_ENVELOPE_MS = 5 * 60 * 1000,
	SMTP_WAIT_DATA_MS = 2 * 60 * 1000,
	SMTP_WAIT_BLOCK_MS = 3 * 60 * 1000,
	SMTP_WAIT_END_MS = 10 * 60 * 1000,
};

struct smtp_client {
	struct smtp_io *io;
	const char *helo;
	int lmtp;
	unsigned ext;
	uint64_t size_limit; /* 0: none told */
	uint32_t rcpt_limit; /* LIMITS RCPTMAX (RFC 9422); 0: none told */
	struct buf mechanisms, peer_name;
	struct buf xforward; /* the attributes that the server takes, separated by blanks */
	struct smtp_reply reply; /* the last one */
	struct transcript *transcript; /* borrowed; or NULL */
	int secret; /* the next line is not for a transcript */
	int broken; /* nothing more can be said */
	int closing; /* the server said 421 */
	int dirty; /* a transaction was left open: RSET first */
};

/* Queues a command line. */
enum err smtp_client_command(struct smtp_client *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Reads the next reply into c->reply. */
enum err smtp_client_reply(struct smtp_client *c, int timeout_ms);
/*
 * XFORWARD with those of the attributes ("NAME=VALUE NAME=VALUE") that the server takes, as many
 * commands as they need. A refusal does no harm to the message; an error is one of the connection.
 */
enum err smtp_client_xforward(struct smtp_client *c, struct str attributes);
/* The last reply, or the error e at that step, as an answer. */
void smtp_client_answer(struct smtp_client *c, enum err e, const char *step, struct smtp_answer *a);

#endif
