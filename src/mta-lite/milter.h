/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MILTER_H
#define ROOST_MTA_MILTER_H

#include "lib/net.h"
#include "mta-lite/content.h"

/*
 * The mail filters (milters) of one SMTP session: rspamd, OpenDKIM, ClamAV and others, by
 * libmilter's protocol, version 6. Each event of the dialogue goes to all filters in their order;
 * the first that refuses is the answer. At the end of the message each filter sees what those
 * before it made of the message.
 *
 * A filter that cannot be reached, breaks the protocol or is too slow counts as what its
 * default_action says from then on, and nothing that it had begun to change is kept.
 */
struct milters;

enum milter_default { MILTER_TEMPFAIL, MILTER_ACCEPT, MILTER_REJECT, MILTER_HOLD };

struct milter_settings {
	int connect_timeout_ms, command_timeout_ms, content_timeout_ms;
	enum milter_default default_action;
};

/* Who the filters work for. arg goes to each function. */
struct milter_server {
	void *arg;
	/*
	 * A macro's value, "i" or "{client_addr}", borrowed until the next call; NULL: there is
	 * none now.
	 */
	const char *(*macro)(void *arg, const char *name);
	/* Changes of the envelope, in the order in which the filter asked. Errors are for the log.
	 */
	enum err (*add_rcpt)(void *arg, struct str address);
	enum err (*remove_rcpt)(void *arg, struct str address);
	enum err (*set_sender)(void *arg, struct str address);
};

/*
 * Where a filter listens (see endpoint_parse), and, behind a comma, a default action for it alone:
 * "inet:127.0.0.1:8891,accept" (or tempfail, reject, quarantine). *action is unchanged without one.
 * E_PARSE.
 */
enum err milter_spec_parse(struct str spec, struct net_addr *addr, enum milter_default *action);

/*
 * specs: count of them, valid by milter_spec_parse (others are left out with a log line). Nothing
 * is connected before the first event. server: borrowed.
 */
struct milters *milters_create(const struct milter_settings *settings, char *const *specs,
	size_t count, const struct milter_server *server);
/* Says goodbye to those that are connected. */
void milters_free(struct milters **ms);

/*
 * Events. Each returns NULL to go on, or the reply for the client, borrowed until the next event.
 * A reply at connect and helo holds for the rest of the session: every MAIL gets it. One that
 * begins with 421 ends the session. milters_discards tells of a message that shall be taken and
 * dropped.
 */
const char *milters_connect(struct milters *ms, const char *host, const struct net_addr *peer);
const char *milters_helo(struct milters *ms, const char *name);
/* params: the words behind the path, "SIZE=1000"; may be empty. */
const char *milters_mail(struct milters *ms, const char *address, struct str params);
const char *milters_rcpt(struct milters *ms, const char *address, struct str params);
const char *milters_data(struct milters *ms);
const char *milters_unknown(struct milters *ms, struct str line);
/*
 * The whole message, which the filters may change; and at the end their changes of the envelope.
 * NULL: go on with it as it is now. *hold: a filter wants it in the hold queue; *reason, which the
 * caller frees, says why.
 */
const char *milters_message(struct milters *ms, struct content *c, int *hold, char **reason);
/* The message is over: taken, refused or given up. */
void milters_abort(struct milters *ms);

int milters_discards(const struct milters *ms);

#endif
