/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/service.h"
#include "metrics/web.h"

/* The arrays of all daemons are mapped before privileges are dropped, once and for all. */
static enum err
start(struct service_run *run)
{
	int fds[METRICS_ARRAYS_MAX];
	size_t n = service_listener_fds(run, "metrics-read", fds, METRICS_ARRAYS_MAX);
	struct metrics_cells *arrays[METRICS_ARRAYS_MAX] = {0};
	enum err e = n <= METRICS_ARRAYS_MAX ? OK : E_TOOBIG;
	struct web *web;

	for (size_t i = 0; i < n && !e; i++)
		e = metrics_map(fds[i], 0, &arrays[i]);
	if (!e)
		e = web_create(service_base(run), arrays, n, &web);
	if (!e)
		service_set_state(run, web);
	return e;
}

static void
on_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	web_add_client(service_state(run), fd, peer);
}

static void
stop(struct service_run *run)
{
	struct web *web = service_state(run);

	web_free(&web);
	service_set_state(run, NULL);
}

static const struct service_listener listeners[] = {{"metrics-http", on_accept}, {NULL, NULL}};

/* No sandbox function: it needs no file. */
static const struct service metrics_service = {
	.name = "metrics",
	.listeners = listeners,
	.start = start,
	.stop = stop,
};

int
main(int argc, char **argv)
{
	return service_main(&metrics_service, argc, argv);
}
