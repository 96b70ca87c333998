/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "mta-lite/rewrite.h"

/*
 * Where addresses stand in a header field (RFC 5322 sections 3.2 and 3.4). Only whole addr-specs
 * without blanks or comments inside are found; others are rare, and left as they are.
 */

/* Behind a quoted string, comment or literal that begins at i; value.len if it never ends. */
static size_t
skip_quoted(struct str value, size_t i)
{
	char open = value.p[i], close = open == '(' ? ')' : open == '[' ? ']' : '"';
	unsigned depth = 1;

	for (i++; i < value.len; i++) {
		char c = value.p[i];

		if (c == '\\') {
			i++;
		} else if (c == close) {
			if (--depth == 0)
				return i + 1;
		} else if (c == '(' && open == '(') {
			depth++;
		}
	}
	return value.len;
}

static int
ends_word(char c)
{
	return str_is_space(c) || strchr("<>(),:;", c) != NULL;
}

/* Behind the word that begins at i: atoms, dots, "@", quoted local parts, literals. */
static size_t
skip_word(struct str value, size_t i)
{
	while (i < value.len && !ends_word(value.p[i])) {
		if (value.p[i] == '"' || value.p[i] == '[')
			i = skip_quoted(value, i);
		else
			i++;
	}
	return i;
}

int
rewrite_next_address(struct str value, size_t *pos, struct rewrite_span *out)
{
	size_t i = *pos;

	while (i < value.len) {
		size_t start = i, k;
		int has_at = 0;

		if (value.p[i] == '(') {
			i = skip_quoted(value, i);
			continue;
		}
		if (ends_word(value.p[i])) {
			i++;
			continue;
		}
		i = skip_word(value, i);
		for (k = start; k < i; k++) {
			if (value.p[k] == '"' || value.p[k] == '[')
				k = skip_quoted(value, k) - 1;
			else if (value.p[k] == '@')
				has_at = k > start;
		}
		if (has_at) {
			*out = (struct rewrite_span){start, i - start};
			*pos = i;
			return 1;
		}
	}
	*pos = value.len;
	return 0;
}
