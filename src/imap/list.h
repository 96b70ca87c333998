/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_LIST_H
#define ROOST_IMAP_LIST_H

#include "imap/imap.h"

/*
 * "* LIST (attributes) "/" name", as SELECT sends it (RFC 9051 section 6.3.2); with old_name, in
 * UTF-8, also ("OLDNAME" (...)) (section 6.3.9.7).
 */
void imap_list_send_one(
	struct imap_session *s, const struct index_mailbox *box, const char *old_name);

#endif
