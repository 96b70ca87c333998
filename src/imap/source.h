/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SOURCE_H
#define ROOST_IMAP_SOURCE_H

#include "imap/parse.h"
#include "lib/buf.h"
#include "lib/stream.h"

/* Feeds the parser from a client's stream. A zeroed one with the first two fields set is ready. */
struct imap_stream_source {
	struct stream *client;
	size_t max_line;
	struct buf stand_in; /* the beginning and end of a line that was too long */
};

struct imap_source imap_stream_source(struct imap_stream_source *s);
void imap_stream_source_fini(struct imap_stream_source *s);

#endif
