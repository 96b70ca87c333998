/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_STR_H
#define ROOST_LIB_STR_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/*
 * A slice of text: len bytes at p, not NUL-terminated, borrowed from whoever owns the bytes.
 * p may be NULL when len is 0. Text from the wire travels in this shape.
 */
struct str {
	const char *p;
	size_t len;
};

/* A slice of a string literal. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).p ? (s).p : ""

/* The slice of a C string; NULL gives an empty slice. */
struct str str_of(const char *cstr);
struct str str_make(const char *p, size_t len);

int str_equal(struct str a, struct str b);
/* ASCII case does not count in the _i forms. */
int str_equal_i(struct str a, struct str b);
int str_is(struct str a, const char *cstr);
int str_is_i(struct str a, const char *cstr);
int str_starts_i(struct str s, const char *prefix);
int str_ends_i(struct str s, const char *suffix);
/* memcmp order, the shorter first when one is a prefix of the other; <0, 0, >0. */
int str_compare(struct str a, struct str b);

/* Index of the first c at or after from, or s.len. */
size_t str_find(struct str s, size_t from, char c);
/* Index of the first occurrence of needle, or s.len. */
size_t str_find_str(struct str s, struct str needle);
/* Without the spaces, tabs, CRs and LFs at both ends. */
struct str str_trim(struct str s);
/*
 * Cuts off and returns what stands before the first sep; *s goes on behind it. Without a sep it
 * returns all of *s and leaves *s empty with p == NULL, which ends a loop.
 */
struct str str_split(struct str *s, char sep);

/* Decimal digits only, no sign, no blanks. E_PARSE, E_RANGE: *out is unchanged. */
enum err str_to_u32(struct str s, uint32_t *out);
enum err str_to_u64(struct str s, uint64_t *out);

/* ASCII only, whatever the locale. */
int str_is_digit(char c);
int str_is_alpha(char c);
int str_is_alnum(char c);
int str_is_space(char c); /* space, tab, CR, LF */
char str_lower(char c);
char str_upper(char c);

/* Whether every byte is below 0x80. */
int str_is_ascii(struct str s);
/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, nothing over U+10FFFF). */
int str_is_utf8(struct str s);
/* Whether a NUL, or any other byte below 0x20 or 0x7f, is in it. */
int str_has_control(struct str s);

/* Compares in a time that depends on the lengths alone. 1 when equal. */
int str_equal_secret(struct str a, struct str b);

/* A NUL-terminated copy on the heap; the caller frees it. Bytes after an inner NUL are kept. */
char *str_dup(struct str s);

#endif
