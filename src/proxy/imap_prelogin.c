/* SPDX-License-Identifier: MIT */
/*
 * IMAP before log-in: RFC 3501 sections 6.1 and 6.2, non-synchronizing literals (RFC 7888), SASL-IR
 * (RFC 4959), ID (RFC 2971), LOGIN-REFERRALS (RFC 2221), response codes (RFC 5530).
 *
 * A command is collected whole, literals included, before anything of it is looked at; max_line
 * bounds that. There is no nesting and so no recursion: the one parenthesis of this state is ID's.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "auth/moved.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "proxy/prelogin.h"

enum {
	ID_PAIRS_MAX = 30, /* RFC 2971 section 3.3 */
	ID_FIELD_MAX = 30,
	ID_VALUE_MAX = 1024,
};

/* What is left of a collected command. */
struct cursor {
	const char *p;
	size_t len;
};

struct command {
	const char *name;
	int literals; /* takes string arguments, so literals are waited for */
	/* args: from behind the name, the space included. 0: bad arguments. */
	int (*run)(struct prelogin *p, struct cursor args);
};

/* ---- tokens ---- */

static int
take(struct cursor *c, char want)
{
	if (c->len == 0 || *c->p != want)
		return 0;
	c->p++;
	c->len--;
	return 1;
}

/* ASTRING-CHAR of RFC 3501 section 9; bytes from 0x80 up are let through, as auth checks UTF-8. */
static int
is_astring_char(char c)
{
	return (unsigned char)c > 0x20 && c != 0x7f && !strchr("(){%*\"\\", c);
}

static struct str
take_atom(struct cursor *c)
{
	size_t n = 0;

	while (n < c->len && is_astring_char(c->p[n]))
		n++;
	struct str atom = str_make(c->p, n);
	c->p += n;
	c->len -= n;
	return atom;
}

static int
take_quoted(struct cursor *c, struct buf *out)
{
	for (size_t i = 1; i < c->len; i++) {
		char ch = c->p[i];

		if (ch == '"') {
			c->p += i + 1;
			c->len -= i + 1;
			return 1;
		}
		if (ch == '\\') {
			if (++i == c->len || (c->p[i] != '"' && c->p[i] != '\\'))
				return 0;
			ch = c->p[i];
		}
		if (ch == '\0' || ch == '\r' || ch == '\n')
			return 0;
		buf_add_char(out, ch);
	}
	return 0;
}

/*
 * The length in "{n}" or "{n+}" at the end of line; 0 if there is none. A number of more than nine
 * digits is given as the largest, which nobody accepts.
 */
static int
literal_at_end(struct str line, size_t *length, int *non_sync)
{
	size_t i = line.len, first;

	if (i == 0 || line.p[--i] != '}')
		return 0;
	*non_sync = i > 0 && line.p[i - 1] == '+';
	if (*non_sync)
		i--;
	first = i;
	while (first > 0 && str_is_digit(line.p[first - 1]))
		first--;
	if (first == i || first == 0 || line.p[first - 1] != '{')
		return 0;
	uint64_t n;
	if (i - first > 9 || str_to_u64(str_make(line.p + first, i - first), &n))
		*length = SIZE_MAX;
	else
		*length = (size_t)n;
	return 1;
}

static int
take_literal(struct cursor *c, struct buf *out)
{
	struct str all = str_make(c->p, c->len);
	size_t nl = str_find(all, 0, '\n'), length;
	int non_sync;

	if (nl == all.len)
		return 0;
	size_t end = nl > 0 && all.p[nl - 1] == '\r' ? nl - 1 : nl;
	/* The brace must open here, where a string is due. */
	if (!literal_at_end(str_make(c->p, end), &length, &non_sync) ||
		memchr(c->p + 1, '{', end - 1) || length > c->len - (nl + 1))
		return 0;
	if (memchr(c->p + nl + 1, '\0', length))
		return 0; /* RFC 3501 section 9: CHAR8 has no NUL */
	buf_add(out, c->p + nl + 1, length);
	c->p += nl + 1 + length;
	c->len -= nl + 1 + length;
	return 1;
}

