/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_APP_PASSWORD_H
#define ROOST_AUTH_APP_PASSWORD_H

#include "auth/directory.h"
#include "auth/verify.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Passwords for single programs, made here: 120 random bits as four groups of six letters and
 * digits, "k3x7qa-...". Such a secret needs no slow hash, and it can be told from a person's
 * password before the database is asked.
 */
enum {
	APP_PASSWORD_LETTERS = 24,
	APP_PASSWORD_TEXT = APP_PASSWORD_LETTERS + 3 + 1, /* with dashes and a NUL */
	APP_PASSWORD_USER_MAX = 100, /* of one user */
};

void app_password_make(char out[APP_PASSWORD_TEXT]);
/* The letters alone, without dashes and blanks, in lower case; 0: it has not the form of one. */
int app_password_letters(struct str password, char out[APP_PASSWORD_LETTERS + 1]);
/* The stored form, on the heap. */
enum err app_password_hash(const char *letters, char **out);
/*
 * Looks for it among those of the user. OK: good here and now, and from->app_password
 * is its name. E_NOTFOUND: none of his; E_AUTH: not here or not any more
 * (*reason); E_TEMPFAIL.
 */
enum err app_password_verify(struct directory *d, const struct addr *user, struct str password,
	struct verify_from *from, const char **reason);

#endif
