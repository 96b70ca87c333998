/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/answers.h"
#include "auth/cache.h"
#include "auth/directory_sql.h"
#include "auth/lookup_answer.h"
#include "auth/lru.h"
#include "auth/penalty.h"
#include "auth/token.h"

/* ---- lru ---- */

static void
lru_bounded(void **state)
{
	struct lru *t = lru_create(1000, sizeof(int));
	char key[16];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		*(int *)lru_put(t, key) = i;
		assert_non_null(lru_find(t, "k0"));
	}
	assert_int_equal(lru_count(t), 1000);
	assert_int_equal(*(int *)lru_find(t, "k0"), 0);
	assert_int_equal(*(int *)lru_find(t, "k4999"), 4999);
	assert_null(lru_find(t, "k1"));
	assert_true(lru_remove(t, "k0"));
	assert_false(lru_remove(t, "k0"));
	lru_clear(t);
	assert_int_equal(lru_count(t), 0);
	assert_null(lru_find(t, "k4999"));
	lru_free(&t);
}

/* ---- penalties ---- */

static struct net_addr
addr_of(const char *text)
{
	struct net_addr a;

	assert_int_equal(net_addr_parse(str_of(text), 1, &a), OK);
	return a;
}

/* A phone with an old password, and the honest behind an address that guesses. */
static void
penalties_spare(void **state)
{
	struct penalty *p = penalty_create();
	struct net_addr a = addr_of("192.0.2.1:1000"), b = addr_of("192.0.2.2:1000");
	struct siphash old = penalty_wrong(p, "u@x.test", STR("old")),
		       other = penalty_wrong(p, "v@x.test", STR("old"));
	char name[32];

	(void)state;
	assert_false(siphash_equal(old, other));
	for (int i = 0; i < 100; i++)
		assert_int_equal(penalty_failure(p, &a, "u@x.test", &old, i, 15000), 250);
	/* Elsewhere a first mistake is a second one for the user, and no more. */
	assert_int_equal(penalty_failure(p, &b, "u@x.test", &other, 100, 15000), 500);
	penalty_success(p, &b, "u@x.test", 100);
	assert_int_equal(penalty_failure(p, &a, "u@x.test", &old, 101, 15000), 250);
	/* A token that has run out, of nobody knows whom. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(penalty_failure(p, &a, "", &other, 150, 15000), i ? 250 : 500);
	/* One address that guesses with other names. */
	for (int i = 0; i < PENALTY_HOLD_AFTER; i++) {
		assert_int_equal(penalty_hold(p, &b, "w@x.test", 200, 15000), 0);
		snprintf(name, sizeof(name), "n%d@x.test", i);
		penalty_failure(p, &b, name, NULL, 200, 15000);
	}
	assert_int_equal(penalty_hold(p, &b, "w@x.test", 200, 15000), 15000);
	assert_int_equal(penalty_hold(p, &b, NULL, 200, 15000), 15000);
	assert_int_equal(penalty_hold(p, &a, "w@x.test", 200, 15000), 0);
	/* He has logged in from there. */
	assert_int_equal(penalty_hold(p, &b, "u@x.test", 200, 15000), 0);
	assert_int_equal(penalty_hold(p, &b, NULL, 201 + PENALTY_FORGET_MS, 15000), 0);
	penalty_free(&p);
}

static void
penalties_grow(void **state)
{
	struct penalty *p = penalty_create();
	struct net_addr a = addr_of("192.0.2.1:1000"), b = addr_of("192.0.2.1:2000");
	static const int64_t want[] = {250, 500, 1000, 2000, 4000, 8000, 15000, 15000};
	size_t addresses, users;

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(
			penalty_failure(p, i % 2 ? &a : &b, NULL, NULL, 0, 15000), want[i]);
	/* A user is counted from every address. */
	assert_int_equal(penalty_failure(p, NULL, "u@x.test", NULL, 0, 15000), 250);
	assert_int_equal(penalty_failure(p, NULL, "u@x.test", NULL, 0, 15000), 500);
	assert_int_equal(penalty_failure(p, &a, "v@x.test", NULL, 0, 15000), 15000);
	penalty_counts(p, &addresses, &users);
	assert_int_equal(addresses, 1);
	assert_int_equal(users, 2);
	penalty_success(p, NULL, "u@x.test", 0);
	assert_int_equal(penalty_failure(p, NULL, "u@x.test", NULL, 0, 15000), 250);
	/* Forgotten after a while. */
	assert_int_equal(penalty_failure(p, &a, NULL, NULL, PENALTY_FORGET_MS + 1, 15000), 250);
	assert_int_equal(penalty_failure(p, &a, NULL, NULL, 0, 0), 0);
	penalty_flush(p, NULL);
	penalty_counts(p, &addresses, &users);
	assert_int_equal(addresses + users, 0);
	penalty_free(&p);
}

