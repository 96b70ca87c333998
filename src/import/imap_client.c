/* SPDX-License-Identifier: MIT */
#include "import/imap_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mta-lite/smtp_io.h"

enum {
	CONNECT_MS = 20 * 1000,
	TIMEOUT_MS = 120 * 1000,
	TEXT_MAX = 400,
	UNTAGGED_MAX = 32 * 1024 * 1024, /* in answer to one command */
};

struct imap_client {
	struct smtp_io *io; /* NULL: replay */
	struct imap_in in;
	SSL_CTX *tls;
	long verify_error;
	struct buf capabilities; /* " IMAP4REV1 IDLE " */
	uint64_t sent;
	uint32_t uidvalidity, exists;
	int preauth;
	char text[TEXT_MAX];
};

/* ---- the connection ---- */

static enum err
fill_from_io(void *arg, char *p, size_t cap, size_t *got)
{
	struct imap_client *c = arg;

	return smtp_io_read(c->io, p, cap, got);
}

/* Keeps what was wrong with the certificate; the handshake then fails. */
static int
note_verify_error(int ok, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct imap_client *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (!ok)
		c->verify_error = X509_STORE_CTX_get_error(store);
	return ok;
}

static int
is_ip(const char *host)
{
	unsigned char addr[16];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

/* The certificate must lead to a known authority and name the host (RFC 6125, RFC 8314). */
static enum err
tls_prepare(struct imap_client *c, const struct imap_account *a)
{
	X509_VERIFY_PARAM *param;
	int ok;

	c->tls = SSL_CTX_new(TLS_client_method());
	if (!c->tls)
		return E_IO;
	SSL_CTX_set_app_data(c->tls, c);
	SSL_CTX_set_min_proto_version(c->tls, TLS1_2_VERSION);
	if (a->insecure)
		return OK;
	SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, note_verify_error);
	ok = a->ca_file ? SSL_CTX_load_verify_locations(c->tls, a->ca_file, NULL)
			: SSL_CTX_set_default_verify_paths(c->tls);
	param = SSL_CTX_get0_param(c->tls);
	ok = ok == 1 && (is_ip(a->host) ? X509_VERIFY_PARAM_set1_ip_asc(param, a->host)
					: X509_VERIFY_PARAM_set1_host(param, a->host, 0)) == 1;
	return ok ? OK : E_NOTFOUND;
}

static enum err
tls_start(struct imap_client *c, const struct imap_account *a, char **why)
{
	enum err e = smtp_io_start_tls(c->io, c->tls, is_ip(a->host) ? NULL : a->host);

	if (e == OK)
		return OK;
	if (c->verify_error) {
		*why = mem_printf("its certificate is not to be trusted: %s",
			X509_verify_cert_error_string(c->verify_error));
		return E_AUTH;
	}
	*why = mem_printf("TLS did not come about: %s", err_text(e));
	return E_TEMPFAIL;
}

static enum err
connect_any(const struct imap_account *a, int *fd, char **why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(a->host, a->port, &hints, &list);
	enum err e = E_NOTFOUND;
	int why_not = 0;

	*fd = -1;
	if (rc) {
		*why = mem_strdup(gai_strerror(rc));
		return rc == EAI_AGAIN ? E_TEMPFAIL : E_NOTFOUND;
	}
	for (const struct addrinfo *i = list; i && *fd < 0; i = i->ai_next) {
		struct net_addr addr = {.len = i->ai_addrlen};

		if (i->ai_addrlen > sizeof(addr.sa))
			continue;
		memcpy(&addr.sa, i->ai_addr, i->ai_addrlen);
		e = net_connect(&addr, CONNECT_MS, fd);
		why_not = errno;
	}
	freeaddrinfo(list);
	if (*fd < 0)
		*why = mem_printf("no connection to port %s: %s", a->port,
			e == E_TIMEOUT || !why_not ? err_text(e) : strerror(why_not));
	return *fd < 0 ? E_TEMPFAIL : OK;
}

/* ---- commands ---- */

static void
keep_text(struct imap_client *c, struct str text)
{
	size_t n = text.len < TEXT_MAX - 1 ? text.len : TEXT_MAX - 1;

	for (size_t i = 0; i < n; i++)
		c->text[i] = text.p[i] < ' ' || text.p[i] >= 0x7f ? '?' : text.p[i];
	c->text[n] = '\0';
}

