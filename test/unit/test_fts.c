/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/fts/fts_query.h"
#include "index/fts/fts_stem.h"
#include "index/fts/fts_store.h"
#include "index/fts/fts_terms.h"
#include "lib/mem.h"
#include "mail/casemap.h"

static const char object_id[] = "0123456789abcdef0123456789abcdef";

static int
setup(void **state)
{
	char *dir = mem_strdup("/tmp/test-fts-XXXXXX");

	assert_non_null(mkdtemp(dir));
	*state = dir;
	return 0;
}

static int
teardown(void **state)
{
	(void)fts_store_remove(*state, "words");
	(void)fts_store_remove(*state, "new");
	rmdir(*state);
	free(*state);
	return 0;
}

static void
id_of(unsigned n, unsigned char id[FTS_ID_LEN])
{
	memset(id, 0, FTS_ID_LEN);
	memcpy(id, &n, sizeof(n));
	memcpy(id + 8, &n, sizeof(n));
}

/* A document with this text as its body, under UID n. */
static enum err
add_text(struct fts_store *s, unsigned n, enum fts_class class, const char *text)
{
	unsigned char id[FTS_ID_LEN];
	struct fts_terms terms = {0};
	enum err e;

	id_of(n, id);
	fts_terms_add_text(&terms, class, str_of(text));
	fts_terms_finish(&terms);
	e = fts_store_add(s, id, terms.list, terms.count, terms.incomplete);
	fts_terms_free(&terms);
	return e;
}

static int
bit(const struct fts_bits *b, unsigned n)
{
	return (int)(b->v[n / 64] >> n % 64 & 1);
}

static struct fts_found
ask_how(struct fts_store *s, enum fts_where where, enum fts_how how, const char *needle,
	struct fts_stemmer *stemmer)
{
	struct fts_question question = {where, how, STR(""), stemmer};
	struct fts_found found;
	struct buf folded = {0};

	casemap_fold(str_of(needle), &folded);
	question.needle = buf_str(&folded);
	assert_int_equal(fts_query_run(s, &question, &found), OK);
	buf_free(&folded);
	return found;
}

static char
answer_of(const struct fts_found *found, unsigned n)
{
	return bit(&found->yes, n) ? 'y' : bit(&found->maybe, n) || found->all_maybe ? '?' : 'n';
}

/* 'y', 'n' or '?' of document n. */
static char
answer(struct fts_store *s, enum fts_where where, const char *needle, unsigned n)
{
	struct fts_found found = ask_how(s, where, FTS_SUBSTRING, needle, NULL);
	char c = answer_of(&found, n);

	fts_found_free(&found);
	return c;
}

static void
test_answers(void **state)
{
	struct fts_store *s;

	assert_int_equal(fts_store_open(*state, "words", 0, &s), E_NOTFOUND);
	assert_int_equal(fts_store_open(*state, "words", 1, &s), OK);
	assert_int_equal(add_text(s, 1, FTS_BODY, "The quick brown fox"), OK);
	assert_int_equal(add_text(s, 2, FTS_HEADER, "Subject: quickly"), OK);
	assert_int_equal(add_text(s, 3, FTS_ATTACHED, "in the attachment, quick"), OK);
	assert_int_equal(fts_store_commit(s), OK);
	fts_store_close(&s);
	assert_int_equal(fts_store_open(*state, "words", 0, &s), OK);
	assert_int_equal(answer(s, FTS_IN_BODY, "uic", 1), 'y');
	assert_int_equal(answer(s, FTS_IN_BODY, "uic", 2), 'n');
	assert_int_equal(answer(s, FTS_IN_TEXT, "uic", 2), 'y');
	assert_int_equal(answer(s, FTS_IN_TEXT, "QUICKLY", 1), 'n');
	assert_int_equal(answer(s, FTS_IN_BODY, "quick brown", 1), '?');
	assert_int_equal(answer(s, FTS_IN_BODY, "row quick", 1), 'n');
	assert_int_equal(answer(s, FTS_IN_BODY, "quick brown", 2), 'n');
	/* Nobody can look at what an extractor made: its words have to do. */
	assert_int_equal(answer(s, FTS_IN_BODY, "e attach", 3), 'y');
	assert_int_equal(answer(s, FTS_IN_BODY, ", ", 1), '?');
	fts_store_close(&s);
}

