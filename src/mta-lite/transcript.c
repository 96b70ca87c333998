/* SPDX-License-Identifier: MIT */
#include "mta-lite/transcript.h"

enum { LINE_MAX_SHOWN = 500 };

void
transcript_add(struct transcript *t, const char *who, struct str line)
{
	size_t i;

	if (t->text.len > TRANSCRIPT_MAX) {
		t->cut = 1;
		return;
	}
	buf_add_cstr(&t->text, who);
	for (i = 0; i < line.len && i < LINE_MAX_SHOWN; i++) {
		unsigned char c = (unsigned char)line.p[i];

		buf_add_char(&t->text, c < ' ' || c >= 0x7f ? '?' : (char)c);
	}
	buf_add_cstr(&t->text, i < line.len ? "...\r\n" : "\r\n");
}

void
transcript_add_command(struct transcript *t, const char *who, struct str line)
{
	transcript_add(t, who, str_starts_i(line, "AUTH") ? STR("AUTH ...") : line);
}

void
transcript_add_lines(struct transcript *t, const char *who, struct str lines)
{
	while (lines.p != NULL && lines.len > 0) {
		struct str line = str_split(&lines, '\n');

		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		transcript_add(t, who, line);
	}
}

void
transcript_write(const struct transcript *t, struct buf *out)
{
	buf_add_buf(out, &t->text);
	if (t->cut)
		buf_add_cstr(out, " ... and more, which is left out.\r\n");
}

void
transcript_reset(struct transcript *t)
{
	buf_free(&t->text);
	*t = (struct transcript){0};
}
