/* SPDX-License-Identifier: MIT */
#include "auth/password_scheme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>

#include "auth/password.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "lib/str.h"

/* 19 MiB, two passes, one lane: about 20 ms, and eight workers stay below 160 MiB. */
enum { ARGON2_PASSES = 2, ARGON2_KIB = 19 * 1024, ARGON2_LANES = 1 };
enum { ARGON2_SALT_BYTES = 16, ARGON2_HASH_BYTES = 32 };
/* A damaged or hostile row must not take all memory: 1 GiB. */
enum { ARGON2_KIB_MAX = 1024 * 1024 };
enum { BLF_COST = 10 };

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
	case ARGON2_THREAD_FAIL:
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
sha256_make(const char *password, size_t len, char **out)
{
	(void)len;
	return crypt_make("$5$", 0, password, out);
}

static enum err
yescrypt_make(const char *password, size_t len, char **out)
{
	(void)len;
	return crypt_make("$y$", 0, password, out);
}

static enum err
md5_make(const char *password, size_t len, char **out)
{
	(void)len;
	return crypt_make("$1$", 0, password, out);
}

static enum err
crypt_check(const char *stored, const char *password, size_t len)
{
	struct crypt_data *data = mem_zalloc(sizeof(*data));
	const char *hash;
	enum err e;

	(void)len;
	errno = 0;
	hash = crypt_rn(password, stored, data, sizeof(*data));
	if (!hash)
		e = errno == ENOMEM ? E_TEMPFAIL : E_UNSUPPORTED;
	else
		e = str_equal_secret(str_of(hash), str_of(stored)) ? OK : E_AUTH;
	OPENSSL_cleanse(data, sizeof(*data));
	free(data);
	return e;
}

const struct password_scheme password_crypt_schemes[] = {
	{"ARGON2ID", argon2_make, argon2_check, {"$argon2id$"}},
	{"BLF-CRYPT", blf_make, crypt_check, {"$2y$", "$2a$", "$2b$"}},
	{"SHA512-CRYPT", sha512_make, crypt_check, {"$6$"}},
	{"SHA256-CRYPT", sha256_make, crypt_check, {"$5$"}},
	{"YESCRYPT", yescrypt_make, crypt_check, {"$y$"}},
	{"MD5-CRYPT", md5_make, crypt_check, {"$1$"}, .weak = 1},
	/* The name that PostfixAdmin and Dovecot have for whatever crypt(3) makes. */
	{"CRYPT", sha512_make, crypt_check, {"$6$", "$5$", "$2y$", "$2a$", "$y$"},
		.prefix_only = 1},
	{"CRYPT", md5_make, crypt_check, {"$1$"}, .prefix_only = 1, .weak = 1},
	{NULL},
};
