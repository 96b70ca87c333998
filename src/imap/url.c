/* SPDX-License-Identifier: MIT */
#include "imap/url.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"

/* RFC 5092 section 11. */

static int
hex_value(char c)
{
	if (str_is_digit(c))
		return c - '0';
	c = str_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding. NULs are in no name. */
static enum err
unescape(struct str text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (c == '%') {
			int high = i + 2 < text.len ? hex_value(text.p[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_value(text.p[i + 2]) : -1;

			if (high < 0 || low < 0 || high + low == 0)
				return E_PARSE;
			c = (char)(high << 4 | low);
			i += 2;
		}
		(void)buf_add_char(out, c);
	}
	return out->err;
}

/* "NAME;UIDVALIDITY=n": INBOX in any case is INBOX (RFC 9051 section 5.1). */
static enum err
mailbox_parse(struct str text, struct imap_url *out)
{
	struct str name = str_split(&text, ';');
	struct buf decoded = {0};
	enum err e = unescape(name, &decoded);

	if (!e && (decoded.len == 0 || !str_is_utf8(buf_str(&decoded))))
		e = E_PARSE;
	if (!e && text.p != NULL) {
		static const char key[] = "UIDVALIDITY=";

		e = str_starts_i(text, key) ? str_to_u32(str_make(text.p + sizeof(key) - 1,
								 text.len - (sizeof(key) - 1)),
						      &out->uidvalidity)
					    : E_PARSE;
		if (!e && out->uidvalidity == 0)
			e = E_PARSE;
	}
	if (!e)
		out->mailbox = str_is_i(buf_str(&decoded), "INBOX") ? mem_strdup("INBOX")
								    : buf_steal(&decoded);
	buf_free(&decoded);
	return e ? E_PARSE : OK;
}

/* "off" or "off.count" */
static enum err
partial_parse(struct str text, struct imap_url *out)
{
	struct str off = str_split(&text, '.');
	enum err e = str_to_u64(off, &out->off);

	if (!e && text.p != NULL)
		e = str_to_u64(text, &out->count);
	return e || out->count == 0 ? E_PARSE : OK;
}

static enum err
section_part_parse(struct str text, struct imap_url *out)
{
	struct buf decoded = {0};
	enum err e = unescape(text, &decoded);

	section_fini(&out->section);
	if (!e)
		e = section_parse(buf_str(&decoded), &out->section);
	buf_free(&decoded);
	return e;
}

/* The parts behind the mailbox in the order in which they may come. */
enum part_kind { PART_UID, PART_SECTION, PART_PARTIAL, PART_COUNT };

static enum err
part_parse(struct str part, enum part_kind *next, struct imap_url *out)
{
	static const char *const keys[PART_COUNT] = {";UID=", ";SECTION=", ";PARTIAL="};

	for (enum part_kind kind = *next; kind < PART_COUNT; kind++) {
		size_t len = strlen(keys[kind]);
		struct str value = str_make(part.p + len, part.len - len);

		if (!str_starts_i(part, keys[kind]))
			continue;
		*next = kind + 1;
		if (kind == PART_UID)
			return str_to_u32(value, &out->uid) || out->uid == 0 ? E_PARSE : OK;
		return kind == PART_SECTION ? section_part_parse(value, out)
					    : partial_parse(value, out);
	}
	/* An <iurlauth> hangs on the last part. */
	return E_PARSE;
}

/* Where the first "/;" stands, which ends the mailbox's name; text.len: nowhere. */
static size_t
parts_find(struct str text)
{
	return str_find_str(text, STR("/;"));
}

enum err
imap_url_parse(struct str text, struct imap_url *out)
{
	enum part_kind next = PART_UID;
	struct str rest = text;
	enum err e = OK;

	*out = (struct imap_url){.count = UINT64_MAX};
	if (str_starts_i(text, "imap:") || str_starts_i(text, "//") ||
		str_find_str(text, STR(";URLAUTH=")) < text.len)
		return E_UNSUPPORTED;
	if (rest.len > 0 && rest.p[0] == '/') {
		size_t parts;

		rest = str_make(rest.p + 1, rest.len - 1);
		parts = parts_find(rest);
		if (parts == rest.len)
			return E_UNSUPPORTED; /* a mailbox or a search */
		e = mailbox_parse(str_make(rest.p, parts), out);
		rest = str_make(rest.p + parts + 1, rest.len - parts - 1);
	}
	/* A section may have slashes in its names, so parts end only where another begins. */
	while (!e && rest.len > 0) {
		size_t end = parts_find(rest);

		e = part_parse(str_make(rest.p, end), &next, out);
		rest = end < rest.len ? str_make(rest.p + end + 1, rest.len - end - 1)
				      : (struct str){0};
	}
	return !e && out->uid == 0 ? E_PARSE : e;
}

void
imap_url_fini(struct imap_url *url)
{
	free(url->mailbox);
	section_fini(&url->section);
	*url = (struct imap_url){0};
}
