/* SPDX-License-Identifier: MIT */
#include "mail/cache.h"

#include <string.h>

#include "mail/cache_format.h"
#include "mail/varint.h"

static uint32_t
get_u32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* The directory is checked at every look: it is short, and the record may be anything. */
static enum err
directory(struct str record, int wanted, struct str *out)
{
	size_t count, at, left, found_len = 0, found_at = 0;
	int found = 0;

	if (record.len < CACHE_HEAD_LEN || record.p[0] != 'R' || record.p[1] != 'C' ||
		record.p[2] != MAIL_CACHE_VERSION)
		return E_CORRUPT;
	count = (unsigned char)record.p[3];
	if (count > CACHE_FIELDS_MAX || count * CACHE_ENTRY_LEN > record.len - CACHE_HEAD_LEN)
		return E_CORRUPT;
	at = CACHE_HEAD_LEN + count * CACHE_ENTRY_LEN;
	left = record.len - at;
	for (size_t i = 0; i < count; i++) {
		const char *entry = record.p + CACHE_HEAD_LEN + i * CACHE_ENTRY_LEN;
		uint32_t len = get_u32(entry + 1);

		if (len > left)
			return E_CORRUPT;
		if ((unsigned char)entry[0] == wanted && !found) {
			found = 1;
			found_at = at;
			found_len = len;
		}
		at += len;
		left -= len;
	}
	if (left)
		return E_CORRUPT;
	if (!found)
		return E_NOTFOUND;
	*out = str_make(record.p + found_at, found_len);
	return OK;
}

enum err
mail_cache_check(struct str record)
{
	struct str unused;
	enum err e = directory(record, 0, &unused);

	return e == E_NOTFOUND ? OK : e;
}

enum err
mail_cache_get(struct str record, enum mail_cache_field field, struct str *out)
{
	return directory(record, (int)field, out);
}

enum err
mail_cache_fields(struct str record, struct str out[MAIL_CACHE_FIELDS])
{
	size_t count, at;
	struct str unused;

	memset(out, 0, MAIL_CACHE_FIELDS * sizeof(out[0]));
	/* No field has the tag 0: this only checks. */
	if (directory(record, 0, &unused) == E_CORRUPT)
		return E_CORRUPT;
	count = (unsigned char)record.p[3];
	at = CACHE_HEAD_LEN + count * CACHE_ENTRY_LEN;
	for (size_t i = 0; i < count; i++) {
		const char *entry = record.p + CACHE_HEAD_LEN + i * CACHE_ENTRY_LEN;
		unsigned char tag = (unsigned char)entry[0];
		uint32_t len = get_u32(entry + 1);

		if (tag < MAIL_CACHE_FIELDS && !out[tag].p)
			out[tag] = str_make(record.p + at, len);
		at += len;
	}
	return OK;
}

enum err
mail_cache_sent_date(struct str record, time_t *when, int *zone_minutes)
{
	struct str s;
	enum err e = mail_cache_get(record, MAIL_CACHE_SENT_DATE, &s);

	return e ? e : mail_cache_sent_date_read(s, when, zone_minutes);
}

enum err
mail_cache_sent_date_read(struct str s, time_t *when, int *zone_minutes)
{
	uint64_t t, zone;
	int64_t signed_time;

	if (!s.p)
		return E_NOTFOUND;
	if (!varint_take(&s, &t) || !varint_take(&s, &zone) || s.len || zone >= 2 * 24 * 60)
		return E_CORRUPT;
	signed_time = (int64_t)(t >> 1) ^ -(int64_t)(t & 1);
	*when = (time_t)signed_time;
	*zone_minutes = (int)zone - 24 * 60;
	return OK;
}

enum err
mail_cache_sizes(struct str record, struct mail_cache_sizes *out)
{
	struct mail_cache_sizes z;
	struct str s;
	uint64_t bits;
	enum err e = mail_cache_get(record, MAIL_CACHE_SIZES, &s);

	if (e)
		return e == E_NOTFOUND ? E_CORRUPT : e;
	if (!varint_take(&s, &z.size) || !varint_take(&s, &z.header_stored) ||
		!varint_take(&s, &z.header_crlf) || !varint_take(&s, &z.body_crlf) ||
		!varint_take(&s, &bits) || s.len)
		return E_CORRUPT;
	if (z.size >> 60 || z.header_stored > z.size || z.header_crlf < z.header_stored ||
		z.header_crlf > 2 * z.size || z.body_crlf > 2 * z.size)
		return E_CORRUPT;
	z.has_nul = bits & 1;
	z.has_8bit = bits >> 1 & 1;
	*out = z;
	return OK;
}

enum err
mail_cache_parts(struct str record, struct part_table *out)
{
	struct str s;
	enum err e = mail_cache_get(record, MAIL_CACHE_PARTS, &s);

	*out = (struct part_table){0};
	if (e)
		return e == E_NOTFOUND ? E_CORRUPT : e;
	return part_table_read(s, out);
}

int
mail_cache_reference_next(struct str *list, struct str *id)
{
	while (list->len) {
		*id = str_split(list, '\0');
		if (id->len)
			return 1;
	}
	return 0;
}

enum mail_cache_found
mail_cache_header(struct str record, struct str name, struct str *out)
{
	int index = cache_header_index(name);
	struct str s;
	uint64_t skipped, at, len;

	if (index < 0 || mail_cache_get(record, MAIL_CACHE_HEADERS, &s) ||
		!varint_take(&s, &skipped))
		return MAIL_CACHE_HEADER_NOT_CACHED;
	if (skipped >> index & 1)
		return MAIL_CACHE_HEADER_NOT_CACHED;
	while (s.len) {
		if (!varint_take(&s, &at) || !varint_take(&s, &len) || len > s.len)
			return MAIL_CACHE_HEADER_NOT_CACHED;
		if (at == (unsigned)index) {
			*out = str_make(s.p, (size_t)len);
			return MAIL_CACHE_HEADER_FOUND;
		}
		s.p += len;
		s.len -= (size_t)len;
	}
	return skipped >> CACHE_CUT_BIT ? MAIL_CACHE_HEADER_NOT_CACHED : MAIL_CACHE_HEADER_ABSENT;
}