static void
penalties_by_network(void **state)
{
	struct penalty *p = penalty_create();
	struct net_addr l4 = addr_of("127.0.0.1:1"), l6 = addr_of("[::1]:1"),
			unix_addr = addr_of("/x");
	struct net_addr a = addr_of("[2001:db8::1]:1"), b = addr_of("[2001:db8::ffff:1]:1");
	struct net_addr c = addr_of("[2001:db8:0:1::1]:1");
	struct net_addr none = {0};

	(void)state;
	assert_int_equal(penalty_failure(p, &l4, NULL, NULL, 0, 15000), 0);
	assert_int_equal(penalty_failure(p, &l6, NULL, NULL, 0, 15000), 0);
	assert_int_equal(penalty_failure(p, &unix_addr, NULL, NULL, 0, 15000), 0);
	assert_int_equal(penalty_failure(p, &none, NULL, NULL, 0, 15000), 0);
	assert_int_equal(penalty_failure(p, &l4, "u", NULL, 0, 15000), 250);
	assert_int_equal(penalty_failure(p, &a, NULL, NULL, 0, 15000), 250);
	assert_int_equal(penalty_failure(p, &b, NULL, NULL, 0, 15000), 500);
	assert_int_equal(penalty_failure(p, &c, NULL, NULL, 0, 15000), 250);
	penalty_free(&p);
}

/* ---- tokens ---- */

static const char token_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char other_key[] = "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const struct token_use imap_use = {token_key, {"imap", 4}, {"s1", 2}};

static int
set_up_tokens(void **state)
{
	struct token_used *t;

	assert_int_equal(token_used_open(-1, &t), OK);
	*state = t;
	return 0;
}

static int
tear_down_tokens(void **state)
{
	struct token_used *t = *state;

	token_used_close(&t);
	return 0;
}

static struct cache_user
longest_user(void)
{
	struct cache_user u = {.quota_bytes = 7,
		.quota_messages = UINT64_MAX,
		.max_connections = 3,
		.max_connections_per_ip = 2};

	memset(u.name, 'n', sizeof(u.name) - 1);
	memset(u.quota_rules, 'r', sizeof(u.quota_rules) - 1);
	memset(u.acl_groups, 'g', sizeof(u.acl_groups) - 1);
	return u;
}

static void
assert_redeemed(struct token_used *t, struct str token, const struct token_use *use, enum err want)
{
	struct cache_user got, none = {0};

	assert_int_equal(token_redeem(t, use, token, 0, &got), want);
	if (want)
		assert_memory_equal(&got, &none, sizeof(got));
}

static void
a_token_holds_its_user(void **state)
{
	struct cache_user u = longest_user(), got;
	struct buf token = {0};

	assert_int_equal(token_issue(&imap_use, &u, 0, &token), OK);
	assert_in_range(token.len, 1, TOKEN_TEXT_MAX);
	assert_int_equal(token_redeem(*state, &imap_use, buf_str(&token), 29999, &got), OK);
	assert_memory_equal(&got, &u, sizeof(u));
	buf_free(&token);
}

