/* SPDX-License-Identifier: MIT */
#include "imap/parse.h"

#include <stdlib.h>
#include <string.h>

#include "imap/parse_private.h"
#include "imap/seqset.h"
#include "index/index_client.h"
#include "lib/mem.h"
#include "mail/date.h"

enum err
imap_parse_number64(struct imap_parser *p, uint64_t *out)
{
	size_t end = p->at;

	*out = 0;
	if (p->err)
		return p->err;
	while (end < p->line.len && str_is_digit(p->line.p[end]))
		end++;
	if (end == p->at)
		return imap_parser_fail(p, E_PARSE, "expected a number");
	if (str_to_u64(str_make(p->line.p + p->at, end - p->at), out) || *out > INT64_MAX) {
		*out = 0;
		return imap_parser_fail(p, E_PARSE, "the number is too large");
	}
	p->at = end;
	return OK;
}

enum err
imap_parse_number(struct imap_parser *p, uint32_t *out)
{
	size_t start = p->at;
	uint64_t n;
	enum err e = imap_parse_number64(p, &n);

	*out = 0;
	if (!e && n > UINT32_MAX) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "the number is too large");
	}
	*out = (uint32_t)n;
	return e;
}

enum err
imap_parse_nz_number(struct imap_parser *p, uint32_t *out)
{
	size_t start = p->at;
	enum err e = imap_parse_number(p, out);

	if (!e && *out == 0) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "the number must not be 0");
	}
	return e;
}

enum err
imap_parse_partial_range(struct imap_parser *p, int *from_end, uint32_t *from, uint32_t *to)
{
	*to = 0;
	*from_end = imap_parse_try(p, '-');
	(void)imap_parse_nz_number(p, from);
	(void)imap_parse_char(p, ':');
	if (*from_end)
		(void)imap_parse_char(p, '-');
	return imap_parse_nz_number(p, to);
}

static int
is_in_set(char c)
{
	return str_is_digit(c) || c == ':' || c == ',' || c == '*';
}

enum err
imap_parse_sequence_set(struct imap_parser *p, uint32_t largest, struct numset *out)
{
	size_t end = p->at, at = 0;
	enum err e;

	numset_free(out);
	if (p->err)
		return p->err;
	while (end < p->line.len && is_in_set(p->line.p[end]))
		end++;
	e = imap_seqset_parse(str_make(p->line.p + p->at, end - p->at), largest, out, &at);
	if (e) {
		p->at += at;
		return imap_parser_fail(p, e == E_TOOBIG ? E_TOOBIG : E_PARSE,
			e == E_TOOBIG ? "the sequence set is too long" : "expected a sequence set");
	}
	p->at = end;
	return OK;
}

void
imap_flags_free(struct imap_flags *f)
{
	free(f->keywords);
	*f = (struct imap_flags){0};
}

static enum err
system_flag(struct imap_parser *p, struct imap_flags *out)
{
	static const struct {
		const char *name;
		unsigned bit;
	} flags[] = {
		{"Seen", INDEX_SEEN},
		{"Answered", INDEX_ANSWERED},
		{"Flagged", INDEX_FLAGGED},
		{"Deleted", INDEX_DELETED},
		{"Draft", INDEX_DRAFT},
		{"Recent", 0},
	};
	size_t start = p->at - 1;
	struct str name;

	if (imap_parse_atom(p, "expected a flag name", &name))
		return p->err;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (str_is_i(name, flags[i].name)) {
			out->system |= flags[i].bit;
			return OK;
		}
	}
	p->at = start;
	return imap_parser_fail(p, E_PARSE, "there is no such system flag");
}

