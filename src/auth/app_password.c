/* SPDX-License-Identifier: MIT */
#include "auth/app_password.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "auth/access.h"
#include "auth/password.h"
#include "lib/io.h"

/* RFC 4648 section 6, in lower case: 32 of them, none taken for another. */
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

enum { GROUP = 6 };

void
app_password_make(char out[APP_PASSWORD_TEXT])
{
	unsigned char random[APP_PASSWORD_LETTERS];
	size_t n = 0;

	io_random(random, sizeof(random));
	for (size_t i = 0; i < APP_PASSWORD_LETTERS; i++) {
		if (i > 0 && i % GROUP == 0)
			out[n++] = '-';
		out[n++] = alphabet[random[i] % 32];
	}
	out[n] = '\0';
	OPENSSL_cleanse(random, sizeof(random));
}

int
app_password_letters(struct str password, char out[APP_PASSWORD_LETTERS + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < password.len; i++) {
		char c = str_lower(password.p[i]);

		if (c == '-' || c == ' ')
			continue;
		if (n == APP_PASSWORD_LETTERS || c == '\0' || !strchr(alphabet, c))
			return 0;
		out[n++] = c;
	}
	out[n] = '\0';
	return n == APP_PASSWORD_LETTERS;
}

enum err
app_password_hash(const char *letters, char **out)
{
	return password_hash("SSHA256", str_of(letters), out);
}

/* Whether the one of this row, whose secret was given, is good here and now. */
static enum err
judge(const struct db_result *r, size_t row, const struct verify_from *from, int64_t now_s,
	const char **reason)
{
	const char *expires = db_result_get(r, row, "expires");
	uint64_t end = 0;

	/* What is no number is over: the safe side. */
	if (expires && (str_to_u64(str_of(expires), &end) || now_s >= (int64_t)(end & INT64_MAX)))
		*reason = "expired";
	else if (!access_service_allowed(db_result_get(r, row, "protocols"), from->service))
		*reason = "protocol";
	else if (!access_network_allowed(db_result_get(r, row, "networks"), from->addr))
		*reason = "network";
	else
		return OK;
	return E_AUTH;
}

enum err
app_password_verify(struct directory *d, const struct addr *user, struct str password,
	struct verify_from *from, const char **reason)
{
	struct directory_args args = {.v = {[ARG_ADDRESS] = user->text,
					      [ARG_LOCAL] = user->local,
					      [ARG_DOMAIN] = user->domain}};
	char letters[APP_PASSWORD_LETTERS + 1];
	int64_t now_s = (int64_t)time(NULL);
	struct db_result r;
	enum err e;

	if (!directory_has(d, SQL_APP_PASSWORD_LIST) || !app_password_letters(password, letters))
		return E_NOTFOUND;
	e = directory_run(d, SQL_APP_PASSWORD_LIST, &args, &r);
	if (e)
		*reason = "database";
	else
		e = E_NOTFOUND;
	for (size_t i = 0; i < r.rows && e == E_NOTFOUND; i++) {
		const char *stored = db_result_get(&r, i, "password");
		const char *name = db_result_get(&r, i, "name");
		enum err match =
			stored && name ? password_verify(stored, str_of(letters), 0) : E_NOTFOUND;

		if (match == E_TEMPFAIL) {
			*reason = "memory";
			e = match;
		}
		if (match)
			continue;
		snprintf(from->app_password, sizeof(from->app_password), "%s", name);
		e = judge(&r, i, from, now_s, reason);
	}
	db_result_free(&r);
	OPENSSL_cleanse(letters, sizeof(letters));
	return e;
}
