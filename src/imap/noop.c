/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

/* NOOP, CHECK: the client asks for news (RFC 3501 section 6.1.2, 6.4.1). */

static enum err
news(struct imap_session *s, struct imap_parser *p, const char *done)
{
	if (imap_parse_end(p))
		return p->err;
	/* If the service is away, what is known already is told all the same. */
	if (s->view)
		(void)index_refresh(s->index, s->mailbox);
	return imap_reply_ok(s, NULL, done);
}

static enum err
run_noop(struct imap_session *s, struct imap_parser *p)
{
	return news(s, p, "Noop completed");
}

static enum err
run_check(struct imap_session *s, struct imap_parser *p)
{
	return news(s, p, "Check completed");
}

static enum err
run_logout(struct imap_session *s, struct imap_parser *p)
{
	if (imap_parse_end(p))
		return p->err;
	imap_bye(s, "logout", "Logging out");
	return imap_reply_ok(s, NULL, "Logout completed");
}

const struct imap_command imap_command_noop = {
	.name = "NOOP",
	.rfc = "3501 6.1.2",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_noop,
};
const struct imap_command imap_command_check = {
	.name = "CHECK",
	.rfc = "3501 6.4.1",
	.states = IN_SELECTED,
	.sync = IMAP_SYNC_ALL,
	.run = run_check,
};
const struct imap_command imap_command_logout = {
	.name = "LOGOUT",
	.rfc = "3501 6.1.3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_NOTHING,
	.run = run_logout,
};
