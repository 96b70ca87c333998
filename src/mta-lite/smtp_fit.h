/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_FIT_H
#define ROOST_MTA_SMTP_FIT_H

#include "lib/buf.h"
#include "mta-lite/smtp_client.h"

/*
 * A message made to fit what the next server takes: the form that it can carry, and what of it
 * cannot go there at all. A server without 8BITMIME gets seven bits (RFC 6152 section 3), one
 * without BINARYMIME lines (RFC 3030 section 3); a mailbox name or header that needs SMTPUTF8
 * cannot be converted (RFC 6531 section 3.2).
 */
struct smtp_fit {
	struct smtp_send m; /* what is sent: the original, or the converted content */
	struct buf converted;
	int utf8; /* MAIL with SMTPUTF8 */
	int bdat; /* content by BDAT, as BODY=BINARYMIME */
};

/*
 * ext, size_limit: what the server offers. Recipients that cannot be served get their answer in
 * answers, one for each. Errors are those of reading the content. The caller frees *out with
 * smtp_fit_free in either case.
 */
enum err smtp_fit(const struct smtp_send *m, unsigned ext, uint64_t size_limit, int lmtp,
	struct smtp_fit *out, struct smtp_answer *answers);
void smtp_fit_free(struct smtp_fit *f);

#endif
