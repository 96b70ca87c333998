/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_ADDRESS_H
#define ROOST_MAIL_ADDRESS_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/str.h"

enum address_kind {
	ADDRESS_MAILBOX,
	ADDRESS_GROUP_START, /* mailbox: the group's name; all else NIL */
	ADDRESS_GROUP_END, /* all NIL */
};

/*
 * One address as IMAP's ENVELOPE gives it (RFC 9051 section 7.5.2). A slice whose p is NULL is NIL:
 * not there, which an empty slice ("") is not. Quoting and comments are removed; encoded words (RFC
 * 2047) are left as they stand. mailbox holds the local part unquoted.
 */
struct address {
	enum address_kind kind;
	struct str name; /* display name, or the comment behind an address without one; or NIL */
	struct str route; /* "@a,@b" of an obsolete route; or NIL */
	struct str mailbox; /* NIL only at the end of a group */
	struct str host; /* "" for an address without a domain */
};

struct address_list {
	struct address *v;
	size_t n;
	int truncated; /* there were more than max */
	char *text; /* the bytes of all slices; owned by the list */
};

enum { ADDRESS_MAX = 1000 };

/*
 * Parses an address-list (RFC 5322 sections 3.4 and 4.4: groups, comments, quoted strings, routes,
 * the obsolete forms). value: the field's bytes, folded or not. max: entries wanted at most, group
 * markers counted (0: ADDRESS_MAX); a group that max cuts is still closed, so n <= max + 1. Never
 * fails: what is not an address is skipped up to the next comma, or given as a name without a host.
 * Takes time linear in value.len. *out is to be freed with address_list_free.
 */
void address_parse_rfc822(struct str value, size_t max, struct address_list *out);
/* Frees what the list holds; it is empty then. A zeroed list is a valid empty one. */
void address_list_free(struct address_list *list);

/*
 * Appends one address in RFC 5322 form, quoted where that is needed: Name <mailbox@host>. Group
 * markers append "name:" and ";". E_TOOBIG: out is full.
 */
enum err address_format(const struct address *a, struct buf *out);

#endif
