/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "metrics/web.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <microhttpd.h>

#include "lib/log.h"
#include "lib/mem.h"

enum {
	CLIENTS_MAX = 64,
	CLIENTS_MAX_PER_ADDRESS = 16,
	CLIENT_TIMEOUT_S = 15,
	CLIENT_MEMORY = 16 * 1024, /* a request's head; longer ones are refused */
	TEXT_MAX = 8 << 20,
};

struct web {
	struct MHD_Daemon *http;
	struct event *io, *timer;
	struct metrics_cells *arrays[METRICS_ARRAYS_MAX];
	size_t count;
};

static enum MHD_Result
answer(struct MHD_Connection *conn, unsigned status, const char *type, struct buf *body)
{
	size_t len = body->len;
	struct MHD_Response *r =
		MHD_create_response_from_buffer(len, buf_steal(body), MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(conn, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **state)
{
	static int seen;
	struct web *w = arg;
	struct buf body = BUF_INIT(TEXT_MAX);

	(void)version;
	(void)upload;
	/* The first call is for the head alone: an answer here would not let a client reuse it. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0; /* a body is not looked at */
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		buf_add_cstr(&body, "only GET is answered here\n");
		return answer(
			conn, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", &body);
	}
	if (strcmp(url, "/metrics") == 0) {
		metrics_print(w->arrays, w->count, &body);
		return answer(conn, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
	}
	if (strcmp(url, "/healthz") == 0) {
		buf_add_cstr(&body, "ok\n");
		return answer(conn, MHD_HTTP_OK, "text/plain; charset=utf-8", &body);
	}
	buf_add_cstr(&body, "there are /metrics and /healthz\n");
	return answer(conn, MHD_HTTP_NOT_FOUND, "text/plain; charset=utf-8", &body);
}

/* Something can be read or written, or time is up for a client. */
static void
run_http(struct web *w)
{
	MHD_UNSIGNED_LONG_LONG ms;
	struct timeval tv;

	MHD_run(w->http);
	if (MHD_get_timeout(w->http, &ms) != MHD_YES) {
		event_del(w->timer);
		return;
	}
	tv = (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};
	event_add(w->timer, &tv);
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run_http(arg);
}

static void
on_library_log(void *arg, const char *format, va_list ap)
{
	struct buf text = {0};

	(void)arg;
	buf_vprintf(&text, format, ap);
	log_event(LOGL_DEBUG, "metrics.http", "reason", buf_cstr(&text), NULL);
	buf_free(&text);
}

enum err
web_create(struct event_base *base, struct metrics_cells *const *arrays, size_t count,
	struct web **out)
{
	struct web *w = MEM_NEW(struct web);
	const union MHD_DaemonInfo *info;

	*out = NULL;
	memcpy(w->arrays, arrays, count * sizeof(arrays[0]));
	w->count = count;
	w->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0,
		NULL, NULL, on_request, w, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX_PER_ADDRESS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CLIENT_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_MEMORY, MHD_OPTION_END);
	info = w->http ? MHD_get_daemon_info(w->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info || info->epoll_fd < 0) {
		web_free(&w);
		return E_IO;
	}
	w->io = event_new(base, info->epoll_fd, EV_READ | EV_PERSIST, on_event, w);
	w->timer = evtimer_new(base, on_event, w);
	event_add(w->io, NULL);
	*out = w;
	return OK;
}

void
web_add_client(struct web *w, int fd, const struct net_addr *peer)
{
	/* It closes fd also when it refuses. */
	if (MHD_add_connection(w->http, fd, (const struct sockaddr *)&peer->sa, peer->len) ==
		MHD_YES)
		run_http(w);
	else
		log_event(LOGL_DEBUG, "metrics.client refused", "max", log_u64(CLIENTS_MAX), NULL);
}

void
web_free(struct web **web)
{
	struct web *w = *web;

	if (!w)
		return;
	if (w->io)
		event_free(w->io);
	if (w->timer)
		event_free(w->timer);
	if (w->http)
		MHD_stop_daemon(w->http);
	for (size_t i = 0; i < w->count; i++)
		metrics_unmap(&w->arrays[i]);
	free(w);
	*web = NULL;
}
