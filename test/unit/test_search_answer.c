/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "imap/search.h"
#include "lib/buf.h"
#include "lib/mem.h"
#include "lib/stream.h"
#include "search_mail.h"

/* What SEARCH says, and how: RETURN, mod-sequences, ids, FUZZY, progress. */

static void
check_answers(const char *const (*rows)[2], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str said = fake_run(&fake, rows[i][0]);

		if (strcmp(said.p, rows[i][1]) != 0)
			fail_msg("%s gave\n%s and not\n%s", rows[i][0], said.p, rows[i][1]);
	}
}
#define CHECK_ANSWERS(rows) check_answers((rows), sizeof(rows) / sizeof((rows)[0]))
#define DONE "a OK SEARCH completed\r\n"
#define UID_DONE "a OK UID SEARCH completed\r\n"

static void
return_options(void **state)
{
	static const char *const rows[][2] = {
		{"a SEARCH RETURN () ALL", "* ESEARCH (TAG \"a\") ALL 1:4\r\n" DONE},
		{"a SEARCH RETURN (ALL) SEEN", "* ESEARCH (TAG \"a\") ALL 1,3\r\n" DONE},
		{"a SEARCH RETURN (MIN COUNT) NOT SEEN",
			"* ESEARCH (TAG \"a\") MIN 2 COUNT 2\r\n" DONE},
		{"a UID SEARCH RETURN (MIN MAX) 1:3",
			"* ESEARCH (TAG \"a\") UID MIN 10 MAX 30\r\n" UID_DONE},
		{"a UID SEARCH RETURN (ALL) ALL",
			"* ESEARCH (TAG \"a\") UID ALL 10,20,30,40\r\n" UID_DONE},
		/* Nothing found: MIN, MAX and ALL are left out, COUNT is not. */
		{"a SEARCH RETURN (MIN MAX ALL COUNT) LARGER 99999",
			"* ESEARCH (TAG \"a\") COUNT 0\r\n" DONE},
		{"a SEARCH RETURN (MIN) LARGER 99999", "* ESEARCH (TAG \"a\")\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 2:3) ALL",
			"* ESEARCH (TAG \"a\") PARTIAL (2:3 2:3)\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 9:3 MIN) ALL",
			"* ESEARCH (TAG \"a\") MIN 1 PARTIAL (9:3 3:4)\r\n" DONE},
		{"a UID SEARCH RETURN (PARTIAL -1:-3) ALL",
			"* ESEARCH (TAG \"a\") UID PARTIAL (-1:-3 20,30,40)\r\n" UID_DONE},
		{"a SEARCH RETURN (PARTIAL -4:-4294967295) ALL",
			"* ESEARCH (TAG \"a\") PARTIAL (-4:-4294967295 1)\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 5:500) ALL",
			"* ESEARCH (TAG \"a\") PARTIAL (5:500 NIL)\r\n" DONE},
		{"a SEARCH RETURN (COUNT) CHARSET UTF-8 SUBJECT lunch",
			"* ESEARCH (TAG \"a\") COUNT 1\r\n" DONE},
	};

	(void)state;
	CHECK_ANSWERS(rows);
}

/* RFC 5182 */
static void
saved_result(void **state)
{
	static const char *const rows[][2] = {
		{"a SEARCH $", "* SEARCH\r\n" DONE},
		{"a SEARCH RETURN (SAVE) SEEN", DONE},
		{"a SEARCH $", "* SEARCH 1 3\r\n" DONE},
		{"a UID SEARCH UID $ FLAGGED", "* SEARCH 10\r\n" UID_DONE},
		{"a SEARCH OR $ 4", "* SEARCH 1 3 4\r\n" DONE},
		{"a SEARCH NOT $", "* SEARCH 2 4\r\n" DONE},
		{"a UID FETCH $ UID", "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
				      "a OK UID FETCH completed\r\n"},
		{"a FETCH $ UID", "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
				  "a OK FETCH completed\r\n"},
		/* What does not save changes nothing. */
		{"a SEARCH RETURN (ALL) ALL", "* ESEARCH (TAG \"a\") ALL 1:4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 1 3\r\n" DONE},
		{"a SEARCH RETURN (SAVE MAX) ALL", "* ESEARCH (TAG \"a\") MAX 4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE MIN MAX) ALL",
			"* ESEARCH (TAG \"a\") MIN 1 MAX 4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 1 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE MIN COUNT) ALL",
			"* ESEARCH (TAG \"a\") MIN 1 COUNT 4\r\n" DONE},
		{"a SEARCH $", "* SEARCH 1 2 3 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE PARTIAL 2:3 MAX) ALL",
			"* ESEARCH (TAG \"a\") MAX 4 PARTIAL (2:3 2:3)\r\n" DONE},
		{"a SEARCH $", "* SEARCH 2 3 4\r\n" DONE},
		{"a SEARCH RETURN (SAVE) CHARSET X-NONE ALL",
			"a NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1)] This charset is not known "
			"here\r\n"},
		{"a SEARCH $", "* SEARCH\r\n" DONE},
		{"a FETCH $ UID", "a OK FETCH completed\r\n"},
	};

	(void)state;
	CHECK_ANSWERS(rows);
}

