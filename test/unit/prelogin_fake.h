/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_PRELOGIN_FAKE_H
#define ROOST_TEST_PRELOGIN_FAKE_H

/*
 * A host for the pre-login machines without sockets, for tests and fuzz targets: what the machine
 * asks for is written down in calls, "tls auth(PLAIN,1,\0a\0b) continue(x) abort handover", NUL as
 * "\0".
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/prelogin.h"

struct fake {
	struct prelogin p;
	struct config *conf;
	struct buf calls;
	struct buf trace; /* "C:" or "S:" and what was said; "?:" for what is no command */
	int tls_asked, auth_under_way, handed_over;
};

static inline void
fake_note(struct fake *f, const char *name, struct str data)
{
	if (f->calls.len > 0)
		buf_add_char(&f->calls, ' ');
	buf_add_cstr(&f->calls, name);
	if (data.p) {
		buf_add_char(&f->calls, '(');
		for (size_t i = 0; i < data.len; i++) {
			if (data.p[i] == '\0')
				buf_add_cstr(&f->calls, "\\0");
			else
				buf_add_char(&f->calls, data.p[i]);
		}
		buf_add_char(&f->calls, ')');
	}
}

static inline void
fake_start_tls(struct prelogin *p)
{
	struct fake *f = p->host_arg;

	f->tls_asked = 1;
	fake_note(f, "tls", (struct str){0});
}

static inline void
fake_auth_start(struct prelogin *p, struct str mechanism, int has_initial, struct str initial)
{
	struct fake *f = p->host_arg;
	struct buf text = {0};

	f->auth_under_way = 1;
	buf_add_str(&text, mechanism);
	buf_add_cstr(&text, has_initial ? ",1," : ",0,");
	buf_add_str(&text, initial);
	fake_note(f, "auth", buf_str(&text));
	buf_free(&text);
}

static inline void
fake_auth_continue(struct prelogin *p, struct str response)
{
	fake_note(p->host_arg, "continue", response.p ? response : STR(""));
}

static inline void
fake_auth_abort(struct prelogin *p)
{
	struct fake *f = p->host_arg;

	f->auth_under_way = 0;
	fake_note(f, "abort", (struct str){0});
}

static inline void
fake_handover(struct prelogin *p)
{
	struct fake *f = p->host_arg;

	f->handed_over = 1;
	fake_note(f, "handover", (struct str){0});
}

static inline void
fake_heard(struct prelogin *p, struct str bytes, int unclear)
{
	struct fake *f = p->host_arg;

	buf_printf(&f->trace, "%s%.*s", unclear ? "?:" : "C:", STR_ARG(bytes));
}

static inline void
fake_said(struct prelogin *p, struct str bytes)
{
	struct fake *f = p->host_arg;

	buf_printf(&f->trace, "S:%.*s", STR_ARG(bytes));
}

static inline void
fake_init(struct fake *f, const struct prelogin_protocol *proto, int tls, int loopback)
{
	static const char *const fake_mechanisms[PRELOGIN_CHANNELS] = {
		"PLAIN LOGIN", "PLAIN LOGIN", ""};
	static const struct prelogin_host host = {fake_start_tls, fake_auth_start,
		fake_auth_continue, fake_auth_abort, fake_handover, fake_heard, fake_said};

	memset(f, 0, sizeof *f);
	f->conf = conf_defaults("/nonexistent");
	conf_set(f->conf, "hostname", "mx.example.test", NULL);
	prelogin_init(&f->p, proto, &host, f, f->conf);
	f->p.session_id = "0123456789abcdef";
	f->p.mechanisms = fake_mechanisms;
	f->p.tls = tls;
	f->p.tls_available = !tls;
	f->p.loopback = loopback;
}

static inline void
fake_fini(struct fake *f)
{
	prelogin_fini(&f->p);
	buf_free(&f->calls);
	buf_free(&f->trace);
	conf_free(&f->conf);
}

/* As client.c does it: in pieces no larger than there is room for; output is sent at once. */
static inline void
fake_feed(struct fake *f, struct str bytes, struct buf *out)
{
	for (;;) {
		size_t room = prelogin_input_room(&f->p), n = bytes.len < room ? bytes.len : room;

		buf_add(&f->p.in, bytes.p, n);
		bytes.p += n;
		bytes.len -= n;
		size_t before = f->p.in.len;
		prelogin_input(&f->p);
		size_t said = f->p.out.len;
		buf_add_buf(out, &f->p.out);
		prelogin_trace_said(&f->p);
		prelogin_sent(&f->p, said);
		if (f->tls_asked) {
			/* The handshake: what is left of this packet must not be seen. */
			f->tls_asked = 0;
			prelogin_tls_started(&f->p);
			return;
		}
		if (bytes.len == 0 && said == 0)
			return;
		if (n == 0 && said == 0 && f->p.in.len == before)
			return;
	}
}

#endif
