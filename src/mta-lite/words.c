/* SPDX-License-Identifier: MIT */
#include "mta-lite/words.h"

#include "lib/buf.h"

static int
is_separator(char c)
{
	return str_is_space(c) || c == ',';
}

int
words_next(struct str *s, struct str *word, int *unbalanced)
{
	size_t start = 0, end;
	int depth = 0;

	if (unbalanced)
		*unbalanced = 0;
	while (start < s->len && is_separator(s->p[start]))
		start++;
	for (end = start; end < s->len; end++) {
		char c = s->p[end];

		if (c == '{')
			depth++;
		else if (c == '}' && depth > 0)
			depth--;
		else if (depth == 0 && is_separator(c))
			break;
	}
	if (depth > 0 && unbalanced)
		*unbalanced = 1;
	*word = str_make(s->p ? s->p + start : NULL, end - start);
	*s = str_make(s->p ? s->p + end : NULL, s->len - end);
	return word->len > 0 && depth == 0;
}

struct str
words_unbrace(struct str s)
{
	if (s.len >= 2 && s.p[0] == '{' && s.p[s.len - 1] == '}')
		return str_trim(str_make(s.p + 1, s.len - 2));
	return s;
}

char *
words_join(const struct conf_list *list)
{
	struct buf text = {0};
	size_t i;

	for (i = 0; i < list->count; i++) {
		if (i > 0)
			buf_add_char(&text, ' ');
		buf_add_cstr(&text, list->items[i]);
	}
	return buf_steal(&text);
}

int
words_have(const struct conf_list *list, struct str word)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		struct str item = str_of(list->items[i]), one;

		while (words_next(&item, &one, NULL)) {
			if (str_equal_i(one, word))
				return 1;
		}
	}
	return 0;
}
