/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_DEFLATE_H
#define ROOST_IMAP_DEFLATE_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/stream.h"

/*
 * COMPRESS=DEFLATE (RFC 4978): raw DEFLATE (RFC 1951) both ways, as a filter of the stream. Some
 * 300 KB while a session is awake.
 */
enum { IMAP_DEFLATE_KEPT_MAX = 32 * 1024 };

/*
 * Begins to compress and to decompress what the client sends. kept: of an earlier session with this
 * client, see imap_deflate_keep; empty for a client that begins, too.
 */
enum err imap_deflate_start(struct stream *client, struct str kept);
/*
 * For a session that goes to sleep, when all output was flushed: what is needed to go on, appended
 * to *out; at most IMAP_DEFLATE_KEPT_MAX bytes. E_STATE: the client has left its last block open,
 * or aligned to no byte.
 */
enum err imap_deflate_keep(struct stream *client, struct buf *out);

#endif
