/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_RIGHTS_H
#define ROOST_IMAP_RIGHTS_H

#include "imap/imap.h"
#include "index/index_rights.h"

/* Rights (mail/rights.h) as the commands ask for them. */

/*
 * The user's rights on a mailbox as of now. given: what is stored for the owner without
 * regard to what is taken away again; may be NULL. Errors as index_acl_each.
 */
enum err imap_rights_get(struct imap_session *s, uint32_t mailbox, unsigned *out, unsigned *given);
/* E_ACCESS unless the user has all of need. */
enum err imap_rights_check(struct imap_session *s, uint32_t mailbox, unsigned need);
/* The same by name. E_NOTFOUND. */
enum err imap_rights_check_name(struct imap_session *s, struct str name, unsigned need);
/* The name above name, a piece of it; empty at the top. */
struct str imap_rights_parent(struct str name);
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

#endif
