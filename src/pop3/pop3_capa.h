/* SPDX-License-Identifier: MIT */
#ifndef ROOST_POP3_CAPA_H
#define ROOST_POP3_CAPA_H

#include "lib/buf.h"
#include "lib/conf.h"

/*
 * What roost-proxy, before log-in, and roost-pop3 say alike: RFC 2449 section 5 wants what holds in
 * both states told in both.
 */

/* The capabilities of both states, a line each. */
void pop3_capa_common(struct buf *out, const struct config *conf);
/* The whole answer to LANG (RFC 6856 section 3); argument: what stood behind it, "" if nothing. */
void pop3_lang_answer(struct buf *out, struct str argument);
/* Whether text may stand behind EXPIRE (RFC 2449 section 6.7): NEVER, or days. */
int pop3_expire_ok(const char *text);

#endif
