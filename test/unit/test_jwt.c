/* SPDX-License-Identifier: MIT */
#include "auth/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include "auth/own_mechanism.h"
#include "lib/buf.h"
#include "lib/mem.h"

/* One key of each kind, and a set of their public halves. */
static struct {
	EVP_PKEY *rsa, *weak, *ec, *ed;
	struct jwks *set;
	char *rsa_public; /* what one who confuses keys would take for a secret */
} fx;

static const char claims[] = "{\"sub\":\"x\",\"exp\":4000000000}";

/* ---- making tokens ---- */

static void
put_base64url(struct buf *out, const void *bytes, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < len ? p[i + 1] << 8 : 0) |
			     (i + 2 < len ? p[i + 2] : 0);

		for (size_t k = 0; k < 4 && k <= len - i; k++)
			buf_add_char(out, digits[v >> (18 - 6 * k) & 63]);
	}
}

static void
put_bn(struct buf *out, const EVP_PKEY *key, const char *param)
{
	unsigned char bytes[512];
	BIGNUM *n = NULL;

	assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
	put_base64url(out, bytes, (size_t)BN_bn2bin(n, bytes));
	BN_free(n);
}

static void
put_bn_padded(struct buf *out, const EVP_PKEY *key, const char *param, int len)
{
	unsigned char bytes[66];
	BIGNUM *n = NULL;

	assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
	assert_int_equal(BN_bn2binpad(n, bytes, len), len);
	put_base64url(out, bytes, (size_t)len);
	BN_free(n);
}

static void
put_rsa(struct buf *out, const EVP_PKEY *key, const char *kid)
{
	buf_printf(out, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"use\":\"sig\",\"n\":\"", kid);
	put_bn(out, key, OSSL_PKEY_PARAM_RSA_N);
	buf_add_cstr(out, "\",\"e\":\"");
	put_bn(out, key, OSSL_PKEY_PARAM_RSA_E);
	buf_add_cstr(out, "\"}");
}

static int
setup(void **state)
{
	struct buf json = {0};
	unsigned char raw[32];
	size_t len = sizeof(raw);
	const char *why;

	(void)state;
	fx.rsa = EVP_RSA_gen(2048);
	fx.weak = EVP_RSA_gen(1024);
	fx.ec = EVP_EC_gen("P-256");
	fx.ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	buf_add_cstr(&json, "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"AAAA\"},");
	put_rsa(&json, fx.weak, "weak");
	buf_add_char(&json, ',');
	put_rsa(&json, fx.rsa, "r");
	fx.rsa_public = mem_strdup(buf_cstr(&json));
	buf_add_cstr(&json, ",{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"");
	put_bn_padded(&json, fx.ec, OSSL_PKEY_PARAM_EC_PUB_X, 32);
	buf_add_cstr(&json, "\",\"y\":\"");
	put_bn_padded(&json, fx.ec, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
	buf_add_cstr(&json, "\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"x\":\"");
	assert_int_equal(EVP_PKEY_get_raw_public_key(fx.ed, raw, &len), 1);
	put_base64url(&json, raw, len);
	buf_add_cstr(&json, "\"}]}");
	assert_int_equal(jwks_parse(buf_str(&json), &fx.set, &why), OK);
	assert_int_equal(jwks_count(fx.set), 3);
	buf_free(&json);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(fx.rsa);
	EVP_PKEY_free(fx.weak);
	EVP_PKEY_free(fx.ec);
	EVP_PKEY_free(fx.ed);
	jwks_free(&fx.set);
	free(fx.rsa_public);
	return 0;
}

/* Two numbers side by side instead of DER. */
static size_t
raw_ecdsa(unsigned char *sig, size_t len)
{
	const unsigned char *p = sig;
	ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)len);

	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, 32), 32);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + 32, 32), 32);
	ECDSA_SIG_free(s);
	return 64;
}

