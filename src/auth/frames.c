/* SPDX-License-Identifier: MIT */
#include "auth/frames.h"

#include <string.h>

#include "lib/ipc.h"

static struct str
get_bounded(struct ipc_reader *r, size_t max, int *too_big)
{
	struct str s = ipc_get_str(r);

	if (s.len > max)
		*too_big = 1;
	return s;
}

static enum err
finish(const struct ipc_reader *r, int too_big)
{
	enum err e = ipc_reader_end(r);

	return e ? e : too_big ? E_TOOBIG : OK;
}

enum err
frame_start_parse(struct str body, struct frame_start *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	int too_big = 0;

	memset(out, 0, sizeof(*out));
	out->service = get_bounded(&r, FRAME_WORD_MAX, &too_big);
	out->mechanism = get_bounded(&r, FRAME_WORD_MAX, &too_big);
	out->has_initial = ipc_get_u8(&r) != 0;
	out->initial = get_bounded(&r, FRAME_RESPONSE_MAX, &too_big);
	out->peer = get_bounded(&r, FRAME_PEER_MAX, &too_big);
	out->local = get_bounded(&r, FRAME_PEER_MAX, &too_big);
	out->tls = ipc_get_u8(&r) != 0;
	out->session = get_bounded(&r, FRAME_SESSION_MAX, &too_big);
	out->exporter = get_bounded(&r, FRAME_BINDING_MAX, &too_big);
	out->unique = get_bounded(&r, FRAME_BINDING_MAX, &too_big);
	out->certificate_user = get_bounded(&r, FRAME_USER_MAX, &too_big);
	return finish(&r, too_big);
}

enum err
frame_continue_parse(struct str body, struct str *data)
{
	struct ipc_reader r = ipc_reader_of(body);
	int too_big = 0;

	*data = get_bounded(&r, FRAME_RESPONSE_MAX, &too_big);
	return finish(&r, too_big);
}

enum err
frame_redeem_parse(struct str body, struct frame_redeem *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	int too_big = 0;

	out->token = get_bounded(&r, FRAME_TOKEN_MAX, &too_big);
	out->service = get_bounded(&r, FRAME_WORD_MAX, &too_big);
	out->session = get_bounded(&r, FRAME_SESSION_MAX, &too_big);
	return finish(&r, too_big);
}

enum err
frame_resume_parse(struct str body, struct str *resume, struct str *session)
{
	struct ipc_reader r = ipc_reader_of(body);
	int too_big = 0;

	*resume = get_bounded(&r, FRAME_RESUME_MAX, &too_big);
	*session = get_bounded(&r, FRAME_SESSION_MAX, &too_big);
	return finish(&r, too_big);
}

enum err
frame_address_parse(struct str body, struct str *address)
{
	struct ipc_reader r = ipc_reader_of(body);
	int too_big = 0;

	*address = get_bounded(&r, FRAME_ADDRESS_MAX, &too_big);
	return finish(&r, too_big);
}

enum err
frame_may_send_parse(struct str body, struct str *user, struct str *address)
{
	struct ipc_reader r = ipc_reader_of(body);
	int too_big = 0;

	*user = get_bounded(&r, FRAME_ADDRESS_MAX, &too_big);
	*address = get_bounded(&r, FRAME_ADDRESS_MAX, &too_big);
	return finish(&r, too_big);
}

void
frame_user_put(struct buf *b, const struct auth_user *u, const char *detail)
{
	ipc_put_cstr(b, u->name);
	ipc_put_cstr(b, u->home);
	ipc_put_cstr(b, u->ticket);
	ipc_put_u64(b, u->quota_bytes);
	ipc_put_u64(b, u->quota_messages);
	ipc_put_cstr(b, u->quota_rules ? u->quota_rules : "");
	ipc_put_cstr(b, detail);
	ipc_put_str(b, buf_str(&u->resume));
	ipc_put_cstr(b, u->moved_to ? u->moved_to : "");
}

void
frame_rcpt_put(struct buf *b, const struct auth_rcpt *r)
{
	ipc_put_u8(b, (uint8_t)r->kind);
	ipc_put_cstr(b, r->mailbox);
	ipc_put_cstr(b, r->detail);
	ipc_put_u32(b, (uint32_t)r->target_count);
	for (size_t i = 0; i < r->target_count; i++) {
		ipc_put_cstr(b, r->targets[i].address);
		ipc_put_u8(b, r->targets[i].local ? 1 : 0);
	}
}

void
frame_error_put(struct buf *b, enum err e, const char *text)
{
	ipc_put_u32(b, (uint32_t)e);
	ipc_put_cstr(b, text);
}
