/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_METRICS_H
#define ROOST_LIB_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/*
 * What Roost counts: a row per metric in lib/metrics.def. Each daemon has an array of 64-bit cells
 * of its own, laid out from the rows, in shared memory that the master keeps over restarts; the
 * daemon and its sessions add to it with atomics, and roost-metrics reads all of them. A broken
 * process can spoil the numbers of its daemon and nothing else.
 *
 * A process without that memory (tools, tests) may call all of these; nothing is counted then.
 */
enum metric {
#define METRIC(type, id, name, labels, buckets, help) METRIC_##id,
#include "lib/metrics.def"
#undef METRIC
	METRICS
};

/* Adds n to a counter without labels. Safe from threads and processes, as all that follow. */
void metrics_add(enum metric m, uint64_t n);
/*
 * The same with labels: their values in the order of the row, ended by NULL, as in
 *   metrics_add_labels(METRIC_LOGINS, 1, "ok", "imap", "plain", NULL);
 * What is no value of the row counts as the label's last one, and so does a missing one.
 */
void metrics_add_labels(enum metric m, uint64_t n, ...) __attribute__((sentinel));
/* Sets a gauge. */
void metrics_set(enum metric m, uint64_t n);
void metrics_set_labels(enum metric m, uint64_t n, ...) __attribute__((sentinel));
/* An observation of a histogram, in microseconds. */
void metrics_observe_us(enum metric m, int64_t us);
void metrics_observe_us_labels(enum metric m, int64_t us, ...) __attribute__((sentinel));
/* Microseconds of a clock that only goes forward, to measure what is observed. */
int64_t metrics_now_us(void);

/* What the label "daemon" of this process is, as the rows have it. */
const char *metrics_daemon(void);

/* ---- skeletons and master ---- */

struct metrics_cells; /* one daemon's array */

/* Makes the memory of a daemon: an anonymous file of fixed size. */
enum err metrics_create(int *fd_out);
/* A second descriptor of it that can only be read. */
enum err metrics_read_only(int fd, int *fd_out);
/*
 * Maps it, for writing or for reading only; fd stays open. E_STATE: it was made from other rows (by
 * another version of Roost). The caller frees.
 */
enum err metrics_map(int fd, int writable, struct metrics_cells **out);
void metrics_unmap(struct metrics_cells **cells);
/* From now on this process counts there, as the daemon name (a static string). Borrowed. */
void metrics_use(struct metrics_cells *cells, const char *name);
/* The daemon has ended: what its gauges say is true no more. */
void metrics_clear_gauges(struct metrics_cells *cells);
/* For the master: adds to or sets a metric whose one label is the daemon, in that daemon's cells.
 */
void metrics_add_daemon(struct metrics_cells *cells, enum metric m, uint64_t n, const char *daemon);
void metrics_set_daemon(struct metrics_cells *cells, enum metric m, uint64_t n, const char *daemon);

/*
 * Appends all metrics, each the sum over the arrays (NULL ones are skipped), in Prometheus' text
 * format 0.0.4.
 */
void metrics_print(struct metrics_cells *const *arrays, size_t count, struct buf *out);

/* For the generated manual page. */
struct metrics_row {
	const char *type; /* "counter", "gauge", "histogram" */
	const char *name, *labels, *buckets, *help;
};
const struct metrics_row *metrics_rows(size_t *count);

#endif