static void
a_token_is_good_once(void **state)
{
	struct cache_user u = {.name = "alice@example.test"};
	struct token_used *first, *second;
	struct buf a = {0}, b = {0};
	int fd;

	(void)state;
	assert_int_equal(token_used_create(&fd), OK);
	assert_int_equal(token_used_open(fd, &first), OK);
	assert_int_equal(token_used_open(fd, &second), OK);
	token_issue(&imap_use, &u, 0, &a);
	token_issue(&imap_use, &u, 0, &b);
	assert_false(str_equal(buf_str(&a), buf_str(&b)));
	assert_redeemed(first, buf_str(&a), &imap_use, OK);
	assert_redeemed(first, buf_str(&a), &imap_use, E_NOTFOUND);
	assert_redeemed(second, buf_str(&a), &imap_use, E_NOTFOUND);
	for (size_t i = 0; i < a.len; i++)
		a.p[i] = str_upper(a.p[i]);
	assert_redeemed(first, buf_str(&a), &imap_use, E_NOTFOUND);
	/* Whoever issued it, and when the process before is gone. */
	token_used_close(&first);
	assert_redeemed(second, buf_str(&b), &imap_use, OK);
	token_used_close(&second);
	assert_int_equal(token_used_open(fd, &first), OK);
	assert_redeemed(first, buf_str(&b), &imap_use, E_NOTFOUND);
	token_used_close(&first);
	/* Memory of another kind is refused. */
	assert_int_not_equal(token_used_open(0, &first), OK);
	assert_null(first);
	close(fd);
	buf_free(&a);
	buf_free(&b);
}

static void
a_token_is_for_its_service_session_and_time(void **state)
{
	static const struct token_use others[] = {
		{token_key, {"pop3", 4}, {"s1", 2}},
		{token_key, {"imap", 4}, {"s2", 2}},
		{token_key, {"imaps", 5}, {"1", 1}},
		{token_key, {"imap", 4}, {"", 0}},
		{other_key, {"imap", 4}, {"s1", 2}},
		{"", {"imap", 4}, {"s1", 2}},
	};
	struct cache_user u = {.name = "alice@example.test"}, got;
	struct buf token = {0};

	token_issue(&imap_use, &u, 0, &token);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_redeemed(*state, buf_str(&token), &others[i], E_NOTFOUND);
	assert_int_equal(token_redeem(*state, &imap_use, buf_str(&token), 30000, &got), E_NOTFOUND);
	/* None of that has used it up. */
	assert_redeemed(*state, buf_str(&token), &imap_use, OK);
	buf_reset(&token);
	assert_int_equal(token_issue(&others[5], &u, 0, &token), E_RANGE);
	assert_int_equal(token.len, 0);
	buf_free(&token);
}

static void
a_token_that_was_changed_is_none(void **state)
{
	struct cache_user u = {.name = "alice@example.test"};
	struct buf token = {0};
	struct str text;

	token_issue(&imap_use, &u, 0, &token);
	text = buf_str(&token);
	for (size_t len = 0; len < text.len; len++)
		assert_redeemed(*state, str_make(text.p, len), &imap_use, E_NOTFOUND);
	for (size_t i = 0; i < text.len; i++) {
		char was = token.p[i];

		token.p[i] = was == '0' ? '1' : '0';
		assert_redeemed(*state, text, &imap_use, E_NOTFOUND);
		token.p[i] = 'g';
		assert_redeemed(*state, text, &imap_use, E_NOTFOUND);
		token.p[i] = was;
	}
	assert_redeemed(*state, text, &imap_use, OK);
	for (size_t len = text.len; len <= TOKEN_TEXT_MAX; len++)
		buf_add_char(&token, '0');
	assert_redeemed(*state, buf_str(&token), &imap_use, E_NOTFOUND);
	buf_free(&token);
}

/* A seal as it falls: all its bits differ from those of others. */
static int
mark(struct token_used *t, uint64_t n, int64_t expires_ms, int64_t now_ms)
{
	uint64_t seal = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	seal = (seal ^ seal >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	seal = (seal ^ seal >> 27) * UINT64_C(0x94d049bb133111eb);
	seal ^= seal >> 31;
	return token_used_mark(t, &seal, expires_ms, now_ms);
}

static void
marks_last_until_they_expire(void **state)
{
	/* Also where the seconds' lower bits begin anew. */
	static const int64_t starts[] = {0, 999, 1000 * ((INT64_C(1) << 24) - 10), INT64_MAX / 4};
	struct token_used *t = *state;

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		int64_t now = starts[i];

		assert_true(mark(t, i, now + 30000, now));
		assert_false(mark(t, i, now + 30000, now));
		assert_false(mark(t, i, now + 30000, now + 29999));
		assert_true(mark(t, i, now + 70000, now + 40000));
		assert_false(mark(t, i, now + 70000, now + 40000));
	}
}

