/* SPDX-License-Identifier: MIT */
#include "index/adopt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes as each of Courier's files. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size), rest = text;
	struct adopt_keywords words;
	struct adopt_list list;
	struct buf out = {0};
	struct str file;

	if (adopt_courier_uiddb(text, &list) == OK && list.uidvalidity == 0)
		abort();
	for (size_t i = 0; i < list.count; i++)
		if (list.lines[i].uid == 0 || list.lines[i].uid >= list.next_uid)
			abort();
	adopt_list_free(&list);
	adopt_courier_keywords(text, &words);
	file = str_split(&rest, '\n');
	adopt_courier_keyword_change(file, rest, &words);
	adopt_keywords_finish(&words);
	for (size_t i = 0; i < words.count; i++)
		if (!adopt_keywords_find(&words, str_of(words.lines[i].unique)))
			abort();
	adopt_keywords_free(&words);
	adopt_courier_subscriptions(text, &out);
	buf_reset(&out);
	adopt_courier_uidls(text, &out);
	if (out.len && (adopt_dovecot_uidlist(buf_str(&out), &list) || list.uidvalidity != 1))
		abort();
	adopt_list_free(&list);
	buf_free(&out);
	return 0;
}
