/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_reply.h"

#include <string.h>

void
smtp_reply_reset(struct smtp_reply *r)
{
	buf_reset(&r->text);
	r->text.max = SMTP_REPLY_TEXT_MAX;
	r->code = 0;
	r->dsn[0] = '\0';
	r->lines = 0;
	r->done = 0;
}

void
smtp_reply_free(struct smtp_reply *r)
{
	buf_free(&r->text);
	smtp_reply_reset(r);
}

static void
add_text(struct smtp_reply *r, struct str text)
{
	size_t i;

	if (r->lines > 1)
		buf_add_char(&r->text, '\n');
	for (i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (c == '\t')
			c = ' ';
		if (c < ' ' || c > '~')
			c = '?';
		if (buf_add_char(&r->text, c))
			return;
	}
}

enum err
smtp_reply_line(struct smtp_reply *r, struct str line)
{
	char dsn[DSN_CODE_SIZE];
	uint32_t code;
	char sep;

	if (r->text.max == 0 || r->done)
		smtp_reply_reset(r);
	if (line.len < 3 || str_to_u32(str_make(line.p, 3), &code) || code < 200 || code > 599)
		return E_PROTO;
	sep = line.len > 3 ? line.p[3] : ' ';
	if (sep != ' ' && sep != '-')
		return E_PROTO;
	if (++r->lines > SMTP_REPLY_LINES_MAX)
		return E_TOOBIG;
	r->code = (int)code;
	line = line.len > 3 ? str_make(line.p + 4, line.len - 4) : str_make(line.p, 0);
	line = str_trim(line);
	if (dsn_code_cut(&line, dsn) && dsn[0] - '0' == r->code / 100)
		memcpy(r->dsn, dsn, sizeof(dsn));
	add_text(r, line);
	r->done = sep == ' ';
	return OK;
}

int
smtp_reply_class(const struct smtp_reply *r)
{
	return r->code / 100;
}

void
smtp_reply_format(const struct smtp_reply *r, size_t max, struct buf *out)
{
	size_t start = out->len, i;

	buf_printf(out, "%d", r->code);
	if (r->dsn[0] != '\0' && r->dsn[0] - '0' == r->code / 100)
		buf_printf(out, " %s", r->dsn);
	if (r->text.len > 0)
		buf_add_char(out, ' ');
	for (i = 0; i < r->text.len; i++)
		buf_add_char(out, r->text.p[i] == '\n' ? ' ' : r->text.p[i]);
	if (out->len - start > max)
		buf_truncate(out, start + max);
}

const char *
smtp_reply_dsn(const struct smtp_reply *r)
{
	static const char *const general[] = {"2.0.0", "4.0.0", "5.0.0"};

	if (r->dsn[0] != '\0' && r->dsn[0] - '0' == r->code / 100)
		return r->dsn;
	switch (smtp_reply_class(r)) {
	case 2:
	case 3:
		return general[0];
	case 4:
		return general[1];
	default:
		return general[2];
	}
}
