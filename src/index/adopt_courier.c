/* SPDX-License-Identifier: MIT */
#include "index/adopt.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum err
adopt_courier_uiddb(struct str text, struct adopt_list *out)
{
	struct str header = text, rest = text;

	header = str_split(&rest, '\n');
	/* The same as version 1 of Dovecot's, which came from here. */
	if (!str_is(str_split(&header, ' '), "1")) {
		memset(out, 0, sizeof(*out));
		return E_CORRUPT;
	}
	return adopt_dovecot_uidlist(text, out);
}

void
adopt_courier_subscriptions(struct str text, struct buf *out)
{
	struct str rest = text;

	while (rest.p) {
		struct str line = str_trim(str_split(&rest, '\n'));

		if (str_starts_i(line, "INBOX.")) {
			line.p += 6;
			line.len -= 6;
		} else if (!str_is_i(line, "INBOX")) {
			/* Shared folders of others, which are not in this tree. */
			continue;
		}
		buf_add_str(out, line);
		buf_add_char(out, '\n');
	}
}

/* The last word of the line; without any, none. */
static struct str
cut_last(struct str *line)
{
	size_t i = line->len;
	struct str word;

	while (i > 0 && line->p[i - 1] != ' ')
		i--;
	word = str_make(line->p + i, line->len - i);
	line->len = i ? i - 1 : 0;
	return word;
}

/* Of a message that has no number: its file's name, with odd bytes as "+XX". */
static void
uidl_of_name(struct str name, struct buf *out)
{
	size_t end = str_find(name, 0, ':');

	for (size_t i = 0; i < end; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c < 0x21 || c > 0x7e || strchr("'\"+", c))
			buf_printf(out, "+%02X", c);
		else
			buf_add_char(out, (char)c);
	}
}

void
adopt_courier_uidls(struct str text, struct buf *out)
{
	struct str rest = text, header = str_split(&rest, '\n');
	uint32_t count = 0;

	if (!str_starts_i(header, "/2 ") && !str_starts_i(header, "/3 "))
		return;
	buf_add_cstr(out, "3 V1 N1\n");
	while (rest.p) {
		struct str name = str_split(&rest, '\n'), ids = cut_last(&name);
		struct str size = cut_last(&name), number = str_split(&ids, ':');
		struct str validity = str_split(&ids, ':');
		uint32_t n, v, unused;

		if (name.len == 0 || size.len == 0 || str_to_u32(number, &n) ||
			str_to_u32(validity, &v) || (ids.len && str_to_u32(ids, &unused)))
			continue;
		buf_printf(out, "%u P", ++count);
		if (n && v)
			buf_printf(out, "UID%u-%u", n, v);
		else if (n)
			buf_printf(out, "UID%u", n);
		else
			uidl_of_name(name, out);
		buf_printf(out, " :%.*s\n", STR_ARG(name));
	}
}

/* ---- courierimapkeywords ---- */

void
adopt_keywords_free(struct adopt_keywords *k)
{
	for (size_t i = 0; i < k->count; i++)
		free(k->lines[i].unique);
	free(k->lines);
	memset(k, 0, sizeof(*k));
}

static struct str
unique_of(struct str name)
{
	struct str base = name, rest;
	size_t colon = str_find(name, 0, ':');

	base.len = colon;
	rest = base;
	return str_split(&rest, ',');
}

static void
add_line(struct adopt_keywords *k, struct str file, int64_t age, struct index_keywords words)
{
	struct str unique = unique_of(file);

	if (unique.len == 0 || unique.len > MAILDIR_NAME_MAX || str_has_control(unique)) {
		k->bad++;
		return;
	}
	if (k->count == k->cap) {
		k->cap = k->cap ? k->cap * 2 : 64;
		k->lines = mem_realloc(k->lines, k->cap, sizeof(*k->lines));
	}
	k->lines[k->count++] = (struct adopt_keyword_line){
		.unique = str_dup(unique), .age = age, .keywords = words};
}

