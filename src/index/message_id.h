/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_MESSAGE_ID_H
#define ROOST_INDEX_MESSAGE_ID_H

#include <stddef.h>
#include <stdint.h>

#include "lib/str.h"

/* What a message's content says of it: shared by roost-index and its clients. */

/* Sum of the size with every line end CRLF. */
uint64_t message_crlf_size(const char *p, size_t len);

/* SHA-256, cut, over a message with LF line ends: the email id. Fed in pieces cut anywhere. */
struct message_hash;
struct message_hash *message_hash_create(void);
void message_hash_feed(struct message_hash *h, const char *p, size_t len);
/* Frees it; out may be NULL. */
void message_hash_finish(struct message_hash **h, unsigned char out[16]);
/* The thread id: of the oldest message that the cache record refers to; email_id if it names none.
 */
void message_thread_id(
	struct str cache_record, const unsigned char email_id[16], unsigned char out[16]);

#endif
