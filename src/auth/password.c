/* SPDX-License-Identifier: MIT */
#include "auth/password.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth/password_scheme.h"
#include "auth/saslprep.h"
#include "lib/mem.h"

static const struct password_scheme *const families[] = {
	password_crypt_schemes,
	password_digest_schemes,
	password_scram_schemes,
};
enum { FAMILY_COUNT = sizeof(families) / sizeof(families[0]) };

/* By number, from 0, over all families; NULL behind the last. */
static const struct password_scheme *
scheme_at(size_t n)
{
	for (size_t family = 0; family < FAMILY_COUNT; family++)
		for (const struct password_scheme *s = families[family]; s->name; s++)
			if (n-- == 0)
				return s;
	return NULL;
}

static const struct password_scheme *
scheme_named(struct str name)
{
	const struct password_scheme *s;

	for (size_t i = 0; (s = scheme_at(i)) != NULL; i++)
		if (str_is_i(name, s->name))
			return s;
	return NULL;
}

static int
is_bare(const struct password_scheme *s, const char *data)
{
	for (size_t i = 0; i < PASSWORD_BARE_MAX && s->bare[i]; i++)
		if (strncmp(data, s->bare[i], strlen(s->bare[i])) == 0)
			return 1;
	return s->bare[0] == NULL;
}

/* The scheme of a stored password and where its data begins; NULL when it is none of ours. */
static const struct password_scheme *
scheme_of(const char *stored, const char **data)
{
	const struct password_scheme *s = NULL;
	const char *end = strchr(stored, '}');

	if (stored[0] == '{' && end) {
		*data = end + 1;
		/* crypt(3) has many schemes, strong and weak; the data says which one is meant. */
		for (size_t i = 0; (s = scheme_at(i)) != NULL; i++)
			if (str_is_i(str_make(stored + 1, (size_t)(end - stored - 1)), s->name) &&
				is_bare(s, *data))
				return s;
		return NULL;
	}
	*data = stored;
	for (size_t i = 0; (s = scheme_at(i)) != NULL; i++)
		if (s->bare[0] && !s->prefix_only && is_bare(s, stored))
			return s;
	return NULL;
}

int
password_is_known(const char *stored)
{
	const char *data;

	return scheme_of(stored, &data) != NULL;
}

int
password_has_scheme(const char *stored, const char *scheme)
{
	const char *data, *unused;
	const struct password_scheme *s = scheme_of(stored, &data), *bare;

	if (!s)
		return 0;
	/* A password itself may look like a hash. */
	bare = s->bare[0] ? scheme_of(data, &unused) : NULL;
	return str_is_i(str_of(s->name), scheme) || (bare && str_is_i(str_of(bare->name), scheme));
}

int
password_scheme_is_weak(const char *scheme)
{
	const struct password_scheme *s = scheme_named(str_of(scheme));

	return s && s->weak;
}

/* Its form by SASLprep, if it has one that fits; else itself. */
static void
prepare(struct str password, struct buf *out)
{
	if (saslprep(password, SASLPREP_QUERY, out) == OK && out->len <= PASSWORD_MAX)
		return;
	buf_wipe(out);
	buf_add_str(out, password);
}

enum err
password_hash(const char *scheme, struct str password, char **out)
{
	const struct password_scheme *s = scheme_named(str_of(scheme));
	struct buf text = {0};
	char *data = NULL;
	enum err e;

	*out = NULL;
	if (!s)
		return E_UNSUPPORTED;
	if (password.len > PASSWORD_MAX)
		return E_TOOBIG;
	if (password.len == 0 || str_has_control(password))
		return E_RANGE;
	prepare(password, &text);
	e = s->hash(buf_cstr(&text), text.len, &data);
	if (!e)
		*out = mem_printf("{%s}%s", s->name, data);
	if (data)
		OPENSSL_cleanse(data, strlen(data));
	free(data);
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

enum err
password_verify(const char *stored, struct str password, int weak_too)
{
	const char *data;
	const struct password_scheme *s = scheme_of(stored, &data);
	struct buf prepared = {0};
	char *text;
	enum err e;

	if (!s || (s->weak && !weak_too))
		return E_UNSUPPORTED;
	/* A NUL would cut the password short for crypt(3). */
	if (password.len == 0 || password.len > PASSWORD_MAX || memchr(password.p, 0, password.len))
		return E_AUTH;
	text = str_dup(password);
	e = s->verify(data, text, password.len);
	OPENSSL_cleanse(text, password.len);
	free(text);
	/* As it came first: what is stored may be older than the preparing. */
	prepare(password, &prepared);
	if (e == E_AUTH && !str_equal(buf_str(&prepared), password))
		e = s->verify(data, buf_cstr(&prepared), prepared.len);
	buf_wipe(&prepared);
	buf_free(&prepared);
	return e;
}
