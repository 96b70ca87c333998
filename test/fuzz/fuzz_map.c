/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/log.h"
#include "mta-lite/map_regexp.h"
#include "mta-lite/words.h"

/* Tables in the settings and rules of patterns: the first line is a key, the rest the table. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_table(struct maps *maps, const char *type, struct str text, struct str key)
{
	struct buf name = {0}, value = {0}, why = {0};
	struct map *m;

	buf_printf(&name, "%s:{%.*s}", type, STR_ARG(text));
	if (maps_get(maps, buf_str(&name), &m, &why) == OK) {
		enum err e = map_find(m, key, &value);

		ROOST_ASSERT(e == OK || e == E_NOTFOUND || e == E_TEMPFAIL);
		ROOST_ASSERT(e == OK || value.len == 0 || e == E_NOTFOUND);
	} else {
		ROOST_ASSERT(why.len > 0);
	}
	buf_free(&name);
	buf_free(&value);
	buf_free(&why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"inline", "cidr", "pcre"};
	struct str text = str_make((const char *)data, size), key = str_split(&text, '\n'), word;
	struct config *conf = conf_defaults("/nonexistent");
	struct maps *maps = maps_create(conf);
	size_t i;

	log_set_level(LOGL_ERROR);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		try_table(maps, types[i], text, key);
	while (words_next(&text, &word, NULL))
		ROOST_ASSERT(word.len > 0);
	maps_free(&maps);
	conf_free(&conf);
	return 0;
}
