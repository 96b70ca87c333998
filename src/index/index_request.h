/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_REQUEST_H
#define ROOST_INDEX_REQUEST_H

#include "index/index_proto.h"
#include "index/index_service.h"

/* Between index_request.c, of an owner's frames, and those of a guest's: index_guest_*.c. */

/* Ascending and disjoint ranges; else E_PROTO in r->err. */
void index_frame_get_set(struct ipc_reader *r, struct numset *out);
void index_frame_put_set(struct buf *b, const struct numset *s);
/* At most INDEX_KEYWORDS_MAX; the strings are borrowed from the frame. */
size_t index_frame_get_keywords(struct ipc_reader *r, struct str words[INDEX_KEYWORDS_MAX]);
/* One message of APPEND; the caller frees m->keywords. */
void index_frame_get_append(struct ipc_reader *r, struct index_core_append *m);
/*
 * Changes of annotations and of rights, each to the end of its frame. The strings are borrowed from
 * that; the caller frees *list, which is NULL after an error. E_PROTO.
 */
enum err index_frame_get_metadata(
	struct ipc_reader *r, uint32_t *mailbox, struct index_metadata **list, uint32_t *count);
struct index_acl_change {
	uint32_t mailbox;
	enum index_acl_op op;
	struct str identifier, rights;
};
enum err index_frame_get_acl(struct ipc_reader *r, struct index_acl_change *out);
void index_answer_ok(struct index_conn *c, uint32_t request);
void index_answer_committed(struct index_conn *c, uint32_t request, uint32_t uidvalidity,
	uint64_t modseq, uint32_t first, uint32_t n);

/* As dispatch for an owner's connection: a request of a guest. */
enum err index_guest_dispatch(struct index_conn *c, struct ipc_msg *m, const char **name);

#endif
