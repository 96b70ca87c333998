/* SPDX-License-Identifier: MIT */
#include "imap/part.h"

#include "mail/mime.h"

enum err
imap_part_open(
	const struct section *section, const struct index_content *content, struct imap_part *out)
{
	struct str message = str_make(content->p, content->len);
	struct mime_message *m = NULL;

	*out = (struct imap_part){0};
	mime_parse(message, NULL, &m);
	part_table_from_message(m, &out->parts);
	mime_message_free(&m);
	return section_open(section, &out->parts, message, &out->data);
}

void
imap_part_close(struct imap_part *part)
{
	section_data_fini(&part->data);
	part_table_free(&part->parts);
}
