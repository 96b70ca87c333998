/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_REWRITE_H
#define ROOST_MTA_REWRITE_H

#include "mta-lite/content.h"
#include "mta-lite/map.h"

/*
 * Addresses that become others on the way in (Postfix's ADDRESS_REWRITING_README): canonical(5),
 * masquerading, virtual(5) aliases, relocated(5), and copies for others. Where no table is set all
 * of these return what they were given.
 */
struct rewrite;

enum { REWRITE_DEPTH_MAX = 50, REWRITE_ADDRESSES_MAX = 1000 };

/* For the warm parent, before the sandbox. conf and maps are borrowed. E_PARSE: logged. */
enum err rewrite_open(const struct config *conf, struct maps *maps, struct rewrite **out);
/*
 * For the way out instead (generic(5)): smtp_generic_maps, asked once for each address, is all that
 * rewrite_envelope and rewrite_header do; the two classes are the same.
 */
enum err rewrite_open_generic(const struct config *conf, struct maps *maps, struct rewrite **out);
void rewrite_close(struct rewrite **r);

enum rewrite_class { REWRITE_SENDER, REWRITE_RECIPIENT };

/*
 * The canonical form of an address of the envelope; senders are masqueraded, too. "" stays "". *out
 * is emptied first. E_TEMPFAIL: a table cannot be asked; E_TOOBIG: the tables send it round in a
 * circle.
 */
enum err rewrite_envelope(
	const struct rewrite *r, enum rewrite_class c, struct str address, struct buf *out);
/* The same for the addresses of a header: From, Sender, Reply-To; To, Cc, Bcc; the Resent- ones. */
enum err rewrite_header(const struct rewrite *r, struct content *c);
/* Whether any table changes headers. */
int rewrite_changes_header(const struct rewrite *r);

/* Addresses, each with a NUL. */
struct rewrite_list {
	struct buf text;
	size_t count;
};
/*
 * What virtual_alias_maps make of a recipient, all the way. OK: *out has the addresses (freed by
 * the caller with rewrite_list_free); E_NOTFOUND: it is no virtual alias. Other errors as above,
 * E_TOOBIG also for more than REWRITE_ADDRESSES_MAX.
 */
enum err rewrite_virtual(const struct rewrite *r, struct str address, struct rewrite_list *out);
void rewrite_list_free(struct rewrite_list *l);

/* relocated_maps: OK: *where is the user's new place; E_NOTFOUND. */
enum err rewrite_relocated(const struct rewrite *r, struct str address, struct buf *where);
/* sender_bcc_maps, recipient_bcc_maps: OK: *copy is who gets a copy; E_NOTFOUND. */
enum err rewrite_bcc(
	const struct rewrite *r, enum rewrite_class c, struct str address, struct buf *copy);

/*
 * The next address in a header field's value (RFC 5322 section 3.4): where its addr-spec stands,
 * from *pos on; comments, names and quoted strings are passed over. 0: there are no more. Takes
 * time linear in value.len.
 */
struct rewrite_span {
	size_t offset, len;
};
int rewrite_next_address(struct str value, size_t *pos, struct rewrite_span *out);

#endif
