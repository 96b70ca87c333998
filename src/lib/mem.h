/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_MEM_H
#define ROOST_LIB_MEM_H

#include <stddef.h>

/*
 * Allocation that does not return NULL. When memory is used up the process logs one line and ends
 * with status 70; what it had acknowledged before that is on disk already.
 */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
/* Resizes to n elements of size bytes each; a product over SIZE_MAX ends the process too. */
void *mem_realloc(void *p, size_t n, size_t size);
/*
 * For an array of many MB that will be filled: the system may back it with large pages, which saves
 * a fault for each 4 KB. Nothing below 4 MB. Not for what lives long and may stay half empty.
 */
void mem_huge(void *p, size_t size);
/*
 * As mem_alloc, for memory of a MB and more that is soon filled and soon freed: it is made of large
 * pages where the system has them.
 */
void *mem_large(size_t size);
/*
 * So many bytes, up to some 100 KB, will be allocated soon in small pieces: a thread's heap grows
 * by them in one system call, and not by each page with one of its own.
 */
void mem_ahead(size_t size);
char *mem_strdup(const char *s);
/* Copies len bytes and adds a NUL. */
char *mem_strndup(const char *s, size_t len);
/* A formatted string on the heap; the caller frees it. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

/* Frees *p and sets it to NULL. */
#define MEM_FREE(p)                                                                                \
	do {                                                                                       \
		free(p);                                                                           \
		(p) = NULL;                                                                        \
	} while (0)

#endif
