/* SPDX-License-Identifier: MIT */
/*
 * Clients that a session gives back (UNAUTHENTICATE, RFC 8437): they are before log-in again, in
 * the same connection. A TLS connection stays where it is, relayed by the proxy that has its keys;
 * what comes back is the session's end of the socketpair, so that any proxy can take it.
 *
 * A session must not be able to choose whose address it tries passwords from, nor to say that there
 * is TLS where there is none. So it says nothing of the sort: it brings the bytes that a proxy gave
 * it along with the client, sealed with a key that only the proxies have and bound to the session's
 * id.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/seal.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "proxy/client.h"

/* A session hands over in one frame what it has read ahead. */
enum { RETURN_BODY_MAX = 4 << 20 };

static const char seal_label[] = "proxy-return";

void
returned_free(struct returned **r)
{
	if (!*r)
		return;
	free((*r)->tls_text);
	buf_wipe(&(*r)->input);
	buf_free(&(*r)->input);
	MEM_FREE(*r);
}

/* ---- what belongs to the TLS connection ---- */

static size_t
kept_binding(const unsigned char *from, size_t len, unsigned char *out)
{
	memcpy(out, from, len);
	return len;
}

size_t
client_tls_exporter(const struct client *c, unsigned char *out)
{
	return c->returned ? kept_binding(c->returned->exporter, c->returned->exporter_len, out)
			   : conn_tls_exporter(&c->conn, out);
}

size_t
client_tls_unique(const struct client *c, unsigned char *out)
{
	return c->returned ? kept_binding(c->returned->unique, c->returned->unique_len, out)
			   : conn_tls_unique(&c->conn, out);
}

/*
 * ---- the sealed bytes: str session_info, str exporter, str unique; of the certificate str user,
 * str fingerprint, u8 verified ----
 */

void
returned_seal(const struct client *c, const struct session_info *info, struct buf *out)
{
	struct session_info known = {.id = info->id,
		.service = info->service,
		.peer = info->peer,
		.local = info->local,
		.tls = info->tls,
		.tls_text = info->tls_text};
	unsigned char exporter[CONN_BINDING_MAX], unique[CONN_BINDING_MAX];
	size_t exporter_len = client_tls_exporter(c, exporter);
	size_t unique_len = client_tls_unique(c, unique);
	struct buf plain = {0}, body = {0};

	session_info_put(&body, &known);
	ipc_put_str(&plain, buf_str(&body));
	ipc_put_str(&plain, str_make((const char *)exporter, exporter_len));
	ipc_put_str(&plain, str_make((const char *)unique, unique_len));
	ipc_put_cstr(&plain, c->cert.user);
	ipc_put_cstr(&plain, c->cert.fingerprint);
	ipc_put_u8(&plain, c->cert.verified != 0);
	/* Without a key it cannot come back, and otherwise is served as ever. */
	if (seal_make(proxy_conf(c->px)->proxy_return_key, seal_label, str_of(info->id),
		    buf_str(&plain), out))
		buf_reset(out);
	buf_free(&body);
	buf_free(&plain);
}

static enum err
get_binding(struct ipc_reader *r, unsigned char *out, size_t *len)
{
	struct str bytes = ipc_get_str(r);

	if (bytes.len > CONN_BINDING_MAX)
		return E_PROTO;
	if (bytes.len)
		memcpy(out, bytes.p, bytes.len);
	*len = bytes.len;
	return OK;
}

static enum err
get_text(struct ipc_reader *r, char *out, size_t size)
{
	struct str text = ipc_get_str(r);

	if (text.len >= size)
		return E_PROTO;
	if (text.len)
		memcpy(out, text.p, text.len);
	out[text.len] = '\0';
	return OK;
}

static enum err
unseal(struct proxy *px, struct str id, struct str back, struct session_info *known,
	struct returned *r)
{
	struct str plain = {0};
	struct ipc_reader reader;
	enum err e = seal_open(proxy_conf(px)->proxy_return_key, seal_label, id, back, &plain);

