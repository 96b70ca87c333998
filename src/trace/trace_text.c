/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "trace/trace_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"

enum { LINE_MAX_SHOWN = 800, TAG_MAX = 64 };

/* One direction. */
struct side {
	char line[LINE_MAX_SHOWN];
	size_t len;
	int cut; /* the line is longer than what is kept of it */
	uint64_t skip; /* bytes that belong to a literal or a chunk */
	uint64_t hidden; /* bytes left out since the last line shown */
	int secret; /* the literal holds credentials */
	int in_text; /* lines up to a lone dot are a message */
};

struct trace_text {
	enum trace_protocol protocol;
	trace_line show;
	void *arg;
	int content;
	struct side sides[2]; /* [1]: the client */
	int secret_until_reply; /* an exchange of AUTH is under way: what the client says is hidden
				 */
	char tag[TAG_MAX]; /* IMAP: of the command that it ends with, or its beginning */
	int data_asked; /* SMTP: DATA was said */
};

struct trace_text *
trace_text_create(enum trace_protocol protocol, trace_line line, void *arg)
{
	struct trace_text *t = MEM_NEW(struct trace_text);

	t->protocol = protocol;
	t->show = line;
	t->arg = arg;
	return t;
}

void
trace_text_free(struct trace_text **t)
{
	MEM_FREE(*t);
}

void
trace_text_set_content(struct trace_text *t, int content)
{
	t->content = content;
}

static void
show_text(struct trace_text *t, int from_client, struct str text, const char *more)
{
	struct buf line = BUF_INIT(LINE_MAX_SHOWN + TAG_MAX);

	buf_add_str(&line, text);
	buf_add_cstr(&line, more);
	t->show(t->arg, from_client, buf_str(&line));
	buf_free(&line);
}

/* The next word, whatever blanks there are before it. */
static struct str
next_word(struct str *rest)
{
	struct str word = str_split(rest, ' ');

	while (word.len == 0 && rest->len)
		word = str_split(rest, ' ');
	return word;
}

/* "[1234 bytes of a message]" in the place of what was left out. */
static void
show_hidden(struct trace_text *t, int from_client)
{
	struct side *s = &t->sides[from_client];
	struct buf line = {0};

	if (!s->hidden)
		return;
	buf_printf(&line, "[%" PRIu64 " bytes%s]", s->hidden, s->secret ? " of credentials" : "");
	s->hidden = 0;
	t->show(t->arg, from_client, buf_str(&line));
	buf_free(&line);
}

/* The number in "{123}" or "{123+}" at the end of a line. */
static int
literal_size(struct str line, uint64_t *size)
{
	size_t open;
	struct str digits;

	if (line.len < 3 || line.p[line.len - 1] != '}')
		return 0;
	for (open = line.len - 1; open > 0 && line.p[open] != '{'; open--)
		;
	digits = str_make(line.p + open + 1, line.len - open - 2);
	if (digits.len && (digits.p[digits.len - 1] == '+' || digits.p[digits.len - 1] == '-'))
		digits.len--;
	return line.p[open] == '{' && str_to_u64(digits, size) == OK;
}

/* Hides what stands in quotes: envelopes, header fields and previews are content. */
static void
hide_quoted(struct str line, struct buf *out)
{
	int quoted = 0;

	for (size_t i = 0; i < line.len; i++) {
		if (line.p[i] == '"') {
			buf_add_cstr(out, quoted ? "\"" : "\"...");
			quoted = !quoted;
		} else if (quoted && line.p[i] == '\\' && i + 1 < line.len) {
			i++;
		} else if (!quoted) {
			buf_add_char(out, line.p[i]);
		}
	}
}

static int
is_fetch(struct str line)
{
	struct str rest = line;

	if (!str_is(str_split(&rest, ' '), "*"))
		return 0;
	str_split(&rest, ' ');
	return str_starts_i(rest, "FETCH");
}

/* ---- IMAP ---- */

static void
imap_client_line(struct trace_text *t, struct str line)
{
	struct str after = line, tag = next_word(&after), verb = next_word(&after);

	if (t->secret_until_reply) {
		show_text(t, 1, STR("(credentials)"), "");
	} else if (str_is_i(verb, "LOGIN") || str_is_i(verb, "AUTHENTICATE")) {
		struct buf shown = {0};
		struct str mechanism = next_word(&after);

		buf_printf(&shown, "%.*s %.*s ", STR_ARG(tag), STR_ARG(verb));
		if (str_is_i(verb, "AUTHENTICATE"))
			buf_printf(&shown, "%.*s ", STR_ARG(mechanism));
		buf_add_cstr(&shown, "(credentials)");
		t->show(t->arg, 1, buf_str(&shown));
		buf_free(&shown);
		t->secret_until_reply = 1;
		snprintf(t->tag, sizeof(t->tag), "%.*s", STR_ARG(tag));
	} else {
		show_text(t, 1, line, "");
	}
	if (literal_size(line, &t->sides[1].skip))
		t->sides[1].secret = t->secret_until_reply;
}

