/* SPDX-License-Identifier: MIT */
/* Tokens, key sets and the messages that carry tokens. */
#include "auth/jwt.h"
#include "auth/own_mechanism.h"

#include <stdint.h>

#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char keys[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
			   "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_make((const char *)data, size);
	static struct jwks *known;
	struct jwks *set;
	struct oauth_message m;
	const char *text;
	json_t *claims;

	if (!known)
		ROOST_ASSERT(!jwks_parse(str_of(keys), &known, &text));
	if (!jwks_parse(in, &set, &text))
		jwks_free(&set);
	if (!jwt_verify(known, in, &claims, &text))
		json_decref(claims);
	(void)oauthbearer_parse(in, &m);
	(void)xoauth2_parse(in, &m);
	return 0;
}
