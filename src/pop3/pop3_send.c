/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "pop3/pop3_send.h"

#include <string.h>

#include "mail/header.h"

/* The end of what TOP shows: the header and some lines behind it. */
static size_t
top_len(struct str message, uint64_t lines)
{
	size_t end = header_block_len(message);

	for (; lines > 0 && end < message.len; lines--) {
		size_t lf = str_find(message, end, '\n');

		end = lf < message.len ? lf + 1 : message.len;
	}
	return end;
}

enum err
pop3_send_message(struct str message, uint64_t max_lines, pop3_sink sink, void *arg)
{
	size_t len = max_lines == UINT64_MAX ? message.len : top_len(message, max_lines);
	const char *p = message.p, *end = message.p + len, *run = p;
	enum err e = OK;

	/* run..p waits to be sent; p stands at the start of a line. */
	while (p < end && e == OK) {
		const char *lf;

		if (*p == '.') {
			e = sink(arg, run, (size_t)(p - run + 1));
			run = p;
		}
		lf = memchr(p, '\n', (size_t)(end - p));
		if (lf == NULL) {
			p = end;
			break;
		}
		if (e == OK && (lf == p || lf[-1] != '\r')) {
			if (lf > run) {
				e = sink(arg, run, (size_t)(lf - run));
			}
			e = e ? e : sink(arg, "\r\n", 2);
			run = lf + 1;
		}
		p = lf + 1;
	}
	if (e == OK && p > run) {
		e = sink(arg, run, (size_t)(p - run));
	}
	if (e == OK && len > 0 && end[-1] != '\n') {
		e = sink(arg, "\r\n", 2);
	}
	return e;
}

int
pop3_is_plain(struct str message)
{
	return message.len >= 2 && message.p[0] != '.' &&
	       memcmp(message.p + message.len - 2, "\r\n", 2) == 0 &&
	       memmem(message.p, message.len, "\n.", 2) == NULL;
}
