/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_RULES_H
#define ROOST_MTA_SMTPD_RULES_H

#include "lib/sandbox.h"
#include "mta-lite/smtpd.h"

/* The restriction lists in the dialogue: what they are told, and when they run. */

/* In the warm parent: before the sandbox; for it; before each fork. */
enum err smtpd_rules_open(const struct config *conf);
void smtpd_rules_sandbox(const struct config *conf, struct sandbox *sb);
void smtpd_rules_refresh(const struct config *conf);

/*
 * Run what belongs to a command. NULL: go on; else the reply, borrowed until the next call. For
 * users of this machine (SMTPD_LOCAL) and for filters (SMTPD_REINJECT) no list runs.
 */
const char *smtpd_rules_mail(struct smtpd *d, const char *sender);
const char *smtpd_rules_rcpt(struct smtpd *d, const char *recipient);
const char *smtpd_rules_data(struct smtpd *d);
const char *smtpd_rules_message(struct smtpd *d);

/* Whether ETRN may be said for the domain; d->t holds no message. */
const char *smtpd_rules_etrn(struct smtpd *d, const char *domain);

/* The client's names; looked up once. "unknown" where there is none. */
const struct restrict_names *smtpd_names(struct smtpd *d);

#endif
