/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_sasl.h"

#include <sasl/sasl.h>
#include <sasl/saslutil.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"

enum { SASL_LINE_MAX = 12 * 1024, SASL_STEPS_MAX = 20 };

struct login {
	struct smtp_client *client;
	sasl_conn_t *conn;
	char *user;
	sasl_secret_t *secret;
	struct smtp_answer *why;
};

static int
get_name(void *context, int id, const char **result, unsigned *len)
{
	struct login *l = context;

	/* The authorisation identity is left to the server: it is that of the log-in. */
	*result = id == SASL_CB_AUTHNAME ? l->user : "";
	if (len)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

static int
get_secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **secret)
{
	(void)conn;
	(void)id;
	*secret = ((struct login *)context)->secret;
	return SASL_OK;
}

/* Cyrus SASL has words of its own for syslog, which may name what nobody should read. */
static int
drop_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

enum err
smtp_sasl_start(void)
{
	static const sasl_callback_t callbacks[] = {
		{SASL_CB_LOG, (int (*)(void))(void (*)(void))drop_log, NULL},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	int ret = sasl_client_init(callbacks);

	if (ret == SASL_OK)
		return OK;
	log_event(LOGL_ERROR, "smtp.sasl failed", "error", sasl_errstring(ret, NULL, NULL), NULL);
	return E_IO;
}

/* The words are those of the settings table. */
static unsigned
security_flags(const struct conf_list *options)
{
	static const struct {
		const char *word;
		unsigned bit;
	} known[] = {
		{"noplaintext", SASL_SEC_NOPLAINTEXT},
		{"noanonymous", SASL_SEC_NOANONYMOUS},
		{"noactive", SASL_SEC_NOACTIVE},
		{"nodictionary", SASL_SEC_NODICTIONARY},
		{"forward_secrecy", SASL_SEC_FORWARD_SECRECY},
		{"mutual_auth", SASL_SEC_MUTUAL_AUTH},
	};
	unsigned bits = 0;
	size_t k;

	for (k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
		if (conf_list_has(options, str_of(known[k].word)))
			bits |= known[k].bit;
	}
	return bits;
}

/* "user:password"; the first colon separates. E_PARSE. */
static enum err
take_account(struct login *l, const char *account)
{
	const char *colon = strchr(account, ':');
	size_t len;

	if (colon == NULL || colon == account)
		return E_PARSE;
	len = strlen(colon + 1);
	l->user = str_dup(str_make(account, (size_t)(colon - account)));
	l->secret = mem_zalloc(sizeof(*l->secret) + len + 1);
	l->secret->len = len;
	memcpy(l->secret->data, colon + 1, len);
	return OK;
}

/* The mechanisms to choose from. */
static void
offered(const char *server, const struct conf_list *allowed, struct buf *out)
{
	struct str rest = str_of(server);

	while (rest.p) {
		struct str word = str_split(&rest, ' ');
		int take = allowed->count == 0 || conf_list_has(allowed, word);

		if (word.len > 0 && take) {
			if (out->len > 0)
				buf_add_char(out, ' ');
			buf_add_str(out, word);
		}
	}
}

static enum err
refuse(struct login *l, const char *dsn, const char *what, const char *detail)
{
	smtp_answer_set(l->why, QUEUE_PENDING, dsn, "log-in at the server failed: %s%s%s", what,
		detail ? ": " : "", detail ? detail : "");
	return E_ACCESS;
}

static enum err
encode(const char *bytes, unsigned len, struct buf *out)
{
	unsigned got;
	enum err e = buf_reserve(out, (size_t)len * 4 / 3 + 8);

	if (e == OK && sasl_encode64(bytes ? bytes : "", len, out->p, (unsigned)(len * 4 / 3 + 8),
			       &got) != SASL_OK)
		e = E_TOOBIG;
	if (e == OK)
		out->len = got;
	return e;
}

/* One challenge to its response in base64. */
static enum err
answer_challenge(struct login *l, struct str challenge, int *state, struct buf *response)
{
	char *raw = mem_zalloc(challenge.len + 4);
	const char *out = NULL;
	unsigned raw_len = 0, out_len = 0;
	enum err e = OK;

	challenge = str_trim(challenge);
	if (sasl_decode64(challenge.p, (unsigned)challenge.len, raw, (unsigned)challenge.len + 3,
		    &raw_len) != SASL_OK)
		e = E_PROTO;
	if (e == OK) {
		*state = sasl_client_step(l->conn, raw, raw_len, NULL, &out, &out_len);
		if (*state != SASL_OK && *state != SASL_CONTINUE)
			e = E_ACCESS;
	}
	buf_reset(response);
	if (e == OK)
		e = encode(out, out_len, response);
	free(raw);
	return e;
}

static enum err
exchange(struct login *l, const char *mechanisms)
{
	struct buf response = BUF_INIT(SASL_LINE_MAX);
	const char *out = NULL, *mechanism = NULL;
	unsigned out_len = 0, steps = 0;
	struct str text;
	int code, state;
	enum err e = OK;

	state = sasl_client_start(l->conn, mechanisms, NULL, &out, &out_len, &mechanism);
	if (state != SASL_OK && state != SASL_CONTINUE)
		return refuse(l, "4.7.4", "no mechanism that may be used", mechanisms);
	if (out)
		e = encode(out, out_len, &response);
	if (e == OK)
		e = smtp_client_auth(
			l->client, mechanism, out ? buf_cstr(&response) : NULL, &code, &text);
	while (e == OK && code == 334) {
		if (++steps > SASL_STEPS_MAX)
			e = E_PROTO;
		else
			e = answer_challenge(l, text, &state, &response);
		if (e == OK)
			e = smtp_client_auth_next(l->client, buf_cstr(&response), &code, &text);
	}
	buf_wipe(&response);
	buf_free(&response);
	if (e)
		return refuse(l, "4.7.0", "the exchange broke off", mechanism);
	if (code / 100 != 2) {
		struct smtp_answer said = {0};

		smtp_client_last_answer(l->client, "AUTH", &said);
		e = refuse(l, "4.7.8", mechanism, said.text);
		smtp_answer_free(&said);
		return e;
	}
	/* A server that says yes before it has proved who it is proves nothing. */
	return state == SASL_OK
		       ? OK
		       : refuse(l, "4.7.0", "the server cut the exchange short", mechanism);
}

enum err
smtp_sasl_login(struct smtp_client *c, const char *host, const char *account,
	const struct conf_list *options, const struct conf_list *mechanisms,
	struct smtp_answer *why)
{
	struct login l = {.client = c, .why = why};
	sasl_callback_t callbacks[] = {
		{SASL_CB_USER, (int (*)(void))(void (*)(void))get_name, &l},
		{SASL_CB_AUTHNAME, (int (*)(void))(void (*)(void))get_name, &l},
		{SASL_CB_PASS, (int (*)(void))(void (*)(void))get_secret, &l},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	sasl_security_properties_t properties = {.max_ssf = 0, .maxbufsize = 0};
	struct buf names = {0};
	enum err e;

	offered(smtp_client_mechanisms(c), mechanisms, &names);
	e = take_account(&l, account);
	if (e) {
		e = refuse(&l, "4.3.5", "the account is not of the form USER:PASSWORD", NULL);
		goto out;
	}
	properties.security_flags = security_flags(options);
	if (sasl_client_new("smtp", host, NULL, NULL, callbacks, 0, &l.conn) != SASL_OK ||
		sasl_setprop(l.conn, SASL_SEC_PROPS, &properties) != SASL_OK) {
		e = refuse(&l, "4.3.5", "SASL cannot be set up", NULL);
		goto out;
	}
	e = exchange(&l, buf_cstr(&names));
out:
	sasl_dispose(&l.conn);
	if (l.secret) {
		explicit_bzero(l.secret->data, l.secret->len);
		free(l.secret);
	}
	free(l.user);
	buf_free(&names);
	return e;
}
