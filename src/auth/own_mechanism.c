/* SPDX-License-Identifier: MIT */
#include "auth/own_mechanism.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "auth/saslprep.h"
#include "lib/hex.h"
#include "lib/log.h"
#include "lib/mem.h"

struct own_mechanism {
	const struct own_kind *kind;
	struct sasl_login_handler handler;
	char *certificate_user;
	struct oauth *oauth; /* of the step */
	struct buf challenge;
	int asked; /* the client was told to speak first */
	enum err verdict; /* of a token, while the client reads why */
};

struct own_kind {
	const char *name;
	enum err (*run)(struct own_mechanism *m, struct str in, const char **reason);
	enum err (*parse)(struct str message, struct oauth_message *out);
};

/* ---- who it is, is known ---- */

static enum err
let_in(struct own_mechanism *m, const char *user)
{
	char *stored = NULL;
	enum err e = m->handler.find(m->handler.arg, user, &stored);

	if (stored)
		OPENSSL_cleanse(stored, strlen(stored));
	free(stored);
	return e ? e : m->handler.accept(m->handler.arg, user, 1);
}

/* Whether what a client wants to be is who he is. Nothing: he leaves it to us. */
static int
is_same(struct str wanted, const char *user)
{
	struct addr a, b;

	return wanted.len == 0 || (!addr_parse(wanted, &a) && !addr_parse(str_of(user), &b) &&
					  strcmp(a.text, b.text) == 0);
}

/* ---- EXTERNAL ---- */

/* Never a name that the client gave alone: a certificate without one lets nobody in. */
static enum err
external_run(struct own_mechanism *m, struct str in, const char **reason)
{
	struct addr a;

	if (addr_parse(str_of(m->certificate_user), &a)) {
		*reason = "certificate";
		return E_AUTH;
	}
	if (!is_same(in, a.text)) {
		*reason = "authzid";
		return E_AUTH;
	}
	return let_in(m, a.text);
}

/* ---- OAUTHBEARER, XOAUTH2 ---- */

/* The token of "Bearer TOKEN" (the word in any case). */
static enum err
bearer_of(struct str value, struct str *token)
{
	struct str scheme = str_split(&value, ' ');

	*token = value;
	return value.len > 0 && str_is_i(scheme, "bearer") ? OK : E_PARSE;
}

/* "key=value" pairs, each ended by a ^A, and one more ^A at the end (RFC 7628 section 3.1). */
static enum err
pairs_parse(struct str rest, const char *user_key, struct oauth_message *out)
{
	int has_token = 0;

	while (rest.len > 1) {
		struct str value, key;

		if (!memchr(rest.p, '\1', rest.len))
			return E_PARSE;
		value = str_split(&rest, '\1');
		key = str_split(&value, '=');
		if (!value.p || key.len == 0)
			return E_PARSE;
		if (user_key && str_is(key, user_key)) {
			out->user = value;
		} else if (str_is_i(key, "auth")) {
			if (has_token++ || bearer_of(value, &out->token))
				return E_PARSE;
		}
	}
	return rest.len == 1 && rest.p[0] == '\1' && has_token ? OK : E_PARSE;
}

/* RFC 5801 section 4: "," and "=" in a name are "=2C" and "=3D", which no address of ours needs. */
enum err
oauthbearer_parse(struct str message, struct oauth_message *out)
{
	struct str rest = message, flag = str_split(&rest, ','), authzid = {0};

	memset(out, 0, sizeof(*out));
	/* No channel is bound by it ("p="), and "y" is who thinks that we could not. */
	if (!rest.p || (!str_is(flag, "n") && !str_is(flag, "y")))
		return E_PARSE;
	authzid = str_split(&rest, ',');
	if (!rest.p || rest.len == 0 || rest.p[0] != '\1')
		return E_PARSE;
	if (authzid.len > 0) {
		if (authzid.len < 2 || memcmp(authzid.p, "a=", 2) != 0)
			return E_PARSE;
		out->user = str_make(authzid.p + 2, authzid.len - 2);
	}
	return pairs_parse(str_make(rest.p + 1, rest.len - 1), NULL, out);
}

enum err
xoauth2_parse(struct str message, struct oauth_message *out)
{
	enum err e;

	memset(out, 0, sizeof(*out));
	e = pairs_parse(message, "user", out);
	return !e && out->user.len == 0 ? E_PARSE : e;
}

/* A bad token is told in a challenge, whose answer does not matter, before the end (section 3.2.3).
 */
