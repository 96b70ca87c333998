/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "auth/saslprep.h"

#include <openssl/crypto.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>

#include "lib/log.h"

/* Normalization form KC makes 18 characters of one at most. */
enum { UNITS_MAX = 18 * SASLPREP_MAX, BYTES_MAX = 3 * UNITS_MAX };

static UStringPrepProfile *profile;

static int
is_plain_ascii(struct str text)
{
	return str_is_ascii(text) && !str_has_control(text);
}

static enum err
prepare(struct str text, int32_t options, struct buf *out)
{
	UChar from[SASLPREP_MAX], to[UNITS_MAX];
	char bytes[BYTES_MAX];
	int32_t from_len, to_len = 0, len = 0;
	UErrorCode status = U_ZERO_ERROR;
	UParseError where;

	u_strFromUTF8(from, SASLPREP_MAX, &from_len, text.p, (int32_t)text.len, &status);
	if (U_SUCCESS(status))
		to_len = usprep_prepare(
			profile, from, from_len, to, UNITS_MAX, options, &where, &status);
	if (U_SUCCESS(status))
		u_strToUTF8(bytes, BYTES_MAX, &len, to, to_len, &status);
	if (U_SUCCESS(status))
		buf_add(out, bytes, (size_t)len);
	OPENSSL_cleanse(from, sizeof(from));
	OPENSSL_cleanse(to, sizeof(to));
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return U_SUCCESS(status) && len > 0 ? OK : E_PARSE;
}

static enum err
warm_up(void)
{
	struct buf out = {0};
	enum err e = prepare(STR("\xc2\xaa"), USPREP_DEFAULT, &out);

	buf_free(&out);
	return e;
}

enum err
saslprep_init(void)
{
	UErrorCode status = U_ZERO_ERROR;

	if (!profile)
		profile = usprep_openByType(USPREP_RFC4013_SASLPREP, &status);
	/* Also what is loaded at the first use only. */
	if (U_SUCCESS(status) && warm_up() == OK)
		return OK;
	log_event(LOGL_ERROR, "auth.saslprep failed", "reason", u_errorName(status), NULL);
	return E_TEMPFAIL;
}

enum err
saslprep(struct str text, enum saslprep_use use, struct buf *out)
{
	if (text.len > SASLPREP_MAX)
		return E_TOOBIG;
	if (text.len && is_plain_ascii(text)) {
		buf_add_str(out, text);
		return OK;
	}
	if (!profile || !str_is_utf8(text))
		return E_PARSE;
	return prepare(text, use == SASLPREP_QUERY ? USPREP_ALLOW_UNASSIGNED : USPREP_DEFAULT, out);
}
