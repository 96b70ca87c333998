/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "imap/notify_private.h"
#include "imap/parse.h"
#include "imap/pattern.h"

/* The first byte says what is expected, the rest is what the client sends. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err
take_line(void *ctx, struct str *line)
{
	struct str *rest = ctx;
	size_t lf = str_find(*rest, 0, '\n');

	if (rest->len == 0)
		return E_CLOSED;
	*line = str_make(rest->p, lf);
	if (lf < rest->len)
		lf++;
	*rest = str_make(rest->p + lf, rest->len - lf);
	return line->len > 8192 ? E_TOOBIG : OK;
}

static enum err
take_literal(void *ctx, int sync, char *p, size_t size)
{
	struct str *rest = ctx;

	(void)sync;
	if (size > rest->len)
		return E_CLOSED;
	memcpy(p, rest->p, size);
	*rest = str_make(rest->p + size, rest->len - size);
	return OK;
}

static enum err
skip(void *ctx, uint64_t size)
{
	struct str *rest = ctx;

	if (size > rest->len)
		return E_CLOSED;
	*rest = str_make(rest->p + size, rest->len - size);
	return OK;
}

static void
parse_one(struct imap_parser *p, int what)
{
	struct str out;
	struct numset set = {0};
	struct imap_flags flags = {0};
	struct section section = {0};
	size_t n = 0;
	struct notify_request notify;
	uint64_t a, b;
	time_t when;
	int given, zone;

	switch (what % 11) {
	case 0:
		(void)imap_parse_open(p);
		while (imap_parse_item(p, &n))
			(void)imap_parse_astring(p, &out);
		break;
	case 1:
		(void)imap_parse_mailbox(p, &out);
		break;
	case 2:
		(void)imap_parse_sequence_set(p, 100, &set);
		break;
	case 3:
		(void)imap_parse_store_flags(p, &flags);
		break;
	case 4:
		(void)imap_parse_section(p, &section);
		(void)imap_parse_partial(p, &given, &a, &b);
		break;
	case 5:
		(void)imap_parse_date_time(p, &when, &zone);
		break;
	case 6:
		(void)imap_parse_date(p, &given);
		break;
	case 7:
		if (!imap_parse_list_mailbox(p, &out)) {
			struct imap_pattern *pattern = imap_pattern_create(out, STR("%"));

			(void)imap_pattern_match(pattern, STR("INBOX/a/b"));
			imap_pattern_free(&pattern);
		}
		break;
	case 8:
		while (!imap_parse_nstring(p, &out, &given) && imap_parse_try(p, ' '))
			;
		break;
	case 9:
		(void)notify_request_parse(p, &notify);
		(void)notify_request_events(&notify, "INBOX/a/b", 1, 1);
		notify_request_fini(&notify);
		break;
	default:
		if (!imap_parse_literal_start(p, &a, &given) && !p->source.skip(p->source.ctx, a))
			(void)imap_parse_literal_done(p, a);
		break;
	}
	numset_free(&set);
	imap_flags_free(&flags);
	section_fini(&section);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest;
	struct imap_source source = {take_line, take_literal, skip, &rest};
	struct imap_parser p;
	struct str tag;

	if (size == 0)
		return 0;
	rest = str_make((const char *)data + 1, size - 1);
	imap_parser_init(&p, &source);
	for (int i = 0; i < 100 && rest.len > 0; i++) {
		(void)imap_parser_next(&p);
		(void)imap_parse_tag(&p, &tag);
		(void)imap_parse_space(&p);
		parse_one(&p, data[0]);
		if (imap_parse_end(&p))
			(void)imap_parser_drain(&p, 1 << 20);
	}
	imap_parser_reset(&p);
	return 0;
}
