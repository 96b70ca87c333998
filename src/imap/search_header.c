/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "imap/search.h"
#include "imap/search_fts.h"
#include "imap/search_words.h"
#include "mail/address.h"
#include "mail/cache.h"
#include "mail/casemap.h"
#include "mail/header.h"
#include "mail/rfc2047.h"

/* ---- texts ---- */

/* Whether decoding would change nothing: ASCII on one line without encoded words. */
static int
is_plain(struct str value)
{
	unsigned char high = 0;
	const char *q;

	for (size_t i = 0; i < value.len; i++)
		high |= (unsigned char)value.p[i] | (unsigned char)(value.p[i] < ' ' ? 0x80 : 0);
	if (high & 0x80)
		return 0;
	q = memmem(value.p, value.len, "=?", 2);
	return q == NULL;
}

/* The needle is folded: to capitals, as far as it is ASCII. */
static int
plain_contains(struct str value, struct str needle)
{
	char first = needle.p[0], other = str_lower(first);

	for (size_t i = 0; i + needle.len <= value.len; i++) {
		size_t n = 1;

		if (value.p[i] != first && value.p[i] != other)
			continue;
		while (n < needle.len && str_upper(value.p[i + n]) == needle.p[n])
			n++;
		if (n == needle.len)
			return 1;
	}
	return 0;
}

/* The value decoded and folded, in the scratch of msg. */
static struct str
folded_value(struct search_message *msg, struct str value)
{
	buf_reset(&msg->decoded);
	buf_reset(&msg->folded);
	rfc2047_decode(value, &msg->decoded);
	casemap_fold(buf_str(&msg->decoded), &msg->folded);
	return buf_str(&msg->folded);
}

static int
text_matches(struct search_message *msg, struct str value, struct str needle)
{
	struct str text;

	if (is_plain(value))
		return plain_contains(value, needle);
	text = folded_value(msg, value);
	return str_find_str(text, needle) < text.len;
}

/* ---- addresses ---- */

static int
is_gap(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '(' || c == ')';
}

/* Whether an address may be another in the envelope: quoted pairs, or a gap or comment at an "@".
 */
static int
is_reworded(struct str value)
{
	if (str_find(value, 0, '\\') < value.len)
		return 1;
	for (size_t i = 0; (i = str_find(value, i, '@')) < value.len; i++)
		if ((i > 0 && is_gap(value.p[i - 1])) ||
			(i + 1 < value.len && is_gap(value.p[i + 1])))
			return 1;
	return 0;
}

/* The addresses as ENVELOPE has them, a line each: the name, then mailbox@host. */
static int
addresses_match(struct search_message *msg, struct str value, struct str needle)
{
	struct address_list list;
	struct buf line = {0};
	int found = 0;

	address_parse_rfc822(value, 0, &list);
	for (size_t i = 0; i < list.n && !found; i++) {
		const struct address *a = &list.v[i];

		buf_reset(&line);
		buf_add(&line, a->name.p, a->name.len);
		buf_add_cstr(&line, a->name.len ? " <" : "<");
		buf_add(&line, a->mailbox.p, a->mailbox.len);
		buf_add_char(&line, '@');
		buf_add(&line, a->host.p, a->host.len);
		buf_add_char(&line, '>');
		found = a->kind == ADDRESS_MAILBOX && text_matches(msg, buf_str(&line), needle);
	}
	buf_free(&line);
	address_list_free(&list);
	return found;
}

/* ---- fields ---- */

/*
 * value: as stored, folding and encoded words still in. RFC 9051 section 6.4.4: FROM, TO, CC and
 * BCC look into the envelope's addresses; those are in the text as it stands, too, unless written
 * in an odd way.
 */
static int
field_matches(const struct search_key *key, struct search_message *msg, struct str value)
{
	struct str needle = buf_str(&key->needle);

	return needle.len == 0 || text_matches(msg, value, needle) ||
	       (key->is_addresses && is_reworded(value) && addresses_match(msg, value, needle));
}

/* The relevancy of the best of the fields, at most enough; 0: none matches. */
static unsigned
block_score(
	struct search_message *msg, struct str block, const struct search_key *key, unsigned enough)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field field;
	unsigned best = 0;

	while (best < enough && header_next(&it, &field)) {
		unsigned score;

		if (!str_is_i(field.name, key->word))
			continue;
		if (key->words)
			score = search_words_of(key->words, folded_value(msg, field.value));
		else
			score = field_matches(key, msg, field.value) ? 100 : 0;
		best = score > best ? score : best;
	}
	return best;
}

enum search_answer
search_header_score(
	const struct search_key *key, struct search_message *msg, unsigned enough, unsigned *score)
{
	struct str fields;

	*score = 0;
	/* What the index has of a header is all of it, so that it knows where a field is not. */
	if (key->fts && search_fts_answer(key->fts, msg->m) == SEARCH_NO)
		return SEARCH_NO;
	if (!msg->has_record)
		return SEARCH_UNKNOWN;
	switch (mail_cache_header(msg->record, str_of(key->word), &fields)) {
	case MAIL_CACHE_HEADER_FOUND:
		*score = block_score(msg, fields, key, enough);
		return *score ? SEARCH_YES : SEARCH_NO;
	case MAIL_CACHE_HEADER_ABSENT:
		return SEARCH_NO;
	default:
		break;
	}
	if (!msg->has_content)
		return SEARCH_UNKNOWN;
	*score = block_score(msg, msg->content, key, enough);
	return *score ? SEARCH_YES : SEARCH_NO;
}
