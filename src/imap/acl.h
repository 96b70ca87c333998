/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_ACL_H
#define ROOST_IMAP_ACL_H

#include "imap/imap.h"

/* "* MYRIGHTS name rights" (RFC 4314 section 3.8), also for LIST (RFC 8440). E_NOTFOUND. */
enum err imap_acl_send_myrights(struct imap_session *s, struct str name);

#endif
