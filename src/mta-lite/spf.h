/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SPF_H
#define ROOST_MTA_SPF_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/net.h"
#include "mta-lite/dns_names.h"

/* Sender Policy Framework (RFC 7208): may this client send mail in this domain's name? */

/* RFC 7208 section 2.6. */
enum spf_result {
	SPF_NONE,
	SPF_NEUTRAL,
	SPF_PASS,
	SPF_FAIL,
	SPF_SOFTFAIL,
	SPF_TEMPERROR,
	SPF_PERMERROR,
};

enum {
	SPF_NAMES_MAX = 10, /* MX and PTR names looked at (section 4.6.4) */
	SPF_LOOKUPS_MAX = 10, /* terms that ask the DNS */
	SPF_VOID_MAX = 2, /* of those, with nothing in the answer */
};

struct spf_query {
	const struct net_addr *peer;
	const char *helo;
	/* MAIL FROM; "": the null path, for which postmaster@helo stands (section 2.4). */
	const char *sender;
	const char *receiver; /* our name, for the macro %{r} */
};

struct spf_answer {
	enum spf_result result;
	char domain[256]; /* the one that was asked */
	char mechanism[128]; /* what decided, "-all"; or what is wrong; may be empty */
	char explanation[256]; /* the domain's own words for SPF_FAIL; printable; may be empty */
};

/* dns: its addresses, mx, txt and ptr are asked. Checks MAIL FROM, or HELO for the null path. Never
 * fails otherwise than in *out. */
void spf_check(const struct dns_source *dns, const struct spf_query *q, struct spf_answer *out);

/* "pass", "softfail" ...; for header fields (RFC 8601 section 2.7.2) and the log. */
const char *spf_result_word(enum spf_result r);

#endif