/* RFC 7162 section 3.1.5, RFC 4731 section 3.2 */
static void
mod_sequences(void **state)
{
	static const char *const rows[][2] = {
		{"a SEARCH MODSEQ 2", "* SEARCH 2 3 (MODSEQ 9)\r\n" DONE},
		{"a SEARCH MODSEQ \"/flags/\\\\draft\" all 4", "* SEARCH 2 (MODSEQ 9)\r\n" DONE},
		{"a SEARCH MODSEQ 99", "* SEARCH\r\n" DONE},
		{"a SEARCH OR NOT MODSEQ 2 LARGER 99999", "* SEARCH 1 4 (MODSEQ 1)\r\n" DONE},
		{"a SEARCH RETURN (MAX) MODSEQ 1", "* ESEARCH (TAG \"a\") MAX 4 MODSEQ 1\r\n" DONE},
		{"a SEARCH RETURN (MIN MAX) MODSEQ 2",
			"* ESEARCH (TAG \"a\") MIN 2 MAX 3 MODSEQ 9\r\n" DONE},
		{"a SEARCH RETURN (MAX COUNT) MODSEQ 1",
			"* ESEARCH (TAG \"a\") MAX 4 COUNT 4 MODSEQ 9\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 3:4) MODSEQ 1",
			"* ESEARCH (TAG \"a\") PARTIAL (3:4 3:4) MODSEQ 3\r\n" DONE},
		{"a SEARCH RETURN (COUNT) MODSEQ 99", "* ESEARCH (TAG \"a\") COUNT 0\r\n" DONE},
	};

	(void)state;
	fake.session.enabled = IMAP_CONDSTORE; /* else the first such search tells HIGHESTMODSEQ */
	messages[1].modseq = 9;
	messages[2].modseq = 3;
	CHECK_ANSWERS(rows);
}

/* RFC 5032, RFC 8514, RFC 8474 */
static void
newer_keys(void **state)
{
	static const struct row rows[] = {
		{"OLDER 7200", " 1 2 3"},
		{"YOUNGER 7200", " 4"},
		{"OLDER 1800 YOUNGER 7200", " 4"},
		{"SAVEDATESUPPORTED", " 1 2 3 4"},
		{"NOT SAVEDATESUPPORTED", ""},
		{"SAVEDBEFORE 2-Jan-2000", " 1"},
		{"SAVEDON 2-Jan-2000", " 2"},
		{"SAVEDSINCE 2-Jan-2000", " 2 3 4"},
		{"EMAILID M0a000000000000000000000000000002", " 3"},
		{"EMAILID M0A000000000000000000000000000002", ""},
		{"EMAILID M1", ""},
		{"THREADID T0b000000000000000000000000000000", " 1 3"},
		{"NOT THREADID T0b000000000000000000000000000000", " 2 4"},
	};

	(void)state;
	messages[3].internal_date = (int64_t)time(NULL) - 3600;
	for (unsigned i = 0; i < 4; i++) {
		messages[i].save_date = 946684800 + (int64_t)i * DAY;
		messages[i].email_id[0] = 10;
		messages[i].email_id[15] = (unsigned char)i;
		messages[i].thread_id[0] = 11;
		messages[i].thread_id[15] = i % 2;
	}
	CHECK_ROWS(rows);
}

