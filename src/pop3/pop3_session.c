/* SPDX-License-Identifier: MIT */
#include "pop3/pop3_session.h"

#include <inttypes.h>

#include "lib/log.h"
#include "mail/surrogate.h"
#include "pop3/pop3_capa.h"
#include "pop3/pop3_command.h"
#include "pop3/pop3_send.h"

enum { POP3_ERRORS_MAX = 50 /* bad commands before a session ends */ };

struct pop3 {
	struct session *s;
	struct stream *io;
	struct pop3_maildrop *m;
	struct pop3_totals *totals;
	unsigned errors;
	int done;
};

static void
reply(struct pop3 *p, const char *text)
{
	stream_printf(p->io, "%s\r\n", text);
}

static void
reject(struct pop3 *p, const char *text)
{
	reply(p, text);
	if (++p->errors >= POP3_ERRORS_MAX) {
		p->totals->reason = "errors";
		p->done = 1;
	}
}

/* The message that a command names, or NULL after the answer was given. */
static struct pop3_message *
wanted(struct pop3 *p, const struct pop3_command *c)
{
	struct pop3_message *msg = pop3_maildrop_get(p->m, c->args[0]);

	if (msg == NULL) {
		reject(p, "-ERR There is no such message");
	}
	return msg;
}

/* ---- LIST, UIDL ---- */

/* RFC 1939 section 7: at most 70 characters, never another message's. */
static void
add_uidl(struct pop3 *p, const struct pop3_message *msg, struct buf *out)
{
	const char *known = pop3_uidls_find(&p->m->uidls, msg->uid), *format = p->m->uidl_format;
	struct pop3_uidl_parts parts = {.uidvalidity = p->m->uidvalidity, .uid = msg->uid};
	struct buf file = {0};

	if (known != NULL) {
		buf_add_cstr(out, known);
		return;
	}
	if (format && pop3_uidl_needs_file(format) && pop3_maildrop_file(p->m, msg, &file) == OK)
		parts.file = buf_cstr(&file);
	if (format == NULL || pop3_uidl_build(format, &parts, out))
		pop3_uidl_build(POP3_UIDL_DEFAULT, &parts, out);
	buf_free(&file);
}

static void
list_one(struct pop3 *p, uint32_t number, const struct pop3_message *msg, int uidl)
{
	if (uidl) {
		struct buf id = {0};

		add_uidl(p, msg, &id);
		stream_printf(p->io, "%" PRIu32 " %s\r\n", number, buf_cstr(&id));
		buf_free(&id);
	} else {
		stream_printf(p->io, "%" PRIu32 " %" PRIu64 "\r\n", number, msg->size);
	}
}

static void
run_list(struct pop3 *p, const struct pop3_command *c)
{
	int uidl = c->verb == POP3_UIDL;

	if (c->arg_count == 1) {
		struct pop3_message *msg = wanted(p, c);

		if (msg != NULL) {
			stream_write_cstr(p->io, "+OK ");
			list_one(p, c->args[0], msg, uidl);
		}
		return;
	}
	stream_printf(p->io, "+OK %" PRIu32 " messages\r\n", p->m->left);
	for (uint32_t i = 1; i <= p->m->count && stream_error(p->io) == OK; i++) {
		struct pop3_message *msg = pop3_maildrop_get(p->m, i);

		if (msg != NULL) {
			list_one(p, i, msg, uidl);
		}
	}
	reply(p, ".");
}

/* ---- RETR, TOP ---- */

static enum err
stream_sink(void *arg, const char *bytes, size_t len)
{
	return stream_write(arg, bytes, len);
}

/* What a command sends of a message: the stored bytes, or a surrogate of them (RFC 6856
 * section 2.1). */
struct shown {
	struct index_content content;
	struct buf surrogate;
	struct str text;
	int made; /* text is the surrogate */
};

static enum err
open_shown(struct pop3 *p, const struct pop3_message *msg, struct shown *out)
{
	enum err e = index_content_open(p->m->user, p->m->mailbox, msg->uid, &out->content);

	if (e)
		return e;
	out->text = str_make(out->content.p, out->content.len);
	if (!p->s->info.utf8)
		e = surrogate_build(out->text, &out->surrogate, &out->made);
	if (e)
		index_content_close(&out->content);
	else if (out->made)
		out->text = buf_str(&out->surrogate);
	return e;
}

static void
close_shown(struct shown *s)
{
	index_content_close(&s->content);
	buf_free(&s->surrogate);
}

static enum err
add_len(void *arg, const char *bytes, size_t len)
{
	uint64_t *sum = arg;

	(void)bytes;
	*sum += len;
	return OK;
}

static void
write_ok(struct pop3 *p, struct pop3_message *msg, const struct shown *s, uint64_t lines)
{
	uint64_t size = msg->size;

	if (lines != UINT64_MAX) {
		reply(p, "+OK");
		p->totals->topped++;
		return;
	}
	if (s->made) {
		/* With the doubled dots, which nobody has to count exactly in this text. */
		size = 0;
		pop3_send_message(s->text, lines, add_len, &size);
	}
	stream_printf(p->io, "+OK %" PRIu64 " octets\r\n", size);
	msg->retrieved = 1;
	p->totals->retrieved++;
}

