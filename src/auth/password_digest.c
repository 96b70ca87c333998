/* SPDX-License-Identifier: MIT */
/* CRAM-MD5's stored form is the state of MD5 in the middle of its work; OpenSSL has no other way to
   it than the old interface. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "auth/password_scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/md5.h>
#include <openssl/sha.h>

#include "lib/hex.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "lib/str.h"

/* ---- base64 ---- */

void
password_base64_encode(const unsigned char *p, size_t len, char *out)
{
	EVP_EncodeBlock((unsigned char *)out, p, (int)len);
}

size_t
password_base64_decode(const char *text, size_t len, unsigned char *out, size_t max)
{
	unsigned char raw[1024];
	size_t pad = 0;
	int n;

	if (len == 0 || len % 4 || len / 4 * 3 > sizeof(raw))
		return 0;
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	n = EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len);
	if (n <= (int)pad || (size_t)n - pad > max)
		return 0;
	memcpy(out, raw, (size_t)n - pad);
	OPENSSL_cleanse(raw, sizeof(raw));
	return (size_t)n - pad;
}

/* ---- plain text ---- */

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

/* ---- salted digests: base64 of digest(password, salt) and salt (RFC 2307's {SSHA}) ---- */

enum { SALT_BYTES = 8, SALT_MAX = 64 };

static int
salted(const EVP_MD *md, const char *password, size_t len, const unsigned char *salt,
	size_t salt_len, unsigned char *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestInit_ex(ctx, md, NULL) && EVP_DigestUpdate(ctx, password, len) &&
		 EVP_DigestUpdate(ctx, salt, salt_len) && EVP_DigestFinal_ex(ctx, out, NULL);

	EVP_MD_CTX_free(ctx);
	return ok;
}

static enum err
salted_make(const EVP_MD *md, const char *password, size_t len, char **out)
{
	unsigned char bytes[EVP_MAX_MD_SIZE + SALT_BYTES];
	size_t size = (size_t)EVP_MD_get_size(md);

	io_random(bytes + size, SALT_BYTES);
	if (!salted(md, password, len, bytes + size, SALT_BYTES, bytes))
		return E_TEMPFAIL;
	*out = mem_alloc(4 * ((size + SALT_BYTES + 2) / 3) + 1);
	password_base64_encode(bytes, size + SALT_BYTES, *out);
	return OK;
}

static enum err
salted_check(const EVP_MD *md, const char *data, const char *password, size_t len)
{
	unsigned char bytes[EVP_MAX_MD_SIZE + SALT_MAX], mine[EVP_MAX_MD_SIZE];
	size_t size = (size_t)EVP_MD_get_size(md);
	size_t n = password_base64_decode(data, strlen(data), bytes, sizeof(bytes));
	enum err e;

	/* Without a salt it would be the plain digest under a better name. */
	if (n <= size)
		return E_UNSUPPORTED;
	if (!salted(md, password, len, bytes + size, n - size, mine))
		return E_TEMPFAIL;
	e = CRYPTO_memcmp(mine, bytes, size) == 0 ? OK : E_AUTH;
	OPENSSL_cleanse(mine, sizeof(mine));
	return e;
}

#define SALTED(name, md)                                                                           \
	static enum err name##_make(const char *password, size_t len, char **out)                  \
	{                                                                                          \
		return salted_make(md, password, len, out);                                        \
	}                                                                                          \
	static enum err name##_check(const char *data, const char *password, size_t len)           \
	{                                                                                          \
		return salted_check(md, data, password, len);                                      \
	}
SALTED(ssha, EVP_sha1())
SALTED(ssha256, EVP_sha256())
SALTED(ssha512, EVP_sha512())

/* ---- PBKDF2 as Dovecot writes it: "$1$salt$rounds$hex", HMAC-SHA-1, 20 bytes ---- */

enum { PBKDF2_ROUNDS = 100000, PBKDF2_ROUNDS_MAX = 10000000, PBKDF2_SALT = 16 };

static int
pbkdf2(const char *password, size_t len, struct str salt, uint32_t rounds, char *hex)
{
	unsigned char key[SHA_DIGEST_LENGTH];

	if (PKCS5_PBKDF2_HMAC(password, (int)len, (const unsigned char *)salt.p, (int)salt.len,
		    (int)rounds, EVP_sha1(), sizeof(key), key) != 1)
		return 0;
	hex_write(key, sizeof(key), hex);
	return 1;
}

