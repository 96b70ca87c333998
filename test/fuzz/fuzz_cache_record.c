/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/cache.h"
#include "mail/section.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A claim of a header was broken. */
static void
check(int holds)
{
	if (!holds)
		abort();
}

static enum err
touch(void *ctx, const char *p, size_t len)
{
	char *sum = ctx;

	for (size_t i = 0; i < len; i++)
		*sum ^= p[i];
	return OK;
}

/* A table from the disk over a message that is not its own: an error, never a wrong access. */
static void
sections(const struct part_table *t, struct str message)
{
	static const char *const specs[] = {"", "HEADER", "TEXT", "1", "1.1", "2", "1.MIME",
		"1.TEXT", "HEADER.FIELDS (a)", "2.1.HEADER"};
	char sum = 0;

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct section s;
		struct section_data d;

		check(section_parse(str_of(specs[i]), &s) == OK);
		if (section_open(&s, t, message, &d) == OK) {
			section_write(&d, 3, 10, 0, touch, &sum);
			section_write(&d, 13, UINT64_MAX, 0, touch, &sum);
		}
		section_data_fini(&d);
		section_fini(&s);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char message[] = "A: b\n\n--x\n\none\n--x\nC: d\n\ntwo\n--x--\n";
	char *copy = malloc(size ? size : 1);
	struct str record = str_make(copy, size), s, id;
	struct mail_cache_sizes z;
	struct part_table t;
	time_t when;
	int zone;

	if (size)
		memcpy(copy, data, size);
	mail_cache_check(record);
	for (int f = 0; f < 20; f++)
		if (mail_cache_get(record, (enum mail_cache_field)f, &s) == OK)
			check(s.p >= copy && s.len <= size - (size_t)(s.p - copy));
	if (mail_cache_get(record, MAIL_CACHE_REFERENCES, &s) == OK)
		while (mail_cache_reference_next(&s, &id))
			check(id.len > 0);
	mail_cache_sent_date(record, &when, &zone);
	mail_cache_sizes(record, &z);
	if (mail_cache_header(record, STR("To"), &s) == MAIL_CACHE_HEADER_FOUND)
		check(s.p >= copy && s.len <= size - (size_t)(s.p - copy));
	if (mail_cache_parts(record, &t) == OK)
		sections(&t, str_of(message));
	part_table_free(&t);
	if (part_table_read(record, &t) == OK)
		sections(&t, str_of(message));
	part_table_free(&t);
	free(copy);
	return 0;
}
