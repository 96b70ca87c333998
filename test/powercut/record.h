/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_POWERCUT_RECORD_H
#define ROOST_TEST_POWERCUT_RECORD_H

#include <stdint.h>

/*
 * record.so, preloaded (LD_PRELOAD, with the log's path in POWERCUT_LOG), writes down what changes
 * files below a directory, and makes such calls fail on demand. The functions below are for the
 * program that drives the test, which loads record.so as a library.
 */

enum powercut_call {
	POWERCUT_MARK, /* data: a text of the driver's */
	POWERCUT_CREATE, /* ino as name in dir */
	POWERCUT_OPEN, /* not recorded; can fail */
	POWERCUT_WRITE, /* data at off of ino */
	POWERCUT_SYNC, /* of ino, file or directory */
	POWERCUT_TRUNCATE, /* ino to off bytes */
	POWERCUT_TIMES, /* ino */
	POWERCUT_RENAME, /* ino from name in dir to name2 in dir2 */
	POWERCUT_LINK, /* ino as name in dir */
	POWERCUT_UNLINK, /* ino, name in dir; rmdir too */
	POWERCUT_MKDIR, /* ino as name in dir */
	POWERCUT_DUP, /* not recorded; can fail */
};

/* In the log, behind it name, name2 and data, filled up to a multiple of 8 bytes. */
struct powercut_record {
	uint32_t size; /* with what follows it */
	uint32_t call;
	uint64_t ino, dir, dir2;
	uint64_t off;
	int64_t sec, nsec; /* modification time of ino, of dir2 for a rename, after the call */
	int64_t dir_sec, dir_nsec; /* of dir */
	uint32_t name_len, name2_len, data_len, unused;
};

/* Makes the log, size bytes, for what happens below root. 0: done. */
int powercut_create(const char *path, const char *root, uint64_t size);
void powercut_mark(const char *text);
/* How many records found no room. */
uint64_t powercut_lost(void);

/*
 * From now on the after-th call of those whose bits are in calls, and the next ones up to count of
 * them, fail with errnum; below 0 the process gets that signal instead. after 0: none.
 */
void powercut_fault(int errnum, uint32_t calls, int64_t after, int64_t count);
/* Since then: calls that could have failed, that did, and the last of those. */
uint64_t powercut_calls(void);
uint64_t powercut_faults(void);
const char *powercut_fault_what(void);

#endif
