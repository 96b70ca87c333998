/* SPDX-License-Identifier: MIT */
#include "mail/words.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	const struct words_query *q;
	unsigned met; /* bits of runs */
};

static int
on_term(struct str term, void *ctx)
{
	struct seen *s = ctx;

	if (term.len == 0 || term.len > WORDS_TERM_MAX)
		abort();
	for (size_t i = 0; i < s->q->count; i++)
		if (words_query_meets(s->q, i, term))
			s->met |= 1u << i;
	return 1;
}

/* A needle, a NUL, a text: a text that has the needle meets its conditions. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str needle = str_make((const char *)data, size), text;
	struct words_query q;
	struct seen seen = {.q = &q};
	struct words w;

	needle.len = str_find(needle, 0, '\0');
	if (needle.len == size || needle.len == 0)
		return 0;
	text = str_make(needle.p + needle.len + 1, size - needle.len - 1);
	words_query_init(&q, needle);
	words_begin(&w, on_term, &seen);
	words_feed(&w, text);
	words_end(&w);
	if (str_is_utf8(text) && str_find_str(text, needle) < text.len)
		for (size_t i = 0; i < q.count; i++)
			if (!(seen.met >> i & 1))
				abort();
	words_query_fini(&q);
	return 0;
}
