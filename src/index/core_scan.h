/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_SCAN_H
#define ROOST_INDEX_CORE_SCAN_H

#include "index/core_uidlist.h"

/* Private to core_scan.c, core_scan_read.c and core_scan_apply.c. */

enum scan_mode {
	SCAN_ADDED, /* new/ only, and only what is new in it */
	SCAN_NEW, /* new/, and what is gone from it */
	SCAN_FULL,
};

/* A file that was seen, with what its name says: names lie anywhere in memory, entries in a row. */
struct scan_entry {
	size_t name_off; /* in scan.names */
	int64_t time; /* that the name begins with */
	uint64_t size, crlf_size; /* S=, W=; UINT64_MAX: not said */
	uint64_t base_hash;
	const struct adopt_line *line; /* of roost-uidlist; or NULL */
	uint32_t uid; /* of the line, else U= of the name, 0: none */
	uint32_t letters;
	unsigned char flags, base_len, name_len;
	unsigned has_info : 1, has_uid : 1; /* U=, and it is uid */
	unsigned in_new : 1;
};

/* A file that becomes a message. */
struct scan_fresh {
	struct scan_entry *en;
	int64_t internal_date;
	uint32_t uid; /* that it keeps, or 0 */
	unsigned char failed;
};

/* A message whose file is called differently now. */
struct scan_changed {
	size_t name_off;
	uint32_t uid;
	unsigned char in_new;
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
	struct core_uidlist listed;
	int has_list;
	struct buf names; /* NUL-terminated, one behind the other */
	struct scan_entry *entries;
	size_t entry_count, entry_cap;
	struct scan_entry *sorted_entries; /* those of fresh, in its order; or NULL */
	struct scan_fresh *fresh;
	size_t fresh_count, fresh_cap;
	size_t apply_from, apply_to; /* those of fresh that scan_apply takes in */
	struct core_uidlist_writer *list; /* of their UIDs, on its way to the disk; or NULL */
	struct scan_changed *changed;
	size_t changed_count, changed_cap;
	struct numset missing;
};

/* Reads the directories of s->mode into s->entries, sorted by UID; of one UID by name. */
enum err scan_read(struct scan *s);
static inline const char *
scan_name(const struct scan *s, size_t name_off)
{
	return s->names.p + name_off;
}
/* Compares them with the index: fills fresh, changed, missing. */
core_step scan_compare;
/* Gives UIDs and names to what is fresh, on disk, but for s->list, which has to be waited for. */
enum err scan_name_fresh(struct scan *s);
/*
 * Takes what is changed and missing, with the first of what is fresh, into the index, and
 * s->apply_from up to s->apply_to of that.
 */
core_step scan_apply;
void scan_reset(struct scan *s);

#endif
