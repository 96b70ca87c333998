/* SPDX-License-Identifier: MIT */
#include "auth/directory_pg_connect.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "lib/str.h"

/*
 * libpq itself goes through a list of hosts, but only its blocking call watches the time, in whole
 * seconds, and per host. So the list is taken apart here, and each host is polled with a deadline.
 */

enum { KEYWORDS_MAX = 64 };

static size_t
item_count(const char *list)
{
	size_t n = 1;

	for (; list && *list; list++)
		n += *list == ',';
	return n;
}

/* Item i of a list with commas; a list of one stands for every i. On the heap. */
static char *
item_at(const char *list, size_t i)
{
	struct str rest = str_of(list), item = rest;

	if (item_count(list) == 1)
		return mem_strdup(list);
	for (size_t k = 0; k <= i; k++)
		item = str_split(&rest, ',');
	return str_dup(item);
}

static const char *
value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val;
	return NULL;
}

static int
is_host_keyword(const char *keyword)
{
	return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
	       strcmp(keyword, "port") == 0;
}

static void
log_failure(enum log_level level, const char *host, const char *error)
{
	struct str text = str_of(error), line = str_split(&text, '\n');

	log_event(level, "auth.database fail", "backend", "postgresql", "doing", "connect", "host",
		host, "error", log_str(line), NULL);
}

static void
ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static PGconn *
start_host(const PQconninfoOption *options, size_t host)
{
	const char *keywords[KEYWORDS_MAX + 3], *values[KEYWORDS_MAX + 3];
	char *own[KEYWORDS_MAX];
	size_t n = 0, own_count = 0;
	PGconn *conn;

	for (; options->keyword && n < KEYWORDS_MAX; options++) {
		if (!options->val)
			continue;
		keywords[n] = options->keyword;
		values[n] = options->val;
		if (is_host_keyword(options->keyword))
			values[n] = own[own_count++] = item_at(options->val, host);
		n++;
	}
	keywords[n] = "client_encoding";
	values[n++] = "UTF8";
	keywords[n] = "fallback_application_name";
	values[n++] = "roost-auth";
	keywords[n] = NULL;
	values[n] = NULL;
	conn = PQconnectStartParams(keywords, values, 0);
	while (own_count > 0)
		free(own[--own_count]);
	return conn;
}

/* Polls until the connection stands; NULL: it does, else what is wrong. */
static const char *
finish_connect(PGconn *conn, int64_t deadline_ms)
{
	PostgresPollingStatusType want = PGRES_POLLING_WRITING;

	if (PQstatus(conn) == CONNECTION_BAD)
		return PQerrorMessage(conn);
	for (;;) {
		struct pollfd p = {.fd = PQsocket(conn),
			.events = want == PGRES_POLLING_WRITING ? POLLOUT : POLLIN};
		int64_t left = deadline_ms - io_now_ms();

		if (left <= 0)
			return "timeout";
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		want = PQconnectPoll(conn);
		if (want == PGRES_POLLING_OK)
			return NULL;
		if (want == PGRES_POLLING_FAILED)
			return PQerrorMessage(conn);
	}
}

enum err
pg_connect(const char *conninfo, int timeout_ms, enum log_level level, PGconn **out)
{
	char *error = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &error);
	int64_t end_ms = io_now_ms() + timeout_ms;
	size_t hosts;

	*out = NULL;
	if (!options) {
		log_failure(level, NULL, error ? error : "out of memory");
		PQfreemem(error);
		return E_TEMPFAIL;
	}
	hosts = item_count(value_of(options, "hostaddr"));
	if (hosts == 1)
		hosts = item_count(value_of(options, "host"));
	for (size_t i = 0; i < hosts && !*out; i++) {
		int64_t now_ms = io_now_ms();
		PGconn *conn = start_host(options, i);
		const char *why = conn ? finish_connect(conn,
						 now_ms + (end_ms - now_ms) / (int64_t)(hosts - i))
				       : "out of memory";

		if (!why) {
			PQsetNoticeProcessor(conn, ignore_notice, NULL);
			*out = conn;
			break;
		}
		log_failure(level, conn ? PQhost(conn) : NULL, why);
		PQfinish(conn);
	}
	PQconninfoFree(options);
	return *out ? OK : E_TEMPFAIL;
}

void
pg_conninfo_files(const char *conninfo, void (*add)(void *arg, const char *path), void *arg)
{
	static const char *const keywords[] = {
		"sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "passfile"};
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	for (size_t i = 0; options && i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		const char *path = value_of(options, keywords[i]);

		if (path && path[0] == '/')
			add(arg, path);
	}
	PQconninfoFree(options);
}