static void
test_reader_follows(void **state)
{
	struct fts_store *writer, *reader;
	struct fts_mailbox box = {.uidvalidity = 7}, seen;

	assert_int_equal(fts_store_open(*state, "words", 1, &writer), OK);
	assert_int_equal(add_text(writer, 1, FTS_BODY, "one"), OK);
	assert_int_equal(fts_store_commit(writer), OK);
	assert_int_equal(fts_store_open(*state, "words", 0, &reader), OK);
	assert_int_equal(add_text(writer, 2, FTS_BODY, "two"), OK);
	numset_add_range(&box.uids, 1, 2);
	assert_int_equal(fts_mailbox_put(writer, object_id, &box), OK);
	assert_int_equal(fts_store_refresh(reader), OK);
	assert_int_equal(reader->id_count, 2);
	assert_int_equal(fts_store_commit(writer), OK);
	assert_int_equal(fts_store_refresh(reader), OK);
	assert_int_equal(reader->id_count, 3);
	assert_int_equal(answer(reader, FTS_IN_BODY, "tw", 2), 'y');
	assert_int_equal(fts_mailbox_get(reader, object_id, &seen), OK);
	assert_int_equal(seen.uidvalidity, 7);
	assert_int_equal(numset_size(&seen.uids), 2);
	fts_mailbox_free(&seen);
	fts_mailbox_free(&box);
	fts_store_close(&writer);
	/* Another one in its place. */
	assert_int_equal(fts_store_compact(*state), OK);
	assert_int_equal(fts_store_refresh(reader), E_NOTFOUND);
	fts_store_close(&reader);
	assert_int_equal(fts_store_open(*state, "words", 0, &reader), OK);
	assert_int_equal(answer(reader, FTS_IN_BODY, "tw", 2), 'y');
	fts_store_close(&reader);
}

/* Answers of three documents as "yn?", and of those that are yes the relevancy. */
static void
check_words(struct fts_store *s, enum fts_where where, enum fts_how how, const char *needle,
	struct fts_stemmer *stemmer, const char *want)
{
	struct fts_found found = ask_how(s, where, how, needle, stemmer);
	struct buf scores = {0};
	char got[4] = {answer_of(&found, 1), answer_of(&found, 2), answer_of(&found, 3), '\0'};
	size_t yes = 0;

	if (strcmp(got, want) != 0)
		fail_msg("%s gave %s and not %s", needle, got, want);
	for (int i = 0; i < 3; i++)
		yes += got[i] == 'y';
	fts_found_scores(s, &found, &scores);
	assert_int_equal(scores.len, how == FTS_FUZZY && where != FTS_IN_HEADER ? yes : 0);
	for (size_t i = 0; i < scores.len; i++)
		assert_in_range((unsigned char)scores.p[i], 1, 100);
	buf_free(&scores);
	fts_found_free(&found);
}

static void
test_words(void **state)
{
	char english[] = "english", german[] = "de", none[] = "klingon";
	char *names[] = {english, german, none, NULL};
	struct conf_list languages = {names, 3};
	struct fts_stemmer *stemmer = fts_stemmer_create(&languages);
	struct fts_store *s;

	assert_non_null(stemmer);
	assert_int_equal(fts_store_open(*state, "words", 1, &s), OK);
	assert_int_equal(
		add_text(s, 1, FTS_BODY, "Caf\xc3\xa9s were broken, H\xc3\xa4user not"), OK);
	assert_int_equal(add_text(s, 2, FTS_HEADER, "Subject: hello cafe mailbox"), OK);
	assert_int_equal(add_text(s, 3, FTS_ATTACHED, "help the brokers"), OK);
	assert_int_equal(fts_store_commit(s), OK);
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "cafe", NULL, "yyn");
	check_words(s, FTS_IN_BODY, FTS_BY_WORDS, "caf\xc3\xa9", NULL, "ynn");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "afe", NULL, "nnn");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "broken cafe", NULL, "ynn");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "broke", NULL, "yny");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "breaking", NULL, "nnn");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "hauses", NULL, "nnn");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "hauses", stemmer, "ynn");
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, "mailboxes", stemmer, "nyn");
	check_words(s, FTS_IN_HEADER, FTS_BY_WORDS, "mail", NULL, "n?n");
	/* No word at all: the string itself, which has to be looked for. */
	check_words(s, FTS_IN_TEXT, FTS_BY_WORDS, ", ", NULL, "???");
	check_words(s, FTS_IN_TEXT, FTS_FUZZY, "helo", NULL, "nyy");
	check_words(s, FTS_IN_BODY, FTS_FUZZY, "helo", NULL, "nny");
	check_words(s, FTS_IN_TEXT, FTS_FUZZY, "malibox helo", NULL, "nyn");
	check_words(s, FTS_IN_HEADER, FTS_FUZZY, "malibox", NULL, "n?n");
	check_words(s, FTS_IN_TEXT, FTS_FUZZY, "mailboxes", stemmer, "nyn");
	check_words(s, FTS_IN_TEXT, FTS_FUZZY, "xelo", NULL, "nnn");
	fts_store_close(&s);
	fts_stemmer_free(&stemmer);
	assert_null(stemmer);
	languages.count = 0;
	assert_null(fts_stemmer_create(&languages));
}

