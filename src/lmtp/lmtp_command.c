/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_command.h"

#include <string.h>

static const struct {
	const char *name;
	enum lmtp_verb verb;
} verbs[] = {
	{"LHLO", LMTP_LHLO},
	{"HELO", LMTP_HELO},
	{"EHLO", LMTP_HELO},
	{"MAIL", LMTP_MAIL},
	{"RCPT", LMTP_RCPT},
	{"DATA", LMTP_DATA},
	{"BDAT", LMTP_BDAT},
	{"RSET", LMTP_RSET},
	{"NOOP", LMTP_NOOP},
	{"VRFY", LMTP_VRFY},
	{"QUIT", LMTP_QUIT},
	{"STARTTLS", LMTP_STARTTLS},
	{"XCLIENT", LMTP_XCLIENT},
};

enum lmtp_verb
lmtp_command_split(struct str line, struct str *args)
{
	struct str rest = line, verb = str_split(&rest, ' ');

	*args = str_trim(rest);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (str_is_i(verb, verbs[i].name)) {
			return verbs[i].verb;
		}
	}
	return LMTP_UNKNOWN;
}

/* ---- paths ---- */

/* RFC 5322 atext and the dot: what a local part may hold unquoted. */
static int
is_dot_atom(char c)
{
	return str_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

/* A byte of a character beyond ASCII (RFC 6531 section 3.3); that they are UTF-8 is seen before. */
static int
is_beyond_ascii(char c)
{
	return (unsigned char)c >= 0x80;
}

static int
is_domain_char(char c)
{
	return str_is_alnum(c) || c == '-' || c == '.' || c == '_' || is_beyond_ascii(c);
}

/* What stands in [] of an address literal: RFC 5321 "dcontent" without what a log or header hates.
 */
static int
is_literal_char(char c)
{
	return str_is_alnum(c) || c == '.' || c == ':' || c == '-';
}

/* Skips "@a,@b:" (RFC 5321 section 4.1.2, A-d-l) if it is there. */
static enum err
skip_route(struct str *s)
{
	size_t i = 0;

	if (s->len == 0 || s->p[0] != '@') {
		return OK;
	}
	while (i < s->len && s->p[i] == '@') {
		size_t start = ++i;

		while (i < s->len && is_domain_char(s->p[i])) {
			i++;
		}
		if (i == start || i == s->len) {
			return E_PARSE;
		}
		if (s->p[i] == ',') {
			i++;
		} else if (s->p[i] == ':') {
			*s = str_make(s->p + i + 1, s->len - i - 1);
			return OK;
		} else {
			return E_PARSE;
		}
	}
	return E_PARSE;
}

/* Takes the local part off the front of *s; it goes unquoted into out. */
static enum err
take_local(struct str *s, char *out, size_t *out_len)
{
	size_t i = 0, n = 0;
	int quoted = s->len > 0 && s->p[0] == '"';

	for (i = quoted ? 1 : 0; i < s->len; i++) {
		char c = s->p[i];

		if (quoted) {
			if (c == '"') {
				break;
			}
			if (c == '\\' && ++i < s->len) {
				c = s->p[i];
			}
			/* qtextSMTP and quoted-pairSMTP are %d32-126. */
			if (i == s->len || ((c < 32 || c > 126) && !is_beyond_ascii(c))) {
				return E_PARSE;
			}
		} else if (!is_dot_atom(c) && !is_beyond_ascii(c)) {
			break;
		}
		if (n == LMTP_LOCAL_MAX) {
			return E_TOOBIG;
		}
		out[n++] = c;
	}
	if (quoted && i++ == s->len) {
		return E_PARSE; /* no closing quote */
	}
	/* A local part such as "" or one of dots names nobody and has broken others (empty
	 * folders). */
	if (n == 0) {
		return E_PARSE;
	}
	*out_len = n;
	*s = str_make(s->p + i, s->len - i);
	return OK;
}

/* What is left of *s up to its '>' is the domain; copies it behind the "@". */
static enum err
take_domain(struct str *s, char *out, size_t *out_len)
{
	size_t n = 0;

	if (s->len > 0 && s->p[0] == '[') {
		for (n = 1; n < s->len && is_literal_char(s->p[n]); n++) {
		}
		if (n < 2 || n == s->len || s->p[n++] != ']') {
			return E_PARSE;
		}
	} else {
		while (n < s->len && is_domain_char(s->p[n])) {
			n++;
		}
		if (n == 0 || s->p[0] == '.' || s->p[n - 1] == '.' || s->p[0] == '-') {
			return E_PARSE;
		}
	}
	if (n > LMTP_DOMAIN_MAX) {
		return E_TOOBIG;
	}
	memcpy(out, s->p, n);
	*out_len = n;
	*s = str_make(s->p + n, s->len - n);
	return OK;
}

/* The mailbox at the start of *s up to its '>'. */
static enum err
take_mailbox(struct str *s, struct lmtp_path *out)
{
	const char *start = s->p;
	size_t n, domain_len;
	enum err e = take_local(s, out->address, &n);

	if (e) {
		return e;
	}
	if (s->len > 0 && s->p[0] == '@') {
		*s = str_make(s->p + 1, s->len - 1);
		out->address[n++] = '@';
		e = take_domain(s, out->address + n, &domain_len);
		if (e) {
			return e;
		}
		n += domain_len;
	} else if (!str_is_i(str_make(out->address, n), "postmaster")) {
		return E_PARSE; /* only RFC 5321 section 4.5.1's name stands alone */
	}
	out->address[n] = '\0';
	out->raw = str_make(start, (size_t)(s->p - start));
	return OK;
}

enum err
lmtp_path_parse(struct str *text, int null_ok, int utf8_ok, struct lmtp_path *out)
{
	struct str s = str_trim(*text);
	enum err e;

	*out = (struct lmtp_path){.raw = STR("")};
	if (!str_is_ascii(s)) {
		if (!utf8_ok || !str_is_utf8(s)) {
			return E_UNSUPPORTED;
		}
		out->utf8 = 1;
	}
	if (s.len == 0 || s.p[0] != '<') {
		return E_PARSE;
	}
	s = str_make(s.p + 1, s.len - 1);
	if (s.len == 0 || s.p[0] != '>' || !null_ok) {
		e = skip_route(&s);
		e = e ? e : take_mailbox(&s, out);
		if (e) {
			return e;
		}
	}
	if (s.len == 0 || s.p[0] != '>') {
		return E_PARSE;
	}
	s = str_make(s.p + 1, s.len - 1);
	if (s.len > 0 && s.p[0] != ' ') {
		return E_PARSE;
	}
	*text = str_trim(s);
	return OK;
}

/* ---- MAIL, RCPT, BDAT ---- */

static enum err
mail_parameter(struct str param, struct lmtp_mail *out, unsigned *seen)
{
	struct str value = param, name = str_split(&value, '=');
	unsigned bit = 0;

	if (str_is_i(name, "SIZE")) {
		bit = 1;
		/* RFC 1870 section 6: at most 20 digits; 0 means that it is not known. */
		if (str_to_u64(value, &out->size)) {
			return E_RANGE;
		}
	} else if (str_is_i(name, "BODY")) {
		bit = 2;
		out->body_8bit = str_is_i(value, "8BITMIME");
		if (!out->body_8bit && !str_is_i(value, "7BIT")) {
			return E_RANGE;
		}
	} else if (str_is_i(name, "SMTPUTF8")) {
		bit = 4;
		out->utf8 = 1;
		if (value.p != NULL) {
			return E_RANGE;
		}
	}
	if (bit == 0 || (*seen & bit) != 0) {
		return E_RANGE;
	}
	*seen |= bit;
	return OK;
}

/* Cuts a word such as "FROM:" off the front, in any case. */
static int
take_word(struct str *args, const char *word)
{
	size_t len = strlen(word);

	if (!str_starts_i(*args, word)) {
		return 0;
	}
	*args = str_make(args->p + len, args->len - len);
	return 1;
}

enum err
lmtp_mail_parse(struct str args, struct lmtp_mail *out)
{
	unsigned seen = 0;
	enum err e;

	*out = (struct lmtp_mail){0};
	if (!take_word(&args, "FROM:")) {
		return E_PARSE;
	}
	/* Whether the path may be so is known when the parameters are. */
	e = lmtp_path_parse(&args, 1, 1, &out->path);
	while (!e && args.len > 0) {
		struct str param = str_split(&args, ' ');

		if (param.len > 0) {
			e = mail_parameter(param, out, &seen);
		}
	}
	if (!e && out->path.utf8 && !out->utf8) {
		e = E_UNSUPPORTED;
	}
	return e;
}

enum err
lmtp_rcpt_parse(struct str args, int utf8_ok, struct lmtp_path *out)
{
	enum err e;

	*out = (struct lmtp_path){0};
	if (!take_word(&args, "TO:")) {
		return E_PARSE;
	}
	e = lmtp_path_parse(&args, 0, utf8_ok, out);
	return e ? e : args.len > 0 ? E_RANGE : OK;
}

enum err
lmtp_bdat_parse(struct str args, uint64_t *size, int *last)
{
	struct str rest = args, number = str_split(&rest, ' ');

	rest = str_trim(rest);
	*last = rest.len > 0;
	if (rest.len > 0 && !str_is_i(rest, "LAST")) {
		return E_PARSE;
	}
	return str_to_u64(number, size);
}

int
lmtp_helo_ok(struct str name)
{
	size_t i;

	if (name.len == 0 || name.len > LMTP_HELO_MAX) {
		return 0;
	}
	for (i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (is_beyond_ascii(c) ||
			(!is_domain_char(c) && c != '[' && c != ']' && c != ':')) {
			return 0;
		}
	}
	return 1;
}
