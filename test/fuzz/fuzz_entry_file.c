/* SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "index/entry_file.h"
#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a folder's file of names and values holds: what was read is read again as it is. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct entry_list one, two;
	struct buf text = {0}, again = {0};
	size_t bad;

	if (entry_list_parse(str_make((const char *)data, size), &one, NULL) == OK) {
		entry_list_format(&one, &text);
		ROOST_ASSERT(entry_list_parse(buf_str(&text), &two, &bad) == OK && bad == 0);
		entry_list_format(&two, &again);
		ROOST_ASSERT(str_equal(buf_str(&text), buf_str(&again)));
		entry_list_free(&two);
	}
	entry_list_free(&one);
	buf_free(&text);
	buf_free(&again);
	return 0;
}
