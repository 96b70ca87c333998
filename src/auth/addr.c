/* SPDX-License-Identifier: MIT */
#include "auth/addr.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "lib/idn.h"

static int
is_atext(char c)
{
	return str_is_alnum(c) || (unsigned char)c >= 0x80 ||
	       (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static int
is_dot_string(struct str s)
{
	int want_atom = 1;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '.') {
			if (want_atom)
				return 0;
			want_atom = 1;
		} else if (is_atext(s.p[i])) {
			want_atom = 0;
		} else {
			return 0;
		}
	}
	return s.len > 0 && !want_atom;
}

/* Takes the quotes off; the length of the content, or -1. */
static int
unquote(struct str s, char out[ADDR_LOCAL_MAX + 1])
{
	size_t n = 0;

	if (s.len < 2 || s.p[s.len - 1] != '"')
		return -1;
	for (size_t i = 1; i + 1 < s.len; i++) {
		char c = s.p[i];

		if (c == '"')
			return -1;
		if (c == '\\') {
			if (i + 2 >= s.len)
				return -1;
			c = s.p[++i];
		}
		if (n == ADDR_LOCAL_MAX)
			return -1;
		out[n++] = c;
	}
	out[n] = '\0';
	return (int)n;
}

static enum err
copy(struct str s, char *out, size_t max)
{
	if (s.len > max)
		return E_TOOBIG;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return OK;
}

/* The one quoted form of a content: only quote and backslash are escaped. */
static enum err
requote(struct str content, char out[ADDR_LOCAL_MAX + 1])
{
	size_t n = 0;

	out[n++] = '"';
	for (size_t i = 0; i < content.len; i++) {
		if (n + 3 > ADDR_LOCAL_MAX)
			return E_TOOBIG;
		if (content.p[i] == '"' || content.p[i] == '\\')
			out[n++] = '\\';
		out[n++] = content.p[i];
	}
	out[n++] = '"';
	out[n] = '\0';
	return OK;
}

static enum err
raw_local_parse(struct str s, char out[ADDR_LOCAL_MAX + 1])
{
	char content[ADDR_LOCAL_MAX + 1];
	int len;

	if (is_dot_string(s))
		return copy(s, out, ADDR_LOCAL_MAX);
	if (s.len == 0 || s.p[0] != '"')
		return E_PARSE;
	len = unquote(s, content);
	if (len <= 0)
		return E_PARSE;
	if (is_dot_string(str_make(content, (size_t)len)))
		return copy(str_make(content, (size_t)len), out, ADDR_LOCAL_MAX);
	return requote(str_make(content, (size_t)len), out);
}

