/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"
#include "mta-lite/smtp_client_private.h"
#include "mta-lite/transcript.h"

void
smtp_answer_set(
	struct smtp_answer *a, enum queue_status status, const char *dsn, const char *fmt, ...)
{
	struct buf text = BUF_INIT(2000);
	va_list ap;

	a->status = status;
	a->code = 0;
	(void)snprintf(a->dsn, sizeof(a->dsn), "%s", dsn);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	free(a->text);
	a->text = buf_steal(&text);
}

void
smtp_answer_copy(struct smtp_answer *a, const struct smtp_answer *from)
{
	free(a->text);
	*a = *from;
	a->text = mem_strdup(from->text ? from->text : "");
}

void
smtp_answer_free(struct smtp_answer *a)
{
	free(a->text);
	memset(a, 0, sizeof(*a));
}

struct smtp_client *
smtp_client_create(int fd, const char *helo, int lmtp)
{
	struct smtp_client *c = MEM_NEW(struct smtp_client);

	c->io = smtp_io_create(fd);
	c->helo = helo;
	c->lmtp = lmtp;
	return c;
}

void
smtp_client_free(struct smtp_client **c)
{
	if (*c == NULL)
		return;
	/* The answer tells nothing that matters, and waiting for it would hold up the results. */
	if (!(*c)->broken) {
		smtp_io_set_timeout((*c)->io, 2000);
		(void)smtp_io_write((*c)->io, STR("QUIT\r\n"));
		(void)smtp_io_flush((*c)->io);
	}
	smtp_io_free(&(*c)->io);
	smtp_reply_free(&(*c)->reply);
	buf_free(&(*c)->mechanisms);
	buf_free(&(*c)->peer_name);
	buf_free(&(*c)->xforward);
	MEM_FREE(*c);
}

void
smtp_client_set_transcript(struct smtp_client *c, struct transcript *t)
{
	c->transcript = t;
}

void
smtp_client_set_deadline(struct smtp_client *c, int64_t deadline_ms)
{
	smtp_io_set_deadline(c->io, deadline_ms);
}

unsigned
smtp_client_extensions(const struct smtp_client *c)
{
	return c->ext;
}

const char *
smtp_client_tls_text(const struct smtp_client *c)
{
	return smtp_io_tls_text(c->io);
}

/* Both are ended by a NUL where they are filled. */
const char *
smtp_client_peer_name(const struct smtp_client *c)
{
	return c->peer_name.len ? c->peer_name.p : "";
}

const char *
smtp_client_mechanisms(const struct smtp_client *c)
{
	return c->mechanisms.len ? c->mechanisms.p : "";
}

int
smtp_client_is_usable(struct smtp_client *c)
{
	return !c->broken && !smtp_io_is_stale(c->io);
}

enum err
smtp_client_command(struct smtp_client *c, const char *fmt, ...)
{
	struct buf line = BUF_INIT(4096);
	va_list ap;
	enum err e;

	va_start(ap, fmt);
	e = buf_vprintf(&line, fmt, ap);
	va_end(ap);
	if (c->transcript)
		transcript_add_command(
			c->transcript, " Out: ", c->secret ? STR("...") : buf_str(&line));
	buf_add(&line, "\r\n", 2);
	if (e == OK)
		e = line.err ? line.err : smtp_io_write(c->io, buf_str(&line));
	buf_free(&line);
	return e;
}

enum err
smtp_client_reply(struct smtp_client *c, int timeout_ms)
{
	struct str line;
	enum err e;

	smtp_reply_reset(&c->reply);
	smtp_io_set_timeout(c->io, timeout_ms);
	do {
		e = smtp_io_read_line(c->io, &line);
		if (e == OK && c->transcript)
			transcript_add(c->transcript, " In:  ", line);
		if (e == OK)
			e = smtp_reply_line(&c->reply, line);
	} while (e == OK && !c->reply.done);
	if (e)
		c->broken = 1;
	else if (c->reply.code == 421)
		c->closing = 1;
	return e;
}

/* As Postfix has it: replies that mean that one of the two does not speak SMTP (RFC 5321 4.2.1). */
static int
is_misunderstanding(const struct smtp_client *c, enum err e)
{
	int code = c->reply.code;

	if (e)
		return e == E_PROTO || e == E_TOOBIG;
	return (code >= 500 && code < 510) || code == 555;
}

