/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdlib.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "master/master.h"

/*
 * A memory for each daemon, so that a broken one spoils its own numbers alone. It outlives the
 * daemon's processes: a counter that fell back would look like a restart of all of Roost.
 */
struct counter {
	int fd, read_fd;
	struct metrics_cells *cells;
};

/* One for each row of daemon_defs, and the last is the master's. */
struct counters {
	struct counter *items;
	size_t count;
};

static enum err
open_one(struct counter *c)
{
	enum err e = metrics_create(&c->fd);

	e = e ? e : metrics_read_only(c->fd, &c->read_fd);
	return e ? e : metrics_map(c->fd, 1, &c->cells);
}

enum err
counters_create(struct counters **out)
{
	struct counters *all = MEM_NEW(struct counters);
	enum err e = OK;

	all->count = daemon_def_count + 1;
	all->items = mem_zalloc(all->count * sizeof *all->items);
	for (size_t i = 0; i < all->count; i++)
		all->items[i].fd = all->items[i].read_fd = -1;
	for (size_t i = 0; i < all->count && !e; i++)
		e = open_one(&all->items[i]);
	if (e)
		counters_free(&all);
	else
		metrics_use(all->items[daemon_def_count].cells, "master");
	*out = all;
	return e;
}

void
counters_free(struct counters **counters)
{
	struct counters *all = *counters;

	if (!all)
		return;
	for (size_t i = 0; i < all->count; i++) {
		metrics_unmap(&all->items[i].cells);
		io_close(&all->items[i].fd);
		io_close(&all->items[i].read_fd);
	}
	free(all->items);
	MEM_FREE(*counters);
}

static struct counter *
counter_of(const struct counters *all, const struct daemon_def *def)
{
	return all && def >= daemon_defs && def < daemon_defs + daemon_def_count
		       ? &all->items[def - daemon_defs]
		       : NULL;
}

int
counters_fd(const struct counters *counters, const struct daemon_def *def)
{
	const struct counter *c = counter_of(counters, def);

	return c ? c->fd : -1;
}

void
counters_each_read_only(const struct counters *counters, void (*add)(void *arg, int fd), void *arg)
{
	for (size_t i = 0; counters && i < counters->count; i++)
		add(arg, counters->items[i].read_fd);
}

void
counters_restarted(struct counters *counters, const struct daemon_def *def)
{
	struct counter *c = counter_of(counters, def);

	if (c)
		metrics_add_daemon(c->cells, METRIC_DAEMON_RESTARTS, 1, def->name);
}

void
counters_ready(struct counters *counters, const struct daemon_def *def, unsigned processes)
{
	struct counter *c = counter_of(counters, def);

	if (!c)
		return;
	if (processes == 0)
		metrics_clear_gauges(c->cells);
	metrics_set_daemon(c->cells, METRIC_DAEMON_PROCESSES, processes, def->name);
}
