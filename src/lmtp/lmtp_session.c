/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lmtp/lmtp_command.h"
#include "lmtp/lmtp_data.h"
#include "lmtp/lmtp_lhlo.h"
#include "lmtp/lmtp_xclient.h"

enum {
	LMTP_ERRORS_MAX = 50, /* bad commands before a session ends */
	LMTP_PEEK = 64 * 1024,
};

/* One connection. Everything below "transaction" is emptied by transaction_reset alone. */
struct lmtp {
	struct session *s;
	struct stream *io;
	const char *hostname;
	const struct lmtp_store *store;
	void *store_arg;
	char *helo; /* NULL before LHLO */
	struct lmtp_xclient client; /* for whom a trusted client speaks; empty: for itself */
	unsigned errors;
	int done;

	/* transaction */
	int has_mail;
	int utf8; /* SMTPUTF8 */
	char *sender;
	uint64_t size_hint;
	char **rcpts; /* accepted ones, as given */
	size_t rcpt_count, rcpt_cap;
	size_t expected; /* recipients that the store has heard of and was not asked for */
	int receiving; /* begin was called */
	int bdat; /* a BDAT was seen: DATA is out (RFC 3030 section 2) */
	uint64_t size; /* bytes of the message so far */
	struct lmtp_reply failed; /* code NULL while all is well */
};

static const struct lmtp_reply too_big = {"552 5.3.4", "Message is larger than the limit here"};

static void
reply(struct lmtp *l, const char *text)
{
	stream_printf(l->io, "%s\r\n", text);
}

/* A negative answer to a command that was wrong: too many of them end the session. */
static void
reject(struct lmtp *l, const char *text)
{
	reply(l, text);
	if (++l->errors >= LMTP_ERRORS_MAX) {
		reply(l, "421 4.7.0 Too many errors, closing");
		l->done = 1;
	}
}

static void
transaction_reset(struct lmtp *l)
{
	l->store->reset(l->store_arg);
	l->has_mail = l->utf8 = l->receiving = l->bdat = 0;
	MEM_FREE(l->sender);
	l->size_hint = l->size = 0;
	for (size_t i = 0; i < l->rcpt_count; i++) {
		free(l->rcpts[i]);
	}
	l->rcpt_count = l->expected = 0;
	l->failed = (struct lmtp_reply){0};
}

/* ---- LHLO, MAIL, RCPT ---- */

static void
greet(struct lmtp *l)
{
	stream_printf(l->io, "220 %s LMTP Roost\r\n", l->hostname);
}

/* Who comes by the UNIX socket is trusted by its permissions. */
static int
may_xclient(const struct lmtp *l)
{
	return strcmp(l->s->info.service, "lmtp-local") == 0 ||
	       lmtp_xclient_allowed(l->s->conf, &l->s->info.peer);
}

static void
run_lhlo(struct lmtp *l, struct str args)
{
	/* TLS begins in roost-proxy, or not at all. */
	struct lmtp_lhlo_options options = {.xclient = may_xclient(l)};
	struct buf text = {0};

	if (!lmtp_helo_ok(args)) {
		reject(l, "501 5.5.4 Say LHLO with your host name");
		return;
	}
	transaction_reset(l);
	free(l->helo);
	l->helo = str_dup(args);
	lmtp_lhlo_write(&text, l->s->conf, &options);
	stream_write_str(l->io, buf_str(&text));
	buf_free(&text);
}

/* As Postfix documents it: everything begins anew with a greeting, for somebody else. */
static void
run_xclient(struct lmtp *l, struct str args)
{
	struct lmtp_xclient client;
	char address[NET_ADDR_TEXT] = "";

	if (!may_xclient(l)) {
		reject(l, "550 5.7.0 Not authorized to say XCLIENT");
	} else if (l->has_mail) {
		reject(l, "503 5.5.1 A transaction is under way");
	} else if (lmtp_xclient_parse(args, &client)) {
		reject(l, "501 5.5.4 Bad attribute of XCLIENT");
	} else {
		transaction_reset(l);
		MEM_FREE(l->helo);
		l->client = client;
		if (client.addr.len) {
			net_addr_format_ip(&client.addr, address);
		}
		log_event(LOGL_INFO, "lmtp.xclient ok", "ip", address[0] ? address : NULL, "name",
			client.name[0] ? client.name : NULL, "helo",
			client.helo[0] ? client.helo : NULL, "login",
			client.login[0] ? client.login : NULL, NULL);
		greet(l);
	}
}

