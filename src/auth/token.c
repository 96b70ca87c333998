/* SPDX-License-Identifier: MIT */
#include "auth/token.h"

#include <stdlib.h>
#include <string.h>

#include "auth/seal.h"
#include "lib/hex.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/mem.h"

static const char label[] = "login-token";

enum { NONCE_BYTES = 16 };

/* ---- what is in a token ---- */

/* What it is bound to. */
static void
put_context(struct buf *b, const struct token_use *use)
{
	ipc_put_str(b, use->service);
	ipc_put_str(b, use->session);
}

static void
put_body(struct buf *b, const struct cache_user *user, int64_t expires_ms)
{
	char nonce[2 * NONCE_BYTES + 1];

	io_random_hex(nonce, NONCE_BYTES);
	ipc_put_cstr(b, nonce);
	ipc_put_u64(b, (uint64_t)expires_ms);
	ipc_put_cstr(b, user->name);
	ipc_put_u64(b, user->quota_bytes);
	ipc_put_u64(b, user->quota_messages);
	ipc_put_u32(b, user->max_connections);
	ipc_put_u32(b, user->max_connections_per_ip);
	ipc_put_cstr(b, user->quota_rules);
	ipc_put_cstr(b, user->acl_groups);
}

static enum err
get_body(struct str body, struct cache_user *user, int64_t *expires_ms)
{
	struct ipc_reader r = ipc_reader_of(body);

	ipc_get_str(&r); /* the nonce */
	*expires_ms = (int64_t)ipc_get_u64(&r);
	ipc_get_text(&r, user->name, sizeof(user->name));
	user->quota_bytes = ipc_get_u64(&r);
	user->quota_messages = ipc_get_u64(&r);
	user->max_connections = ipc_get_u32(&r);
	user->max_connections_per_ip = ipc_get_u32(&r);
	ipc_get_text(&r, user->quota_rules, sizeof(user->quota_rules));
	ipc_get_text(&r, user->acl_groups, sizeof(user->acl_groups));
	return ipc_reader_end(&r) ? E_NOTFOUND : OK;
}

enum err
token_issue(
	const struct token_use *use, const struct cache_user *user, int64_t now_ms, struct buf *out)
{
	struct buf context = {0}, body = {0}, sealed = {0};
	enum err e;

	put_context(&context, use);
	put_body(&body, user, now_ms + AUTH_TOKEN_LIFETIME_MS);
	e = seal_make(use->key_hex, label, buf_str(&context), buf_str(&body), &sealed);
	(void)hex_add(sealed.p, sealed.len, out);
	buf_free(&context);
	buf_free(&body);
	buf_wipe(&sealed);
	buf_free(&sealed);
	return e;
}

/* ---- redeeming ---- */

static enum err
bytes_of(struct str token, struct buf *out)
{
	size_t len = token.len / 2;

	if (token.len > TOKEN_TEXT_MAX || len < SEAL_BYTES || buf_reserve(out, len) ||
		!hex_read(token, out->p, len))
		return E_NOTFOUND;
	out->len = len;
	return OK;
}

enum err
token_redeem(struct token_used *t, const struct token_use *use, struct str token, int64_t now_ms,
	struct cache_user *out)
{
	struct buf context = {0}, sealed = {0};
	struct str body;
	int64_t expires_ms = 0;
	enum err e = bytes_of(token, &sealed);

	memset(out, 0, sizeof(*out));
	put_context(&context, use);
	if (!e && seal_open(use->key_hex, label, buf_str(&context), buf_str(&sealed), &body))
		e = E_NOTFOUND;
	if (!e)
		e = get_body(body, out, &expires_ms);
	/* It begins with the seal, which no two tokens share. */
	if (!e && (expires_ms <= now_ms || !token_used_mark(t, sealed.p, expires_ms, now_ms)))
		e = E_NOTFOUND;
	if (e)
		memset(out, 0, sizeof(*out));
	buf_free(&context);
	buf_wipe(&sealed);
	buf_free(&sealed);
	return e;
}
