/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_QUOTA_RULES_H
#define ROOST_LIB_QUOTA_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * What the quota makes of single mailboxes. A rule is MAILBOX:PART[:PART...], rules are separated
 * by
 * ";" or line ends:
 *   Trash:+100M            100 MB on top of the user's limit for what goes there
 *   Trash:+10%             a share of the user's limit in bytes on top
 *   Trash:messages=+500    as many messages on top
 *   Junk:ignore            does not count
 *   Lists/a:max=1G         this mailbox alone holds no more; max_messages=N likewise
 * MAILBOX is a name as IMAP clients see it, in UTF-8; "Trash/" followed by an asterisk stands for
 * all below Trash. Of several that fit the last one holds.
 */
enum {
	QUOTA_RULES_MAX = 256,
	QUOTA_RULES_USER_MAX = 255, /* bytes of one user's rules */
	QUOTA_RULES_NAME_MAX = 240, /* bytes of a mailbox name */
};

struct quota_rule {
	char *mailbox;
	int ignore;
	uint64_t more_bytes, more_percent, more_messages; /* on top of the user's limit */
	uint64_t max_bytes, max_messages; /* of the mailbox alone; 0: none */
};
struct quota_rules {
	struct quota_rule *items;
	size_t count;
};

/*
 * Adds the rules of a text behind those that are there. E_PARSE, E_TOOBIG: *why (may be NULL) says
 * what; the rules before that one were added.
 */
enum err quota_rules_add(struct quota_rules *r, struct str text, struct buf *why);
void quota_rules_free(struct quota_rules *r);
/* NULL: no rule for it. Borrowed. */
const struct quota_rule *quota_rules_find(const struct quota_rules *r, struct str mailbox);

/* ---- warnings ---- */

enum { QUOTA_WARNINGS_MAX = 16 };
/* "95%", "storage=95%", "messages=80%". */
struct quota_warning {
	int of_messages;
	unsigned percent; /* 1..100 */
};
/* E_PARSE. */
enum err quota_warning_parse(struct str text, struct quota_warning *out);

#endif
