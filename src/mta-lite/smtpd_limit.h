/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_LIMIT_H
#define ROOST_MTA_SMTPD_LIMIT_H

#include "lib/sandbox.h"
#include "mta-lite/smtpd.h"

/*
 * submission_limit_hour and _day in the dialogue: for who logged in. A store that cannot be used
 * limits nobody (and is logged).
 */

/* In the warm parent: before the sandbox; for it. */
enum err smtpd_limit_open(const struct config *conf);
void smtpd_limit_sandbox(const struct config *conf, struct sandbox *sb);
void smtpd_limit_stop(struct smtpd *d);

/* NULL: one more recipient is all right; else the reply. With the action hold it always is. */
const char *smtpd_limit_rcpt(struct smtpd *d);
/* Counts a complete message, or has it held. NULL, or the reply. */
const char *smtpd_limit_take(struct smtpd *d);
/* What was counted was not accepted after all. */
void smtpd_limit_return(struct smtpd *d);

#endif
