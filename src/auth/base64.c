/* SPDX-License-Identifier: MIT */
#include "auth/base64.h"

#include <limits.h>

#include <openssl/evp.h>

#include "lib/log.h"

static int
is_base64(char c)
{
	return str_is_alnum(c) || c == '+' || c == '/';
}

enum err
sasl_base64_decode(struct str text, struct buf *out)
{
	size_t pad = 0;

	if (text.len % 4 != 0 || text.len > INT_MAX)
		return E_PARSE;
	if (text.len == 0)
		return OK;
	while (pad < 2 && text.p[text.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < text.len - pad; i++)
		if (!is_base64(text.p[i]))
			return E_PARSE;
	enum err e = buf_reserve(out, text.len / 4 * 3);
	if (e)
		return e;
	int n = EVP_DecodeBlock(
		(unsigned char *)out->p + out->len, (const unsigned char *)text.p, (int)text.len);
	if (n < 0 || (size_t)n < pad)
		return E_PARSE;
	out->len += (size_t)n - pad;
	return OK;
}

void
sasl_base64_encode(struct str data, struct buf *out)
{
	ROOST_ASSERT(data.len < INT_MAX / 2);
	/* EVP_EncodeBlock adds a NUL. */
	if (data.len == 0 || buf_reserve(out, (data.len + 2) / 3 * 4 + 1))
		return;
	out->len += (size_t)EVP_EncodeBlock(
		(unsigned char *)out->p + out->len, (const unsigned char *)data.p, (int)data.len);
}
