/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_IMAP_H
#define ROOST_IMAP_IMAP_H

#include <stddef.h>
#include <stdint.h>

#include "auth/auth_client.h"
#include "imap/parse.h"
#include "index/index_client.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/session.h"
#include "lib/str.h"

/*
 * One IMAP session after log-in. The dispatcher (session.c) reads a command, looks it up in the
 * table (command.c), checks state and form, and calls its run. It alone decides about BAD and BYE.
 */

/* RFC 3501 section 3; also the bits of imap_command.states. */
enum imap_state {
	IMAP_AUTHENTICATED = 1,
	IMAP_SELECTED = 2,
	IMAP_LOGGED_OUT = 4,
};
#define IN_AUTHENTICATED IMAP_AUTHENTICATED
#define IN_SELECTED IMAP_SELECTED
#define IN_BOTH (IMAP_AUTHENTICATED | IMAP_SELECTED)

/* What the tagged reply may be preceded by (RFC 3501 section 7.4.1, 5.2). */
enum imap_sync {
	IMAP_SYNC_NO_EXPUNGE, /* FETCH, STORE, SEARCH: EXISTS and FETCH only */
	IMAP_SYNC_ALL, /* all others, UID FETCH too */
	IMAP_SYNC_NOTHING, /* SELECT, LOGOUT and others that leave the mailbox */
};

/*
 * What a client can switch on: bits of imap_session.enabled. Some are switched on by commands that
 * need them; all of them by ENABLE (RFC 5161), see capability.c.
 */
enum imap_extension {
	IMAP_CONDSTORE = 1, /* RFC 7162 section 3.1: MODSEQ and UID in what is told unasked */
	IMAP_QRESYNC =
		2, /* RFC 7162 section 3.2: VANISHED in place of EXPUNGE; has CONDSTORE too */
	IMAP_REV2 = 4, /* RFC 9051: ESEARCH, no \Recent, UID in what is told unasked, UTF-8 */
	IMAP_UTF8 = 8, /* RFC 9755: UTF-8 in quoted strings and mailbox names */
	IMAP_UIDONLY = 16, /* RFC 9586: no message numbers */
};

struct imap_session;

struct imap_command {
	const char *name; /* upper case */
	const char *rfc; /* "3501 6.3.6" */
	unsigned states; /* IN_... */
	unsigned char uid; /* there is a "UID name" too; session.uid tells which it is */
	unsigned char uid_only; /* there is no form without UID */
	unsigned char expunges; /* its answer tells what is gone, also with NOTIFY NONE */
	unsigned char numberless; /* the form without UID names no messages: good with UIDONLY */
	enum imap_sync sync; /* for the form without UID; the other is always IMAP_SYNC_ALL */
	/*
	 * Capabilities that having this command brings, separated by blanks; NULL: none. Those that
	 * belong to no single command stand in capability.c.
	 */
	const char *capabilities;
	/*
	 * Parses from behind the name on (the space in front of the first argument is still there)
	 * and does it. OK: the tagged reply was sent. Otherwise the dispatcher sends what
	 * imap_reply_error says, with the parser's position if it was the parser that failed.
	 * Nothing may have been changed before the whole command was parsed.
	 */
	enum err (*run)(struct imap_session *s, struct imap_parser *p);
};

/* The table, ended by NULL. */
extern const struct imap_command *const imap_commands[];
/* By name in any case; NULL. uid: in its UID form. */
const struct imap_command *imap_command_find(struct str name, int uid);

#define IMAP_COMMAND(name) extern const struct imap_command imap_command_##name;
#include "imap/commands.def"
#undef IMAP_COMMAND

/* Where the last partial FETCH of a body ended: the next piece is found from here (fetch_body.c).
 */
struct imap_fetch_place {
	uint32_t mailbox, uid; /* uid 0: none yet */
	uint64_t size; /* of the section, octets */
	enum section_kind kind;
	size_t path_len;
	uint32_t path[SECTION_PATH_MAX];
	uint64_t off, stored; /* hint_off, hint_stored of mail/section.h */
};