static void
send_bytes(struct imap_client *c, struct str bytes)
{
	if (!c->io)
		return;
	/* An error comes out at the next read. */
	(void)smtp_io_write(c->io, bytes);
	(void)smtp_io_flush(c->io);
}

static uint64_t
send_command(struct imap_client *c, struct buf *line)
{
	struct buf out = {0};

	buf_printf(&out, "R%llu ", (unsigned long long)++c->sent);
	buf_add_buf(&out, line);
	buf_add_cstr(&out, "\r\n");
	send_bytes(c, buf_str(&out));
	buf_wipe(&out);
	buf_free(&out);
	buf_wipe(line);
	buf_free(line);
	return c->sent;
}

uint64_t
imap_client_send(struct imap_client *c, const char *fmt, ...)
{
	struct buf line = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	return send_command(c, &line);
}

enum err
imap_quote(struct str text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] == '\0' || text.p[i] == '\r' || text.p[i] == '\n')
			return E_PARSE;
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
	return buf_add_char(out, '"');
}

/* ---- responses ---- */

static void
take_capabilities(struct imap_client *c, struct str words)
{
	buf_reset(&c->capabilities);
	buf_add_char(&c->capabilities, ' ');
	while (words.p) {
		struct str word = str_split(&words, ' ');

		for (size_t i = 0; i < word.len; i++)
			buf_add_char(&c->capabilities, str_upper(word.p[i]));
		buf_add_char(&c->capabilities, ' ');
	}
}

/* "[UIDVALIDITY 17] text" behind OK, NO, BAD, BYE, PREAUTH (RFC 9051 section 7.1). */
static void
take_code(struct imap_client *c, struct str text)
{
	struct str code, word;
	size_t end;

	if (text.len < 2 || text.p[0] != '[')
		return;
	end = str_find(text, 0, ']');
	code = str_make(text.p + 1, end < text.len ? end - 1 : text.len - 1);
	word = str_split(&code, ' ');
	if (str_is_i(word, "CAPABILITY"))
		take_capabilities(c, code);
	else if (str_is_i(word, "UIDVALIDITY") && str_to_u32(str_trim(code), &c->uidvalidity))
		c->uidvalidity = 0;
}

static enum err
read_condition(struct imap_client *c, struct str *text)
{
	enum err e = imap_in_line(&c->in, text);

	if (e == OK) {
		keep_text(c, *text);
		take_code(c, *text);
	}
	return e;
}

static enum err
read_untagged(struct imap_client *c, imap_handler *handler, void *arg)
{
	struct imap_untagged u = {0};
	struct imap_token t;
	char word[32] = "";
	struct str text;
	int taken = 0;
	enum err e = imap_in_token(&c->in, &t);

	if (e == OK && t.kind == IMAP_ATOM && str_to_u32(t.text, &u.number) == OK)
		e = imap_in_token(&c->in, &t);
	if (e)
		return e;
	if (t.kind == IMAP_EOL)
		return OK;
	if (t.kind != IMAP_ATOM)
		return E_PROTO;
	for (size_t i = 0; i < t.text.len && i < sizeof(word) - 1; i++)
		word[i] = str_upper(t.text.p[i]);
	u.word = word;
	if (strcmp(word, "BYE") == 0) {
		e = read_condition(c, &text);
		return e ? e : E_CLOSED;
	}
	if (strcmp(word, "OK") == 0 || strcmp(word, "NO") == 0 || strcmp(word, "BAD") == 0)
		return read_condition(c, &text);
	if (strcmp(word, "CAPABILITY") == 0) {
		e = imap_in_line(&c->in, &text);
		if (e == OK)
			take_capabilities(c, text);
		return e;
	}
	if (strcmp(word, "EXISTS") == 0)
		c->exists = u.number;
	if (handler)
		e = handler(c, &c->in, &u, &taken, arg);
	return e || taken ? e : imap_in_skip(&c->in);
}

/* Whether the tag that was just read belongs to command number. */
static int
is_tag(struct str tag, uint64_t number)
{
	uint64_t n;

	return tag.len > 1 && tag.p[0] == 'R' &&
	       str_to_u64(str_make(tag.p + 1, tag.len - 1), &n) == OK && n == number;
}

