/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_UIDLIST_H
#define ROOST_INDEX_CORE_UIDLIST_H

#include "index/adopt.h"

/*
 * roost-uidlist: the UIDs of files of a folder whose names do not say them yet. Thousands of
 * renames are not to stand between a user and the mail: when many files come at once (a foreign
 * Maildir, an adopted one, files that were copied in), their UIDs are written as one list that is
 * on disk before anybody hears of them, and the renames follow in the background. When all names
 * say their UIDs, and that is on disk, the list goes.
 *
 *   3 V1790000000 N100001
 *   17 S1024 W1060 :1276528487.M364837P9451.host
 *
 * The shape is that of dovecot-uidlist, version 3; the name has no info part, so that other
 * programs may change flags meanwhile. A name whose own U= is its UID needs no line.
 */

#define CORE_FILE_UIDLIST "roost-uidlist"

enum {
	CORE_UIDLIST_MIN = 64, /* fewer files than this are renamed at once */
	/* A base that has no room for our fields gets another name, at once. */
	CORE_UIDLIST_BASE_MAX = MAILDIR_BASE_MAX - 60,
};

struct core_uidlist {
	struct buf text;
	struct adopt_list list;
};

/*
 * E_NOTFOUND: none, or none of this UIDVALIDITY (0: any); E_ACCESS, E_IO: there is one that cannot
 * be read, so that UIDs cannot be given now. With other than OK there is nothing to free.
 */
enum err core_uidlist_read(
	struct index_core *c, const char *dir, uint32_t uidvalidity, struct core_uidlist *out);
void core_uidlist_free(struct core_uidlist *l);
/*
 * The line for a file: by its whole base, else, when its name has no U=, by the part of that before
 * the first comma. NULL: none.
 */
const struct adopt_line *core_uidlist_find(struct core_uidlist *l, struct str name);
/* The part of a file's name that a line has. */
struct str core_uidlist_base(struct str name);
/*
 * A list is written in one go: begun in an empty text with the lines of old (may be NULL) and room
 * for more, a line for each file, and written, synced.
 */
void core_uidlist_begin(const struct core_uidlist *old, size_t room, struct buf *text);
/* Sizes of UINT64_MAX are not known. */
void core_uidlist_line(
	uint32_t uid, uint64_t size, uint64_t crlf_size, struct str base, struct buf *text);
enum err core_uidlist_write(struct index_core *c, const char *dir, uint32_t uidvalidity,
	uint32_t next_uid, struct buf *text);
/*
 * The same in a thread of its own, so that other work can be done while the disk is at it. Takes
 * the text; dir is borrowed until the end. end waits, and says whether it is on disk; it accepts
 * NULL, which is OK.
 */
struct core_uidlist_writer;
enum err core_uidlist_write_begin(struct index_core *c, const char *dir, uint32_t uidvalidity,
	uint32_t next_uid, struct buf *text, struct core_uidlist_writer **out);
enum err core_uidlist_write_end(struct core_uidlist_writer **w);

/* A folder that is taken over may have one of a time before that. E_NOTFOUND is OK. */
enum err core_uidlist_remove(struct index_core *c, const char *dir);

/*
 * Bases that were seen, by their hashes: two files of one base are not told apart by a list and get
 * their names at once.
 */
struct core_bases {
	uint64_t *slots;
	size_t mask;
};
void core_bases_init(struct core_bases *b, size_t count_max);
void core_bases_fini(struct core_bases *b);
uint64_t core_base_hash(struct str base);
/* 0: it was there. */
int core_bases_add(struct core_bases *b, uint64_t hash);
int core_bases_has(const struct core_bases *b, uint64_t hash);
/* Initialises it with those that are there more than once among count hashes. */
void core_bases_twins(struct core_bases *out, size_t count,
	uint64_t (*hash_of)(const void *arg, size_t i), const void *arg);

/* ---- the end of a list ---- */

/* The folder may have a list that is not needed any more: looked at in the background. */
void core_uidlist_check_later(struct index_core *c, uint32_t mailbox);
/* Looks at one folder. 1: it did; 0: there is none to be looked at. */
int core_uidlist_check(struct index_core *c);

/* Whether the record's file says this UID in its name. */
int core_message_is_named(const struct core_message *m, uint32_t uid);

#endif
