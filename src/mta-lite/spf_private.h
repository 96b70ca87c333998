/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SPF_PRIVATE_H
#define ROOST_MTA_SPF_PRIVATE_H

#include "mta-lite/spf.h"

enum { SPF_NAME_SIZE = 256, SPF_RECORDS_MAX = 64 * 1024, SPF_EXPANDED_MAX = 4096 };

/* One check. */
struct spf {
	const struct dns_source *dns;
	const struct spf_query *q;
	struct spf_answer *out;
	char peer_ip[NET_ADDR_TEXT];
	char sender[512];
	unsigned lookups, voids;
	int dry; /* syntax alone is looked at: nothing is asked */
};

/* Notes what is wrong, the first time, and returns r. */
enum spf_result spf_problem(struct spf *s, enum spf_result r, const char *what);

/*
 * A macro-string (RFC 7208 section 7), appended. explanation: %{c}, %{r}, %{t} are allowed.
 * E_PARSE, E_TOOBIG.
 */
enum err spf_expand(
	struct spf *s, struct str text, const char *domain, int explanation, struct buf *out);
/* A domain-spec; a name that is too long loses labels at its front (section 7.3). E_PARSE. */
enum err spf_expand_name(
	struct spf *s, struct str spec, const char *domain, char out[SPF_NAME_SIZE]);

/* Section 7.1: a macro-string that ends in a top-level label or a macro. */
int spf_domain_spec_is_valid(struct spf *s, struct str spec);

/* Whether a name can be asked: labels of 1 to 63 bytes, at least two, not an address. */
int spf_name_is_valid(const char *name);
/* Whether name is domain or below it. */
int spf_name_within(const char *name, const char *domain);

#endif
