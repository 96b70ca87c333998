/* SPDX-License-Identifier: MIT */
#include "mail/address.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/rfc2047.h"

/*
 * One pass over the field's bytes. An address that turns out to be an addr-spec and not a phrase
 * is scanned a second time from its start, never a third, so time stays linear. All text goes
 * into one block: what comes out is never longer than what went in.
 */
struct scan {
	struct str s;
	size_t i;
	char *text; /* the block */
	size_t text_len; /* in use */
	struct str comment; /* the last comment met, without its outer parentheses; p NULL: none */
	struct address_list *list;
	size_t max, cap;
	int in_group;
};

static int
at_end(const struct scan *sc)
{
	return sc->i >= sc->s.len;
}

static int
peek(const struct scan *sc)
{
	return at_end(sc) ? -1 : (unsigned char)sc->s.p[sc->i];
}

static void
emit(struct scan *sc, char c)
{
	if (sc->text_len < sc->s.len + 1)
		sc->text[sc->text_len++] = c;
}

static struct str
emitted(const struct scan *sc, size_t from)
{
	return str_make(sc->text + from, sc->text_len - from);
}

/* At "(": goes behind the matching ")", or to the end when there is none. */
static void
skip_comment(struct scan *sc)
{
	size_t from = ++sc->i;
	unsigned depth = 1;

	for (; !at_end(sc); sc->i++) {
		char c = sc->s.p[sc->i];

		if (c == '\\' && sc->i + 1 < sc->s.len)
			sc->i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			break;
	}
	sc->comment = str_make(sc->s.p + from, sc->i - from);
	if (!at_end(sc))
		sc->i++;
}

/* Blanks and comments. 1 when there were any. */
static int
skip_cfws(struct scan *sc)
{
	size_t from = sc->i;

	while (!at_end(sc)) {
		char c = sc->s.p[sc->i];

		if (c == '(')
			skip_comment(sc);
		else if (str_is_space(c))
			sc->i++;
		else
			break;
	}
	return sc->i > from;
}

/* At a double quote: emits what is inside, unescaped and unfolded. */
static void
take_quoted(struct scan *sc)
{
	for (sc->i++; !at_end(sc); sc->i++) {
		char c = sc->s.p[sc->i];

		if (c == '"') {
			sc->i++;
			return;
		}
		if (c == '\\' && sc->i + 1 < sc->s.len)
			c = sc->s.p[++sc->i];
		if (c != '\r' && c != '\n')
			emit(sc, c);
	}
}

static int
is_special(int c, const char *stops)
{
	return c < 0 || (c && strchr(stops, c));
}

/*
 * Words up to one of the stops, joined by one space where blanks or comments stood. local: blanks
 * at a dot are dropped (obs-local-part). Returns whether there was any word.
 */
static int
take_words(struct scan *sc, const char *stops, int local)
{
	int any = 0, gap, dot = 0;

	for (;;) {
		int c;

		gap = skip_cfws(sc);
		c = peek(sc);
		if (is_special(c, stops))
			return any;
		if (any && gap && !(local && (dot || c == '.')))
			emit(sc, ' ');
		any = 1;
		dot = 0;
		if (c == '"') {
			take_quoted(sc);
			continue;
		}
		/* An atom, or a special in a place where it means nothing. */
		do {
			if (c == '\\' && sc->i + 1 < sc->s.len)
				c = (unsigned char)sc->s.p[++sc->i];
			emit(sc, (char)c);
			dot = c == '.';
			sc->i++;
			c = peek(sc);
		} while (c >= 0 && !str_is_space((char)c) && c != '(' && c != '"' &&
			 !is_special(c, stops));
	}
}

/* Behind "@": a domain or domain literal. Blanks are dropped; a word behind blanks ends it. */
static struct str
take_domain(struct scan *sc, const char *stops)
{
	size_t from = sc->text_len;
	int dot = 1;

	for (;;) {
		int gap = skip_cfws(sc), c = peek(sc);

		if (is_special(c, stops) || (gap && !dot && c != '.'))
			break;
		if (c == '[') {
			while (!at_end(sc) && sc->s.p[sc->i] != ']') {
				if (!str_is_space(sc->s.p[sc->i]))
					emit(sc, sc->s.p[sc->i]);
				sc->i++;
			}
			if (at_end(sc))
				break;
			c = ']';
		}
		emit(sc, (char)c);
		dot = c == '.';
		sc->i++;
	}
	return emitted(sc, from);
}

static void
list_add(struct scan *sc, struct address a)
{
	struct address_list *l = sc->list;

	if (l->n == sc->cap) {
		sc->cap = sc->cap ? sc->cap * 2 : 4;
		l->v = mem_realloc(l->v, sc->cap, sizeof(*l->v));
	}
	l->v[l->n++] = a;
}

static void
group_end(struct scan *sc)
{
	if (sc->in_group)
		list_add(sc, (struct address){.kind = ADDRESS_GROUP_END});
	sc->in_group = 0;
}

/* The comment behind an address without a name is its name (RFC 5322 section 3.4, last paragraph).
 */
static struct str
comment_name(struct scan *sc)
{
	size_t from = sc->text_len;
	struct str c = str_trim(sc->comment);

	if (!c.len)
		return (struct str){0};
	for (size_t i = 0; i < c.len; i++) {
		if (c.p[i] == '\\' && i + 1 < c.len)
			i++;
		if (c.p[i] != '\r' && c.p[i] != '\n')
			emit(sc, c.p[i]);
	}
	return emitted(sc, from);
}

