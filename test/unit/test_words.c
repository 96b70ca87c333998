/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/mem.h"
#include "mail/casemap.h"
#include "mail/words.h"

struct terms {
	struct buf text; /* each behind a '|' */
	int left; /* to be taken; < 0: all */
};

static int
add(struct str term, void *ctx)
{
	struct terms *t = ctx;

	buf_add_char(&t->text, '|');
	buf_add_str(&t->text, term);
	return t->left < 0 || --t->left > 0;
}

static void
terms_of(const char *text, struct terms *out)
{
	struct words w;
	struct buf folded = {0};

	*out = (struct terms){.left = -1};
	casemap_fold(str_of(text), &folded);
	words_begin(&w, add, out);
	words_feed(&w, buf_str(&folded));
	words_end(&w);
	buf_free(&folded);
}

static void
test_terms(void **state)
{
	static const struct {
		const char *text, *terms;
	} cases[] = {
		{"", ""},
		{" -- ", ""},
		{"Hello, World-wide 3.50", "|HELLO|WORLD|WIDE|3|50"},
		{"caf\xc3\xa9", "|CAFE\xcc\x81"},
		{"\xe5\x8c\x97\xe4\xba\xac\xe5\xa4\xa7",
			"|\xe5\x8c\x97\xe4\xba\xac|\xe4\xba\xac\xe5\xa4\xa7"},
		{"a\xe5\x8c\x97z", "|A|\xe5\x8c\x97|Z"},
		{"x\xff y", "|x|y"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct terms t;

		terms_of(cases[i].text, &t);
		assert_string_equal(buf_cstr(&t.text), cases[i].terms);
		buf_free(&t.text);
	}
}

/* Any WORDS_SURE bytes of a long run stand whole in one of its terms; no term is too long. */
static void
test_long_runs(void **state)
{
	char run[400];

	(void)state;
	for (size_t i = 0; i < sizeof(run) - 1; i++)
		run[i] = (char)('A' + (i * 7 + i / 26) % 26);
	for (size_t len = WORDS_TERM_MAX - 1; len < sizeof(run); len += 13) {
		struct terms t;
		struct str rest, term;

		run[len] = '\0';
		terms_of(run, &t);
		for (size_t i = 0; i + WORDS_SURE <= len; i++)
			assert_true(str_find_str(buf_str(&t.text), str_make(run + i, WORDS_SURE)) <
				    t.text.len);
		rest = buf_str(&t.text);
		(void)str_split(&rest, '|');
		while (rest.p && (term = str_split(&rest, '|')).len)
			assert_in_range(term.len, 1, WORDS_TERM_MAX);
		buf_free(&t.text);
		run[len] = (char)('A' + (len * 7 + len / 26) % 26);
	}
}

static void
test_stop(void **state)
{
	struct terms t = {.left = 2};
	struct words w;

	(void)state;
	words_begin(&w, add, &t);
	assert_int_equal(words_feed(&w, STR("A B C D ")), 0);
	assert_int_equal(words_end(&w), 0);
	assert_string_equal(buf_cstr(&t.text), "|A|B");
	buf_free(&t.text);
}

/* Whether the terms of a text meet all the conditions of a needle. */
static int
all_met(const struct words_query *q, const struct terms *t)
{
	for (size_t i = 0; i < q->count; i++) {
		struct str rest = buf_str(&t->text);
		int met = 0;

		while (rest.p && !met)
			met = words_query_meets(q, i, str_split(&rest, '|'));
		if (!met)
			return 0;
	}
	return 1;
}

/*
 * What the index rests on: a text that has the needle meets its conditions, and where they are
 * exact, only such a text does.
 */
static void
test_needles_are_found(void **state)
{
	static const char *const bits[] = {"a", "b", "B", "ab", " ", "-", "3", "\xc3\xa9",
		"\xcc\x81", "\xe5\x8c\x97", "\xe4\xba\xac", "\xe3\x81\x8c", "\xf0\x9f\x8e\x89",
		"\xd0\x96", "\r\n", "abababababababababababababababab", "\xe0\xb8\x81",
		"\xef\xbc\xa1", "_"};
	enum { BITS = sizeof(bits) / sizeof(bits[0]) };
	size_t exact = 0, found = 0;

	(void)state;
	srandom(7);
	for (int round = 0; round < 20000; round++) {
		struct buf text = {0}, needle = {0}, folded = {0}, looked = {0};
		struct words_query q;
		struct terms t;
		int has, met;

		for (long n = random() % 12; n >= 0; n--)
			buf_add_cstr(&text, bits[random() % BITS]);
		for (long n = random() % 4; n >= 0; n--)
			buf_add_cstr(&needle, bits[random() % BITS]);
		casemap_fold(buf_str(&text), &folded);
		casemap_fold(buf_str(&needle), &looked);
		has = str_find_str(buf_str(&folded), buf_str(&looked)) < folded.len;
		terms_of(buf_cstr(&text), &t);
		words_query_init(&q, buf_str(&looked));
		met = q.count && all_met(&q, &t);
		if (has && q.count)
			assert_true(met);
		if (q.exact)
			assert_int_equal(met, has);
		exact += (size_t)q.exact;
		found += (size_t)has;
		words_query_fini(&q);
		buf_free(&t.text);
		buf_free(&text);
		buf_free(&needle);
		buf_free(&folded);
		buf_free(&looked);
	}
	assert_true(exact > 1000 && found > 1000);
}

static void
test_needle_that_is_no_text(void **state)
{
	struct words_query q;

	(void)state;
	words_query_init(&q, STR("A\xff"));
	assert_int_equal(q.count, 0);
	assert_int_equal(q.exact, 0);
	words_query_fini(&q);
	words_query_init(&q, STR(" ,"));
	assert_int_equal(q.count, 0);
	words_query_fini(&q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_terms),
		cmocka_unit_test(test_long_runs), cmocka_unit_test(test_stop),
		cmocka_unit_test(test_needles_are_found),
		cmocka_unit_test(test_needle_that_is_no_text)};

	return cmocka_run_group_tests_name("words", tests, NULL, NULL);
}
