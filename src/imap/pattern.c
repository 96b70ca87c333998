/* SPDX-License-Identifier: MIT */
#include "imap/pattern.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"

/*
 * A machine with a state for each place in the pattern, run for all states at once: bit i is set
 * when the name so far matches the first i elements. There is nothing to go back to, so no pattern
 * is slow. Runs of wildcards are one wildcard, so at least half of the elements are characters, and
 * a pattern of more elements is longer than any name (twice INDEX_MAILBOX_NAME_MAX on the wire).
 */
enum { ELEMENTS_MAX = 1279, WORDS = (ELEMENTS_MAX + 1) / 64 };

struct imap_pattern {
	size_t count; /* elements */
	int too_long;
	uint64_t chars[256][WORDS]; /* elements that are this character */
	uint64_t any[WORDS]; /* elements that are "*" */
	uint64_t level[WORDS]; /* elements that are "%" */
};

static void
bit_set(uint64_t *words, size_t bit)
{
	words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static void
wildcard_add(struct imap_pattern *p, int any)
{
	bit_set(any ? p->any : p->level, p->count++);
}

static void
part_add(struct imap_pattern *p, struct str part, int *pending)
{
	for (size_t i = 0; i < part.len && p->count + 1 < ELEMENTS_MAX; i++) {
		char c = part.p[i];

		if (c == '*' || c == '%') {
			*pending = c == '*' || *pending == '*' ? '*' : '%';
			continue;
		}
		if (*pending)
			wildcard_add(p, *pending == '*');
		*pending = 0;
		bit_set(p->chars[(unsigned char)c], p->count++);
	}
	p->too_long = p->count + 1 >= ELEMENTS_MAX;
}

struct imap_pattern *
imap_pattern_create(struct str reference, struct str pattern)
{
	struct imap_pattern *p = MEM_NEW(struct imap_pattern);
	int pending = 0; /* a wildcard not added yet: its run may go on */

	part_add(p, reference, &pending);
	part_add(p, pattern, &pending);
	if (pending)
		wildcard_add(p, pending == '*');
	return p;
}

void
imap_pattern_free(struct imap_pattern **p)
{
	free(*p);
	*p = NULL;
}

/* A wildcard may stand for nothing: what is in front of it is also behind it. */
static void
wildcards_skip(const struct imap_pattern *p, uint64_t *states)
{
	uint64_t carry = 0;

	for (size_t w = 0; w < WORDS; w++) {
		uint64_t at = states[w] & (p->any[w] | p->level[w]);

		states[w] |= at << 1 | carry;
		carry = at >> 63;
	}
}

static void
step(const struct imap_pattern *p, uint64_t *states, char c, int any_case)
{
	const uint64_t *same = p->chars[(unsigned char)(any_case ? str_upper(c) : c)];
	const uint64_t *other = p->chars[(unsigned char)(any_case ? str_lower(c) : c)];
	uint64_t carry = 0;

	for (size_t w = 0; w < WORDS; w++) {
		uint64_t moved = states[w] & (same[w] | other[w]);
		uint64_t stay = states[w] & (p->any[w] | (c == '/' ? 0 : p->level[w]));

		states[w] = moved << 1 | carry | stay;
		carry = moved >> 63;
	}
	wildcards_skip(p, states);
}

int
imap_pattern_match(const struct imap_pattern *p, struct str name)
{
	uint64_t states[WORDS] = {1};
	size_t inbox = 0;

	if (p->too_long)
		return 0;
	if (str_starts_i(name, "INBOX") && (name.len == 5 || name.p[5] == '/'))
		inbox = 5;
	wildcards_skip(p, states);
	for (size_t i = 0; i < name.len; i++)
		step(p, states, name.p[i], i < inbox);
	return states[p->count / 64] >> (p->count % 64) & 1;
}
