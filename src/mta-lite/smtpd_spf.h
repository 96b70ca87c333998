/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_SPF_H
#define ROOST_MTA_SMTPD_SPF_H

#include "mta-lite/content.h"
#include "mta-lite/smtpd.h"

/*
 * SPF in the dialogue, and the policy servers' and greylist's connections of a session. Clients in
 * mynetworks and those that logged in are not asked for SPF.
 */

/* At RCPT, once for a message: NULL, or the reply. */
const char *smtpd_spf_rcpt(struct smtpd *d);
/* Whether the header needs a look. */
int smtpd_spf_wants_message(const struct smtpd *d);
/*
 * Takes away what the sender wrote in our name (RFC 8601 section 5) and puts the result above the
 * message, in d->t.head.
 */
void smtpd_spf_message(struct smtpd *d, struct content *c);

/* Of policy servers and the greylist, before the sandbox; at the end of a session. */
enum err smtpd_policy_open(const struct config *conf);
void smtpd_policy_stop(struct smtpd *d);

#endif