/* Lower case: the local parts of our own domains do not tell case apart. */
static enum err
local_fold(const char *raw, char out[ADDR_LOCAL_MAX + 1])
{
	utf8proc_uint8_t *folded = NULL;
	utf8proc_ssize_t len;
	size_t i;
	enum err e;

	if (str_is_ascii(str_of(raw))) {
		for (i = 0; raw[i]; i++)
			out[i] = str_lower(raw[i]);
		out[i] = '\0';
		return OK;
	}
	len = utf8proc_map((const utf8proc_uint8_t *)raw, (utf8proc_ssize_t)strlen(raw), &folded,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
	if (len < 0)
		return E_PARSE;
	e = copy(str_make((const char *)folded, (size_t)len), out, ADDR_LOCAL_MAX);
	free(folded);
	return e;
}

/* Dots between labels of letters, digits, "-" and "_", 63 bytes at most. */
static int
is_host_name(const char *name)
{
	size_t label = 0;

	for (const char *p = name; *p; p++) {
		if (*p == '.') {
			if (label == 0 || p[-1] == '-')
				return 0;
			label = 0;
			continue;
		}
		if (!str_is_alnum(*p) && *p != '_' && (*p != '-' || label == 0))
			return 0;
		if (++label > 63)
			return 0;
	}
	return label > 0 && name[strlen(name) - 1] != '-';
}

enum err
addr_domain_parse(struct str text, char *out)
{
	enum err e;

	if (!str_is_utf8(text) || str_has_control(text))
		return E_PARSE;
	e = idn_to_ascii(text, out, ADDR_DOMAIN_MAX + 1);
	if (e)
		return e;
	for (size_t i = 0; out[i]; i++)
		out[i] = str_lower(out[i]);
	return is_host_name(out) ? OK : E_PARSE;
}

/* "[127.0.0.1]", "[IPv6:::1]" (RFC 5321 section 4.1.3). Never a domain of ours. */
static enum err
literal_parse(struct str text, char *out)
{
	enum err e = copy(text, out, ADDR_DOMAIN_MAX);

	if (e)
		return e;
	if (text.len < 3 || text.p[text.len - 1] != ']')
		return E_PARSE;
	for (size_t i = 1; i + 1 < text.len; i++) {
		if (!str_is_alnum(text.p[i]) && (!text.p[i] || !strchr(".:-", text.p[i])))
			return E_PARSE;
		out[i] = str_lower(text.p[i]);
	}
	return OK;
}

static void
text_make(struct addr *a)
{
	size_t local = strlen(a->local), domain = strlen(a->domain);

	memcpy(a->text, a->local, local);
	a->text[local] = '@';
	memcpy(a->text + local + 1, a->domain, domain + 1);
}

enum err
addr_parse(struct str text, struct addr *out)
{
	struct addr a;
	size_t at = text.len;
	enum err e;

	if (text.len > ADDR_TEXT_SIZE)
		return E_TOOBIG;
	if (!str_is_utf8(text) || str_has_control(text))
		return E_PARSE;
	while (at > 0 && text.p[at - 1] != '@')
		at--;
	if (at == 0)
		return E_PARSE;
	e = raw_local_parse(str_make(text.p, at - 1), a.raw_local);
	if (!e)
		e = local_fold(a.raw_local, a.local);
	if (e)
		return e;
	if (at < text.len && text.p[at] == '[')
		e = literal_parse(str_make(text.p + at, text.len - at), a.domain);
	else
		e = addr_domain_parse(str_make(text.p + at, text.len - at), a.domain);
	if (e)
		return e;
	text_make(&a);
	*out = a;
	return OK;
}

enum err
addr_parse_pattern(struct str text, struct addr *out)
{
	struct addr a;
	enum err e;

	if (text.len == 0 || text.p[0] != '@')
		return E_PARSE;
	e = addr_domain_parse(str_make(text.p + 1, text.len - 1), a.domain);
	if (e)
		return e;
	a.local[0] = a.raw_local[0] = '\0';
	text_make(&a);
	*out = a;
	return OK;
}

int
addr_is_mailbox_name(const struct addr *a)
{
	size_t len = strlen(a->local);

	return len > 0 && len <= ADDR_MAILBOX_LOCAL_MAX && a->domain[0] != '[' &&
	       is_dot_string(str_make(a->local, len)) && !strchr(a->local, '/');
}

enum err
addr_split_detail(const struct addr *a, const char *delimiters, struct addr *base, char *detail)
{
	size_t at, raw_at;

	if (!delimiters[0] || !a->local[0] || a->local[0] == '"')
		return E_NOTFOUND;
	at = 1 + strcspn(a->local + 1, delimiters);
	raw_at = 1 + strcspn(a->raw_local + 1, delimiters);
	if (!a->local[at] || !a->raw_local[raw_at])
		return E_NOTFOUND;
	memcpy(detail, a->raw_local + raw_at + 1, strlen(a->raw_local + raw_at + 1) + 1);
	if (base != a)
		*base = *a;
	base->local[at] = '\0';
	base->raw_local[raw_at] = '\0';
	/* "a.+x" would leave "a.", which is no local part. */
	if (!is_dot_string(str_of(base->local)))
		return E_NOTFOUND;
	text_make(base);
	return OK;
}

void
addr_set_domain(struct addr *a, const char *domain)
{
	size_t len = strlen(domain);

	if (len > ADDR_DOMAIN_MAX)
		len = ADDR_DOMAIN_MAX;
	memcpy(a->domain, domain, len);
	a->domain[len] = '\0';
	text_make(a);
}
