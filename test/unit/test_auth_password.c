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
		if (password_verify(rows[i].stored, str_of(rows[i].password), 0) != rows[i].want)
			fail_msg("row %zu: %s", i, rows[i].stored);
}

/* Written by Debian's doveadm pw and crypt(3), for the password "s3cret \xc3\xa4". */
static void
written_by_others(void **state)
{
	static const struct {
		const char *stored;
		int weak;
	} rows[] = {
		{"{SHA256-CRYPT}$5$eh.t0dXjX8GgJ3Zk$lkXbZSR3.tQ0B/s/3x2DXlxnphUTFcuRIQJ8zOFF95D"},
		{"{CRYPT}$5$eh.t0dXjX8GgJ3Zk$lkXbZSR3.tQ0B/s/3x2DXlxnphUTFcuRIQJ8zOFF95D"},
		{"$5$eh.t0dXjX8GgJ3Zk$lkXbZSR3.tQ0B/s/3x2DXlxnphUTFcuRIQJ8zOFF95D"},
		{"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$MbF.9I0q7chqghjw7opg4TmAvWGLGoZkpI/BmViaT43"},
		{"{YESCRYPT}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$"
		 "MbF.9I0q7chqghjw7opg4TmAvWGLGoZkpI/BmViaT43"},
		{"{PBKDF2}$1$v4MzVYzFhgbC18dU$5000$f55f11d8fc2c926f70eace6db1d57a32c504a61d"},
		{"{SSHA256}6xtwvpPwvfYsxszKXWJuh46fLPquovmEw36f5wAeaa+/hIpH"},
		{"{SSHA512}IGJbVL8cZ1KMsXvii/QO8EwhGHisTB0jcwNRypKwONyw46XDhvUkwKxKYvQ+IoNAqafBBOXBr5h2"
		 "NJyZ3XN/MrfZDRM="},
		{"{SCRAM-SHA-1}4096,4/yuRaclDYC95HfQBlVFNg==,j0QtbnWE1wkqscuDP9YXIa8IrC0=,"
		 "MyG8BCm/NraeWDIQF36JgiAXc3g="},
		{"{SCRAM-SHA-256}4096,D4J0O+IutofzEhZmvZeDMA==,"
		 "S11NPGqvzv2D74al3WCBvrHIxAPAXXbwsXtlNcXtunY=,"
		 "9C4S2T8PT4oHlaoMBDNlajHviv1DfzfRc3GK5AAwhHU="},
		{"{SSHA}PdFl2pcaZ1OThgyT3gZ+1UHzB3jX6fpJ", 1},
		{"{CRAM-MD5}a8450c14c9c2177632ff46da58c62d7a0e3e1917750b57fed65b51f69861d224", 1},
		{"{CRAM-MD5}A8450C14C9C2177632FF46DA58C62D7A0E3E1917750B57FED65B51F69861D224", 1},
		{"{PLAIN-MD5}7043e330caa08bdd37251702e38abe8c", 1},
		{"{MD5-CRYPT}$1$D4C3K2nu$R3btbHs1LRPgF9F5/82w9/", 1},
		{"{CRYPT}$1$D4C3K2nu$R3btbHs1LRPgF9F5/82w9/", 1},
		{"$1$D4C3K2nu$R3btbHs1LRPgF9F5/82w9/", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str good = STR("s3cret \xc3\xa4"), bad = STR("s3cret \xc3\xa5");

		if (password_verify(rows[i].stored, good, 1) != OK ||
			password_verify(rows[i].stored, bad, 1) != E_AUTH ||
			password_verify(rows[i].stored, good, 0) !=
				(rows[i].weak ? E_UNSUPPORTED : OK))
			fail_msg("row %zu: %s", i, rows[i].stored);
	}
}

static void
damaged(void **state)
{
	static const char *const rows[] = {
		"{PBKDF2}$1$salt$0$f55f11d8fc2c926f70eace6db1d57a32c504a61d",
		"{PBKDF2}$1$salt$99999999999$f55f11d8fc2c926f70eace6db1d57a32c504a61d",
		"{PBKDF2}$1$$5000$f55f11d8fc2c926f70eace6db1d57a32c504a61d",
		"{PBKDF2}$2$salt$5000$f55f11d8fc2c926f70eace6db1d57a32c504a61d",
		"{PBKDF2}$1$salt$5000$f55f", "{SSHA256}", "{SSHA256}6xtw",
		"{SSHA256}6xtwvpPwvfYsxszKXWJuh46fLPquovmEw36f5wAeaa8=", /* no salt */
		"{SSHA512}!!!!", "{SCRAM-SHA-256}4096", "{SCRAM-SHA-256}0,D4J0,S11N,9C4S",
		"{SCRAM-SHA-256}4096,D4J0,S11N,9C4S", "{CRAM-MD5}a8", "{PLAIN-MD5}x",
		"{CRYPT}abJnggxhB/yWI", /* DES */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (password_verify(rows[i], STR("s3cret"), 1) != E_UNSUPPORTED)
			fail_msg("row %zu: %s", i, rows[i]);
}

static void
round_trip(void **state)
{
	/* The first five are known without their prefix too. */
	static const char *const schemes[] = {"ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT",
		"SHA256-CRYPT", "YESCRYPT", "PBKDF2", "SSHA512", "SSHA256", "SCRAM-SHA-256",
		"SCRAM-SHA-1", "PLAIN"};

	(void)state;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		char *a, *b, *bare;

		assert_int_equal(password_hash(schemes[i], STR("s3cret \xc3\xa4"), &a), OK);
		assert_int_equal(password_hash(schemes[i], STR("s3cret \xc3\xa4"), &b), OK);
		assert_true(password_is_known(a));
		assert_int_equal(a[0], '{');
		assert_int_equal(strncmp(a + 1, schemes[i], strlen(schemes[i])), 0);
		assert_int_equal(password_verify(a, STR("s3cret \xc3\xa4"), 0), OK);
		assert_int_equal(password_verify(a, STR("s3cret \xc3\xa5"), 0), E_AUTH);
		assert_int_equal(password_verify(a, STR(""), 0), E_AUTH);
		assert_int_equal(password_verify(a, STR("s3cret \xc3\xa4\0x"), 0), E_AUTH);
		if (strcmp(schemes[i], "PLAIN") != 0)
			assert_string_not_equal(a, b); /* salted */
		if (i < 5) {
			bare = strchr(a, '}') + 1;
			assert_int_equal(password_verify(bare, STR("s3cret \xc3\xa4"), 0), OK);
		}
		free(a);
		free(b);
	}
}

static void
scheme_of_a_stored_one(void **state)
{
	static const struct {
		const char *stored, *scheme;
		int is;
	} rows[] = {
		{"{SHA512-CRYPT}$6$a$b", "SHA512-CRYPT", 1},
		{"{sha512-crypt}$6$a$b", "SHA512-CRYPT", 1},
		{"{CRYPT}$6$a$b", "SHA512-CRYPT", 1},
		{"$6$a$b", "SHA512-CRYPT", 1},
		{"{SHA256-CRYPT}$5$a$b", "SHA512-CRYPT", 0},
		{"{CRYPT}$5$a$b", "SHA512-CRYPT", 0},
		{"{SHA512-CRYPT}$6$a$b", "ARGON2ID", 0},
		{"{PLAIN}$6$a$b", "PLAIN", 1},
		{"{PLAIN}$6$a$b", "SHA512-CRYPT", 0},
		{"{SSHA512}x", "SSHA512", 1},
		{"{SASLAUTHD}", "ARGON2ID", 0},
		{"x", "PLAIN", 0},
		{"", "PLAIN", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (password_has_scheme(rows[i].stored, rows[i].scheme) != rows[i].is)
			fail_msg("%s %s", rows[i].stored, rows[i].scheme);
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
	assert_int_equal(password_verify(out, str_make(longest, PASSWORD_MAX), 0), OK);
	assert_int_equal(password_verify(out, str_make(longest, PASSWORD_MAX + 1), 0), E_AUTH);
	free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(written_by_others),
		cmocka_unit_test(damaged),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(scheme_of_a_stored_one),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
