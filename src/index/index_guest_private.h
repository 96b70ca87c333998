/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_INDEX_GUEST_PRIVATE_H
#define ROOST_INDEX_INDEX_GUEST_PRIVATE_H

#include "index/index_request.h"

/* Between index_guest_request.c, index_guest_entries.c and index_guest_url.c. */

typedef enum err index_guest_request_fn(
	struct index_conn *c, uint32_t request, struct ipc_reader *r);

/*
 * Whether the guest has these rights to the mailbox now. E_ACCESS; E_NOTFOUND: of a mailbox without
 * any right to it, and without "l", he learns nothing.
 */
enum err index_guest_need(struct index_conn *c, uint32_t mailbox, unsigned rights);
/*
 * What came of reading or writing the guest's own index. One that does not hold together is his
 * loss, whoever damaged it, and never the owner's.
 */
enum err index_guest_failed(struct index_conn *c, enum err e);
/* A change that is the guest's alone: all of his connections hear of it, and who of him sleeps. */
void index_guest_told(struct index_conn *c, uint32_t mailbox, uint64_t modseq);
/* After a change: what the owner shares may be something else now. */
enum err index_guest_tree_changed(struct index_conn *c);

index_guest_request_fn index_guest_metadata_get, index_guest_metadata_set, index_guest_acl_get,
	index_guest_acl_set, index_guest_url_may, index_guest_url_told;

#endif
