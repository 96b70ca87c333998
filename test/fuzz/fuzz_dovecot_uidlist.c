/* SPDX-License-Identifier: MIT */
#include "index/adopt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken over can be stored as it is, and is written back in lines that are taken again. */
static void
rights(struct str text)
{
	char normal[ENTRY_RIGHTS_MAX + 1];
	struct entry_list l, again;
	struct buf out = {0};
	size_t bad;

	adopt_dovecot_acl(text, &l, &bad);
	for (size_t i = 0; i < l.count; i++)
		if (entry_identifier_check(str_of(l.items[i].name)) ||
			entry_rights_normalize(buf_str(&l.items[i].value), normal))
			abort();
	export_dovecot_acl(&l, &out);
	adopt_dovecot_acl(buf_str(&out), &again, &bad);
	if (again.count > l.count)
		abort();
	entry_list_free(&l);
	entry_list_free(&again);
	buf_free(&out);
}

/* Any bytes as each of Dovecot's files: UIDs are unique, and below the next one. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct adopt_list list;
	struct buf out = {0};
	adopt_names names;

	if (adopt_dovecot_uidlist(text, &list) == OK && list.uidvalidity == 0)
		abort();
	for (size_t i = 0; i < list.count; i++) {
		struct adopt_line *line = &list.lines[i];

		if (line->uid == 0 || line->uid >= list.next_uid || line->base.len == 0)
			abort();
		if (i && str_equal(list.lines[i - 1].base, line->base))
			abort();
		buf_reset(&out);
		buf_add_str(&out, line->base);
		buf_add_cstr(&out, ":2,S");
		if (out.len <= MAILDIR_NAME_MAX && adopt_list_find(&list, buf_str(&out), 0) != line)
			abort();
		line->taken = 1;
	}
	adopt_list_free(&list);
	adopt_dovecot_keywords(text, names);
	(void)adopt_dovecot_uidvalidity(text);
	adopt_dovecot_subscriptions(text, &out);
	buf_free(&out);
	rights(text);
	return 0;
}
