/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"
#include "mta-lite/alias_list.h"

/*
 * A file of aliases, in which everybody who may write an :include: has a say: what is taken of it
 * is clean text of its kind, and all of the input is used.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_item(const struct alias_item *item)
{
	struct str text = buf_str(&item->text);

	ROOST_ASSERT(text.len > 0 && !str_has_control(text));
	ROOST_ASSERT(!item->exact || item->kind == ALIAS_ADDRESS);
	/* An address can be neither of what is run or written to. */
	if (item->kind == ALIAS_ADDRESS)
		ROOST_ASSERT(text.p[0] != '|' && text.p[0] != '/' && text.p[0] != ':');
	if (item->kind == ALIAS_FILE || item->kind == ALIAS_INCLUDE)
		ROOST_ASSERT(text.p[0] == '/');
}

static void
on_entry(void *arg, struct str name, struct str list, unsigned line)
{
	struct alias_item item = {0};
	const char *why;
	size_t before;
	enum err e;

	(void)arg;
	ROOST_ASSERT(name.len > 0 && line > 0);
	do {
		before = list.len;
		e = alias_list_next(&list, &item, &why);
		ROOST_ASSERT(e == E_NOTFOUND || list.p == NULL || list.len < before);
		if (e == OK)
			check_item(&item);
		else if (e == E_PARSE)
			ROOST_ASSERT(why != NULL);
	} while (e != E_NOTFOUND);
	buf_free(&item.text);
}

static void
on_problem(void *arg, unsigned line, const char *why)
{
	(void)arg;
	ROOST_ASSERT(line > 0 && why != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct alias_reader r = {.entry = on_entry, .problem = on_problem};
	struct str text = str_make((const char *)data, size);

	alias_text_read(text, &r);
	on_entry(NULL, STR("an include"), text, 1);
	return 0;
}
