/* SPDX-License-Identifier: MIT */
#ifndef ROOST_METRICS_WEB_H
#define ROOST_METRICS_WEB_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/metrics.h"
#include "lib/net.h"

struct event_base;

/*
 * The web server of roost-metrics: GET and HEAD of /metrics and /healthz, and nothing else. HTTP
 * itself is libmicrohttpd's, which runs inside the event loop.
 */
enum { METRICS_ARRAYS_MAX = 64 };

struct web;

/* arrays, count of them, at most METRICS_ARRAYS_MAX: taken over. E_IO: libmicrohttpd does not
 * start. */
enum err web_create(struct event_base *base, struct metrics_cells *const *arrays, size_t count,
	struct web **out);
/* Serves a client; fd is taken over. */
void web_add_client(struct web *w, int fd, const struct net_addr *peer);
void web_free(struct web **w);

#endif
