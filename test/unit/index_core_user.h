/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_INDEX_CORE_USER_H
#define ROOST_TEST_INDEX_CORE_USER_H

#include <stdint.h>

#include "index/core_private.h"
#include "index/index_core.h"
#include "lib/numset.h"

/*
 * A user's Maildir and index in a directory of its own, for tests of the index's core. Whatever
 * fails unexpectedly fails the test.
 */
struct fixture {
	char dir[64], *maildir, *index_dir;
	struct index_core_options o;
	struct index_core *c;
	unsigned changes; /* told so far */
	uint32_t last_changed; /* the mailbox */
};

/* For cmocka; *state is the fixture. */
int core_user_setup(void **state);
int core_user_teardown(void **state);

void reopen(struct fixture *f);
/* Ends what goes on in the background first. */
void close_core(struct fixture *f);
/* Opens it anew without the index of before. */
void rebuild(struct fixture *f);
/* A shell command. */
void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Lets the clock of the file system tick, so that a change of another program shows. */
void age(struct fixture *f, const char *below);
/* Paths are below the Maildir. */
void write_file(struct fixture *f, const char *path, const char *text);
int count_files(struct fixture *f, const char *below);

/* What the index has of a mailbox and, if uid is not 0, of a message. */
struct peek {
	uint32_t mailbox, uid;
	struct core_box box;
	struct core_message m;
	enum err found; /* the message */
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
};
struct peek peek(struct fixture *f, uint32_t mailbox, uint32_t uid);
int has_keyword(const struct peek *p, const char *name);
uint32_t box_id(struct fixture *f, const char *name);
/* Every count must be what the messages themselves say. */
void check_counts(struct fixture *f, uint32_t mailbox);

/* A message of 20 bytes; keywords: NULL at the end, or NULL. They return its UID. */
uint32_t append(struct fixture *f, const char *name, unsigned flags, const char *const *keywords);
uint32_t append_dir(struct fixture *f, const char *name, const char *dir);
enum err try_append(struct fixture *f, uint32_t mailbox, const char *dir, unsigned flags,
	const char *const *keywords, uint32_t *uid);
/* The caller frees it. */
struct numset set(uint32_t first, uint32_t last);
/* keyword may be NULL. */
enum err store(struct fixture *f, uint32_t mailbox, uint32_t first, uint32_t last,
	enum index_store_op op, unsigned flags, const char *keyword);

#endif
