/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CLIENT_SHARED_H
#define ROOST_INDEX_CLIENT_SHARED_H

#include "index/client_private.h"

/*
 * Others' mailboxes beside the user's own. Each owner who shares something is a struct index_user
 * of its own, opened as his guest when one of his mailboxes is first needed. Ids of his mailboxes
 * are given out with the owner's place in them; each function of the library that takes one begins
 * with client_route, which says whose it is.
 */

/* Bit 31, the place of the owner, his id. An own mailbox's id has never so many bits. */
#define CLIENT_SHARED_BIT 0x80000000u
enum { CLIENT_SHARED_ID_BITS = 20, CLIENT_SHARED_OWNERS_MAX = 2000 };

struct client_shared {
	char *owner, *prefix; /* "other/bob/" */
	char *ticket;
	int listed; /* by the service, when it was last asked */
	struct index_user *guest; /* NULL: not opened yet */
	int held; /* its read transaction is held until the user's ends */
	int watched; /* all of it, with index_watch(u, 0, 1) */
};

/*
 * Whose mailbox it is, with *mailbox as that user knows it; inside a read transaction of u's one of
 * his is open then too, if it can be had. An id that no owner has leads to u, who has none such.
 */
struct index_user *client_route(struct index_user *u, uint32_t *mailbox);
/* The id that is given out for an owner's mailbox; 0: it cannot have one. */
uint32_t client_shared_id(size_t slot, uint32_t mailbox);
/* Ends the transactions that client_route began. */
void client_shared_release(struct index_user *u);
void client_shared_close(struct index_user *u);

/* Puts what the user knows a mailbox by, of whom it was given out as id, in the place of what its
 * owner does. */
void client_shared_name(const struct index_user *u, uint32_t id, struct index_mailbox *m);
/* By a name that begins with an owner's prefix. E_NOTFOUND. */
enum err client_shared_get(struct index_user *u, struct str name, struct index_mailbox *out);
enum err client_shared_each(
	struct index_user *u, enum err (*cb)(const struct index_mailbox *m, void *arg), void *arg);
/*
 * The owner whose prefix name begins with, opened; *rest is what follows. E_NOTFOUND: the name is
 * in nobody's namespace; E_ACCESS: it is in one, but of nobody who shares anything.
 */
enum err client_shared_resolve(struct index_user *u, struct str name, struct index_user **guest,
	size_t *slot, struct str *rest);
/* An owner who shares something with the user, opened. E_NOTFOUND: he shares nothing. */
enum err client_shared_open(struct index_user *u, struct str owner, struct index_user **guest);
/* Whether the name lies where others' mailboxes are, or is such a place itself. */
int client_shared_is_name(const struct index_user *u, struct str name);

/* With all of the user's own: every owner's too. */
enum err client_shared_watch(struct index_user *u, int on);
/* What the owner's notices were of, for index_watch_changed. */
void client_shared_news(struct index_user *u, size_t slot);

/* Messages between mailboxes of different owners. As index_copy. */
enum err client_copy_across(struct index_user *u, uint32_t from, uint32_t to,
	const struct numset *uids, unsigned how, struct index_copied *out);

/* What ENTRIES answers to a guest. */
enum err client_entries_get(struct index_user *guest, enum index_frame type, uint32_t mailbox,
	enum err (*cb)(struct str name, struct str value, void *arg), void *arg);

#endif