	if (e)
		return e;
	reader = ipc_reader_of(plain);
	e = session_info_get(ipc_get_str(&reader), known);
	e = e ? e : get_binding(&reader, r->exporter, &r->exporter_len);
	e = e ? e : get_binding(&reader, r->unique, &r->unique_len);
	e = e ? e : get_text(&reader, r->cert.user, sizeof r->cert.user);
	e = e ? e : get_text(&reader, r->cert.fingerprint, sizeof r->cert.fingerprint);
	r->cert.verified = ipc_get_u8(&reader);
	return e ? e : ipc_reader_end(&reader);
}

/* ---- taking it ---- */

struct door {
	struct proxy *px;
	const struct proxy_listener *kinds;
	size_t kind_count;
};

static const struct proxy_listener *
find_kind(const struct door *d, const char *service)
{
	for (size_t i = 0; i < d->kind_count; i++)
		if (strcmp(d->kinds[i].name, service) == 0 && d->kinds[i].proto == &prelogin_imap)
			return &d->kinds[i];
	return NULL;
}

/* fd and r are taken over. */
static void
begin(struct proxy *px, const struct proxy_listener *kind, int fd, const struct session_info *known,
	struct returned *r)
{
	struct client *c;

	io_set_nonblocking(fd, 1);
	c = client_create(px, kind, fd, &known->peer);
	snprintf(c->id, sizeof c->id, "%s", known->id);
	c->local = known->local;
	c->returned = r;
	c->cert = r->cert;
	c->prelogin.has_certificate = r->cert.user[0] != '\0';
	c->prelogin.tls = known->tls;
	if (known->tls)
		c->prelogin.tls_available = 0;
	c->prelogin.loopback = net_addr_is_loopback(&c->peer);
	/*
	 * It has a place already: with TLS that of its relay, else the one that its session gives
	 * up in a moment. So it is not asked whether there is one.
	 */
	if (!known->tls)
		c->counted =
			limits_enter(px->limits, &c->peer, UINT64_MAX, UINT64_MAX) == LIMITS_OK;
	c->phase = CLIENT_DIALOGUE;
	trace_look(c);
	log_event(LOGL_DEBUG, "proxy.return ok", "session", c->id, "service", kind->name, NULL);
	client_run(c);
}

/* 1: there is a client more. */
static int
take(const struct door *d, struct ipc_msg *m)
{
	struct ipc_reader reader = ipc_reader_of(buf_str(&m->body));
	struct str id = ipc_get_str(&reader), back = ipc_get_str(&reader);
	struct str input = ipc_get_str(&reader);
	struct returned *r = MEM_NEW(struct returned);
	struct session_info known = {0};
	const struct proxy_listener *kind = NULL;
	enum err e = ipc_reader_end(&reader);

	e = e ? e : m->type != SESSION_RETURN || m->fds[0] < 0 ? E_PROTO : OK;
	e = e ? e : unseal(d->px, id, back, &known, r);
	if (!e)
		kind = find_kind(d, known.service);
	if (kind && !service_is_draining(d->px->run)) {
		r->tls_text = mem_strdup(known.tls_text);
		buf_add_str(&r->input, input);
		begin(d->px, kind, m->fds[0], &known, r);
		m->fds[0] = -1;
		r = NULL;
	} else {
		log_event(LOGL_WARN, "proxy.return refused", "error", e ? err_word(e) : NULL, NULL);
	}
	session_info_free(&known);
	returned_free(&r);
	return kind != NULL && r == NULL;
}

static void
on_message(struct ipc_conn *conn, struct ipc_msg *m, void *arg)
{
	struct buf answer = {0};

	ipc_put_u8(&answer, (uint8_t)take(arg, m));
	ipc_conn_send(conn, SESSION_TAKEN, m->request, buf_str(&answer), NULL, 0);
	buf_free(&answer);
}

static void
on_close(struct ipc_conn *conn, enum err e, void *arg)
{
	(void)conn;
	(void)e;
	free(arg);
}

void
returned_accept(struct proxy *px, int fd, const struct proxy_listener *kinds, size_t kind_count)
{
	static const struct ipc_conn_handler handler = {on_message, on_close};
	struct door *d = MEM_NEW(struct door);

	d->px = px;
	d->kinds = kinds;
	d->kind_count = kind_count;
	ipc_conn_create(px->base, fd, RETURN_BODY_MAX, &handler, d);
}
