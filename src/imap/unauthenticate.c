/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "lib/log.h"

/*
 * UNAUTHENTICATE (RFC 8437): the connection goes back to roost-proxy, which waits for a log-in
 * again, as whoever. All that the session knew ends with it: the mailbox, what was enabled, saved
 * results, contexts, NOTIFY (section 4.1). TLS is the proxy's and stays; compression ends, in
 * either direction behind the line end. NO is not allowed: what cannot be done ends the connection
 * (section 3).
 */
static enum err
run_unauthenticate(struct imap_session *s, struct imap_parser *p)
{
	enum err e = OK;

	if (imap_parse_end(p))
		return p->err;
	if (!s->base->info.back_len) {
		imap_bye(s, "unauthenticate", "[UNAVAILABLE] The connection cannot be used again");
		return OK;
	}
	(void)imap_reply_ok(s, NULL, "Unauthenticate completed");
	if (stream_filter_ctx(s->client))
		e = stream_end_filter(s->client);
	e = e ? e : session_return(s->base);
	if (e)
		log_event(LOGL_WARN, "imap.unauthenticate failed", "user", s->user.name, "error",
			err_word(e), NULL);
	s->end = e ? "lost" : "unauthenticate";
	return OK;
}

const struct imap_command imap_command_unauthenticate = {
	.name = "UNAUTHENTICATE",
	.rfc = "8437 3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_NOTHING,
	.capabilities = "UNAUTHENTICATE",
	.run = run_unauthenticate,
};
