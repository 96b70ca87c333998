/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_IMAP_INDEX_BOX_H
#define ROOST_TEST_IMAP_INDEX_BOX_H

#include <stdint.h>

#include "index/index_client.h"

/* The mailboxes in memory behind imap_index.h. */

enum { BOXES = 64, MESSAGES = 256, KEYWORDS = 8 };

struct message {
	uint32_t uid;
	unsigned flags;
	uint64_t keywords, modseq;
	int64_t date;
	char *text;
	size_t len;
};

struct box {
	int used;
	uint32_t id, uidvalidity, uidnext, recent_from;
	unsigned special_use;
	char *name;
	struct message m[MESSAGES];
	size_t n;
	char *keywords[KEYWORDS];
	size_t keyword_count;
};

/* The last that was given out. */
extern uint64_t memory_modseq;

/* NULL: there is none. */
struct box *memory_box_by_id(uint32_t id);
/* NULL: there is none; b may be NULL. */
struct message *memory_message_find(struct box *b, uint32_t uid);
void memory_message_describe(const struct message *m, struct index_message *out);

#endif