/* astring; atoms only where bare says so. */
static int
take_string(struct cursor *c, struct buf *out, int bare)
{
	if (c->len == 0)
		return 0;
	if (*c->p == '"')
		return take_quoted(c, out);
	if (*c->p == '{')
		return take_literal(c, out);
	if (!bare)
		return 0;
	struct str atom = take_atom(c);
	buf_add_str(out, atom);
	return atom.len > 0;
}

/* ---- answers ---- */

static void
tagged(struct prelogin *p, const char *text)
{
	prelogin_say(p, p->tag ? p->tag : "*");
	prelogin_say(p, text);
}

static void
capabilities(struct prelogin *p)
{
	struct str list = str_of(prelogin_mechanisms(p));

	prelogin_say(p, "CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID LOGIN-REFERRALS");
	if (!p->tls && p->tls_available)
		prelogin_say(p, " STARTTLS");
	if (!prelogin_may_auth(p))
		prelogin_say(p, " LOGINDISABLED");
	while (list.p) {
		struct str one = str_split(&list, ' ');
		if (one.len > 0)
			buf_printf(&p->out, " AUTH=%.*s", STR_ARG(one));
	}
}

static void
greet(struct prelogin *p)
{
	prelogin_say(p, "* OK [");
	capabilities(p);
	prelogin_say(p, "] Roost ready\r\n");
}

/* ---- commands ---- */

static int
run_capability(struct prelogin *p, struct cursor args)
{
	if (args.len > 0)
		return 0;
	prelogin_say(p, "* ");
	capabilities(p);
	prelogin_say(p, "\r\n");
	tagged(p, " OK Capability completed\r\n");
	return 1;
}

static int
run_noop(struct prelogin *p, struct cursor args)
{
	if (args.len > 0)
		return 0;
	tagged(p, " OK Noop completed\r\n");
	return 1;
}

static int
run_logout(struct prelogin *p, struct cursor args)
{
	if (args.len > 0)
		return 0;
	prelogin_say(p, "* BYE Logging out\r\n");
	tagged(p, " OK Logout completed\r\n");
	prelogin_set_state(p, PRELOGIN_CLOSED);
	return 1;
}

static int
run_starttls(struct prelogin *p, struct cursor args)
{
	if (args.len > 0)
		return 0;
	if (p->tls || !p->tls_available) {
		tagged(p, p->tls ? " BAD TLS is active already\r\n"
				 : " BAD TLS is not available\r\n");
		prelogin_error(p);
		return 1;
	}
	tagged(p, " OK Begin TLS negotiation now\r\n");
	prelogin_set_state(p, PRELOGIN_TLS);
	p->host->start_tls(p);
	return 1;
}

/* id_params_list of RFC 2971 section 3.3. */
static int
parse_id(struct cursor *c)
{
	struct buf text = BUF_INIT(ID_VALUE_MAX);
	unsigned pairs = 0;
	int ok = 0;

	if (!take(c, '('))
		return str_is_i(take_atom(c), "NIL") && c->len == 0;
	while (!take(c, ')')) {
		if (pairs++ == ID_PAIRS_MAX || (pairs > 1 && !take(c, ' ')))
			goto out;
		buf_reset(&text);
		if (!take_string(c, &text, 0) || text.err || text.len > ID_FIELD_MAX ||
			!take(c, ' '))
			goto out;
		buf_reset(&text);
		if (c->len > 0 && str_lower(*c->p) == 'n') {
			if (!str_is_i(take_atom(c), "NIL"))
				goto out;
		} else if (!take_string(c, &text, 0) || text.err) {
			goto out;
		}
	}
	ok = c->len == 0;
out:
	buf_free(&text);
	return ok;
}

static int
run_id(struct prelogin *p, struct cursor args)
{
	if (!take(&args, ' ') || !parse_id(&args))
		return 0;
	prelogin_say(p, "* ID (\"name\" \"Roost\" \"version\" \"" PACKAGE_VERSION "\")\r\n");
	tagged(p, " OK ID completed\r\n");
	return 1;
}

static int
run_login(struct prelogin *p, struct cursor args)
{
	struct buf user = BUF_INIT(p->in.max), password = BUF_INIT(p->in.max);
	int ok = take(&args, ' ') && take_string(&args, &user, 1) && take(&args, ' ') &&
		 take_string(&args, &password, 1) && args.len == 0;

	if (ok)
		sasl_begin_plain(p, buf_str(&user), buf_str(&password));
	buf_wipe(&password);
	buf_free(&password);
	buf_free(&user);
	return ok;
}

