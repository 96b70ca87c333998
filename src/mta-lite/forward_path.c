/* SPDX-License-Identifier: MIT */
#include "mta-lite/forward_path.h"

#include <stddef.h>
#include <string.h>

#include "mta-lite/address_split.h"

enum { NESTING_MAX = 8 };

void
forward_names_set(struct forward_names *n, struct str address, const char *delimiter)
{
	size_t at = address_domain_start(address), cut;

	n->recipient = address;
	n->local = address;
	n->domain = str_make(address.p + at, address.len - at);
	if (at < address.len)
		n->local.len = at - 1;
	n->user = n->local;
	n->extension = n->delimiter = str_make("", 0);
	cut = address_extension_start(n->local, delimiter[0]);
	if (cut >= n->local.len)
		return;
	n->user.len = cut;
	n->extension = str_make(n->local.p + cut + 1, n->local.len - cut - 1);
	n->delimiter = str_make(n->local.p + cut, 1);
	/* Nobody who sends mail chooses a directory. */
	if (n->extension.len == 0 || str_find(n->extension, 0, '/') < n->extension.len)
		n->extension = n->delimiter = str_make("", 0);
}

/* NULL: there is no such parameter. */
static const struct str *
find_name(const struct forward_names *n, struct str name)
{
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
		{"user", offsetof(struct forward_names, user)},
		{"home", offsetof(struct forward_names, home)},
		{"shell", offsetof(struct forward_names, shell)},
		{"recipient", offsetof(struct forward_names, recipient)},
		{"local", offsetof(struct forward_names, local)},
		{"extension", offsetof(struct forward_names, extension)},
		{"domain", offsetof(struct forward_names, domain)},
		{"recipient_delimiter", offsetof(struct forward_names, delimiter)},
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (str_is(name, names[i].name))
			return (const struct str *)((const char *)n + names[i].offset);
	}
	return NULL;
}

static int
is_name_char(char c)
{
	return str_is_alnum(c) || c == '_';
}

static struct str
cut_name(struct str s)
{
	size_t len = 0;

	while (len < s.len && is_name_char(s.p[len]))
		len++;
	return str_make(s.p, len);
}

/* Where the brace that begins s ends; s.len: it does not. */
static size_t
closing_brace(struct str s)
{
	char open = s.p[0], close = open == '{' ? '}' : ')';
	size_t i, depth = 0;

	for (i = 0; i < s.len; i++) {
		if (s.p[i] == open)
			depth++;
		else if (s.p[i] == close && --depth == 0)
			break;
	}
	return i;
}

static enum err expand(
	struct str pattern, const struct forward_names *n, unsigned depth, struct buf *out);

/* What stands in braces: "name", "name?text", "name:text". */
static enum err
expand_inner(struct str inner, const struct forward_names *n, unsigned depth, struct buf *out)
{
	struct str name = cut_name(inner), text;
	const struct str *value = find_name(n, name);

	if (value == NULL)
		return E_PARSE;
	if (name.len == inner.len)
		return value->len ? buf_add_str(out, *value) : E_NOTFOUND;
	if (inner.p[name.len] != '?' && inner.p[name.len] != ':')
		return E_PARSE;
	text = str_make(inner.p + name.len + 1, inner.len - name.len - 1);
	if ((inner.p[name.len] == '?') == (value->len > 0))
		return expand(text, n, depth + 1, out);
	return OK;
}

/* What a "$" begins; *used: its bytes. */
static enum err
expand_one(
	struct str s, const struct forward_names *n, unsigned depth, struct buf *out, size_t *used)
{
	struct str rest = str_make(s.p + 1, s.len - 1), name;
	size_t end;

	if (rest.len > 0 && rest.p[0] == '$') {
		*used = 2;
		return buf_add_char(out, '$');
	}
	if (rest.len > 0 && (rest.p[0] == '{' || rest.p[0] == '(')) {
		end = closing_brace(rest);
		*used = end + 2;
		return end < rest.len ? expand_inner(str_make(rest.p + 1, end - 1), n, depth, out)
				      : E_PARSE;
	}
	name = cut_name(rest);
	*used = name.len + 1;
	return expand_inner(name, n, depth, out);
}

static enum err
expand(struct str pattern, const struct forward_names *n, unsigned depth, struct buf *out)
{
	size_t i = 0, used;
	enum err e = depth > NESTING_MAX ? E_PARSE : OK;

	while (e == OK && i < pattern.len) {
		used = 1;
		if (pattern.p[i] == '$')
			e = expand_one(
				str_make(pattern.p + i, pattern.len - i), n, depth, out, &used);
		else
			e = buf_add_char(out, pattern.p[i]);
		i += used;
	}
	return e;
}

enum err
forward_path_expand(struct str pattern, const struct forward_names *n, struct buf *out)
{
	return expand(pattern, n, 0, out);
}