static enum err
pbkdf2_make(const char *password, size_t len, char **out)
{
	char salt[2 * PBKDF2_SALT + 1], hex[2 * SHA_DIGEST_LENGTH + 1];

	io_random_hex(salt, PBKDF2_SALT);
	if (!pbkdf2(password, len, str_of(salt), PBKDF2_ROUNDS, hex))
		return E_TEMPFAIL;
	*out = mem_printf("$1$%s$%d$%s", salt, PBKDF2_ROUNDS, hex);
	return OK;
}

static enum err
pbkdf2_check(const char *data, const char *password, size_t len)
{
	struct str rest = str_of(data), empty = str_split(&rest, '$'), version, salt, count;
	char hex[2 * SHA_DIGEST_LENGTH + 1];
	uint32_t rounds;

	version = str_split(&rest, '$');
	salt = str_split(&rest, '$');
	count = str_split(&rest, '$');
	if (empty.len || !str_is(version, "1") || !salt.len || str_to_u32(count, &rounds) ||
		rounds == 0 || rounds > PBKDF2_ROUNDS_MAX || rest.len != sizeof(hex) - 1)
		return E_UNSUPPORTED;
	if (!pbkdf2(password, len, salt, rounds, hex))
		return E_TEMPFAIL;
	return str_equal_secret(str_of(hex), rest) ? OK : E_AUTH;
}

/* ---- MD5 ---- */

static enum err
plain_md5_make(const char *password, size_t len, char **out)
{
	unsigned char digest[MD5_DIGEST_LENGTH];

	MD5((const unsigned char *)password, len, digest);
	*out = mem_alloc(2 * sizeof(digest) + 1);
	hex_write(digest, sizeof(digest), *out);
	return OK;
}

/* Stored in hexadecimal of any case. */
static enum err
hex_check(const char *stored, char *mine)
{
	size_t len = strlen(mine);
	char lower[2 * 2 * MD5_DIGEST_LENGTH + 1];
	enum err e = E_UNSUPPORTED;

	if (strlen(stored) == len) {
		for (size_t i = 0; i <= len; i++)
			lower[i] = str_lower(stored[i]);
		e = str_equal_secret(str_of(lower), str_of(mine)) ? OK : E_AUTH;
	}
	OPENSSL_cleanse(mine, len);
	free(mine);
	return e;
}

static enum err
plain_md5_check(const char *data, const char *password, size_t len)
{
	char *mine;
	enum err e = plain_md5_make(password, len, &mine);

	return e ? e : hex_check(data, mine);
}

/* The state of MD5 after the padded key, little-endian. */
static void
hmac_half(const unsigned char key[MD5_CBLOCK], unsigned char pad, char *hex)
{
	unsigned char block[MD5_CBLOCK];
	MD5_CTX ctx;

	for (size_t i = 0; i < MD5_CBLOCK; i++)
		block[i] = key[i] ^ pad;
	MD5_Init(&ctx);
	MD5_Update(&ctx, block, sizeof(block));
	const MD5_LONG state[4] = {ctx.A, ctx.B, ctx.C, ctx.D};
	for (size_t i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned)(state[i / 4] >> 8 * (i % 4) & 0xff));
	OPENSSL_cleanse(&ctx, sizeof(ctx));
	OPENSSL_cleanse(block, sizeof(block));
}

/* Both halves of HMAC-MD5 (RFC 2104 section 4), the outer one first, as Dovecot stores them. */
static enum err
cram_make(const char *password, size_t len, char **out)
{
	unsigned char key[MD5_CBLOCK] = {0};

	if (len > sizeof(key))
		MD5((const unsigned char *)password, len, key);
	else
		memcpy(key, password, len);
	*out = mem_alloc(4 * MD5_DIGEST_LENGTH + 1);
	hmac_half(key, 0x5c, *out);
	hmac_half(key, 0x36, *out + 2 * MD5_DIGEST_LENGTH);
	OPENSSL_cleanse(key, sizeof(key));
	return OK;
}

static enum err
cram_check(const char *data, const char *password, size_t len)
{
	char *mine;
	enum err e = cram_make(password, len, &mine);

	return e ? e : hex_check(data, mine);
}

const struct password_scheme password_digest_schemes[] = {
	{"PLAIN", plain_make, plain_check},
	{"SSHA512", ssha512_make, ssha512_check},
	{"SSHA256", ssha256_make, ssha256_check},
	{"PBKDF2", pbkdf2_make, pbkdf2_check},
	{"SSHA", ssha_make, ssha_check, .weak = 1},
	{"CRAM-MD5", cram_make, cram_check, .weak = 1},
	{"PLAIN-MD5", plain_md5_make, plain_md5_check, .weak = 1},
	{NULL},
};
