/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_data.h"

#include <string.h>

/* Length of the run at p that has no CR and no LF. */
static size_t
run_len(const char *p, size_t len)
{
	const char *lf = memchr(p, '\n', len);
	const char *cr;

	if (lf)
		len = (size_t)(lf - p);
	cr = memchr(p, '\r', len);
	return cr ? (size_t)(cr - p) : len;
}

static void
note_bytes(struct smtp_data *d, const char *p, size_t len)
{
	unsigned char any = 0;
	size_t i;

	for (i = 0; i < len; i++)
		any |= (unsigned char)p[i];
	if (any & 0x80)
		d->has_8bit = 1;
	if (!d->has_nul && memchr(p, '\0', len))
		d->has_nul = 1;
	d->line_len += len;
	if (d->line_len > d->longest)
		d->longest = d->line_len;
}

/* A byte inside of a line; a CR is held back until the next one is known. */
static enum smtp_data_state
in_line(struct smtp_data *d, char c, struct buf *out)
{
	if (c == '\r')
		return SMTP_DATA_CR;
	if (c == '\n')
		d->bare_lf = 1;
	note_bytes(d, &c, 1);
	buf_add_char(out, c);
	return SMTP_DATA_LINE;
}

static enum smtp_data_state
held_cr_is_bare(struct smtp_data *d, char c, struct buf *out)
{
	d->bare_cr = 1;
	buf_add_char(out, '\r');
	return in_line(d, c, out);
}

static enum smtp_data_state
step(struct smtp_data *d, char c, struct buf *out)
{
	switch (d->state) {
	case SMTP_DATA_LINE_START:
		return c == '.' ? SMTP_DATA_DOT : in_line(d, c, out);
	case SMTP_DATA_LINE:
		return in_line(d, c, out);
	case SMTP_DATA_CR:
		if (c != '\n')
			return held_cr_is_bare(d, c, out);
		buf_add(out, "\r\n", 2);
		d->line_len = 0;
		return SMTP_DATA_LINE_START;
	case SMTP_DATA_DOT: /* the dot itself is stuffing */
		return c == '\r' ? SMTP_DATA_DOT_CR : in_line(d, c, out);
	case SMTP_DATA_DOT_CR:
		return c == '\n' ? SMTP_DATA_END : held_cr_is_bare(d, c, out);
	case SMTP_DATA_END:
		break;
	}
	return SMTP_DATA_END;
}

size_t
smtp_data_feed(struct smtp_data *d, struct str in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len && d->state != SMTP_DATA_END) {
		if (d->state == SMTP_DATA_LINE) {
			size_t run = run_len(in.p + i, in.len - i);

			if (run > 0) {
				note_bytes(d, in.p + i, run);
				buf_add(out, in.p + i, run);
				i += run;
				continue;
			}
		}
		d->state = step(d, in.p[i], out);
		i++;
	}
	return i;
}

void
smtp_data_stuff(enum smtp_data_state *state, struct str in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len) {
		char c = in.p[i];
		size_t run;

		if (c == '\n') {
			buf_add(out, "\r\n", 2);
			*state = SMTP_DATA_LINE_START;
			i++;
			continue;
		}
		if (c == '\r') { /* written with its LF, or not at all */
			i++;
			continue;
		}
		if (*state == SMTP_DATA_LINE_START && c == '.')
			buf_add_char(out, '.');
		run = run_len(in.p + i, in.len - i);
		buf_add(out, in.p + i, run);
		*state = SMTP_DATA_LINE;
		i += run;
	}
}

void
smtp_data_finish(enum smtp_data_state *state, struct buf *out)
{
	if (*state != SMTP_DATA_LINE_START)
		buf_add(out, "\r\n", 2);
	buf_add(out, ".\r\n", 3);
	*state = SMTP_DATA_END;
}