enum err
imap_client_wait(struct imap_client *c, uint64_t number, imap_handler *handler, void *arg)
{
	for (unsigned count = 0; count < UNTAGGED_MAX; count++) {
		struct imap_token t;
		struct str text, status;
		int is_mine;
		enum err e;

		imap_in_start(&c->in);
		e = imap_in_token(&c->in, &t);
		if (e)
			return e;
		if (t.kind == IMAP_EOL)
			continue;
		if (t.kind != IMAP_ATOM)
			return E_PROTO;
		if (str_is(t.text, "*")) {
			e = read_untagged(c, handler, arg);
			if (e)
				return e;
			continue;
		}
		if (str_is(t.text, "+"))
			return E_PROTO;
		is_mine = is_tag(t.text, number);
		e = imap_in_line(&c->in, &text);
		if (e)
			return e;
		if (!is_mine)
			return E_PROTO; /* answers come in the order of the commands here */
		status = str_split(&text, ' ');
		keep_text(c, text);
		take_code(c, text);
		return str_is_i(status, "OK") ? OK : E_ACCESS;
	}
	return E_TOOBIG;
}

enum err
imap_client_run(struct imap_client *c, imap_handler *handler, void *arg, const char *fmt, ...)
{
	struct buf line = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	return imap_client_wait(c, send_command(c, &line), handler, arg);
}

const char *
imap_client_text(const struct imap_client *c)
{
	return c->text;
}

int
imap_client_is_broken(enum err e)
{
	return e && e != E_ACCESS;
}

int
imap_client_can(const struct imap_client *c, const char *capability)
{
	char word[64];
	struct str all = buf_str(&c->capabilities);

	snprintf(word, sizeof(word), " %s ", capability);
	return all.len && str_find_str(all, str_of(word)) < all.len;
}

uint32_t
imap_client_uidvalidity(const struct imap_client *c)
{
	return c->uidvalidity;
}

uint32_t
imap_client_exists(const struct imap_client *c)
{
	return c->exists;
}

/* ---- logging in ---- */

/* A continuation request (RFC 9051 section 7.6), or the refusal of the command in its place. */
static enum err
wait_continuation(struct imap_client *c)
{
	struct imap_token t;
	struct str text;
	enum err e;

	for (;;) {
		imap_in_start(&c->in);
		e = imap_in_token(&c->in, &t);
		if (e)
			return e;
		if (t.kind != IMAP_ATOM)
			return E_PROTO;
		if (str_is(t.text, "*")) {
			e = read_untagged(c, NULL, NULL);
			if (e)
				return e;
			continue;
		}
		if (str_is(t.text, "+"))
			return imap_in_line(&c->in, &text);
		e = imap_in_line(&c->in, &text);
		keep_text(c, text);
		return e ? e : E_ACCESS;
	}
}

/* SASL PLAIN (RFC 4616), the initial response behind a continuation request: every server can. */
static enum err
authenticate_plain(struct imap_client *c, const struct imap_account *a)
{
	struct buf plain = {0}, line = {0};
	uint64_t number = imap_client_send(c, "AUTHENTICATE PLAIN");
	enum err e = wait_continuation(c);

	buf_add_char(&plain, '\0');
	buf_add_cstr(&plain, a->login);
	buf_add_char(&plain, '\0');
	buf_add_cstr(&plain, a->password);
	buf_reserve(&line, plain.len * 2 + 8);
	line.len = (size_t)EVP_EncodeBlock(
		(unsigned char *)line.p, (const unsigned char *)plain.p, (int)plain.len);
	buf_add_cstr(&line, "\r\n");
	if (e == OK) {
		send_bytes(c, buf_str(&line));
		e = imap_client_wait(c, number, NULL, NULL);
	}
	buf_wipe(&plain);
	buf_free(&plain);
	buf_wipe(&line);
	buf_free(&line);
	return e;
}

static enum err
login(struct imap_client *c, const struct imap_account *a)
{
	struct buf line = {0};
	enum err e;

	buf_add_cstr(&line, "LOGIN ");
	e = imap_quote(str_of(a->login), &line);
	buf_add_char(&line, ' ');
	e = e ? e : imap_quote(str_of(a->password), &line);
	if (e) {
		buf_free(&line);
		return e;
	}
	return imap_client_wait(c, send_command(c, &line), NULL, NULL);
}

static enum err
log_in(struct imap_client *c, const struct imap_account *a, char **why)
{
	enum err e;

	if (c->preauth)
		return OK;
	if (imap_client_can(c, "AUTH=PLAIN"))
		e = authenticate_plain(c, a);
	else if (imap_client_can(c, "LOGINDISABLED"))
		e = E_UNSUPPORTED;
	else
		e = login(c, a);
	if (e == E_UNSUPPORTED)
		*why = mem_strdup("it offers no log-in with a password on this connection");
	else if (e == E_ACCESS || e == E_PARSE)
		*why = mem_printf("the log-in was refused: %s", c->text);
	return e == E_ACCESS ? E_AUTH : e;
}

