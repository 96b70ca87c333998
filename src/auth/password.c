/* SPDX-License-Identifier: MIT */
#include "auth/password.h"

#include <stdlib.h>
#include <string.h>

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "lib/io.h"
#include "lib/mem.h"

/* 19 MiB, two passes, one lane: about 20 ms, and eight workers stay below 160 MiB. */
enum { ARGON2_PASSES = 2, ARGON2_KIB = 19 * 1024, ARGON2_LANES = 1 };
enum { ARGON2_SALT_BYTES = 16, ARGON2_HASH_BYTES = 32 };
/* A damaged or hostile row must not take all memory: 1 GiB. */
enum { ARGON2_KIB_MAX = 1024 * 1024 };
enum { BLF_COST = 10 };

struct scheme {
	const char *name;
	enum err (*hash)(const char *password, size_t len, char **out);
	enum err (*verify)(const char *data, const char *password, size_t len);
	const char *bare[4]; /* data that begins so needs no {SCHEME} */
};

static enum err
argon2_make(const char *password, size_t len, char **out)
{
	unsigned char salt[ARGON2_SALT_BYTES];
	size_t size = argon2_encodedlen(ARGON2_PASSES, ARGON2_KIB, ARGON2_LANES, ARGON2_SALT_BYTES,
		ARGON2_HASH_BYTES, Argon2_id);
	char *text = mem_zalloc(size + 1);
	int rc;

	io_random(salt, sizeof(salt));
	rc = argon2id_hash_encoded(ARGON2_PASSES, ARGON2_KIB, ARGON2_LANES, password, len, salt,
		sizeof(salt), ARGON2_HASH_BYTES, text, size);
	if (rc != ARGON2_OK) {
		free(text);
		return E_TEMPFAIL;
	}
	*out = text;
	return OK;
}

/* The m= parameter of an encoded hash, 0 if there is none. */
static uint32_t
argon2_kib(const char *data)
{
	const char *m = strstr(data, "m=");
	uint32_t kib;

	if (!m || str_to_u32(str_make(m + 2, strspn(m + 2, "0123456789")), &kib))
		return 0;
	return kib;
}

static enum err
argon2_check(const char *data, const char *password, size_t len)
{
	uint32_t kib = argon2_kib(data);

	if (kib == 0 || kib > ARGON2_KIB_MAX)
		return E_UNSUPPORTED;
	switch (argon2id_verify(data, password, len)) {
	case ARGON2_OK:
		return OK;
	case ARGON2_VERIFY_MISMATCH:
		return E_AUTH;
	case ARGON2_MEMORY_ALLOCATION_ERROR:
		return E_TEMPFAIL;
	default:
		return E_UNSUPPORTED;
	}
}

static enum err
crypt_make(const char *prefix, unsigned long cost, const char *password, char **out)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], random[32];
	struct crypt_data *data = mem_zalloc(sizeof(*data));
	const char *hash = NULL;

	io_random(random, sizeof(random));
	if (crypt_gensalt_rn(prefix, cost, random, sizeof(random), setting, sizeof(setting)))
		hash = crypt_rn(password, setting, data, sizeof(*data));
	*out = hash ? mem_strdup(hash) : NULL;
	OPENSSL_cleanse(data, sizeof(*data));
	free(data);
	return *out ? OK : E_TEMPFAIL;
}

static enum err
blf_make(const char *password, size_t len, char **out)
{
	return len > PASSWORD_BLF_MAX ? E_TOOBIG : crypt_make("$2y$", BLF_COST, password, out);
}

static enum err
sha512_make(const char *password, size_t len, char **out)
{
	(void)len;
	return crypt_make("$6$", 0, password, out);
}

