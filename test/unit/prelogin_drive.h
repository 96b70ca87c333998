/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_PRELOGIN_DRIVE_H
#define ROOST_TEST_PRELOGIN_DRIVE_H

/*
 * Drives a pre-login machine with arbitrary bytes: the first two say how it is set up and what auth
 * answers, the rest comes from the client in pieces. For fuzz targets.
 */
#include "lib/log.h"
#include "prelogin_fake.h"

static inline void
drive_auth(struct fake *f, unsigned choice)
{
	switch (choice % 7) {
	case 0:
		prelogin_auth_done(&f->p, STR("u@example.test"), STR("token"), (struct str){0});
		break;
	case 1:
		prelogin_auth_done(&f->p, STR("u@example.test"), STR("token"), STR("v=data"));
		break;
	case 2:
	case 3:
		prelogin_auth_challenge(&f->p, STR("challenge"));
		break;
	case 4:
		if (f->p.proto->moved)
			prelogin_auth_moved(&f->p, STR("u]\r\n@x"), STR("h"));
		else
			prelogin_auth_failed(&f->p, E_ACCESS);
		break;
	case 5:
		prelogin_auth_failed(&f->p, E_TEMPFAIL);
		break;
	default:
		prelogin_auth_failed(&f->p, E_AUTH);
		break;
	}
}

static inline void
prelogin_drive(const struct prelogin_protocol *proto, const uint8_t *data, size_t size)
{
	struct fake f;
	struct buf out = {0};
	unsigned choice;

	if (size < 2)
		return;
	choice = data[1];
	fake_init(&f, proto, data[0] & 1, data[0] >> 1 & 1);
	size_t piece = (data[0] >> 2 & 15) + 1u;
	struct str rest = str_make((const char *)data + 2, size - 2);
	prelogin_greet(&f.p);
	while (rest.len > 0) {
		size_t n = rest.len < piece ? rest.len : piece;
		fake_feed(&f, str_make(rest.p, n), &out);
		rest.p += n;
		rest.len -= n;
		ROOST_ASSERT(f.p.in.len <= f.p.in.max);
		ROOST_ASSERT(f.p.in.err == OK);
		if (f.p.state == PRELOGIN_AUTH) {
			drive_auth(&f, choice);
			choice = choice * 5 + 1;
		}
		if (f.p.state == PRELOGIN_HANDOVER) {
			ROOST_ASSERT(f.handed_over);
			prelogin_handover_failed(&f.p);
		}
		if (f.p.state == PRELOGIN_CLOSED)
			break;
		buf_reset(&out);
	}
	buf_free(&out);
	fake_fini(&f);
}

#endif