static enum err
read_greeting(struct imap_client *c, char **why)
{
	struct imap_token t;
	struct str text;
	enum err e;

	imap_in_start(&c->in);
	e = imap_in_token(&c->in, &t);
	if (e == OK && (t.kind != IMAP_ATOM || !str_is(t.text, "*")))
		e = E_PROTO;
	if (e == OK)
		e = imap_in_token(&c->in, &t);
	if (e)
		return e;
	c->preauth = t.kind == IMAP_ATOM && str_is_i(t.text, "PREAUTH");
	if (!c->preauth && !(t.kind == IMAP_ATOM && str_is_i(t.text, "OK"))) {
		e = imap_in_line(&c->in, &text);
		if (e == OK)
			keep_text(c, text);
		*why = mem_printf("it does not want to talk: %s", c->text);
		return E_TEMPFAIL;
	}
	return read_condition(c, &text);
}

static enum err
starttls(struct imap_client *c, const struct imap_account *a, char **why)
{
	enum err e;

	/* PREAUTH instead of OK would leave the session in clear (RFC 9051 section 11.1). */
	if (c->preauth) {
		*why = mem_strdup("it greets with PREAUTH, which leaves no room for STARTTLS");
		return E_UNSUPPORTED;
	}
	e = imap_client_run(c, NULL, NULL, "STARTTLS");
	if (e == E_ACCESS) {
		*why = mem_printf("STARTTLS was refused: %s", c->text);
		return E_UNSUPPORTED;
	}
	/* What was read ahead was not said under TLS. */
	if (e == OK && c->in.pos != c->in.len)
		e = E_PROTO;
	if (e == OK)
		e = tls_start(c, a, why);
	buf_reset(&c->capabilities);
	return e;
}

static enum err
converse(struct imap_client *c, const struct imap_account *a, char **why)
{
	enum err e = OK;

	if (a->security == IMAP_TLS)
		e = tls_start(c, a, why);
	if (e == OK)
		e = read_greeting(c, why);
	if (e == OK && a->security == IMAP_STARTTLS)
		e = starttls(c, a, why);
	if (e == OK && !c->capabilities.len)
		e = imap_client_run(c, NULL, NULL, "CAPABILITY");
	if (e == OK) {
		e = log_in(c, a, why);
		if (e == OK)
			e = imap_client_run(c, NULL, NULL, "CAPABILITY");
	}
	return e;
}

static struct imap_client *
client_create(enum err (*fill)(void *, char *, size_t, size_t *), void *arg)
{
	struct imap_client *c = MEM_NEW(struct imap_client);

	imap_in_init(&c->in, fill, arg ? arg : c);
	c->capabilities.max = IMAP_IN_TEXT_MAX;
	return c;
}

struct imap_client *
imap_client_replay(enum err (*fill)(void *, char *, size_t, size_t *), void *arg)
{
	return client_create(fill, arg);
}

enum err
imap_client_open(const struct imap_account *a, struct imap_client **out, char **why)
{
	struct imap_client *c = client_create(fill_from_io, NULL);
	int fd = -1;
	enum err e;

	*why = NULL;
	*out = NULL;
	e = a->security == IMAP_PLAIN ? OK : tls_prepare(c, a);
	if (e)
		*why = mem_strdup("the trusted certificates cannot be read");
	else
		e = connect_any(a, &fd, why);
	if (e == OK) {
		c->io = smtp_io_create(fd);
		smtp_io_set_timeout(c->io, a->timeout_ms ? a->timeout_ms : TIMEOUT_MS);
		e = converse(c, a, why);
	}
	if (e) {
		if (!*why)
			*why = mem_printf(
				"%s%s%s", err_text(e), c->text[0] ? "; it said: " : "", c->text);
		imap_client_close(&c);
	}
	*out = c;
	return e == E_CLOSED || e == E_TIMEOUT ? E_TEMPFAIL : e;
}

void
imap_client_close(struct imap_client **c)
{
	if (!*c)
		return;
	smtp_io_free(&(*c)->io);
	SSL_CTX_free((*c)->tls);
	imap_in_fini(&(*c)->in);
	buf_free(&(*c)->capabilities);
	MEM_FREE(*c);
}
