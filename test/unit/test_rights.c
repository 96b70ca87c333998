/* SPDX-License-Identifier: MIT */
#include "mail/rights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
test_letters(void **state)
{
	static const struct {
		const char *text, *formatted; /* NULL: E_RANGE */
	} cases[] = {
		{"", ""},
		{"l", "l"},
		{"aetxkpiwsrl", "lrswipkxteacd"},
		{"c", "kxc"}, /* RFC 4314 section 2.1.1 */
		{"d", "ted"},
		{"cdcd", "kxtecd"},
		{"k", "kc"},
		{"e", "ed"},
		{"lrsw", "lrsw"},
		{"llrr", "lr"},
		{"L", NULL},
		{"lrq", NULL},
		{"0", NULL},
		{"l r", NULL},
		{"\xc3\xa4", NULL},
	};
	char text[RIGHTS_TEXT];
	unsigned rights;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum err e = rights_parse(str_of(cases[i].text), &rights);

		assert_int_equal(e, cases[i].formatted ? OK : E_RANGE);
		if (e)
			continue;
		rights_format(rights, text);
		assert_string_equal(text, cases[i].formatted);
	}
	assert_int_equal(rights_parse(str_make("l\0r", 3), &rights), E_RANGE);
	assert_int_equal(rights_parse(STR("lrswipkxtea"), &rights), OK);
	assert_int_equal(rights, RIGHTS_ALL);
}

static void
test_owner(void **state)
{
	static const struct {
		const char *given, *taken, *have; /* NULL: not stored */
	} cases[] = {
		{NULL, NULL, "lrswipkxteacd"},
		{"", NULL, "lpa"},
		{"rs", NULL, "lrspa"},
		{NULL, "xte", "lrswipkac"},
		{NULL, "lrswipkxtea", "lpa"},
		{"rst", "t", "lrspa"},
		{"r?", NULL, "lpa"}, /* by hand, and no rights */
		{NULL, "?", "lpa"},
	};
	char text[RIGHTS_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rights_owner o;

		rights_owner_init(&o);
		rights_owner_add(&o, STR("anyone"), STR("lr"));
		rights_owner_add(&o, STR("-somebody@example.test"), STR("lrswipkxtea"));
		if (cases[i].taken)
			rights_owner_add(&o, STR("-owner"), str_of(cases[i].taken));
		if (cases[i].given)
			rights_owner_add(&o, STR("owner"), str_of(cases[i].given));
		rights_format(rights_owner_have(&o), text);
		assert_string_equal(text, cases[i].have);
	}
}

static void
test_guest(void **state)
{
	static const struct {
		const char *stored[6]; /* identifier, rights, ... */
		const char *have;
	} cases[] = {
		{{NULL}, ""},
		{{"anyone", "lr"}, "lr"},
		{{"authenticated", "l", "bob@example.test", "rs"}, "lrs"},
		{{"Bob@Example.Test", "lr"}, "lr"},
		{{"alice@example.test", "lrswipkxtea", "owner", "lr"}, ""},
		{{"bob@example.test", "lrsw", "-anyone", "w"}, "lrs"},
		{{"anyone", "lrs", "-bob@example.test", "lrs"}, ""},
		{{"anyone", "lrs", "-bob@example.test", "?"}, ""},
		{{"bob@example.test", "l?"}, ""},
		{{"bob", "lr", "bob@example.test.", "lr", "$anyone", "lr"}, ""},
		{{"$staff", "lr", "$Sales", "s"}, "lrs"},
		{{"$staff", "lrs", "-$sales", "s"}, "lr"},
		{{"bob@example.test", "lrs", "-$staff", "lrs"}, ""},
		{{"-$other", "lr", "anyone", "lr", "$sta", "w"}, "lr"},
		{{"$", "lr", "$staff,sales", "lr", "staff", "lr"}, ""},
		{{"-$sales", "?", "anyone", "lr"}, ""},
	};
	const struct rights_who who = {"bob@example.test", "staff,sales"};
	char text[RIGHTS_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rights_guest g = {0};

		for (size_t k = 0; k < 6 && cases[i].stored[k]; k += 2)
			rights_guest_add(&g, &who, str_of(cases[i].stored[k]),
				str_of(cases[i].stored[k + 1]));
		rights_format(rights_guest_have(&g), text);
		assert_string_equal(text, cases[i].have);
	}
}

