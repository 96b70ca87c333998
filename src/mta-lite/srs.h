/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SRS_H
#define ROOST_MTA_SRS_H

#include "lib/conf.h"
#include "lib/sandbox.h"

/*
 * The Sender Rewriting Scheme: mail that is forwarded goes out under an address of srs_domain,
 * which leads back to the sender for srs_lifetime, so that SPF allows us to send it. The addresses
 * are those of libsrs2 and postsrsd; with the same secrets both take each other's.
 *   SRS0=HASH=DATE=domain=local@srs_domain  for local@domain
 *   SRS1=HASH=first==REST@srs_domain        for SRS0=REST@first, whose own hash says who made it
 * HASH: a prefix of base64 of HMAC-SHA1; DATE: the day, modulo 1024, in base32.
 */
struct srs;

/*
 * OK: *out is NULL with an empty srs_domain; it keeps nothing of conf. Else logged, *out is NULL:
 * E_PARSE for an srs_domain that is none or secrets that are empty, E_NOTFOUND, E_ACCESS, E_IO.
 */
enum err srs_open(const struct config *conf, struct srs **out);
void srs_free(struct srs **s);
/* Reads the file of secrets again if it has changed; one that cannot be read changes nothing. */
void srs_refresh(struct srs *s);
/* Keeps the file within reach. s may be NULL here and below: there is no SRS then. */
void srs_sandbox(const struct srs *s, struct sandbox *sb);

/* Whether the address (smtp_path.h) is in srs_domain. */
int srs_in_domain(const struct srs *s, struct str address);
/* Whether it is there and begins as those do that srs_forward makes. */
int srs_is_rewritten(const struct srs *s, struct str address);
/* Whether a sender is one to be rewritten: neither "" nor in srs_domain or srs_exclude_domains. */
int srs_applies(const struct srs *s, const char *sender);

/*
 * The address for a sender of mail that came at that time (Unix time). *out is emptied first.
 * E_NOTFOUND: srs_applies says no; E_TOOBIG: no address can be so long; E_PARSE: it has no domain.
 */
enum err srs_forward(const struct srs *s, const char *sender, int64_t when, struct buf *out);
/*
 * Whom an address stands for. *out is emptied first. E_NOTFOUND: srs_is_rewritten says no; E_PARSE:
 * it is malformed; E_ACCESS: the hash does not hold; E_RANGE: it has expired.
 */
enum err srs_reverse(const struct srs *s, struct str address, int64_t now, struct buf *out);

#endif
