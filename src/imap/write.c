/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "mail/mutf7.h"

/* Longer strings go as literals: clients differ in how long a line they take. */
enum { QUOTED_MAX = 1000 };

static int
can_be_quoted(struct str text, int utf8)
{
	if (text.len > QUOTED_MAX)
		return 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c >= 0x80 && !utf8) || c == '\r' || c == '\n' || c == '\0')
			return 0;
	}
	return !utf8 || str_is_utf8(text);
}

static int
can_be_atom(struct str text)
{
	if (text.len == 0 || text.len > QUOTED_MAX || str_is_i(text, "NIL"))
		return 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (!str_is_alnum(c) && c != '.' && c != '-' && c != '_' && c != '/' && c != '$' &&
			c != '&' && c != ',' && c != '+' && c != '@')
			return 0;
	}
	return 1;
}

static void
write_string(struct buf *out, struct str text, int utf8)
{
	if (!can_be_quoted(text, utf8)) {
		(void)buf_printf(out, "{%zu}\r\n", text.len);
		(void)buf_add_str(out, text);
		return;
	}
	(void)buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			(void)buf_add_char(out, '\\');
		(void)buf_add_char(out, text.p[i]);
	}
	(void)buf_add_char(out, '"');
}

void
imap_write_string(struct buf *out, struct str text)
{
	write_string(out, text, 0);
}

void
imap_write_nstring(struct buf *out, struct str text)
{
	if (text.p)
		imap_write_string(out, text);
	else
		(void)buf_add_cstr(out, "NIL");
}

void
imap_write_astring(struct buf *out, struct str text)
{
	if (can_be_atom(text))
		(void)buf_add_str(out, text);
	else
		imap_write_string(out, text);
}

int
imap_uses_utf8(const struct imap_session *s)
{
	return (s->enabled & (IMAP_UTF8 | IMAP_REV2)) != 0;
}

void
imap_write_mailbox(const struct imap_session *s, struct buf *out, struct str name)
{
	struct buf wire = BUF_INIT(0);

	if (imap_uses_utf8(s)) {
		if (can_be_atom(name))
			(void)buf_add_str(out, name);
		else
			write_string(out, name, 1);
		return;
	}
	/* Names of the index are well-formed; should one not be, the client gets it as it is. */
	if (mutf7_from_utf8(name, &wire))
		imap_write_astring(out, name);
	else
		imap_write_astring(out, buf_str(&wire));
	buf_free(&wire);
}

void
imap_write_flags(const struct imap_session *s, const struct index_message *m, struct buf *out)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{INDEX_ANSWERED, "\\Answered"},
		{INDEX_FLAGGED, "\\Flagged"},
		{INDEX_DELETED, "\\Deleted"},
		{INDEX_SEEN, "\\Seen"},
		{INDEX_DRAFT, "\\Draft"},
	};
	const char *gap = "";

	(void)buf_add_char(out, '(');
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(m->flags & names[i].bit))
			continue;
		(void)buf_add_cstr(out, gap);
		(void)buf_add_cstr(out, names[i].name);
		gap = " ";
	}
	if (imap_is_recent(s, m->uid)) {
		(void)buf_add_cstr(out, gap);
		(void)buf_add_cstr(out, "\\Recent");
		gap = " ";
	}
	for (size_t i = 0; i < s->keyword_count; i++) {
		if (!(m->keywords.bits[i / 64] >> (i % 64) & 1))
			continue;
		(void)buf_add_cstr(out, gap);
		(void)buf_add_cstr(out, s->keywords[i]);
		gap = " ";
	}
	(void)buf_add_char(out, ')');
}
