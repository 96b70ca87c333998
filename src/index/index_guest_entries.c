/* SPDX-License-Identifier: MIT */
#include "index/index_guest_private.h"

#include <stdlib.h>

#include "index/core_guest.h"
#include "mail/rights.h"

/* What a guest asks of the annotations (RFC 5464) and the rights (RFC 4314) of a mailbox. */

struct listing {
	struct buf body;
	uint32_t n;
	const char *prefix;
};

static void
list_one(struct str name, struct str value, void *arg)
{
	struct listing *l = arg;

	if (l->prefix && !str_starts_i(name, l->prefix))
		return;
	ipc_put_str(&l->body, name);
	ipc_put_str(&l->body, value);
	l->n++;
}

static enum err
entries_get(struct index_conn *c, uint32_t request, struct ipc_reader *r, int acl)
{
	struct listing l = {.prefix = acl ? NULL : "/shared/"};
	uint32_t mailbox = ipc_get_u32(r);
	struct buf body = {0};
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_guest_need(c, mailbox, acl ? RIGHT_ADMIN : RIGHT_READ);
	if (e == OK)
		e = core_guest_entries(c->user->core, mailbox, acl, list_one, &l);
	if (e == OK) {
		ipc_put_u32(&body, l.n);
		(void)buf_add_buf(&body, &l.body);
		index_answer_send(c, INDEX_ENTRIES, request, &body);
	}
	buf_free(&l.body);
	return e;
}

enum err
index_guest_acl_get(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	return entries_get(c, request, r, 1);
}

enum err
index_guest_acl_set(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct index_acl_change acl;
	enum err e = index_frame_get_acl(r, &acl);

	if (e == OK)
		e = index_guest_need(c, acl.mailbox, RIGHT_ADMIN);
	/* What guards the mailbox against its owner's programs is his. */
	if (e == OK && (str_is_i(acl.identifier, RIGHTS_OWNER) ||
			       str_is_i(acl.identifier, RIGHTS_NOT_OWNER)))
		e = E_ACCESS;
	if (e == OK)
		e = index_core_acl_set(
			c->user->core, acl.mailbox, acl.identifier, acl.op, acl.rights);
	if (e == OK)
		e = index_guest_tree_changed(c);
	if (e == OK) {
		index_guest_settle_all(c->user);
		index_answer_ok(c, request);
	}
	return e;
}

enum err
index_guest_metadata_get(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	return entries_get(c, request, r, 0);
}

enum err
index_guest_metadata_set(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct index_metadata *list;
	uint32_t mailbox, n;
	enum err e = index_frame_get_metadata(r, &mailbox, &list, &n);

	/* RFC 5464 section 4.3: "w" for what all see; the private ones are the owner's. */
	if (e == OK)
		e = mailbox ? index_guest_need(c, mailbox, RIGHT_READ | RIGHT_WRITE) : E_ACCESS;
	for (uint32_t i = 0; i < n && e == OK; i++)
		if (!str_starts_i(list[i].name, "/shared/"))
			e = E_ACCESS;
	if (e == OK)
		e = index_core_metadata_set(c->user->core, mailbox, list, n);
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK)
		index_answer_ok(c, request);
	free(list);
	return e;
}