static void
send_message(struct pop3 *p, struct pop3_message *msg, uint64_t lines)
{
	struct shown s = {.surrogate = BUF_INIT(0)};
	enum err e = open_shown(p, msg, &s);

	if (e == E_NOTFOUND) {
		reply(p, "-ERR That message was removed by another program");
		return;
	}
	if (e) {
		log_event(LOGL_WARN, "pop3.retr failed", "uid", log_u64(msg->uid), "reason",
			err_word(e), NULL);
		reply(p, "-ERR [SYS/TEMP] Cannot read that message now");
		return;
	}
	write_ok(p, msg, &s, lines);
	if (lines == UINT64_MAX && !s.made && s.content.crlf && s.content.fd >= 0 &&
		pop3_is_plain(s.text)) {
		stream_send_file(p->io, s.content.fd, 0, s.content.len);
	} else {
		pop3_send_message(s.text, lines, stream_sink, p->io);
	}
	reply(p, ".");
	close_shown(&s);
}

/* ---- QUIT ---- */

static void
run_quit(struct pop3 *p)
{
	enum err e = pop3_maildrop_update(p->m, &p->totals->removed);

	if (e) {
		log_event(LOGL_WARN, "pop3.update failed", "reason", err_word(e), NULL);
		reply(p, "-ERR [SYS/TEMP] Some deleted messages were not removed");
	} else {
		reply(p, "+OK Bye");
		p->totals->quit = 1;
	}
	p->totals->reason = "quit";
	p->done = 1;
}

/* ---- the loop ---- */

/* RFC 2449. What belongs to the AUTHORIZATION state alone is not said: it cannot be used any more.
 */
static void
run_capa(struct pop3 *p)
{
	struct buf text = {0};

	pop3_capa_common(&text, p->s->conf);
	reply(p, "+OK");
	stream_write_str(p->io, buf_str(&text));
	reply(p, ".");
	buf_free(&text);
}

static void
run_lang(struct pop3 *p, struct str argument)
{
	struct buf text = {0};

	pop3_lang_answer(&text, argument);
	stream_write_str(p->io, buf_str(&text));
	buf_free(&text);
}

static void
run_command(struct pop3 *p, const struct pop3_command *c)
{
	struct pop3_message *msg;

	switch (c->verb) {
	case POP3_STAT:
		stream_printf(
			p->io, "+OK %" PRIu32 " %" PRIu64 "\r\n", p->m->left, p->m->left_size);
		break;
	case POP3_LIST:
	case POP3_UIDL:
		run_list(p, c);
		break;
	case POP3_TOP:
	case POP3_RETR:
		msg = wanted(p, c);
		if (msg != NULL) {
			send_message(p, msg, c->verb == POP3_TOP ? c->args[1] : UINT64_MAX);
		}
		break;
	case POP3_DELE:
		msg = wanted(p, c);
		if (msg != NULL && !p->m->can_delete) {
			/* [SYS/PERM] (RFC 3206): another try would change nothing. */
			reply(p, "-ERR [SYS/PERM] You have no right to delete from INBOX");
		} else if (msg != NULL) {
			pop3_maildrop_delete(p->m, msg);
			reply(p, "+OK Marked to be deleted");
		}
		break;
	case POP3_NOOP:
		reply(p, "+OK");
		break;
	case POP3_RSET:
		pop3_maildrop_reset(p->m);
		reply(p, "+OK");
		break;
	case POP3_QUIT:
		run_quit(p);
		break;
	case POP3_CAPA:
		run_capa(p);
		break;
	case POP3_LANG:
		run_lang(p, c->text);
		break;
	case POP3_UNKNOWN:
		break;
	}
}

static enum err
run_line(struct pop3 *p, struct str line)
{
	struct pop3_command c;

	switch (pop3_command_parse(line, &c)) {
	case OK:
		run_command(p, &c);
		break;
	case E_UNSUPPORTED:
		reject(p, "-ERR Unknown command");
		break;
	case E_RANGE:
		reject(p, "-ERR There is no such message");
		break;
	default:
		reject(p, "-ERR Wrong arguments");
		break;
	}
	return stream_error(p->io);
}

void
pop3_session_serve(struct session *s, struct pop3_maildrop *m, struct pop3_totals *totals)
{
	struct pop3 p = {.s = s, .io = s->client, .m = m, .totals = totals};
	enum err e = OK;

	*totals = (struct pop3_totals){.reason = "closed"};
	stream_set_timeouts(
		p.io, (int)s->conf->pop3_idle_timeout, (int)s->conf->client_write_timeout);
	while (e == OK && !p.done) {
		struct str line;

		e = session_should_end(s) ? E_CANCELLED
					  : stream_read_line(p.io, POP3_LINE_MAX, &line, NULL);
		if (e == E_TOOBIG) {
			e = stream_skip_line(p.io);
			reject(&p, "-ERR Line too long");
		} else if (e == OK) {
			e = run_line(&p, line);
		}
	}
	if (e == E_CANCELLED) {
		/* Not asked for: what was marked stays (RFC 1939 section 6). */
		totals->reason = "shutdown";
		reply(&p, "-ERR [SYS/TEMP] Shutting down");
	} else if (e && e != E_CLOSED) {
		/* RFC 1939 section 3: after the autologout timer no response is sent. */
		totals->reason = err_word(e);
	}
	stream_flush(p.io);
}
