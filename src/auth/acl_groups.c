/* SPDX-License-Identifier: MIT */
#include "auth/acl_groups.h"

#include <string.h>

static int
is_name_char(char c)
{
	return str_is_alnum(c) || (unsigned char)c >= 0x80 || (c && strchr("-_.", c));
}

enum err
acl_groups_normalise(struct str text, char out[ACL_GROUPS_MAX + 1])
{
	enum err e = str_is_utf8(text) ? OK : E_PARSE;
	size_t n = 0;
	int between = 0;

	for (size_t i = 0; i < text.len && !e; i++) {
		char c = text.p[i];

		if (c == ',' || c == ' ') {
			between = n > 0;
		} else if (!is_name_char(c)) {
			e = E_PARSE;
		} else if (n + 1 + (size_t)between > ACL_GROUPS_MAX) {
			e = E_TOOBIG;
		} else {
			if (between)
				out[n++] = ',';
			out[n++] = str_lower(c);
			between = 0;
		}
	}
	out[e ? 0 : n] = '\0';
	return e;
}
