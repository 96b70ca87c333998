/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_FILTER_H
#define ROOST_MTA_SMTPD_FILTER_H

#include "lib/sandbox.h"
#include "mta-lite/smtpd.h"

/*
 * What looks at a client and its messages beside the restriction lists: milters, header and body
 * checks, SPF, policy servers, greylisting. Where nothing is set all of these return at once.
 */

/* In the warm parent: before the sandbox; for it. maps: for the checks' tables, borrowed. */
enum err smtpd_filter_open(const struct config *conf, struct maps *maps);
void smtpd_filter_sandbox(const struct config *conf, struct sandbox *sb);

/* The session begins; and its end. */
void smtpd_filter_start(struct smtpd *d);
void smtpd_filter_stop(struct smtpd *d);
/* The message is over; called by smtpd_transaction_reset. */
void smtpd_filter_reset(struct smtpd *d);

/* Events. NULL: go on; else the reply, borrowed until the next call. */
const char *smtpd_filter_helo(struct smtpd *d);
const char *smtpd_filter_mail(struct smtpd *d, struct str params);
const char *smtpd_filter_rcpt(struct smtpd *d, const char *address, struct str params);
const char *smtpd_filter_data(struct smtpd *d);
/*
 * The message is in d->t.spool, what we add in d->t.head, d->t.entry has its id: both may be
 * changed, and d->t.effects.
 */
const char *smtpd_filter_message(struct smtpd *d);

/* For restrict_host.policy and .greylist; arg is the struct smtpd. */
enum err smtpd_policy_ask(
	void *arg, const char *service, enum restrict_stage stage, struct buf *action);
enum err smtpd_greylist_ask(void *arg, const char *recipient, int64_t *wait_s);

#endif
