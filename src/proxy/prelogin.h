/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_PRELOGIN_H
#define ROOST_PROXY_PRELOGIN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

/*
 * The dialogue with a client before it has logged in, as a machine without sockets: the host (the
 * connection in client.c, or a test) appends what the client sent to in and calls
 * prelogin_input; the machine appends its answers to out and asks the host for the four things
 * that it cannot do itself. One struct prelogin_protocol per protocol.
 *
 * Life: prelogin_init, prelogin_greet, then prelogin_input as bytes come. Answers of the outside
 * come in by prelogin_tls_started, prelogin_auth_* and prelogin_handover_failed. When the state is
 * PRELOGIN_CLOSED the host sends what is left in out and closes.
 */
enum prelogin_state {
	PRELOGIN_COMMAND, /* a command is expected */
	PRELOGIN_SASL_LINE, /* a line of a SASL exchange is expected */
	PRELOGIN_SASL_FINAL, /* the empty line behind SASL success data is expected */
	PRELOGIN_TLS, /* STARTTLS accepted: out is sent, then the handshake runs */
	PRELOGIN_AUTH, /* roost-auth has to speak; input waits */
	PRELOGIN_HANDOVER, /* the session daemon has to take it; input waits */
	PRELOGIN_CLOSED, /* over */
	PRELOGIN_STATES
};

enum {
	/* Answers that the client has not read; more than this and its commands wait. */
	PRELOGIN_OUT_PAUSE = 8192,
	/* Bad commands before the connection ends. */
	PRELOGIN_ERRORS_MAX = 20,
	/* Commands of any kind before the connection ends. */
	PRELOGIN_COMMANDS_MAX = 1000,
	PRELOGIN_HELO_MAX = 255,
	PRELOGIN_TAG_MAX = 128,
	PRELOGIN_TROUBLES_MAX = 4096,
};

/* What the common code has to tell the client; each protocol has its words for it. */
enum prelogin_reply {
	REPLY_BAD_BASE64,
	REPLY_CANCELLED, /* the client cancelled the exchange */
	REPLY_AUTH_FAILED, /* wrong user or password */
	REPLY_AUTH_DISABLED, /* the account may not log in */
	REPLY_AUTH_MECHANISM, /* no such mechanism */
	REPLY_AUTH_RESPONSE, /* the mechanism did not understand the response */
	REPLY_AUTH_TEMPFAIL, /* auth or its database is down */
	REPLY_AUTH_LIMIT, /* too many connections of this user */
	REPLY_NEED_TLS, /* not without TLS */
	/* The connection ends behind these. */
	REPLY_FAREWELL,
	REPLY_LINE_TOO_LONG = REPLY_FAREWELL,
	REPLY_TOO_MANY_ATTEMPTS,
	REPLY_TOO_MANY_ERRORS,
	REPLY_TIMEOUT,
	REPLY_SHUTDOWN,
	REPLY_NO_SESSION, /* handing over failed */
	REPLY_BUSY, /* too many connections in all; instead of a greeting */
	REPLY_BUSY_HOST, /* too many from this address; instead of a greeting */
	REPLY_COUNT
};

struct prelogin;

struct prelogin_host {
	/* Send out, then drop every byte not yet used and start the TLS handshake. */
	void (*start_tls)(struct prelogin *p);
	/*
	 * Begin, go on with, give up an exchange with roost-auth. The slices are borrowed for the
	 * call. The host answers later with prelogin_auth_*, never from inside these calls.
	 */
	void (*auth_start)(
		struct prelogin *p, struct str mechanism, int has_initial, struct str initial);
	void (*auth_continue)(struct prelogin *p, struct str response);
	void (*auth_abort)(struct prelogin *p);
	/* Send out, then give the client with the rest of in to the session daemon. */
	void (*handover)(struct prelogin *p);
	/*
	 * To who traces the dialogue, in the order in which it is understood: what the client said
	 * (unclear: that was no command), and what it is told. Never called without prelogin_trace.
	 */
	void (*heard)(struct prelogin *p, struct str bytes, int unclear);
	void (*said)(struct prelogin *p, struct str bytes);
};