static void
run_mail(struct lmtp *l, struct str args)
{
	struct lmtp_mail mail;
	enum err e;

	if (l->helo == NULL) {
		reject(l, "503 5.5.1 LHLO first");
		return;
	}
	if (l->has_mail) {
		reject(l, "503 5.5.1 A transaction is under way already");
		return;
	}
	e = lmtp_mail_parse(args, &mail);
	if (e == E_RANGE) {
		reject(l, "555 5.5.4 Parameter not known or wrong");
	} else if (e == E_TOOBIG) {
		reject(l, "501 5.1.7 Path too long");
	} else if (e == E_UNSUPPORTED) {
		reject(l, "553 5.6.7 Address beyond ASCII without SMTPUTF8, or not UTF-8");
	} else if (e) {
		reject(l, "501 5.1.7 Syntax: MAIL FROM:<address> [parameters]");
	} else if (mail.size > l->s->conf->max_message_size) {
		stream_printf(l->io, "%s %s\r\n", too_big.code, too_big.text);
	} else {
		l->has_mail = 1;
		l->utf8 = mail.utf8;
		l->sender = str_dup(mail.path.raw);
		l->size_hint = mail.size;
		reply(l, "250 2.1.0 OK");
	}
}

/*
 * A client that does not wait for replies (RFC 2920) has its recipients looked up together: the
 * store is told of this one and those that were read with it, as many as may still be taken.
 */
static void
look_ahead(struct lmtp *l, const char *address)
{
	struct str rest = stream_unread(l->io), line, args;
	size_t max = (size_t)l->s->conf->lmtp_max_recipients - l->rcpt_count;
	struct lmtp_path path;

	if (l->expected > 0) {
		l->expected--;
		return;
	}
	max = max < LMTP_AHEAD_MAX ? max : LMTP_AHEAD_MAX;
	while (l->expected + 1 < max && (line = str_split(&rest, '\n'), rest.p != NULL)) {
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (line.len > LMTP_LINE_MAX || str_has_control(line) ||
			lmtp_command_split(line, &args) != LMTP_RCPT)
			return;
		if (lmtp_rcpt_parse(args, l->utf8, &path))
			continue;
		if (l->expected++ == 0)
			l->store->expect(l->store_arg, address);
		l->store->expect(l->store_arg, path.address);
	}
}

static void
run_rcpt(struct lmtp *l, struct str args)
{
	struct lmtp_path path;
	struct lmtp_reply r;
	enum err e;

	if (!l->has_mail || l->receiving) {
		reject(l, "503 5.5.1 MAIL first");
		return;
	}
	e = lmtp_rcpt_parse(args, l->utf8, &path);
	if (e == E_RANGE) {
		reject(l, "555 5.5.4 Parameter not known");
	} else if (e == E_TOOBIG) {
		reject(l, "501 5.1.3 Path too long");
	} else if (e == E_UNSUPPORTED) {
		reject(l, "553 5.6.7 Address beyond ASCII without SMTPUTF8, or not UTF-8");
	} else if (e) {
		reject(l, "501 5.1.3 Syntax: RCPT TO:<address>");
	} else if (l->rcpt_count >= (size_t)l->s->conf->lmtp_max_recipients) {
		reply(l, "452 4.5.3 Too many recipients in one transaction");
	} else {
		look_ahead(l, path.address);
		r = l->store->rcpt(l->store_arg, path.address, path.raw, l->size_hint);
		stream_printf(l->io, "%s <%.*s> %s\r\n", r.code, STR_ARG(path.raw), r.text);
		if (lmtp_reply_is_ok(r)) {
			if (l->rcpt_count == l->rcpt_cap) {
				l->rcpt_cap = l->rcpt_cap ? 2 * l->rcpt_cap : 8;
				l->rcpts = mem_realloc(l->rcpts, l->rcpt_cap, sizeof(char *));
			}
			l->rcpts[l->rcpt_count++] = str_dup(path.raw);
		}
	}
}

