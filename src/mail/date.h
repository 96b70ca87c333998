/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_DATE_H
#define ROOST_MAIL_DATE_H

#include <time.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * RFC 5322 section 3.3 and 4.3: comments, two and three digit years, missing weekday or seconds,
 * zone names (an unknown or military one counts as -0000) and a missing zone are accepted.
 * zone_minutes: minutes east of UTC, -1439..1439. E_PARSE, E_RANGE (no such day, hour): outputs
 * unchanged.
 */
enum err date_parse_rfc5322(struct str text, time_t *when, int *zone_minutes);

/* Appends "Thu, 1 Feb 1994 10:11:12 +0100" for the time as seen in the zone. */
enum err date_format_rfc5322(time_t when, int zone_minutes, struct buf *out);

/*
 * IMAP's date-time without its quotes (RFC 9051 section 9): "dd-Mon-yyyy hh:mm:ss +zzzz", the day
 * two characters wide, "01" or " 1". Strict. E_PARSE, E_RANGE: outputs unchanged.
 */
enum err date_parse_imap(struct str text, time_t *when, int *zone_minutes);
/* Appends the same without quotes. */
enum err date_format_imap(time_t when, int zone_minutes, struct buf *out);

/*
 * IMAP's date (RFC 9051 section 9), "1-Feb-1994" or "01-Feb-1994", with or without double quotes.
 * *days: days since 1970-01-01, comparable with date_day(). E_PARSE, E_RANGE: *days unchanged.
 */
enum err date_parse_imap_day(struct str text, int *days);

/*
 * Internet date and time (RFC 3339 section 5.6): "2006-01-02T15:04:05.6+01:00". Strict; a fraction
 * counts as none. E_PARSE, E_RANGE: *when unchanged.
 */
enum err date_parse_rfc3339(struct str text, time_t *when);

/* The day of a time as seen in a zone, days since 1970-01-01: what SEARCH's dates compare with. */
int date_day(time_t when, int zone_minutes);

/* The local zone at that time, minutes east of UTC. */
int date_local_zone(time_t when);

#endif