static void
imap_server_line(struct trace_text *t, struct str line)
{
	struct str rest = line, tag = str_split(&rest, ' ');

	/* Of a long one the beginning has to do, as it was kept. */
	if (tag.len >= TAG_MAX)
		tag.len = TAG_MAX - 1;
	if (t->secret_until_reply && str_is(tag, t->tag))
		t->secret_until_reply = 0;
	if (!t->content && is_fetch(line)) {
		struct buf shown = {0};

		hide_quoted(line, &shown);
		t->show(t->arg, 0, buf_str(&shown));
		buf_free(&shown);
	} else {
		show_text(t, 0, line, "");
	}
	literal_size(line, &t->sides[0].skip);
	t->sides[0].secret = 0;
}

/* ---- POP3, SMTP, LMTP ---- */

static void
command_client_line(struct trace_text *t, struct str line)
{
	struct str rest = line, verb = next_word(&rest);

	if (t->secret_until_reply) {
		show_text(t, 1, STR("(credentials)"), "");
		return;
	}
	if (str_is_i(verb, "PASS") || str_is_i(verb, "APOP")) {
		show_text(t, 1, verb, " (credentials)");
		return;
	}
	if (str_is_i(verb, "AUTH")) {
		struct str mechanism = next_word(&rest);

		struct buf shown = {0};

		buf_printf(&shown, "AUTH %.*s", STR_ARG(mechanism));
		show_text(t, 1, buf_str(&shown), rest.len ? " (credentials)" : "");
		buf_free(&shown);
		t->secret_until_reply = 1;
		return;
	}
	show_text(t, 1, line, "");
	if (t->protocol == TRACE_SMTP && str_is_i(verb, "BDAT")) {
		if (str_to_u64(next_word(&rest), &t->sides[1].skip))
			t->sides[1].skip = 0;
		t->sides[1].secret = 0;
	}
	if (t->protocol == TRACE_SMTP && str_is_i(verb, "DATA"))
		t->data_asked = 1;
	/* What comes next from the server, should it be a message. */
	if (t->protocol == TRACE_POP3)
		t->data_asked = str_is_i(verb, "RETR") || str_is_i(verb, "TOP");
}

static void
command_server_line(struct trace_text *t, struct str line)
{
	int goes_on = str_starts_i(line, "334") || str_starts_i(line, "+ ") || str_is(line, "+");

	show_text(t, 0, line, "");
	if (!goes_on)
		t->secret_until_reply = 0;
	if (t->data_asked) {
		if (t->protocol == TRACE_SMTP)
			t->sides[1].in_text = str_starts_i(line, "354");
		else
			t->sides[0].in_text = str_starts_i(line, "+OK");
		t->data_asked = 0;
	}
}

/* ---- bytes to lines ---- */

static void
take_line(struct trace_text *t, int from_client, size_t raw_len)
{
	struct side *s = &t->sides[from_client];
	struct str line = str_make(s->line, s->len);

	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	if (s->in_text && !(str_is(line, ".") && !s->cut)) {
		s->hidden += t->content ? 0 : raw_len;
		if (t->content)
			t->show(t->arg, from_client, line);
		return;
	}
	s->in_text = 0;
	show_hidden(t, from_client);
	if (t->protocol == TRACE_IMAP)
		(from_client ? imap_client_line : imap_server_line)(t, line);
	else
		(from_client ? command_client_line : command_server_line)(t, line);
}

static void
show_gathered(struct trace_text *t, int from_client)
{
	struct side *s = &t->sides[from_client];
	size_t len = s->len;

	if (len && s->line[len - 1] == '\r')
		len--;
	t->show(t->arg, from_client, str_make(s->line, len));
	s->len = 0;
}

/* Bytes of a literal or a chunk; its lines are shown with content. */
static size_t
take_skipped(struct trace_text *t, int from_client, const char *p, size_t len)
{
	struct side *s = &t->sides[from_client];
	size_t n = len < s->skip ? len : (size_t)s->skip;

	s->skip -= n;
	if (!t->content || s->secret) {
		s->hidden += n;
		return n;
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n')
			s->line[s->len++] = p[i];
		if (p[i] == '\n' || s->len == sizeof(s->line))
			show_gathered(t, from_client);
	}
	if (!s->skip && s->len)
		show_gathered(t, from_client);
	return n;
}

void
trace_text_feed(struct trace_text *t, int from_client, const char *p, size_t len)
{
	struct side *s = &t->sides[from_client != 0];

	from_client = from_client != 0;
	while (len) {
		const char *end;
		size_t n, keep;

		if (s->skip) {
			n = take_skipped(t, from_client, p, len);
			p += n;
			len -= n;
			continue;
		}
		end = memchr(p, '\n', len);
		n = end ? (size_t)(end - p) : len;
		keep = n < sizeof(s->line) - s->len ? n : sizeof(s->line) - s->len;
		memcpy(s->line + s->len, p, keep);
		s->len += keep;
		s->cut |= keep < n;
		if (end) {
			take_line(t, from_client, s->len + 1);
			s->len = 0;
			s->cut = 0;
			n++;
		}
		p += n;
		len -= n;
	}
}