/* 100,000 in half a minute, all of them once; what is too much for the table costs old marks only.
 */
static void
many_marks(void **state)
{
	struct token_used *t = *state;
	size_t twice = 0;

	for (uint64_t n = 0; n < 100000; n++)
		assert_true(mark(t, n, 30000 + (int64_t)n / 4, (int64_t)n / 4));
	for (uint64_t n = 0; n < 100000; n++)
		twice += (size_t)mark(t, n, 60000, 25000);
	assert_int_equal(twice, 0);
	for (uint64_t n = 100000; n < 100000 + 3 * TOKEN_USED_MAX; n++)
		assert_true(mark(t, n, 60000, 25000));
}

struct racer {
	struct token_used *t;
	pthread_t thread;
	unsigned char won[20000];
};

static void *
race(void *arg)
{
	struct racer *r = arg;

	for (size_t n = 0; n < sizeof(r->won); n++)
		r->won[n] = (unsigned char)mark(r->t, n, 30000, 0);
	return NULL;
}

static void
one_at_most_wins(void **state)
{
	struct racer *r = calloc(3, sizeof(*r));
	size_t sum = 0;

	for (size_t i = 0; i < 3; i++) {
		r[i].t = *state;
		assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
	}
	for (size_t i = 0; i < 3; i++)
		pthread_join(r[i].thread, NULL);
	for (size_t n = 0; n < sizeof(r->won); n++) {
		assert_in_range(r[0].won[n] + r[1].won[n] + r[2].won[n], 0, 1);
		sum += r[0].won[n] + r[1].won[n] + r[2].won[n];
	}
	/* None would be safe, and of no use. */
	assert_in_range(sum, sizeof(r->won) * 9 / 10, sizeof(r->won));
	free(r);
}

/* ---- cache ---- */

static void
cache_forgets(void **state)
{
	struct cache *c = cache_create(1000);
	struct cache_user u = {.name = "alice@example.test"}, got;
	uint64_t gen = cache_generation(c);

	(void)state;
	cache_add(c, "alice@example.test", STR("pw"), 0, gen, &u);
	cache_add(c, "alice@alias.test", STR("pw"), 0, gen, &u);
	assert_true(cache_find(c, "alice@example.test", STR("pw"), 999, &got));
	assert_string_equal(got.name, "alice@example.test");
	assert_false(cache_find(c, "alice@example.test", STR("pw"), 1000, &got));
	assert_false(cache_find(c, "alice@example.test", STR("pW"), 0, &got));
	assert_false(cache_find(c, "bob@example.test", STR("pw"), 0, &got));
	assert_false(cache_find(c, "alice@example.test", STR(""), 0, &got));
	cache_flush(c, "alice@example.test");
	assert_false(cache_find(c, "alice@example.test", STR("pw"), 0, &got));
	assert_false(cache_find(c, "alice@alias.test", STR("pw"), 0, &got));
	/* What was read before a change is not remembered after it. */
	cache_add(c, "alice@example.test", STR("pw"), 0, gen, &u);
	assert_false(cache_find(c, "alice@example.test", STR("pw"), 0, &got));
	gen = cache_generation(c);
	cache_add(c, "alice@example.test", STR("pw"), 0, gen, &u);
	assert_true(cache_find(c, "alice@example.test", STR("pw"), 0, &got));
	cache_set_ttl(c, 0);
	cache_add(c, "alice@example.test", STR("pw"), 0, cache_generation(c), &u);
	assert_false(cache_find(c, "alice@example.test", STR("pw"), 0, &got));
	cache_free(&c);
}

/* ---- answers of the directory ---- */

