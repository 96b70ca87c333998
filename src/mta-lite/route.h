/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_ROUTE_H
#define ROOST_MTA_ROUTE_H

#include "mta-lite/dsn.h"
#include "mta-lite/map.h"
#include "mta-lite/queue_file.h"

/*
 * Where a recipient's mail goes: the mailboxes here, a host of ours (transport_maps,
 * sender_dependent_relayhost_maps, relayhost) or the domain's own.
 */
enum route_kind {
	ROUTE_LOCAL, /* roost-lmtp */
	ROUTE_SMTP, /* hop: a domain or hosts */
	ROUTE_LMTP, /* hop: "inet:HOST:PORT", "HOST" */
	ROUTE_LMTP_UNIX, /* hop: "unix:PATH" */
	ROUTE_ERROR, /* hop: what the sender is told, with its code if it begins with one */
	ROUTE_RETRY, /* the same, for a while */
	ROUTE_DISCARD, /* taken and thrown away */
	ROUTE_ALIAS, /* roost-local; hop: the alias */
	ROUTE_PIPE, /* roost-local; hop: "NAME:NEXTHOP" of pipe_transports */
};

struct route {
	enum route_kind kind;
	int chosen; /* the hop is the administrator's and not the address's own */
	struct buf hop;
};

struct routes; /* the settings' tables, opened */

/* E_PARSE: logged. */
enum err routes_open(const struct config *conf, struct maps *maps, struct routes **out);
void routes_free(struct routes **r);

/*
 * r: NULL when the tables could not be opened: what would have asked them is E_TEMPFAIL.
 * E_TEMPFAIL: a table does not answer; E_PARSE: its entry makes no sense. route->hop says what is
 * wrong then. The caller frees with route_free in any case.
 */
enum err route_find(const struct routes *r, const struct queue_entry *q,
	const struct queue_rcpt *rcpt, struct route *route);
/*
 * What transport_maps alone say of an address elsewhere. E_NOTFOUND: nothing. Other errors, and the
 * end of route, as with route_find.
 */
enum err route_transport(const struct routes *r, const char *address, struct route *route);
/*
 * Of ROUTE_ERROR and ROUTE_RETRY: what the sender is told, without the code that may stand before
 * it. text: borrowed from route.
 */
void route_refusal(const struct route *route, char code[DSN_CODE_SIZE], struct str *text);
/*
 * "smtp:[127.0.0.1]:10025", "NAME:" of pipe_transports and the like. domain: stands in for a
 * missing hop. E_PARSE.
 */
enum err route_parse(
	const struct config *conf, struct str text, const char *domain, struct route *route);
void route_free(struct route *route);

/* The destination's name in the schedule: the same for all that goes the same way. */
void route_key(const struct route *route, struct buf *out);

#endif
