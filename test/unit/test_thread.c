/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "imap/thread_build.h"

/* One message: references separated by blanks. */
struct row {
	int64_t date;
	const char *id, *references, *subject;
	int is_reply;
	int64_t arrival; /* 0: the same as date */
};

static void
check(enum thread_algorithm algorithm, const struct row *rows, size_t count, const char *want)
{
	struct thread_builder *b = thread_builder_create(algorithm);
	struct buf out = BUF_INIT(0);

	for (size_t i = 0; i < count; i++) {
		char references[256];
		struct thread_message m = {
			.number = (uint32_t)i + 1,
			.date = rows[i].date,
			.arrival = rows[i].arrival ? rows[i].arrival : rows[i].date,
			.message_id = str_of(rows[i].id),
			.base_subject = str_of(rows[i].subject),
			.is_reply = rows[i].is_reply,
		};

		snprintf(references, sizeof(references), "%s",
			rows[i].references ? rows[i].references : "");
		m.references = str_of(references);
		for (char *p = references; *p; p++)
			if (*p == ' ')
				*p = '\0';
		assert_int_equal(thread_builder_add(b, &m), OK);
	}
	assert_int_equal(thread_builder_write(b, &out), OK);
	assert_string_equal(buf_cstr(&out), want);
	thread_builder_free(&b);
	buf_free(&out);
}

#define CHECK(algorithm, rows, want)                                                               \
	check((algorithm), (rows), sizeof(rows) / sizeof((rows)[0]), (want))

/* RFC 5256, the picture of section 4: 3 is the parent of 6, which 4 and 44 answer. */
static void
picture(void **state)
{
	static const struct row rows[] = {
		{1, "lone", NULL, "x"},
		{2, "three", NULL, "a"},
		{3, "six", "three", "a", 1},
		{4, "four", "three six", "a", 1},
		{5, "forty-four", "three six", "a", 1},
		{6, "twenty-three", "three six four", "a", 1},
		{7, "seven", "six forty-four", "a", 1},
		{8, "ninety-six", "seven", "a", 1},
	};

	(void)state;
	CHECK(THREAD_REFERENCES, rows, "(1)(2 3 (4 6)(5 7 8))");
	CHECK(THREAD_REFS, rows, "(1)(2 3 (4 6)(5 7 8))");
	CHECK(THREAD_ORDEREDSUBJECT, rows, "(1)(2 (3)(4)(5)(6)(7)(8))");
}

/* Section 3, steps 1 and 3: missing parents. */
static void
dummies(void **state)
{
	static const struct row siblings[] = {{1, "a", "gone", "x"}, {2, "b", "gone", "y"}};
	static const struct row only_child[] = {{1, "a", "gone older", "x"}};
	static const struct row deep[] = {
		{1, "a", "top mid", "x"}, {2, "b", "top mid low", "y"}, {3, "c", "top", "z"}};
	static const struct row below[] = {
		{1, "a", NULL, "x"}, {2, "b", "a gone", "y"}, {3, "c", "a gone", "z"}};

	(void)state;
	CHECK(THREAD_REFERENCES, siblings, "((1)(2))");
	CHECK(THREAD_REFERENCES, only_child, "(1)");
	CHECK(THREAD_REFERENCES, deep, "((1)(2)(3))");
	CHECK(THREAD_REFERENCES, below, "(1 (2)(3))");
}

static void
odd_links(void **state)
{
	/* Each names the other: the second link would close a loop. */
	static const struct row loop[] = {{1, "a", "b", "x"}, {2, "b", "a", "y"}};
	static const struct row self[] = {{1, "a", "a", "x"}, {2, "b", "a b", "y"}};
	static const struct row same_id[] = {
		{1, "a", NULL, "x"}, {2, "a", NULL, "y"}, {3, "b", "a", "z"}};
	/* What 3 says of 4's parent comes from a list that was cut short: 4's own wins. */
	static const struct row corrected[] = {
		{1, "a", NULL, "x"}, {2, "b", "a", "y"}, {3, "d", "b c", "z"}, {4, "c", "a", "w"}};
	static const struct row no_ids[] = {{2, NULL, NULL, NULL}, {1, NULL, NULL, NULL}};

	(void)state;
	CHECK(THREAD_REFERENCES, loop, "(2 1)");
	CHECK(THREAD_REFERENCES, self, "(1)(2)");
	CHECK(THREAD_REFERENCES, same_id, "(1 3)(2)");
	CHECK(THREAD_REFERENCES, corrected, "(1 (2)(4 3))");
	CHECK(THREAD_REFERENCES, no_ids, "(2)(1)");
}

