/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_DELIVER_H
#define ROOST_MTA_SMTP_DELIVER_H

#include "mta-lite/agent.h"
#include "mta-lite/dns.h"

/*
 * Delivers the job to its next hop over SMTP: finds the hosts (RFC 5321 section 5.1), tries them in
 * order until one has taken or refused the message. mta (DNS_NAME_SIZE bytes) is who answered.
 * All answers are set afterwards.
 */
void smtp_deliver(struct agent *a, struct dns *dns, SSL_CTX *tls, char *mta);

#endif