static enum err
oauth_run(struct own_mechanism *m, struct str in, const char **reason)
{
	struct oauth_message message;
	char user[ADDR_TEXT_SIZE];
	enum err e = m->kind->parse(in, &message);

	if (e)
		return e;
	e = m->oauth ? oauth_check(m->oauth, message.token, user, reason) : E_UNSUPPORTED;
	if (!e && !is_same(message.user, user)) {
		*reason = "authzid";
		e = E_AUTH;
	}
	if (e == E_AUTH) {
		oauth_error_put(m->oauth, m->kind->parse == xoauth2_parse, &m->challenge);
		m->verdict = e;
		return OK;
	}
	return e ? e : let_in(m, user);
}

/* ---- APOP ---- */

static enum err
md5_hex(struct str a, struct str b, char out[33])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) &&
		 EVP_DigestUpdate(ctx, a.p, a.len) && EVP_DigestUpdate(ctx, b.p, b.len) &&
		 EVP_DigestFinal_ex(ctx, digest, NULL);

	EVP_MD_CTX_free(ctx);
	hex_write(digest, ok ? 16 : 0, out);
	return ok ? OK : E_TEMPFAIL;
}

/* Whether digest is that of the stored password, as it is or in the form of SASLprep. */
static enum err
apop_verify(struct str timestamp, const char *plain, struct str digest)
{
	struct buf prepared = {0};
	char one[33], other[33];
	enum err e = md5_hex(timestamp, str_of(plain), one);

	/* RFC 6856 section 2.2: a stored string. */
	if (saslprep(str_of(plain), SASLPREP_STORED, &prepared)) {
		buf_wipe(&prepared);
		buf_add_cstr(&prepared, plain);
	}
	e = e ? e : md5_hex(timestamp, buf_str(&prepared), other);
	if (!e)
		e = str_equal_secret(str_of(one), digest) | str_equal_secret(str_of(other), digest)
			    ? OK
			    : E_AUTH;
	OPENSSL_cleanse(one, sizeof(one));
	OPENSSL_cleanse(other, sizeof(other));
	buf_wipe(&prepared);
	buf_free(&prepared);
	return e;
}

/* Needs the password itself; whoever has none stored is answered as if it were wrong. */
static enum err
apop_run(struct own_mechanism *m, struct str in, const char **reason)
{
	static const char scheme[] = "{PLAIN}";
	struct str rest = in, name = str_split(&rest, '\0'), timestamp = str_split(&rest, '\0');
	char *user, *stored = NULL;
	int has_secret;
	enum err e, verdict;

	if (!rest.p || timestamp.len == 0)
		return E_PARSE;
	user = str_dup(name);
	e = m->handler.find(m->handler.arg, user, &stored);
	has_secret = stored && str_starts_i(str_of(stored), scheme);
	verdict = apop_verify(timestamp, has_secret ? stored + sizeof(scheme) - 1 : "?", rest);
	e = e ? e : verdict;
	if (e == E_AUTH) {
		/* The handler's own reason, "user", says more. */
		*reason = !stored ? "user" : has_secret ? "password" : "scheme";
	}
	if (!e)
		e = m->handler.accept(m->handler.arg, user, has_secret);
	if (stored)
		OPENSSL_cleanse(stored, strlen(stored));
	free(stored);
	free(user);
	return e;
}

/* ---- all of them ---- */

static const struct own_kind kinds[] = {
	{"EXTERNAL", external_run, NULL},
	{"OAUTHBEARER", oauth_run, oauthbearer_parse},
	{"XOAUTH2", oauth_run, xoauth2_parse},
	{"APOP", apop_run, NULL},
};

struct own_mechanism *
own_mechanism_create(
	const char *name, const char *certificate_user, const struct sasl_login_handler *handler)
{
	struct own_mechanism *m = MEM_NEW(struct own_mechanism);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			m->kind = &kinds[i];
	ROOST_ASSERT(m->kind);
	m->handler = *handler;
	m->certificate_user = mem_strdup(certificate_user);
	return m;
}

void
own_mechanism_free(struct own_mechanism **m)
{
	if (!*m)
		return;
	free((*m)->certificate_user);
	buf_free(&(*m)->challenge);
	MEM_FREE(*m);
}

enum err
own_mechanism_step(struct own_mechanism *m, struct oauth *oauth, struct str in, struct str *out,
	int *done, const char **reason)
{
	enum err e;

	*out = str_make("", 0);
	*done = 0;
	if (m->verdict)
		return m->verdict;
	/* All of them begin with the client. */
	if (!in.p) {
		e = m->asked ? E_PARSE : OK;
		m->asked = 1;
		return e;
	}
	m->oauth = oauth;
	e = m->kind->run(m, in, reason);
	if (!e && m->verdict)
		*out = buf_str(&m->challenge);
	else if (!e)
		*done = 1;
	return e;
}
