/* SPDX-License-Identifier: MIT */
#include "mail/date.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/mime_private.h"

static const char month_names[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

enum { ZONE_LIMIT = 24 * 60 - 1, DAY_SECONDS = 86400, YEAR_MIN = 1, YEAR_MAX = 9999 };

/* Days since 1970-01-01 of a day of the Gregorian calendar; month 1..12. */
static int64_t
days_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

static int
month_days(int year, int month)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

struct moment {
	int year, month, day, hour, minute, second, zone;
};

/* E_RANGE when there is no such moment. */
static enum err
moment_check(const struct moment *m)
{
	if (m->year < YEAR_MIN || m->year > YEAR_MAX || m->day < 1 ||
		m->day > month_days(m->year, m->month) || m->hour > 23 || m->minute > 59 ||
		m->second > 60 || abs(m->zone) > ZONE_LIMIT)
		return E_RANGE;
	return OK;
}

static time_t
moment_time(const struct moment *m)
{
	int second = m->second > 59 ? 59 : m->second; /* a leap second has no time_t of its own */
	int64_t t = days_from_civil(m->year, m->month, m->day) * DAY_SECONDS;

	return (time_t)(t + m->hour * 3600 + m->minute * 60 + second - (int64_t)m->zone * 60);
}

static void
advance(struct str *s, size_t n)
{
	if (!n)
		return;
	s->p += n;
	s->len -= n;
}

static int
take_char(struct str *s, char c)
{
	if (!s->len || s->p[0] != c)
		return 0;
	advance(s, 1);
	return 1;
}

/* Up to max digits. The count of digits, 0 for none. */
static size_t
take_number(struct str *s, size_t max, int *out)
{
	size_t n = 0;
	int value = 0;

	while (n < s->len && n < max && str_is_digit(s->p[n]))
		value = value * 10 + (s->p[n++] - '0');
	if (n)
		*out = value;
	advance(s, n);
	return n;
}

static struct str
take_word(struct str *s)
{
	struct str w = {s->p, 0};

	while (w.len < s->len && str_is_alpha(s->p[w.len]))
		w.len++;
	advance(s, w.len);
	return w;
}

/* 1..12, or 0. Longer names ("March", "Sept") are recognised by their first three letters. */
static int
month_of(struct str w)
{
	if (w.len < 3)
		return 0;
	for (int i = 0; i < 12; i++)
		if (str_starts_i(w, month_names[i]))
			return i + 1;
	return 0;
}

/* Section 4.3. What is not known counts as -0000. */
static int
zone_of_name(struct str w)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6},
		{"PST", -8}, {"PDT", -7}, {"CET", 1}, {"CEST", 2}, {"MET", 1}, {"MEST", 2}};

	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
		if (str_is_i(w, zones[i].name))
			return zones[i].hours * 60;
	return 0;
}

/* "+hhmm", also "+hh:mm" and "+hh". 1 when there was one. */
static int
take_zone_number(struct str *s, int *minutes)
{
	int negative, hours = 0, mins = 0;

	if (!s->len || (s->p[0] != '+' && s->p[0] != '-'))
		return 0;
	negative = s->p[0] == '-';
	advance(s, 1);
	if (take_number(s, 2, &hours) != 2)
		return 0;
	take_char(s, ':');
	take_number(s, 2, &mins);
	if (mins > 59 || hours > 23)
		hours = mins = 0; /* an invalid zone is UTC (RFC 5256 section 2.2) */
	*minutes = negative ? -(hours * 60 + mins) : hours * 60 + mins;
	return 1;
}

static enum err
take_day_month_year(struct str *s, struct moment *m)
{
	size_t digits;

	if (!take_number(s, 2, &m->day))
		return E_PARSE;
	mime_skip_cfws(s);
	take_char(s, '-');
	m->month = month_of(take_word(s));
	if (!m->month)
		return E_PARSE;
	take_char(s, '.');
	mime_skip_cfws(s);
	take_char(s, '-');
	digits = take_number(s, 4, &m->year);
	if (!digits || (s->len && str_is_digit(s->p[0])))
		return E_PARSE;
	/* Section 4.3, obs-year. */
	if (digits == 2)
		m->year += m->year < 50 ? 2000 : 1900;
	else if (digits == 3)
		m->year += 1900;
	mime_skip_cfws(s);
	return OK;
}

