/* SPDX-License-Identifier: MIT */
#include "imap/progress.h"

#include <inttypes.h>
#include <poll.h>

#include "lib/io.h"

enum {
	LOOK_MS = 500,
	TELL_MS = 10 * 1000, /* RFC 9585 section 4: every 10 to 15 seconds */
};

void
imap_progress_begin(struct imap_progress *p, struct imap_session *s, uint64_t goal)
{
	*p = (struct imap_progress){.s = s, .goal = goal};
	p->looked_ms = p->told_ms = io_now_ms();
}

/* A tag with "]" or quotes would end the response code. */
static int
tag_can_be_quoted(struct str tag)
{
	for (size_t i = 0; i < tag.len; i++)
		if (tag.p[i] == ']' || tag.p[i] == '"' || tag.p[i] == '\\')
			return 0;
	return tag.len > 0;
}

static enum err
tell(struct imap_progress *p)
{
	struct imap_session *s = p->s;
	struct buf line = BUF_INIT(0);

	(void)buf_add_cstr(&line, "OK [INPROGRESS (");
	if (tag_can_be_quoted(s->tag))
		(void)buf_printf(&line, "\"%.*s\"", STR_ARG(s->tag));
	else
		(void)buf_add_cstr(&line, "NIL");
	if (p->goal > p->done && p->goal <= UINT32_MAX)
		(void)buf_printf(&line, " %" PRIu64 " %" PRIu64, p->done, p->goal);
	else
		(void)buf_add_cstr(&line, " NIL NIL");
	(void)buf_add_cstr(&line, ")] Still at work");
	imap_untagged(s, "%s", buf_cstr(&line));
	buf_free(&line);
	return stream_flush(s->client);
}

/*
 * A client that closed only its sending side may still wait for the answer. It is written to: if
 * nobody reads any more, that turns into an error, which the next look finds.
 */
static enum err
look(struct imap_progress *p, int64_t now)
{
	struct pollfd pfd = {.fd = stream_fd(p->s->client), .events = POLLRDHUP};

	if (session_should_end(p->s->base))
		return E_CANCELLED;
	if (pfd.fd >= 0 && poll(&pfd, 1, 0) > 0) {
		if (pfd.revents & (POLLHUP | POLLERR))
			return E_CLOSED;
		if (pfd.revents & POLLRDHUP)
			p->told_ms = now - TELL_MS;
	}
	if (now - p->told_ms < TELL_MS)
		return OK;
	p->told_ms = now;
	return tell(p);
}

enum err
imap_progress_tick(struct imap_progress *p, uint64_t done)
{
	int64_t now = io_now_ms();

	p->done = done;
	if (now - p->looked_ms < LOOK_MS)
		return OK;
	p->looked_ms = now;
	return look(p, now);
}
