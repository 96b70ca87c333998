/* SPDX-License-Identifier: MIT */
#include "auth/lookup_answer.h"

#include <stdio.h>
#include <string.h>

#include "lib/ipc.h"

void
lookup_answer_fini(struct lookup_answer *a)
{
	buf_free(&a->rcpt);
}

int
lookup_question(enum auth_frame type, struct str user, struct str address, char *text)
{
	/* The length keeps the two apart. */
	snprintf(text, LOOKUP_QUESTION_SIZE, "%d:%zu:%.*s%.*s", (int)type, user.len, STR_ARG(user),
		STR_ARG(address));
	return type == AUTH_LOOKUP_RCPT || type == AUTH_LOOKUP_USER || type == AUTH_MAY_SEND_AS;
}

void
lookup_answer_set_rcpt(struct lookup_answer *a, const struct auth_rcpt *rcpt)
{
	frame_rcpt_put(&a->rcpt, rcpt);
	a->is_good = rcpt->kind == AUTH_RCPT_MAILBOX || rcpt->kind == AUTH_RCPT_ALIAS;
}

int
lookup_answer_is_lasting(const struct lookup_answer *a)
{
	return a->result == OK || a->result == E_NOTFOUND || a->result == E_ACCESS;
}

void
lookup_answer_pack(enum auth_frame type, const struct lookup_answer *a, struct buf *out)
{
	ipc_put_u32(out, (uint32_t)a->result);
	ipc_put_u8(out, a->is_good != 0);
	if (a->result)
		return;
	if (type == AUTH_LOOKUP_RCPT) {
		buf_add_buf(out, &a->rcpt);
	} else if (type == AUTH_LOOKUP_USER) {
		ipc_put_cstr(out, a->mailbox.name);
		ipc_put_u64(out, a->mailbox.quota_bytes);
		ipc_put_u64(out, a->mailbox.quota_messages);
		ipc_put_cstr(out, a->mailbox.quota_rules);
		ipc_put_cstr(out, a->mailbox.acl_groups);
		ipc_put_cstr(out, a->detail);
		ipc_put_cstr(out, a->moved_to);
	}
}

enum err
lookup_answer_unpack(enum auth_frame type, struct str packed, struct lookup_answer *a)
{
	struct ipc_reader r = ipc_reader_of(packed);

	memset(a, 0, sizeof(*a));
	a->result = (enum err)ipc_get_u32(&r);
	a->is_good = ipc_get_u8(&r);
	if (r.err || a->result)
		return ipc_reader_end(&r);
	if (type == AUTH_LOOKUP_RCPT) {
		buf_add(&a->rcpt, r.p, r.len);
		return OK;
	}
	if (type == AUTH_LOOKUP_USER) {
		ipc_get_text(&r, a->mailbox.name, sizeof(a->mailbox.name));
		a->mailbox.quota_bytes = ipc_get_u64(&r);
		a->mailbox.quota_messages = ipc_get_u64(&r);
		ipc_get_text(&r, a->mailbox.quota_rules, sizeof(a->mailbox.quota_rules));
		ipc_get_text(&r, a->mailbox.acl_groups, sizeof(a->mailbox.acl_groups));
		ipc_get_text(&r, a->detail, sizeof(a->detail));
		ipc_get_text(&r, a->moved_to, sizeof(a->moved_to));
	}
	return ipc_reader_end(&r);
}
