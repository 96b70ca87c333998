/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_REWRITE_H
#define ROOST_MTA_SMTPD_REWRITE_H

#include "mta-lite/content.h"
#include "mta-lite/rewrite.h"
#include "mta-lite/smtpd.h"

/* Rewriting in the dialogue. */

/* In the warm parent, before the sandbox. */
enum err smtpd_rewrite_open(const struct config *conf, struct maps *maps);

/* As rcpt_lookup. */
enum err smtpd_lookup_rcpt(struct smtpd *d, struct str address, struct auth_rcpt *out);
/* For restrict_host: relocated_maps. */
enum err smtpd_find_moved(void *d, const char *address, struct buf *where);
/*
 * NULL, or the reply for an address elsewhere that transport_maps close ("error:TEXT"): it would
 * only come back. What a table does not tell now roost-qmgr asks it later.
 */
const char *smtpd_closed(struct smtpd *d, const char *address);
/* Notes the copies that the bcc tables and always_bcc want. NULL, or the reply. */
const char *smtpd_rewrite_bcc(struct smtpd *d, enum rewrite_class c, const char *address);
/* The sender of the message in d->t.entry. NULL, or the reply. */
const char *smtpd_rewrite_sender(struct smtpd *d);

/* Headers are rewritten for our own: local users, those in mynetworks, those who logged in. */
int smtpd_rewrite_wants_message(const struct smtpd *d);
const char *smtpd_rewrite_message(struct smtpd *d, struct content *c);

#endif
