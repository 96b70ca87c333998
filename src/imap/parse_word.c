/* SPDX-License-Identifier: MIT */
#include "imap/parse.h"

#include <string.h>

#include "imap/parse_private.h"
#include "lib/buf.h"
#include "mail/mutf7.h"

/* Classes of RFC 3501 section 9, as bits. */
enum {
	IS_ATOM = 1, /* ATOM-CHAR */
	IS_ASTRING = 2, /* ASTRING-CHAR: also "]" */
	IS_LIST = 4, /* list-char: also "%" and "*" */
	IS_TAG = 8, /* ASTRING-CHAR without "+" */
	IS_WORD = 16, /* letters, digits, "." and "-" */
};

static unsigned
char_class(char c)
{
	if (str_is_alnum(c) || c == '.' || c == '-')
		return IS_ATOM | IS_ASTRING | IS_LIST | IS_TAG | IS_WORD;
	if ((unsigned char)c <= ' ' || (unsigned char)c >= 0x7f)
		return 0;
	switch (c) {
	case '(':
	case ')':
	case '{':
	case '"':
	case '\\':
		return 0;
	case '%':
	case '*':
		return IS_LIST;
	case ']':
		return IS_ASTRING | IS_LIST | IS_TAG;
	case '+':
		return IS_ATOM | IS_ASTRING | IS_LIST;
	default:
		return IS_ATOM | IS_ASTRING | IS_LIST | IS_TAG;
	}
}

/* The longest run of a class, at least one. */
static enum err
run_take(struct imap_parser *p, unsigned class, const char *reason, struct str *out)
{
	size_t end = p->at;

	*out = (struct str){NULL, 0};
	if (p->err)
		return p->err;
	while (end < p->line.len && (char_class(p->line.p[end]) & class))
		end++;
	if (end == p->at)
		return imap_parser_fail(p, E_PARSE, reason);
	*out = str_make(p->line.p + p->at, end - p->at);
	p->at = end;
	return OK;
}

static int
word_here(const struct imap_parser *p, const char *word)
{
	size_t len = strlen(word);

	if (p->err || len > p->line.len - p->at)
		return 0;
	if (!str_equal_i(str_make(p->line.p + p->at, len), str_make(word, len)))
		return 0;
	return p->at + len == p->line.len || !(char_class(p->line.p[p->at + len]) & IS_ATOM);
}

int
imap_parse_peek_word(const struct imap_parser *p, const char *word)
{
	return word_here(p, word);
}

int
imap_parse_try_word(struct imap_parser *p, const char *word)
{
	if (!word_here(p, word))
		return 0;
	p->at += strlen(word);
	return 1;
}

enum err
imap_parse_tag(struct imap_parser *p, struct str *out)
{
	size_t start = p->at;
	enum err e = run_take(p, IS_TAG, "expected a tag", out);

	if (!e && out->len > IMAP_TAG_MAX) {
		p->at = start;
		*out = (struct str){NULL, 0};
		return imap_parser_fail(p, E_TOOBIG, "the tag is too long");
	}
	return e;
}

enum err
imap_parse_atom(struct imap_parser *p, const char *what, struct str *out)
{
	return run_take(p, IS_ATOM, what, out);
}

enum err
imap_parse_word(struct imap_parser *p, const char *what, struct str *out)
{
	return run_take(p, IS_WORD, what, out);
}

/*
 * <quoted>. Bytes over 0x7f are taken as they are: clients do send UTF-8 here, and those who
 * enabled it must (RFC 9755 section 3). Without an escape the slice is that of the line; with one a
 * copy is made.
 */
