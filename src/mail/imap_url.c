/* SPDX-License-Identifier: MIT */
#include "mail/imap_url.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/hex.h"
#include "lib/mem.h"
#include "mail/date.h"

/* RFC 5092 section 11. */

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
	return E_PARSE;
}

/* Where the first "/;" stands, which ends the mailbox's name; text.len: nowhere. */
static size_t
parts_find(struct str text)
{
	return str_find_str(text, STR("/;"));
}

/* What follows the server: "Drafts;UIDVALIDITY=1/;UID=20/;SECTION=1.2/;PARTIAL=0.99". */
static enum err
path_parse(struct str text, int with_mailbox, struct imap_url *out)
{
	enum part_kind next = PART_UID;
	struct str rest = text;
	enum err e = OK;

	if (with_mailbox) {
		size_t parts = parts_find(rest);

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

/* Where the last of it begins, in any case of letters; text.len: nowhere. */
static size_t
last_find(struct str text, const char *what)
{
	size_t len = strlen(what);

	for (size_t i = text.len; i-- > 0;)
		if (text.len - i >= len && str_starts_i(str_make(text.p + i, len), what))
			return i;
	return text.len;
}

enum err
imap_url_parse(struct str text, struct imap_url *out)
{
	int absolute = text.len > 0 && text.p[0] == '/';

	*out = (struct imap_url){.count = UINT64_MAX};
	if (str_starts_i(text, "imap:") || str_starts_i(text, "//") ||
		last_find(text, ";URLAUTH=") < text.len)
		return E_UNSUPPORTED;
	return path_parse(absolute ? str_make(text.p + 1, text.len - 1) : text, absolute, out);
}

/* ---- with an authorization ---- */

/* Characters that stand for themselves in every part, and the other ones of a part. */
static int
is_made_of(struct str text, const char *others)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (!str_is_alnum(c) && (c == '\0' || !strchr("-._~!$'()*+,%", c)) &&
			(c == '\0' || !strchr(others, c)))
			return 0;
	}
	return 1;
}

/* <enc-user> */
static enum err
user_parse(struct str text, char **out)
{
	struct buf decoded = {0};
	enum err e = text.len > 0 && is_made_of(text, "&=") ? unescape(text, &decoded) : E_PARSE;

	if (!e && (!str_is_utf8(buf_str(&decoded)) || str_has_control(buf_str(&decoded))))
		e = E_PARSE;
	if (!e)
		*out = buf_steal(&decoded);
	buf_free(&decoded);
	return e ? E_PARSE : OK;
}

/* <host> [":" port] (RFC 3986 section 3.2.2) */
static int
is_host(struct str text)
{
	struct str rest = text, name;
	uint32_t port;

	if (text.len > 0 && text.p[0] == '[') {
		size_t end = str_find(text, 0, ']');

		name = str_make(text.p + 1, end - 1);
		if (end == text.len || name.len == 0 || !is_made_of(name, ":"))
			return 0;
		rest = str_make(text.p + end + 1, text.len - end - 1);
		if (rest.len == 0)
			return 1;
		if (rest.p[0] != ':')
			return 0;
		(void)str_split(&rest, ':');
	} else {
		name = str_split(&rest, ':');
		if (name.len == 0 || !is_made_of(name, ";&="))
			return 0;
	}
	return rest.len == 0 || (!str_to_u32(rest, &port) && port <= UINT16_MAX);
}

/* <iserver>; who it is has to be said (RFC 4467 section 9, "authimapurl"). */
static enum err
server_parse(struct str text, struct imap_url *out)
{
	struct str host = text, info = str_split(&host, '@'), auth = info,
		   user = str_split(&auth, ';');

	if (!host.p || !is_host(host))
		return E_PARSE;
	if (auth.p && (!str_starts_i(auth, "AUTH=") || auth.len == strlen("AUTH=") ||
			      !is_made_of(auth, "&=")))
		return E_PARSE;
	return user_parse(user, &out->user);
}

