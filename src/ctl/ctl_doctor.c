/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "lib/net.h"

enum { SELECTORS_MAX = 16, CONNECT_MS = 3000 };

static const char *const level_words[] = {"ok", "note", "warning", "error"};

void
doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *remedy,
	const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	d->counts[level]++;
	json_array_append_new(
		d->findings, json_pack("{s:s, s:s, s:s, s:s*}", "level", level_words[level],
				     "check", check, "finding", buf_cstr(&text), "remedy", remedy));
	buf_free(&text);
}

/* ---- services ---- */

/* What other programs change in PostgreSQL; in SQLite nobody would tell. */
static void
check_changes(struct doctor *d, const json_t *status)
{
	if (!json_is_true(json_object_get(status, "database_watched")))
		doctor_say(d, DOCTOR_WARNING, "database",
			"see in the log why roost-auth cannot listen; a pooler in front of the "
			"database must pass notifications on",
			"changes in the database itself are not heard of");
	else if (!json_is_true(json_object_get(status, "lookups_remembered")))
		doctor_say(d, DOCTOR_NOTE, "database",
			"for PostfixAdmin's tables run postfixadmin_watch.sql; passwd_file and "
			"queries of one's own cannot do without",
			"the database is asked for each recipient, since not every change is told");
	else
		doctor_say(d, DOCTOR_OK, "database", NULL,
			"changes in the database itself are heard of");
}

static void
check_database(struct doctor *d, const json_t *status)
{
	const char *database = json_string_value(json_object_get(status, "database"));

	if (json_is_false(json_object_get(status, "database_up"))) {
		doctor_say(d, DOCTOR_ERROR, "database",
			"see that the database runs, and look at the settings sqlite_path "
			"or postgresql and into the log",
			"the %s database does not answer", database);
		return;
	}
	doctor_say(d, DOCTOR_OK, "database", NULL, "the %s database answers", database);
	if (database && strcmp(database, "postgresql") == 0)
		check_changes(d, status);
}

/* Every daemon has a control socket in run/, ctl-NAME. */
static unsigned
check_service(struct doctor *d, const char *name)
{
	json_t *status;
	char *message;

	if (ctl_call(d->conf, name, "status", NULL, &status, &message)) {
		doctor_say(d, DOCTOR_ERROR, "services",
			"look into the log for why it ended; roostctl status shows all services",
			"%s does not answer: %s", name, message);
		free(message);
		return 0;
	}
	if (strcmp(name, "auth") == 0)
		check_database(d, status);
	json_decref(status);
	return 1;
}

/* Whether Roost runs at all. */
static int
check_services(struct doctor *d)
{
	static const char *const names[] = {"master", "auth", "index", "fts", "lmtp", "imap",
		"idle", "pop3", "smtpd", "qmgr", "smtp", "lmtp-client", "metrics"};
	unsigned up = 0;

	char *path = conf_run_path(d->conf, "ready");
	int running = access(path, F_OK) == 0;

	free(path);
	if (!running) {
		doctor_say(d, DOCTOR_ERROR, "services", "start it with \"roost -c FILE\"",
			"Roost is not running");
		return 0;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		up += check_service(d, names[i]);
	doctor_say(d, DOCTOR_OK, "services", NULL, "%u services answer", up);
	return 1;
}

/*
 * The database's schema, by asking for something that needs it; and the domains, for DNS. NULL: no
 * answer.
 */
static json_t *
check_directory(struct doctor *d)
{
	json_t *domains = NULL;
	char *message = NULL;

	if (ctl_call(d->conf, "auth", "domain-list", NULL, &domains, &message)) {
		doctor_say(d, DOCTOR_ERROR, "database",
			"see that the tables are those of the setting directory_schema and of this "
			"version of Roost",
			"the domains cannot be listed: %s", message);
		free(message);
		return NULL;
	}
	if (json_array_size(domains) == 0)
		doctor_say(d, DOCTOR_WARNING, "database", "roostctl domain add DOMAIN",
			"there is no domain yet, so no mail can come in");
	else
		doctor_say(d, DOCTOR_OK, "database", NULL, "%zu domains", json_array_size(domains));
	return domains;
}

/* ---- ports ---- */

/* "*:25" means all addresses of the host: the loopback one stands for them. */
static enum err
connect_to(const char *text)
{
	struct buf where = {0};
	struct net_addr addr;
	enum err e;
	int fd = -1;

	if (text[0] == '*')
		buf_printf(&where, "127.0.0.1%s", text + 1);
	else if (strncmp(text, "0.0.0.0:", 8) == 0)
		buf_printf(&where, "127.0.0.1%s", text + 7);
	else if (strncmp(text, "[::]:", 5) == 0)
		buf_printf(&where, "[::1]%s", text + 4);
	else
		buf_add_cstr(&where, text);
	e = net_addr_parse(buf_str(&where), 0, &addr);
	e = e ? e : net_connect(&addr, CONNECT_MS, &fd);
	io_close(&fd);
	buf_free(&where);
	return e;
}

static void
check_ports(struct doctor *d)
{
	const struct {
		const char *setting;
		const struct conf_list *list;
	} listeners[] = {{"listen_smtp", &d->conf->listen_smtp},
		{"listen_submission", &d->conf->listen_submission},
		{"listen_submissions", &d->conf->listen_submissions},
		{"listen_reinject", &d->conf->listen_reinject},
		{"listen_imap", &d->conf->listen_imap}, {"listen_imaps", &d->conf->listen_imaps},
		{"listen_pop3", &d->conf->listen_pop3}, {"listen_pop3s", &d->conf->listen_pop3s},
		{"listen_lmtp", &d->conf->listen_lmtp},
		{"listen_metrics", &d->conf->listen_metrics}};
	unsigned reached = 0;

	for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++)
		for (size_t k = 0; k < listeners[i].list->count; k++) {
			const char *text = listeners[i].list->items[k];
			enum err e = connect_to(text);

			if (!e)
				reached++;
			else
				doctor_say(d, DOCTOR_ERROR, "ports",
					"after a change of the configuration run roostctl reload; "
					"otherwise look for a packet filter on this machine",
					"%s: cannot connect to %s: %s", listeners[i].setting, text,
					err_text(e));
		}
	doctor_say(d, DOCTOR_OK, "ports", NULL, "%u listeners take connections from this machine",
		reached);
}

