/* SPDX-License-Identifier: MIT */
#include "mail/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text;
	enum err e;
	long long when;
	int zone;
} rfc5322_cases[] = {
	{"Fri, 21 Nov 1997 09:55:06 -0600", OK, 880127706, -360},
	{"21 Nov 97 09:55:06 GMT", OK, 880106106, 0},
	{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", OK, 880127706, -360},
	{"\r\n Thu,\r\n\t13\r\n Feb\r\n\t1969\r\n 23:32\r\n -0330 (Newfoundland Time)", OK,
		-27723480, -210},
	{"1 Jan 2000 00:00 EST", OK, 946702800, -300},
	{"1 Jan 2000 00:00:00 PDT", OK, 946710000, -420},
	{"1 Jan 2000 00:00:00 Z", OK, 946684800, 0},
	{"1 Jan 2000 00:00:00 A", OK, 946684800, 0},
	{"1 Jan 2000 00:00:00", OK, 946684800, 0},
	{"1 Jan 2000", OK, 946684800, 0},
	{"1 Jan 100 00:00:00 +0000", OK, 946684800, 0},
	{"1 Jan 00 00:00:00 +0000", OK, 946684800, 0},
	{"Sat, 1-Jan-2000 00:00:00 +0000", OK, 946684800, 0},
	{"Saturday, 1 January 2000 00:00:00 +0000", OK, 946684800, 0},
	{"29 Feb 2000 00:00:60 +0000", OK, 951782459, 0},
	{"1 Jan 2000 00:00:00 +9999", OK, 946684800, 0},
	{"1 Jan 2000 02:00:00 +02:00", OK, 946684800, 120},
	{"29 Feb 1900 00:00:00 +0000", E_RANGE, 0, 0},
	{"31 Apr 2000 00:00:00 +0000", E_RANGE, 0, 0},
	{"0 Jan 2000 00:00:00 +0000", E_RANGE, 0, 0},
	{"1 Jan 2000 24:00:00 +0000", E_RANGE, 0, 0},
	{"1 Jan 2000 00:60:00 +0000", E_RANGE, 0, 0},
	{"1 Jan 20000 00:00:00 +0000", E_PARSE, 0, 0},
	{"1 Foo 2000 00:00:00 +0000", E_PARSE, 0, 0},
	{"1 Jan 2000 00", E_PARSE, 0, 0},
	{"1 Jan 2000 00:", E_PARSE, 0, 0},
	{"1 Jan 2000 x", E_PARSE, 0, 0},
	{"Mon", E_PARSE, 0, 0},
	{"((((", E_PARSE, 0, 0},
	{"", E_PARSE, 0, 0},
	{"1", E_PARSE, 0, 0},
	{"1 Jan", E_PARSE, 0, 0},
};

static void
parses_header_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rfc5322_cases) / sizeof(rfc5322_cases[0]); i++) {
		time_t when = 12345;
		int zone = 99;
		enum err e = date_parse_rfc5322(str_of(rfc5322_cases[i].text), &when, &zone);

		if (e != rfc5322_cases[i].e)
			fail_msg("%s: %s", rfc5322_cases[i].text, err_text(e));
		if (e) {
			assert_int_equal(when, 12345);
			assert_int_equal(zone, 99);
			continue;
		}
		if (when != rfc5322_cases[i].when || zone != rfc5322_cases[i].zone)
			fail_msg("%s: %lld %d", rfc5322_cases[i].text, (long long)when, zone);
	}
}

static void
formats(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(date_format_rfc5322(880127706, -360, &b), OK);
	assert_string_equal(buf_cstr(&b), "Fri, 21 Nov 1997 09:55:06 -0600");
	buf_reset(&b);
	assert_int_equal(date_format_imap(-1, 0, &b), OK);
	assert_string_equal(buf_cstr(&b), "31-Dec-1969 23:59:59 +0000");
	buf_reset(&b);
	assert_int_equal(date_format_imap(0, 3000, &b), E_RANGE);
	assert_int_equal(date_format_imap((time_t)INT64_MAX, 0, &b), E_RANGE);
	assert_int_equal(date_format_imap((time_t)1 << 45, 0, &b), E_RANGE);
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static const struct {
	const char *text;
	enum err e;
	long long when;
	int zone;
} imap_cases[] = {
	{"17-Jul-1996 02:44:25 -0700", OK, 837596665, -420},
	{" 7-Jul-1996 02:44:25 -0700", OK, 836732665, -420},
	{"07-jul-1996 02:44:25 -0700", OK, 836732665, -420},
	{"7-Jul-1996 02:44:25 -0700", E_PARSE, 0, 0},
	{"31-Jun-1996 02:44:25 -0700", E_RANGE, 0, 0},
	{"17-Jul-1996 02:44:25 -2400", E_RANGE, 0, 0},
	{"17-Jul-1996 02:44:25 -0760", E_RANGE, 0, 0},
	{"17-Jul-1996 25:44:25 -0700", E_RANGE, 0, 0},
	{"17-Jul-1996 02:44:25 0700 ", E_PARSE, 0, 0},
	{"17-Jul-1996 02:44:25", E_PARSE, 0, 0},
	{"17-July-1996 02:44:25 +070", E_PARSE, 0, 0},
	{"", E_PARSE, 0, 0},
};

static void
parses_imap_dates_strictly(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(imap_cases) / sizeof(imap_cases[0]); i++) {
		time_t when = 0;
		int zone = 0;
		enum err e = date_parse_imap(str_of(imap_cases[i].text), &when, &zone);

		if (e != imap_cases[i].e || when != imap_cases[i].when ||
			zone != imap_cases[i].zone)
			fail_msg("%s: %s %lld", imap_cases[i].text, err_text(e), (long long)when);
	}
}

