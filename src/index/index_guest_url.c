/* SPDX-License-Identifier: MIT */
#include "index/index_guest_private.h"

#include "index/core_guest.h"
#include "lib/hex.h"
#include "mail/rights.h"

/*
 * URLs with an authorization (RFC 4467) of a mailbox that a guest may read. The keys are in his own
 * table; what is asked here is whether the owner's mailbox is one to make a URL of, and that his
 * other sessions hear of a new key.
 */

enum err
index_guest_url_may(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	const struct rights_who who = core_guest_who(index_guest_core(c->guest));
	uint32_t mailbox = ipc_get_u32(r);
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_guest_need(c, mailbox, RIGHT_READ);
	if (e == OK && !index_core_url_guest_may(c->user->core, mailbox, who.user))
		e = E_UNSUPPORTED;
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

enum err
index_guest_url_told(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str hex = ipc_get_str(r);
	unsigned char object_id[16];
	uint32_t mailbox;
	uint64_t modseq;
	enum err e = ipc_reader_end(r);

	if (e == OK && !hex_read(hex, object_id, sizeof(object_id)))
		e = E_PROTO;
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK)
		e = index_guest_failed(
			c, core_guest_url_reset(c->user->core, index_guest_core(c->guest),
				   object_id, &mailbox, &modseq));
	if (e)
		return e;
	index_guest_told(c, mailbox, modseq);
	index_answer_ok(c, request);
	return OK;
}