/* ---- the whole ---- */

static void
print_findings(const json_t *findings)
{
	const json_t *row;
	size_t i;

	json_array_foreach(findings, i, row)
	{
		const char *remedy = json_string_value(json_object_get(row, "remedy"));

		printf("%-8s %-12s %s\n", json_string_value(json_object_get(row, "level")),
			json_string_value(json_object_get(row, "check")),
			json_string_value(json_object_get(row, "finding")));
		if (remedy)
			printf("%-8s %-12s -> %s\n", "", "", remedy);
	}
}

static const char **
names_of(const json_t *domains)
{
	const char **names = mem_zalloc((json_array_size(domains) + 1) * sizeof(*names));
	const json_t *row;
	size_t i, n = 0;

	json_array_foreach(domains, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "domain"));

		if (name)
			names[n++] = name;
	}
	return names;
}

static void
finish(struct doctor *d)
{
	if (d->tool->json) {
		json_t *result = json_pack("{s:O, s:i, s:i}", "findings", d->findings, "errors",
			(int)d->counts[DOCTOR_ERROR], "warnings", (int)d->counts[DOCTOR_WARNING]);

		tool_print(d->tool, &result, NULL);
	} else {
		print_findings(d->findings);
		printf("%u errors, %u warnings\n", d->counts[DOCTOR_ERROR],
			d->counts[DOCTOR_WARNING]);
	}
	if (d->counts[DOCTOR_ERROR])
		d->tool->exit_status = EXIT_FAILURE;
	json_decref(d->findings);
}

static enum err
server_doctor(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"no-dns", 1}, {0}};
	struct doctor d = {.tool = t, .conf = t->conf, .findings = json_array()};
	const char *selectors[SELECTORS_MAX + 1] = {0};
	size_t selector_count;
	json_t *domains = NULL;
	struct tool_args a;
	enum err e = tool_list_take(
		&argc, argv, "dkim-selector", selectors, SELECTORS_MAX, &selector_count);

	e = e ? e : tool_args_parse(argc, argv, options, 0, 0, &a);
	if (e) {
		json_decref(d.findings);
		return e;
	}
	doctor_check_host(&d);
	doctor_check_certificate(&d);
	if (check_services(&d)) {
		check_ports(&d);
		domains = check_directory(&d);
	}
	if (a.values[0]) {
		doctor_say(&d, DOCTOR_NOTE, "dns", NULL, "not looked at (--no-dns)");
	} else {
		const char **names = names_of(domains);

		doctor_check_dns(&d, names, selectors);
		free(names);
	}
	finish(&d);
	json_decref(domains);
	return OK;
}

const struct tool_verb tool_verbs_doctor[] = {
	{"doctor", NULL, "[--no-dns] [--dkim-selector NAME]...",
		"Looks at everything around Roost that can be wrong, and says what to do about it",
		server_doctor},
	{0},
};
