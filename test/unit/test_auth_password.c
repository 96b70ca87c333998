/* SPDX-License-Identifier: MIT */
#include "auth/password.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* From the documents of the hashes: Drepper's SHA-crypt, OpenBSD's bcrypt, the argon2 tool. */
#define SHA512_VECTOR                                                                              \
	"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFC" \
	"oEOfaS35inz1"
#define BLF_VECTOR "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

static void
known(void **state)
{
	static const struct {
		const char *stored, *password;
		enum err want;
	} rows[] = {
		{SHA512_VECTOR, "Hello world!", OK},
		{"{SHA512-CRYPT}" SHA512_VECTOR, "Hello world!", OK},
		{"{sha512-crypt}" SHA512_VECTOR, "Hello world!", OK},
		{SHA512_VECTOR, "Hello world", E_AUTH},
		{BLF_VECTOR, "U*U", OK},
		{"{BLF-CRYPT}" BLF_VECTOR, "U*U", OK},
		{"{BLF-CRYPT}" BLF_VECTOR, "U*V", E_AUTH},
		{"{PLAIN}secret", "secret", OK},
		{"{PLAIN}secret", "secre", E_AUTH},
		{"{PLAIN}secret", "secret ", E_AUTH},
		{"{PLAIN}secret", "Secret", E_AUTH},
		{"{PLAIN}", "", E_AUTH},
		{"{PLAIN}{x}", "{x}", OK},
		/* Nothing is plain text by itself, and a prefix is not to be talked out of. */
		{"secret", "secret", E_UNSUPPORTED},
		{"", "", E_UNSUPPORTED},
		{"", "x", E_UNSUPPORTED},
		{"{}x", "x", E_UNSUPPORTED},
		{"{PLAIN", "{PLAIN", E_UNSUPPORTED},
		{"{MD5}x", "x", E_UNSUPPORTED},
		{"{BLF-CRYPT}" SHA512_VECTOR, "Hello world!", E_UNSUPPORTED},
		{"{SHA512-CRYPT}x", "x", E_UNSUPPORTED},
		{"*0", "x", E_UNSUPPORTED},
		{"$1$abc$def", "x", E_UNSUPPORTED},
		{"$argon2id$", "x", E_UNSUPPORTED},
		{"$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAA", "x", E_UNSUPPORTED},
		{"{ARGON2ID}$argon2id$v=19$m=x", "x", E_UNSUPPORTED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (password_verify(rows[i].stored, str_of(rows[i].password)) != rows[i].want)
			fail_msg("row %zu: %s", i, rows[i].stored);
}

static void
round_trip(void **state)
{
	static const char *const schemes[] = {"ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT", "PLAIN"};

	(void)state;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		char *a, *b, *bare;

		assert_int_equal(password_hash(schemes[i], STR("s3cret \xc3\xa4"), &a), OK);
		assert_int_equal(password_hash(schemes[i], STR("s3cret \xc3\xa4"), &b), OK);
		assert_true(password_is_known(a));
		assert_int_equal(a[0], '{');
		assert_int_equal(strncmp(a + 1, schemes[i], strlen(schemes[i])), 0);
		assert_int_equal(password_verify(a, STR("s3cret \xc3\xa4")), OK);
		assert_int_equal(password_verify(a, STR("s3cret \xc3\xa5")), E_AUTH);
		assert_int_equal(password_verify(a, STR("")), E_AUTH);
		assert_int_equal(password_verify(a, STR("s3cret \xc3\xa4\0x")), E_AUTH);
		if (i < 3) {
			/* Salted, and known without the prefix too. */
			assert_string_not_equal(a, b);
			bare = strchr(a, '}') + 1;
			assert_int_equal(password_verify(bare, STR("s3cret \xc3\xa4")), OK);
		}
		free(a);
		free(b);
	}
}

static void
refused(void **state)
{
	char longest[PASSWORD_MAX + 1], *out;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(password_hash("MD5", STR("x"), &out), E_UNSUPPORTED);
	assert_null(out);
	assert_int_equal(password_hash("PLAIN", STR(""), &out), E_RANGE);
	assert_int_equal(password_hash("PLAIN", STR("a\nb"), &out), E_RANGE);
	assert_int_equal(password_hash("PLAIN", STR("a\0b"), &out), E_RANGE);
	assert_int_equal(
		password_hash("PLAIN", str_make(longest, sizeof(longest)), &out), E_TOOBIG);
	assert_int_equal(password_hash("BLF-CRYPT", str_make(longest, 73), &out), E_TOOBIG);
	assert_null(out);
	assert_int_equal(password_hash("PLAIN", str_make(longest, PASSWORD_MAX), &out), OK);
	assert_int_equal(password_verify(out, str_make(longest, PASSWORD_MAX)), OK);
	assert_int_equal(password_verify(out, str_make(longest, PASSWORD_MAX + 1)), E_AUTH);
	free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
