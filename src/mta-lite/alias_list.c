/* SPDX-License-Identifier: MIT */
#include "mta-lite/alias_list.h"

#include <string.h>

#include "mta-lite/map_text.h"

/* RFC 5321 section 4.5.3.1: 64 for the local part, 255 for the domain, and room to be lenient. */
enum { ALIAS_ADDRESS_MAX = 512, ALIAS_TEXT_MAX = 8192 };

/* Behind a quoted string that begins at i; text.len if it never ends. */
static size_t
skip_quoted(struct str text, size_t i)
{
	for (i++; i < text.len; i++) {
		if (text.p[i] == '\\')
			i++;
		else if (text.p[i] == '"')
			return i + 1;
	}
	return text.len;
}

/* Up to the next comma outside of quotes. */
static struct str
cut_item(struct str *rest)
{
	struct str all = *rest;
	size_t i = 0;

	while (i < all.len && all.p[i] != ',')
		i = all.p[i] == '"' ? skip_quoted(all, i) : i + 1;
	if (i > all.len)
		i = all.len;
	*rest = i < all.len ? str_make(all.p + i + 1, all.len - i - 1) : str_make(NULL, 0);
	return str_trim(str_make(all.p, i));
}

/* What stands in the quotes that text begins with, and *behind them. 0: they do not end. */
static int
unquote(struct str text, struct buf *out, struct str *behind)
{
	size_t i;

	for (i = 1; i < text.len && text.p[i] != '"'; i++) {
		if (text.p[i] == '\\' && i + 1 < text.len)
			i++;
		buf_add_char(out, text.p[i]);
	}
	if (i >= text.len)
		return 0;
	*behind = str_trim(str_make(text.p + i + 1, text.len - i - 1));
	return 1;
}

/* "Name <user@domain>" without the name. */
static struct str
inside_angles(struct str text)
{
	size_t open = 0, close;

	while (open < text.len && text.p[open] != '<')
		open = text.p[open] == '"' ? skip_quoted(text, open) : open + 1;
	if (open >= text.len)
		return text;
	close = str_find(text, open, '>');
	return close + 1 == text.len ? str_make(text.p + open + 1, close - open - 1) : text;
}

static const char *
take_address(struct str text, struct alias_item *item)
{
	size_t i = 0;

	text = inside_angles(text);
	if (text.len > 1 && text.p[0] == '\\') {
		item->exact = 1;
		text = str_make(text.p + 1, text.len - 1);
	}
	if (text.len == 0)
		return "an empty address";
	/* Behind a backslash, or in angle brackets: nobody may take it for one further on. */
	if (strchr("|/:", text.p[0]))
		return "an address that begins like a command or a file";
	if (text.len > ALIAS_ADDRESS_MAX)
		return "an address that is too long";
	while (i < text.len) {
		if (str_is_space(text.p[i]) || strchr("<>(),;:", text.p[i]))
			return "an address with a blank or a sign that must be quoted in it";
		i = text.p[i] == '"' ? skip_quoted(text, i) : i + 1;
	}
	if (i > text.len || text.p[0] == '@' || text.p[text.len - 1] == '@')
		return "an address that is not whole";
	buf_add_str(&item->text, text);
	return NULL;
}

/* |"command args", as sendmail had it. */
static struct str
without_quotes(struct str text, struct buf *space)
{
	struct str behind;

	if (text.len > 0 && text.p[0] == '"' && unquote(text, space, &behind) && behind.len == 0)
		return buf_str(space);
	return text;
}

static const char *
take_command(struct str text, int quoted, struct alias_item *item)
{
	struct buf space = {0};

	item->kind = ALIAS_COMMAND;
	text = str_trim(text);
	buf_add_str(&item->text, str_trim(quoted ? text : without_quotes(text, &space)));
	buf_free(&space);
	return item->text.len ? NULL : "a \"|\" without a command";
}

