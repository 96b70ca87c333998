/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "mail/casemap.h"
#include "mail/word_match.h"

struct text {
	struct word_match match;
	unsigned char levels[WORD_MATCH_MAX];
};

static int
on_term(struct str term, void *ctx)
{
	struct text *t = ctx;

	for (size_t i = 0; i < t->match.count; i++) {
		unsigned level = word_match_level(&t->match, i, term);

		/* The first look may not pass over what matches. */
		assert_true(!level || word_match_may(&t->match, i, term));
		assert_in_range(level, 0, WORD_MATCH_EXACT);
		if (level > t->levels[i])
			t->levels[i] = (unsigned char)level;
	}
	return 1;
}

/* All terms with the same last letter are forms of one word. */
static int
same_end(struct str word, struct str term, void *ctx)
{
	(void)ctx;
	return word.p[word.len - 1] == term.p[term.len - 1];
}

static void
look(const char *text, const char *query, int fuzzy, word_match_same_fn *same, struct text *t)
{
	struct buf folded = {0}, looked = {0};
	struct words words;

	memset(t, 0, sizeof(*t));
	casemap_fold(str_of(query), &looked);
	casemap_fold(str_of(text), &folded);
	word_match_init(&t->match, buf_str(&looked), fuzzy);
	t->match.same = same;
	words_begin(&words, on_term, t);
	words_feed(&words, buf_str(&folded));
	words_end(&words);
	buf_free(&folded);
	buf_free(&looked);
}

static unsigned
level(const char *text, const char *query, int fuzzy)
{
	struct text t;

	look(text, query, fuzzy, NULL, &t);
	assert_int_equal(t.match.count, 1);
	return t.levels[0];
}