/* What has to survive a sleep is also in sleep_state.h. */
struct imap_session {
	struct session *base;
	struct stream *client; /* base->client */
	const struct config *conf; /* base->conf */
	struct auth_user user;
	struct index_user *index;
	struct fts_client *fts; /* NULL: the setting fts is off */
	int *auth; /* a connection for the next session; closed once this one is silent */
	enum imap_state state;
	unsigned enabled; /* union of enum imap_extension; set by imap_enable */
	unsigned errors; /* BADs so far */
	const char *end; /* why the session ends, for the log; NULL: it goes on */

	/* The selected mailbox; view is NULL when none is. */
	struct index_view *view;
	uint32_t mailbox; /* id */
	uint32_t uidvalidity;
	int read_only; /* EXAMINE, or without any right to change something */
	unsigned rights; /* enum right (mail/rights.h); imap_rights_selected reads them anew */
	uint64_t url_key_told; /* index_url_key_modseq, as the client knows it (urlauth.h) */
	struct numset recent; /* UIDs that are \Recent here */
	struct numset saved; /* UIDs of the last SEARCH RETURN (SAVE): what "$" means (RFC 5182) */
	struct imap_notify *notify; /* what the client is told unasked (notify.h); NULL: as ever */
	struct imap_context *contexts; /* searches that are kept up to date (context.h) */
	char **keywords; /* names of the mailbox's keyword bits */
	uint64_t keywords_epoch; /* of when they were read */
	size_t keyword_count; /* as told to the client in FLAGS */
	/* What a CONDSTORE client takes for HIGHESTMODSEQ (RFC 7162 section 6): see state.c. */
	uint64_t modseq_held; /* since the last tagged reply */
	uint64_t modseq_sent; /* the highest MODSEQ of a FETCH since then */

	struct imap_fetch_place fetch_place;

	/* The command under way. */
	struct str tag;
	const struct imap_command *command;
	int uid; /* in its UID form */
	/* It names message numbers although it is a UID command: nothing is expunged in its reply.
	 */
	int has_numbers;
	struct buf out; /* scratch for building one response line; empty between commands */
	struct buf flags_line; /* private to state.c */

	/* Of a session that slept (sleep.h). */
	struct {
		char *tag; /* IDLE is under way: its tag; else NULL */
		int64_t deadline_ms;
	} woken;
	uint64_t bytes_in_before, bytes_out_before;
};

/*
 * Serves s from the answer to the log-in on until it ends: returns SESSION_AGAIN after a LOGOUT or
 * when the client closed the connection, else the exit status. *user is taken over, index borrowed.
 * auth: of auth_redeem_on.
 */
int imap_session_run(
	struct session *s, struct auth_user *user, struct index_user *index, int *auth);

/* ---- replies; errors stick in the stream, so nothing is returned ---- */

/*
 * The tagged reply, which each run sends once. code: a response code without brackets, "TRYCREATE",
 * or NULL. All of them send the mailbox's changes first, as the command's sync allows. Return OK,
 * so that a run can end with "return imap_reply_ok(...)".
 */
enum err imap_reply_ok(struct imap_session *s, const char *code, const char *text);
enum err imap_reply_no(struct imap_session *s, const char *code, const char *text);
/* Counts as an error; too many end the session. code may be NULL. */
enum err imap_reply_bad(struct imap_session *s, const char *code, const char *text);
/*
 * The reply for an error of the index or another part: E_NOTFOUND NO [NONEXISTENT], E_EXISTS NO
 * [ALREADYEXISTS], E_QUOTA NO [OVERQUOTA], E_RANGE NO [CANNOT], E_TOOBIG NO [LIMIT], E_ACCESS NO
 * [NOPERM], temporary ones NO [UNAVAILABLE], others NO [SERVERBUG] (RFC 5530). what: "message",
 * "mailbox", for the text.
 */
enum err imap_reply_error(struct imap_session *s, enum err e, const char *what);