/* What an index cannot say of words: more terms than are looked up, more text than is kept. */
static void
test_words_unknown(void **state)
{
	struct buf text = {0};
	struct fts_store *s;

	for (unsigned i = 0; i < 3500; i++)
		buf_printf(&text, "abc%u ", i);
	assert_int_equal(fts_store_open(*state, "words", 1, &s), OK);
	assert_int_equal(add_text(s, 1, FTS_BODY, buf_cstr(&text)), OK);
	assert_int_equal(add_text(s, 2, FTS_BODY, "abcd"), OK);
	assert_int_equal(add_text(s, 3, FTS_BODY, "other"), OK);
	assert_int_equal(fts_store_commit(s), OK);
	check_words(s, FTS_IN_BODY, FTS_BY_WORDS, "abc1", NULL, "ynn");
	check_words(s, FTS_IN_BODY, FTS_BY_WORDS, "abc", NULL, "y??");
	/* The best come first: they are not cut. */
	check_words(s, FTS_IN_BODY, FTS_FUZZY, "abcd", NULL, "yyn");
	fts_store_close(&s);
	buf_free(&text);
}

/* More text than is kept: the message is not said to lack anything. */
static void
test_incomplete(void **state)
{
	struct buf text = {0};
	struct fts_store *s;

	for (unsigned i = 0; i < FTS_TERMS_MAX + 10; i++)
		buf_printf(&text, "w%u ", i);
	assert_int_equal(fts_store_open(*state, "words", 1, &s), OK);
	assert_int_equal(add_text(s, 1, FTS_BODY, buf_cstr(&text)), OK);
	assert_int_equal(add_text(s, 2, FTS_BODY, "w"), OK);
	assert_int_equal(fts_store_commit(s), OK);
	assert_int_equal(answer(s, FTS_IN_BODY, "w17", 1), 'y');
	assert_int_equal(answer(s, FTS_IN_BODY, "absent", 1), '?');
	assert_int_equal(answer(s, FTS_IN_BODY, "absent", 2), 'n');
	/* More terms than are looked up: the others are unknown. */
	assert_int_equal(answer(s, FTS_IN_BODY, "w", 1), 'y');
	fts_store_close(&s);
	buf_free(&text);
}

/* A term of a megabyte, and one message in which everything is one. */
static void
test_long_terms(void **state)
{
	struct buf text = {0};
	struct fts_store *s;

	for (unsigned i = 0; i < 1 << 20; i++)
		buf_add_char(&text, (char)('a' + (i * i / 7 + i) % 26));
	assert_int_equal(fts_store_open(*state, "words", 1, &s), OK);
	assert_int_equal(add_text(s, 1, FTS_BODY, buf_cstr(&text)), OK);
	assert_int_equal(fts_store_commit(s), OK);
	for (size_t at = 0; at < text.len - 100; at += 104729) {
		char *short_one = mem_strndup(text.p + at, 31), *long_one;

		long_one = mem_strndup(text.p + at, 90);
		assert_int_equal(answer(s, FTS_IN_BODY, short_one, 1), 'y');
		assert_int_equal(answer(s, FTS_IN_BODY, long_one, 1), '?');
		free(short_one);
		free(long_one);
	}
	fts_store_close(&s);
	buf_free(&text);
}

static void
make_some(const char *dir)
{
	struct fts_store *s;

	assert_int_equal(fts_store_remove(dir, "words"), OK);
	assert_int_equal(fts_store_open(dir, "words", 1, &s), OK);
	for (unsigned n = 1; n < 300; n++) {
		char *text = mem_printf("common word%u x%ux", n, n * 7919);

		assert_int_equal(add_text(s, n, FTS_BODY, text), OK);
		free(text);
	}
	assert_int_equal(fts_store_commit(s), OK);
	fts_store_close(&s);
}

/* ---- kill -9 ---- */

