/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_DNSBL_H
#define ROOST_MTA_SMTPD_DNSBL_H

#include "lib/sandbox.h"
#include "mta-lite/smtpd.h"

/* The client's score on postscreen_dnsbl_sites, asked for once in a session on port 25. */

/* In the warm parent, before the sandbox. E_PARSE, E_IO: logged. */
enum err smtpd_dnsbl_open(const struct config *conf);
/*
 * NULL, or the reply to RCPT of a client whose score is postscreen_dnsbl_threshold or more; with
 * the action drop the session ends with it. Clients in mynetworks have no score.
 */
const char *smtpd_dnsbl_reject(struct smtpd *d);
/* Whether its score is known, and so low that it need not wait (the greylist). */
int smtpd_dnsbl_is_good(const struct smtpd *d);

#endif
