/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_XCLIENT_H
#define ROOST_LMTP_XCLIENT_H

#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

/*
 * XCLIENT (as Postfix documents it in XCLIENT_README): a trusted client says for whom it speaks.
 * Attributes that were not given, or as [UNAVAILABLE] or [TEMPUNAVAIL], are empty.
 */
enum { LMTP_XCLIENT_VALUE_MAX = 255 };

struct lmtp_xclient {
	char name[LMTP_XCLIENT_VALUE_MAX + 1]; /* host name by DNS */
	char helo[LMTP_XCLIENT_VALUE_MAX + 1];
	char login[LMTP_XCLIENT_VALUE_MAX + 1];
	struct net_addr addr; /* len 0: none; the port is 0 without PORT */
};

/* E_PARSE: malformed, an attribute that is unknown or twice there, or a value of unfit characters.
 */
enum err lmtp_xclient_parse(struct str args, struct lmtp_xclient *out);

#endif
