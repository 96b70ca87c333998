/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SESSION_H
#define ROOST_LIB_SESSION_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/conf.h"
#include "lib/net.h"
#include "lib/sandbox.h"
#include "lib/stream.h"

/*
 * The one skeleton of session processes: a warm parent that has read the settings and linked
 * everything, and forks a child per client without exec. In the child the code is blocking and
 * straight-line. The parent answers the control verbs "status", "who" and "kick".
 *
 * A client comes to the parent in one of two ways:
 *   handover  roost-proxy (or qmgr, idle) sends a SESSION_HANDOVER frame with the client's
 *             descriptor on the listener named spec->handover;
 *   accept    the parent accepts it itself on the listeners in spec->accept (LMTP, run/sendmail).
 *
 * A session may give its client back to roost-proxy, to be a client that has not logged in
 * (session_return).
 *
 * A session may go to sleep: it gives its client's descriptor to a keeper (roost-idle), which hands
 * it over again on the listener spec->wake, with what the session wanted to remember, when there is
 * something to do.
 */

/* Frames on a handover socket. */
enum session_frame {
	SESSION_HANDOVER = 1, /* fields of struct session_info in order, descriptor attached */
	SESSION_TAKEN = 2, /* answer: u8 enum session_answer; fd closed unless taken */
	/* Notice with the request id of the handover: the session is over, asleep or not. */
	SESSION_ENDED = 3,
	/* From the keeper: str session id; a session that slept is over, its client is gone. */
	SESSION_GONE = 4,
	/*
	 * On run/proxy-return, with the client's descriptor: str session id; str back; str input:
	 * what was read of the client and not used -> SESSION_TAKEN.
	 */
	SESSION_RETURN = 5,
	/*
	 * Notice to who hands clients over, when its connection begins and after each change: u32
	 * n, n * (u8 enum trace_kind, str what): what is traced (lib/trace_want.h). Until another
	 * one comes, or the connection ends, it reports of its clients what fits.
	 */
	SESSION_TRACES = 6,
	/*
	 * Notice to the session daemon, one line of a client that is not handed over yet, without
	 * credentials: str session id; str peer "ip:port"; str user, or ""; u8 1: this line was
	 * reported before, when the user was not known; u64 when, ms of Unix time; u8 'C' or 'S';
	 * str line.
	 */
	SESSION_TRACED = 7,
};

enum session_answer {
	SESSION_REFUSED = 0, /* too many sessions, or malformed */
	SESSION_ACCEPTED = 1,
	/* Another process has taken this one's place: hand the client over again, to it. */
	SESSION_ELSEWHERE = 2,
};

struct session_info {
	char *id; /* of the connection, for all log lines */
	char *service; /* listener it came in by: "imap", "imaps", "submission", "lmtp" ... */
	struct net_addr peer, local;
	int tls; /* 1: TLS up to the proxy */
	char *tls_text; /* "TLSv1.3 TLS_AES_256_GCM_SHA384", "" without TLS */
	/*
	 * The client's certificate: its SHA-256, "AB:CD:..." as Postfix writes it, "" without one;
	 * and whether an authority in tls_client_ca vouches for it.
	 */
	char *cert_fingerprint;
	int cert_verified;
	char *user; /* who logged in, for display; "" before that. Prove it with the token. */
	char *token; /* one-time token to redeem at auth; "" when nobody has logged in */
	char *tag; /* IMAP: tag of the log-in command, still to be answered */
	char *helo; /* SMTP: the client's name from EHLO/HELO, "" if none yet */
	int esmtp; /* SMTP: it said EHLO */
	int utf8; /* POP3: it said UTF8 */
	char *input; /* bytes read from the client and not yet used */
	size_t input_len;
	/* One byte of 1 asks the session to send its protocol's greeting (direct accept). */
	int fresh;
	/* What roost-proxy wants to know again when it gets the client back; sealed by it. */
	char *back;
	size_t back_len;
	/* Of a session that slept; else 0 and empty. */
	uint64_t since; /* seconds: when it began */
	char *resume; /* resume_len bytes for auth_resume, in the place of the token */
	size_t resume_len;
	/*
	 * What it remembers, state_len bytes, sealed by the program. Of SMTP: prelogin.troubles.
	 */
	char *state;
	size_t state_len;
	uint64_t bytes_in, bytes_out; /* before it slept */
};

