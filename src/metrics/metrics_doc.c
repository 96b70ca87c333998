/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/metrics.h"

/* Writes roost-metrics(8) from the table of metrics. */

static const char head[] =
	".\\\" SPDX-License-Identifier: MIT\n"
	".\\\" Made from the table of metrics by metrics-doc; do not edit.\n"
	".Dd November 28, 2026\n.Dt ROOST-METRICS 8\n.Os\n.Sh NAME\n.Nm roost-metrics\n"
	".Nd show Prometheus what Roost counts\n.Sh DESCRIPTION\n"
	".Nm\n"
	"answers HTTP on\n"
	".Ic listen_metrics :\n"
	".Ql GET /metrics\n"
	"with the metrics below in Prometheus' text format, and\n"
	".Ql GET /healthz\n"
	"with\n"
	".Ql ok ,\n"
	"as long as Roost runs.\n"
	"It is started by the master, runs as\n"
	".Ic user ,\n"
	"touches no file, and can only read what the daemons count.\n"
	"At most 64 clients are served at once, 16 from one address.\n"
	".Pp\n"
	"There is neither a password nor TLS, so the address belongs on this machine or a\n"
	"network of your own.\n"
	"No label names a user, an address or a domain.\n"
	".Pp\n"
	"Each daemon counts in a memory of its own that the master keeps: counters go\n"
	"on when a daemon is restarted, and begin at zero when the master is.\n"
	"The gauges of a daemon that does not run are zero.\n"
	".Sh METRICS\n"
	".Bl -tag -width Ds\n";

enum { WIDTH = 78 };

/* A line's worth of words after another. */
static void
print_wrapped(const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column && column + 1 + len > WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf("%s%.*s", column ? " " : "", (int)len, text);
		text += len + (text[len] == ' ');
	}
	putchar('\n');
}

/* "result=ok|failed kind=a|b" */
static void
print_labels(const char *labels)
{
	while (*labels) {
		size_t name = strcspn(labels, "="), all = strcspn(labels, " ");
		struct buf words = {0};

		for (const char *p = labels + name + 1; p < labels + all; p++) {
			if (*p == '|')
				buf_add_cstr(&words, ", ");
			else
				buf_add_char(&words, *p);
		}
		printf("Label\n.Cm %.*s :\n", (int)name, labels);
		buf_add_char(&words, '.');
		print_wrapped(buf_cstr(&words));
		buf_free(&words);
		labels += all + (labels[all] == ' ');
	}
}

int
main(void)
{
	size_t count;
	const struct metrics_row *rows = metrics_rows(&count);

	fputs(head, stdout);
	for (size_t i = 0; i < count; i++) {
		struct buf help = {0};

		printf(".It Ic %s Pq %s\n", rows[i].name, rows[i].type);
		buf_printf(&help, "%s.", rows[i].help);
		print_wrapped(buf_cstr(&help));
		buf_free(&help);
		print_labels(rows[i].labels);
	}
	puts(".El\n.Sh SEE ALSO\n.Xr roost.conf 5 ,\n.Xr roost 8 ,\n.Xr roostctl 8");
	return 0;
}
