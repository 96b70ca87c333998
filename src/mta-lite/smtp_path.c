/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_path.h"

#include <arpa/inet.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/idn.h"

/* RFC 5321 section 4.1.2: atext of RFC 5322 section 3.2.3, with UTF-8 (RFC 6531 section 3.3). */
static int
is_atext(char c)
{
	return str_is_alnum(c) || (unsigned char)c >= 0x80 ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static int
is_dot_string(struct str s)
{
	size_t i;

	if (s.len == 0 || s.p[0] == '.' || s.p[s.len - 1] == '.')
		return 0;
	for (i = 0; i < s.len; i++) {
		if (s.p[i] == '.' ? s.p[i - 1] == '.' : !is_atext(s.p[i]))
			return 0;
	}
	return 1;
}

/* Letters, digits, hyphens; underscores too, since real hosts have them. */
static int
is_domain_name(struct str s)
{
	size_t i, label = 0;

	if (s.len == 0 || s.len > SMTP_DOMAIN_MAX)
		return 0;
	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return 0;
			label = 0;
			continue;
		}
		if (!str_is_alnum(c) && c != '_' && (c != '-' || label == 0))
			return 0;
		if (++label > 63)
			return 0;
	}
	return label > 0 && s.p[s.len - 1] != '-';
}

/* RFC 5321 section 4.1.3. */
static int
is_address_literal(struct str s)
{
	char text[64];
	unsigned char addr[16];
	int family = AF_INET;

	if (s.len < 3 || s.p[0] != '[' || s.p[s.len - 1] != ']')
		return 0;
	s = str_make(s.p + 1, s.len - 2);
	if (str_starts_i(s, "IPv6:")) {
		s = str_make(s.p + 5, s.len - 5);
		family = AF_INET6;
	}
	if (s.len >= sizeof(text) || str_has_control(s))
		return 0;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return inet_pton(family, text, addr) == 1;
}

/* Length of the quoted string at the front of s with both quotes, or 0. */
static size_t
quoted_len(struct str s)
{
	size_t i;

	for (i = 1; i < s.len; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

/* Writes the local part without needless quotes and backslashes. */
static enum err
put_local(struct str local, struct buf *out)
{
	struct buf plain = BUF_INIT(SMTP_LOCAL_MAX);
	enum err e;
	size_t i;

	if (local.p[0] != '"') {
		if (!is_dot_string(local))
			return E_PARSE;
		return local.len > SMTP_LOCAL_MAX ? E_TOOBIG : buf_add_str(out, local);
	}
	for (i = 1; i + 1 < local.len; i++) {
		if (local.p[i] == '\\')
			i++;
		buf_add_char(&plain, local.p[i]);
	}
	e = plain.err;
	if (e == OK && is_dot_string(buf_str(&plain))) {
		e = buf_add_buf(out, &plain);
	} else if (e == OK) {
		buf_add_char(out, '"');
		for (i = 0; i < plain.len; i++) {
			if (plain.p[i] == '"' || plain.p[i] == '\\')
				buf_add_char(out, '\\');
			buf_add_char(out, plain.p[i]);
		}
		e = buf_add_char(out, '"');
	}
	buf_free(&plain);
	return e;
}

static enum err
put_domain(struct str domain, struct smtp_path *path, struct buf *out)
{
	char ascii[SMTP_DOMAIN_MAX + 1];
	enum err e;
	size_t i;

	if (domain.len > SMTP_DOMAIN_MAX)
		return E_TOOBIG;
	/* Whatever its letters, it has one name, which servers without SMTPUTF8 can have. */
	e = idn_to_ascii(domain, ascii, sizeof(ascii));
	if (e)
		return e;
	domain = str_of(ascii);
	path->literal = is_address_literal(domain);
	if (!path->literal && !is_domain_name(domain))
		return E_PARSE;
	buf_add_char(out, '@');
	path->domain = out->len;
	for (i = 0; i < domain.len; i++)
		buf_add_char(out, str_lower(domain.p[i]));
	return out->err;
}

/* Length of the local part at the front of s: up to the "@" outside of quotes. */
static size_t
local_len(struct str s)
{
	if (s.len > 0 && s.p[0] == '"')
		return quoted_len(s);
	return str_find(s, 0, '@');
}

enum err
smtp_mailbox_parse(struct str s, struct smtp_path *out)
{
	struct buf text = BUF_INIT(SMTP_ADDRESS_SIZE - 1);
	size_t local;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (s.len > SMTP_PATH_MAX)
		return E_TOOBIG;
	out->utf8 = !str_is_ascii(s);
	if (out->utf8 && !str_is_utf8(s))
		return E_UNSUPPORTED;
	if (str_has_control(s))
		return E_PARSE;
	local = local_len(s);
	if (local == 0)
		return E_PARSE;
	e = put_local(str_make(s.p, local), &text);
	if (e == OK && local < s.len) {
		if (s.p[local] == '@')
			e = put_domain(str_make(s.p + local + 1, s.len - local - 1), out, &text);
		else
			e = E_PARSE;
	}
	if (e == OK)
		memcpy(out->address, text.p, text.len); /* zeroed above: the NUL is there */
	buf_free(&text);
	return e;
}

/* "@a,@b:" in front of a mailbox is to be accepted and ignored (RFC 5321 appendix C). */
static enum err
drop_source_route(struct str *s)
{
	size_t colon = str_find(*s, 0, ':'), i;
	struct str route, host;

	if (s->len == 0 || s->p[0] != '@')
		return OK;
	if (colon == s->len)
		return E_PARSE;
	route = str_make(s->p, colon);
	while (route.p) {
		host = str_split(&route, ',');
		if (host.len < 2 || host.p[0] != '@')
			return E_PARSE;
		for (i = 1; i < host.len; i++) {
			if (!str_is_alnum(host.p[i]) && !strchr("-._[]", host.p[i]))
				return E_PARSE;
		}
	}
	*s = str_make(s->p + colon + 1, s->len - colon - 1);
	return OK;
}

/* Index of the ">" that ends the path, quoted strings skipped; s.len without one. */
static size_t
path_end(struct str s)
{
	size_t i;
	int quoted = 0;

	for (i = 1; i < s.len; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '>' && !quoted)
			return i;
	}
	return s.len;
}

enum err
smtp_path_cut(struct str *s, struct smtp_path *out)
{
	struct str inner;
	size_t end;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (s->len < 2 || s->p[0] != '<')
		return E_PARSE;
	end = path_end(*s);
	if (end == s->len)
		return E_PARSE;
	if (end > SMTP_PATH_MAX)
		return E_TOOBIG;
	inner = str_make(s->p + 1, end - 1);
	if (inner.len > 0) {
		e = drop_source_route(&inner);
		if (e == OK)
			e = smtp_mailbox_parse(inner, out);
		if (e)
			return e;
	}
	*s = str_make(s->p + end + 1, s->len - end - 1);
	return OK;
}
