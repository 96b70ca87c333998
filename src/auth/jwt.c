/* SPDX-License-Identifier: MIT */
#include "auth/jwt.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "lib/buf.h"
#include "lib/mem.h"

enum { RSA_BITS_MIN = 2048, SIGNATURE_MAX = 1024, EC_BYTES_MAX = 66, ED25519_BYTES = 32 };

struct jwk {
	EVP_PKEY *key;
	char *kid, *alg; /* NULL: not named */
	const char *curve; /* of EC keys */
};

struct jwks {
	struct jwk keys[JWKS_KEYS_MAX];
	size_t count;
};

/* RFC 7518 section 3.1, RFC 8037 section 3.1. */
static const struct algorithm {
	const char *name;
	int type; /* EVP_PKEY_* */
	const char *digest, *curve;
	int is_pss;
} algorithms[] = {
	{"RS256", EVP_PKEY_RSA, "SHA256", NULL, 0},
	{"RS384", EVP_PKEY_RSA, "SHA384", NULL, 0},
	{"RS512", EVP_PKEY_RSA, "SHA512", NULL, 0},
	{"PS256", EVP_PKEY_RSA, "SHA256", NULL, 1},
	{"PS384", EVP_PKEY_RSA, "SHA384", NULL, 1},
	{"PS512", EVP_PKEY_RSA, "SHA512", NULL, 1},
	{"ES256", EVP_PKEY_EC, "SHA256", "P-256", 0},
	{"ES384", EVP_PKEY_EC, "SHA384", "P-384", 0},
	{"ES512", EVP_PKEY_EC, "SHA512", "P-521", 0},
	{"EdDSA", EVP_PKEY_ED25519, NULL, NULL, 0},
};

static const struct curve {
	const char *name;
	size_t bytes;
} curves[] = {{"P-256", 32}, {"P-384", 48}, {"P-521", EC_BYTES_MAX}};

/* ---- base64url without padding (RFC 7515 section 2) ---- */

static int
digit_of(char c)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Appends the bytes. E_PARSE: other characters, or bits that belong to no byte. */
static enum err
base64url_decode(struct str text, struct buf *out)
{
	uint32_t bits = 0;
	unsigned have = 0;

	if (text.len % 4 == 1)
		return E_PARSE;
	for (size_t i = 0; i < text.len; i++) {
		int digit = digit_of(text.p[i]);

		if (digit < 0)
			return E_PARSE;
		bits = (bits << 6 | (uint32_t)digit) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			if (buf_add_char(out, (char)(bits >> have & 0xff)))
				return E_TOOBIG;
		}
	}
	return bits & ((1u << have) - 1) ? E_PARSE : OK;
}

/* A member of a key in base64url. E_PARSE: missing or malformed. */
static enum err
member_bytes(const json_t *o, const char *name, struct buf *out)
{
	const char *text = json_string_value(json_object_get(o, name));

	buf_reset(out);
	return text && *text ? base64url_decode(str_of(text), out) : E_PARSE;
}

/* ---- keys ---- */

static EVP_PKEY *
key_of_params(const char *type, OSSL_PARAM_BLD *build)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *
rsa_key(const json_t *o)
{
	struct buf n = BUF_INIT(4096), e = BUF_INIT(64);
	BIGNUM *bn = NULL, *be = NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;

	if (build && !member_bytes(o, "n", &n) && !member_bytes(o, "e", &e)) {
		bn = BN_bin2bn((unsigned char *)n.p, (int)n.len, NULL);
		be = BN_bin2bn((unsigned char *)e.p, (int)e.len, NULL);
	}
	if (bn && be && BN_num_bits(bn) >= RSA_BITS_MIN &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn) &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, be))
		key = key_of_params("RSA", build);
	OSSL_PARAM_BLD_free(build);
	BN_free(bn);
	BN_free(be);
	buf_free(&n);
	buf_free(&e);
	return key;
}