static enum err
take_time(struct str *s, struct moment *m)
{
	if (!take_number(s, 2, &m->hour))
		return s->len ? E_PARSE : OK; /* a date alone is midnight */
	mime_skip_cfws(s);
	if (!take_char(s, ':') && !take_char(s, '.'))
		return E_PARSE;
	mime_skip_cfws(s);
	if (!take_number(s, 2, &m->minute))
		return E_PARSE;
	mime_skip_cfws(s);
	if (take_char(s, ':') || take_char(s, '.')) {
		mime_skip_cfws(s);
		if (!take_number(s, 2, &m->second))
			return E_PARSE;
		mime_skip_cfws(s);
	}
	return OK;
}

enum err
date_parse_rfc5322(struct str text, time_t *when, int *zone_minutes)
{
	struct moment m = {0};
	enum err e;

	if (!text.len) /* an absent field has no bytes to point into */
		return E_PARSE;
	mime_skip_cfws(&text);
	if (text.len && str_is_alpha(text.p[0])) {
		take_word(&text); /* the weekday is redundant, and often wrong */
		take_char(&text, '.');
		mime_skip_cfws(&text);
		take_char(&text, ',');
		mime_skip_cfws(&text);
	}
	e = take_day_month_year(&text, &m);
	if (!e)
		e = take_time(&text, &m);
	if (e)
		return e;
	if (!take_zone_number(&text, &m.zone))
		m.zone = zone_of_name(take_word(&text));
	e = moment_check(&m);
	if (e)
		return e;
	*when = moment_time(&m);
	*zone_minutes = m.zone;
	return OK;
}

/* E_RANGE: a year that four digits cannot show. */
static enum err
time_parts(time_t when, int zone_minutes, struct tm *tm)
{
	int64_t t = (int64_t)when;
	time_t local;

	if (abs(zone_minutes) > ZONE_LIMIT || t > INT64_MAX / 2 || t < INT64_MIN / 2)
		return E_RANGE;
	local = (time_t)(t + (int64_t)zone_minutes * 60);
	if (!gmtime_r(&local, tm) || tm->tm_year + 1900 < 0 || tm->tm_year + 1900 > YEAR_MAX)
		return E_RANGE;
	return OK;
}

