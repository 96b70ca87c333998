/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mta-lite/content.h"
#include "mta-lite/milter_wire.h"

/*
 * A message of any bytes, and a filter's edits of it made of the same bytes: whatever is put in,
 * the header stays one and the body stays behind it.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_whole(struct content *c)
{
	struct buf all = {0};
	char bytes[4096];
	struct str piece;

	while (content_read(c, all.len, bytes, sizeof(bytes), &piece) == OK && piece.len > 0)
		buf_add_str(&all, piece);
	if (all.len != content_size(c) || content_size(c) < content_body_size(c))
		abort();
	buf_free(&all);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_make((const char *)data, size), name, value;
	struct milter_terms terms = {0};
	struct spool spool;
	struct content *c;
	size_t fields, i;

	(void)milter_terms_parse(in, &terms);
	milter_terms_free(&terms);
	spool_init(&spool, "/tmp");
	if (spool_add(&spool, in) == OK && content_load(&spool, "/tmp", &c) == OK) {
		check_whole(c);
		fields = content_field_count(c);
		if (milter_get_text(&in, &name) == OK && milter_get_text(&in, &value) == OK) {
			if (content_insert(c, size % (fields + 1), name, value) == OK &&
				content_field_count(c) != ++fields)
				abort();
			if (fields > 0 && content_set_value(c, 0, value) == OK)
				content_remove(c, fields - 1);
			content_body_replace(c);
			(void)content_body_add(c, value);
			(void)content_body_add(c, name);
		}
		for (i = 0; i < content_field_count(c); i++) {
			struct str text = content_field_text(c, i);

			if (memmem(text.p ? text.p : "", text.len, "\r\n\r\n", 4))
				abort();
		}
		check_whole(c);
		content_free(&c);
	}
	spool_free(&spool);
	return 0;
}
