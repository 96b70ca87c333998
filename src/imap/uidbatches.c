/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

/*
 * UIDBATCHES (RFC 10022): UID ranges that cut the mailbox into batches of the same number of
 * messages, the newest first, so that a client can ask for its parts without message numbers. Each
 * range begins where the one before it ends, and the last goes down to 1 (section 3.1.4).
 *
 * Section 3.1.7 lets a server answer with TOOMANY, section 6 wants one that has to compute much to
 * count how often it is asked. Here an answer costs what it takes to write it, a step a batch, so
 * that neither is needed.
 */

enum { BATCH_MIN = 500 }; /* section 3.1.3.2 */

struct uidbatches {
	uint32_t size;
	uint32_t first, last; /* batches wanted, counted from 1 */
};

static enum err
batches_parse(struct imap_parser *p, struct uidbatches *b)
{
	size_t start;

	b->first = 1;
	b->last = UINT32_MAX;
	(void)imap_parse_space(p);
	(void)imap_parse_nz_number(p, &b->size);
	if (!imap_parse_try(p, ' '))
		return imap_parse_end(p);
	start = p->at;
	(void)imap_parse_nz_number(p, &b->first);
	if (!p->err && !imap_parse_try(p, ':'))
		return imap_parser_fail(p, E_PARSE, "expected \":\"");
	(void)imap_parse_nz_number(p, &b->last);
	if (!p->err && b->first > b->last) {
		p->at = start;
		return imap_parser_fail_code(p, "CLIENTBUG", "the range goes backwards");
	}
	return imap_parse_end(p);
}

/* The lowest UID of a batch, which is 1 for the oldest. */
static uint32_t
batch_low(const struct imap_session *s, uint64_t size, uint64_t batch)
{
	uint32_t count = index_view_count(s->view);

	return batch * size >= count
		       ? 1
		       : index_view_uid(s->view, (uint32_t)(count - batch * size + 1));
}

static void
batches_send(struct imap_session *s, const struct uidbatches *b)
{
	uint32_t count = index_view_count(s->view);
	uint64_t total = ((uint64_t)count + b->size - 1) / b->size;
	char gap = ' ';

	(void)buf_add_cstr(&s->out, "UIDBATCHES (TAG ");
	imap_write_string(&s->out, s->tag);
	(void)buf_add_char(&s->out, ')');
	for (uint64_t k = b->first; k <= total && k <= b->last; k++) {
		uint32_t high =
			k == 1 ? index_view_uid(s->view, count) : batch_low(s, b->size, k - 1) - 1;

		(void)buf_printf(
			&s->out, "%c%" PRIu32 ":%" PRIu32, gap, high, batch_low(s, b->size, k));
		gap = ',';
	}
	imap_untagged_out(s);
}

static enum err
run_uidbatches(struct imap_session *s, struct imap_parser *p)
{
	struct uidbatches b;

	if (batches_parse(p, &b))
		return p->err;
	if (b.size < BATCH_MIN)
		return imap_reply_no(s, "TOOFEW", "A batch has at least 500 messages");
	batches_send(s, &b);
	return imap_reply_ok(s, NULL, "Uidbatches completed");
}

const struct imap_command imap_command_uidbatches = {
	.name = "UIDBATCHES",
	.rfc = "10022 3.1",
	.states = IN_SELECTED,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "UIDBATCHES",
	.run = run_uidbatches,
};