static void
put_token(struct buf *out, const char *header, EVP_PKEY *key, const char *digest, int pss)
{
	unsigned char sig[512];
	size_t len = sizeof(sig);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;

	put_base64url(out, header, strlen(header));
	buf_add_char(out, '.');
	put_base64url(out, claims, strlen(claims));
	assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, digest, NULL, NULL, key, NULL), 1);
	if (pss) {
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
	}
	assert_int_equal(EVP_DigestSign(ctx, sig, &len, (unsigned char *)out->p, out->len), 1);
	if (key == fx.ec)
		len = raw_ecdsa(sig, len);
	buf_add_char(out, '.');
	put_base64url(out, sig, len);
	EVP_MD_CTX_free(ctx);
}

/* OK, or the reason. */
static const char *
verdict(struct str token)
{
	const char *reason = NULL;
	json_t *got;
	enum err e = jwt_verify(fx.set, token, &got, &reason);

	assert_true(e == OK || e == E_AUTH);
	if (!e)
		assert_string_equal(json_string_value(json_object_get(got, "sub")), "x");
	else
		assert_null(got);
	json_decref(got);
	return e ? reason : "ok";
}

static void
assert_verdict(const char *header, EVP_PKEY *key, const char *digest, int pss, const char *want)
{
	struct buf token = {0};

	put_token(&token, header, key, digest, pss);
	assert_string_equal(verdict(buf_str(&token)), want);
	buf_free(&token);
}

/* ---- tests ---- */

static void
algorithms(void **state)
{
	(void)state;
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"r\"}", fx.rsa, "SHA256", 0, "ok");
	assert_verdict("{\"alg\":\"RS512\"}", fx.rsa, "SHA512", 0, "ok");
	assert_verdict("{\"alg\":\"PS256\",\"kid\":\"r\"}", fx.rsa, "SHA256", 1, "ok");
	assert_verdict("{\"alg\":\"ES256\",\"kid\":\"e\"}", fx.ec, "SHA256", 0, "ok");
	assert_verdict("{\"alg\":\"EdDSA\"}", fx.ed, NULL, 0, "ok");
}

static void
wrong_keys(void **state)
{
	(void)state;
	/* Another padding, digest, type or curve than the header says. */
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"r\"}", fx.rsa, "SHA256", 1, "signature");
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"r\"}", fx.rsa, "SHA512", 0, "signature");
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"e\"}", fx.rsa, "SHA256", 0, "key");
	assert_verdict("{\"alg\":\"ES384\",\"kid\":\"e\"}", fx.ec, "SHA384", 0, "key");
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"weak\"}", fx.weak, "SHA256", 0, "key");
	assert_verdict("{\"alg\":\"RS256\"}", fx.weak, "SHA256", 0, "signature");
	/* A kid is compared and no path, query or prefix. */
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"../r\"}", fx.rsa, "SHA256", 0, "key");
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"\"}", fx.rsa, "SHA256", 0, "key");
	assert_verdict("{\"alg\":\"RS256\",\"kid\":\"r\\u0000\"}", fx.rsa, "SHA256", 0, "token");
	assert_verdict("{\"alg\":\"RS256\",\"kid\":7}", fx.rsa, "SHA256", 0, "token");
	assert_verdict("{\"alg\":\"none\",\"kid\":\"r\"}", fx.rsa, "SHA256", 0, "algorithm");
	assert_verdict("{\"alg\":\"rs256\",\"kid\":\"r\"}", fx.rsa, "SHA256", 0, "algorithm");
	assert_verdict("{\"kid\":\"r\"}", fx.rsa, "SHA256", 0, "algorithm");
	assert_verdict("{\"alg\":\"RS256\",\"crit\":[\"b64\"]}", fx.rsa, "SHA256", 0, "algorithm");
	assert_verdict("{\"alg\":\"RS256\",\"alg\":\"none\"}", fx.rsa, "SHA256", 0, "token");
}

