/* SPDX-License-Identifier: MIT */
#include "lib/session.h"

#include <stdlib.h>
#include <string.h>

#include "lib/ipc.h"
#include "lib/mem.h"

static void
put_addr(struct buf *b, const struct net_addr *a)
{
	ipc_put_str(b, str_make((const char *)&a->sa, a->len));
}

static void
get_addr(struct ipc_reader *r, struct net_addr *a)
{
	struct str bytes = ipc_get_str(r);

	memset(a, 0, sizeof(*a));
	if (bytes.len > sizeof(a->sa)) {
		r->err = E_PROTO;
		return;
	}
	if (bytes.len)
		memcpy(&a->sa, bytes.p, bytes.len);
	a->len = (socklen_t)bytes.len;
}

static char *
get_bytes(struct ipc_reader *r, size_t *len)
{
	struct str bytes = ipc_get_str(r);

	*len = bytes.len;
	return str_dup(bytes);
}

void
session_info_put(struct buf *body, const struct session_info *info)
{
	ipc_put_cstr(body, info->id);
	ipc_put_cstr(body, info->service);
	put_addr(body, &info->peer);
	put_addr(body, &info->local);
	ipc_put_u8(body, info->tls != 0);
	ipc_put_cstr(body, info->tls_text);
	ipc_put_cstr(body, info->cert_fingerprint);
	ipc_put_u8(body, info->cert_verified != 0);
	ipc_put_cstr(body, info->user);
	ipc_put_cstr(body, info->token);
	ipc_put_cstr(body, info->tag);
	ipc_put_cstr(body, info->helo);
	ipc_put_u8(body, info->esmtp != 0);
	ipc_put_u8(body, info->utf8 != 0);
	ipc_put_u8(body, info->fresh != 0);
	ipc_put_str(body, str_make(info->input, info->input_len));
	ipc_put_str(body, str_make(info->back, info->back_len));
	ipc_put_u64(body, info->since);
	ipc_put_str(body, str_make(info->resume, info->resume_len));
	ipc_put_str(body, str_make(info->state, info->state_len));
	ipc_put_u64(body, info->bytes_in);
	ipc_put_u64(body, info->bytes_out);
}

enum err
session_info_get(struct str body, struct session_info *out)
{
	struct ipc_reader r = ipc_reader_of(body);

	memset(out, 0, sizeof(*out));
	out->id = ipc_get_dup(&r);
	out->service = ipc_get_dup(&r);
	get_addr(&r, &out->peer);
	get_addr(&r, &out->local);
	out->tls = ipc_get_u8(&r);
	out->tls_text = ipc_get_dup(&r);
	out->cert_fingerprint = ipc_get_dup(&r);
	out->cert_verified = ipc_get_u8(&r);
	out->user = ipc_get_dup(&r);
	out->token = ipc_get_dup(&r);
	out->tag = ipc_get_dup(&r);
	out->helo = ipc_get_dup(&r);
	out->esmtp = ipc_get_u8(&r);
	out->utf8 = ipc_get_u8(&r);
	out->fresh = ipc_get_u8(&r);
	out->input = get_bytes(&r, &out->input_len);
	out->back = get_bytes(&r, &out->back_len);
	out->since = ipc_get_u64(&r);
	out->resume = get_bytes(&r, &out->resume_len);
	out->state = get_bytes(&r, &out->state_len);
	out->bytes_in = ipc_get_u64(&r);
	out->bytes_out = ipc_get_u64(&r);
	return ipc_reader_end(&r);
}

void
session_info_free(struct session_info *info)
{
	free(info->id);
	free(info->service);
	free(info->tls_text);
	free(info->cert_fingerprint);
	free(info->user);
	/* The token opens a mailbox as long as nobody has redeemed it. */
	if (info->token)
		explicit_bzero(info->token, strlen(info->token));
	free(info->token);
	free(info->tag);
	free(info->helo);
	free(info->input);
	free(info->back);
	free(info->resume);
	free(info->state);
	memset(info, 0, sizeof(*info));
}
