/* SPDX-License-Identifier: MIT */
/* The client's side of a SASL exchange (RFC 4422), alike in IMAP, POP3 and SMTP. */
#include <stdlib.h>

#include "auth/base64.h"
#include "lib/mem.h"
#include "proxy/prelogin.h"

enum { MECHANISM_MAX = 20 /* RFC 4422 section 3.1 */ };

/* RFC 4422 section 3.1: 1 to 20 of A-Z 0-9 - _; written in any case by clients. */
static int
mechanism_upper(struct str mechanism, char out[MECHANISM_MAX])
{
	if (mechanism.len == 0 || mechanism.len > MECHANISM_MAX)
		return 0;
	for (size_t i = 0; i < mechanism.len; i++) {
		char c = mechanism.p[i];
		if (!str_is_alnum(c) && c != '-' && c != '_')
			return 0;
		out[i] = str_upper(c);
	}
	return 1;
}

static int
is_listed(struct str name, const char *mechanisms)
{
	struct str list = str_of(mechanisms);

	while (list.p)
		if (str_equal(str_split(&list, ' '), name))
			return 1;
	return 0;
}

void
sasl_begin(struct prelogin *p, struct str mechanism, int has_initial, struct str initial)
{
	char name[MECHANISM_MAX];
	struct buf decoded = BUF_INIT(p->in.max);

	if (!mechanism_upper(mechanism, name)) {
		prelogin_reply(p, REPLY_AUTH_MECHANISM);
		prelogin_error(p);
		return;
	}
	/* What is offered nowhere is for auth to refuse. */
	if (!is_listed(str_make(name, mechanism.len), prelogin_mechanisms(p)) &&
		(!prelogin_may_auth(p) || is_listed(str_make(name, mechanism.len),
						  p->mechanisms[PRELOGIN_CHANNEL_TLS])) &&
		!p->tls) {
		prelogin_reply(p, REPLY_NEED_TLS);
		prelogin_error(p);
		return;
	}
	if (has_initial && !str_is(initial, "=") &&
		(initial.len == 0 || sasl_base64_decode(initial, &decoded))) {
		prelogin_reply(p, REPLY_BAD_BASE64);
		prelogin_error(p);
	} else {
		prelogin_set_state(p, PRELOGIN_AUTH);
		MEM_FREE(p->mechanism);
		p->mechanism = str_dup(str_make(name, mechanism.len));
		p->host->auth_start(
			p, str_make(name, mechanism.len), has_initial, buf_str(&decoded));
	}
	buf_wipe(&decoded);
	buf_free(&decoded);
}

void
sasl_begin_own(struct prelogin *p, const char *mechanism, struct str message)
{
	prelogin_set_state(p, PRELOGIN_AUTH);
	p->host->auth_start(p, str_of(mechanism), 1, message);
}

void
sasl_begin_plain(struct prelogin *p, struct str user, struct str password)
{
	struct buf message = {0};

	if (!prelogin_may_auth(p)) {
		prelogin_reply(p, REPLY_NEED_TLS);
		prelogin_error(p);
		return;
	}
	prelogin_set_state(p, PRELOGIN_AUTH);
	MEM_FREE(p->mechanism);
	buf_add_char(&message, '\0');
	buf_add_str(&message, user);
	buf_add_char(&message, '\0');
	buf_add_str(&message, password);
	p->host->auth_start(p, STR("PLAIN"), 1, buf_str(&message));
	buf_wipe(&message);
	buf_free(&message);
}

/* The client has read the success data and answers with an empty line. */
static void
final_line(struct prelogin *p, struct str line, size_t used)
{
	int empty = line.len == 0, cancelled = str_is(line, "*");

	prelogin_consume(p, used);
	if (empty) {
		prelogin_set_state(p, PRELOGIN_HANDOVER);
		p->proto->success(p);
		p->host->handover(p);
		return;
	}
	MEM_FREE(p->token);
	prelogin_set_state(p, PRELOGIN_COMMAND);
	prelogin_reply(p, cancelled ? REPLY_CANCELLED : REPLY_BAD_BASE64);
	prelogin_error(p);
}

/* The exchange ends by the client's fault. */
static void
give_up(struct prelogin *p, enum prelogin_reply why)
{
	p->host->auth_abort(p);
	prelogin_set_state(p, PRELOGIN_COMMAND);
	prelogin_reply(p, why);
	prelogin_error(p);
}

int
sasl_line(struct prelogin *p)
{
	struct str line;
	size_t used;
	struct buf decoded = BUF_INIT(p->in.max);

	if (!prelogin_line(p, &line, &used))
		return 0;
	if (p->state == PRELOGIN_SASL_FINAL) {
		final_line(p, line, used);
		return 1;
	}
	if (str_is(line, "*")) {
		give_up(p, REPLY_CANCELLED);
	} else if (sasl_base64_decode(line, &decoded)) {
		give_up(p, REPLY_BAD_BASE64);
	} else {
		prelogin_set_state(p, PRELOGIN_AUTH);
		p->host->auth_continue(p, buf_str(&decoded));
	}
	prelogin_consume(p, used);
	buf_wipe(&decoded);
	buf_free(&decoded);
	return 1;
}