static void
parses_days(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		int day;
	} cases[] = {
		{"1-Feb-1994", OK, 8797},
		{"01-Feb-1994", OK, 8797},
		{"\"1-Feb-1994\"", OK, 8797},
		{"31-Dec-1969", OK, -1},
		{"30-Feb-1994", E_RANGE, 0},
		{"1-Feb-94", E_PARSE, 0},
		{"1-February-1994", E_PARSE, 0},
		{"1-Feb-19945", E_PARSE, 0},
		{"1 Feb 1994", E_PARSE, 0},
		{"\"", E_PARSE, 0},
		{"", E_PARSE, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int day = 0;

		assert_int_equal(date_parse_imap_day(str_of(cases[i].text), &day), cases[i].e);
		assert_int_equal(day, cases[i].day);
	}
	assert_int_equal(date_day(0, 0), 0);
	assert_int_equal(date_day(-1, 0), -1);
	assert_int_equal(date_day(86399, 1), 1);
	assert_int_equal(date_day(0, -1), -1);
	assert_int_equal(date_day((time_t)INT64_MAX, 1439), INT32_MAX);
}

static void
what_is_formatted_parses(void **state)
{
	(void)state;
	for (time_t t = -60000000000; t < 200000000000; t += 987654321) {
		struct buf b = {0};
		time_t when;
		int zone, want = (int)(t % 1400);

		assert_int_equal(date_format_imap(t, want, &b), OK);
		assert_int_equal(date_parse_imap(buf_str(&b), &when, &zone), OK);
		assert_int_equal(when, t);
		assert_int_equal(zone, want);
		buf_reset(&b);
		assert_int_equal(date_format_rfc5322(t, want, &b), OK);
		assert_int_equal(date_parse_rfc5322(buf_str(&b), &when, &zone), OK);
		assert_int_equal(when, t);
		buf_free(&b);
	}
}

static const struct {
	const char *text;
	enum err e;
	long long when;
} rfc3339_cases[] = {
	{"1985-04-12T23:20:50.52Z", OK, 482196050},
	{"1996-12-19T16:39:57-08:00", OK, 851042397},
	{"1990-12-31T23:59:60Z", OK, 662687999},
	{"1937-01-01t12:00:27.87+00:20", OK, -1041337173},
	{"9999-12-31T23:59:59z", OK, 253402300799},
	{"2001-02-29T00:00:00Z", E_RANGE, 0},
	{"2001-00-01T00:00:00Z", E_RANGE, 0},
	{"2001-13-01T00:00:00Z", E_RANGE, 0},
	{"2001-01-01T24:00:00Z", E_RANGE, 0},
	{"2001-01-01T00:00:00+24:00", E_RANGE, 0},
	{"2001-01-01", E_PARSE, 0},
	{"2001-01-01 00:00:00Z", E_PARSE, 0},
	{"2001-01-01T00:00:00", E_PARSE, 0},
	{"2001-01-01T00:00:00.Z", E_PARSE, 0},
	{"2001-01-01T00:00:00+0000", E_PARSE, 0},
	{"2001-01-01T00:00:00Zx", E_PARSE, 0},
	{"01-01-01T00:00:00Z", E_PARSE, 0},
	{"", E_PARSE, 0},
};

static void
parses_internet_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rfc3339_cases) / sizeof(rfc3339_cases[0]); i++) {
		time_t when = 12345;
		enum err e = date_parse_rfc3339(str_of(rfc3339_cases[i].text), &when);

		if (e != rfc3339_cases[i].e ||
			(long long)when != (e ? 12345 : rfc3339_cases[i].when))
			fail_msg("%s: %s, %lld", rfc3339_cases[i].text, err_word(e),
				(long long)when);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_internet_dates),
		cmocka_unit_test(parses_header_dates),
		cmocka_unit_test(formats),
		cmocka_unit_test(parses_imap_dates_strictly),
		cmocka_unit_test(parses_days),
		cmocka_unit_test(what_is_formatted_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
