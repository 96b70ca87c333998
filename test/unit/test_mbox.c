/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "import/mbox.h"

#define FROM "From a@b Tue Jan  1 12:00:00 2019\n"

struct box {
	const char *text;
	size_t len, piece;
	struct buf out; /* "date flags|bytes|" for each message */
};

static enum err
read_at(void *arg, uint64_t offset, char *p, size_t cap, size_t *got)
{
	const struct box *b = arg;
	size_t n = offset < b->len ? b->len - (size_t)offset : 0;

	n = n < b->piece ? n : b->piece;
	n = n < cap ? n : cap;
	memcpy(p, b->text + offset, n);
	*got = n;
	return OK;
}

static enum err
on_start(const struct mbox_message *m, void *arg)
{
	struct box *b = arg;

	buf_printf(&b->out, "%lld ", (long long)m->date);
	import_flags_format(&m->flags, &b->out);
	buf_add_char(&b->out, '|');
	return OK;
}

static void
on_write(const char *p, size_t len, void *arg)
{
	buf_add(&((struct box *)arg)->out, p, len);
}

static enum err
on_end(const struct mbox_message *m, void *arg)
{
	(void)m;
	return buf_add_char(&((struct box *)arg)->out, '|');
}

static enum err
take(struct box *b, enum mbox_format format)
{
	const struct mbox_reader r = {read_at, on_start, on_write, on_end, b};

	buf_reset(&b->out);
	return mbox_read(&r, format);
}

static void
check(enum mbox_format format, const char *text, const char *want)
{
	struct box b = {.text = text, .len = strlen(text)};

	for (b.piece = 1; b.piece < 500; b.piece = b.piece * 2 + 1) {
		assert_int_equal(take(&b, format), OK);
		assert_string_equal(buf_cstr(&b.out), want);
	}
	buf_free(&b.out);
}

static void
messages(void **state)
{
	(void)state;
	check(MBOX_AUTO, "", "");
	check(MBOX_AUTO, FROM "A: b\n\nbody\n\n" FROM "C: d\n\nmore\n",
		"1546344000 0|A: b\n\nbody\n|1546344000 0|C: d\n\nmore\n|");
	/* Without the last newline; without an empty line at the end; with two. */
	check(MBOX_AUTO, FROM "A: b\n\nbody", "1546344000 0|A: b\n\nbody|");
	check(MBOX_AUTO, FROM "A: b\n\nbody\n\n\n", "1546344000 0|A: b\n\nbody\n\n|");
	/* Without a body, without a header, without both. */
	check(MBOX_AUTO, FROM "A: b\n\n" FROM "A: c\n",
		"1546344000 0|A: b\n\n|1546344000 0|A: c\n|");
	check(MBOX_AUTO, FROM "\nbody\n", "1546344000 0|\nbody\n|");
	check(MBOX_AUTO, FROM FROM, "1546344000 0||1546344000 0||");
	/* CRLF throughout. */
	check(MBOX_AUTO,
		"From a Tue Jan  1 12:00:00 2019\r\nA: b\r\n\r\nbody\r\n\r\n"
		"From a Tue Jan  1 12:00:00 2019\r\nStatus: RO\r\n\r\nx\r\n",
		"1546344000 0|A: b\r\n\r\nbody\r\n|1546344000 1|\r\nx\r\n|");
}

static void
from_lines_inside(void **state)
{
	(void)state;
	/* No date, or no empty line before it. */
	check(MBOX_AUTO,
		FROM "A: b\n\n\nFrom here on it rains.\nFrom a@b Tue Jan  1 12:00:00 2019\n",
		"1546344000 0|A: b\n\n\nFrom here on it rains.\nFrom a@b Tue Jan  1 12:00:00 2019\n|");
	check(MBOX_AUTO, FROM "\n>From x\n>>From y\n>> From z\n>Fromage\n",
		"1546344000 0|\nFrom x\n>From y\n>> From z\n>Fromage\n|");
	check(MBOX_RD, FROM "\n>From x\n>>From y\n", "1546344000 0|\nFrom x\n>From y\n|");
	check(MBOX_O, FROM "\n>From x\n>>From y\n", "1546344000 0|\nFrom x\n>>From y\n|");
	check(MBOX_CL2, FROM "\n>From x\n>>From y\n", "1546344000 0|\n>From x\n>>From y\n|");
}

static void
content_length(void **state)
{
	(void)state;
	check(MBOX_AUTO, FROM "Content-Length: 43\nA: b\n\n\n" FROM ">From x\n\n" FROM "\ny\n",
		"1546344000 0|A: b\n\n\n" FROM ">From x\n|1546344000 0|\ny\n|");
	/* One that leads nowhere is not believed. */
	check(MBOX_AUTO, FROM "Content-Length: 5\n\nlonger\n\n" FROM "\ny\n",
		"1546344000 0|\nlonger\n|1546344000 0|\ny\n|");
	check(MBOX_AUTO, FROM "Content-Length: 500\n\nshort\n", "1546344000 0|\nshort\n|");
	check(MBOX_AUTO, FROM "Content-Length: 18446744073709551615\n\nshort\n",
		"1546344000 0|\nshort\n|");
	check(MBOX_RD, FROM "Content-Length: 50\n\n>From x\n", "1546344000 0|\nFrom x\n|");
	check(MBOX_AUTO, FROM "Content-Length: 0\n\n\n" FROM "\ny\n",
		"1546344000 0|\n|1546344000 0|\ny\n|");
}

