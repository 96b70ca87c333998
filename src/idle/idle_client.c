/* SPDX-License-Identifier: MIT */
#include "idle/idle_client.h"

#include <stdlib.h>
#include <string.h>

#include "idle/idle_proto.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/net.h"

/* roost-idle answers when the index has said that it watches. */
enum { CONNECT_MS = 2000, ANSWER_MS = 10 * 1000 };

void
idle_sleep_put(struct buf *body, const struct idle_sleep *s)
{
	ipc_put_u8(body, s->idling != 0);
	ipc_put_u8(body, s->deflated != 0);
	ipc_put_u64(body, (uint64_t)s->bye_ms);
	ipc_put_u64(body, (uint64_t)s->still_here_ms);
	ipc_put_str(body, s->watch);
	ipc_put_u64(body, s->modseq);
	ipc_put_cstr(body, s->mailbox);
	ipc_put_str(body, s->handover);
}

enum err
idle_sleep_get(struct str body, struct idle_sleep *out, struct str *mailbox)
{
	struct ipc_reader r = ipc_reader_of(body);

	memset(out, 0, sizeof(*out));
	out->idling = ipc_get_u8(&r);
	out->deflated = ipc_get_u8(&r);
	out->bye_ms = (int64_t)ipc_get_u64(&r);
	out->still_here_ms = (int64_t)ipc_get_u64(&r);
	out->watch = ipc_get_str(&r);
	out->modseq = ipc_get_u64(&r);
	*mailbox = ipc_get_str(&r);
	out->handover = ipc_get_str(&r);
	return ipc_reader_end(&r);
}

void
idle_text_put(struct buf *out, int deflated, const char *text)
{
	unsigned len = (unsigned)strlen(text);

	if (deflated) {
		const char head[] = {0, (char)(len & 0xff), (char)(len >> 8), (char)(~len & 0xff),
			(char)(~len >> 8 & 0xff)};

		(void)buf_add(out, head, sizeof(head));
	}
	(void)buf_add_cstr(out, text);
}

/* The answer: 1 or 0; -1: none, or one that cannot be read. */
static int
answer_get(int sock)
{
	struct ipc_msg m;
	int taken = -1;

	if (ipc_recv(sock, &m, ANSWER_MS) == OK && m.type == IDLE_SLEPT) {
		struct ipc_reader r = ipc_reader_of(buf_str(&m.body));
		int n = ipc_get_u8(&r);

		if (ipc_reader_end(&r) == OK)
			taken = n;
	}
	ipc_msg_free(&m);
	return taken;
}

enum err
idle_sleep(const struct config *conf, int fd, const struct idle_sleep *s)
{
	char *path = conf_run_path(conf, "idle");
	struct buf body = BUF_INIT(IDLE_BODY_MAX);
	int sock = -1, taken;
	enum err e;

	idle_sleep_put(&body, s);
	e = body.err ? body.err : net_connect_unix(path, CONNECT_MS, &sock);
	if (e) {
		e = E_TEMPFAIL;
		sock = -1;
		goto out;
	}
	/* From here on the descriptor may have arrived, whatever goes wrong. */
	e = ipc_send(sock, IDLE_SLEEP, 1, buf_str(&body), &fd, 1, ANSWER_MS);
	taken = e ? -1 : answer_get(sock);
	e = taken > 0 ? OK : taken == 0 ? E_TEMPFAIL : E_STATE;
	if (e == E_STATE)
		log_event(LOGL_ERROR, "idle.sleep lost", NULL);
out:
	io_close(&sock);
	buf_wipe(&body);
	buf_free(&body);
	free(path);
	return e;
}
