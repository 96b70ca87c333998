/* SPDX-License-Identifier: MIT */
#include "lib/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXIT_NO_MEMORY = 70 };

static void __attribute__((noreturn)) mem_exhausted(void)
{
	static const char line[] = "level=error event=memory.exhausted\n";

	/* write(2), since stdio and the log would allocate. */
	(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
	_exit(EXIT_NO_MEMORY);
}

void *
mem_alloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		mem_exhausted();
	return p;
}

void *
mem_zalloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		mem_exhausted();
	return p;
}

void *
mem_realloc(void *p, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size)
		mem_exhausted();
	size *= n;
	p = realloc(p, size ? size : 1);
	if (!p)
		mem_exhausted();
	return p;
}

enum { LARGE_PAGE = 2 << 20 };

void
mem_huge(void *p, size_t size)
{
	static const uintptr_t large = LARGE_PAGE;
	uintptr_t begin = ((uintptr_t)p + large - 1) & ~(large - 1);
	uintptr_t end = ((uintptr_t)p + size) & ~(large - 1);

	/* Whether it does or not: nothing but time depends on it. */
	if (size >= 2 * large && end > begin)
		(void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

void *
mem_large(size_t size)
{
	void *p;

	if (size < LARGE_PAGE / 2)
		return mem_alloc(size);
	if (size > SIZE_MAX - LARGE_PAGE)
		mem_exhausted();
	size = (size + LARGE_PAGE - 1) & ~(size_t)(LARGE_PAGE - 1);
	if (posix_memalign(&p, LARGE_PAGE, size) != 0)
		mem_exhausted();
	(void)madvise(p, size, MADV_HUGEPAGE);
	return p;
}

void
mem_ahead(size_t size)
{
	/* volatile: a compiler may leave out an allocation that nobody uses. */
	void *volatile p = malloc(size);

	free(p);
}

char *
mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

char *
mem_strndup(const char *s, size_t len)
{
	char *p;

	if (len == SIZE_MAX)
		mem_exhausted();
	p = mem_alloc(len + 1);
	if (len)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *
mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;

	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		mem_exhausted();
	va_end(ap);
	return p;
}
