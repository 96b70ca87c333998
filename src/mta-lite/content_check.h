/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_CONTENT_CHECK_H
#define ROOST_MTA_CONTENT_CHECK_H

#include "mta-lite/content.h"
#include "mta-lite/map.h"

/*
 * Header and body checks, as Postfix's header_checks(5): each header field (folds as LF) and each
 * line of the body is looked up in tables, mostly of regular expressions; what is found is an
 * action.
 *
 *   BCC address       another recipient
 *   DISCARD [text]    accept and drop the message
 *   DUNNO             go on with the next field or line
 *   FILTER dest       send through this content filter
 *   HOLD [text]       into the hold queue
 *   IGNORE            leave this field or line out
 *   INFO, WARN [text] log it
 *   PREPEND text      put this field or line before it
 *   REDIRECT address  send to this address instead of all others
 *   REJECT [text]     refuse; text may begin with a code ("550 5.7.1 text")
 *   REPLACE text      put this in its place
 *   STRIP [text]      as IGNORE, and log it
 */
struct content_checks {
	struct map_list header; /* of the message itself, but MIME fields */
	struct map_list mime_header; /* Content-* and MIME-Version, of the message and its parts */
	struct map_list nested_header; /* of messages inside the message */
	struct map_list body;
	uint64_t body_limit; /* bytes looked at in each part */
	int changes_only; /* actions that refuse, drop or divert the message are passed over */
};

struct content_verdict {
	char *reply; /* refuse; NULL: take */
	int discard;
	char *hold; /* the reason; NULL: no */
	char *filter, *redirect; /* the last ones; or NULL */
	char **bcc;
	size_t bcc_count;
};

/* What a table can say; text is what stands behind the word. For settings that are checked early.
 */
enum content_action {
	CONTENT_BCC,
	CONTENT_DISCARD,
	CONTENT_DUNNO,
	CONTENT_FILTER,
	CONTENT_HOLD,
	CONTENT_IGNORE,
	CONTENT_INFO,
	CONTENT_PREPEND,
	CONTENT_REDIRECT,
	CONTENT_REJECT,
	CONTENT_REPLACE,
	CONTENT_STRIP,
	CONTENT_WARN,
};
/* E_PARSE: no such action, or one without the text that it needs. */
enum err content_action_parse(struct str value, enum content_action *action, struct str *text);

/* 1 if no table is set. */
int content_checks_empty(const struct content_checks *checks);
/*
 * Runs the checks and makes their changes in c. id: for log lines. OK: *out is set, and freed by
 * the caller with content_verdict_free in any case. E_TEMPFAIL: a table cannot be asked; E_IO,
 * E_NOSPACE.
 */
enum err content_checks_run(const struct content_checks *checks, struct content *c, const char *id,
	struct content_verdict *out);
void content_verdict_free(struct content_verdict *v);

#endif