/* A public key taken for the secret of an HMAC; no signature at all. */
static void
confusion(void **state)
{
	static const char *const headers[] = {"{\"alg\":\"HS256\",\"kid\":\"r\"}",
		"{\"alg\":\"HS256\",\"kid\":\"s\"}", "{\"alg\":\"RS256\",\"kid\":\"r\"}"};
	unsigned char mac[32];

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct buf token = {0};

		put_base64url(&token, headers[i], strlen(headers[i]));
		buf_add_char(&token, '.');
		put_base64url(&token, claims, strlen(claims));
		HMAC(EVP_sha256(), fx.rsa_public, (int)strlen(fx.rsa_public),
			(unsigned char *)token.p, token.len, mac, NULL);
		buf_add_char(&token, '.');
		assert_string_equal(verdict(buf_str(&token)), "token");
		put_base64url(&token, mac, sizeof(mac));
		assert_string_equal(verdict(buf_str(&token)), i < 2 ? "algorithm" : "signature");
		buf_free(&token);
	}
}

/* Every bit of a token counts, and what is cut off or added. */
static void
changed(void **state)
{
	struct buf token = {0};

	(void)state;
	put_token(&token, "{\"alg\":\"ES256\",\"kid\":\"e\"}", fx.ec, "SHA256", 0);
	assert_string_equal(verdict(buf_str(&token)), "ok");
	for (size_t i = 0; i < token.len; i++) {
		char was = token.p[i];

		token.p[i] = was == 'A' ? 'B' : 'A';
		assert_string_not_equal(verdict(buf_str(&token)), "ok");
		token.p[i] = was;
		assert_string_not_equal(verdict(str_make(token.p, i)), "ok");
	}
	buf_add_char(&token, '.');
	assert_string_equal(verdict(buf_str(&token)), "token");
	buf_free(&token);
	assert_string_equal(verdict(STR("")), "token");
	assert_string_equal(verdict(STR("..")), "token");
}

static void
sets(void **state)
{
	static const char *const bad[] = {"", "{}", "[]", "{\"keys\":7}", "{\"keys\":[]}",
		"{\"keys\":[7]}", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
		/* Not on the curve. */
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\","
		"\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct jwks *set;
		const char *why = NULL;

		assert_int_equal(jwks_parse(str_of(bad[i]), &set, &why), E_PARSE);
		assert_null(set);
		assert_non_null(why);
	}
}

/* ---- what clients say ---- */

