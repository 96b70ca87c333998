/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_PROXY_H
#define ROOST_MTA_SMTPD_PROXY_H

#include "mta-lite/smtpd.h"

/*
 * A filter before the queue (smtpd_proxy_filter): what came by SMTP goes to it while the client
 * waits, and the filter's answer is the client's. The filter gives what it takes to
 * listen_reinject.
 */

/* Whether mail of this session is for that filter. */
int smtpd_proxy_is_set(const struct smtpd *d);
/* As a next hop, for mail that has to wait in the queue first. The caller frees it. */
char *smtpd_proxy_hop(const struct smtpd *d);

/*
 * Sends the message in d->t, whose entry has .xforward, to all of its recipients that are pending
 * or to none; these have their status then. read, arg: the content, of so many bytes. Returns the
 * reply for the client, on the heap.
 */
char *smtpd_proxy_send(struct smtpd *d, uint64_t size,
	enum err (*read)(void *arg, uint64_t offset, void *p, size_t size, struct str *out),
	void *arg);

#endif
