/* SPDX-License-Identifier: MIT */
#include "lib/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"

struct memory {
	int fd;
	struct metrics_cells *cells;
};

static struct memory
memory_create(void)
{
	struct memory m;

	assert_int_equal(metrics_create(&m.fd), OK);
	assert_int_equal(metrics_map(m.fd, 1, &m.cells), OK);
	return m;
}

static void
memory_free(struct memory *m)
{
	metrics_unmap(&m->cells);
	io_close(&m->fd);
}

static void
expect(struct metrics_cells *const *arrays, size_t count, const char *line)
{
	struct buf text = {0}, want = {0};

	metrics_print(arrays, count, &text);
	buf_printf(&want, "\n%s\n", line);
	if (!strstr(buf_cstr(&text), buf_cstr(&want)))
		fail_msg("no line \"%s\" in:\n%s", line, buf_cstr(&text));
	buf_free(&text);
	buf_free(&want);
}

/* Without memory nothing happens. */
static void
test_nowhere(void **state)
{
	(void)state;
	metrics_add(METRIC_SESSIONS_ASLEEP, 1);
	metrics_add_labels(METRIC_LOG_LINES, 1, "imap", "warn", NULL);
	metrics_set(METRIC_SESSIONS_ASLEEP, 3);
}

static void
test_labels(void **state)
{
	struct memory m = memory_create();

	(void)state;
	metrics_use(m.cells, "imap");
	metrics_add_labels(METRIC_LOG_LINES, 2, "imap", "error", NULL);
	metrics_add_labels(METRIC_LOG_LINES, 5, "nonsense", "warn", NULL);
	metrics_add_labels(METRIC_LOG_LINES, 1, "auth", NULL);
	expect(&m.cells, 1, "roost_log_lines_total{daemon=\"imap\",level=\"error\"} 2");
	expect(&m.cells, 1, "roost_log_lines_total{daemon=\"imap\",level=\"warn\"} 0");
	expect(&m.cells, 1, "roost_log_lines_total{daemon=\"other\",level=\"warn\"} 5");
	expect(&m.cells, 1, "roost_log_lines_total{daemon=\"auth\",level=\"error\"} 1");
	memory_free(&m);
	metrics_add(METRIC_SESSIONS_ASLEEP, 1); /* the memory is gone */
}

/* Several daemons add up, NULL ones are skipped; gauges go back to zero alone. */
static void
test_sum(void **state)
{
	struct memory a = memory_create(), b = memory_create();
	struct metrics_cells *all[] = {a.cells, NULL, b.cells};

	(void)state;
	metrics_use(a.cells, "imap");
	metrics_set_labels(METRIC_SESSIONS, 3, "imap", NULL);
	metrics_add_labels(METRIC_SESSIONS_STARTED, 7, "imap", NULL);
	metrics_use(b.cells, "pop3");
	metrics_set_labels(METRIC_SESSIONS, 4, "pop3", NULL);
	metrics_add_labels(METRIC_SESSIONS_STARTED, 1, "imap", NULL);
	expect(all, 3, "roost_sessions{daemon=\"imap\"} 3");
	expect(all, 3, "roost_sessions{daemon=\"pop3\"} 4");
	expect(all, 3, "roost_sessions_started_total{daemon=\"imap\"} 8");
	metrics_clear_gauges(a.cells);
	expect(all, 3, "roost_sessions{daemon=\"imap\"} 0");
	expect(all, 3, "roost_sessions{daemon=\"pop3\"} 4");
	expect(all, 3, "roost_sessions_started_total{daemon=\"imap\"} 8");
	memory_free(&a);
	memory_free(&b);
}

static void
test_histogram(void **state)
{
	struct memory m = memory_create();

	(void)state;
	metrics_use(m.cells, "lmtp");
	metrics_observe_us_labels(
		METRIC_DELIVERY_DURATION, 1000, "delivered", NULL); /* on the bound */
	metrics_observe_us_labels(METRIC_DELIVERY_DURATION, 1001, "delivered", NULL);
	metrics_observe_us_labels(METRIC_DELIVERY_DURATION, -5, "delivered", NULL);
	metrics_observe_us_labels(METRIC_DELIVERY_DURATION, 61000000, "delivered", NULL);
	expect(&m.cells, 1,
		"roost_delivery_duration_seconds_bucket{result=\"delivered\",le=\"0.001\"} 2");
	expect(&m.cells, 1,
		"roost_delivery_duration_seconds_bucket{result=\"delivered\",le=\"0.0025\"} 3");
	expect(&m.cells, 1,
		"roost_delivery_duration_seconds_bucket{result=\"delivered\",le=\"60\"} 3");
	expect(&m.cells, 1,
		"roost_delivery_duration_seconds_bucket{result=\"delivered\",le=\"+Inf\"} 4");
	expect(&m.cells, 1, "roost_delivery_duration_seconds_sum{result=\"delivered\"} 61.002001");
	expect(&m.cells, 1, "roost_delivery_duration_seconds_count{result=\"delivered\"} 4");
	memory_free(&m);
}

/* What children add counts, and their end takes nothing away. */
static void
test_children(void **state)
{
	struct memory m = memory_create();

	(void)state;
	metrics_use(m.cells, "imap");
	for (int i = 0; i < 4; i++) {
		if (fork() == 0) {
			for (int n = 0; n < 10000; n++)
				metrics_add_labels(METRIC_SESSIONS_STARTED, 1, "imap", NULL);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	expect(&m.cells, 1, "roost_sessions_started_total{daemon=\"imap\"} 40000");
	memory_free(&m);
}

/* A reader cannot write, nobody can shrink it, and what is no such memory is refused. */
static void
test_memory(void **state)
{
	struct memory m = memory_create();
	struct metrics_cells *cells;
	int fd;

	(void)state;
	assert_int_equal(metrics_read_only(m.fd, &fd), OK);
	assert_int_not_equal(metrics_map(fd, 1, &cells), OK);
	assert_int_equal(metrics_map(fd, 0, &cells), OK);
	metrics_unmap(&cells);
	assert_int_not_equal(ftruncate(m.fd, 0), 0);
	io_close(&fd);
	memory_free(&m);
	fd = fileno(tmpfile());
	assert_int_equal(metrics_map(fd, 0, &cells), E_STATE);
	assert_null(cells);
}

/* The rows keep Prometheus' conventions. */
static void
test_rows(void **state)
{
	size_t count;
	const struct metrics_row *rows = metrics_rows(&count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		const char *name = rows[i].name, *last = strrchr(name, '_');

		assert_true(strncmp(name, "roost_", 6) == 0);
		assert_true(rows[i].help[0] && rows[i].help[strlen(rows[i].help) - 1] != '.');
		assert_int_equal(strcmp(rows[i].type, "counter") == 0, strcmp(last, "_total") == 0);
		assert_int_equal(
			strcmp(rows[i].type, "histogram") == 0, rows[i].buckets[0] != '\0');
		if (rows[i].buckets[0])
			assert_string_equal(last, "_seconds");
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(name, rows[j].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nowhere),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_children),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
