/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_PART_H
#define ROOST_IMAP_PART_H

#include "index/index_client.h"
#include "mail/section.h"

/* A section of a message that is looked at once, without the index's cache. */
struct imap_part {
	struct part_table parts;
	struct section_data data;
};

/* E_NOTFOUND: no such part. The caller calls imap_part_close in each case, before content is
 * closed. */
enum err imap_part_open(
	const struct section *section, const struct index_content *content, struct imap_part *out);
void imap_part_close(struct imap_part *part);

#endif
