/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_QMGR_TARGET_H
#define ROOST_MTA_QMGR_TARGET_H

#include "auth/auth_client.h"
#include "mta-lite/qmgr.h"
#include "mta-lite/smtp_path.h"

/* To whom qmgr writes, in a child: where mail for an address goes is asked of the directory. */
struct qmgr_target {
	char to[SMTP_ADDRESS_SIZE]; /* for the header */
	struct auth_rcpt found;
	unsigned flags; /* enum queue_flag of the message */
};

/* recipient: without a domain it is here. E_NOTFOUND: too long. */
enum err qmgr_target_set(const struct config *conf, const char *recipient, struct qmgr_target *t);
/* E_NOTFOUND: mail for it goes nowhere; other errors: later. */
enum err qmgr_target_look_up(const struct qmgr *q, struct qmgr_target *t);
/* One of the postmaster's addresses. Reports about that mail go to nobody. */
enum err qmgr_target_postmaster(const struct qmgr *q, const char *recipient, struct qmgr_target *t);
/* Adds the recipients of a message for it, whose flags are set already. */
void qmgr_target_add(const struct qmgr_target *t, struct queue_entry *out);

#endif
