/* SPDX-License-Identifier: MIT */
#include "auth/auth_channel.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"

enum { CONNECT_TIMEOUT_MS = 5000, TRIES = 2 };

static enum err
channel_open(struct auth_channel *ch, const char *path)
{
	enum err e;

	if (ch->fd >= 0)
		return OK;
	e = net_connect_unix(path, CONNECT_TIMEOUT_MS, &ch->fd);
	if (e) {
		ch->fd = -1;
		log_event(LOGL_WARN, "auth.connect fail", "socket", ch->name, "error", err_word(e),
			NULL);
	}
	return e;
}

static void
drop_expected(struct auth_channel *ch)
{
	for (size_t i = ch->next; i < ch->expected_count; i++)
		buf_free(&ch->expected[i].body);
	MEM_FREE(ch->expected);
	ch->expected_count = ch->next = 0;
	buf_free(&ch->unsent);
}

void
auth_channel_close(struct auth_channel *ch)
{
	drop_expected(ch);
	buf_wipe(&ch->in);
	buf_free(&ch->in);
	io_close(&ch->fd);
}

/* ---- one question ---- */

/* The answer to this request. */
static enum err
channel_take(struct auth_channel *ch, uint32_t request, struct ipc_msg *answer, int timeout_ms)
{
	enum err e;

	while ((e = ipc_frame_take(&ch->in, answer)) == E_NOTFOUND) {
		e = ipc_frames_read(ch->fd, &ch->in, timeout_ms);
		if (e)
			return e;
	}
	/* There may be tickets in it. */
	if (ch->in.len == 0)
		buf_wipe(&ch->in);
	if (!e && answer->request != request) {
		ipc_msg_free(answer);
		e = E_PROTO;
	}
	return e;
}

static enum err
channel_exchange(struct auth_channel *ch, uint16_t type, struct str body, struct ipc_msg *answer,
	int timeout_ms)
{
	uint32_t request = ++ch->request;
	enum err e = ipc_send(ch->fd, type, request, body, NULL, 0, timeout_ms);

	return e ? e : channel_take(ch, request, answer, timeout_ms);
}

static void
channel_failed(struct auth_channel *ch, enum err e)
{
	auth_channel_close(ch);
	log_event(LOGL_WARN, "auth.ask fail", "socket", ch->name, "error", err_word(e), NULL);
}

/* ---- questions that were expected ---- */

void
auth_channel_expect(struct auth_channel *ch, uint16_t type, struct str body)
{
	struct auth_expected *x;

	if (ch->expected_count == AUTH_EXPECTED_MAX)
		return;
	if (!ch->expected)
		ch->expected = mem_zalloc(AUTH_EXPECTED_MAX * sizeof(*ch->expected));
	x = &ch->expected[ch->expected_count++];
	*x = (struct auth_expected){.type = type, .request = ++ch->request};
	buf_add_str(&x->body, body);
	ipc_frame_put(&ch->unsent, type, x->request, body);
}

void
auth_channel_expect_none(struct auth_channel *ch)
{
	if (ch->expected_count == 0)
		return;
	/* Sent in part or not at all; what was sent will be answered. */
	if (ch->unsent.len)
		drop_expected(ch);
	else
		auth_channel_close(ch);
}

/* OK: it was expected, and *answer is set. E_NOTFOUND: it was not. */
static enum err
take_expected(struct auth_channel *ch, const char *path, uint16_t type, struct str body,
	struct ipc_msg *answer, int timeout_ms)
{
	struct auth_expected *x;
	enum err e = OK;

	if (ch->expected_count == 0)
		return E_NOTFOUND;
	x = &ch->expected[ch->next];
	if (x->type != type || !str_equal(buf_str(&x->body), body)) {
		auth_channel_expect_none(ch);
		return E_NOTFOUND;
	}
	if (ch->unsent.len) {
		e = channel_open(ch, path);
		if (!e)
			e = ipc_frames_send(ch->fd, buf_str(&ch->unsent), timeout_ms);
		buf_reset(&ch->unsent);
	}
	if (!e)
		e = channel_take(ch, x->request, answer, timeout_ms);
	if (e) {
		channel_failed(ch, e);
		return e;
	}
	buf_free(&x->body);
	if (++ch->next == ch->expected_count)
		drop_expected(ch);
	return OK;
}

enum err
auth_channel_ask(struct auth_channel *ch, const char *path, uint16_t type, struct str body,
	struct ipc_msg *answer, int timeout_ms)
{
	enum err e = take_expected(ch, path, type, body, answer, timeout_ms);

	if (e == OK)
		return OK;
	for (int tries = e == E_NOTFOUND ? 0 : 1; tries < TRIES && e != E_TIMEOUT; tries++) {
		e = channel_open(ch, path);
		if (e)
			break;
		e = channel_exchange(ch, type, body, answer, timeout_ms);
		if (!e)
			return OK;
		channel_failed(ch, e);
	}
	return E_TEMPFAIL;
}