/* RFC 6203. Relevancy: see mail/word_match.h. */
static void
fuzzy(void **state)
{
	static const struct row rows[] = {
		{"FUZZY BODY noon", " 1"},
		{"FUZZY BODY nooon", " 1"},
		{"BODY nooon", ""},
		{"FUZZY BODY oon", ""},
		{"FUZZY TEXT lunhc", " 1"},
		{"FUZZY SUBJECT \"fridya lunch\"", " 1"},
		{"FUZZY SUBJECT \"friday dinner\"", ""},
		{"FUZZY HEADER X-Odd-Field valeu", " 1"},
		{"FUZZY FROM jorg", " 2"},
		{"FROM jorg", ""},
		{"FUZZY BODY schone", " 2"},
		{"FUZZY BODY beatiful", " 3"},
		{"NOT FUZZY BODY beatiful", " 1 2 4"},
		{"FUZZY NOT BODY beatiful", " 1 2 4"},
		{"FUZZY (BODY nooon SUBJECT lunc)", " 1"},
		{"FUZZY OR BODY nooon BODY baer", " 1 4"},
		{"FUZZY FUZZY BODY nooon", " 1"},
		{"FUZZY BODY nooon BODY mete", ""},
		{"FUZZY SEEN", " 1 3"},
		{"FUZZY BODY \"\"", " 1 2 3 4"},
		/* No word in it: the string as it stands. */
		{"FUZZY BODY \"?\"", " 1"},
		{"FUZZY UID 10:20 FUZZY 2:4", " 2"},
	};
	static const char *const answers[][2] = {
		{"a SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT lunhc",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (33)\r\n" DONE},
		{"a SEARCH RETURN (RELEVANCY) FUZZY SUBJECT lunch",
			"* ESEARCH (TAG \"a\") RELEVANCY (100)\r\n" DONE},
		/* What is in the body says less to TEXT, not to BODY. */
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY OR TEXT bare TEXT lunch",
			"* ESEARCH (TAG \"a\") ALL 1,4 RELEVANCY (100 86)\r\n" DONE},
		{"a UID SEARCH RETURN (ALL RELEVANCY) FUZZY OR BODY baer BODY noon",
			"* ESEARCH (TAG \"a\") UID ALL 10,40 RELEVANCY (100 33)\r\n"
			"a OK UID SEARCH completed\r\n"},
		/* The mean of several; of OR the best, also where something cheaper decides it. */
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY BODY noon FUZZY SUBJECT lunhc",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (67)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) 1 OR SEEN FUZZY BODY noonn",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (33)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) 1 FUZZY OR SUBJECT lunhc BODY noon",
			"* ESEARCH (TAG \"a\") ALL 1 RELEVANCY (100)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY ANSWERED",
			"* ESEARCH (TAG \"a\") ALL 2 RELEVANCY (100)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY) FUZZY NOT BODY beatiful",
			"* ESEARCH (TAG \"a\") ALL 1:2,4 RELEVANCY (100 100 100)\r\n" DONE},
		{"a SEARCH RETURN (ALL RELEVANCY COUNT) FUZZY BODY zzzz",
			"* ESEARCH (TAG \"a\") COUNT 0\r\n" DONE},
		{"a SEARCH RETURN (PARTIAL 2:9 RELEVANCY) FUZZY OR BODY baer BODY noon",
			"* ESEARCH (TAG \"a\") PARTIAL (2:9 4) RELEVANCY (33)\r\n" DONE},
		{"a SORT (RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY bare",
			"* SORT 4 1\r\na OK SORT completed\r\n"},
		{"a SORT (REVERSE RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY bare",
			"* SORT 1 4\r\na OK SORT completed\r\n"},
		{"a SORT (RELEVANCY REVERSE ARRIVAL) UTF-8 FUZZY OR BODY noon BODY schone",
			"* SORT 1 2\r\na OK SORT completed\r\n"},
		{"a SORT RETURN (RELEVANCY ALL) (RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY bare",
			"* ESEARCH (TAG \"a\") ALL 4,1 RELEVANCY (100 33)\r\n"
			"a OK SORT completed\r\n"},
		{"a SORT RETURN (RELEVANCY PARTIAL 1:1) (RELEVANCY) UTF-8 FUZZY OR BODY nooon BODY "
		 "bare",
			"* ESEARCH (TAG \"a\") PARTIAL (1:1 4) RELEVANCY (100)\r\n"
			"a OK SORT completed\r\n"},
		{"a SORT RETURN (UPDATE) (RELEVANCY) UTF-8 FUZZY BODY bare",
			"* ESEARCH (TAG \"a\")\r\n* NO [NOUPDATE \"a\"] What is sorted by "
			"relevancy is not kept up to date\r\na OK SORT completed\r\n"},
	};
	static const char *const bad[] = {
		"a SEARCH RETURN (RELEVANCY) BODY noon",
		"a SORT (RELEVANCY) UTF-8 BODY noon",
		"a SORT RETURN (RELEVANCY) (SUBJECT) UTF-8 ALL",
		"a SEARCH FUZZY",
		"a SEARCH FUZZY FUZZY",
		"a SEARCH FUZZY BODY",
	};

	(void)state;
	CHECK_ROWS(rows);
	CHECK_ANSWERS(answers);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!str_starts_i(fake_run(&fake, bad[i]), "BAD "))
			fail_msg("%s is not refused", bad[i]);
}