void
smtp_client_answer(struct smtp_client *c, enum err e, const char *step, struct smtp_answer *a)
{
	struct buf text = {0};

	if (c->transcript && is_misunderstanding(c, e))
		c->transcript->noted = 1;

	if (e == OK) {
		int cls = smtp_reply_class(&c->reply);
		enum queue_status status = cls == 2   ? QUEUE_DELIVERED
					   : cls == 5 ? QUEUE_FAILED
						      : QUEUE_PENDING;

		smtp_reply_format(&c->reply, 900, &text);
		smtp_answer_set(a, status, smtp_reply_dsn(&c->reply), "%s", buf_cstr(&text));
		/* A 3xx that nobody asked for. */
		if (cls == 3)
			memcpy(a->dsn, "4.5.0", sizeof("4.5.0"));
		a->code = c->reply.code;
		buf_free(&text);
		return;
	}
	switch (e) {
	case E_TIMEOUT:
		smtp_answer_set(a, QUEUE_PENDING, "4.4.2", "timed out at %s", step);
		break;
	case E_CLOSED:
		smtp_answer_set(a, QUEUE_PENDING, "4.4.2", "connection lost at %s", step);
		break;
	case E_PROTO:
	case E_TOOBIG:
		smtp_answer_set(a, QUEUE_PENDING, "4.5.0", "protocol error at %s", step);
		break;
	default:
		smtp_answer_set(a, QUEUE_PENDING, "4.4.0", "%s at %s", err_text(e), step);
	}
}

static void
take_limits(struct smtp_client *c, struct str line)
{
	while (line.p) {
		struct str word = str_split(&line, ' ');
		size_t value = sizeof("RCPTMAX=") - 1;

		if (str_starts_i(word, "RCPTMAX="))
			(void)str_to_u32(
				str_make(word.p + value, word.len - value), &c->rcpt_limit);
	}
}

/* A line of the reply to EHLO. */
static void
take_extension(struct smtp_client *c, struct str line)
{
	static const struct {
		const char *word;
		unsigned bit;
	} known[] = {
		{"PIPELINING", SMTP_EXT_PIPELINING},
		{"SIZE", SMTP_EXT_SIZE},
		{"8BITMIME", SMTP_EXT_8BITMIME},
		{"DSN", SMTP_EXT_DSN},
		{"STARTTLS", SMTP_EXT_STARTTLS},
		{"SMTPUTF8", SMTP_EXT_SMTPUTF8},
		{"CHUNKING", SMTP_EXT_CHUNKING},
		{"BINARYMIME", SMTP_EXT_BINARYMIME},
		{"REQUIRETLS", SMTP_EXT_REQUIRETLS},
		{"MT-PRIORITY", SMTP_EXT_PRIORITY},
		{"AUTH", SMTP_EXT_AUTH},
		{"XFORWARD", SMTP_EXT_XFORWARD},
	};
	struct str word = str_split(&line, ' ');
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (str_is_i(word, known[i].word))
			c->ext |= known[i].bit;
	}
	if (str_is_i(word, "SIZE")) {
		(void)str_to_u64(str_trim(line), &c->size_limit);
	} else if (str_is_i(word, "LIMITS")) {
		take_limits(c, line);
	} else if (str_is_i(word, "XFORWARD")) {
		buf_reset(&c->xforward);
		buf_add_str(&c->xforward, line);
	} else if (str_is_i(word, "AUTH")) {
		buf_reset(&c->mechanisms);
		buf_add_str(&c->mechanisms, line);
		buf_add_char(&c->mechanisms, '\0');
	}
}

static void
forget_extensions(struct smtp_client *c)
{
	c->ext = 0;
	c->size_limit = 0;
	c->rcpt_limit = 0;
	buf_reset(&c->mechanisms);
	buf_reset(&c->peer_name);
}

/* Reads the extensions out of the reply's lines; the first one is the greeting's text. */
static void
take_extensions(struct smtp_client *c)
{
	struct str text = buf_str(&c->reply.text), first;

	forget_extensions(c);
	first = str_split(&text, '\n');
	buf_add_str(&c->peer_name, str_split(&first, ' '));
	buf_add_char(&c->peer_name, '\0');
	while (text.p)
		take_extension(c, str_split(&text, '\n'));
}

