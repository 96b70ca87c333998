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

/* The same for a name of which all is known, also one that is no mailbox: \NonExistent. */
struct imap_list_entry {
	const char *name; /* UTF-8 */
	int exists, subscribed, has_children, no_access;
	unsigned special_use;
	const char *old_name; /* NULL: none */
};
void imap_list_send_entry(struct imap_session *s, const struct imap_list_entry *e);

#endif
