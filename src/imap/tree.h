/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_TREE_H
#define ROOST_IMAP_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "index/index_client.h"
#include "lib/err.h"

/* All mailbox names of a user, with those in between that are no mailboxes, for LIST and LSUB. */
struct imap_tree_entry {
	char *name; /* UTF-8 */
	char *wire; /* modified UTF-7 */
	int exists, subscribed;
	uint32_t id;
	unsigned special_use;
	int has_children; /* mailboxes that exist below it */
	/* For the caller, see imap_tree_mark_parents. */
	int matches, selected;
	int selected_below; /* some name below is selected */
	int selected_unmatched_below; /* and does not match */
};

/* A zeroed one is empty. Parents stand before their children. */
struct imap_tree {
	struct imap_tree_entry *v;
	size_t n, cap;
};

/* with_subscriptions: subscribed names too, existing or not. Errors of the index. */
enum err imap_tree_load(struct index_user *u, int with_subscriptions, struct imap_tree *out);
void imap_tree_free(struct imap_tree *t);
/* For tests and imap_tree_load: adds one name; afterwards imap_tree_finish. */
void imap_tree_add(struct imap_tree *t, struct str name, const struct index_mailbox *m);
/* Sorts, joins entries of one name, adds missing parents, sets has_children. */
void imap_tree_finish(struct imap_tree *t);
/* Sets the two *_below fields from matches and selected of all entries. */
void imap_tree_mark_parents(struct imap_tree *t);

#endif