/* <access> */
static enum err
access_parse(struct str text, struct imap_url *out)
{
	static const struct {
		const char *word;
		enum imap_url_access access;
		int has_user;
	} kinds[] = {
		{"submit+", IMAP_URL_SUBMIT, 1},
		{"user+", IMAP_URL_USER, 1},
		{"authuser", IMAP_URL_AUTHUSER, 0},
		{"anonymous", IMAP_URL_ANONYMOUS, 0},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].word);

		if (!str_starts_i(text, kinds[i].word) || (!kinds[i].has_user && text.len != len))
			continue;
		out->access = kinds[i].access;
		return kinds[i].has_user ? user_parse(str_make(text.p + len, text.len - len),
						   &out->access_user)
					 : OK;
	}
	return E_PARSE;
}

static int
is_hex(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (hex_value(text.p[i]) < 0)
			return 0;
	return 1;
}

/* <iua-verifier> behind its first ":" */
static enum err
verifier_parse(struct str text, struct imap_url *out)
{
	enum { HEX_MIN = 32 };
	struct str token = text, mechanism = str_split(&token, ':');

	if (!token.p || token.len < HEX_MIN || !is_hex(token) || mechanism.len == 0)
		return E_PARSE;
	for (size_t i = 0; i < mechanism.len; i++)
		if (!str_is_alnum(mechanism.p[i]) && mechanism.p[i] != '-' && mechanism.p[i] != '.')
			return E_PARSE;
	out->mechanism = mechanism;
	out->token = token;
	return OK;
}

/* From ";URLAUTH=" on. */
static enum err
authorization_parse(struct str text, size_t at, int rump, struct imap_url *out)
{
	size_t begin = at + strlen(";URLAUTH=");
	struct str rest = str_make(text.p + begin, text.len - begin),
		   access = str_split(&rest, ':');
	enum err e = access_parse(access, out);

	if (!e && (rest.p == NULL) != (rump != 0))
		e = E_PARSE;
	if (!e && !rump)
		e = verifier_parse(rest, out);
	out->rump = str_make(text.p, begin + access.len);
	return e;
}

/* Cuts [<expire>] off the end. */
static enum err
expire_parse(struct str *text, struct imap_url *out)
{
	static const char key[] = ";EXPIRE=";
	size_t at = last_find(*text, key), begin = at + sizeof(key) - 1;

	if (at == text->len)
		return OK;
	out->expires = 1;
	if (date_parse_rfc3339(str_make(text->p + begin, text->len - begin), &out->expire))
		return E_PARSE;
	text->len = at;
	return OK;
}

enum err
imap_url_parse_auth(struct str text, int rump, struct imap_url *out)
{
	static const char scheme[] = "imap://";
	size_t at = last_find(text, ";URLAUTH="), slash;
	struct str rest;
	enum err e;

	*out = (struct imap_url){.count = UINT64_MAX};
	if (text.len > IMAP_URL_AUTH_MAX)
		return E_TOOBIG;
	if (at == text.len || !str_starts_i(text, scheme))
		return E_PARSE;
	e = authorization_parse(text, at, rump, out);
	rest = str_make(text.p, at);
	if (!e)
		e = expire_parse(&rest, out);
	if (e || rest.len < sizeof(scheme))
		return E_PARSE;
	rest = str_make(rest.p + sizeof(scheme) - 1, rest.len - sizeof(scheme) + 1);
	slash = str_find(rest, 0, '/');
	if (slash == rest.len)
		return E_PARSE;
	e = server_parse(str_make(rest.p, slash), out);
	rest = str_make(rest.p + slash + 1, rest.len - slash - 1);
	if (!e && (rest.len == 0 || rest.p[0] == '/' || !is_made_of(rest, "&=:@/;")))
		e = E_PARSE;
	if (!e)
		e = path_parse(rest, 1, out);
	return e ? E_PARSE : OK;
}

char *
imap_url_user(const char *name, const char *like)
{
	const char *domain = strrchr(like, '@');
	struct buf address = {0};

	for (const char *c = name; *c; c++)
		(void)buf_add_char(&address, str_lower(*c));
	if (!strchr(name, '@') && domain)
		(void)buf_add_cstr(&address, domain);
	return buf_steal(&address);
}

void
imap_url_fini(struct imap_url *url)
{
	free(url->mailbox);
	free(url->user);
	free(url->access_user);
	section_fini(&url->section);
	*url = (struct imap_url){0};
}