/* Where it is not known which groups somebody is in, none gives, and each takes. */
static void
test_unknown_groups(void **state)
{
	static const struct {
		const char *stored[4];
		const char *have;
	} cases[] = {
		{{"$staff", "lr"}, ""},
		{{"$", "lr", "anyone", "l"}, "l"},
		{{"bob@example.test", "lrs", "$staff", "w"}, "lrs"},
		{{"bob@example.test", "lrs", "-$staff", "r"}, "ls"},
		{{"anyone", "lrs", "-$any", "?"}, ""},
		{{"anyone", "lrs", "-carol@example.test", "r"}, "lrs"},
	};
	const struct rights_who who = {.user = "bob@example.test"};
	char text[RIGHTS_TEXT];

	(void)state;
	assert_int_equal(rights_identifier_means(STR("$staff"), &who), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rights_guest g = {0};

		for (size_t k = 0; k < 4 && cases[i].stored[k]; k += 2)
			rights_guest_add(&g, &who, str_of(cases[i].stored[k]),
				str_of(cases[i].stored[k + 1]));
		rights_format(rights_guest_have(&g), text);
		assert_string_equal(text, cases[i].have);
	}
}

/* The sender of a mail is nobody whom an identifier other than "anyone" means. */
static void
test_stranger(void **state)
{
	static const struct {
		const char *stored[6]; /* identifier, rights, ... */
		int may, may_when_given;
	} cases[] = {
		{{NULL}, 1, 0},
		{{"anyone", "lrp"}, 1, 1},
		{{"anyone", "lr"}, 1, 0},
		{{"Anyone", "p"}, 1, 1},
		{{"authenticated", "p", "bob@example.test", "p", "owner", "p"}, 1, 0},
		{{"-authenticated", "p", "-bob@example.test", "p", "-owner", "p"}, 1, 0},
		{{"-anyone", "p"}, 0, 0},
		{{"-anyone", "lr"}, 1, 0},
		{{"anyone", "p", "-anyone", "p"}, 0, 0},
		{{"anyone", "p", "-anyone", "?"}, 0, 0},
		{{"anyone", "p?"}, 1, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rights_guest g = {0};

		for (size_t k = 0; k < 6 && cases[i].stored[k]; k += 2)
			rights_stranger_add(
				&g, str_of(cases[i].stored[k]), str_of(cases[i].stored[k + 1]));
		assert_int_equal(rights_stranger_posts(&g, 0), cases[i].may);
		assert_int_equal(rights_stranger_posts(&g, 1), cases[i].may_when_given);
	}
}

static void
test_identifier(void **state)
{
	static const struct {
		const char *given, *stored;
	} cases[] = {
		{"bob", "bob@example.test"},
		{"-BOB", "-bob@example.test"},
		{"Bob@Other.Test", "bob@other.test"},
		{"anyone", "anyone"},
		{"-Authenticated", "-authenticated"},
		{"Alice@Example.test", "owner"},
		{"-alice@example.test", "-owner"},
		{"OWNER", "owner"},
		{"$Staff", "$staff"},
		{"-$Staff", "-$staff"},
		{"group=Staff", "$staff"},
		{"-Group=staff", "-$staff"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = {0};

		rights_identifier_prepare(str_of(cases[i].given), "alice@example.test", &b);
		assert_string_equal(buf_cstr(&b), cases[i].stored);
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_letters),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_guest),
		cmocka_unit_test(test_unknown_groups),
		cmocka_unit_test(test_stranger),
		cmocka_unit_test(test_identifier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