enum err
date_format_rfc5322(time_t when, int zone_minutes, struct buf *out)
{
	struct tm tm;
	int z = abs(zone_minutes);
	enum err e = time_parts(when, zone_minutes, &tm);

	if (e)
		return e;
	return buf_printf(out, "%s, %d %s %04d %02d:%02d:%02d %c%02d%02d", day_names[tm.tm_wday],
		tm.tm_mday, month_names[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		tm.tm_sec, zone_minutes < 0 ? '-' : '+', z / 60, z % 60);
}

static void
put_two_digits(char *p, int n)
{
	p[0] = (char)('0' + n / 10 % 10);
	p[1] = (char)('0' + n % 10);
}

/* Without printf: a client asks for the dates of a whole mailbox at once. */
enum err
date_format_imap(time_t when, int zone_minutes, struct buf *out)
{
	char text[26];
	struct tm tm;
	int z = abs(zone_minutes);
	enum err e = time_parts(when, zone_minutes, &tm);

	if (e)
		return e;
	memcpy(text, "dd-mmm-yyyy hh:mm:ss +zzzz", sizeof(text));
	put_two_digits(text, tm.tm_mday);
	memcpy(text + 3, month_names[tm.tm_mon], 3);
	put_two_digits(text + 7, (tm.tm_year + 1900) / 100);
	put_two_digits(text + 9, (tm.tm_year + 1900) % 100);
	put_two_digits(text + 12, tm.tm_hour);
	put_two_digits(text + 15, tm.tm_min);
	put_two_digits(text + 18, tm.tm_sec);
	text[21] = zone_minutes < 0 ? '-' : '+';
	put_two_digits(text + 22, z / 60);
	put_two_digits(text + 24, z % 60);
	return buf_add(out, text, sizeof(text));
}

/* "-Mon-yyyy" */
static enum err
take_imap_month_year(struct str *s, struct moment *m)
{
	struct str w;

	if (!take_char(s, '-'))
		return E_PARSE;
	w = take_word(s);
	m->month = w.len == 3 ? month_of(w) : 0;
	if (!m->month || !take_char(s, '-') || take_number(s, 4, &m->year) != 4)
		return E_PARSE;
	return OK;
}

enum err
date_parse_imap(struct str text, time_t *when, int *zone_minutes)
{
	struct moment m = {0};
	int negative, hours, minutes;
	enum err e;

	if (text.len != 26)
		return E_PARSE;
	if (take_char(&text, ' ') ? take_number(&text, 1, &m.day) != 1
				  : take_number(&text, 2, &m.day) != 2)
		return E_PARSE;
	e = take_imap_month_year(&text, &m);
	if (e)
		return e;
	if (!take_char(&text, ' ') || take_number(&text, 2, &m.hour) != 2 ||
		!take_char(&text, ':') || take_number(&text, 2, &m.minute) != 2 ||
		!take_char(&text, ':') || take_number(&text, 2, &m.second) != 2 ||
		!take_char(&text, ' '))
		return E_PARSE;
	negative = take_char(&text, '-');
	if (!negative && !take_char(&text, '+'))
		return E_PARSE;
	if (take_number(&text, 2, &hours) != 2 || take_number(&text, 2, &minutes) != 2 || text.len)
		return E_PARSE;
	if (hours > 23 || minutes > 59)
		return E_RANGE;
	m.zone = negative ? -(hours * 60 + minutes) : hours * 60 + minutes;
	e = moment_check(&m);
	if (e)
		return e;
	*when = moment_time(&m);
	*zone_minutes = m.zone;
	return OK;
}

enum err
date_parse_imap_day(struct str text, int *days)
{
	struct moment m = {0};
	enum err e;

	if (text.len >= 2 && text.p[0] == '"' && text.p[text.len - 1] == '"')
		text = str_make(text.p + 1, text.len - 2);
	if (!take_number(&text, 2, &m.day))
		return E_PARSE;
	e = take_imap_month_year(&text, &m);
	if (e)
		return e;
	if (text.len)
		return E_PARSE;
	e = moment_check(&m);
	if (e)
		return e;
	*days = (int)days_from_civil(m.year, m.month, m.day);
	return OK;
}

/* "Z" or "+hh:mm", to the end. */
static enum err
take_zone_rfc3339(struct str *s, int *zone)
{
	int negative, hours, minutes;

	if (take_char(s, 'Z') || take_char(s, 'z')) {
		*zone = 0;
		return s->len ? E_PARSE : OK;
	}
	negative = take_char(s, '-');
	if (!negative && !take_char(s, '+'))
		return E_PARSE;
	if (take_number(s, 2, &hours) != 2 || !take_char(s, ':') ||
		take_number(s, 2, &minutes) != 2 || s->len)
		return E_PARSE;
	if (hours > 23 || minutes > 59)
		return E_RANGE;
	*zone = negative ? -(hours * 60 + minutes) : hours * 60 + minutes;
	return OK;
}

enum err
date_parse_rfc3339(struct str text, time_t *when)
{
	enum { FRACTION_DIGITS_MAX = 64 };
	struct moment m = {0};
	int digit;
	enum err e;

	if (take_number(&text, 4, &m.year) != 4 || !take_char(&text, '-') ||
		take_number(&text, 2, &m.month) != 2 || !take_char(&text, '-') ||
		take_number(&text, 2, &m.day) != 2 ||
		(!take_char(&text, 'T') && !take_char(&text, 't')) ||
		take_number(&text, 2, &m.hour) != 2 || !take_char(&text, ':') ||
		take_number(&text, 2, &m.minute) != 2 || !take_char(&text, ':') ||
		take_number(&text, 2, &m.second) != 2)
		return E_PARSE;
	if (take_char(&text, '.')) {
		size_t n = 0;

		while (n <= FRACTION_DIGITS_MAX && take_number(&text, 1, &digit))
			n++;
		if (n == 0)
			return E_PARSE;
	}
	e = take_zone_rfc3339(&text, &m.zone);
	if (!e && (m.month < 1 || m.month > 12))
		e = E_RANGE;
	if (!e)
		e = moment_check(&m);
	if (!e)
		*when = moment_time(&m);
	return e;
}

int
date_day(time_t when, int zone_minutes)
{
	int64_t t = (int64_t)when;
	int64_t day;

	/* The offset goes onto the remainder, so that no time_t overflows. */
	day = t / DAY_SECONDS;
	t = t % DAY_SECONDS + (int64_t)zone_minutes * 60;
	while (t < 0) {
		t += DAY_SECONDS;
		day--;
	}
	day += t / DAY_SECONDS;
	return day > INT32_MAX ? INT32_MAX : day < INT32_MIN ? INT32_MIN : (int)day;
}

int
date_local_zone(time_t when)
{
	struct tm tm;

	return localtime_r(&when, &tm) ? (int)(tm.tm_gmtoff / 60) : 0;
}
