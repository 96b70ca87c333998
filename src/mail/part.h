/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_PART_H
#define ROOST_MAIL_PART_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/mime.h"

/*
 * The part table of a message: where each part stands in the stored bytes, without any text. It
 * comes from a parsed message or from a cache record, and is all that FETCH BODY[1.2] needs.
 */
struct part_entry {
	uint32_t parent; /* index in the table, smaller than its own; the root's is 0 */
	uint32_t number; /* among the children of the parent, from 1 */
	enum mime_kind kind;
	enum mail_encoding encoding;
	uint64_t header_off, header_len, header_bare_lf;
	uint64_t body_len, body_bare_lf, body_lines; /* body_off = header_off + header_len */
};

/* In the order of the message: v[0] is the root, a part comes before its children. n >= 1. */
struct part_table {
	struct part_entry *v;
	size_t n;
};

enum { PART_TABLE_MAX = 65536, PART_DEPTH_MAX = 64 };

void part_table_from_message(const struct mime_message *m, struct part_table *out);
/* Frees what it holds; a zeroed one is valid. */
void part_table_free(struct part_table *t);

/* The form on disk. E_TOOBIG: out is full. */
enum err part_table_write(const struct part_table *t, struct buf *out);
/* E_CORRUPT: not a table, or ranges that leave their message or parent; *out is empty. */
enum err part_table_read(struct str bytes, struct part_table *out);

#endif
