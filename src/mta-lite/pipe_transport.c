/* SPDX-License-Identifier: MIT */
#include "mta-lite/pipe_transport.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/address_split.h"
#include "mta-lite/dsn.h"

static int
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct str
rest_from(struct str s, size_t at)
{
	return str_make(s.p + at, s.len - at);
}

/* 1: a word, without the braces that hold one with blanks together. */
static int
next_word(struct str *rest, struct str *word)
{
	size_t end = 0;

	*rest = str_trim(*rest);
	if (rest->len == 0)
		return 0;
	if (rest->p[0] == '{') {
		size_t depth = 0;

		for (; end < rest->len; end++) {
			depth += rest->p[end] == '{';
			if (rest->p[end] == '}' && --depth == 0)
				break;
		}
		if (end < rest->len && (end + 1 == rest->len || is_blank(rest->p[end + 1]))) {
			*word = str_trim(str_make(rest->p + 1, end - 1));
			*rest = rest_from(*rest, end + 1);
			return 1;
		}
		end = 0;
	}
	while (end < rest->len && !is_blank(rest->p[end]))
		end++;
	*word = str_make(rest->p, end);
	*rest = rest_from(*rest, end);
	return 1;
}

/* ---- macros ---- */

enum macro {
	MACRO_CLIENT_ADDRESS,
	MACRO_CLIENT_HELO,
	MACRO_CLIENT_HOSTNAME,
	MACRO_CLIENT_PORT,
	MACRO_CLIENT_PROTOCOL,
	MACRO_ENVID,
	MACRO_NEXTHOP,
	MACRO_QUEUE_ID,
	MACRO_SENDER,
	MACRO_SIZE,
	MACRO_DOMAIN, /* the recipients have one */
	MACRO_EACH, /* from here on: of each recipient */
	MACRO_EXTENSION = MACRO_EACH,
	MACRO_MAILBOX,
	MACRO_ORIGINAL_RECIPIENT,
	MACRO_RECIPIENT,
	MACRO_USER,
	MACRO_COUNT,
};
static const struct {
	const char *name;
	const char *client; /* the attribute of XFORWARD, or NULL */
} macros[MACRO_COUNT] = {
	[MACRO_CLIENT_ADDRESS] = {"client_address", "ADDR"},
	[MACRO_CLIENT_HELO] = {"client_helo", "HELO"},
	[MACRO_CLIENT_HOSTNAME] = {"client_hostname", "NAME"},
	[MACRO_CLIENT_PORT] = {"client_port", "PORT"},
	[MACRO_CLIENT_PROTOCOL] = {"client_protocol", "PROTO"},
	[MACRO_ENVID] = {"envid", NULL},
	[MACRO_NEXTHOP] = {"nexthop", NULL},
	[MACRO_QUEUE_ID] = {"queue_id", NULL},
	[MACRO_SENDER] = {"sender", NULL},
	[MACRO_SIZE] = {"size", NULL},
	[MACRO_DOMAIN] = {"domain", NULL},
	[MACRO_EXTENSION] = {"extension", NULL},
	[MACRO_MAILBOX] = {"mailbox", NULL},
	[MACRO_ORIGINAL_RECIPIENT] = {"original_recipient", NULL},
	[MACRO_RECIPIENT] = {"recipient", NULL},
	[MACRO_USER] = {"user", NULL},
};

/*
 * The next piece of an argument: plain text, or a macro written $name, ${name} or $(name); "$$" is
 * a dollar. MACRO_COUNT: *text is plain; -1: no such macro, *text is its name.
 */
