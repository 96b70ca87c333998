/* SPDX-License-Identifier: MIT */
#include "import/import.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

static const struct {
	const char *name;
	unsigned flag;
} system_flags[] = {
	{"\\Seen", INDEX_SEEN},
	{"\\Answered", INDEX_ANSWERED},
	{"\\Flagged", INDEX_FLAGGED},
	{"\\Deleted", INDEX_DELETED},
	{"\\Draft", INDEX_DRAFT},
};

void
import_flags_free(struct import_flags *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->keywords[i]);
	*f = (struct import_flags){0};
}

/* flag-keyword (RFC 9051 section 9), as roost-index takes it. */
static int
is_keyword(struct str s)
{
	if (s.len == 0 || s.len > INDEX_KEYWORD_LEN_MAX)
		return 0;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("(){%*\"\\", s.p[i]))
			return 0;
	return 1;
}

void
import_flags_add(struct import_flags *f, struct str name)
{
	size_t at = 0;

	for (size_t i = 0; i < sizeof(system_flags) / sizeof(system_flags[0]); i++) {
		if (str_is_i(name, system_flags[i].name)) {
			f->flags |= system_flags[i].flag;
			return;
		}
	}
	if (!is_keyword(name) || f->count == IMPORT_KEYWORDS_MAX)
		return;
	for (; at < f->count; at++) {
		int order = str_compare(str_of(f->keywords[at]), name);

		if (order == 0 || str_equal_i(str_of(f->keywords[at]), name))
			return;
		if (order > 0)
			break;
	}
	memmove(&f->keywords[at + 1], &f->keywords[at], (f->count - at) * sizeof(f->keywords[0]));
	f->keywords[at] = str_dup(name);
	f->count++;
}

void
import_flags_format(const struct import_flags *f, struct buf *out)
{
	buf_add_u64(out, f->flags);
	for (size_t i = 0; i < f->count; i++) {
		buf_add_char(out, ' ');
		buf_add_cstr(out, f->keywords[i]);
	}
}

enum err
import_flags_parse(struct str text, struct import_flags *out)
{
	struct str number = str_split(&text, ' ');
	uint32_t flags;

	*out = (struct import_flags){0};
	if (str_to_u32(number, &flags) || flags > INDEX_FLAGS_ALL)
		return E_PARSE;
	out->flags = flags;
	while (text.p)
		import_flags_add(out, str_split(&text, ' '));
	return OK;
}