/* The point is checked to be on the curve. */
static EVP_PKEY *
ec_key(const json_t *o, const struct curve *curve)
{
	struct buf x = BUF_INIT(EC_BYTES_MAX), y = BUF_INIT(EC_BYTES_MAX), point = {0};
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *check = NULL;

	if (build && !member_bytes(o, "x", &x) && !member_bytes(o, "y", &y) &&
		x.len == curve->bytes && y.len == curve->bytes) {
		(void)buf_add_char(&point, 4); /* uncompressed */
		(void)buf_add_str(&point, buf_str(&x));
		(void)buf_add_str(&point, buf_str(&y));
		if (OSSL_PARAM_BLD_push_utf8_string(
			    build, OSSL_PKEY_PARAM_GROUP_NAME, curve->name, 0) &&
			OSSL_PARAM_BLD_push_octet_string(
				build, OSSL_PKEY_PARAM_PUB_KEY, point.p, point.len))
			key = key_of_params("EC", build);
	}
	if (key)
		check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (key && (!check || EVP_PKEY_public_check(check) != 1)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	EVP_PKEY_CTX_free(check);
	OSSL_PARAM_BLD_free(build);
	buf_free(&x);
	buf_free(&y);
	buf_free(&point);
	return key;
}

static EVP_PKEY *
ed25519_key(const json_t *o)
{
	struct buf x = BUF_INIT(ED25519_BYTES);
	EVP_PKEY *key = NULL;

	if (!member_bytes(o, "x", &x) && x.len == ED25519_BYTES)
		key = EVP_PKEY_new_raw_public_key(
			EVP_PKEY_ED25519, NULL, (unsigned char *)x.p, x.len);
	buf_free(&x);
	return key;
}

static const struct curve *
curve_named(const char *name)
{
	for (size_t i = 0; name && i < sizeof(curves) / sizeof(curves[0]); i++)
		if (strcmp(curves[i].name, name) == 0)
			return &curves[i];
	return NULL;
}

static void
key_add(struct jwks *set, const json_t *o)
{
	const char *kty = json_string_value(json_object_get(o, "kty"));
	const char *use = json_string_value(json_object_get(o, "use"));
	const char *kid = json_string_value(json_object_get(o, "kid"));
	const char *alg = json_string_value(json_object_get(o, "alg"));
	const char *crv = json_string_value(json_object_get(o, "crv"));
	const struct curve *curve = curve_named(crv);
	struct jwk *k = &set->keys[set->count];

	if (!kty || (use && strcmp(use, "sig") != 0) || set->count == JWKS_KEYS_MAX)
		return;
	k->curve = NULL;
	if (strcmp(kty, "RSA") == 0) {
		k->key = rsa_key(o);
	} else if (strcmp(kty, "EC") == 0 && curve) {
		k->key = ec_key(o, curve);
		k->curve = curve->name;
	} else if (strcmp(kty, "OKP") == 0 && crv && strcmp(crv, "Ed25519") == 0) {
		k->key = ed25519_key(o);
	}
	ERR_clear_error();
	if (!k->key)
		return;
	k->kid = kid ? mem_strdup(kid) : NULL;
	k->alg = alg ? mem_strdup(alg) : NULL;
	set->count++;
}

enum err
jwks_parse(struct str json, struct jwks **out, const char **why)
{
	json_t *root = json.len <= JWKS_MAX
			       ? json_loadb(json.p, json.len, JSON_REJECT_DUPLICATES, NULL)
			       : NULL;
	const json_t *keys = json_object_get(root, "keys");
	struct jwks *set = MEM_NEW(struct jwks);
	size_t i;

	*out = NULL;
	for (i = 0; i < json_array_size(keys); i++)
		key_add(set, json_array_get(keys, i));
	*why = !json_is_array(keys)
		       ? "it is no JWK set: an object with the list \"keys\""
		       : "no key in it can check a signature: RSA of 2048 bits or more, "
			 "EC or Ed25519";
	json_decref(root);
	if (set->count == 0) {
		jwks_free(&set);
		return E_PARSE;
	}
	*out = set;
	return OK;
}

void
jwks_free(struct jwks **set)
{
	if (!*set)
		return;
	for (size_t i = 0; i < (*set)->count; i++) {
		EVP_PKEY_free((*set)->keys[i].key);
		free((*set)->keys[i].kid);
		free((*set)->keys[i].alg);
	}
	MEM_FREE(*set);
}

size_t
jwks_count(const struct jwks *set)
{
	return set->count;
}

/* ---- signatures ---- */

/* RFC 7518 section 3.4 has two numbers side by side where OpenSSL wants DER. 0: malformed. */
static int
ec_signature_der(struct str raw, size_t half, unsigned char *out, size_t *len)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r, *s;
	unsigned char *end = out;
	int n = 0;

	if (raw.len == 2 * half && sig) {
		r = BN_bin2bn((const unsigned char *)raw.p, (int)half, NULL);
		s = BN_bin2bn((const unsigned char *)raw.p + half, (int)half, NULL);
		if (r && s && ECDSA_SIG_set0(sig, r, s)) {
			n = i2d_ECDSA_SIG(sig, NULL);
			n = n > 0 && n <= SIGNATURE_MAX ? i2d_ECDSA_SIG(sig, &end) : 0;
		} else {
			BN_free(r);
			BN_free(s);
		}
	}
	ECDSA_SIG_free(sig);
	*len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static int
is_signed(const struct algorithm *a, const struct jwk *k, struct str text, struct str signature)
{
	unsigned char der[SIGNATURE_MAX];
	const unsigned char *sig = (const unsigned char *)signature.p;
	size_t len = signature.len;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	int ok;

	if (a->curve) {
		if (!ec_signature_der(signature, curve_named(a->curve)->bytes, der, &len))
			len = 0;
		sig = der;
	}
	ok = ctx && len > 0 &&
	     EVP_DigestVerifyInit_ex(ctx, &pctx, a->digest, NULL, NULL, k->key, NULL) == 1;
	if (ok && a->is_pss)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0;
	ok = ok && EVP_DigestVerify(ctx, sig, len, (const unsigned char *)text.p, text.len) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

/* ---- tokens ---- */

struct parts {
	struct str text; /* what is signed */
	struct str header, payload, signature; /* in base64url */
};

static int
split(struct str token, struct parts *out)
{
	struct str rest = token;

	if (token.len == 0 || token.len > JWT_MAX)
		return 0;
	out->header = str_split(&rest, '.');
	out->payload = str_split(&rest, '.');
	out->signature = rest;
	if (!rest.p || !out->header.len || !out->payload.len || !rest.len ||
		memchr(rest.p, '.', rest.len))
		return 0;
	out->text = str_make(token.p, token.len - rest.len - 1);
	return 1;
}

int
jwt_is_one(struct str token)
{
	struct parts parts;

	return split(token, &parts);
}

/* An object in base64url; NULL. */
static json_t *
part_object(struct str part)
{
	struct buf text = BUF_INIT(JWT_MAX);
	json_t *o = NULL;

	if (!base64url_decode(part, &text))
		o = json_loadb(buf_cstr(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
	buf_free(&text);
	if (!json_is_object(o)) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

static const struct algorithm *
algorithm_named(const char *name)
{
	for (size_t i = 0; name && i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

static int
fits(const struct jwk *k, const struct algorithm *a, const char *kid)
{
	return EVP_PKEY_get_base_id(k->key) == a->type &&
	       (!a->curve || strcmp(a->curve, k->curve) == 0) &&
	       (!k->alg || strcmp(k->alg, a->name) == 0) &&
	       (!kid || (k->kid && strcmp(k->kid, kid) == 0));
}

/* The key that signed it; NULL with *reason. */
static const struct jwk *
find_signer(const struct jwks *set, const struct parts *parts, const json_t *header,
	const char **reason)
{
	const struct algorithm *a =
		algorithm_named(json_string_value(json_object_get(header, "alg")));
	const json_t *kid = json_object_get(header, "kid");
	struct buf signature = BUF_INIT(SIGNATURE_MAX);
	const struct jwk *found = NULL;

	*reason = "algorithm";
	/* RFC 7515 section 4.1.11: what we do not know must be understood. */
	if (!a || json_object_get(header, "crit"))
		return NULL;
	*reason = "token";
	if ((kid && !json_is_string(kid)) || base64url_decode(parts->signature, &signature))
		goto out;
	*reason = "key";
	for (size_t i = 0; i < set->count && !found; i++) {
		if (!fits(&set->keys[i], a, json_string_value(kid)))
			continue;
		*reason = "signature";
		if (is_signed(a, &set->keys[i], parts->text, buf_str(&signature)))
			found = &set->keys[i];
	}
out:
	buf_free(&signature);
	return found;
}

enum err
jwt_verify(const struct jwks *set, struct str token, json_t **claims, const char **reason)
{
	struct parts parts;
	json_t *header = NULL;
	enum err e = E_AUTH;

	*claims = NULL;
	*reason = "token";
	if (split(token, &parts))
		header = part_object(parts.header);
	if (header && find_signer(set, &parts, header, reason)) {
		*reason = "token";
		*claims = part_object(parts.payload);
		if (*claims)
			e = OK;
	}
	json_decref(header);
	return e;
}