static enum err
flag_take(struct imap_parser *p, struct imap_flags *out)
{
	size_t start = p->at;
	struct str name;

	if (imap_parse_try(p, '\\'))
		return system_flag(p, out);
	if (imap_parse_atom(p, "expected a flag", &name))
		return p->err;
	if (name.len > INDEX_KEYWORD_LEN_MAX) {
		p->at = start;
		return imap_parser_fail(p, E_TOOBIG, "the keyword is too long");
	}
	for (size_t i = 0; i < out->count; i++)
		if (str_is_i(name, out->keywords[i]))
			return OK;
	if (out->count >= IMAP_FLAGS_MAX) {
		p->at = start;
		return imap_parser_fail(p, E_TOOBIG, "too many flags");
	}
	out->keywords = mem_realloc(out->keywords, out->count + 1, sizeof(*out->keywords));
	out->keywords[out->count++] = imap_parser_keep(p, name);
	return OK;
}

enum err
imap_parse_flag_list(struct imap_parser *p, struct imap_flags *out)
{
	size_t n = 0;

	*out = (struct imap_flags){0};
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n))
		if (flag_take(p, out))
			break;
	return p->err;
}

enum err
imap_parse_store_flags(struct imap_parser *p, struct imap_flags *out)
{
	*out = (struct imap_flags){0};
	if (imap_parse_peek(p) == '(')
		return imap_parse_flag_list(p, out);
	do {
		if (flag_take(p, out))
			break;
	} while (imap_parse_try(p, ' '));
	return p->err;
}

enum err
imap_parse_date(struct imap_parser *p, int *days)
{
	size_t start = p->at;
	struct str text;

	*days = 0;
	if (imap_parse_peek(p) == '"')
		(void)imap_parse_string(p, &text);
	else
		(void)imap_parse_atom(p, "expected a date such as 1-Feb-2026", &text);
	if (p->err)
		return p->err;
	if (date_parse_imap_day(text, days)) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "expected a date such as 1-Feb-2026");
	}
	return OK;
}

enum err
imap_parse_date_time(struct imap_parser *p, time_t *when, int *zone_minutes)
{
	static const char reason[] = "expected a date such as \"01-Feb-2026 10:11:12 +0000\"";
	size_t start = p->at;
	struct str text;

	*when = 0;
	*zone_minutes = 0;
	if (p->err)
		return p->err;
	if (imap_parse_peek(p) != '"')
		return imap_parser_fail(p, E_PARSE, reason);
	if (imap_parse_string(p, &text))
		return p->err;
	if (date_parse_imap(text, when, zone_minutes)) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, reason);
	}
	return OK;
}

/* The names of HEADER.FIELDS, each an astring, so possibly a literal. */
static void
section_names(struct imap_parser *p, struct section *out)
{
	size_t n = 0;
	struct str name;

	(void)imap_parse_space(p);
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		enum err e;

		if (imap_parse_astring(p, &name))
			return;
		e = section_add_name(out, name);
		if (e)
			(void)imap_parser_fail(
				p, e, e == E_TOOBIG ? "too many field names" : "not a field name");
	}
	if (!p->err && n == 0)
		(void)imap_parser_fail(p, E_PARSE, "expected a field name");
}

enum err
imap_parse_section(struct imap_parser *p, struct section *out)
{
	size_t end;
	enum err e;

	*out = (struct section){0};
	if (imap_parse_char(p, '['))
		return p->err;
	end = p->at;
	while (end < p->line.len && p->line.p[end] != ']' && p->line.p[end] != ' ')
		end++;
	e = section_parse(str_make(p->line.p + p->at, end - p->at), out);
	if (e)
		return imap_parser_fail(p, e == E_TOOBIG ? E_TOOBIG : E_PARSE,
			e == E_TOOBIG ? "the section is too deep" : "expected a section");
	p->at = end;
	if (out->kind == SECTION_HEADER_FIELDS || out->kind == SECTION_HEADER_FIELDS_NOT)
		section_names(p, out);
	return imap_parse_char(p, ']');
}

enum err
imap_parse_partial(struct imap_parser *p, int *given, uint64_t *off, uint64_t *count)
{
	*off = 0;
	*count = 0;
	*given = imap_parse_try(p, '<');
	if (!*given)
		return p->err;
	(void)imap_parse_number64(p, off);
	(void)imap_parse_char(p, '.');
	if (!imap_parse_number64(p, count) && *count == 0)
		(void)imap_parser_fail(p, E_PARSE, "the number must not be 0");
	return imap_parse_char(p, '>');
}
