/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/job.h"

/*
 * ETRN (RFC 1985): what waits for a domain is tried at once. All deferred messages are looked at,
 * in turns of the loop; those for the domain become due, and what is due comes into memory as there
 * is room for it. Held messages, and those that their sender keeps back, stay.
 */

enum { ETRN_AT_ONCE = 4, ETRN_ANSWER_MS = 5000 };

struct qmgr_etrn {
	LIST_ENTRY(qmgr_etrn) entry;
	char *domain;
	int below; /* what is below it, too */
	struct ipc_conn *conn; /* NULL: answered, or nobody there any more */
	uint32_t request, count;
	int64_t started_ms;
};

static void
send_answer(struct ipc_conn *c, uint32_t request, enum qmgr_etrn_answer answer, uint32_t count)
{
	struct buf body = {0};

	ipc_put_u8(&body, (uint8_t)answer);
	ipc_put_u32(&body, count);
	ipc_conn_send(c, QMGR_ETRN, request, buf_str(&body), NULL, 0);
	buf_free(&body);
}

static void
answer(struct qmgr_etrn *e, enum qmgr_etrn_answer a)
{
	if (e->conn)
		send_answer(e->conn, e->request, a, e->count);
	e->conn = NULL;
}

static int
is_for(const struct qmgr_etrn *e, const struct queue_rcpt *r)
{
	const char *at = strrchr(r->address, '@');
	size_t len = strlen(e->domain), got;

	if (r->status != QUEUE_PENDING || r->local || at++ == NULL)
		return 0;
	got = strlen(at);
	if (got > len && e->below && at[got - len - 1] == '.')
		at += got - len;
	return strcasecmp(at, e->domain) == 0;
}

/* A server that could not be reached asks for its mail: it can be now. */
static void
revive(struct qmgr *q, const struct qmgr_message *m, const struct queue_rcpt *r)
{
	struct route route = {0};
	struct buf key = {0};

	if (route_find(q->routes, &m->entry, r, &route) == OK) {
		route_key(&route, &key);
		schedule_revive_one(q->schedule, buf_cstr(&key));
	}
	route_free(&route);
	buf_free(&key);
}

static void
look_at(struct qmgr *q, struct qmgr_message *m, void *arg)
{
	struct qmgr_etrn *e = arg;
	const struct queue_entry *entry = &m->entry;
	size_t i;

	for (i = 0; i < entry->rcpt_count && !is_for(e, &entry->rcpts[i]); i++)
		;
	if (i < entry->rcpt_count && entry->hold_until <= (int64_t)time(NULL)) {
		e->count++;
		revive(q, m, &entry->rcpts[i]);
		if (m->dir == QUEUE_DEFERRED)
			deferred_add(q->deferred, entry->id, DEFERRED_NOW);
	}
	if (io_now_ms() - e->started_ms > ETRN_ANSWER_MS)
		answer(e, e->count ? QMGR_ETRN_PENDING : QMGR_ETRN_STARTED);
}

static void
done(struct qmgr *q, void *arg)
{
	struct qmgr_etrn *e = arg;

	log_event(LOGL_INFO, "qmgr.etrn done", "domain", e->domain, "messages", log_u64(e->count),
		NULL);
	answer(e, QMGR_ETRN_COUNT);
	LIST_REMOVE(e, entry);
	free(e->domain);
	free(e);
	qmgr_look_soon(q);
}

void
qmgr_etrn(struct qmgr *q, struct ipc_conn *c, struct ipc_msg *msg)
{
	static const struct qmgr_look look = {
		look_at, done, 1u << QUEUE_INCOMING | 1u << QUEUE_ACTIVE | 1u << QUEUE_DEFERRED};
	struct ipc_reader r = ipc_reader_of(buf_str(&msg->body));
	struct str domain = ipc_get_str(&r);
	int below = ipc_get_u8(&r) != 0;
	struct qmgr_etrn *e;
	unsigned n = 0;

	if (ipc_reader_end(&r) || domain.len == 0 || str_has_control(domain))
		return;
	LIST_FOREACH(e, &q->etrns, entry)
	{
		n++;
		/* It is looked for already: what is found is tried. */
		if (str_is_i(domain, e->domain) && below == e->below) {
			send_answer(c, msg->request, QMGR_ETRN_STARTED, 0);
			return;
		}
	}
	if (n >= ETRN_AT_ONCE || !qmgr_has_room(q) || service_is_draining(q->run)) {
		send_answer(c, msg->request, QMGR_ETRN_BUSY, 0);
		return;
	}
	e = MEM_NEW(struct qmgr_etrn);
	e->domain = str_dup(domain);
	e->below = below;
	e->conn = c;
	e->request = msg->request;
	e->started_ms = io_now_ms();
	LIST_INSERT_HEAD(&q->etrns, e, entry);
	qmgr_look(q, &look, e);
}

void
qmgr_etrn_forget(struct qmgr *q, const struct ipc_conn *c)
{
	struct qmgr_etrn *e;

	LIST_FOREACH(e, &q->etrns, entry)
	{
		if (e->conn == c)
			e->conn = NULL;
	}
}
