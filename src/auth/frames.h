/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_FRAMES_H
#define ROOST_AUTH_FRAMES_H

#include <stdint.h>

#include "auth/auth_client.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The bodies of auth_proto.h's requests, taken apart and checked, and those of its answers. All
 * slices are borrowed from the body. Every parser: E_PROTO for a body that breaks the format,
 * E_TOOBIG for a field over its bound.
 */
enum {
	FRAME_BODY_MAX = 128 * 1024, /* of any request */
	FRAME_RESPONSE_MAX = 16 * 1024, /* a SASL response */
	FRAME_WORD_MAX = 64, /* service, mechanism */
	FRAME_PEER_MAX = 128,
	FRAME_SESSION_MAX = 128,
	FRAME_TOKEN_MAX = 4096, /* longer than any good one */
	FRAME_BINDING_MAX = 64,
	FRAME_RESUME_MAX = 1024,
	FRAME_USER_MAX = 512,
	FRAME_ADDRESS_MAX = 4096, /* longer than any good one: the resolver says what is wrong */
};

struct frame_start {
	struct str service, mechanism, initial, peer, local, session;
	struct str exporter, unique; /* channel bindings */
	struct str certificate_user;
	int has_initial, tls;
};
enum err frame_start_parse(struct str body, struct frame_start *out);
enum err frame_continue_parse(struct str body, struct str *data);

struct frame_redeem {
	struct str token, service, session;
};
enum err frame_redeem_parse(struct str body, struct frame_redeem *out);
enum err frame_resume_parse(struct str body, struct str *resume, struct str *session);
/* LOOKUP_RCPT, LOOKUP_USER. */
enum err frame_address_parse(struct str body, struct str *address);
enum err frame_may_send_parse(struct str body, struct str *user, struct str *address);

void frame_user_put(struct buf *b, const struct auth_user *u, const char *detail);
void frame_rcpt_put(struct buf *b, const struct auth_rcpt *r);
/* AUTH_ERROR and AUTH_FAILED. */
void frame_error_put(struct buf *b, enum err e, const char *text);

#endif