/* ---- the message ---- */

static void
message_begin(struct lmtp *l)
{
	struct lmtp_envelope env = {
		.sender = str_of(l->sender),
		.helo = l->client.helo[0] ? l->client.helo : l->helo,
		.client_name = l->client.name,
		.client = l->client.addr.len ? &l->client.addr : &l->s->info.peer,
		.utf8 = l->utf8,
		.only_rcpt = l->rcpt_count == 1 ? str_of(l->rcpts[0]) : STR(""),
	};

	l->receiving = 1;
	l->store->begin(l->store_arg, &env);
}

/* lmtp_sink: the text of the message. Once it has failed the rest is only read. */
static void
message_write(void *arg, const char *p, size_t len)
{
	struct lmtp *l = arg;

	l->size += len;
	if (l->size > l->s->conf->max_message_size && l->failed.code == NULL) {
		l->failed = too_big;
	}
	if (l->failed.code == NULL) {
		l->store->write(l->store_arg, p, len);
	}
}

/* One reply for each accepted recipient, in order (RFC 2033 sections 4.2 and 4.3). */
static void
message_end(struct lmtp *l)
{
	struct lmtp_reply *replies = mem_zalloc((l->rcpt_count + 1) * sizeof(*replies));

	if (l->failed.code == NULL && l->rcpt_count > 0) {
		l->store->commit(l->store_arg, replies);
	} else {
		for (size_t i = 0; i < l->rcpt_count; i++) {
			replies[i] = l->failed;
		}
	}
	for (size_t i = 0; i < l->rcpt_count; i++) {
		stream_printf(
			l->io, "%s <%s> %s\r\n", replies[i].code, l->rcpts[i], replies[i].text);
	}
	free(replies);
	/* The client must not wait while the transaction is cleared away. */
	if (stream_input_available(l->io) == 0) {
		stream_flush(l->io);
	}
	transaction_reset(l);
}

static enum err
run_data(struct lmtp *l)
{
	struct lmtp_dot dot = LMTP_DOT_INIT;
	int end = 0;

	if (l->bdat) {
		reject(l, "503 5.5.1 DATA and BDAT cannot be mixed");
		return OK;
	}
	if (l->rcpt_count == 0) {
		reject(l, "503 5.5.1 No valid recipients");
		return OK;
	}
	message_begin(l);
	reply(l, "354 End data with <CR><LF>.<CR><LF>");
	while (!end) {
		struct str piece;
		size_t used;
		enum err e = stream_peek(l->io, LMTP_PEEK, &piece);

		if (e) {
			return e;
		}
		end = lmtp_dot_feed(&dot, piece.p, piece.len, &used, message_write, l);
		stream_consume(l->io, used);
	}
	message_end(l);
	return OK;
}

/* Reads the octets of a chunk, into the message or away. */
static enum err
read_chunk(struct lmtp *l, uint64_t size, int keep)
{
	while (size > 0) {
		struct str piece;
		enum err e =
			stream_peek(l->io, size < LMTP_PEEK ? (size_t)size : LMTP_PEEK, &piece);

		if (e) {
			return e;
		}
		if (keep) {
			message_write(l, piece.p, piece.len);
		}
		stream_consume(l->io, piece.len);
		size -= piece.len;
	}
	return OK;
}

static enum err
run_bdat(struct lmtp *l, struct str args)
{
	uint64_t size;
	int last;
	enum err e;

	if (lmtp_bdat_parse(args, &size, &last)) {
		/* What follows is a message or a command, nobody can tell: go no further. */
		reply(l, "501 5.5.4 Syntax: BDAT size [LAST]; closing");
		l->done = 1;
		return OK;
	}
	if (l->rcpt_count == 0) {
		/* RFC 2033 section 4.3: no recipient, no reply to the last chunk. */
		e = read_chunk(l, size, 0);
		if (!e && !last) {
			reject(l, "503 5.5.1 No valid recipients");
		} else if (!e) {
			transaction_reset(l);
		}
		return e;
	}
	if (!l->receiving) {
		message_begin(l);
		l->bdat = 1;
	}
	e = read_chunk(l, size, 1);
	if (e) {
		return e;
	}
	if (last) {
		message_end(l);
	} else if (l->failed.code != NULL) {
		stream_printf(l->io, "%s %s\r\n", l->failed.code, l->failed.text);
	} else {
		stream_printf(l->io, "250 2.0.0 %" PRIu64 " octets received\r\n", size);
	}
	return OK;
}