static void
messages(void **state)
{
	static const struct {
		struct str text;
		int xoauth2;
		enum err want;
		const char *user, *token;
	} rows[] = {
		{STR("n,a=u@x.test,\1host=h\1port=143\1auth=Bearer tok\1\1"), 0, OK, "u@x.test",
			"tok"},
		{STR("n,,\1auth=bearer tok\1\1"), 0, OK, "", "tok"},
		{STR("y,,\1auth=Bearer a=b\1\1"), 0, OK, "", "a=b"},
		{STR("p=tls-exporter,,\1auth=Bearer tok\1\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,,\1auth=Bearer tok\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,,\1auth=Bearer tok"), 0, E_PARSE, NULL, NULL},
		{STR("n,,\1auth=Bearer \1\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,,\1auth=Basic tok\1\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,,\1auth=Bearer a\1auth=Bearer b\1\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,,auth=Bearer tok\1\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,u@x.test,\1auth=Bearer tok\1\1"), 0, E_PARSE, NULL, NULL},
		{STR("n,,\1\1"), 0, E_PARSE, NULL, NULL},
		{STR("\1"), 0, E_PARSE, NULL, NULL},
		{STR(""), 0, E_PARSE, NULL, NULL},
		{STR("user=u@x.test\1auth=Bearer tok\1\1"), 1, OK, "u@x.test", "tok"},
		{STR("user=u@x.test\1auth=Bearer tok\1\1\1"), 1, E_PARSE, NULL, NULL},
		{STR("auth=Bearer tok\1\1"), 1, E_PARSE, NULL, NULL},
		{STR("user=u@x.test\1\1"), 1, E_PARSE, NULL, NULL},
		{STR("=\1\1"), 1, E_PARSE, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oauth_message m;
		enum err e = rows[i].xoauth2 ? xoauth2_parse(rows[i].text, &m)
					     : oauthbearer_parse(rows[i].text, &m);

		if (e != rows[i].want)
			fail_msg("row %zu: %s", i, err_word(e));
		if (!e) {
			assert_true(str_is(m.user, rows[i].user));
			assert_true(str_is(m.token, rows[i].token));
		}
	}
}

/* ---- claims ---- */

static void
claim_rules(void **state)
{
	static const struct {
		const char *json, *want;
	} rows[] = {
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail x\","
		 "\"email\":\"U@x.test\"}",
			"ok"},
		{"{\"iss\":\"i\",\"aud\":[\"b\",\"a\"],\"client_id\":\"c\",\"exp\":1000.5,"
		 "\"scp\":[\"mail\"],\"email\":\"u@x.test\"}",
			"ok"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"scope\":\"mail\",\"email\":\"u@x.test\"}",
			"expired"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":\"1000\",\"scope\":\"mail\","
		 "\"email\":\"u@x.test\"}",
			"expired"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":800,\"scope\":\"mail\","
		 "\"email\":\"u@x.test\"}",
			"expired"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":2000,\"nbf\":1500,"
		 "\"scope\":\"mail\",\"email\":\"u@x.test\"}",
			"expired"},
		{"{\"iss\":\"i/\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail\","
		 "\"email\":\"u@x.test\"}",
			"issuer"},
		{"{\"iss\":\"i\",\"aud\":\"ab\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail\","
		 "\"email\":\"u@x.test\"}",
			"audience"},
		{"{\"iss\":\"i\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail\",\"email\":\"u@x.test\"}",
			"audience"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"../c\",\"client_id\":\"c\",\"exp\":1000,"
		 "\"scope\":\"mail\",\"email\":\"u@x.test\"}",
			"client"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"email\","
		 "\"email\":\"u@x.test\"}",
			"scope"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail\"}",
			"claim"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail\","
		 "\"email\":\"u@x.test\",\"email_verified\":false}",
			"claim"},
		{"{\"iss\":\"i\",\"aud\":\"a\",\"azp\":\"c\",\"exp\":1000,\"scope\":\"mail\","
		 "\"email\":[\"u@x.test\"]}",
			"claim"},
	};
	struct config *conf = conf_defaults("/tmp");
	struct oauth *o;

	(void)state;
	assert_null(oauth_create(conf));
	assert_int_equal(conf_set(conf, "oauth_jwks", "/nowhere", NULL), OK);
	assert_null(oauth_create(conf));
	assert_int_equal(conf_set(conf, "oauth_issuer", "i", NULL), OK);
	assert_int_equal(conf_set(conf, "oauth_audience", "a z", NULL), OK);
	assert_int_equal(conf_set(conf, "oauth_clients", "c", NULL), OK);
	assert_int_equal(conf_set(conf, "oauth_scope", "mail", NULL), OK);
	o = oauth_create(conf);
	assert_non_null(o);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *json = json_loads(rows[i].json, 0, NULL);
		char user[ADDR_TEXT_SIZE];
		const char *reason = "ok";
		enum err e = oauth_check_claims(o, json, 900, user, &reason);

		assert_int_equal(e, strcmp(rows[i].want, "ok") == 0 ? OK : E_AUTH);
		assert_string_equal(reason, rows[i].want);
		if (!e)
			assert_string_equal(user, "u@x.test");
		json_decref(json);
	}
	oauth_free(&o);
	conf_free(&conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(algorithms),
		cmocka_unit_test(wrong_keys),
		cmocka_unit_test(confusion),
		cmocka_unit_test(changed),
		cmocka_unit_test(sets),
		cmocka_unit_test(messages),
		cmocka_unit_test(claim_rules),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
