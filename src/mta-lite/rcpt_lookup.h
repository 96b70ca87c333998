/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_RCPT_LOOKUP_H
#define ROOST_MTA_RCPT_LOOKUP_H

#include "auth/auth_client.h"
#include "mta-lite/aliases.h"
#include "mta-lite/rewrite.h"
#include "mta-lite/srs.h"

/* What a recipient is, with all tables that have a say: for who takes mail and who passes it on. */
struct rcpt_lookup {
	const struct config *conf;
	struct auth_client *auth;
	const struct rewrite *rewrite;
	const struct aliases *aliases;
	const struct srs *srs; /* NULL: there is none */
};

/*
 * As auth_lookup_rcpt, with canonical_maps and virtual_alias_maps before the directory: an address
 * that those expand is an alias. Targets that nobody has are left out with a line in the log. In
 * local_domains alias_maps are asked before the directory, then the .forward of the user of that
 * name: the one target is then the address itself, with local QUEUE_ALIAS (queue_file.h). An
 * address that SRS made is an alias of the sender for whom it was made, before all tables; one that
 * does not hold is unknown.
 */
enum err rcpt_lookup(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out);
/* The same without the tables of addresses: SRS, alias_maps, .forward and the directory. */
enum err rcpt_lookup_here(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out);
/* The same without alias_maps and .forward: what the directory says. */
enum err rcpt_lookup_directory(
	const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out);

/*
 * Whether mail of this sender gets another one when it is forwarded: SRS applies to him, and he is
 * none of ours. Errors as rcpt_lookup, of temporary kinds alone.
 */
enum err rcpt_lookup_rewrites_sender(
	const struct rcpt_lookup *l, const char *sender, int *rewrites);

#endif