static int
run_authenticate(struct prelogin *p, struct cursor args)
{
	if (!take(&args, ' '))
		return 0;
	struct str rest = str_make(args.p, args.len);
	struct str mechanism = str_split(&rest, ' ');
	if (mechanism.len == 0 || str_find(rest, 0, ' ') < rest.len)
		return 0;
	sasl_begin(p, mechanism, rest.p != NULL, rest);
	return 1;
}

static const struct command commands[] = {
	{"CAPABILITY", 0, run_capability},
	{"NOOP", 0, run_noop},
	{"LOGOUT", 0, run_logout},
	{"STARTTLS", 0, run_starttls},
	{"ID", 1, run_id},
	{"LOGIN", 1, run_login},
	{"AUTHENTICATE", 0, run_authenticate},
};

/* Those that exist, but not yet: a better answer than "unknown" to a client that lost its place. */
static const char *const later[] = {"APPEND", "CHECK", "CLOSE", "COPY", "CREATE", "DELETE",
	"ENABLE", "EXAMINE", "EXPUNGE", "FETCH", "IDLE", "LIST", "LSUB", "MOVE", "NAMESPACE",
	"RENAME", "SEARCH", "SELECT", "STATUS", "STORE", "SUBSCRIBE", "UID", "UNSELECT",
	"UNSUBSCRIBE"};

