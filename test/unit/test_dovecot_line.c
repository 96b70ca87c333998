/* SPDX-License-Identifier: MIT */
#include "auth/dovecot_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
versions(void **state)
{
	(void)state;
	assert_int_equal(dovecot_version_parse(STR("1\t0")), OK);
	assert_int_equal(dovecot_version_parse(STR("1\t99\tmore")), OK);
	assert_int_equal(dovecot_version_parse(STR("2\t0")), E_UNSUPPORTED);
	assert_int_equal(dovecot_version_parse(STR("1")), E_PARSE);
	assert_int_equal(dovecot_version_parse(STR("")), E_PARSE);
	assert_int_equal(dovecot_version_parse(STR("1\tx")), E_PARSE);
}

static void
auth_parameters(void **state)
{
	struct dovecot_auth a;

	(void)state;
	assert_int_equal(dovecot_auth_parse(STR("7\tPLAIN\tservice=smtp\tnologin\tlip=1.2.3.4\t"
						"rip=5.6.7.8\tsecured\tsession=x\tresp=AGE="),
				 &a),
		OK);
	assert_int_equal(a.id, 7);
	assert_true(str_is(a.mechanism, "PLAIN"));
	assert_true(str_is(a.service, "smtp"));
	assert_true(str_is(a.rip, "5.6.7.8"));
	assert_true(str_is(a.session, "x"));
	assert_true(str_is(a.resp, "AGE="));
	assert_true(a.secured && a.has_resp);
}

static void
auth_edges(void **state)
{
	struct dovecot_auth a;

	(void)state;
	assert_int_equal(dovecot_auth_parse(STR("4294967295\tX"), &a), OK);
	assert_true(!a.secured && !a.has_resp && a.service.len == 0 && a.rip.len == 0);
	/* Nothing is no response; "=" is an empty one. */
	assert_int_equal(dovecot_auth_parse(STR("1\tX\tresp="), &a), OK);
	assert_int_equal(a.has_resp, 0);
	assert_int_equal(dovecot_auth_parse(STR("1\tX\tresp=="), &a), OK);
	assert_true(a.has_resp && a.resp.len == 0);
	/* Only whole words count. */
	assert_int_equal(
		dovecot_auth_parse(STR("1\tX\tsecuredx\tunsecured\tXresp=A\trips=1"), &a), OK);
	assert_true(!a.secured && !a.has_resp && a.rip.len == 0);
	assert_int_equal(dovecot_auth_parse(STR("1\tX\tsecured=tls"), &a), OK);
	assert_int_equal(a.secured, 1);
	assert_int_equal(dovecot_auth_parse(STR(""), &a), E_PARSE);
	assert_int_equal(dovecot_auth_parse(STR("x\tPLAIN"), &a), E_PARSE);
	assert_int_equal(dovecot_auth_parse(STR("4294967296\tPLAIN"), &a), E_PARSE);
	assert_int_equal(dovecot_auth_parse(STR("1"), &a), OK);
	assert_int_equal(a.mechanism.len, 0);
}

static void
ids(void **state)
{
	struct str rest;
	uint32_t id;

	(void)state;
	assert_int_equal(dovecot_id_parse(STR("12\tabc\td"), &id, &rest), OK);
	assert_int_equal(id, 12);
	assert_true(str_is(rest, "abc\td"));
	assert_int_equal(dovecot_id_parse(STR("12"), &id, &rest), OK);
	assert_int_equal(rest.len, 0);
	assert_int_equal(dovecot_id_parse(STR("-1\tx"), &id, &rest), E_PARSE);
	assert_int_equal(dovecot_id_parse(STR("\tx"), &id, &rest), E_PARSE);
}

static void
services(void **state)
{
	(void)state;
	assert_true(dovecot_is_service(STR("smtp")));
	assert_true(dovecot_is_service(STR("managesieve-2_x")));
	assert_false(dovecot_is_service(STR("")));
	assert_false(dovecot_is_service(STR("a b")));
	assert_false(dovecot_is_service(STR("a=b")));
	assert_false(dovecot_is_service(STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
}

/* No value can end its parameter, or its line. */
static void
escapes(void **state)
{
	struct buf b = {0};

	(void)state;
	dovecot_put(&b, "user", STR("a\tb\nc\rd\001e\0f"));
	assert_true(str_equal(buf_str(&b), STR("\tuser=a\001tb\001nc\001rd\0011e\0010f")));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions),
		cmocka_unit_test(auth_parameters),
		cmocka_unit_test(auth_edges),
		cmocka_unit_test(ids),
		cmocka_unit_test(services),
		cmocka_unit_test(escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
