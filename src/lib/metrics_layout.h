/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_METRICS_LAYOUT_H
#define ROOST_LIB_METRICS_LAYOUT_H

#include "lib/metrics.h"
#include "lib/str.h"

/* Where a metric's cells lie, for metrics.c and metrics_print.c. */

enum { METRICS_LABELS_MAX = 3, METRICS_VALUES_MAX = 24, METRICS_BUCKETS_MAX = 24 };

struct metrics_label {
	struct str name;
	struct str values[METRICS_VALUES_MAX];
	size_t count;
};

/*
 * combinations of label values follow one another, the last label's values fastest, each of width
 * cells: one, or for a histogram a count for each bucket alone, the count above the last bound, and
 * the sum in microseconds.
 */
struct metrics_layout {
	struct metrics_label labels[METRICS_LABELS_MAX];
	size_t label_count, combinations, width, first;
	struct str bucket_text[METRICS_BUCKETS_MAX];
	int64_t bucket_us[METRICS_BUCKETS_MAX];
	size_t bucket_count;
};

const struct metrics_layout *metrics_layout(enum metric m);
uint64_t metrics_cell(const struct metrics_cells *cells, size_t at);

#endif
