/* SPDX-License-Identifier: MIT */
#include "lib/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/mem.h"
#include "lib/metrics.h"

enum {
	LOG_LINE_MAX = 4096,
	LOG_CONTEXT_MAX = 4,
	LOG_SLOTS = 16,
	LOG_SLOT_SIZE = 256,
};

static struct {
	const char *name;
	enum log_level level;
	int to_syslog;
	struct {
		char *key, *value;
	} context[LOG_CONTEXT_MAX];
} logger = {.name = "roost", .level = LOGL_INFO};

static const char *const level_words[] = {"debug", "info", "warn", "error"};
static const int level_syslog[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR};

void
log_init(const char *name, enum log_level level)
{
	logger.name = name;
	logger.level = level;
}

void
log_set_level(enum log_level level)
{
	logger.level = level;
}

int
log_enabled(enum log_level level)
{
	return level >= logger.level;
}

enum err
log_level_parse(const char *word, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(level_words) / sizeof(level_words[0]); i++) {
		if (strcmp(word, level_words[i]) == 0) {
			*out = (enum log_level)i;
			return OK;
		}
	}
	return E_PARSE;
}

void
log_use_syslog(void)
{
	openlog("roost", LOG_PID, LOG_MAIL);
	logger.to_syslog = 1;
}

void
log_set_context(const char *key, const char *value)
{
	size_t spare = LOG_CONTEXT_MAX;

	for (size_t i = 0; i < LOG_CONTEXT_MAX; i++) {
		if (!logger.context[i].key) {
			if (spare == LOG_CONTEXT_MAX)
				spare = i;
			continue;
		}
		if (strcmp(logger.context[i].key, key) != 0)
			continue;
		MEM_FREE(logger.context[i].value);
		if (value)
			logger.context[i].value = mem_strdup(value);
		else
			MEM_FREE(logger.context[i].key);
		return;
	}
	if (!value || spare == LOG_CONTEXT_MAX)
		return;
	logger.context[spare].key = mem_strdup(key);
	logger.context[spare].value = mem_strdup(value);
}

/* A line under construction in a fixed space: what does not fit is cut off. */
struct line {
	char text[LOG_LINE_MAX];
	size_t len;
};

static void
line_add(struct line *l, const char *text, size_t len)
{
	size_t room = sizeof(l->text) - 1 - l->len; /* keep one byte for the line feed */

	if (len > room)
		len = room;
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static int
needs_quotes(const char *value)
{
	if (!*value)
		return 1;
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == '"' || *p == '\\' || *p == '=' || *p == 0x7f)
			return 1;
	return 0;
}

static void
line_add_value(struct line *l, const char *value)
{
	if (!needs_quotes(value)) {
		line_add(l, value, strlen(value));
		return;
	}
	line_add(l, "\"", 1);
	for (const char *p = value; *p; p++) {
		unsigned char c = (unsigned char)*p;
		char escaped[5];

		if (c == '"' || c == '\\') {
			escaped[0] = '\\';
			escaped[1] = (char)c;
			line_add(l, escaped, 2);
		} else if (c < ' ' || c == 0x7f) {
			snprintf(escaped, sizeof(escaped), "\\x%02x", c);
			line_add(l, escaped, 4);
		} else {
			line_add(l, p, 1);
		}
	}
	line_add(l, "\"", 1);
}

static void
line_add_pair(struct line *l, const char *key, const char *value)
{
	line_add(l, " ", 1);
	line_add(l, key, strlen(key));
	line_add(l, "=", 1);
	line_add_value(l, value);
}

static void
line_begin(struct line *l, enum log_level level, const char *event)
{
	struct timespec now;
	struct tm tm;
	char stamp[64];
	int len;

	l->len = 0;
	if (!logger.to_syslog) {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		len = snprintf(stamp, sizeof(stamp), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ ",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			tm.tm_sec, now.tv_nsec / 1000000);
		line_add(l, stamp, (size_t)len);
	}
	line_add(l, level_words[level], strlen(level_words[level]));
	line_add(l, " ", 1);
	line_add(l, event, strlen(event));
}

void
log_event(enum log_level level, const char *event, ...)
{
	struct line l;
	const char *key;
	va_list ap;

	if (level >= LOGL_WARN)
		metrics_add_labels(METRIC_LOG_LINES, 1, metrics_daemon(),
			level == LOGL_WARN ? "warn" : "error", NULL);
	if (!log_enabled(level))
		return;
	line_begin(&l, level, event);
	va_start(ap, event);
	while ((key = va_arg(ap, const char *))) {
		const char *value = va_arg(ap, const char *);

		if (value)
			line_add_pair(&l, key, value);
	}
	va_end(ap);
	for (size_t i = 0; i < LOG_CONTEXT_MAX; i++)
		if (logger.context[i].key)
			line_add_pair(&l, logger.context[i].key, logger.context[i].value);
	if (logger.to_syslog) {
		syslog(level_syslog[level], "%.*s", (int)l.len, l.text);
		return;
	}
	l.text[l.len++] = '\n';
	/* One write, so that lines of many processes do not mix; a lost log line stops nothing. */
	(void)!write(STDERR_FILENO, l.text, l.len);
}

static char *
log_slot(void)
{
	static _Thread_local char slots[LOG_SLOTS][LOG_SLOT_SIZE];
	static _Thread_local unsigned next;

	return slots[next++ % LOG_SLOTS];
}

const char *
log_u64(uint64_t n)
{
	char *slot = log_slot();

	snprintf(slot, LOG_SLOT_SIZE, "%" PRIu64, n);
	return slot;
}

const char *
log_i64(int64_t n)
{
	char *slot = log_slot();

	snprintf(slot, LOG_SLOT_SIZE, "%" PRId64, n);
	return slot;
}

const char *
log_str(struct str s)
{
	char *slot = log_slot();
	size_t len = s.len < LOG_SLOT_SIZE - 1 ? s.len : LOG_SLOT_SIZE - 1;

	for (size_t i = 0; i < len; i++)
		slot[i] = s.p[i] ? s.p[i] : '?';
	slot[len] = '\0';
	return slot;
}

const char *
log_errno(int errnum)
{
	char *slot = log_slot();

	return strerror_r(errnum, slot, LOG_SLOT_SIZE);
}

void
log_bug(const char *file, int line, const char *what)
{
	log_event(LOGL_ERROR, "bug", "process", logger.name, "file", file, "line", log_i64(line),
		"what", what, NULL);
	abort();
}
