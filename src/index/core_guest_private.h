/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_GUEST_PRIVATE_H
#define ROOST_INDEX_CORE_GUEST_PRIVATE_H

#include "index/core_guest.h"
#include "index/core_private.h"

/* Between core_guest*.c. */

struct core_guest {
	char *name, *groups, *dir;
	/*
	 * Has env and damage_path alone: so that the functions of core_tx.c write the guest's index
	 * as they write an owner's.
	 */
	struct index_core shadow;
	/* What the guest has seen of the mailbox that he marked last; 0: of none. */
	uint32_t seen_mailbox;
	struct numset seen;
};

/* A write transaction on the guest's index beside a reading one on the owner's. */
struct guest_tx {
	struct core_guest *g;
	struct core_tx *own;
	struct core_tx to;
	uint64_t stamp; /* for messages that are told anew; 0: none was taken yet */
	int wants_stamp;
	struct numset *changed;
	int tree;
};

/* core_guest.c */

/* Rights of a folder's file. */
enum err guest_rights_read(
	struct index_core *c, const char *dir, const struct rights_who *who, unsigned *rights);
/* What the guest's file in the folder says; none, or one of another UIDVALIDITY: empty. */
enum err guest_seen_read(
	struct index_core *c, const struct core_box *b, const char *guest, struct numset *out);
enum err guest_seen_write(struct index_core *c, const struct core_box *b, const char *guest,
	const struct numset *seen);

/* core_guest_sync.c */

/* A message of the guest's index is put, with its place in the change log; old: what was there, or
 * NULL. */
enum err guest_message_put(struct core_tx *to, struct core_box *b, uint32_t uid,
	const struct index_message_record *old, struct index_message_record *r);

#endif