/* ---- the loop ---- */

static enum err
run_line(struct lmtp *l, struct str line)
{
	struct str args;

	switch (lmtp_command_split(line, &args)) {
	case LMTP_LHLO:
		run_lhlo(l, args);
		return OK;
	case LMTP_MAIL:
		run_mail(l, args);
		return OK;
	case LMTP_RCPT:
		run_rcpt(l, args);
		return OK;
	case LMTP_DATA:
		return run_data(l);
	case LMTP_BDAT:
		return run_bdat(l, args);
	case LMTP_RSET:
		transaction_reset(l);
		reply(l, "250 2.0.0 OK");
		return OK;
	case LMTP_NOOP:
		reply(l, "250 2.0.0 OK");
		return OK;
	case LMTP_VRFY:
		/* RFC 5321 section 3.5.3: says neither yes nor no. */
		reply(l, "252 2.1.5 Send some mail, and see");
		return OK;
	case LMTP_QUIT:
		stream_printf(l->io, "221 2.0.0 %s closing\r\n", l->hostname);
		l->done = 1;
		return OK;
	case LMTP_XCLIENT:
		run_xclient(l, args);
		return OK;
	case LMTP_STARTTLS:
		reject(l, l->s->info.tls ? "503 5.5.1 TLS is active already"
					 : "503 5.5.1 STARTTLS comes before mail");
		return OK;
	case LMTP_HELO:
		reject(l, "500 5.5.1 This is LMTP: say LHLO");
		return OK;
	case LMTP_UNKNOWN:
		break;
	}
	reject(l, "500 5.5.2 Unknown command");
	return OK;
}

static enum err
serve(struct lmtp *l)
{
	/* Behind roost-proxy the greeting, and mostly LHLO, have been said. */
	if (l->s->info.fresh) {
		greet(l);
	} else if (l->s->info.esmtp) {
		l->helo = mem_strdup(l->s->info.helo);
	}
	while (!l->done) {
		struct str line;
		enum err e;

		if (session_should_end(l->s)) {
			return E_CANCELLED;
		}
		e = stream_read_line(l->io, LMTP_LINE_MAX, &line, NULL);
		if (e == E_TOOBIG) {
			e = stream_skip_line(l->io);
			reject(l, "500 5.5.2 Line too long");
		} else if (!e && str_has_control(line)) {
			reject(l, "500 5.5.2 Control characters in a command");
		} else if (!e) {
			e = run_line(l, line);
		}
		if (e) {
			return e;
		}
	}
	return OK;
}

int
lmtp_session_run(
	struct session *s, const char *hostname, const struct lmtp_store *store, void *store_arg)
{
	struct lmtp l = {.s = s,
		.io = s->client,
		.hostname = hostname,
		.store = store,
		.store_arg = store_arg};
	enum err e;

	stream_set_timeouts(l.io, (int)s->conf->lmtp_timeout, (int)s->conf->client_write_timeout);
	e = serve(&l);
	if (e == E_TIMEOUT) {
		stream_printf(l.io, "421 4.4.2 %s timed out\r\n", hostname);
	} else if (e == E_CANCELLED) {
		stream_printf(l.io, "421 4.3.2 %s is shutting down\r\n", hostname);
	}
	stream_flush(l.io);
	if (e && e != E_CLOSED) {
		log_event(LOGL_INFO, "lmtp.session ended", "reason", err_word(e), NULL);
	}
	transaction_reset(&l);
	free(l.rcpts);
	free(l.helo);
	return e == OK || e == E_CLOSED ? SESSION_AGAIN : 0;
}