/* Adds documents, a few in each commit, until it is killed. */
static void __attribute__((noreturn)) add_for_ever(const char *dir)
{
	struct fts_mailbox box;
	struct fts_store *s;

	if (fts_store_open(dir, "words", 1, &s) || fts_mailbox_get(s, object_id, &box))
		_exit(1);
	for (;;) {
		for (int i = 0; i < 3; i++) {
			unsigned n = s->id_count;
			char *text = mem_printf("common word%u", n);

			if (add_text(s, n, FTS_BODY, text))
				_exit(2);
			free(text);
			numset_add(&box.uids, n);
		}
		if (fts_mailbox_put(s, object_id, &box) || fts_store_commit(s))
			_exit(3);
	}
}

/* What a kill leaves is a store that opens, in which all that is said to be in is in. */
static unsigned
check_whole(const char *dir)
{
	struct fts_mailbox box;
	struct fts_store *s;
	unsigned docs;
	enum err e = fts_store_open(dir, "words", 1, &s);

	/* The lock of who was killed goes with the last of his processes. */
	for (int i = 0; e == E_CONFLICT && i < 250; i++) {
		(void)usleep(20 * 1000);
		e = fts_store_open(dir, "words", 1, &s);
	}
	assert_int_equal(e, OK);
	docs = s->id_count - 1;
	assert_int_equal(fts_mailbox_get(s, object_id, &box), OK);
	assert_int_equal(numset_size(&box.uids), docs);
	for (int i = 0; i < 3 && docs; i++) {
		unsigned n = 1 + (unsigned)random() % docs;
		char *text = mem_printf("word%u", n);

		assert_int_equal(answer(s, FTS_IN_BODY, text, n), 'y');
		assert_int_equal(answer(s, FTS_IN_BODY, "ommo", n), 'y');
		free(text);
	}
	fts_mailbox_free(&box);
	fts_store_close(&s);
	return docs;
}

static void
test_killed_at_any_moment(void **state)
{
	enum { KILLS = 200 };
	unsigned docs = 0, in_vain = 0;
	long us = 1000; /* within which it is killed */

	srandom(3);
	for (int i = 0; i < KILLS; i++) {
		unsigned before = docs;
		int status;
		pid_t pid;

		/* Its making, too; in the end there is something in it. */
		if (i % 8 == 0 && i < KILLS / 2)
			assert_int_equal(fts_store_remove(*state, "words"), OK);
		pid = fork();
		if (pid == 0)
			add_for_ever(*state);
		usleep((unsigned)(random() % us));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		docs = check_whole(*state);
		/* How fast the machine is shows in what was done. */
		in_vain = docs > before ? 0 : in_vain + 1;
		if (in_vain == 4 && us < 1000000) {
			us *= 2;
			in_vain = 0;
		}
	}
	assert_true(docs > 0);
}

/* A database whose making was cut off before its last step is none: it is made anew. */
static void
test_half_made(void **state)
{
	struct fts_store *s;
	char *last = mem_printf("%s/words/iamglass", (const char *)*state);

	make_some(*state);
	assert_int_equal(unlink(last), 0);
	assert_int_equal(fts_store_open(*state, "words", 0, &s), E_NOTFOUND);
	assert_int_equal(fts_store_open(*state, "words", 1, &s), OK);
	assert_int_equal(s->id_count, 1);
	fts_store_close(&s);
	free(last);
}

/* ---- damage ---- */

static void
spoil(const char *dir, const char *name, size_t at, size_t len)
{
	char *path = mem_printf("%s/words/%s", dir, name);
	int fd = open(path, O_WRONLY);
	char junk[4096];

	assert_true(fd >= 0);
	memset(junk, 0x5a, sizeof(junk));
	assert_int_equal(pwrite(fd, junk, len, (off_t)at), (ssize_t)len);
	close(fd);
	free(path);
}

/* It is seen to be damaged when it is opened or asked; nothing else happens. */
static void
test_damage_is_seen(void **state)
{
	static const struct {
		const char *name;
		size_t at, len;
	} cases[] = {
		{"lexicon-body", 10, 1},
		{"lexicon-body", 0, 100},
		{"iamglass", 0, 40},
		{"postlist.glass", 0, 4096},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fts_store *s;
		struct fts_found found;
		enum err e;

		make_some(*state);
		spoil(*state, cases[i].name, cases[i].at, cases[i].len);
		e = fts_store_open(*state, "words", 0, &s);
		if (!e) {
			static const struct fts_question question = {
				FTS_IN_BODY, FTS_SUBSTRING, {"COMMON", 6}, NULL};

			e = fts_query_run(s, &question, &found);
			fts_found_free(&found);
		}
		assert_int_equal(e, E_CORRUPT);
		fts_store_close(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reader_follows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_words_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_incomplete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_terms, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_at_any_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_made, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_is_seen, setup, teardown),
	};

	return cmocka_run_group_tests_name("fts", tests, NULL, NULL);
}
