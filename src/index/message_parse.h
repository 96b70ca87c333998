/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_MESSAGE_PARSE_H
#define ROOST_INDEX_MESSAGE_PARSE_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/* All that the index keeps of a message's content, from its file. */
struct message_parsed {
	uint64_t size_crlf;
	int64_t mtime_s;
	unsigned char email_id[16], thread_id[16];
	struct buf cache; /* mail/cache.h; empty: the record would be over INDEX_PROTO_CACHE_MAX */
};
/*
 * Reads the file piece by piece and maps nothing, so that whoever cuts it short meanwhile does no
 * harm; memory is bounded by the parser's limits, time is linear in the size. max: bytes of the
 * message, unfolded. E_TOOBIG, E_IO, E_NOTFOUND: no regular file. After an error *out is empty.
 */
enum err message_parse_fd(int fd, uint64_t max, struct message_parsed *out);
void message_parsed_free(struct message_parsed *m);

#endif
