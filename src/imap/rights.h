/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_RIGHTS_H
#define ROOST_IMAP_RIGHTS_H

#include "imap/imap.h"

/*
 * Rights on mailboxes (RFC 4314). All mailboxes of a session are its own user's: the owner has
 * every right as long as nothing was set for him, and those of IMAP_RIGHTS_FIXED whatever was set.
 * What he takes from himself, to guard a mailbox against his own programs, holds in every command.
 */
enum imap_right { /* section 2.1, in the order in which they are written */
	IMAP_RIGHT_LOOKUP = 1, /* l */
	IMAP_RIGHT_READ = 2, /* r */
	IMAP_RIGHT_SEEN = 4, /* s */
	IMAP_RIGHT_WRITE = 8, /* w */
	IMAP_RIGHT_INSERT = 16, /* i */
	IMAP_RIGHT_POST = 32, /* p */
	IMAP_RIGHT_CREATE = 64, /* k */
	IMAP_RIGHT_REMOVE = 128, /* x */
	IMAP_RIGHT_DELETE = 256, /* t */
	IMAP_RIGHT_EXPUNGE = 512, /* e */
	IMAP_RIGHT_ADMIN = 1024, /* a */
	IMAP_RIGHTS_ALL = 2047,
	/* Nothing would enforce "p"; without the others nobody could give them back. */
	IMAP_RIGHTS_FIXED = IMAP_RIGHT_LOOKUP | IMAP_RIGHT_POST | IMAP_RIGHT_ADMIN,
	/* One of them is what makes a mailbox READ-WRITE (section 5.2). */
	IMAP_RIGHTS_CHANGE = IMAP_RIGHT_SEEN | IMAP_RIGHT_WRITE | IMAP_RIGHT_INSERT |
			     IMAP_RIGHT_DELETE | IMAP_RIGHT_EXPUNGE,
};

/* The identifiers under which the owner's rights are stored, whatever his name is. */
#define IMAP_RIGHTS_OWNER "owner"
#define IMAP_RIGHTS_NOT_OWNER "-owner"

/*
 * "lrsc": letters in any order, "c" (k and x) and "d" (t and e) too (section 2.1.1). E_RANGE:
 * another byte, upper case among them.
 */
enum err imap_rights_parse(struct str text, unsigned *out);
/* With "c" and "d" when any of what they stand for is there. */
enum { IMAP_RIGHTS_TEXT = 14 };
void imap_rights_format(unsigned rights, char out[IMAP_RIGHTS_TEXT]);

/*
 * The user's rights on a mailbox as of now. given: what is stored for the owner without
 * regard to what is taken away again; may be NULL. Errors as index_acl_each.
 */
enum err imap_rights_get(struct imap_session *s, uint32_t mailbox, unsigned *out, unsigned *given);
/* E_ACCESS unless the user has all of need. */
enum err imap_rights_check(struct imap_session *s, uint32_t mailbox, unsigned need);
/* The same by name. E_NOTFOUND. */
enum err imap_rights_check_name(struct imap_session *s, struct str name, unsigned need);
/* The nearest mailbox above name that exists, a piece of name; empty: none. */
enum err imap_rights_nearest(struct imap_session *s, struct str name, struct str *nearest);
/* k on that one; without one there is nobody to ask. */
enum err imap_rights_check_parent(struct imap_session *s, struct str name);
/*
 * Gives the new mailbox name, and those between, what is set for from, which was the nearest before
 * (section 4, CREATE). An empty from: nothing.
 */
enum err imap_rights_inherit(struct imap_session *s, struct str from, struct str name);
/*
 * Reads s->rights of the selected mailbox anew; what can be changed now is told in FLAGS and
 * PERMANENTFLAGS when it is another than before (section 5.1.1).
 */
enum err imap_rights_selected(struct imap_session *s);

/* The flags (enum index_flag) that rights allow to change; keywords go with IMAP_RIGHT_WRITE. */
unsigned imap_rights_flags(unsigned rights);

#endif
