/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "import/mbox.h"
#include "lib/log.h"

/* An mbox file: the first byte is the format, the second the size of the pieces. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct box {
	const uint8_t *p;
	size_t len, piece, written;
	int open;
};

static enum err
read_at(void *arg, uint64_t offset, char *p, size_t cap, size_t *got)
{
	const struct box *b = arg;
	size_t n = offset < b->len ? b->len - (size_t)offset : 0;

	n = n < b->piece ? n : b->piece;
	n = n < cap ? n : cap;
	if (n)
		memcpy(p, b->p + offset, n);
	*got = n;
	return OK;
}

static enum err
on_start(const struct mbox_message *m, void *arg)
{
	struct box *b = arg;

	ROOST_ASSERT(!b->open && m->offset < b->len);
	b->open = 1;
	return OK;
}

static void
on_write(const char *p, size_t len, void *arg)
{
	struct box *b = arg;

	(void)p;
	ROOST_ASSERT(b->open);
	b->written += len;
}

static enum err
on_end(const struct mbox_message *m, void *arg)
{
	struct box *b = arg;

	(void)m;
	ROOST_ASSERT(b->open);
	b->open = 0;
	return OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct box b = {0};
	const struct mbox_reader r = {read_at, on_start, on_write, on_end, &b};
	enum err e;

	if (size < 2)
		return 0;
	b.p = data + 2;
	b.len = size - 2;
	b.piece = (size_t)data[1] + 1;
	e = mbox_read(&r, (enum mbox_format)(data[0] % 4));
	ROOST_ASSERT(e == OK || e == E_PARSE);
	ROOST_ASSERT(!b.open && b.written <= b.len);
	return 0;
}
