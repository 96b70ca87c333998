/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_LOG_H
#define ROOST_LIB_LOG_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * One line per event, on descriptor 2:
 *
 *   2026-11-20T22:10:04.123Z info imap.login ok user=alice@example.test ip=127.0.0.1
 *
 * The event is "module.noun outcome". Values with blanks, quotes or control bytes are quoted and
 * escaped, so that no text of a peer can forge a line or a key. Never log a password or a
 * message's content. Safe from several threads; a line is one write(2).
 */
enum log_level { LOGL_DEBUG, LOGL_INFO, LOGL_WARN, LOGL_ERROR };

/* name: the process, e.g. "imap"; a static string. Lines below level are dropped. */
void log_init(const char *name, enum log_level level);
void log_set_level(enum log_level level);
int log_enabled(enum log_level level);
/* "debug", "info", "warn", "error". E_PARSE: *out is unchanged. */
enum err log_level_parse(const char *word, enum log_level *out);
/* From now on syslog(3) gets each line instead of descriptor 2. */
void log_use_syslog(void);

/*
 * Adds "key=value" to every later line of this process; a session sets "session" to its id once.
 * value is copied; NULL takes the key off. At most 4 keys.
 */
void log_set_context(const char *key, const char *value);

/* Pairs of const char *key, const char *value, ended by a NULL key. A NULL value skips its pair. */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/*
 * Values for log_event that are not C strings: formatted into one of 16 thread-local slots, good
 * until the 16th call after.
 */
const char *log_u64(uint64_t n);
const char *log_i64(int64_t n);
const char *log_str(struct str s); /* cut at 255 bytes */
const char *log_errno(int errnum); /* "No such file or directory" */

/* For a bug of ours: logs "bug" with the place and ends the process with abort(). */
void log_bug(const char *file, int line, const char *what) __attribute__((noreturn));
#define ROOST_ASSERT(cond) ((cond) ? (void)0 : log_bug(__FILE__, __LINE__, #cond))

#endif
