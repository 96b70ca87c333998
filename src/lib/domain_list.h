/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_DOMAIN_LIST_H
#define ROOST_LIB_DOMAIN_LIST_H

#include <stddef.h>

#include "lib/str.h"

/* Domains that a setting lists, in A-labels, as addresses have theirs. */
struct domain_list {
	char **items;
	size_t count;
};
/*
 * Adds the word of the setting, for the log's sake named. What is no domain name is no address's
 * either: it is logged and left out.
 */
void domain_list_add(struct domain_list *l, const char *setting, const char *word);
/* Whether one of them is domain. The case of letters does not matter. */
int domain_list_has(const struct domain_list *l, struct str domain);
/* The same, or domain lies below one of them. */
int domain_list_covers(const struct domain_list *l, struct str domain);
void domain_list_free(struct domain_list *l);

#endif
