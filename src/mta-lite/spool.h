/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SPOOL_H
#define ROOST_MTA_SPOOL_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * One message on its way: in memory up to SPOOL_MEMORY_MAX bytes, then in a file without a name
 * that vanishes with the process.
 */
enum { SPOOL_MEMORY_MAX = 256 << 10 };

struct spool {
	struct buf mem;
	int fd; /* -1 while all is in memory */
	uint64_t size;
	uint64_t start; /* in the file */
	const char *dir; /* borrowed */
};

void spool_init(struct spool *s, const char *dir);
/* What lies in a file already: size bytes at start. The descriptor is duplicated. E_IO. */
enum err spool_of_file(struct spool *s, int fd, uint64_t start, uint64_t size);
/* Empties it; the memory is kept for the next message. */
void spool_reset(struct spool *s);
void spool_free(struct spool *s);
/* E_NOSPACE, E_IO, E_ACCESS: logged; the spool can only be reset. */
enum err spool_add(struct spool *s, struct str bytes);
/*
 * At most size bytes at offset: *out is a slice of p or of the spool's memory, borrowed until the
 * next change; empty at the end. E_IO.
 */
enum err spool_read(struct spool *s, uint64_t offset, void *p, size_t size, struct str *out);

#endif