/* "* " line: fmt without "* " and CRLF. */
void imap_untagged(struct imap_session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Switches on extensions (bits). The first CONDSTORE with a mailbox selected tells HIGHESTMODSEQ.
 */
void imap_enable(struct imap_session *s, unsigned extensions);
/* Sends what is in s->out as "* ...CRLF" and empties it. */
void imap_untagged_out(struct imap_session *s);
/* Says BYE with this text and ends the session after the command; reason: one word for the log. */
void imap_bye(struct imap_session *s, const char *reason, const char *text);

/* Object ids (RFC 8474) are one of these letters and hexadecimal digits. */
#define IMAP_EMAIL_ID 'M'
#define IMAP_THREAD_ID 'T'
#define IMAP_MAILBOX_ID 'F'

/* ---- writing values ---- */

/* quoted when it can be, else a literal. text may have any bytes but NUL. */
void imap_write_string(struct buf *out, struct str text);
/* NIL for p == NULL. */
void imap_write_nstring(struct buf *out, struct str text);
/* atom when it can be, else as above. */
void imap_write_astring(struct buf *out, struct str text);
/* A mailbox name, given in UTF-8, as astring: in modified UTF-7 unless the client enabled UTF-8. */
void imap_write_mailbox(const struct imap_session *s, struct buf *out, struct str name);
/* Whether the client takes UTF-8 in quoted strings and mailbox names. */
int imap_uses_utf8(const struct imap_session *s);
/* "(\Seen \Recent $Label1)" */
void imap_write_flags(const struct imap_session *s, const struct index_message *m, struct buf *out);

/* ---- the selected mailbox (state.c) ---- */

/*
 * Parses the sequence-set of a command in either form (s->uid) into message numbers of the view.
 * A message number beyond the last is E_PARSE (RFC 3501 section 9: an error); a UID that is not
 * there is left out. "$" is the saved result (RFC 5182). *seqs is freed first; the caller frees it
 * also after an error.
 */
enum err imap_parse_messages(struct imap_session *s, struct imap_parser *p, struct numset *seqs);
/* UIDs alone, there or not, for what is said of messages that are gone. Otherwise the same. */
enum err imap_parse_uids(struct imap_session *s, struct imap_parser *p, struct numset *uids);
/* What "*" stands for. */
uint32_t imap_largest(const struct imap_session *s, int uid);
/* 0 also for a client of IMAP4rev2, which has no \Recent. */
int imap_is_recent(const struct imap_session *s, uint32_t uid);
/*
 * Sends "* N FETCH (FLAGS (...))", with UID when with_uid or to a client of IMAP4rev2, both UID and
 * MODSEQ to a CONDSTORE client, "* UID UIDFETCH (...)" to one of UIDONLY, and notes that the client
 * knows the message as of m->modseq. Sends FLAGS first if m has a keyword the client has not heard
 * of.
 */
void imap_send_flags(
	struct imap_session *s, uint32_t seq, const struct index_message *m, int with_uid);
/* The same without FLAGS, to a CONDSTORE client that knows them: "* N FETCH (UID n MODSEQ (m))". */
void imap_send_modseq(struct imap_session *s, uint32_t seq, const struct index_message *m);
/*
 * "* VANISHED uids", earlier: "* VANISHED (EARLIER) uids" (RFC 7162 section 3.2.10), in as many
 * lines as it takes. Nothing for an empty set.
 */
void imap_send_vanished(struct imap_session *s, const struct numset *uids, int earlier);
/*
 * Reads the keyword names again if m (or, NULL, the mailbox) has bits beyond those known or whose
 * names are others now, and tells the client the new FLAGS. To be called before imap_write_flags,
 * while no response line is half sent.
 */
void imap_refresh_keywords(struct imap_session *s, const struct index_message *m);
/* The same only when bits have other names than before. */
void imap_check_keywords(struct imap_session *s);
/*
 * The one place that tells changes: EXPUNGE or VANISHED (with_expunges), FETCH FLAGS, EXISTS and
 * RECENT. The reply functions call it. Does nothing when no mailbox is selected. If the mailbox is
 * gone: BYE.
 */
void imap_state_sync(struct imap_session *s, int with_expunges);
/* Leaves the mailbox, without expunging; state becomes authenticated. */
void imap_state_unselect(struct imap_session *s);
void imap_state_set(struct imap_session *s, enum imap_state state);

/* The capabilities after log-in, separated by blanks, appended to out. */
void imap_capabilities(const struct config *conf, struct buf *out);

#endif