/* What is remembered at that time; NULL: nothing. On the heap. */
static char *
recalled(struct answers *a, const char *question, int64_t now_ms)
{
	struct buf b = {0};
	char *text = NULL;

	if (answers_find(a, question, now_ms, &b))
		text = str_dup(buf_str(&b));
	else
		assert_int_equal(b.len, 0);
	buf_free(&b);
	return text;
}

static void
assert_recalled(struct answers *a, const char *question, int64_t now_ms, const char *want)
{
	char *got = recalled(a, question, now_ms);

	if (want) {
		assert_non_null(got);
		assert_string_equal(got, want);
	} else {
		assert_null(got);
	}
	free(got);
}

static void
answers_are_forgotten(void **state)
{
	struct answers *a = answers_create(1000, 1 << 20);
	uint64_t old = answers_generation(a);
	struct answers_stats stats;

	(void)state;
	assert_recalled(a, "x", 0, NULL);
	answers_add(a, "x", 0, old, STR("one"));
	answers_add(a, "y", 0, old, STR(""));
	assert_recalled(a, "x", 999, "one");
	assert_recalled(a, "y", 0, "");
	answers_add(a, "x", 500, old, STR("two"));
	assert_recalled(a, "x", 1499, "two");
	assert_recalled(a, "x", 1500, NULL);
	assert_recalled(a, "X", 500, NULL);
	answers_forget(a);
	assert_recalled(a, "x", 500, NULL);
	answers_stats(a, &stats);
	assert_int_equal(stats.entries + stats.bytes, 0);
	/* What was read before a change is not remembered after it. */
	answers_add(a, "x", 0, old, STR("old"));
	assert_recalled(a, "x", 0, NULL);
	answers_add(a, "x", 0, answers_generation(a), STR("new"));
	assert_recalled(a, "x", 0, "new");
	answers_set_limits(a, 0, 1 << 20);
	answers_add(a, "x", 0, answers_generation(a), STR("new"));
	assert_recalled(a, "x", 0, NULL);
	answers_set_limits(a, 1000, 0);
	answers_add(a, "x", 0, answers_generation(a), STR("new"));
	assert_recalled(a, "x", 0, NULL);
	answers_free(&a);
}

static void
answers_are_bounded(void **state)
{
	enum { MAX = 100000 };
	struct answers *a = answers_create(1000, MAX);
	uint64_t generation = answers_generation(a);
	struct answers_stats stats;
	char question[16], large[MAX / ANSWERS_LARGEST_PART];

	(void)state;
	memset(large, 'x', sizeof(large));
	for (int i = 0; i < 5000; i++) {
		snprintf(question, sizeof(question), "q%d", i);
		answers_add(a, question, 0, generation, str_make(large, (size_t)i % 3000));
		answers_add(a, "used", 0, generation, STR("still there"));
		answers_stats(a, &stats);
		assert_in_range(stats.bytes, 1, MAX);
		assert_recalled(a, "used", 0, "still there");
	}
	assert_in_range(stats.entries, 10, 500);
	assert_recalled(a, "q0", 0, NULL);
	/* One that would push many others out is not taken. */
	answers_add(a, "large", 0, generation, str_make(large, sizeof(large)));
	assert_recalled(a, "large", 0, NULL);
	assert_recalled(a, "used", 0, "still there");
	answers_free(&a);
}

/* Two questions with the same letters are not the same. */
static void
questions_differ(void **state)
{
	char one[LOOKUP_QUESTION_SIZE], two[LOOKUP_QUESTION_SIZE];
	char longest[FRAME_ADDRESS_MAX] = {0};
	struct str long_str = str_make(longest, sizeof(longest));

	(void)state;
	assert_true(lookup_question(AUTH_MAY_SEND_AS, STR("ab"), STR("c"), one));
	assert_true(lookup_question(AUTH_MAY_SEND_AS, STR("a"), STR("bc"), two));
	assert_string_not_equal(one, two);
	assert_true(lookup_question(AUTH_LOOKUP_RCPT, STR(""), STR("abc"), one));
	assert_true(lookup_question(AUTH_LOOKUP_USER, STR(""), STR("abc"), two));
	assert_string_not_equal(one, two);
	assert_false(lookup_question(AUTH_RESUME, STR(""), STR("abc"), two));
	memset(longest, 'x', sizeof(longest));
	assert_true(lookup_question(AUTH_MAY_SEND_AS, long_str, long_str, one));
	longest[sizeof(longest) - 1] = 'y';
	assert_true(lookup_question(AUTH_MAY_SEND_AS, long_str, long_str, two));
	assert_string_not_equal(one, two);
}

