/* SPDX-License-Identifier: MIT */
/*
 * A FETCH, SEARCH, SORT or THREAD command, up to the first NUL, on a mailbox of one message, the
 * bytes behind it. The answer must hold together as a client reads it: every literal is as long as
 * announced, parentheses match, a tagged line comes last.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/imap_fake.h"
#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The length of a literal announced at the end of the line, -1: none. */
static long
literal_len(struct str line)
{
	size_t start = line.len;

	if (!line.len || line.p[line.len - 1] != '}')
		return -1;
	while (start && line.p[start - 1] != '{')
		start--;
	return start ? strtol(line.p + start, NULL, 10) : -1;
}

/* Open parentheses less closed ones, quoted strings left out. */
static int
balance(struct str line)
{
	int open = 0, quoted = 0;

	for (size_t i = 0; i < line.len; i++) {
		if (quoted && line.p[i] == '\\')
			i++;
		else if (line.p[i] == '"')
			quoted = !quoted;
		else if (!quoted)
			open += (line.p[i] == '(') - (line.p[i] == ')');
	}
	ROOST_ASSERT(!quoted);
	return open;
}

static void
check(struct str said)
{
	int open = 0, tagged = 0, begins = 1;

	ROOST_ASSERT(!memchr(said.p, '\0', said.len));
	while (said.len) {
		size_t end = str_find(said, 0, '\n');
		struct str line;
		long len;

		ROOST_ASSERT(end < said.len && end > 0 && said.p[end - 1] == '\r');
		line = str_make(said.p, end - 1);
		said = str_make(said.p + end + 1, said.len - end - 1);
		tagged = begins && line.p[0] != '*';
		if (tagged) {
			ROOST_ASSERT(said.len == 0);
			break;
		}
		open += balance(line);
		len = literal_len(line);
		begins = len < 0;
		if (begins) {
			ROOST_ASSERT(open == 0);
			continue;
		}
		ROOST_ASSERT((size_t)len <= said.len);
		said = str_make(said.p + len, said.len - (size_t)len);
	}
	ROOST_ASSERT(tagged);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"$Label1", "Work"};
	struct str all = str_make((const char *)data, size);
	size_t end = str_find(all, 0, '\0');
	struct fake_message message = {.text = "", .keywords = 3, .recent = 1};
	struct buf command = BUF_INIT(0);
	struct fake fake;

	log_set_level(LOGL_ERROR);
	if (end + 1 < size) {
		message.text = all.p + end + 1;
		message.len = size - end - 1;
	}
	message.as_file = size % 2;
	message.stale_cache = size % 16 == 15;
	message.no_cache = size % 16 == 7;
	fake_init(&fake, &message, 1);
	fake.keywords = names;
	fake.keyword_count = 2;
	buf_add_cstr(&command, "a ");
	buf_add(&command, data, end);
	check(fake_run_bytes(&fake, buf_str(&command)));
	buf_free(&command);
	fake_fini(&fake);
	return 0;
}
