/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <time.h>

#include "import/mbox.h"
#include "mail/date.h"

/* "From SENDER Tue Jan  1 12:00:00 2019", with a zone before or behind the year, without seconds...
 */

enum { WORDS_MAX = 8 };

static const char days[] = "SunMonTueWedThuFriSat",
		  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* The place of a name of three letters in a list of such, or -1. */
static int
name_find(const char *list, struct str s)
{
	if (s.len != 3)
		return -1;
	for (int i = 0; list[i * 3]; i++)
		if (str_equal_i(s, str_make(list + (ptrdiff_t)i * 3, 3)))
			return i;
	return -1;
}

static enum err
number(struct str s, unsigned min, unsigned max, int *out)
{
	uint32_t n;

	if (s.len == 0 || s.len > 4 || str_to_u32(s, &n) || n < min || n > max)
		return E_PARSE;
	*out = (int)n;
	return OK;
}

/* "12:34:56" or "12:34". */
static enum err
clock_parse(struct str s, struct tm *tm)
{
	enum err e = number(str_split(&s, ':'), 0, 23, &tm->tm_hour);

	e = e ? e : number(str_split(&s, ':'), 0, 59, &tm->tm_min);
	if (e || !s.p)
		return e;
	return number(s, 0, 60, &tm->tm_sec);
}

/* "+0100", "GMT", "UTC", or a name that says nothing. */
static int
zone_parse(struct str s, int *minutes)
{
	int hours, rest;

	if (str_is(s, "GMT") || str_is(s, "UTC") || str_is(s, "Z")) {
		*minutes = 0;
		return 1;
	}
	if (s.len != 5 || (s.p[0] != '+' && s.p[0] != '-') ||
		number(str_make(s.p + 1, 2), 0, 23, &hours) ||
		number(str_make(s.p + 3, 2), 0, 59, &rest))
		return 0;
	*minutes = (hours * 60 + rest) * (s.p[0] == '-' ? -1 : 1);
	return 1;
}

/* Words from the weekday on. */
static enum err
date_parse(const struct str *word, size_t count, int64_t *date)
{
	struct tm tm = {.tm_isdst = -1};
	int minutes = 0, has_zone = 0, has_year = 0;
	size_t i = 1;

	if (count < 5)
		return E_PARSE;
	tm.tm_mon = name_find(months, word[1]);
	if (tm.tm_mon >= 0 && number(word[2], 1, 31, &tm.tm_mday) == OK) {
		i = 3;
	} else { /* "Tue 1 Jan", "Tue, 1 Jan 2019 12:00:00" */
		tm.tm_mon = name_find(months, word[2]);
		if (tm.tm_mon < 0 || number(word[1], 1, 31, &tm.tm_mday))
			return E_PARSE;
		i = 3;
		if (number(word[3], 1900, 9999, &tm.tm_year) == OK) {
			has_year = 1;
			i = 4;
		}
	}
	if (i >= count || clock_parse(word[i++], &tm))
		return E_PARSE;
	for (; i < count && i < WORDS_MAX; i++) {
		if (!has_year && number(word[i], 1900, 9999, &tm.tm_year) == OK)
			has_year = 1;
		else if (!has_zone)
			has_zone = zone_parse(word[i], &minutes);
	}
	if (!has_year)
		return E_PARSE;
	tm.tm_year -= 1900;
	*date = has_zone ? (int64_t)timegm(&tm) - minutes * 60 : (int64_t)mktime(&tm);
	return OK;
}

enum err
mbox_from_parse(struct str line, int64_t *date)
{
	struct str word[WORDS_MAX];

	if (line.len < 5 || memcmp(line.p, "From ", 5) != 0 || line.len > MBOX_FROM_MAX)
		return E_PARSE;
	line.p += 5;
	line.len -= 5;
	while (line.p) {
		struct str rest = line, day = str_split(&line, ' ');
		size_t count = 0;

		if (day.len && day.p[day.len - 1] == ',')
			day.len--;
		if (name_find(days, day) < 0)
			continue;
		while (rest.p && count < WORDS_MAX) {
			word[count] = str_trim(str_split(&rest, ' '));
			count += word[count].len > 0;
		}
		if (date_parse(word, count, date) == OK)
			return OK;
	}
	return E_PARSE;
}
