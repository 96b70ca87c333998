/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_client_private.h"

/* Postfix's XFORWARD (XFORWARD_README): a filter is told whose mail it gets. */

enum { XFORWARD_LINE_MAX = 500 };

static int
is_wanted(const struct smtp_client *c, struct str attribute)
{
	struct str names = buf_str(&c->xforward), name = str_split(&attribute, '=');

	while (names.p) {
		if (str_equal_i(str_split(&names, ' '), name))
			return name.len > 0;
	}
	return 0;
}

static enum err
say(struct smtp_client *c, struct buf *attributes)
{
	enum err e;

	if (attributes->len == 0)
		return OK;
	e = smtp_client_command(c, "XFORWARD%.*s", STR_ARG(buf_str(attributes)));
	buf_reset(attributes);
	return e ? e : smtp_client_reply(c, SMTP_WAIT_ENVELOPE_MS);
}

enum err
smtp_client_xforward(struct smtp_client *c, struct str attributes)
{
	struct buf line = {0};
	enum err e = OK;

	while (e == OK && attributes.p) {
		struct str attribute = str_split(&attributes, ' ');

		if (!is_wanted(c, attribute))
			continue;
		if (line.len + attribute.len > XFORWARD_LINE_MAX)
			e = say(c, &line);
		buf_printf(&line, " %.*s", STR_ARG(attribute));
	}
	if (e == OK)
		e = say(c, &line);
	buf_free(&line);
	return e;
}
