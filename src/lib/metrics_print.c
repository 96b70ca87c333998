/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "lib/metrics_layout.h"

/* Prometheus' text format, version 0.0.4. */

struct source {
	struct metrics_cells *const *arrays;
	size_t count;
};

static uint64_t
sum_at(const struct source *s, size_t at)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->count; i++)
		if (s->arrays[i])
			sum += metrics_cell(s->arrays[i], at);
	return sum;
}

/* "{result="ok",le="0.1"}"; le may be empty: none. */
static void
print_labels(
	const struct metrics_layout *l, size_t combination, const char *le_quoted, struct buf *out)
{
	size_t block = l->combinations;
	const char *before = "{";

	for (size_t i = 0; i < l->label_count; i++) {
		const struct metrics_label *label = &l->labels[i];
		struct str value;

		block /= label->count;
		value = label->values[combination / block % label->count];
		buf_printf(out, "%s%.*s=\"%.*s\"", before, (int)label->name.len, label->name.p,
			(int)value.len, value.p);
		before = ",";
	}
	if (le_quoted)
		buf_printf(out, "%sle=\"%s\"", before, le_quoted);
	if (l->label_count || le_quoted)
		buf_add_char(out, '}');
}

static void
print_simple(const struct source *s, const struct metrics_row *row, const struct metrics_layout *l,
	size_t combination, struct buf *out)
{
	buf_add_cstr(out, row->name);
	print_labels(l, combination, NULL, out);
	buf_printf(out, " %" PRIu64 "\n", sum_at(s, l->first + combination));
}

static void
print_histogram(const struct source *s, const struct metrics_row *row,
	const struct metrics_layout *l, size_t combination, struct buf *out)
{
	size_t first = l->first + combination * l->width;
	uint64_t total = 0, us;

	for (size_t i = 0; i <= l->bucket_count; i++) {
		char bound[32] = "+Inf";

		if (i < l->bucket_count) {
			memcpy(bound, l->bucket_text[i].p, l->bucket_text[i].len);
			bound[l->bucket_text[i].len] = '\0';
		}
		total += sum_at(s, first + i);
		buf_printf(out, "%s_bucket", row->name);
		print_labels(l, combination, bound, out);
		buf_printf(out, " %" PRIu64 "\n", total);
	}
	us = sum_at(s, first + l->bucket_count + 1);
	buf_printf(out, "%s_sum", row->name);
	print_labels(l, combination, NULL, out);
	buf_printf(out, " %" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
	buf_printf(out, "%s_count", row->name);
	print_labels(l, combination, NULL, out);
	buf_printf(out, " %" PRIu64 "\n", total);
}

void
metrics_print(struct metrics_cells *const *arrays, size_t count, struct buf *out)
{
	const struct source s = {arrays, count};
	size_t row_count;
	const struct metrics_row *rows = metrics_rows(&row_count);

	for (size_t i = 0; i < row_count; i++) {
		const struct metrics_layout *l = metrics_layout((enum metric)i);

		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help,
			rows[i].name, rows[i].type);
		for (size_t c = 0; c < l->combinations; c++) {
			if (l->bucket_count)
				print_histogram(&s, &rows[i], l, c, out);
			else
				print_simple(&s, &rows[i], l, c, out);
		}
	}
}
