/* SPDX-License-Identifier: MIT */
#include "imap/status.h"

#include "imap/rights.h"

/* STATUS (RFC 3501 section 6.3.10); also for the STATUS return option of LIST (RFC 5819). */

static const struct {
	const char *name;
	unsigned bit;
} item_names[] = {
	{"MESSAGES", IMAP_STATUS_MESSAGES},
	{"RECENT", IMAP_STATUS_RECENT},
	{"UIDNEXT", IMAP_STATUS_UIDNEXT},
	{"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY},
	{"UNSEEN", IMAP_STATUS_UNSEEN},
	{"HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ},
	{"MAILBOXID", IMAP_STATUS_MAILBOXID},
	{"DELETED", IMAP_STATUS_DELETED},
	{"DELETED-STORAGE", IMAP_STATUS_DELETED_STORAGE},
	{"SIZE", IMAP_STATUS_SIZE},
	{"APPENDLIMIT", IMAP_STATUS_APPENDLIMIT},
};
enum { ITEM_COUNT = sizeof(item_names) / sizeof(item_names[0]) };

enum err
imap_parse_status_items(struct imap_parser *p, unsigned *items)
{
	size_t n = 0;

	*items = 0;
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		size_t start = p->at, i = 0;
		struct str word;

		if (imap_parse_word(p, "expected a status item", &word))
			break;
		while (i < ITEM_COUNT && !str_is_i(word, item_names[i].name))
			i++;
		if (i == ITEM_COUNT) {
			p->at = start;
			return imap_parser_fail(p, E_PARSE, "there is no such status item");
		}
		*items |= item_names[i].bit;
	}
	if (!p->err && !*items)
		return imap_parser_fail(p, E_PARSE, "expected a status item");
	return p->err;
}

static enum err
message_count(const struct index_message *m, void *arg)
{
	(void)m;
	++*(uint32_t *)arg;
	return OK;
}

static enum err
deleted_add(const struct index_message *m, void *arg)
{
	if (m->flags & INDEX_DELETED)
		*(uint64_t *)arg += m->disk_size;
	return OK;
}

/* What an EXPUNGE would free, in octets. */
static uint64_t
deleted_storage(struct imap_session *s, const struct index_mailbox *box)
{
	uint64_t sum = 0;

	if (box->deleted > 0)
		(void)index_message_each(s->index, box->id, 1, UINT32_MAX, deleted_add, &sum);
	return sum;
}

struct sum {
	struct imap_session *s;
	uint32_t mailbox;
	uint64_t bytes;
};

/*
 * The total of the mailbox counts the size on disk where that of the message is not known, which is
 * too little with LF in the files, and less than the sum is not allowed (RFC 8438 section 3).
 */
static enum err
message_size(const struct index_message *m, void *arg)
{
	struct sum *sum = arg;
	struct index_message full = *m;
	enum err e = OK;

	if (full.size == UINT64_MAX)
		e = index_message_facts(sum->s->index, sum->mailbox, &full);
	/* One whose file is gone counts for nothing. */
	if (!e)
		sum->bytes += full.size;
	return e == E_NOTFOUND ? OK : e;
}

static uint64_t
mailbox_size(struct imap_session *s, const struct index_mailbox *box)
{
	struct sum sum = {.s = s, .mailbox = box->id};

	if (index_message_each(s->index, box->id, 1, UINT32_MAX, message_size, &sum))
		return 2 * box->size_bytes;
	return sum.bytes;
}

static uint64_t
item_value(struct imap_session *s, const struct index_mailbox *box, unsigned bit)
{
	uint32_t recent = 0;

	switch (bit) {
	case IMAP_STATUS_MESSAGES:
		return box->messages;
	case IMAP_STATUS_UIDNEXT:
		return box->uidnext;
	case IMAP_STATUS_UIDVALIDITY:
		return box->uidvalidity;
	case IMAP_STATUS_UNSEEN:
		return box->unseen;
	case IMAP_STATUS_HIGHESTMODSEQ:
		return box->highest_modseq;
	case IMAP_STATUS_DELETED_STORAGE:
		return deleted_storage(s, box);
	case IMAP_STATUS_SIZE:
		return mailbox_size(s, box);
	case IMAP_STATUS_DELETED:
		return box->deleted;
	case IMAP_STATUS_APPENDLIMIT:
		return s->conf->max_message_size;
	default:
		if (box->recent_from < box->uidnext)
			(void)index_message_each(s->index, box->id, box->recent_from, UINT32_MAX,
				message_count, &recent);
		return recent;
	}
}

void
imap_status_write(struct imap_session *s, const struct index_mailbox *box, unsigned items)
{
	const char *gap = "";

	(void)buf_add_cstr(&s->out, "STATUS ");
	imap_write_mailbox(s, &s->out, str_of(box->name));
	(void)buf_add_cstr(&s->out, " (");
	for (size_t i = 0; i < ITEM_COUNT; i++) {
		if (!(items & item_names[i].bit))
			continue;
		(void)buf_printf(&s->out, "%s%s ", gap, item_names[i].name);
		if (item_names[i].bit == IMAP_STATUS_MAILBOXID)
			(void)buf_printf(&s->out, "(%c%s)", IMAP_MAILBOX_ID, box->object_id);
		else
			(void)buf_add_u64(&s->out, item_value(s, box, item_names[i].bit));
		gap = " ";
	}
	(void)buf_add_char(&s->out, ')');
	imap_untagged_out(s);
}

enum err
imap_status_send(struct imap_session *s, struct str name, unsigned items)
{
	struct index_mailbox box = {0};
	enum err e = index_mailbox_get(s->index, name, &box), refreshed;

	if (!e)
		e = imap_rights_check(s, box.id, RIGHT_READ);
	if (!e) {
		refreshed = index_refresh(s->index, box.id);
		if (refreshed == OK || refreshed == E_NOTFOUND) {
			index_mailbox_free(&box);
			box = (struct index_mailbox){0};
			e = index_mailbox_get(s->index, name, &box);
		}
	}
	if (!e)
		imap_status_write(s, &box, items);
	index_mailbox_free(&box);
	return e;
}

static enum err
run_status(struct imap_session *s, struct imap_parser *p)
{
	struct str name;
	unsigned items;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)imap_parse_space(p);
	(void)imap_parse_status_items(p, &items);
	if (imap_parse_end(p))
		return p->err;
	if (items & IMAP_STATUS_HIGHESTMODSEQ)
		imap_enable(s, IMAP_CONDSTORE);
	e = imap_status_send(s, name, items);
	if (e)
		return imap_reply_error(s, e, "mailbox");
	return imap_reply_ok(s, NULL, "Status completed");
}

const struct imap_command imap_command_status = {
	.name = "STATUS",
	.rfc = "3501 6.3.10",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "OBJECTID STATUS=SIZE",
	.run = run_status,
};