static enum err
crypt_check(const char *stored, const char *password, size_t len)
{
	struct crypt_data *data = mem_zalloc(sizeof(*data));
	const char *hash = crypt_rn(password, stored, data, sizeof(*data));
	enum err e;

	(void)len;
	if (!hash)
		e = E_UNSUPPORTED;
	else
		e = str_equal_secret(str_of(hash), str_of(stored)) ? OK : E_AUTH;
	OPENSSL_cleanse(data, sizeof(*data));
	free(data);
	return e;
}

static enum err
plain_make(const char *password, size_t len, char **out)
{
	*out = mem_strndup(password, len);
	return OK;
}

/* Digests are compared, so that not even the length of the stored one shows in the time. */
static enum err
plain_check(const char *data, const char *password, size_t len)
{
	unsigned char a[SHA256_DIGEST_LENGTH], b[SHA256_DIGEST_LENGTH];
	enum err e;

	SHA256((const unsigned char *)data, strlen(data), a);
	SHA256((const unsigned char *)password, len, b);
	e = CRYPTO_memcmp(a, b, sizeof(a)) == 0 ? OK : E_AUTH;
	OPENSSL_cleanse(a, sizeof(a));
	OPENSSL_cleanse(b, sizeof(b));
	return e;
}

static const struct scheme schemes[] = {
	{"ARGON2ID", argon2_make, argon2_check, {"$argon2id$"}},
	{"BLF-CRYPT", blf_make, crypt_check, {"$2y$", "$2a$", "$2b$"}},
	{"SHA512-CRYPT", sha512_make, crypt_check, {"$6$"}},
	{"PLAIN", plain_make, plain_check, {NULL}},
};

static const struct scheme *
scheme_named(struct str name)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (str_is_i(name, schemes[i].name))
			return &schemes[i];
	return NULL;
}

static int
is_bare(const struct scheme *s, const char *data)
{
	for (size_t i = 0; i < 4 && s->bare[i]; i++)
		if (strncmp(data, s->bare[i], strlen(s->bare[i])) == 0)
			return 1;
	return s->bare[0] == NULL;
}

/* The scheme of a stored password and where its data begins; NULL when it is none of ours. */
static const struct scheme *
scheme_of(const char *stored, const char **data)
{
	const struct scheme *s = NULL;
	const char *end = strchr(stored, '}');

	if (stored[0] == '{' && end) {
		s = scheme_named(str_make(stored + 1, (size_t)(end - stored - 1)));
		*data = end + 1;
		/* crypt(3) has many schemes; the prefix says which one is meant. */
		return s && is_bare(s, *data) ? s : NULL;
	}
	*data = stored;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (schemes[i].bare[0] && is_bare(&schemes[i], stored))
			return &schemes[i];
	return NULL;
}

int
password_is_known(const char *stored)
{
	const char *data;

	return scheme_of(stored, &data) != NULL;
}

enum err
password_hash(const char *scheme, struct str password, char **out)
{
	const struct scheme *s = scheme_named(str_of(scheme));
	char *text, *data = NULL;
	enum err e;

	*out = NULL;
	if (!s)
		return E_UNSUPPORTED;
	if (password.len > PASSWORD_MAX)
		return E_TOOBIG;
	if (password.len == 0 || str_has_control(password))
		return E_RANGE;
	text = str_dup(password);
	e = s->hash(text, password.len, &data);
	if (!e)
		*out = mem_printf("{%s}%s", s->name, data);
	if (data)
		OPENSSL_cleanse(data, strlen(data));
	OPENSSL_cleanse(text, password.len);
	free(data);
	free(text);
	return e;
}

enum err
password_verify(const char *stored, struct str password)
{
	const char *data;
	const struct scheme *s = scheme_of(stored, &data);
	char *text;
	enum err e;

	if (!s)
		return E_UNSUPPORTED;
	/* A NUL would cut the password short for crypt(3). */
	if (password.len == 0 || password.len > PASSWORD_MAX || memchr(password.p, 0, password.len))
		return E_AUTH;
	text = str_dup(password);
	e = s->verify(data, text, password.len);
	OPENSSL_cleanse(text, password.len);
	free(text);
	return e;
}
