/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_MOVED_H
#define ROOST_AUTH_MOVED_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* A user's mail may be on another server: who logs in here is told which (RFC 2221). */

enum { MOVED_HOST_MAX = 253 + 6 }; /* a name and ":65535" */

/*
 * A server as a URL has it (RFC 5092 section 11, "iserver" without a user): "mail.example.net",
 * "192.0.2.1", "[2001:db8::1]", each with ":port" or without. In lower case into out; an empty text
 * or NULL is "", no other server. E_PARSE.
 */
enum err moved_host_parse(struct str text, char out[MOVED_HOST_MAX + 1]);
/*
 * What an IMAP client is told, for behind its tag and "NO" or "BYE" (section 4): "[REFERRAL
 * imap://alice%40example.test;AUTH=*@mail.example.net/] …". user: his name there; mechanism: the
 * one he used, or NULL for any.
 */
void moved_imap_put(struct str user, const char *mechanism, struct str host, struct buf *out);

#endif
