/* SPDX-License-Identifier: MIT */
#include "lib/str.h"
#include "mta-lite/dnsbl.h"

/* One octet of a filter: a number, or "[2;5..7]". *s goes on behind it. */
static int
octet_matches(struct str *s, unsigned octet)
{
	struct str set, item;
	size_t end;

	if (s->len > 0 && s->p[0] == '[') {
		end = str_find(*s, 0, ']');
		set = str_make(s->p + 1, end > 0 ? end - 1 : 0);
		*s = end < s->len ? str_make(s->p + end + 1, s->len - end - 1) : str_make(NULL, 0);
	} else {
		end = str_find(*s, 0, '.');
		set = str_make(s->p, end);
		*s = str_make(s->p + end, s->len - end);
	}
	while (set.p) {
		size_t dots;
		uint32_t low, high;

		item = str_split(&set, ';');
		dots = str_find_str(item, STR(".."));
		if (str_to_u32(str_make(item.p, dots), &low))
			continue;
		high = low;
		if (dots < item.len &&
			str_to_u32(str_make(item.p + dots + 2, item.len - dots - 2), &high))
			continue;
		if (octet >= low && octet <= high)
			return 1;
	}
	return 0;
}

int
dnsbl_filter_matches(const char *filter, const unsigned char ip[4])
{
	struct str s = str_of(filter);
	int i;

	for (i = 0; i < 4; i++) {
		if (!octet_matches(&s, ip[i]))
			return 0;
		if (i < 3) {
			if (s.len == 0 || s.p[0] != '.')
				return 0;
			s = str_make(s.p + 1, s.len - 1);
		}
	}
	return s.len == 0;
}