/* quoted: text stood in quotes as a whole. */
static const char *
take_plain(struct str text, int quoted, struct alias_item *item)
{
	static const char include[] = ":include:";

	if (text.len > 0 && text.p[0] == '|')
		return take_command(str_make(text.p + 1, text.len - 1), quoted, item);
	if (text.len > 0 && text.p[0] == '/') {
		item->kind = ALIAS_FILE;
	} else if (str_starts_i(text, include)) {
		item->kind = ALIAS_INCLUDE;
		text = str_trim(
			str_make(text.p + sizeof(include) - 1, text.len - sizeof(include) + 1));
		if (text.len > 1 && text.p[0] == '"' && text.p[text.len - 1] == '"')
			text = str_make(text.p + 1, text.len - 2);
		if (text.len == 0 || text.p[0] != '/')
			return ":include: without a path that begins with \"/\"";
	} else {
		return NULL;
	}
	buf_add_str(&item->text, text);
	return NULL;
}

static const char *
take_item(struct str text, struct alias_item *item)
{
	struct buf inner = {0};
	struct str behind = {NULL, 0};
	const char *problem;
	int quoted;

	if (text.p[0] == '"' && !unquote(text, &inner, &behind)) {
		buf_free(&inner);
		return "a quote that does not end";
	}
	/* "|command args": the quotes are around all of it. Else they are part of an address. */
	quoted = text.p[0] == '"' && behind.len == 0;
	problem = take_plain(quoted ? buf_str(&inner) : text, quoted, item);
	if (problem == NULL && item->text.len == 0)
		problem = take_address(text, item);
	buf_free(&inner);
	if (problem == NULL && str_has_control(buf_str(&item->text)))
		return "a control character";
	if (problem == NULL && item->text.len > ALIAS_TEXT_MAX)
		return "an item that is too long";
	return problem;
}

enum err
alias_list_next(struct str *rest, struct alias_item *item, const char **why)
{
	struct str text;

	do {
		if (rest->p == NULL)
			return E_NOTFOUND;
		text = cut_item(rest);
	} while (text.len == 0);
	item->kind = ALIAS_ADDRESS;
	item->exact = 0;
	buf_reset(&item->text);
	*why = take_item(text, item);
	return *why ? E_PARSE : OK;
}

/* ---- files ---- */

static void
complain(const struct alias_reader *r, unsigned line, const char *why)
{
	if (r->problem)
		r->problem(r->arg, line, why);
}

static void
check_list(const struct alias_reader *r, struct str list, unsigned line)
{
	struct alias_item item = {0};
	const char *why;
	size_t n = 0;
	enum err e;

	while ((e = alias_list_next(&list, &item, &why)) != E_NOTFOUND) {
		if (e)
			complain(r, line, why);
		n++;
	}
	if (n == 0)
		complain(r, line, "a name without anything behind it");
	buf_free(&item.text);
}

static void
read_line(const struct alias_reader *r, struct str line, unsigned number)
{
	struct buf quoted = {0};
	struct str name, list, behind = {NULL, 0};
	size_t colon;

	if (line.p[0] == '"') {
		int whole = unquote(line, &quoted, &behind);

		name = buf_str(&quoted);
		colon = whole && behind.len > 0 && behind.p[0] == ':' ? 0 : behind.len;
		list = behind;
		if (!whole)
			list = str_make(NULL, 0);
	} else {
		colon = str_find(line, 0, ':');
		name = str_trim(str_make(line.p, colon));
		list = line;
	}
	if (list.p == NULL || colon >= list.len) {
		complain(r, number, "no \"name: addresses\"");
	} else if (name.len == 0 || str_find(name, 0, '@') < name.len || str_has_control(name)) {
		complain(r, number, "a name that is no name of a user here (without a domain)");
	} else {
		list = str_trim(str_make(list.p + colon + 1, list.len - colon - 1));
		check_list(r, list, number);
		if (r->entry)
			r->entry(r->arg, name, list, number);
	}
	buf_free(&quoted);
}

void
alias_text_read(struct str text, const struct alias_reader *r)
{
	struct map_lines lines = {.rest = text};
	struct str line;
	unsigned number;

	while (map_lines_next(&lines, &line, &number))
		read_line(r, line, number);
	map_lines_fini(&lines);
}
