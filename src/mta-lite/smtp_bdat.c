/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_bdat.h"

#include <string.h>

enum err
smtp_bdat_parse(struct str args, uint64_t *size, int *last)
{
	struct str number = str_split(&args, ' '), word = str_trim(args);
	uint64_t n;

	/* 20 digits are the most that fit; leading zeros mean nothing. */
	if (number.len == 0 || number.len > 20 || str_to_u64(number, &n) != OK)
		return E_PARSE;
	if (word.len > 0 && !str_is_i(word, "LAST"))
		return E_PARSE;
	*size = n;
	*last = word.len > 0;
	return OK;
}

static void
end_line(struct smtp_data *d)
{
	d->line_len = 0;
	d->state = SMTP_DATA_LINE_START;
}

static void
look_at(struct smtp_data *d, char c)
{
	if (d->state == SMTP_DATA_CR && c == '\n') {
		end_line(d);
		return;
	}
	if (d->state == SMTP_DATA_CR)
		d->bare_cr = 1;
	d->state = c == '\r' ? SMTP_DATA_CR : SMTP_DATA_LINE;
	if (c == '\r')
		return;
	if (c == '\n')
		d->bare_lf = 1;
	if (c == '\0')
		d->has_nul = 1;
	if ((unsigned char)c & 0x80)
		d->has_8bit = 1;
	if (++d->line_len > d->longest)
		d->longest = d->line_len;
}

void
smtp_bdat_look(struct smtp_data *d, struct str in)
{
	size_t i;

	for (i = 0; i < in.len; i++)
		look_at(d, in.p[i]);
}

void
smtp_bdat_end(struct smtp_data *d)
{
	if (d->state == SMTP_DATA_CR)
		d->bare_cr = 1;
	d->state = SMTP_DATA_END;
}