/* Tests of clients that nobody knows. */
enum prelogin_test { TEST_PREGREET = 1, TEST_PIPELINING = 2, TEST_BARE_NEWLINE = 4 };

struct prelogin_protocol {
	const char *name; /* "imap" */
	const char *auth_service; /* what auth is told */
	const char *handover; /* the session daemon's socket in run/ */
	void (*greet)(struct prelogin *p);
	/*
	 * Takes one command off the front of in. 1: something was done; 0: more bytes are needed.
	 */
	int (*command)(struct prelogin *p);
	/* A server's challenge as base64; "" is allowed. */
	void (*challenge)(struct prelogin *p, struct str base64);
	/* The exchange succeeded; states where the session daemon itself answers do nothing. */
	void (*success)(struct prelogin *p);
	/* The user's mail is on another server; user: his name there. NULL: nobody logs in. */
	void (*moved)(struct prelogin *p, struct str user, struct str host);
	/* Texts with CRLF. Those that begin with "%" get the tag in its place. */
	const char *replies[REPLY_COUNT];
};

extern const struct prelogin_protocol prelogin_imap, prelogin_pop3, prelogin_smtp,
	prelogin_submission, prelogin_reinject, prelogin_lmtp;

/* How far what a client says can be overheard; auth offers mechanisms for each. */
enum prelogin_channel {
	PRELOGIN_CHANNEL_TLS,
	PRELOGIN_CHANNEL_PRIVATE, /* loopback, or allow_plaintext_auth */
	PRELOGIN_CHANNEL_OPEN,
	PRELOGIN_CHANNEL_CERTIFICATE, /* TLS, and the client's certificate names a user */
	PRELOGIN_CHANNELS
};

struct prelogin {
	const struct prelogin_protocol *proto;
	const struct prelogin_host *host;
	void *host_arg;
	const struct config *conf; /* borrowed; the host keeps it current */
	const char *session_id; /* borrowed */
	/* By enum prelogin_channel, "PLAIN LOGIN"; borrowed, kept current by the host. */
	const char *const *mechanisms;

	enum prelogin_state state;
	struct buf in; /* unused input; max is set */
	struct buf out; /* unsent answers */
	size_t scanned; /* bytes at the front of in that hold no complete command */
	int traced;
	size_t heard, said; /* bytes at the front of in and of out that the tracer has */
	int unclear; /* what is consumed next is no command */

	int tls; /* TLS is active */
	int has_certificate; /* and the client's certificate names a user */
	int tls_available; /* STARTTLS can be offered */
	int loopback; /* the client is on this machine */
	int xclient; /* SMTP: it may say XCLIENT */
	int xforward; /* SMTP: it may say XFORWARD */
	int may_xclient; /* LMTP: it may say for whom it speaks */
	int screened; /* SMTP: it is tested (screen.h) */
	unsigned screen_failed; /* enum prelogin_test */
	int screen_refused; /* its mail is refused */
	char ip[NET_ADDR_TEXT]; /* for the log */
	int helo_seen, esmtp;
	unsigned attempts, errors, commands;
	char *tag; /* IMAP: of the command being answered */
	char *mechanism; /* of the exchange; NULL: the protocol's own way to log in */
	char *helo; /* SMTP */
	/*
	 * SMTP: refused commands and their replies for roost-smtpd's transcript, if notify_classes
	 * wants one: lines that begin with C or S.
	 */
	struct buf troubles;
	int utf8; /* POP3: it said UTF8 */
	char *user; /* POP3: from USER */
	char *timestamp; /* POP3: of the greeting, for APOP; NULL: not offered */
	/* After success: what auth said. */
	char *login_user, *token;
};

