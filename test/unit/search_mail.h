/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_SEARCH_MAIL_H
#define ROOST_TEST_SEARCH_MAIL_H

#include <stddef.h>

#include "imap_fake.h"

/* The mailbox of four messages that the tests of SEARCH look into; search_mail.c describes them. */
extern const char search_plain[], search_bare[]; /* the first and the last of them */
extern struct fake fake;
extern struct fake_message messages[4];

enum { NOON_7_FEB_1994 = 760622400, DAY = 86400 };

/* For cmocka: before and after each test. */
int search_setup(void **state);
int search_teardown(void **state);

struct row {
	const char *keys, *found;
};

/* Each SEARCH gives these message numbers. */
void search_check_rows(const struct row *rows, size_t count);
#define CHECK_ROWS(rows) search_check_rows((rows), sizeof(rows) / sizeof((rows)[0]))

#endif
