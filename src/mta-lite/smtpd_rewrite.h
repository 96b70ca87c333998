/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_REWRITE_H
#define ROOST_MTA_SMTPD_REWRITE_H

#include "mta-lite/content.h"
#include "mta-lite/rewrite.h"
#include "mta-lite/smtpd.h"

/* Rewriting in the dialogue. */

/* In the warm parent, before the sandbox. */
enum err smtpd_rewrite_open(const struct config *conf, struct maps *maps);

/* For its parent: keeps files within reach, and up to date. */
void smtpd_rewrite_sandbox(struct sandbox *sb);
void smtpd_rewrite_refresh(void);

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

/* NULL, or the reply for an address that SRS did not make, or made too long ago. */
const char *smtpd_srs_reject(struct smtpd *d, const char *address);
/*
 * The message in d->t.entry is complete: which recipients get it with a sender that SRS makes.
 * NULL, or the reply.
 */
const char *smtpd_srs_mark(struct smtpd *d);
/*
 * The sender for a filter before the queue, which gets all recipients with one; on the heap. It is
 * rewritten if one of them wants that: behind the filter nobody knows any more which.
 */
char *smtpd_srs_sender(const struct smtpd *d);

#endif