static void
test_words(void **state)
{
	static const struct {
		const char *text, *query;
		int found;
	} cases[] = {
		{"The quick fox", "QUICK", 1},
		{"The quick fox", "qui", 1},
		{"The quick fox", "uick", 0},
		{"The quick fox", "quicker", 0},
		{"The quick fox", "fox the", 1},
		{"The quick fox", "fox cat", 0},
		{"caf\xc3\xa9 na\xc3\xafve", "cafe", 1},
		{"cafe", "caf\xc3\xa9", 1},
		{"cafe\xcc\x81s", "caf\xc3\xa9", 1},
		{"Stra\xc3\x9f"
		 "e",
			"strasse", 1},
		{"STRASSE",
			"stra\xc3\x9f"
			"e",
			1},
		{"\xc5\x81\xc3\xb3"
		 "d\xc5\xba",
			"lodz", 1},
		{"\xc5\x93uvre", "oeuvre", 1},
		{"\xc4\xb0stanbul", "istanbul", 1},
		/* Greek tonos, Cyrillic, Arabic with vowels. */
		{"\xce\x91\xce\xb8\xce\xae\xce\xbd\xce\xb1",
			"\xce\xb1\xce\xb8\xce\xb7\xce\xbd\xce\xb1", 1},
		{"\xd0\x95\xd0\xa9\xd0\x81", "\xd0\xb5\xd1\x89\xd0\xb5", 1},
		{"\xd8\xb3\xd9\x8e\xd9\x84\xd8\xa7\xd9\x85", "\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85", 1},
		/* Devanagari: a vowel sign makes another word. */
		{"\xe0\xa4\x95\xe0\xa5\x80", "\xe0\xa4\x95\xe0\xa4\xbf", 0},
		/* Without blanks: neighbours, and one character in them. */
		{"\xe5\x8c\x97\xe4\xba\xac\xe5\xa4\xa7", "\xe5\x8c\x97\xe4\xba\xac", 1},
		{"\xe5\x8c\x97\xe4\xba\xac\xe5\xa4\xa7", "\xe5\x8c\x97\xe5\xa4\xa7", 0},
		{"\xe5\x8c\x97\xe4\xba\xac\xe5\xa4\xa7", "\xe5\xa4\xa7", 1},
		{"\xe5\x8c\x97", "\xe5\x8c\x97", 1},
		{"fox@example.org", "example", 1},
		{"3.50", "50", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text t;

		look(cases[i].text, cases[i].query, 0, NULL, &t);
		if ((word_match_score(t.levels, t.match.count) != 0) != cases[i].found)
			fail_msg("%s in %s", cases[i].query, cases[i].text);
	}
}

static void
test_fuzzy(void **state)
{
	static const struct {
		const char *text, *query;
		unsigned level;
	} cases[] = {
		{"hello", "Hello", WORD_MATCH_EXACT},
		{"h\xc3\xa9llo", "Hello", WORD_MATCH_FOLDED},
		{"hello", "Helo", WORD_MATCH_ONE_EDIT},
		{"help", "Helo", WORD_MATCH_ONE_EDIT},
		{"hlelo", "hello", WORD_MATCH_ONE_EDIT}, /* two changed places */
		{"hallo", "hello", WORD_MATCH_ONE_EDIT},
		{"jello", "hello", 0}, /* the first letter */
		{"halla", "hello", 0}, /* two edits of a short word */
		{"cat", "cut", 0}, /* shorter still */
		{"reccommandation", "recommendation", WORD_MATCH_TWO_EDITS},
		{"recomendation", "recommendation", WORD_MATCH_ONE_EDIT},
		{"rcmmendatin", "recommendation", 0}, /* three */
		{"12345679", "12345678", 0}, /* a number is another */
		{"mailbox", "mail", 58}, /* begins so */
		{"m", "mail", 0},
		{"mailbox", "m", 0},
		{"\xe5\x8c\x97\xe4\xba\xac", "\xe5\x8c\x97\xe4\xba\xac", WORD_MATCH_EXACT},
		{"\xe5\x8c\x97\xe4\xba\xac", "\xe5\x8c\x97\xe5\xa4\xa7", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned got = level(cases[i].text, cases[i].query, 1);

		if (got != cases[i].level)
			fail_msg("%s in %s: %u", cases[i].query, cases[i].text, got);
	}
}

static void
test_forms(void **state)
{
	struct text t;

	(void)state;
	look("running", "runing", 0, same_end, &t);
	assert_int_equal(t.levels[0], WORD_MATCH_STEM);
	look("ran", "running", 0, same_end, &t); /* begins otherwise: not asked */
	assert_int_equal(t.levels[0], 0);
	look("runs", "runes", 1, same_end, &t); /* better than an edit */
	assert_int_equal(t.levels[0], WORD_MATCH_STEM);
	look("runs", "rune", 0, same_end, &t);
	assert_int_equal(t.levels[0], 0);
}

/* Long words are pieces in the text and in the query; nothing overflows. */
static void
test_long_words(void **state)
{
	char text[401], query[401];
	struct buf marks = {0};
	struct text t;

	(void)state;
	for (size_t i = 0; i < 400; i++)
		text[i] = (char)('a' + (i * 7 + i / 26) % 26);
	text[400] = '\0';
	for (size_t len = 1; len < 400; len += 7) {
		memcpy(query, text, len);
		query[len] = '\0';
		look(text, query, 0, NULL, &t);
		assert_true(word_match_score(t.levels, t.match.count) > 0);
		query[len - 1] = '9';
		look(text, query, 0, NULL, &t);
		assert_int_equal(word_match_score(t.levels, t.match.count), 0);
	}
	/* Two bytes each that become two letters, cut in the middle of one. */
	for (int i = 0; i < 100; i++)
		buf_add_cstr(&marks, i ? "\xc3\x86" : "x\xc3\x86");
	look(buf_cstr(&marks), buf_cstr(&marks), 1, NULL, &t);
	assert_int_equal(word_match_score(t.levels, t.match.count), 100);
	buf_free(&marks);
}

static void
test_queries(void **state)
{
	struct word_match m;
	struct buf many = {0};

	(void)state;
	word_match_init(&m, STR(""), 1);
	assert_int_equal(m.count, 0);
	word_match_init(&m, STR(" ,- \xcc\x81 "), 1); /* a mark alone is no word */
	assert_int_equal(m.count, 0);
	for (int i = 0; i < 100; i++)
		buf_printf(&many, "W%d ", i);
	word_match_init(&m, buf_str(&many), 0);
	assert_int_equal(m.count, WORD_MATCH_MAX);
	buf_free(&many);
}

static void
test_scores(void **state)
{
	const unsigned char best[] = {WORD_MATCH_EXACT, WORD_MATCH_EXACT};
	const unsigned char missing[] = {WORD_MATCH_EXACT, 0};
	const unsigned char worst[] = {(unsigned char)word_match_beside(WORD_MATCH_TWO_EDITS)};
	const unsigned char mixed[] = {WORD_MATCH_EXACT, WORD_MATCH_ONE_EDIT};

	(void)state;
	assert_int_equal(word_match_score(best, 2), 100);
	assert_int_equal(word_match_score(missing, 2), 0);
	assert_in_range(word_match_score(worst, 1), 1, 5);
	assert_in_range(word_match_score(mixed, 2), 60, 75);
	assert_true(word_match_beside(WORD_MATCH_EXACT) < WORD_MATCH_EXACT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_words),
		cmocka_unit_test(test_fuzzy), cmocka_unit_test(test_forms),
		cmocka_unit_test(test_long_words), cmocka_unit_test(test_queries),
		cmocka_unit_test(test_scores)};

	return cmocka_run_group_tests_name("word_match", tests, NULL, NULL);
}