void session_info_put(struct buf *body, const struct session_info *info);
/* E_PROTO: malformed. The caller frees with session_info_free in either case. */
enum err session_info_get(struct str body, struct session_info *out);
void session_info_free(struct session_info *info);

struct session {
	const struct config *conf;
	struct session_info info;
	struct stream *client; /* owns the descriptor; input already pushed */
	int channel; /* to the warm parent: see session_report; -1 in tests */
	/* What run leaves for the next run in this process; NULL at first. See SESSION_AGAIN. */
	void *kept;
};

/*
 * What run may return instead of an exit status: the session ended in good order, and the process
 * can serve another client. It gets one only if the client's session_info.user is that of the
 * first (and its host, for a program with same_host), as whoever handed them over said both times
 * (never as the child said); run must still prove it with the token. The process waits for a few
 * seconds and ends then.
 */
enum { SESSION_AGAIN = -1 };

/*
 * What a program's dialogue looks like to who traces it (`roostctl trace`): bytes in, lines to show
 * out. src/trace has them.
 */
struct session_tracer {
	void *(*create)(void (*line)(void *arg, int from_client, struct str line), void *arg);
	void (*free)(void *text);
	void (*set_content)(void *text, int content); /* messages are shown, too */
	void (*feed)(void *text, int from_client, const char *p, size_t len);
};

struct session_program {
	const char *name; /* "imap" */
	const struct session_tracer *tracer; /* NULL: its sessions cannot be traced */
	const char *handover; /* listener name, or NULL */
	const char *wake; /* listener of the keeper of sleeping sessions, or NULL */
	const char *const *accept; /* listener names, ended by NULL; or NULL */
	const struct ctl_verb *ctl; /* further verbs of the parent; or NULL */
	/* Once, in the parent before the sandbox: load tables, warm caches. May be NULL. */
	enum err (*warm)(const struct config *conf);
	/* As in lib/service.h: whether warm could work. May be NULL. */
	enum err (*check)(const struct config *conf);
	/* The parent's sandbox, inherited by all children; each child narrows it further. */
	void (*sandbox)(const struct config *conf, struct sandbox *sb);
	/*
	 * Brings up to date what children share: in the parent before each fork, in a child before
	 * each further client. May be NULL.
	 */
	void (*refresh)(const struct config *conf);
	/* The child: serves the client, returns the exit status or SESSION_AGAIN. */
	int (*run)(struct session *s);
	/* Frees s->kept when no other client came. NULL for a program without SESSION_AGAIN. */
	void (*release)(struct session *s);
	/* A process that served one host does not serve another: clients are not known yet. */
	int same_host;
	/* The parent ends when it had no client for max_idle; the master starts it again. */
	int rests;
	/* Children at once; the settings' max_connections when 0. */
	unsigned max_children;
};

int session_main(const struct session_program *program, int argc, char **argv);

/*
 * Around giving the client to the keeper: to be called before it, so that the parent knows of the
 * sleeper when the keeper hands it over again at once; and again with asleep = 0 when the keeper
 * did not take it. E_TEMPFAIL: the parent cannot be told, the session must stay awake.
 */
enum err session_sleeps(struct session *s, int asleep);
/*
 * Gives the client behind s->client and its unread input to roost-proxy. OK: the stream, which has
 * been flushed, is to be freed without a word to the client. E_TEMPFAIL: it was not taken, or
 * nobody knows: the connection must be ended.
 */
enum err session_return(struct session *s);
/*
 * Tells the parent who the child serves now (shown by `who`): user and a free-form detail such as
 * the selected mailbox. Cheap; never blocks.
 */
void session_report(struct session *s, const char *user, const char *detail);
/*
 * 1 once the parent asked the child to end (kick, stop). Look before each command; stream_wait
 * and reads return E_CANCELLED then, so that the session can say goodbye (BYE, 421).
 */
int session_should_end(const struct session *s);

#endif
