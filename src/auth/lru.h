/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_LRU_H
#define ROOST_AUTH_LRU_H

#include <stddef.h>

/*
 * A bounded table from text to fixed-size values; when it is full the entry unused for longest
 * makes room. Values are zeroed when new and wiped when removed. For one thread, or under its
 * owner's lock.
 */
struct lru;

/* max entries >= 1, each with value_size bytes. */
struct lru *lru_create(size_t max, size_t value_size);
void lru_free(struct lru **t);
/* From now on drop is called with each value that is removed, in whatever way. */
void lru_on_drop(struct lru *t, void (*drop)(void *value));
/* The value, now the most recently used; NULL: none. Borrowed until the next change. */
void *lru_find(struct lru *t, const char *key);
/* The same, made when it is not there. */
void *lru_put(struct lru *t, const char *key);
/* 1 when there was one. */
int lru_remove(struct lru *t, const char *key);
/* Removes every entry that matches; returns how many. */
size_t lru_remove_if(
	struct lru *t, int (*match)(const char *key, const void *value, void *arg), void *arg);
void lru_clear(struct lru *t);
size_t lru_count(const struct lru *t);
/* The key and value of the entry unused for longest; NULL when empty. */
void *lru_oldest(struct lru *t, const char **key);

#endif
