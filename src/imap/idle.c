/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "idle/idle_proto.h"
#include "imap/notify.h"
#include "imap/sleep.h"
#include "lib/io.h"

/*
 * IDLE (RFC 2177). The client's word and the news of the mailbox are waited for together. A few
 * bytes every now and then keep address translators from forgetting the connection, and tell us of
 * clients that are gone.
 */
enum { RETRY_MS = 5 * 1000 }; /* while the index service is away */

struct idle {
	int64_t deadline, still_here;
	int64_t sleep_due; /* when the session may go to sleep */
	int watching;
	int again; /* a look is due soon although it watches */
};

static void
watch(struct imap_session *s, struct idle *i)
{
	if (!i->watching)
		i->watching = !index_watch(s->index, s->mailbox, 1);
}

static void
news_tell(struct imap_session *s, struct idle *i)
{
	int changed = 0;

	if (i->watching && index_watch_read(s->index, &changed))
		i->watching = 0;
	imap_state_sync(s, 1);
}

/* RFC 5465 section 4: the same as without IDLE, and the expunges that are delayed. */
static void
notify(struct imap_session *s, struct idle *i)
{
	i->again = 0;
	i->watching = imap_notify_turn(s, 1, &i->again) >= 0;
}

static int
wait_ms(const struct idle *i, int selected)
{
	int64_t until = i->deadline < i->still_here ? i->deadline : i->still_here;
	int64_t ms = until - io_now_ms();

	if (i->sleep_due < until)
		ms = i->sleep_due - io_now_ms();
	if (selected && (!i->watching || i->again) && ms > RETRY_MS)
		ms = RETRY_MS;
	return ms < 0 ? 0 : (int)ms;
}

/* Nothing happened for a while. 1: it sleeps. */
static int
fall_asleep(struct imap_session *s, struct idle *i)
{
	struct imap_sleep_idle idle = {i->deadline, i->still_here};

	i->sleep_due = imap_sleep_due_ms(s, io_now_ms());
	return (!s->view || i->watching) && imap_sleep(s, &idle, i->deadline);
}

/* Until the client says something: OK. E_TIMEOUT: it was silent for too long. */
static enum err
wait_for_client(struct imap_session *s, struct idle *i)
{
	int client = 0, news = 0;
	enum err e;

	for (;;) {
		if (imap_notify_is_on(s)) {
			notify(s, i);
		} else if (s->view) {
			watch(s, i);
			news_tell(s, i);
		}
		if (s->end)
			return E_CANCELLED;
		if (stream_input_available(s->client) > 0)
			return OK;
		e = stream_wait(s->client, i->watching ? index_watch_fd(s->index) : -1,
			wait_ms(i, s->view || imap_notify_is_on(s)), &client, &news);
		if (e && e != E_TIMEOUT)
			return e;
		if (!e && client)
			return OK;
		if (!e)
			i->sleep_due = imap_sleep_due_ms(s, io_now_ms());
		if (io_now_ms() >= i->deadline)
			return E_TIMEOUT;
		if (io_now_ms() >= i->still_here) {
			(void)stream_write_cstr(s->client, IDLE_STILL_HERE);
			i->still_here = io_now_ms() + IDLE_STILL_HERE_MS;
		}
		if (e && io_now_ms() >= i->sleep_due && fall_asleep(s, i))
			return E_CANCELLED;
	}
}

static enum err
idle_until(struct imap_session *s, struct imap_parser *p, int64_t deadline)
{
	struct idle idle = {.deadline = deadline};
	enum err e;

	idle.still_here = io_now_ms() + IDLE_STILL_HERE_MS;
	idle.sleep_due = imap_sleep_due_ms(s, io_now_ms());
	e = wait_for_client(s, &idle);
	if (s->view && idle.watching && !imap_notify_is_on(s))
		(void)index_watch(s->index, s->mailbox, 0);
	if (s->end)
		return OK;
	if (e)
		return imap_parser_fail(p, e, "");
	/* Commands may follow in the same packet: only this line is taken. */
	if (imap_parser_continue(p))
		return p->err;
	if (!imap_parse_try_word(p, "DONE"))
		return imap_parser_fail(p, E_PARSE, "expected DONE");
	if (imap_parse_end(p))
		return p->err;
	return imap_reply_ok(s, NULL, "Idle completed");
}

static enum err
run_idle(struct imap_session *s, struct imap_parser *p)
{
	if (imap_parse_end(p))
		return p->err;
	io_close(s->auth);
	(void)stream_write_cstr(s->client, "+ idling\r\n");
	return idle_until(s, p, io_now_ms() + s->conf->imap_idle_timeout);
}

enum err
imap_idle_go_on(struct imap_session *s, struct imap_parser *p)
{
	return idle_until(s, p, s->woken.deadline_ms);
}

const struct imap_command imap_command_idle = {
	.name = "IDLE",
	.rfc = "2177 3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "IDLE",
	.run = run_idle,
};
