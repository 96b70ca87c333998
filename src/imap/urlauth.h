/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_URLAUTH_H
#define ROOST_IMAP_URLAUTH_H

#include "imap/imap.h"

/* Access keys of the selected mailbox (RFC 4467), as the client is told of them unasked. */

/* "* OK [URLMECH INTERNAL]" of SELECT and EXAMINE. */
void imap_urlauth_selected(struct imap_session *s);
/* The same when some session has reset the key since it was told last. */
void imap_urlauth_sync(struct imap_session *s);

#endif
