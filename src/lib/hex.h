/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_HEX_H
#define ROOST_LIB_HEX_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/str.h"

/* The value of a hexadecimal digit of either case, or -1. */
static inline int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* len bytes, two digits in lower case each, and a NUL: out has room for 2 * len + 1. */
void hex_write(const void *bytes, size_t len, char *out);
/* The same digits, appended. As buf_add. */
enum err hex_add(const void *bytes, size_t len, struct buf *out);
/*
 * Reads what hex_write wrote of len bytes, and nothing else, so that no bytes have two texts. 0: it
 * is no such text, and what stands in out is nothing.
 */
int hex_read(struct str text, void *out, size_t len);

#endif