/* Section 3, step 5. */
static void
subjects(void **state)
{
	static const struct row reply[] = {{1, "a", NULL, "x"}, {2, "b", NULL, "x", 1}};
	static const struct row reply_first[] = {{1, "a", NULL, "x", 1}, {2, "b", NULL, "x"}};
	static const struct row equals[] = {
		{1, "a", NULL, "x"}, {2, "b", NULL, "x"}, {3, "c", NULL, "x"}};
	static const struct row into_dummy[] = {
		{1, "a", "gone", "x"}, {2, "b", "gone", "z"}, {3, "c", NULL, "x"}};
	static const struct row two_dummies[] = {{1, "a", "gone", "x"}, {2, "b", "gone", "z"},
		{3, "c", "lost", "x"}, {4, "d", "lost", "w"}};
	static const struct row empty[] = {{1, "a", NULL, ""}, {2, "b", NULL, ""}};

	(void)state;
	CHECK(THREAD_REFERENCES, reply, "(1 2)");
	CHECK(THREAD_REFS, reply, "(1)(2)");
	CHECK(THREAD_REFERENCES, reply_first, "(2 1)");
	CHECK(THREAD_REFERENCES, equals, "((1)(2)(3))");
	CHECK(THREAD_REFERENCES, into_dummy, "((1)(2)(3))");
	CHECK(THREAD_REFERENCES, two_dummies, "((1)(2)(3)(4))");
	CHECK(THREAD_REFERENCES, empty, "(1)(2)");
	CHECK(THREAD_ORDEREDSUBJECT, empty, "(1 2)");
}

static void
dates(void **state)
{
	static const struct row rows[] = {{9, "a", NULL, "x"}, {30, "b", "a", "y"},
		{10, "c", NULL, "z"}, {20, "d", "a", "w"}, {10, "e", NULL, "v"}};
	static const struct row late[] = {{9, "a", NULL, "x", 0, 50}, {30, "b", "a", "y", 0, 10},
		{40, "c", NULL, "z", 0, 45}, {20, "d", "a", "w", 0, 60},
		{10, "e", NULL, "v", 0, 70}};
	static const struct row before_1970[] = {{5, "a", NULL, "x"}, {-5, "b", NULL, "y"}};

	(void)state;
	CHECK(THREAD_REFERENCES, rows, "(1 (4)(2))(3)(5)");
	/* By the latest message of each thread. */
	CHECK(THREAD_REFS, rows, "(3)(5)(1 (4)(2))");
	/* By when that arrived; in the thread by when it was sent. */
	CHECK(THREAD_REFS, late, "(3)(1 (4)(2))(5)");
	CHECK(THREAD_REFERENCES, before_1970, "(2)(1)");
}

/* Time and stack must not follow the depth of what strangers send. */
static void
long_chains(void **state)
{
	enum { COUNT = 200000 };

	(void)state;
	for (int backwards = 0; backwards < 2; backwards++) {
		struct thread_builder *b = thread_builder_create(THREAD_REFERENCES);
		struct buf out = BUF_INIT(0);

		for (uint32_t i = 1; i <= COUNT; i++) {
			char id[32], parent[32];
			uint32_t n = backwards ? COUNT - i : i;
			struct thread_message m = {.number = i, .date = i};

			snprintf(id, sizeof(id), "%u", n);
			snprintf(parent, sizeof(parent), "%u", n - 1);
			m.message_id = str_of(id);
			m.references = str_of(parent);
			assert_int_equal(thread_builder_add(b, &m), OK);
		}
		assert_int_equal(thread_builder_write(b, &out), OK);
		/* One thread without a branch. */
		assert_int_equal(str_find(buf_str(&out), 1, '('), out.len);
		thread_builder_free(&b);
		buf_free(&out);
	}
}

static void
too_many_ids(void **state)
{
	struct thread_builder *b = thread_builder_create(THREAD_REFERENCES);
	enum err e = OK;
	uint32_t number = 0;

	(void)state;
	for (uint32_t i = 0; i < 100000 && !e; i++) {
		struct buf references = BUF_INIT(0);
		struct thread_message m = {.number = i + 1};

		for (int k = 0; k < 500; k++) {
			buf_printf(&references, "%u", ++number);
			buf_add_char(&references, '\0');
		}
		m.references = buf_str(&references);
		e = thread_builder_add(b, &m);
		buf_free(&references);
	}
	assert_int_equal(e, E_TOOBIG);
	thread_builder_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(picture),
		cmocka_unit_test(dummies),
		cmocka_unit_test(odd_links),
		cmocka_unit_test(subjects),
		cmocka_unit_test(dates),
		cmocka_unit_test(long_chains),
		cmocka_unit_test(too_many_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