static const struct command *
find_command(struct str name)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (str_is_i(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static int
is_later(struct str name)
{
	for (size_t i = 0; i < sizeof later / sizeof *later; i++)
		if (str_is_i(name, later[i]))
			return 1;
	return 0;
}

/* The tag (RFC 3501 section 9: no "+") goes into p->tag, the name into *name. 0: neither. */
static int
parse_start(struct prelogin *p, struct cursor *c, struct str *name)
{
	struct str tag = take_atom(c);

	MEM_FREE(p->tag);
	if (tag.len == 0 || tag.len > PRELOGIN_TAG_MAX || memchr(tag.p, '+', tag.len) ||
		!str_is_ascii(tag) || !take(c, ' '))
		return 0;
	p->tag = str_dup(tag);
	*name = take_atom(c);
	return name->len > 0;
}

/*
 * Looks for the command's end from p->scanned on. 1: *len and *text_len (without the line end) are
 * set. 0: more is needed, or the connection has ended, or a literal was refused and the command
 * consumed.
 */
static int
collect(struct prelogin *p, size_t *len, size_t *text_len)
{
	for (;;) {
		struct str in = buf_str(&p->in), line;
		size_t start = p->scanned, nl, end, length;
		int non_sync;

		if (start > in.len)
			return 0;
		nl = str_find(in, start, '\n');
		if (nl == in.len) {
			if (in.len >= p->in.max)
				prelogin_refuse(p, REPLY_LINE_TOO_LONG);
			return 0;
		}
		end = nl > start && in.p[nl - 1] == '\r' ? nl - 1 : nl;
		line = str_make(in.p + start, end - start);
		if (!literal_at_end(line, &length, &non_sync)) {
			*len = nl + 1;
			*text_len = end;
			return 1;
		}
		struct cursor c = {in.p, nl};
		struct str name;
		const struct command *cmd = parse_start(p, &c, &name) ? find_command(name) : NULL;
		int fits = length <= p->in.max - (nl + 1);
		if (!non_sync && (!fits || !cmd || !cmd->literals)) {
			/* Not asked for, so it will not come. */
			p->unclear = !cmd;
			tagged(p, fits ? " BAD No literal can stand here\r\n"
				       : " BAD [TOOBIG] Literal too large\r\n");
			prelogin_consume(p, nl + 1);
			prelogin_error(p);
			if (p->state != PRELOGIN_COMMAND)
				return 0;
			continue;
		}
		if (!fits) {
			/* RFC 7888 section 4: it is on its way; the cheap answer is the end. */
			prelogin_refuse(p, REPLY_LINE_TOO_LONG);
			return 0;
		}
		prelogin_trace_heard(p, nl + 1);
		if (!non_sync)
			prelogin_say(p, "+ OK\r\n");
		prelogin_trace_said(p);
		p->scanned = nl + 1 + length;
	}
}

static int
command(struct prelogin *p)
{
	size_t len, text_len;
	struct str name = {0};

	if (!collect(p, &len, &text_len))
		return 0;
	struct cursor c = {p->in.p, text_len};
	if (!parse_start(p, &c, &name)) {
		tagged(p, " BAD A tag, a space and a command are expected\r\n");
		p->unclear = 1;
		prelogin_consume(p, len);
		prelogin_error(p);
		return 1;
	}
	const struct command *cmd = find_command(name);
	int ok = 1;
	if (cmd)
		ok = cmd->run(p, c);
	if (!ok)
		tagged(p, " BAD Invalid arguments\r\n");
	else if (!cmd)
		tagged(p, is_later(name) ? " BAD Log in first\r\n" : " BAD Unknown command\r\n");
	/* A LOGIN in a shape of its own must not pass for something else. */
	p->unclear = !ok || (!cmd && !is_later(name));
	/* What came in one packet with STARTTLS was not said under TLS. */
	prelogin_consume(p, p->state == PRELOGIN_TLS ? p->in.len : len);
	if (!ok || !cmd)
		prelogin_error(p);
	return 1;
}

static void
challenge(struct prelogin *p, struct str base64)
{
	buf_printf(&p->out, "+ %.*s\r\n", STR_ARG(base64));
}

/* The session answers the tag, with its own capabilities in it. */
static void
success(struct prelogin *p)
{
	(void)p;
}

/* RFC 2221 section 4.1. LOGIN leaves the client the choice of a mechanism there. */
static void
moved(struct prelogin *p, struct str user, struct str host)
{
	tagged(p, " NO ");
	moved_imap_put(user, p->mechanism, host, &p->out);
	buf_add_cstr(&p->out, "\r\n");
}

const struct prelogin_protocol prelogin_imap = {
	.name = "imap",
	.auth_service = "imap",
	.handover = "imap",
	.greet = greet,
	.command = command,
	.challenge = challenge,
	.success = success,
	.moved = moved,
	.replies =
		{
			[REPLY_BAD_BASE64] = "% BAD Invalid base64\r\n",
			[REPLY_CANCELLED] = "% BAD Authentication cancelled\r\n",
			[REPLY_AUTH_FAILED] =
				"% NO [AUTHENTICATIONFAILED] Authentication failed\r\n",
			[REPLY_AUTH_DISABLED] = "% NO [CONTACTADMIN] This account is disabled\r\n",
			[REPLY_AUTH_MECHANISM] =
				"% NO [CANNOT] Unsupported authentication mechanism\r\n",
			[REPLY_AUTH_RESPONSE] = "% BAD Invalid authentication response\r\n",
			[REPLY_AUTH_TEMPFAIL] =
				"% NO [UNAVAILABLE] Temporary authentication failure, try later\r\n",
			/* RFC 5530 section 3. */
			[REPLY_AUTH_LIMIT] = "% NO [LIMIT] Too many connections of this user\r\n",
			[REPLY_NEED_TLS] = "% NO [PRIVACYREQUIRED] Plaintext log-in needs TLS\r\n",
			[REPLY_LINE_TOO_LONG] = "* BYE [TOOBIG] Command too long\r\n",
			[REPLY_TOO_MANY_ATTEMPTS] = "* BYE Too many failed log-ins\r\n",
			[REPLY_TOO_MANY_ERRORS] = "* BYE Too many commands without logging in\r\n",
			[REPLY_TIMEOUT] = "* BYE Too slow to log in\r\n",
			[REPLY_SHUTDOWN] = "* BYE [UNAVAILABLE] Server is shutting down\r\n",
			[REPLY_NO_SESSION] =
				("% NO [UNAVAILABLE] Mail service is not available, try later\r\n"
				 "* BYE [UNAVAILABLE] Try later\r\n"),
			[REPLY_BUSY] = "* BYE [UNAVAILABLE] Too many connections, try later\r\n",
			[REPLY_BUSY_HOST] =
				"* BYE [LIMIT] Too many connections from your address\r\n",
		},
};