static int
next_piece(struct str *rest, struct str *text)
{
	size_t end = 1, skip = 0;
	char close = '\0';
	int i;

	if (rest->p[0] != '$' || rest->len == 1) {
		end = str_find(*rest, 1, '$');
		*text = str_make(rest->p, end);
		*rest = rest_from(*rest, end);
		return MACRO_COUNT;
	}
	if (rest->p[1] == '$') {
		*text = str_make(rest->p, 1);
		*rest = rest_from(*rest, 2);
		return MACRO_COUNT;
	}
	if (rest->p[1] == '{' || rest->p[1] == '(') {
		close = rest->p[1] == '{' ? '}' : ')';
		skip = 1;
		end = str_find(*rest, 2, close);
	} else {
		while (end < rest->len && (str_is_alnum(rest->p[end]) || rest->p[end] == '_'))
			end++;
	}
	*text = str_make(rest->p + 1 + skip, end - 1 - skip);
	*rest = rest_from(*rest, end + (skip && end < rest->len));
	for (i = 0; i < MACRO_COUNT; i++) {
		if (str_is(*text, macros[i].name))
			return i;
	}
	return -1;
}

/* What a template has of recipients: 0 nothing, 1 the one domain, 2 each of them. -1: *unknown. */
static int
looks_at_recipients(struct str template, struct str *unknown)
{
	struct str text;
	int found = 0;

	while (template.len > 0) {
		int macro = next_piece(&template, &text);

		if (macro < 0) {
			*unknown = text;
			return -1;
		}
		if (macro == MACRO_DOMAIN && found < 1)
			found = 1;
		if (macro >= MACRO_EACH && macro < MACRO_COUNT)
			found = 2;
	}
	return found;
}

/* ---- an item ---- */

static enum err
wrong(struct buf *why, const char *what, struct str text)
{
	if (why)
		buf_printf(why, "%s%.*s", what, STR_ARG(text));
	return E_PARSE;
}

static enum err
set_flags(struct pipe_transport *t, struct str letters, struct buf *why)
{
	static const char known[] = "BDFORXhuq>";
	size_t i;

	for (i = 0; i < letters.len; i++) {
		const char *at = strchr(known, letters.p[i]);

		if (at == NULL || *at == '\0')
			return wrong(why, "there is no flag ", str_make(letters.p + i, 1));
		t->flags |= 1u << (unsigned)(at - known);
	}
	return OK;
}

static enum err
set_number(struct str text, uint32_t *out, struct buf *why)
{
	return str_to_u32(text, out) ? wrong(why, "this is no number: ", text) : OK;
}

static enum err
set_attribute(struct pipe_transport *t, struct str word, struct buf *why)
{
	struct str value = word, name = str_split(&value, '=');
	uint32_t size = 0;
	enum err e = OK;

	if (!value.p)
		return wrong(why, "this is no attribute: ", word);
	if (str_is(name, "flags"))
		return set_flags(t, value, why);
	if (str_is(name, "user")) {
		t->user = str_split(&value, ':');
		t->group = value.p ? value : STR("");
	} else if (str_is(name, "size")) {
		e = set_number(value, &size, why);
		t->size = size;
	} else if (str_is(name, "directory")) {
		t->directory = value;
	} else if (str_is(name, "null_sender")) {
		t->null_sender = value;
	} else if (str_is(name, "recipient_limit")) {
		e = set_number(value, &t->recipient_limit, why);
	} else if (str_is(name, "time_limit")) {
		e = set_number(value, &t->time_limit_s, why);
	} else if (!str_is(name, "eol") || !str_is(value, "\\n")) {
		return wrong(why, "there is no attribute ", word);
	}
	return e;
}

static enum err
check_argv(struct pipe_transport *t, struct buf *why)
{
	struct str rest = t->argv, word, unknown = {NULL, 0};
	size_t n = 0;

	while (next_word(&rest, &word)) {
		int found = looks_at_recipients(word, &unknown);

		if (found < 0)
			return wrong(why, "there is no macro ", unknown);
		if (n == 0 && (word.len == 0 || word.p[0] != '/'))
			return wrong(
				why, "argv must begin with the whole path of a program: ", word);
		/* What is said of one recipient is said to one. */
		if (found == 1)
			t->recipient_limit = 1;
		n++;
	}
	return n > 0 ? OK : wrong(why, "there is no argv", STR(""));
}

