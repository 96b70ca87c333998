/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_IMAP_URL_H
#define ROOST_MAIL_IMAP_URL_H

#include <stdint.h>
#include <time.h>

#include "lib/err.h"
#include "lib/str.h"
#include "mail/section.h"

/* Who may use a URL that carries its own authorization (RFC 4467 section 3, "access"). */
enum imap_url_access {
	IMAP_URL_SUBMIT, /* "submit+": who submits messages for the user */
	IMAP_URL_USER, /* "user+": this user */
	IMAP_URL_AUTHUSER, /* every user */
	IMAP_URL_ANONYMOUS, /* everybody */
};

enum { IMAP_URL_AUTH_MAX = 8192 }; /* bytes of a URL with an authorization */

/*
 * An IMAP URL (RFC 5092) that names a message or a part of one: in this session's mail, as CATENATE
 * takes it (RFC 4469 section 3), "/Drafts;UIDVALIDITY=1/;UID=20/;SECTION=1.2/;PARTIAL=0.99", or
 * without a mailbox, ";UID=20", for the selected one; or with an authorization.
 */
struct imap_url {
	char *mailbox; /* UTF-8; NULL: the selected one */
	uint32_t uidvalidity; /* 0: not said */
	uint32_t uid;
	struct section section;
	uint64_t off, count; /* of the octets; 0 and UINT64_MAX: all */

	/* With an authorization. */
	char *user; /* UTF-8, as it stands there */
	int expires; /* whether it ends */
	time_t expire;
	enum imap_url_access access;
	char *access_user; /* of SUBMIT and USER, as it stands there; else NULL */
	/* Borrowed from the text: all in front of ":<mech>:<token>", and these, empty in a rump. */
	struct str rump, mechanism, token;
};

/*
 * E_PARSE: not such a URL; E_UNSUPPORTED: of another server, or with a search or an authorization.
 * The caller calls imap_url_fini also after an error.
 */
enum err imap_url_parse(struct str text, struct imap_url *out);
/*
 * "imap://user@host/…;URLAUTH=<access>:<mech>:<token>", or with rump only up to <access> (RFC 5092
 * section 11, "authimapurlfull" and "authimapurlrump"). The host is checked for its form alone.
 * E_PARSE; E_TOOBIG: longer than IMAP_URL_AUTH_MAX.
 */
enum err imap_url_parse_auth(struct str text, int rump, struct imap_url *out);
/*
 * The address that a name in a URL means: in lower case, without a domain that of the user like. On
 * the heap.
 */
char *imap_url_user(const char *name, const char *like);
void imap_url_fini(struct imap_url *url);

#endif
