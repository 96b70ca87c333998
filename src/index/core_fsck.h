/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_FSCK_H
#define ROOST_INDEX_CORE_FSCK_H

#include "index/core_scan.h"

/* Private to core_fsck*.c. What is checked is the numbered list in doc/storage.md. */

struct fsck {
	struct index_core *core;
	int repair;
	index_fsck_fn *fn;
	void *arg;
};
/*
 * Tells of one finding. e: OK when it was mended, else why not; without repair it is not mended
 * whatever e is.
 */
void fsck_found(const struct fsck *f, const char *check, const char *mailbox, enum err e,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The files of a folder; core_fsck_files.c. */
void fsck_folder(const struct fsck *f, const struct core_box *b);
/* What the index has of a mailbox; core_fsck_box.c. */
enum err fsck_box(const struct fsck *f, uint32_t mailbox);
/* Compares text with a small file and, when told so, writes it. */
void fsck_text(const struct fsck *f, const char *check, const char *mailbox, const char *dir,
	const char *file, struct str want);

#endif
