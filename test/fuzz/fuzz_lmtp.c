/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lmtp/lmtp_command.h"
#include "lmtp/lmtp_data.h"
#include "lmtp/lmtp_xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
count(void *arg, const char *p, size_t len)
{
	(void)p;
	*(size_t *)arg += len;
}

struct chain {
	struct lmtp_header header;
	size_t out;
};

static void
to_header(void *arg, const char *p, size_t len)
{
	struct chain *c = arg;

	lmtp_header_feed(&c->header, p, len, count, &c->out);
}

/* A command line, then the same bytes as DATA, in pieces whose size the first byte chooses. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str line = str_make((const char *)data, size), args;
	struct lmtp_mail mail;
	struct lmtp_path path;
	struct lmtp_xclient client;
	struct lmtp_dot dot = LMTP_DOT_INIT;
	struct chain c = {0};
	size_t piece = size > 0 ? data[0] + 1U : 1, at = 0, used;
	uint64_t chunk;
	int last, end = 0;

	lmtp_command_split(line, &args);
	lmtp_mail_parse(args, &mail);
	lmtp_rcpt_parse(args, 1, &path);
	lmtp_xclient_parse(args, &client);
	lmtp_bdat_parse(args, &chunk, &last);
	lmtp_helo_ok(args);
	lmtp_header_init(&c.header);
	while (at < size && !end) {
		size_t n = piece < size - at ? piece : size - at;

		end = lmtp_dot_feed(&dot, (const char *)data + at, n, &used, to_header, &c);
		at += used;
	}
	lmtp_header_finish(&c.header, count, &c.out);
	if (c.out > size) {
		abort(); /* nothing is ever added */
	}
	lmtp_header_fini(&c.header);
	return 0;
}