enum err
pipe_transport_parse(struct str item, struct pipe_transport *out, struct buf *why)
{
	struct str rest = item, word;
	enum err e = OK;

	*out = (struct pipe_transport){.null_sender = STR("MAILER-DAEMON"),
		.directory = STR("/"),
		.recipient_limit = PIPE_RECIPIENTS};
	if (!next_word(&rest, &out->name) || str_find(out->name, 0, '=') < out->name.len ||
		str_find(out->name, 0, ':') < out->name.len)
		return wrong(why, "it does not begin with a name", STR(""));
	while (e == OK && next_word(&rest, &word)) {
		if (str_starts_i(word, "argv=")) {
			out->argv =
				str_make(word.p + 5, (size_t)(item.p + item.len - (word.p + 5)));
			break;
		}
		e = set_attribute(out, word, why);
	}
	if (e == OK)
		e = check_argv(out, why);
	if (e == OK && out->user.len == 0)
		e = wrong(why, "it needs user=", STR(""));
	if (e == OK && (out->directory.len == 0 || out->directory.p[0] != '/'))
		e = wrong(why, "directory must be a whole path: ", out->directory);
	if (out->flags & (PIPE_DELIVERED_TO | PIPE_ORIGINAL_TO))
		out->recipient_limit = 1;
	if (out->recipient_limit == 0 || out->recipient_limit > PIPE_RECIPIENTS)
		out->recipient_limit = PIPE_RECIPIENTS;
	return e;
}

enum err
pipe_transports_check(const struct config *conf)
{
	const struct conf_list *list = &conf->pipe_transports;
	struct pipe_transport t;
	struct buf why = {0};
	enum err e = OK;
	size_t i;

	for (i = 0; i < list->count && e == OK; i++) {
		e = pipe_transport_parse(str_of(list->items[i]), &t, &why);
		if (e)
			log_event(LOGL_ERROR, "tables.setup failed", "setting", "pipe_transports",
				"reason", buf_cstr(&why), "table", list->items[i], NULL);
	}
	buf_free(&why);
	return e;
}

int
pipe_transport_find(const struct config *conf, struct str name, struct pipe_transport *out)
{
	const struct conf_list *list = &conf->pipe_transports;
	struct str wanted = str_split(&name, ':');
	size_t i;

	for (i = 0; i < list->count; i++) {
		if (pipe_transport_parse(str_of(list->items[i]), out, NULL) == OK &&
			str_equal(out->name, wanted))
			return 1;
	}
	return 0;
}

int64_t
pipe_transport_time_limit_ms(const struct config *conf, const struct pipe_transport *t)
{
	return t->time_limit_s ? (int64_t)t->time_limit_s * 1000 : conf->command_time_limit;
}

/* ---- arguments ---- */

static void
add_folded(struct buf *out, struct str s, int fold)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		buf_add_char(out, fold ? str_lower(s.p[i]) : s.p[i]);
}

/* A quoted local part is what stands between the quotes, unless they are asked for. */
static void
add_local(const struct pipe_transport *t, struct str local, struct buf *out)
{
	struct buf bare = {0};
	size_t i;

	if (local.len >= 2 && local.p[0] == '"' && local.p[local.len - 1] == '"' &&
		!(t->flags & PIPE_QUOTED)) {
		for (i = 1; i + 1 < local.len; i++) {
			if (local.p[i] == '\\' && i + 2 < local.len)
				i++;
			buf_add_char(&bare, local.p[i]);
		}
		local = buf_str(&bare);
	}
	add_folded(out, local, t->flags & PIPE_FOLD_USER);
	buf_free(&bare);
}

static void
add_address(const struct pipe_transport *t, const char *address, struct buf *out)
{
	const char *at = strrchr(address, '@');

	if (at == NULL) {
		add_local(t, str_of(address), out);
		return;
	}
	add_local(t, str_make(address, (size_t)(at - address)), out);
	add_folded(out, str_of(at), t->flags & PIPE_FOLD_DOMAIN);
}

static void
add_client(const struct pipe_mail *mail, const char *attribute, struct buf *out)
{
	struct str rest = str_of(mail->client);

	while (rest.p) {
		struct str value = str_split(&rest, ' '), name = str_split(&value, '=');

		if (str_is(name, attribute) && value.p && !str_is(value, "[UNAVAILABLE]"))
			(void)dsn_xtext_decode(value, out);
	}
}