/* in_max: from the setting max_line. */
void prelogin_init(struct prelogin *p, const struct prelogin_protocol *proto,
	const struct prelogin_host *host, void *host_arg, const struct config *conf);
/* Frees what it holds; passwords are wiped. */
void prelogin_fini(struct prelogin *p);

void prelogin_greet(struct prelogin *p);
/* Says why there is no service and ends. */
void prelogin_refuse(struct prelogin *p, enum prelogin_reply why);
/* How many bytes may be appended to in now; 0: stop reading. */
size_t prelogin_input_room(const struct prelogin *p);
/* Runs commands while there are any. Call it also when out has been sent. */
void prelogin_input(struct prelogin *p);
/* The handshake after STARTTLS is done. All that was known before is forgotten. */
void prelogin_tls_started(struct prelogin *p);
void prelogin_auth_challenge(struct prelogin *p, struct str data);
void prelogin_auth_done(
	struct prelogin *p, struct str user, struct str token, struct str success_data);
/* e as in AUTH_FAILED. */
void prelogin_auth_failed(struct prelogin *p, enum err e);
/* The password was right, but this user's mail is on another server (auth/moved.h). */
void prelogin_auth_moved(struct prelogin *p, struct str user, struct str host);
/* The password was right, but this user has too many connections. */
void prelogin_auth_limited(struct prelogin *p);
void prelogin_handover_failed(struct prelogin *p);
/*
 * From here on the dialogue is traced, or is not. What lies in in or out already is not shown. Not
 * within an exchange of credentials.
 */
void prelogin_trace(struct prelogin *p, int on);
/* What is in out is about to be sent; and n bytes of it were. */
void prelogin_trace_said(struct prelogin *p);
void prelogin_sent(struct prelogin *p, size_t n);

/* ---- for the protocols ---- */

void prelogin_set_state(struct prelogin *p, enum prelogin_state state);
void prelogin_reply(struct prelogin *p, enum prelogin_reply which);
void prelogin_say(struct prelogin *p, const char *text);
/* Counts a bad command; after too many the connection ends. */
void prelogin_error(struct prelogin *p);
/* Whether passwords may be sent: TLS, loopback, or the setting. */
int prelogin_may_auth(const struct prelogin *p);
/* What this client is offered now, "PLAIN LOGIN" or "". Borrowed. */
const char *prelogin_mechanisms(const struct prelogin *p);
/* The first len bytes of in are understood, though not to be consumed yet. */
void prelogin_trace_heard(struct prelogin *p, size_t len);
/* Removes len used bytes from in; they are overwritten first, there may be a password in them. */
void prelogin_consume(struct prelogin *p, size_t len);
/*
 * A line of in without its end; *used counts the end. 0: incomplete (over-long ones end the
 * connection).
 */
int prelogin_line(struct prelogin *p, struct str *line, size_t *used);

/*
 * The client has failed a test; action: "ignore", "enforce" (screen_refused is set), "drop" (the
 * connection ends). Logged once for each test.
 */
void prelogin_screen_failed(struct prelogin *p, enum prelogin_test test, const char *action);

/* ---- sasl.c ---- */

/*
 * AUTHENTICATE/AUTH: mechanism, and the initial response as base64 when has_initial ("=" is an
 * empty one, RFC 4954 section 4). Answers bad base64 itself.
 */
void sasl_begin(struct prelogin *p, struct str mechanism, int has_initial, struct str initial);
/* What is no SASL exchange but one message of a protocol's own (auth/own_mechanism.h). */
void sasl_begin_own(struct prelogin *p, const char *mechanism, struct str message);
/* LOGIN and PASS: carried as PLAIN (RFC 4616). A NUL in either is a failed log-in. */
void sasl_begin_plain(struct prelogin *p, struct str user, struct str password);
/* One line in PRELOGIN_SASL_LINE or PRELOGIN_SASL_FINAL. 0: incomplete. */
int sasl_line(struct prelogin *p);

#endif
