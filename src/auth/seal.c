/* SPDX-License-Identifier: MIT */
#include "auth/seal.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "lib/ipc.h"

enum { KEY_BYTES = 32 };

static enum err
key_decode(const char *hex, unsigned char key[KEY_BYTES])
{
	size_t len = 0;

	if (strlen(hex) != 2 * (size_t)KEY_BYTES ||
		OPENSSL_hexstr2buf_ex(key, KEY_BYTES, &len, hex, '\0') != 1 || len != KEY_BYTES)
		return E_RANGE;
	return OK;
}

/* Over the lengths of the three too, so that nothing can move from one into another. */
static enum err
mac_make(const char *key_hex, const char *label, struct str context, struct str body,
	unsigned char mac[SEAL_BYTES])
{
	unsigned char key[KEY_BYTES];
	unsigned len = SEAL_BYTES;
	struct buf text = {0};
	enum err e = key_decode(key_hex, key);

	if (e)
		return e;
	ipc_put_cstr(&text, label);
	ipc_put_str(&text, context);
	ipc_put_str(&text, body);
	if (!HMAC(EVP_sha256(), key, KEY_BYTES, (const unsigned char *)text.p, text.len, mac,
		    &len) ||
		len != SEAL_BYTES)
		e = E_IO;
	OPENSSL_cleanse(key, sizeof(key));
	buf_free(&text);
	return e;
}

enum err
seal_make(const char *key_hex, const char *label, struct str context, struct str body,
	struct buf *out)
{
	unsigned char mac[SEAL_BYTES];
	enum err e = mac_make(key_hex, label, context, body, mac);

	if (e)
		return e;
	(void)buf_add(out, mac, sizeof(mac));
	return buf_add_str(out, body);
}

enum err
seal_open(const char *key_hex, const char *label, struct str context, struct str sealed,
	struct str *body)
{
	unsigned char mac[SEAL_BYTES];
	enum err e;

	*body = (struct str){0};
	if (sealed.len < SEAL_BYTES)
		return E_AUTH;
	sealed.p += SEAL_BYTES;
	sealed.len -= SEAL_BYTES;
	e = mac_make(key_hex, label, context, sealed, mac);
	if (e)
		return e;
	if (CRYPTO_memcmp(mac, sealed.p - SEAL_BYTES, SEAL_BYTES) != 0)
		return E_AUTH;
	*body = sealed;
	return OK;
}