static void
flags(void **state)
{
	(void)state;
	check(MBOX_AUTO,
		FROM "Status: RO\nX-Status: AF\nX-Keywords: $Forwarded  own,word \nX-UID: 5\n"
		     "Subject: kept\n\nb\n",
		"1546344000 7 $Forwarded own,word|Subject: kept\n\nb\n|");
	check(MBOX_AUTO, FROM "X-Status: TD\n\nStatus: R\n", "1546344000 24|\nStatus: R\n|");
	check(MBOX_AUTO,
		FROM
		"X-Mozilla-Status: 0003\nX-Mozilla-Status2: 00800000\nX-Mozilla-Keys: $label1   \n"
		"\nb\n",
		"1546344000 3 $label1|\nb\n|");
	check(MBOX_AUTO,
		"From MAILER-DAEMON Tue Jan  1 12:00:00 2019\nX-IMAP: 1 2\nSubject: DON'T DELETE THIS "
		"MESSAGE -- FOLDER INTERNAL DATA\n\ntext\n\n" FROM "\ny\n",
		"1546344000 0|\ny\n|");
	/* A From_ line without a date, at the start of the file: the field Date. */
	check(MBOX_AUTO, "From nobody\nDate: Tue, 1 Jan 2019 13:00:00 +0100\n\nx\n",
		"1546344000 0|Date: Tue, 1 Jan 2019 13:00:00 +0100\n\nx\n|");
}

static void
dates(void **state)
{
	static const struct {
		const char *line;
		int64_t date;
	} cases[] = {
		{"From a@b Tue Jan  1 12:00:00 2019", 1546344000},
		{"From a@b Tue Jan 01 12:00 2019", 1546344000},
		{"From - Tue Jan 01 12:00:00 2019", 1546344000},
		{"From a b c Tue Jan  1 13:00:00 +0100 2019", 1546344000},
		{"From a Tue Jan  1 12:00:00 GMT 2019", 1546344000},
		{"From a Tue Jan  1 07:00:00 2019 -0500", 1546344000},
		{"From Tue Jan  1 12:00:00 2019", 1546344000},
		{"From a Tue, 1 Jan 2019 12:00:00 +0000", 1546344000},
		{"From \"Tue Thu\"@x Tue Jan  1 12:00:00 2019", 1546344000},
		{"From a Tue Jan  1 25:00:00 2019", 0},
		{"From a Tue Jam  1 12:00:00 2019", 0},
		{"From a Tue Jan 1 2019", 0},
		{"From a", 0},
		{"From: a Tue Jan  1 12:00:00 2019", 0},
		{"from a Tue Jan  1 12:00:00 2019", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t date = 0;
		enum err e = mbox_from_parse(str_of(cases[i].line), &date);

		if (date != cases[i].date || (e == OK) != (cases[i].date != 0))
			fail_msg("%s: %lld", cases[i].line, (long long)date);
	}
}

static void
no_mbox(void **state)
{
	static const char text[] = "Subject: x\n\nbody\n";
	struct box b = {.text = text, .len = sizeof(text) - 1, .piece = 100};

	(void)state;
	assert_int_equal(take(&b, MBOX_AUTO), E_PARSE);
	buf_free(&b.out);
}

/* A line longer than any window, in the header and in the body. */
static void
long_lines(void **state)
{
	size_t n = 3 << 20;
	struct box b = {.piece = 100000};
	struct buf text = {0};

	(void)state;
	buf_add_cstr(&text, FROM "A: ");
	for (size_t i = 0; i < n; i++)
		buf_add_char(&text, 'a');
	buf_add_cstr(&text, "\nStatus: R\n\n>From \n");
	for (size_t i = 0; i < n; i++)
		buf_add_char(&text, '>');
	buf_add_cstr(&text, "From x\n\n" FROM "\ny\n");
	b.text = text.p;
	b.len = text.len;
	assert_int_equal(take(&b, MBOX_AUTO), OK);
	/* All of it but the From_ lines, one '>' and the empty line between the messages. */
	assert_int_equal(b.out.len, text.len - 2 * strlen(FROM) - 2 + 2 * strlen("1546344000 0||"));
	buf_free(&text);
	buf_free(&b.out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(from_lines_inside),
		cmocka_unit_test(content_length),
		cmocka_unit_test(flags),
		cmocka_unit_test(dates),
		cmocka_unit_test(no_mbox),
		cmocka_unit_test(long_lines),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
