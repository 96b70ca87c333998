/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics_layout.h"

static const struct metrics_row rows[METRICS] = {
#define COUNTER "counter"
#define GAUGE "gauge"
#define HISTOGRAM "histogram"
#define METRIC(type_, id, name_, labels_, buckets_, help_)                                         \
	[METRIC_##id] = {type_, name_, labels_, buckets_, help_},
#include "lib/metrics.def"
#undef METRIC
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

/*
 * The file: this head, then the cells. rows tells arrays of another version of the rows apart, in
 * which the cells mean something else.
 */
struct metrics_cells {
	uint64_t rows;
	_Atomic uint64_t cells[];
};

static struct {
	struct metrics_cells *array; /* NULL: nothing is counted */
	const char *daemon;
} here = {.daemon = "other"};

static struct metrics_layout layouts[METRICS];
static size_t cell_count; /* 0: the layout is not made yet */
static uint64_t rows_hash;

const struct metrics_row *
metrics_rows(size_t *count)
{
	*count = METRICS;
	return rows;
}

/* ---- the layout ---- */

static void
parse_labels(struct metrics_layout *l, const char *text)
{
	struct str rest = str_of(text);

	l->combinations = 1;
	while (rest.len) {
		struct str values = str_split(&rest, ' ');
		struct metrics_label *label = &l->labels[l->label_count++];

		ROOST_ASSERT(l->label_count <= METRICS_LABELS_MAX);
		label->name = str_split(&values, '=');
		while (values.len) {
			ROOST_ASSERT(label->count < METRICS_VALUES_MAX);
			label->values[label->count++] = str_split(&values, '|');
		}
		ROOST_ASSERT(label->count > 0);
		l->combinations *= label->count;
	}
}

static void
parse_buckets(struct metrics_layout *l, const char *text)
{
	struct str rest = str_of(text);

	while (rest.len) {
		struct str bound = str_split(&rest, ' ');
		char number[32];

		ROOST_ASSERT(l->bucket_count < METRICS_BUCKETS_MAX && bound.len < sizeof(number));
		memcpy(number, bound.p, bound.len);
		number[bound.len] = '\0';
		l->bucket_text[l->bucket_count] = bound;
		l->bucket_us[l->bucket_count++] = (int64_t)(strtod(number, NULL) * 1e6 + 0.5);
	}
	/* For a histogram also those above the last bound, and the sum in microseconds. */
	l->width = l->bucket_count ? l->bucket_count + 2 : 1;
}

static void
hash_text(const char *text)
{
	/* FNV-1a; the NUL too, which keeps fields apart. */
	for (size_t i = 0; i == 0 || text[i - 1]; i++)
		rows_hash = (rows_hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
}

static void
make_layout(void)
{
	size_t at = 0;

	if (cell_count)
		return;
	rows_hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < METRICS; i++) {
		parse_labels(&layouts[i], rows[i].labels);
		parse_buckets(&layouts[i], rows[i].buckets);
		layouts[i].first = at;
		at += layouts[i].combinations * layouts[i].width;
		hash_text(rows[i].name);
		hash_text(rows[i].labels);
		hash_text(rows[i].buckets);
	}
	cell_count = at;
}

const struct metrics_layout *
metrics_layout(enum metric m)
{
	make_layout();
	return &layouts[m];
}

uint64_t
metrics_cell(const struct metrics_cells *cells, size_t at)
{
	return atomic_load_explicit(&cells->cells[at], memory_order_relaxed);
}

static size_t
file_size(void)
{
	make_layout();
	return sizeof(struct metrics_cells) + cell_count * sizeof(uint64_t);
}

/* ---- the memory ---- */

enum err
metrics_create(int *fd_out)
{
	int fd = memfd_create("roost-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	enum err e = OK;

	*fd_out = -1;
	if (fd < 0)
		return err_from_errno(errno);
	/* A process that could shrink it would kill its readers with SIGBUS. */
	if (ftruncate(fd, (off_t)file_size()) != 0 ||
		pwrite(fd, &rows_hash, sizeof(rows_hash), 0) != (ssize_t)sizeof(rows_hash) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		e = err_from_errno(errno);
		close(fd);
		return e;
	}
	*fd_out = fd;
	return OK;
}

enum err
metrics_read_only(int fd, int *fd_out)
{
	char *path = mem_printf("/proc/self/fd/%d", fd);

	*fd_out = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	return *fd_out < 0 ? err_from_errno(errno) : OK;
}

enum err
metrics_map(int fd, int writable, struct metrics_cells **out)
{
	size_t size = file_size();
	struct stat st;
	uint64_t hash;
	void *p;

	*out = NULL;
	if (fstat(fd, &st) != 0)
		return err_from_errno(errno);
	if (st.st_size != (off_t)size || pread(fd, &hash, sizeof(hash), 0) != sizeof(hash) ||
		hash != rows_hash)
		return E_STATE;
	p = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_from_errno(errno);
	*out = p;
	return OK;
}

void
metrics_unmap(struct metrics_cells **cells)
{
	if (*cells == here.array)
		here.array = NULL;
	if (*cells)
		munmap(*cells, file_size());
	*cells = NULL;
}

void
metrics_use(struct metrics_cells *cells, const char *name)
{
	here.array = cells;
	here.daemon = name;
}

const char *
metrics_daemon(void)
{
	return here.daemon;
}

void
metrics_clear_gauges(struct metrics_cells *cells)
{
	make_layout();
	for (size_t i = 0; i < METRICS; i++) {
		const struct metrics_layout *l = &layouts[i];

		if (strcmp(rows[i].type, "gauge") != 0)
			continue;
		for (size_t at = l->first; at < l->first + l->combinations; at++)
			atomic_store_explicit(&cells->cells[at], 0, memory_order_relaxed);
	}
}

/* ---- counting ---- */

static size_t
value_index(const struct metrics_label *label, const char *value)
{
	size_t i;

	for (i = 0; i + 1 < label->count; i++)
		if (str_equal(label->values[i], str_of(value)))
			break;
	return i;
}

/* The first cell of the combination of label values. */
static size_t
cell_at(enum metric m, va_list ap)
{
	const struct metrics_layout *l = &layouts[m];
	const char *value = "";
	size_t at = 0;

	for (size_t i = 0; i < l->label_count; i++) {
		value = value ? va_arg(ap, const char *) : NULL;
		at = at * l->labels[i].count +
		     (value ? value_index(&l->labels[i], value) : l->labels[i].count - 1);
	}
	return l->first + at * l->width;
}

static void
add(struct metrics_cells *cells, size_t at, uint64_t n)
{
	atomic_fetch_add_explicit(&cells->cells[at], n, memory_order_relaxed);
}

static void
set(struct metrics_cells *cells, size_t at, uint64_t n)
{
	atomic_store_explicit(&cells->cells[at], n, memory_order_relaxed);
}

static void
observe(enum metric m, size_t at, int64_t us)
{
	const struct metrics_layout *l = &layouts[m];
	size_t bucket = 0;

	if (us < 0)
		us = 0;
	while (bucket < l->bucket_count && us > l->bucket_us[bucket])
		bucket++;
	add(here.array, at + bucket, 1);
	add(here.array, at + l->bucket_count + 1, (uint64_t)us);
}

void
metrics_add(enum metric m, uint64_t n)
{
	if (here.array)
		add(here.array, layouts[m].first, n);
}

void
metrics_set(enum metric m, uint64_t n)
{
	if (here.array)
		set(here.array, layouts[m].first, n);
}

void
metrics_observe_us(enum metric m, int64_t us)
{
	if (here.array)
		observe(m, layouts[m].first, us);
}

void
metrics_add_labels(enum metric m, uint64_t n, ...)
{
	va_list ap;

	if (!here.array)
		return;
	va_start(ap, n);
	add(here.array, cell_at(m, ap), n);
	va_end(ap);
}

void
metrics_set_labels(enum metric m, uint64_t n, ...)
{
	va_list ap;

	if (!here.array)
		return;
	va_start(ap, n);
	set(here.array, cell_at(m, ap), n);
	va_end(ap);
}

void
metrics_observe_us_labels(enum metric m, int64_t us, ...)
{
	va_list ap;

	if (!here.array)
		return;
	va_start(ap, us);
	observe(m, cell_at(m, ap), us);
	va_end(ap);
}

void
metrics_add_daemon(struct metrics_cells *cells, enum metric m, uint64_t n, const char *daemon)
{
	add(cells, layouts[m].first + value_index(&layouts[m].labels[0], daemon), n);
}

void
metrics_set_daemon(struct metrics_cells *cells, enum metric m, uint64_t n, const char *daemon)
{
	set(cells, layouts[m].first + value_index(&layouts[m].labels[0], daemon), n);
}

int64_t
metrics_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
