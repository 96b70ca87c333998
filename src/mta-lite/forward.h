/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_FORWARD_H
#define ROOST_MTA_FORWARD_H

#include "lib/conf.h"
#include "mta-lite/alias_list.h"

struct aliases;

/*
 * What a user of this machine wants done with his mail: the file .forward in his home
 * (forward_path). It is read by roost-local-run, as the user; whoever looks up a recipient asks it.
 */
enum forward_state {
	FORWARD_NONE, /* no user, no file, or nothing in it */
	FORWARD_FOUND,
	FORWARD_FAILED, /* it cannot be used now: why; mail waits */
	FORWARD_STATE_COUNT,
};

struct forward_item {
	struct alias_item item; /* no ALIAS_INCLUDE: those have been followed */
	int included; /* out of such a file */
	char *where; /* "/path:line" */
};

struct forward {
	enum forward_state state;
	char *user; /* FOUND: the user's name */
	char *path; /* FOUND: the file */
	char *why; /* FAILED */
	struct forward_item *items;
	size_t count;
};

void forward_free(struct forward *f);
/* Adds an item, zeroed but for copies of these. */
struct forward_item *forward_add(
	struct forward *f, const struct alias_item *item, const char *where);
/* The word of allow_mail_to_commands and allow_mail_to_files for where the item stands. */
const char *forward_word(const struct forward_item *item);

/* As a frame's body. forward_get: E_PROTO; the caller frees *out in either case. */
void forward_put(struct buf *body, const struct forward *f);
enum err forward_get(struct str body, struct forward *out);

/*
 * Asks for that of an address; of one that is not in local_domains, or with an empty forward_path,
 * it is FORWARD_NONE. E_TEMPFAIL: roost-local-run does not answer. The caller frees *out in any
 * case.
 */
enum err forward_find(const struct config *conf, const struct aliases *a, struct str address,
	struct forward *out);

#endif
