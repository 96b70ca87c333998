/* SPDX-License-Identifier: MIT */
#include "imap/rights.h"

#include "imap/state.h"

/* ---- what is stored ---- */

static enum err
stored_visit(struct str identifier, struct str rights, void *arg)
{
	rights_owner_add(arg, identifier, rights);
	return OK;
}

enum err
imap_rights_get(struct imap_session *s, uint32_t mailbox, unsigned *out, unsigned *given)
{
	struct rights_owner o;
	const char *owner;
	enum err e;

	if (index_mailbox_is_shared(mailbox)) {
		e = index_guest_rights(s->index, mailbox, &owner, out);
		if (given)
			*given = *out;
		return e;
	}
	rights_owner_init(&o);
	e = index_acl_each(s->index, mailbox, stored_visit, &o);
	*out = rights_owner_have(&o);
	if (given)
		*given = o.given;
	return e;
}

enum err
imap_rights_check(struct imap_session *s, uint32_t mailbox, unsigned need)
{
	unsigned rights;
	enum err e = imap_rights_get(s, mailbox, &rights, NULL);

	if (e || (rights & need) == need)
		return e;
	/* Who may not know of a mailbox is not told that it is there (RFC 4314 section 6). */
	return rights & (RIGHT_LOOKUP | RIGHT_READ) ? E_ACCESS : E_NOTFOUND;
}

enum err
imap_rights_check_name(struct imap_session *s, struct str name, unsigned need)
{
	struct index_mailbox box = {0};
	enum err e = index_mailbox_get(s->index, name, &box);

	if (!e)
		e = imap_rights_check(s, box.id, need);
	index_mailbox_free(&box);
	return e;
}

struct str
imap_rights_parent(struct str name)
{
	while (name.len > 0 && name.p[--name.len] != '/')
		;
	return name;
}

enum err
imap_rights_nearest(struct imap_session *s, struct str name, struct str *nearest)
{
	struct index_mailbox box = {0};
	enum err e = E_NOTFOUND;

	for (*nearest = imap_rights_parent(name); nearest->len > 0;
		*nearest = imap_rights_parent(*nearest)) {
		e = index_mailbox_get(s->index, *nearest, &box);
		index_mailbox_free(&box);
		if (e != E_NOTFOUND)
			return e;
	}
	return OK;
}

enum err
imap_rights_check_parent(struct imap_session *s, struct str name)
{
	struct str nearest;
	enum err e = imap_rights_nearest(s, name, &nearest);

	return e || nearest.len == 0 ? e : imap_rights_check_name(s, nearest, RIGHT_CREATE);
}

struct inherit {
	struct imap_session *s;
	uint32_t to;
};

static enum err
inherit_visit(struct str identifier, struct str rights, void *arg)
{
	const struct inherit *in = arg;

	return index_acl_set(in->s->index, in->to, identifier, INDEX_ACL_REPLACE, rights);
}

enum err
imap_rights_inherit(struct imap_session *s, struct str from, struct str name)
{
	struct index_mailbox above = {0}, box = {0};
	struct inherit in = {.s = s};
	enum err e = OK;

	if (from.len == 0)
		return OK;
	e = index_mailbox_get(s->index, from, &above);
	/* For a guest roost-index does it. */
	if (!e && index_mailbox_is_shared(above.id))
		name.len = 0;
	/* The levels between them were made too. */
	for (; !e && name.len > from.len; name = imap_rights_parent(name)) {
		e = index_mailbox_get(s->index, name, &box);
		in.to = box.id;
		index_mailbox_free(&box);
		if (!e)
			e = index_acl_each(s->index, above.id, inherit_visit, &in);
	}
	index_mailbox_free(&above);
	return e;
}

enum err
imap_rights_selected(struct imap_session *s)
{
	unsigned before = s->rights;
	enum err e = imap_rights_get(s, s->mailbox, &s->rights, NULL);

	if (e)
		s->rights = before;
	else if (index_rights_flags(before) != index_rights_flags(s->rights))
		imap_send_mailbox_flags(s);
	return e;
}
