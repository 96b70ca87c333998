/* SPDX-License-Identifier: MIT */
#include "auth/password_scram.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/password_scheme.h"
#include "lib/io.h"
#include "lib/mem.h"

/* RFC 7677 section 4 asks for at least 4096, and for more when it can be. */
enum { ITERATIONS = 15000, SALT_BYTES = 16 };

static const EVP_MD *
digest_of(enum scram_hash hash)
{
	return hash == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

enum err
scram_secret_derive(enum scram_hash hash, struct str password, uint32_t iterations,
	const unsigned char *salt, size_t salt_len, struct scram_secret *out)
{
	const EVP_MD *md = digest_of(hash);
	unsigned char salted[EVP_MAX_MD_SIZE], client[EVP_MAX_MD_SIZE];
	int len = EVP_MD_get_size(md), ok;

	memset(out, 0, sizeof(*out));
	if (salt_len > sizeof(out->salt) || iterations > SCRAM_ITERATIONS_MAX)
		return E_UNSUPPORTED;
	out->hash = hash;
	out->iterations = iterations;
	memcpy(out->salt, salt, salt_len);
	out->salt_len = salt_len;
	out->key_len = (size_t)len;
	ok = PKCS5_PBKDF2_HMAC(password.p, (int)password.len, salt, (int)salt_len, (int)iterations,
		     md, len, salted) == 1 &&
	     HMAC(md, salted, len, (const unsigned char *)"Client Key", 10, client, NULL) &&
	     EVP_Digest(client, (size_t)len, out->stored_key, NULL, md, NULL) == 1 &&
	     HMAC(md, salted, len, (const unsigned char *)"Server Key", 10, out->server_key, NULL);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client, sizeof(client));
	return ok ? OK : E_TEMPFAIL;
}

enum err
scram_secret_parse(enum scram_hash hash, const char *data, struct scram_secret *out)
{
	struct str rest = str_of(data), iterations = str_split(&rest, ','),
		   salt = str_split(&rest, ','), stored = str_split(&rest, ',');

	memset(out, 0, sizeof(*out));
	out->hash = hash;
	out->key_len = (size_t)EVP_MD_get_size(digest_of(hash));
	if (str_to_u32(iterations, &out->iterations) || out->iterations == 0 ||
		out->iterations > SCRAM_ITERATIONS_MAX || !rest.p)
		return E_UNSUPPORTED;
	out->salt_len = password_base64_decode(salt.p, salt.len, out->salt, sizeof(out->salt));
	if (!out->salt_len ||
		password_base64_decode(stored.p, stored.len, out->stored_key,
			sizeof(out->stored_key)) != out->key_len ||
		password_base64_decode(
			rest.p, rest.len, out->server_key, sizeof(out->server_key)) != out->key_len)
		return E_UNSUPPORTED;
	return OK;
}

void
scram_secret_wipe(struct scram_secret *s)
{
	OPENSSL_cleanse(s, sizeof(*s));
}

static enum err
make(enum scram_hash hash, const char *password, size_t len, char **out)
{
	unsigned char salt[SALT_BYTES];
	char salt_text[4 * ((SALT_BYTES + 2) / 3) + 1];
	char stored[4 * ((SCRAM_KEY_MAX + 2) / 3) + 1], server[sizeof(stored)];
	struct scram_secret s;
	enum err e;

	io_random(salt, sizeof(salt));
	e = scram_secret_derive(hash, str_make(password, len), ITERATIONS, salt, sizeof(salt), &s);
	if (!e) {
		password_base64_encode(salt, sizeof(salt), salt_text);
		password_base64_encode(s.stored_key, s.key_len, stored);
		password_base64_encode(s.server_key, s.key_len, server);
		*out = mem_printf("%d,%s,%s,%s", ITERATIONS, salt_text, stored, server);
	}
	scram_secret_wipe(&s);
	return e;
}

static enum err
check(enum scram_hash hash, const char *data, const char *password, size_t len)
{
	struct scram_secret stored, mine;
	enum err e = scram_secret_parse(hash, data, &stored);

	if (!e)
		e = scram_secret_derive(hash, str_make(password, len), stored.iterations,
			stored.salt, stored.salt_len, &mine);
	if (e)
		return e;
	e = CRYPTO_memcmp(stored.stored_key, mine.stored_key, stored.key_len) == 0 ? OK : E_AUTH;
	scram_secret_wipe(&mine);
	return e;
}

static enum err
sha1_make(const char *password, size_t len, char **out)
{
	return make(SCRAM_SHA_1, password, len, out);
}

static enum err
sha1_check(const char *data, const char *password, size_t len)
{
	return check(SCRAM_SHA_1, data, password, len);
}

static enum err
sha256_make(const char *password, size_t len, char **out)
{
	return make(SCRAM_SHA_256, password, len, out);
}

static enum err
sha256_check(const char *data, const char *password, size_t len)
{
	return check(SCRAM_SHA_256, data, password, len);
}

const struct password_scheme password_scram_schemes[] = {
	{"SCRAM-SHA-256", sha256_make, sha256_check},
	{"SCRAM-SHA-1", sha1_make, sha1_check},
	{NULL},
};
