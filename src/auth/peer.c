/* SPDX-License-Identifier: MIT */
#include "auth/service.h"

#include <stdlib.h>

#include "auth/auth_proto.h"
#include "auth/dovecot_conn.h"
#include "auth/frames.h"
#include "auth/login.h"
#include "lib/link.h"
#include "lib/log.h"
#include "lib/mem.h"

struct peer *
peer_ref(struct peer *p)
{
	p->refs++;
	return p;
}

void
peer_unref(struct peer **pp)
{
	struct peer *p = *pp;

	*pp = NULL;
	if (--p->refs > 0)
		return;
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	free(p);
}

void
peer_send(struct peer *p, uint16_t type, uint32_t request, struct buf *b)
{
	if (p->conn)
		ipc_conn_send(p->conn, type, request, buf_str(b), NULL, 0);
	buf_wipe(b);
	buf_free(b);
}

void
peer_send_error(struct peer *p, uint32_t request, enum err e)
{
	struct buf b = {0};

	frame_error_put(&b, e, err_text(e));
	peer_send(p, AUTH_ERROR, request, &b);
}

struct peer *
peer_create(struct auth_service *auth)
{
	struct peer *p = MEM_NEW(struct peer);

	p->auth = auth;
	p->refs = 1;
	p->next = auth->peers;
	p->link = &auth->peers;
	if (p->next)
		p->next->link = &p->next;
	auth->peers = p;
	return p;
}

void
peer_closed(struct peer *p)
{
	login_peer_closed(p);
	peer_unref(&p);
}

static void
on_message(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct peer *p = arg;

	(void)c;
	for (const struct peer_frame *f = p->frames; f->run; f++) {
		if (f->type == m->type) {
			f->run(p, m);
			buf_wipe(&m->body);
			return;
		}
	}
	log_event(LOGL_WARN, "auth.frame refused", "type", log_u64(m->type), NULL);
	peer_send_error(p, m->request, E_PROTO);
}

static void
on_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct peer *p = arg;

	(void)c;
	if (e != E_CLOSED)
		log_event(LOGL_WARN, "auth.peer closed", "error", err_word(e), NULL);
	p->conn = NULL;
	peer_closed(p);
}

static const struct ipc_conn_handler handler = {.on_message = on_message, .on_close = on_close};

void
peer_accept(struct service_run *run, int fd, const struct peer_frame *frames)
{
	struct auth_service *auth = service_state(run);
	struct peer *p = peer_create(auth);

	p->frames = frames;
	p->front = &login_frames_front;
	p->conn = ipc_conn_create(service_base(run), fd, FRAME_BODY_MAX, &handler, p);
	/* Who asks for many recipients at once has most answers at once. */
	ipc_conn_batch(p->conn);
}

/* Whether p is to be waited for, whatever it is. */
static int
is_busy(const struct peer *p)
{
	if (p->jobs || p->exchange_count)
		return 1;
	return p->conn ? ipc_conn_pending(p->conn) > 0 : !p->lines;
}

struct peers_left
peers_retire(struct auth_service *auth)
{
	struct peers_left left = {0};
	struct peer *p, *next;

	for (p = auth->peers; p; p = next) {
		next = p->next;
		if (p->frames == login_frames && p->conn && !p->moved) {
			p->moved = 1;
			ipc_conn_send(p->conn, LINK_MOVED, 0, (struct str){0}, NULL, 0);
		}
		if (is_busy(p)) {
			left.busy++;
		} else if (p->moved) {
			left.links++;
		} else if (p->lines) {
			left.busy++;
			dovecot_conn_close(p->lines, E_CLOSED);
		} else {
			ipc_conn_free(&p->conn);
			peer_closed(p);
		}
	}
	return left;
}

void
peers_close(struct auth_service *auth)
{
	struct peer *p, *next;

	for (p = auth->peers; p; p = next) {
		next = p->next;
		if (!p->conn && !p->lines)
			continue;
		ipc_conn_free(&p->conn);
		dovecot_conn_free(&p->lines);
		peer_closed(p);
	}
}