/* RFC 5321 section 4.1.1.1; HELO for servers that do not know EHLO (section 3.2). */
static enum err
say_hello(struct smtp_client *c, struct smtp_answer *why)
{
	enum err e = smtp_client_command(c, "%s %s", c->lmtp ? "LHLO" : "EHLO", c->helo);

	if (e == OK)
		e = smtp_client_reply(c, SMTP_WAIT_GREETING_MS);
	if (e == OK && smtp_reply_class(&c->reply) == 2) {
		take_extensions(c);
		return OK;
	}
	if (e == OK && smtp_reply_class(&c->reply) == 5 && !c->lmtp) {
		forget_extensions(c);
		e = smtp_client_command(c, "HELO %s", c->helo);
		if (e == OK)
			e = smtp_client_reply(c, SMTP_WAIT_GREETING_MS);
		if (e == OK && smtp_reply_class(&c->reply) == 2)
			return OK;
	}
	smtp_client_answer(c, e, c->lmtp ? "LHLO" : "EHLO", why);
	return e ? e : E_PROTO;
}

enum err
smtp_client_hello(struct smtp_client *c, struct smtp_answer *why)
{
	enum err e = smtp_client_reply(c, SMTP_WAIT_GREETING_MS);

	if (e || smtp_reply_class(&c->reply) != 2) {
		smtp_client_answer(c, e, "the greeting", why);
		/* RFC 5321 section 3.1: 554 says that there is no service here; another MX may. */
		return e ? e : E_PROTO;
	}
	return say_hello(c, why);
}

/* The handshake; a certificate that does not do is told with its reason. */
static enum err
handshake(struct smtp_client *c, SSL *ssl, struct smtp_answer *why)
{
	enum err e = smtp_io_start_tls_with(c->io, ssl);
	long verdict = smtp_io_verify_result(c->io);

	if (e == OK)
		return OK;
	c->broken = 1;
	if (e == E_PROTO && verdict != X509_V_OK)
		smtp_answer_set(why, QUEUE_PENDING, "4.7.5",
			"the server's certificate is not trusted: %s",
			X509_verify_cert_error_string(verdict));
	else
		smtp_answer_set(
			why, QUEUE_PENDING, "4.7.5", "TLS handshake failed: %s", err_text(e));
	return e;
}

enum err
smtp_client_starttls(struct smtp_client *c, SSL *ssl, struct smtp_answer *why)
{
	enum err e = smtp_client_command(c, "STARTTLS");

	if (e == OK)
		e = smtp_client_reply(c, SMTP_WAIT_DATA_MS);
	if (e || smtp_reply_class(&c->reply) != 2) {
		SSL_free(ssl);
		smtp_client_answer(c, e, "STARTTLS", why);
		return e ? e : E_PROTO;
	}
	e = handshake(c, ssl, why);
	return e ? e : say_hello(c, why);
}

enum err
smtp_client_tls(struct smtp_client *c, SSL *ssl, struct smtp_answer *why)
{
	smtp_io_set_timeout(c->io, SMTP_WAIT_DATA_MS);
	return handshake(c, ssl, why);
}

static enum err
auth_reply(struct smtp_client *c, enum err e, int *code, struct str *text)
{
	*code = 0;
	*text = str_make("", 0);
	if (e == OK)
		e = smtp_client_reply(c, SMTP_WAIT_ENVELOPE_MS);
	if (e)
		return e;
	*code = c->reply.code;
	*text = buf_str(&c->reply.text);
	return OK;
}

enum err
smtp_client_auth(struct smtp_client *c, const char *mechanism, const char *initial, int *code,
	struct str *text)
{
	enum err e = initial ? smtp_client_command(
				       c, "AUTH %s %s", mechanism, initial[0] ? initial : "=")
			     : smtp_client_command(c, "AUTH %s", mechanism);

	return auth_reply(c, e, code, text);
}

enum err
smtp_client_auth_next(struct smtp_client *c, const char *response, int *code, struct str *text)
{
	enum err e;

	c->secret = 1;
	e = smtp_client_command(c, "%s", response);
	c->secret = 0;
	return auth_reply(c, e, code, text);
}

void
smtp_client_last_answer(struct smtp_client *c, const char *step, struct smtp_answer *a)
{
	smtp_client_answer(c, c->broken ? E_CLOSED : OK, step, a);
}
