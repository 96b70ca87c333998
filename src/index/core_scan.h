/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_SCAN_H
#define ROOST_INDEX_CORE_SCAN_H

#include "index/core_private.h"

/* Private to core_scan.c, core_scan_read.c and core_scan_apply.c. */

enum scan_mode {
	SCAN_ADDED, /* new/ only, and only what is new in it */
	SCAN_NEW, /* new/, and what is gone from it */
	SCAN_FULL,
};

/* A file that was seen. */
struct scan_entry {
	size_t name_off; /* in scan.names */
	uint32_t uid; /* U= of the name, 0: none */
	unsigned char in_new, taken;
};

/* A file that becomes a message. */
struct scan_fresh {
	struct maildir_name n;
	char name[MAILDIR_NAME_MAX + 1];
	uint32_t uid; /* that it keeps, or 0 */
	int in_new, failed;
	struct core_message m;
};

/* A message whose file is called differently now. */
struct scan_changed {
	uint32_t uid;
	int in_new;
	char name[MAILDIR_NAME_MAX + 1];
};

struct scan {
	struct index_core *core;
	uint32_t mailbox;
	enum scan_mode mode;
	int escalate; /* the mode was too cheap */
	int virgin; /* the mailbox was never read: UIDs in names are believed */
	struct core_box box;
	int fd[2]; /* new, cur */
	int64_t mtime_ns[2]; /* before reading */
	struct buf names; /* NUL-terminated, one behind the other */
	struct scan_entry *entries;
	size_t entry_count, entry_cap;
	struct scan_fresh *fresh;
	size_t fresh_count, fresh_cap;
	struct scan_changed *changed;
	size_t changed_count, changed_cap;
	struct numset missing;
};

/* Reads the directories of s->mode into s->entries, sorted by UID and name. */
enum err scan_read(struct scan *s);
/* Compares them with the index: fills fresh, changed, missing. */
core_step scan_compare;
/* Gives UIDs and names to what is fresh, on disk. */
enum err scan_name_fresh(struct scan *s);
/* Takes all of it into the index. */
core_step scan_apply;
void scan_reset(struct scan *s);

#endif
