/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_NOTIFY_PRIVATE_H
#define ROOST_IMAP_NOTIFY_PRIVATE_H

/* Between the notify*.c only. */

#include "imap/fetch.h"
#include "imap/notify.h"

enum {
	NOTIFY_GROUPS_MAX = 64,
	NOTIFY_NAMES_MAX = 5000, /* in all groups of one command */
	NOTIFY_BOXES_MAX = 20000, /* mailboxes of a user who can be told of them */
	NOTIFY_ENTRIES_MAX = 20000, /* annotations that are remembered */
	NOTIFY_QUIET_MAX = 16, /* own names that wait for the next look */
	NOTIFY_STUCK_MAX = 200, /* news that a client lets wait until it gets no more */
};

/* ---- what a client asked for (notify_parse.c) ---- */

enum notify_filter {
	NOTIFY_SELECTED,
	NOTIFY_SELECTED_DELAYED,
	NOTIFY_PERSONAL, /* INBOXES is the same: filters may deliver anywhere (section 6.3) */
	NOTIFY_SUBSCRIBED,
	NOTIFY_SUBTREE,
	NOTIFY_MAILBOXES,
};

struct notify_group {
	enum notify_filter filter;
	unsigned events; /* enum imap_notify_event; 0: NONE */
	char **names; /* of SUBTREE and MAILBOXES, sorted */
	size_t name_count;
};

struct notify_request {
	int none; /* NOTIFY NONE: all else is empty */
	int status; /* STATUS of all mailboxes at once */
	struct notify_group *groups;
	size_t count;
	size_t name_total;
	struct fetch_plan fetch; /* of new messages in the selected mailbox */
	int has_fetch;
	int bad_event; /* one is not supported: NO [BADEVENT] */
	int too_much; /* NO [NOTIFICATIONOVERFLOW] */
};

/* Behind the command's name, through its end. The caller calls _fini also after an error. */
enum err notify_request_parse(struct imap_parser *p, struct notify_request *out);
void notify_request_fini(struct notify_request *r);
/* What is wanted of a mailbox that is not the selected one. */
unsigned notify_request_events(
	const struct notify_request *r, const char *name, int personal, int subscribed);

/* ---- what the client knows of the other mailboxes (notify_box.c) ---- */

struct notify_entry {
	char *name;
	uint64_t hash; /* of the value */
};
struct notify_entries {
	struct notify_entry *v; /* sorted by name */
	size_t n;
	uint64_t modseq; /* index_metadata_modseq */
};

struct notify_box {
	char *name;
	int exists, subscribed, has_children;
	unsigned special_use;
	uint32_t id;
	unsigned events; /* wanted of it */
	/* If it exists and messages are wanted. */
	uint32_t uidvalidity, uidnext, messages, unseen;
	uint64_t modseq;
	struct notify_entries entries; /* if it exists and annotations are wanted */
	int no_access; /* it cannot be read: no counts and annotations */
	/* While two moments are compared. */
	int tell; /* a LIST response */
	const char *old_name; /* it was renamed */
	int moved; /* renamed, whether or not this is told */
};

struct notify_boxes {
	struct notify_box *v; /* sorted by name */
	size_t n;
};

void notify_boxes_fini(struct notify_boxes *b);
/* How it all is now. E_TOOBIG: over NOTIFY_BOXES_MAX or _ENTRIES_MAX; errors of the index. */
enum err notify_boxes_load(
	struct imap_session *s, const struct notify_request *r, struct notify_boxes *out);
struct notify_box *notify_boxes_find(const struct notify_boxes *b, struct str name);
struct notify_box *notify_boxes_find_id(const struct notify_boxes *b, uint32_t id);
/* LIST with \NoAccess for those that cannot be read (section 3.1). */
void notify_boxes_send_refused(struct imap_session *s, const struct notify_boxes *b);
/* STATUS of each whose messages are wanted (section 3.1). */
void notify_boxes_send_status(struct imap_session *s, const struct notify_boxes *b);
/*
 * Tells what is different in now. Of the selected mailbox no messages; what it was stays in now, to
 * be compared when it is left. quiet: names the client itself changed.
 */
void notify_boxes_compare(struct imap_session *s, struct notify_boxes *was,
	struct notify_boxes *now, char *const *quiet, size_t quiet_count);
/* The same for one mailbox that changed; E_NOTFOUND: it is gone. */
enum err notify_box_look(struct imap_session *s, struct notify_box *box);

/* Annotations of a mailbox, or of the server. E_TOOBIG: more than max. */
enum err notify_entries_load(
	struct imap_session *s, uint32_t mailbox, size_t max, struct notify_entries *out);
void notify_entries_fini(struct notify_entries *e);
/* Tells what is different now, as of name ("": the server), and takes it over. */
enum err notify_entries_look(
	struct imap_session *s, uint32_t mailbox, const char *name, struct notify_entries *known);
void notify_entries_set(struct notify_entries *e, const struct index_metadata *list, size_t count);

/* ---- the session's (notify.c, notify_selected.c) ---- */

struct imap_notify {
	struct notify_request request;
	const struct notify_group *selected; /* of request; NULL: it stands still */
	int has_others; /* groups of other mailboxes */
	int server_metadata;

	int watches_all;
	uint32_t watched; /* the selected mailbox; 0: none */
	struct notify_boxes boxes;
	struct notify_entries server;
	struct numset changed; /* mailboxes to be looked at */
	int tree_changed;

	char *quiet[NOTIFY_QUIET_MAX];
	size_t quiet_count;
	struct numset own; /* UIDs in the selected mailbox that this client put there */
	uint64_t flags_missed;

	unsigned stuck; /* turns with news since the client took something */
	int overflow; /* to be said as soon as the client takes anything */
};

#endif
