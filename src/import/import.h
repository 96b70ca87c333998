/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_H
#define ROOST_IMPORT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl_tool.h"
#include "index/index_client.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"

/*
 * roostctl import: the side that takes mail in, whatever it comes from. A run (struct import) has
 * one user and counts what happens; a box (struct import_box) is one mailbox of his that is being
 * filled. Messages are committed through roost-index in batches.
 *
 * A message that the mailbox has already, byte for byte, and that nobody claimed yet, is not taken
 * again but counted as present: so a run that was killed can simply be repeated. Two equal messages
 * of the source stay two.
 */

enum {
	IMPORT_ERRORS_MAX = 100, /* named ones; all are counted */
	IMPORT_KEYWORDS_MAX = 64, /* of one message; further ones are dropped */
};

struct import {
	struct tool *tool;
	struct index_user *user;
	char *name, *home; /* canonical address; the directory above Maildir */

	uint64_t mailboxes, messages, bytes;
	uint64_t present; /* there already */
	uint64_t flags_changed;
	uint64_t failed;
	/* In all, for the time that is left; 0: not known. read_bytes: what the source is through.
	 */
	uint64_t expected, expected_bytes, read_bytes;
	json_t *errors;

	int64_t begin_ms, shown_ms;
	int is_terminal, line_open;
	const char *where; /* for the progress line; borrowed */
};

enum import_may {
	IMPORT_MAY_READ_ALL = 1, /* keep the right to read everybody's files (as root) */
};
/*
 * Asks for the user's ticket, becomes the owner of the mail when started as root (files that are
 * made must be his), opens the user. Errors are said. import_end frees in either case.
 */
enum err import_begin(struct tool *t, const char *address, unsigned may, struct import *im);
/* Opens the user anew, once the service has made his index anew. */
enum err import_reopen(struct import *im);
/*
 * Prints the summary. e: how it ended. Returns what the verb returns: e, or E_NOTFOUND when single
 * messages failed.
 */
enum err import_end(struct import *im, enum err e);
/* Gives up root's rights for those of the owner of the mail; nothing to do for others. Said. */
enum err import_become_mail_user(const struct config *conf, unsigned may);

enum { IMPORT_CAN_CONNECT = 1 };
/*
 * Before foreign bytes are read: from here on nothing can be reached but this user's mail and path
 * (read only; may be NULL). can: IMPORT_CAN_CONNECT for the network.
 */
enum err import_sandbox(struct import *im, const char *path, unsigned can);

/* One message (or with what NULL a mailbox) could not be taken: counted, named, gone on. */
void import_failed(struct import *im, const char *mailbox, const char *what, const char *why);
/* Shows how far it is, now and then. */
void import_progress(struct import *im);
/* Ends the progress line before something else is printed. */
void import_progress_break(struct import *im);

/* ---- flags ---- */

/* What IMAP calls flags: ours as bits, the others by name, sorted, without repetitions. */
struct import_flags {
	unsigned flags;
	char *keywords[IMPORT_KEYWORDS_MAX];
	size_t count;
};
void import_flags_free(struct import_flags *f);
/* A name as IMAP has it ("\Seen", "$Forwarded"). \Recent and names that are none are dropped. */
void import_flags_add(struct import_flags *f, struct str name);
/* "17 $Forwarded own": one text for one set, and back. E_PARSE. */
void import_flags_format(const struct import_flags *f, struct buf *out);
enum err import_flags_parse(struct str text, struct import_flags *out);

/* ---- a mailbox that is filled ---- */

struct import_box;
/* cookie is the message's, uid what it is called in the mailbox; called once it is safe. */
typedef void import_taken(uint64_t cookie, uint32_t uid, void *arg);

/*
 * The mailbox name (UTF-8, '/' between levels) is made if it is not there. special_use: 0 or one
 * bit, for a new one. E_RANGE, E_TOOBIG: not allowed as a name.
 */
enum err import_box_open(
	struct import *im, struct str name, unsigned special_use, struct import_box **out);
const struct index_mailbox *import_box_mailbox(const struct import_box *b);
/* These messages of the mailbox belong to others of the source: they are no match for new ones. */
void import_box_claim(struct import_box *b, uint32_t uid);
/* Looks which messages are there. Once, after the claims, before the first message. */
enum err import_box_ready(struct import_box *b, import_taken *taken, void *arg);
/* One message after the other: start, write, then end or drop. Errors of writing come out at end.
 */
enum err import_message_start(struct import_box *b, uint64_t size_hint);
void import_message_write(struct import_box *b, const char *p, size_t len);
/* date 0: now. An error ends the run; E_QUOTA among them. */
enum err import_message_end(
	struct import_box *b, const struct import_flags *flags, int64_t date, uint64_t cookie);
void import_message_drop(struct import_box *b);
/* Commits what waits. */
enum err import_box_flush(struct import_box *b);
/* Drops what was not flushed. */
void import_box_close(struct import_box **b);

/* ---- Maildirs as a source ---- */

/* What is wanted of a tree. */
struct import_maildir_wishes {
	const char *dir; /* only this folder's directory ("" for the top); NULL: all */
	const char
		*into; /* what it is called here; with dir NULL all are below it; NULL: as there */
	uint32_t uid; /* only the message with this U= in its name; 0: all */
	const char *message_id; /* only those with this Message-ID, without its brackets; or NULL */
};
/*
 * Takes a Maildir++ tree, or directories with Maildirs in them. *found counts the messages that the
 * wishes allow. import_sandbox is the caller's.
 */
enum err import_maildir_tree(struct import *im, const char *path,
	const struct import_maildir_wishes *wishes, uint64_t *found);

#endif
