/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_STATUS_H
#define ROOST_IMAP_STATUS_H

#include "imap/imap.h"

enum imap_status_item {
	IMAP_STATUS_MESSAGES = 1,
	IMAP_STATUS_RECENT = 2,
	IMAP_STATUS_UIDNEXT = 4,
	IMAP_STATUS_UIDVALIDITY = 8,
	IMAP_STATUS_UNSEEN = 16,
	IMAP_STATUS_HIGHESTMODSEQ =
		32, /* RFC 7162 section 3.1.7: asking for it enables CONDSTORE */
	IMAP_STATUS_MAILBOXID = 64, /* RFC 8474 section 4.3 */
	IMAP_STATUS_DELETED = 128, /* RFC 9051 section 6.3.11 */
	IMAP_STATUS_DELETED_STORAGE = 256, /* RFC 9208 section 4.1.4 */
	IMAP_STATUS_SIZE = 512, /* RFC 9051 section 6.3.11, RFC 8438 */
	IMAP_STATUS_APPENDLIMIT = 1024, /* RFC 7889 */
};

/* "(MESSAGES UNSEEN)", at least one: *items is a union of enum imap_status_item. */
enum err imap_parse_status_items(struct imap_parser *p, unsigned *items);
/* Sends "* STATUS name (...)". E_NOTFOUND and other errors of the index: nothing was sent. */
enum err imap_status_send(struct imap_session *s, struct str name, unsigned items);
/* The same of what is in box, without another look at the mailbox. */
void imap_status_write(struct imap_session *s, const struct index_mailbox *box, unsigned items);

#endif