/* At "<": route, local part, domain, ">" (RFC 5322 sections 3.4.1 and 4.4). */
static void
take_angle(struct scan *sc, struct address *a)
{
	size_t from;

	sc->i++;
	skip_cfws(sc);
	if (peek(sc) == '@') {
		from = sc->text_len;
		while (peek(sc) == '@' || peek(sc) == ',') {
			emit(sc, sc->s.p[sc->i++]);
			take_domain(sc, "@,:>;<\"");
			skip_cfws(sc);
		}
		a->route = emitted(sc, from);
		if (peek(sc) == ':')
			sc->i++;
	}
	from = sc->text_len;
	take_words(sc, "@>,;<", 1);
	a->mailbox = emitted(sc, from);
	a->host = STR("");
	if (peek(sc) == '@') {
		sc->i++;
		a->host = take_domain(sc, "@>,;<\"");
	}
	/* Whatever else stands before ">" means nothing. */
	while (!is_special(peek(sc), ">,;"))
		sc->i++;
	if (peek(sc) == '>')
		sc->i++;
}

/* To the comma or semicolon that ends this address; blanks, comments and junk are passed over. */
static void
skip_rest(struct scan *sc)
{
	for (;;) {
		size_t mark = sc->text_len;
		int c;

		skip_cfws(sc);
		c = peek(sc);
		if (is_special(c, ",;"))
			return;
		if (c == '"') {
			take_quoted(sc);
			sc->text_len = mark;
		} else {
			sc->i++;
		}
	}
}

/* Words with nothing of an angle address behind them: an addr-spec, or a name alone. */
static void
take_spec(struct scan *sc, size_t start, struct address *a)
{
	size_t mark = sc->text_len;

	sc->i = start;
	take_words(sc, "@,;<", 1);
	a->mailbox = emitted(sc, mark);
	a->host = STR("");
	if (peek(sc) == '@') {
		sc->i++;
		a->host = take_domain(sc, "@,;<\"");
	}
}

static void
take_address(struct scan *sc)
{
	struct address a = {.kind = ADDRESS_MAILBOX};
	size_t mark = sc->text_len, start = sc->i;
	const char *stops = sc->in_group ? "<@,;" : "<@,;:";
	int any;

	sc->comment = (struct str){0};
	any = take_words(sc, stops, 0);
	if (peek(sc) == ':') {
		a.kind = ADDRESS_GROUP_START;
		a.mailbox = emitted(sc, mark);
		sc->i++;
		sc->in_group = 1;
		list_add(sc, a);
		return;
	}
	/* "joe@example.com <joe@example.com>": an address stands where the name belongs. */
	if (peek(sc) == '@')
		any |= take_words(sc, "<,;", 0);
	if (peek(sc) == '<') {
		if (any)
			a.name = emitted(sc, mark);
		sc->comment = (struct str){0};
		take_angle(sc, &a);
	} else if (any) {
		sc->text_len = mark;
		take_spec(sc, start, &a);
	} else {
		sc->text_len = mark; /* nothing between two commas */
		return;
	}
	skip_rest(sc);
	if (!a.name.p)
		a.name = comment_name(sc);
	list_add(sc, a);
}

void
address_parse_rfc822(struct str value, size_t max, struct address_list *out)
{
	struct scan sc = {.s = value, .list = out, .max = max ? max : ADDRESS_MAX};

	*out = (struct address_list){0};
	skip_cfws(&sc);
	if (at_end(&sc))
		return;
	sc.text = mem_alloc(value.len + 1);
	out->text = sc.text;
	while (!at_end(&sc)) {
		int c = peek(&sc);

		if (c == ',' || c == ';') {
			if (c == ';')
				group_end(&sc);
			sc.i++;
		} else if (out->n >= sc.max) {
			out->truncated = 1;
			break;
		} else {
			take_address(&sc);
		}
		skip_cfws(&sc);
	}
	group_end(&sc);
}

void
address_list_free(struct address_list *list)
{
	free(list->v);
	free(list->text);
	*list = (struct address_list){0};
}

static int
is_dot_atom(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '.' ? i == 0 || i + 1 == s.len || s.p[i + 1] == '.'
			     : !(str_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c)) ||
				       (unsigned char)c >= 0x80))
			return 0;
	}
	return s.len > 0;
}

static void
add_quoted(struct str s, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_add_char(out, '\\');
		if (s.p[i] && s.p[i] != '\r' && s.p[i] != '\n')
			buf_add_char(out, s.p[i]);
	}
	buf_add_char(out, '"');
}

/* Encoded words must stay outside of quotes (RFC 2047 section 5); atoms and blanks need none. */
static void
add_name(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!str_is_alnum(c) && !(c && strchr(" !#$%&'*+-/=?^_`{|}~", c))) {
			add_quoted(s, out);
			return;
		}
	}
	buf_add_str(out, s);
}

enum err
address_format(const struct address *a, struct buf *out)
{
	if (a->kind == ADDRESS_GROUP_END)
		return buf_add_char(out, ';');
	if (a->kind == ADDRESS_GROUP_START) {
		add_name(a->mailbox, out);
		return buf_add_char(out, ':');
	}
	if (a->name.len) {
		add_name(a->name, out);
		buf_add_cstr(out, " <");
	}
	if (is_dot_atom(a->mailbox))
		buf_add_str(out, a->mailbox);
	else
		add_quoted(a->mailbox, out);
	if (a->host.len) {
		buf_add_char(out, '@');
		buf_add_str(out, a->host);
	}
	if (a->name.len)
		buf_add_char(out, '>');
	return out->err;
}
