/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/address.h"
#include "mail/date.h"
#include "mail/mutf7.h"
#include "mail/rfc2047.h"
#include "mail/subject.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A claim of a header was broken. */
static void
check(int holds)
{
	if (!holds)
		abort();
}

static int
inside(const struct address_list *l, struct str s, size_t size)
{
	return !s.len || (s.p >= l->text && s.p + s.len <= l->text + size + 1);
}

static void
addresses(struct str s, size_t max)
{
	struct address_list l;
	struct buf b = {0};
	int open = 0;

	address_parse_rfc822(s, max, &l);
	check(!max || l.n <= max + 1);
	for (size_t i = 0; i < l.n; i++) {
		const struct address *a = &l.v[i];

		check(inside(&l, a->name, s.len) && inside(&l, a->route, s.len));
		check(inside(&l, a->mailbox, s.len) && inside(&l, a->host, s.len));
		if (a->kind == ADDRESS_GROUP_START)
			check(!open++ && a->mailbox.p && !a->host.p);
		else if (a->kind == ADDRESS_GROUP_END)
			check(open-- == 1 && !a->mailbox.p);
		else
			check(a->mailbox.p && a->host.p);
		address_format(a, &b);
	}
	check(!open);
	address_list_free(&l);
	buf_free(&b);
}

static void
texts(struct str s)
{
	struct buf a = {0}, b = {0};
	struct str ids = s;
	time_t when;
	int number;

	check(rfc2047_decode(s, &a) == OK && str_is_utf8(buf_str(&a)));
	check(rfc2047_encode_text(buf_str(&a), &b) == OK && str_is_ascii(buf_str(&b)));
	check(subject_base(s, &b, NULL) == OK);
	while (message_id_next(&ids, &b))
		check(b.len > 0);
	buf_reset(&a);
	buf_reset(&b);
	/* One spelling of a name, and no other. */
	if (mutf7_to_utf8(s, &a) == OK)
		check(mutf7_from_utf8(buf_str(&a), &b) == OK && str_equal(buf_str(&b), s));
	buf_free(&a);
	buf_free(&b);
	if (date_parse_rfc5322(s, &when, &number) == OK)
		check(number > -1440 && number < 1440);
	date_parse_imap(s, &when, &number);
	date_parse_imap_day(s, &number);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of the exact size, so that a read past the end is seen. */
	char *copy = malloc(size ? size : 1);

	if (size)
		memcpy(copy, data, size);
	addresses(str_make(copy, size), 0);
	addresses(str_make(copy, size), 2);
	texts(str_make(copy, size));
	free(copy);
	return 0;
}
