/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_GUEST_H
#define ROOST_INDEX_CORE_GUEST_H

#include "index/index_core.h"
#include "mail/rights.h"

/*
 * What a guest sees of an owner's mail: an index like the owner's with the mailboxes in it that the
 * guest has any right to, and of those he may read the messages, under the same ids, UIDs and
 * mod-sequences. \Seen is the guest's own there. It lies in the guest's home, where his sessions
 * may map it, and is disposable: his \Seen is also in a small file of the owner's folder. It is
 * written in the thread that has the owner's core, which is never trusted to it: rights are read
 * from the folder's file for each request.
 */
struct core_guest;

/*
 * Opens the index in dir, made with its parents when missing, anew when it was made of another
 * index of the owner's or before this boot. guest: his address. Not in step yet: core_guest_sync.
 */
enum err core_guest_open(
	struct index_core *c, const char *guest, const char *dir, struct core_guest **out);
/* The groups that he is in, none at first; all mailboxes are to be synced behind a change. */
void core_guest_set_groups(struct core_guest *g, const char *groups);
/* Borrowed from g. */
struct rights_who core_guest_who(const struct core_guest *g);
void core_guest_close(struct core_guest **g);
/* Whether its files were removed or replaced. */
int core_guest_is_gone(const struct core_guest *g);
/* As index_core_generation. */
uint64_t core_guest_generation(const struct core_guest *g);

/*
 * Brings a mailbox, 0: all of them, into step with the owner's index and the rights of now.
 * Mailboxes that look different to the guest now are added to *changed; *tree is set when mailboxes
 * came, went or have another name or other rights. E_CORRUPT: close it, index_core_discard.
 */
enum err core_guest_sync(struct index_core *c, struct core_guest *g, uint32_t mailbox,
	struct numset *changed, int *tree);

/* The guest's rights (enum right) as of now; 0 also when there is no such mailbox. */
enum err core_guest_rights(
	struct index_core *c, uint32_t mailbox, const struct rights_who *who, unsigned *rights);
/* The same for the nearest mailbox above name that exists; *parent is 0 and the rights are none
 * when there is none. */
enum err core_guest_rights_above(struct index_core *c, struct str name,
	const struct rights_who *who, uint32_t *parent, unsigned *rights);

/* UIDs of uids whose messages have a higher mod-sequence than since to the guest. */
enum err core_guest_conflicts(struct core_guest *g, uint32_t mailbox, const struct numset *uids,
	uint64_t since, struct numset *out);
/*
 * Sets or removes the guest's own \Seen. *modseq: on entry of a change that some of these messages
 * had just now, or 0; when this one changes anything its own, a later one, which those messages get
 * too. The file is written before this returns OK.
 */
enum err core_guest_seen(struct index_core *c, struct core_guest *g, uint32_t mailbox,
	const struct numset *uids, int on, uint64_t *modseq);
/* The mailbox's HIGHESTMODSEQ to the guest. E_NOTFOUND. */
enum err core_guest_modseq(struct core_guest *g, uint32_t mailbox, uint64_t *modseq);
/* Those of uids that the guest has seen. */
enum err core_guest_seen_of(
	struct core_guest *g, uint32_t mailbox, const struct numset *uids, struct numset *out);

/*
 * That the guest's access key (RFC 4467) of the mailbox with this object id is another now: see
 * index_url_key_modseq. E_NOTFOUND: he has no such mailbox.
 */
enum err core_guest_url_reset(struct index_core *c, struct core_guest *g,
	const unsigned char object_id[16], uint32_t *mailbox, uint64_t *modseq);

/* The message's file, open for reading; the caller closes *fd. E_NOTFOUND. */
enum err core_guest_file(struct index_core *c, uint32_t mailbox, uint32_t uid, int *fd);
/* The entries of the folder's file of rights, or else of annotations. */
enum err core_guest_entries(struct index_core *c, uint32_t mailbox, int acl,
	void (*fn)(struct str name, struct str value, void *arg), void *arg);

/* Every identifier (without "-") that has a right on some mailbox, but the owner, each once. */
enum err core_guest_identifiers(
	struct index_core *c, void (*fn)(struct str identifier, void *arg), void *arg);
/* What is set for the mailbox from is set for the mailbox to as well. */
enum err core_guest_inherit(struct index_core *c, uint32_t from, uint32_t to);

/*
 * A copy of the file name in the directory from_dir (absolute; plain file, no link) in tmp/ of the
 * mailbox's folder, on disk, with the mtime; *tmp is its name there, on the heap.
 */
enum err core_guest_take_file(struct index_core *c, uint32_t mailbox, const char *from_dir,
	struct str name, char **tmp, uint64_t *stored_size);
void core_guest_drop_file(struct index_core *c, uint32_t mailbox, const char *tmp);

#endif