/* The setting fts_search. */
static void
by_words(void **state)
{
	static char words[] = "words";
	static const struct config conf = {.fts_search = words};
	static const struct row rows[] = {
		{"BODY noon", " 1"},
		{"BODY noo", " 1"},
		{"BODY oon", ""},
		{"BODY nooon", ""},
		{"BODY \"noon shall\"", " 1"},
		{"BODY \"noon supper\"", ""},
		{"BODY \"noon lunch\"", ""},
		{"TEXT \"noon lunch\"", " 1"},
		{"TEXT \"@example\"", " 1 2 3"},
		{"SUBJECT \"friday lunch\"", " 1"},
		{"SUBJECT riday", ""},
		{"SUBJECT grusse", " 2"},
		{"FROM \"jorg\"", " 2"},
		/* All words in one field. */
		{"TO \"carol bob\"", " 1"},
		{"HEADER X-Odd-Field \"value strange\"", " 1"},
		{"HEADER X-Odd-Field \"\"", " 1"},
		{"BODY gruss", " 2"},
		{"BODY SCHONE", " 2"},
		{"BODY \"deep parts\"", ""},
		{"NOT BODY noon", " 2 3 4"},
		{"BODY \"noon?\"", " 1"},
		{"BODY \"?\"", " 1"},
		{"FUZZY BODY nooon", " 1"},
	};

	(void)state;
	fake.session.conf = &conf;
	CHECK_ROWS(rows);
}

static void
check_told(struct imap_progress *p, uint64_t done, const char *want)
{
	char said[256];
	ssize_t n;

	p->looked_ms -= 60 * 1000;
	p->told_ms -= 60 * 1000;
	assert_int_equal(imap_progress_tick(p, done), OK);
	n = read(fake.peer, said, sizeof(said) - 1);
	assert_true(n > 0);
	said[n] = '\0';
	assert_string_equal(said, want);
}

/* RFC 9585 section 4 */
static void
progress(void **state)
{
	struct imap_progress p;

	(void)state;
	imap_progress_begin(&p, &fake.session, 1000);
	fake.session.tag = STR("A001");
	check_told(&p, 454, "* OK [INPROGRESS (\"A001\" 454 1000)] Still at work\r\n");
	/* Never done equal to the goal. */
	check_told(&p, 1000, "* OK [INPROGRESS (\"A001\" NIL NIL)] Still at work\r\n");
	fake.session.tag = STR("a]b");
	check_told(&p, 5, "* OK [INPROGRESS (NIL 5 1000)] Still at work\r\n");
	/* Not before its time. */
	assert_int_equal(imap_progress_tick(&p, 6), OK);
	assert_int_equal(stream_flush(fake.session.client), OK);
	assert_int_equal(recv(fake.peer, &p, 1, MSG_DONTWAIT), -1);
}

static void
progress_without_a_client(void **state)
{
	struct imap_progress p;

	(void)state;
	imap_progress_begin(&p, &fake.session, 1000);
	p.looked_ms -= 60 * 1000;
	close(fake.peer);
	fake.peer = -1;
	assert_int_equal(imap_progress_tick(&p, 1), E_CLOSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(return_options, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(saved_result, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(mod_sequences, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(newer_keys, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(fuzzy, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(by_words, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(progress, search_setup, search_teardown),
		cmocka_unit_test_setup_teardown(
			progress_without_a_client, search_setup, search_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
