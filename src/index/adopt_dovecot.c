/* SPDX-License-Identifier: MIT */
#include "index/adopt.h"

#include <string.h>

/* ---- dovecot-uidlist ---- */

static void
raise_next(struct adopt_list *l, uint32_t next)
{
	/* More than any UID that is believed is damage. */
	if (next > l->next_uid && next - 1 <= ADOPT_UID_MAX)
		l->next_uid = next;
}

/* "1 UIDVALIDITY NEXTUID", behind the version. */
static void
header_v1(struct str rest, struct adopt_list *l)
{
	struct str validity = str_split(&rest, ' ');
	uint32_t next;

	if (str_to_u32(validity, &l->uidvalidity))
		l->uidvalidity = 0;
	if (str_to_u32(str_split(&rest, ' '), &next))
		l->bad++;
	else
		raise_next(l, next);
}

/* "V1275660208 N25022 G…", in any order. */
static void
header_v3(struct str rest, struct adopt_list *l)
{
	int with_next = 0;

	while (rest.p) {
		struct str field = str_split(&rest, ' ');
		uint32_t value;

		if (field.len < 2 || str_to_u32(str_make(field.p + 1, field.len - 1), &value))
			continue;
		if (field.p[0] == 'V') {
			l->uidvalidity = value;
		} else if (field.p[0] == 'N') {
			raise_next(l, value);
			with_next = 1;
		}
	}
	l->bad += !with_next;
}

static void
line_v1(struct str line, struct adopt_list *l)
{
	uint32_t uid;

	if (str_to_u32(str_split(&line, ' '), &uid))
		uid = 0;
	(void)adopt_list_add(l, uid, line);
}

struct extensions {
	struct str uidl;
	uint64_t size, crlf_size;
};

static void
extension(struct str field, struct extensions *ext)
{
	struct str value = str_make(field.p + 1, field.len - 1);
	uint64_t n;

	switch (field.p[0]) {
	case 'S':
		if (str_to_u64(value, &n) == OK)
			ext->size = n;
		break;
	case 'W':
		if (str_to_u64(value, &n) == OK)
			ext->crlf_size = n;
		break;
	case 'P':
		if (!str_has_control(value))
			ext->uidl = value;
		break;
	default:
		break;
	}
}

static void
line_v3(struct str line, struct adopt_list *l)
{
	struct extensions ext = {.size = UINT64_MAX, .crlf_size = UINT64_MAX};
	struct adopt_line *added;
	uint32_t uid;

	if (str_to_u32(str_split(&line, ' '), &uid))
		uid = 0;
	/* A name has blanks as it likes; it stands behind the first " :". */
	while (line.len && line.p[0] != ':') {
		struct str field = str_split(&line, ' ');

		if (field.len)
			extension(field, &ext);
	}
	if (adopt_list_add(l, uid, line.len ? str_make(line.p + 1, line.len - 1) : line))
		return;
	added = &l->lines[l->count - 1];
	added->uidl = ext.uidl;
	added->size = ext.size;
	added->crlf_size = ext.crlf_size;
}

enum err
adopt_dovecot_uidlist(struct str text, struct adopt_list *out)
{
	struct str rest = text, header, version;
	int three;

	memset(out, 0, sizeof(*out));
	out->next_uid = 1;
	header = str_split(&rest, '\n');
	version = str_split(&header, ' ');
	three = str_is(version, "3");
	if (three)
		header_v3(header, out);
	else if (str_is(version, "1"))
		header_v1(header, out);
	if (out->uidvalidity == 0)
		return E_CORRUPT;
	while (rest.p) {
		struct str line = str_split(&rest, '\n');

		size_t before = out->count;

		if (line.len == 0)
			continue;
		if (three)
			line_v3(line, out);
		else
			line_v1(line, out);
		/* One without an end was being written when the process died: no more than a UID.
		 */
		if (!rest.p && out->count > before) {
			out->count = before;
			out->bad++;
		}
	}
	adopt_list_finish(out);
	return OK;
}

/* ---- the others ---- */

void
adopt_dovecot_keywords(struct str text, adopt_names names)
{
	struct str rest = text;

	memset(names, 0, sizeof(adopt_names));
	while (rest.p) {
		struct str name = str_split(&rest, '\n'), number = str_split(&name, ' ');
		uint32_t bit;

		if (str_to_u32(number, &bit) || bit >= CORE_LETTERS || names[bit][0] ||
			!core_keyword_is_valid(name))
			continue;
		memcpy(names[bit], name.p, name.len);
	}
}

uint32_t
adopt_dovecot_uidvalidity(struct str text)
{
	uint32_t n = 0;

	if (text.len != 8)
		return 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = str_lower(text.p[i]);

		if (!str_is_digit(c) && (c < 'a' || c > 'f'))
			return 0;
		n = n << 4 | (uint32_t)(str_is_digit(c) ? c - '0' : c - 'a' + 10);
	}
	return n;
}

/* Tabs become '.'; what is escaped (tabs, line ends, the escape itself) is in no folder's name. */
static void
subscription_line(struct str line, struct buf *out)
{
	if (line.len == 0 || str_find(line, 0, '.') < line.len ||
		str_find(line, 0, '\1') < line.len)
		return;
	for (size_t i = 0; i < line.len; i++)
		buf_add_char(out, line.p[i] == '\t' ? '.' : line.p[i]);
	buf_add_char(out, '\n');
}

void
adopt_dovecot_subscriptions(struct str text, struct buf *out)
{
	struct str rest = text;

	if (!str_is(str_split(&rest, '\n'), "V\t2")) {
		buf_add_str(out, text);
		return;
	}
	while (rest.p)
		subscription_line(str_split(&rest, '\n'), out);
}