static void
an_answer_is_kept_whole(void **state)
{
	struct lookup_answer in = {.is_good = 1, .detail = "notes", .moved_to = "mail.test"}, out;
	struct buf b = {0};

	(void)state;
	in.mailbox = longest_user();
	in.mailbox.max_connections = in.mailbox.max_connections_per_ip = 0;
	lookup_answer_pack(AUTH_LOOKUP_USER, &in, &b);
	assert_int_equal(lookup_answer_unpack(AUTH_LOOKUP_USER, buf_str(&b), &out), OK);
	assert_memory_equal(&in, &out, sizeof(in));
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(
			lookup_answer_unpack(AUTH_LOOKUP_USER, str_make(b.p, len), &out), E_PROTO);
	buf_reset(&b);
	in = (struct lookup_answer){.result = E_NOTFOUND};
	lookup_answer_pack(AUTH_LOOKUP_USER, &in, &b);
	assert_int_equal(lookup_answer_unpack(AUTH_LOOKUP_USER, buf_str(&b), &out), OK);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_true(lookup_answer_is_lasting(&out));
	out.result = E_TEMPFAIL;
	assert_false(lookup_answer_is_lasting(&out));
	buf_free(&b);
}

/* ---- named parameters ---- */

static void
parameters(void **state)
{
	static const struct {
		const char *in, *out;
		size_t count;
	} rows[] = {
		{"SELECT 1", "SELECT 1", 0},
		{"SELECT :domain", "SELECT $1", 1},
		{"x=:local AND y=:domain OR z=:local", "x=$1 AND y=$2 OR z=$1", 2},
		{"x=':domain' \":local\" -- :nope\n:domain", "x=':domain' \":local\" -- :nope\n$1",
			1},
		{"/* :nope */ :address::text", "/* :nope */ $1::text", 1},
		{"'it''s :nope' :domain", "'it''s :nope' $1", 1},
		{"a[1:2] :", "a[1:2] :", 0},
		{"SELECT :nope", NULL, 0},
		{"SELECT :domains", NULL, 0},
		{"SELECT 'open", NULL, 0},
		{"SELECT /* open", NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct db_statement st;
		char *why = NULL;
		enum err e = db_statement_compile(rows[i].in, '$', &st, &why);

		assert_int_equal(e, rows[i].out ? OK : E_PARSE);
		if (e) {
			assert_non_null(why);
		} else {
			assert_string_equal(st.sql, rows[i].out);
			assert_int_equal(st.param_count, rows[i].count);
		}
		free(why);
		db_statement_free(&st);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lru_bounded),
		cmocka_unit_test(penalties_grow),
		cmocka_unit_test(penalties_spare),
		cmocka_unit_test(penalties_by_network),
		cmocka_unit_test_setup_teardown(
			a_token_holds_its_user, set_up_tokens, tear_down_tokens),
		cmocka_unit_test(a_token_is_good_once),
		cmocka_unit_test_setup_teardown(
			marks_last_until_they_expire, set_up_tokens, tear_down_tokens),
		cmocka_unit_test_setup_teardown(many_marks, set_up_tokens, tear_down_tokens),
		cmocka_unit_test_setup_teardown(one_at_most_wins, set_up_tokens, tear_down_tokens),
		cmocka_unit_test_setup_teardown(a_token_is_for_its_service_session_and_time,
			set_up_tokens, tear_down_tokens),
		cmocka_unit_test_setup_teardown(
			a_token_that_was_changed_is_none, set_up_tokens, tear_down_tokens),
		cmocka_unit_test(cache_forgets),
		cmocka_unit_test(answers_are_forgotten),
		cmocka_unit_test(answers_are_bounded),
		cmocka_unit_test(questions_differ),
		cmocka_unit_test(an_answer_is_kept_whole),
		cmocka_unit_test(parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