static enum err
quoted_take(struct imap_parser *p, struct str *out)
{
	size_t start = p->at + 1, end = start, n = 0;
	int escaped = 0;
	char *copy;

	while (end < p->line.len && p->line.p[end] != '"') {
		if (p->line.p[end] == '\\') {
			escaped = 1;
			end++;
			if (end < p->line.len && p->line.p[end] != '"' && p->line.p[end] != '\\')
				break;
		}
		if (end < p->line.len && (p->line.p[end] == '\0' || p->line.p[end] == '\r'))
			break;
		end++;
	}
	if (end >= p->line.len) {
		return imap_parser_fail(p, E_PARSE, "the quoted string is not closed");
	}
	if (p->line.p[end] != '"') {
		p->at = end;
		return imap_parser_fail(p, E_PARSE, "not allowed in a quoted string");
	}
	*out = str_make(p->line.p + start, end - start);
	if (p->utf8 && !str_is_utf8(*out)) {
		*out = (struct str){NULL, 0};
		return imap_parser_fail(p, E_PARSE, "the quoted string is not in UTF-8");
	}
	p->at = end + 1;
	if (!escaped)
		return OK;
	copy = imap_parser_keep(p, *out);
	for (size_t i = 0; i < out->len; i++) {
		if (out->p[i] == '\\')
			i++;
		copy[n++] = out->p[i];
	}
	*out = str_make(copy, n);
	return OK;
}

static enum err
string_take(struct imap_parser *p, const char *reason, struct str *out)
{
	int c = imap_parse_peek(p);

	*out = (struct str){NULL, 0};
	if (p->err)
		return p->err;
	if (c == '"')
		return quoted_take(p, out);
	if (c == '{')
		return imap_parser_literal(p, 0, out);
	return imap_parser_fail(p, E_PARSE, reason);
}

enum err
imap_parse_string(struct imap_parser *p, struct str *out)
{
	return string_take(p, "expected a string", out);
}

static enum err
run_or_string(struct imap_parser *p, unsigned class, const char *reason, struct str *out)
{
	int c = imap_parse_peek(p);

	if (c == '"' || c == '{')
		return string_take(p, reason, out);
	return run_take(p, class, reason, out);
}

enum err
imap_parse_astring(struct imap_parser *p, struct str *out)
{
	return run_or_string(p, IS_ASTRING, "expected an atom or string", out);
}

enum err
imap_parse_nstring(struct imap_parser *p, struct str *out, int *is_nil)
{
	*is_nil = imap_parse_try_word(p, "NIL");
	if (*is_nil) {
		*out = (struct str){NULL, 0};
		return OK;
	}
	return string_take(p, "expected a string or NIL", out);
}

enum err
imap_parse_nstring8(struct imap_parser *p, struct str *out, int *is_nil)
{
	if (!imap_parse_try(p, '~'))
		return imap_parse_nstring(p, out, is_nil);
	*is_nil = 0;
	*out = (struct str){NULL, 0};
	return imap_parse_peek(p) == '{' ? imap_parser_literal(p, 1, out)
					 : imap_parser_fail(p, E_PARSE, "expected a literal");
}

enum err
imap_parse_list_mailbox(struct imap_parser *p, struct str *out)
{
	return run_or_string(p, IS_LIST, "expected a mailbox pattern", out);
}

static int
has_8bit(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return 1;
	return 0;
}

/* What a name is in, and how to bring it into UTF-8; *reason: what is wrong with it. */
static enum err
name_decode(const struct imap_parser *p, struct str raw, struct buf *out, const char **reason)
{
	if (p->utf8 || has_8bit(raw)) {
		*reason = "the mailbox name is not in UTF-8";
		return str_is_utf8(raw) ? buf_add_str(out, raw) : E_PARSE;
	}
	*reason = "the mailbox name is not in modified UTF-7";
	return mutf7_to_utf8(raw, out);
}

enum err
imap_parse_mailbox(struct imap_parser *p, struct str *out)
{
	const char *reason;
	size_t start = p->at;
	uint64_t base = p->base;
	struct str raw;
	struct buf name = BUF_INIT(0);

	*out = (struct str){NULL, 0};
	if (run_or_string(p, IS_ASTRING, "expected a mailbox name", &raw))
		return p->err;
	if (str_is_i(raw, "INBOX")) {
		*out = STR("INBOX");
		return OK;
	}
	if (name_decode(p, raw, &name, &reason)) {
		buf_free(&name);
		if (p->base == base)
			p->at = start;
		return imap_parser_fail(p, E_PARSE, reason);
	}
	*out = str_make(imap_parser_keep(p, buf_str(&name)), name.len);
	buf_free(&name);
	return OK;
}
