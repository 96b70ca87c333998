/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_CONF_H
#define ROOST_LIB_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The configuration: one file for all of Roost, one row per setting in lib/settings.def. The
 * struct, the parser, the manual page and roost.conf.example come from those rows.
 */

struct conf_list {
	char **items; /* NUL-terminated */
	size_t count;
};
/* Whether item is one of the list's, in upper or lower case. */
int conf_list_has(const struct conf_list *list, struct str item);

/* C types of the setting types; sizes are bytes, durations milliseconds. */
#define CONF_CTYPE_STRING char *
#define CONF_CTYPE_PATH char *
#define CONF_CTYPE_ENUM char *
#define CONF_CTYPE_INT int64_t
#define CONF_CTYPE_SIZE uint64_t
#define CONF_CTYPE_DURATION int64_t
#define CONF_CTYPE_BOOL int
#define CONF_CTYPE_LIST struct conf_list

struct config {
#define SECTION(title)
#define SETTING(type, name, def, min, max, unit, help) CONF_CTYPE_##type name;
#include "lib/settings.def"
#undef SETTING
#undef SECTION
	uint64_t generation; /* counts reloads, for logs and `status` */
};

/*
 * Reads the file. Problems are appended to *problems, one line each, as
 * "FILE:LINE: setting 'NAME': what is wrong; what to write instead". An empty or missing path is
 * E_NOTFOUND; any problem is E_PARSE and *out is NULL. Paths left empty are filled in from
 * state_dir. The caller frees *out.
 */
enum err conf_load(const char *path, struct buf *problems, struct config **out);
/* The same from a descriptor that conf_to_memfd made (read from offset 0; fd stays open). */
enum err conf_load_fd(int fd, struct config **out);
/* Writes every setting, the internal ones too, into an anonymous file for the daemons. */
enum err conf_to_memfd(const struct config *conf, int *fd_out);
/*
 * A copy for what outlives a reload, which frees the settings that were current. The caller frees
 * it.
 */
enum err conf_copy(const struct config *conf, struct config **out);
void conf_free(struct config **conf);
/* All defaults with paths below state_dir: for tests and tools. */
struct config *conf_defaults(const char *state_dir);
/*
 * Sets one setting from text as the file would have it (lists: items separated by blanks).
 * E_NOTFOUND: no such setting; E_PARSE, E_RANGE: *why (if not NULL) has the reason.
 */
enum err conf_set(struct config *conf, const char *name, const char *value, struct buf *why);

/* "<state_dir>/run/NAME", on the heap; the caller frees it. */
char *conf_run_path(const struct config *conf, const char *name);

/* For the generated documents and `roostctl config`. */
struct conf_row {
	const char *section, *name, *type, *def, *unit, *help;
	int internal; /* not for the file: handed from the master to its daemons */
};
const struct conf_row *conf_rows(size_t *count);
/* The value as text, as conf_set takes it. */
void conf_value_text(const struct config *conf, const char *name, struct buf *out);

/* Text to value: "10M" → bytes; "90s", "5m", "1h30m", "250ms" → milliseconds; a bare number is
 * bytes or seconds. E_PARSE, E_RANGE. */
enum err conf_parse_size(struct str text, uint64_t *out);
enum err conf_parse_duration(struct str text, int64_t *out_ms);

#endif
