/* SPDX-License-Identifier: MIT */
#include "index/maildir_name.h"

#include <string.h>

#include "index/index_client.h"

enum { HOST_MAX = 64 };

static const struct {
	char letter;
	unsigned flag;
} info_flags[] = {
	{'D', INDEX_DRAFT},
	{'F', INDEX_FLAGGED},
	{'R', INDEX_ANSWERED},
	{'S', INDEX_SEEN},
	{'T', INDEX_DELETED},
};

static unsigned
flag_of_letter(char c)
{
	for (size_t i = 0; i < sizeof(info_flags) / sizeof(info_flags[0]); i++)
		if (info_flags[i].letter == c)
			return info_flags[i].flag;
	return 0;
}

static void
parse_info(struct str info, struct maildir_name *out)
{
	/* Flags end at the first byte that is no letter: ",…" behind them is another program's. */
	for (size_t i = 0; i < info.len && str_is_alpha(info.p[i]); i++) {
		char c = info.p[i];

		if (c >= 'a')
			out->letters |= 1u << (c - 'a');
		else if (flag_of_letter(c))
			out->flags |= flag_of_letter(c);
		else
			out->others |= 1u << (c - 'A');
	}
}

static void
parse_field(struct str field, struct maildir_name *out)
{
	uint64_t n;

	if (field.len < 3 || field.p[1] != '=')
		return;
	if (str_to_u64(str_make(field.p + 2, field.len - 2), &n))
		return;
	if (field.p[0] == 'S' && n < UINT64_MAX) {
		out->has_size = 1;
		out->size = n;
	} else if (field.p[0] == 'W' && n < UINT64_MAX) {
		out->has_crlf_size = 1;
		out->crlf_size = n;
	} else if (field.p[0] == 'U' && n > 0 && n <= UINT32_MAX) {
		out->has_uid = 1;
		out->uid = (uint32_t)n;
	}
}

static int64_t
leading_time(struct str base)
{
	size_t digits = 0;
	uint64_t n;

	while (digits < base.len && str_is_digit(base.p[digits]))
		digits++;
	/* Up to year 5138; more digits are no time. */
	if (digits == 0 || digits > 11 || str_to_u64(str_make(base.p, digits), &n))
		return 0;
	return (int64_t)n;
}

enum err
maildir_name_parse(struct str name, struct maildir_name *out)
{
	struct str rest;
	size_t colon;

	memset(out, 0, sizeof(*out));
	if (name.len == 0 || name.len > MAILDIR_NAME_MAX || name.p[0] == '.' ||
		str_has_control(name) || str_find(name, 0, '/') < name.len)
		return E_RANGE;
	/* The last colon: an odd host name may have one too. */
	for (colon = name.len; colon > 0 && name.p[colon - 1] != ':';)
		colon--;
	if (colon == 0) {
		out->base = name;
	} else {
		struct str info = str_make(name.p + colon, name.len - colon);

		out->base = str_make(name.p, colon - 1);
		if (out->base.len == 0)
			return E_RANGE;
		if (info.len >= 2 && info.p[0] == '2' && info.p[1] == ',') {
			out->has_info = 1;
			parse_info(str_make(info.p + 2, info.len - 2), out);
		}
	}
	out->time = leading_time(out->base);
	rest = out->base;
	str_split(&rest, ',');
	while (rest.p)
		parse_field(str_split(&rest, ','), out);
	return OK;
}

void
maildir_unique_build(const struct maildir_unique *u, struct buf *out)
{
	size_t len = 0;

	buf_printf(out, "%lld.M%uP%uQ%llu.", (long long)u->time_s, u->usec, u->pid,
		(unsigned long long)u->counter);
	for (const char *p = u->host; *p && len < HOST_MAX; p++, len++) {
		int good = str_is_alnum(*p) || *p == '.' || *p == '-' || *p == '_';

		buf_add_char(out, good ? *p : '_');
	}
	if (len == 0)
		buf_add_cstr(out, "localhost");
}

void
maildir_fields_build(uint64_t size, uint64_t crlf_size, uint32_t uid, struct buf *out)
{
	if (size != UINT64_MAX)
		buf_printf(out, ",S=%llu", (unsigned long long)size);
	if (crlf_size != UINT64_MAX)
		buf_printf(out, ",W=%llu", (unsigned long long)crlf_size);
	if (uid)
		buf_printf(out, ",U=%u", uid);
}

static int
is_our_field(struct str field)
{
	return field.len >= 2 && field.p[1] == '=' &&
	       (field.p[0] == 'S' || field.p[0] == 'W' || field.p[0] == 'U');
}

enum err
maildir_base_rebuild(const struct maildir_name *n, uint64_t size, uint64_t crlf_size, uint32_t uid,
	struct buf *out)
{
	struct str rest = n->base;
	size_t start = out->len;

	buf_add_str(out, str_split(&rest, ','));
	maildir_fields_build(size, crlf_size, uid, out);
	while (rest.p) {
		struct str field = str_split(&rest, ',');

		if (is_our_field(field))
			continue;
		buf_add_char(out, ',');
		buf_add_str(out, field);
	}
	if (out->len - start > MAILDIR_BASE_MAX) {
		buf_truncate(out, start);
		return E_TOOBIG;
	}
	return out->err;
}

void
maildir_info_build(unsigned flags, uint32_t letters, uint32_t others, struct buf *out)
{
	buf_add_cstr(out, ":2,");
	for (int i = 0; i < 26; i++) {
		unsigned flag = flag_of_letter((char)('A' + i));

		if (flag ? (flags & flag) != 0 : (others >> i & 1) != 0)
			buf_add_char(out, (char)('A' + i));
	}
	for (int i = 0; i < 26; i++)
		if (letters >> i & 1)
			buf_add_char(out, (char)('a' + i));
}