/* -1: there is no room, or the word is no keyword of IMAP. */
static int
keyword_bit(struct adopt_keywords *k, struct str word)
{
	int bit;

	if (!core_keyword_is_valid(word))
		return -1;
	for (bit = 0; bit < INDEX_KEYWORDS_MAX && k->names[bit][0]; bit++)
		if (str_is_i(word, k->names[bit]))
			return bit;
	if (bit == INDEX_KEYWORDS_MAX)
		return -1;
	memcpy(k->names[bit], word.p, word.len);
	return bit;
}

static void
set_bit(struct index_keywords *words, int bit)
{
	words->bits[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* "FILE:0 2"; bits: what the numbers of the list are here. */
static void
list_line(struct adopt_keywords *k, struct str line, const int *bits, size_t count)
{
	struct index_keywords words = {0};
	size_t colon = str_find(line, 0, ':');
	struct str rest;

	if (colon == line.len) {
		k->bad++;
		return;
	}
	rest = str_make(line.p + colon + 1, line.len - colon - 1);
	while (rest.p) {
		struct str number = str_split(&rest, ' ');
		uint32_t n;

		if (number.len == 0)
			continue;
		if (str_to_u32(number, &n) || n >= count)
			k->bad++;
		else if (bits[n] >= 0)
			set_bit(&words, bits[n]);
	}
	add_line(k, str_make(line.p, colon), -1, words);
}

void
adopt_courier_keywords(struct str text, struct adopt_keywords *out)
{
	int bits[INDEX_KEYWORDS_MAX];
	struct str rest = text;
	size_t count = 0;

	memset(out, 0, sizeof(*out));
	while (rest.p) {
		struct str word = str_split(&rest, '\n');

		if (word.len == 0)
			break;
		if (count == INDEX_KEYWORDS_MAX) {
			out->bad++;
			continue;
		}
		bits[count] = keyword_bit(out, word);
		out->bad += bits[count] < 0;
		count++;
	}
	while (rest.p) {
		struct str line = str_split(&rest, '\n');

		if (line.len)
			list_line(out, line, bits, count);
	}
}

void
adopt_courier_keyword_change(struct str file, struct str text, struct adopt_keywords *out)
{
	struct index_keywords words = {0};
	struct str rest = text, name = file;
	int64_t age = INT64_MAX; /* a plain name is newer than every ".N.NAME" */

	if (name.len && name.p[0] == '.') {
		struct str number;
		uint64_t n;

		name = str_make(name.p + 1, name.len - 1);
		number = str_split(&name, '.');
		if (str_to_u64(number, &n) || n >= INT64_MAX) {
			out->bad++;
			return;
		}
		age = (int64_t)n;
	}
	while (rest.p) {
		struct str word = str_split(&rest, '\n');
		int bit = word.len ? keyword_bit(out, word) : -1;

		if (bit >= 0)
			set_bit(&words, bit);
		else if (word.len)
			out->bad++;
	}
	add_line(out, name, age, words);
}

static int
compare_lines(const void *a, const void *b)
{
	const struct adopt_keyword_line *x = a, *y = b;
	int order = strcmp(x->unique, y->unique);

	return order ? order : x->age < y->age ? -1 : x->age > y->age;
}

void
adopt_keywords_finish(struct adopt_keywords *k)
{
	if (k->count)
		qsort(k->lines, k->count, sizeof(*k->lines), compare_lines);
}

const struct index_keywords *
adopt_keywords_find(const struct adopt_keywords *k, struct str name)
{
	struct str unique = unique_of(name);
	size_t low = 0, high = k->count;

	/* The last of those with this name is the newest. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (str_compare(str_of(k->lines[mid].unique), unique) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0 || !str_is(unique, k->lines[low - 1].unique))
		return NULL;
	return &k->lines[low - 1].keywords;
}