static void
add_recipient_part(const struct pipe_transport *t, const struct pipe_mail *mail, int macro,
	const struct pipe_recipient *r, struct buf *out)
{
	const char *at = strrchr(r->address, '@');
	struct str local =
		at ? str_make(r->address, (size_t)(at - r->address)) : str_of(r->address);
	size_t cut = address_extension_start(local, mail->delimiter);

	switch (macro) {
	case MACRO_DOMAIN:
		add_folded(out, at ? str_of(at + 1) : STR(""), t->flags & PIPE_FOLD_DOMAIN);
		break;
	case MACRO_EXTENSION:
		if (cut < local.len)
			add_folded(out, rest_from(local, cut + 1), t->flags & PIPE_FOLD_USER);
		break;
	case MACRO_MAILBOX:
		add_local(t, local, out);
		break;
	case MACRO_ORIGINAL_RECIPIENT:
		add_address(t, r->original[0] ? r->original : r->address, out);
		break;
	case MACRO_RECIPIENT:
		add_address(t, r->address, out);
		break;
	case MACRO_USER:
		add_local(t, str_make(local.p, cut), out);
		break;
	}
}

static void
add_macro(const struct pipe_transport *t, const struct pipe_mail *mail, int macro,
	const struct pipe_recipient *r, struct buf *out)
{
	if (macro >= MACRO_DOMAIN) {
		add_recipient_part(t, mail, macro, r, out);
	} else if (macros[macro].client) {
		add_client(mail, macros[macro].client, out);
	} else if (macro == MACRO_ENVID) {
		buf_add_cstr(out, mail->envid);
	} else if (macro == MACRO_NEXTHOP) {
		add_folded(out, mail->nexthop, t->flags & PIPE_FOLD_DOMAIN);
	} else if (macro == MACRO_QUEUE_ID) {
		buf_add_cstr(out, mail->queue_id);
	} else if (macro == MACRO_SIZE) {
		buf_printf(out, "%llu", (unsigned long long)mail->size);
	} else if (mail->sender[0]) {
		add_address(t, mail->sender, out);
	} else {
		buf_add_str(out, t->null_sender);
	}
}

/*
 * E_PARSE: what came with the mail would be read as an option, or cannot be in an argument at all.
 */
static enum err
make_argument(const struct pipe_transport *t, const struct pipe_mail *mail, struct str template,
	const struct pipe_recipient *r, char **out)
{
	int plain_option = template.len > 0 && template.p[0] == '-';
	struct buf arg = {0};
	struct str text;
	enum err e;

	while (template.len > 0) {
		int macro = next_piece(&template, &text);

		if (macro == MACRO_COUNT)
			buf_add_str(&arg, text);
		else if (macro >= 0)
			add_macro(t, mail, macro, r, &arg);
	}
	e = arg.err ? arg.err : OK;
	if (e == OK && ((arg.len > 0 && arg.p[0] == '-' && !plain_option) ||
			       memchr(buf_cstr(&arg), '\0', arg.len)))
		e = E_PARSE;
	if (e == OK)
		*out = buf_steal(&arg);
	buf_free(&arg);
	return e;
}

enum err
pipe_argv(const struct pipe_transport *t, const struct pipe_mail *mail, char ***out)
{
	struct str rest = t->argv, word, unknown;
	char **argv = mem_zalloc((PIPE_ARGUMENTS_MAX + 1) * sizeof(*argv));
	size_t n = 0, i, times;
	enum err e = OK;

	while (e == OK && next_word(&rest, &word)) {
		times = looks_at_recipients(word, &unknown) == 2 ? mail->rcpt_count : 1;
		for (i = 0; i < times && e == OK; i++) {
			e = n < PIPE_ARGUMENTS_MAX
				    ? make_argument(t, mail, word, &mail->rcpts[i], &argv[n])
				    : E_TOOBIG;
			n += e == OK;
		}
	}
	*out = argv;
	if (e)
		pipe_argv_free(out);
	return e;
}

void
pipe_argv_free(char ***argv)
{
	size_t i;

	for (i = 0; *argv && (*argv)[i]; i++)
		free((*argv)[i]);
	free((void *)*argv);
	*argv = NULL;
}
