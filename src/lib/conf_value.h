/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_CONF_VALUE_H
#define ROOST_LIB_CONF_VALUE_H

#include <stddef.h>

#include "lib/conf.h"

/* The settings table with what the parser needs of each row. Private to conf*.c. */

enum conf_type {
	CONF_STRING,
	CONF_PATH,
	CONF_ENUM,
	CONF_INT,
	CONF_SIZE,
	CONF_DURATION,
	CONF_BOOL,
	CONF_LIST,
};

struct conf_def {
	enum conf_type type;
	size_t offset; /* of the value in struct config */
	int64_t min, max; /* both 0: no bounds */
};

/* Parallel to conf_rows(). */
const struct conf_def *conf_defs(void);
/* Index of the row with that name, or -1. */
int conf_find(const char *name);
/* The name most like it, for "did you mean"; NULL when none is near. */
const char *conf_nearest(const char *name);

/*
 * Sets row i from n texts (n is 1 except for lists). A list whose unit is "a|b|c" takes these words
 * alone, several in one text too. E_PARSE, E_RANGE: *why gets "what is wrong; what to write
 * instead".
 */
enum err conf_value_set(
	struct config *conf, size_t i, const char *const *texts, size_t n, struct buf *why);
void conf_value_free(struct config *conf, size_t i);
/* The value as one text; list items separated by blanks. */
void conf_value_write(const struct config *conf, size_t i, struct buf *out);

#endif
