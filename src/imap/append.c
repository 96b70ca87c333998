/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>
#include <stdlib.h>

#include "imap/incoming.h"
#include "imap/limit.h"
#include "imap/notify.h"
#include "lib/mem.h"

/* APPEND (RFC 3501 section 6.3.11), MULTIAPPEND (RFC 3502), APPENDUID (RFC 4315 section 3). */

/* Of one command, where no limit is set (RFC 9738: a client may count on the one that is). */
enum { MESSAGES_MAX = 256 };

struct append {
	struct index_mailbox box;
	struct imap_incoming *messages;
	size_t count, cap;
	struct imap_incoming none; /* tells why there is no message at all */
};

/* The message that is being looked at, and why the command is refused if it is. */
static struct imap_incoming *
last_message(struct append *a)
{
	return a->count ? &a->messages[a->count - 1] : &a->none;
}

static struct imap_incoming *
next_message(struct append *a)
{
	if (a->count == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 4;
		a->messages = mem_realloc(a->messages, a->cap, sizeof(*a->messages));
	}
	a->messages[a->count] = (struct imap_incoming){0};
	return &a->messages[a->count++];
}

/* Whether one more would be too many; refuses it, then. */
static int
is_full(struct imap_session *s, struct imap_parser *p, struct append *a)
{
	struct imap_limit limit = {.messages = imap_limit_of_saving(s->conf)};
	struct imap_incoming *last = last_message(a);

	if (limit.messages == UINT32_MAX && a->count == MESSAGES_MAX)
		(void)imap_parser_fail(p, E_TOOBIG, "too many messages in one command");
	if (a->count < limit.messages)
		return p->err != OK;
	/* All or none (RFC 3502), so none. */
	(void)buf_printf(&last->code_text, "MESSAGELIMIT %" PRIu32, limit.messages);
	last->code = buf_cstr(&last->code_text);
	last->text = "Too many messages in one command";
	return 1;
}

static enum err
append_commit(struct imap_session *s, struct append *a)
{
	struct index_append **messages = mem_alloc(a->count * sizeof(struct index_append *));
	struct index_append_info *info = mem_alloc(a->count * sizeof(*info));
	uint32_t *uids = mem_alloc(a->count * sizeof(*uids)), uidvalidity = 0;
	struct numset set = {0};
	enum err e;

	for (size_t i = 0; i < a->count; i++) {
		messages[i] = a->messages[i].message;
		info[i] = a->messages[i].info;
	}
	e = index_append_commit(s->index, messages, info, a->count, &uidvalidity, uids);
	if (e) {
		e = imap_incoming_refuse(last_message(a), e);
		goto out;
	}
	for (size_t i = 0; i < a->count; i++)
		numset_add(&set, uids[i]);
	imap_notify_own_messages(s, a->box.id, &set);
	(void)buf_printf(&s->out, "APPENDUID %" PRIu32 " ", uidvalidity);
	(void)numset_format(&set, &s->out);
	(void)imap_reply_ok(s, buf_cstr(&s->out), "Append completed");
	buf_reset(&s->out);
out:
	numset_free(&set);
	free(messages);
	free(info);
	free(uids);
	return e;
}

/* OK: all messages are there, to be committed. Else the parser or the last message tells. */
static enum err
append_take(struct imap_session *s, struct imap_parser *p, struct append *a)
{
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_space(p))
		return p->err;
	e = index_mailbox_get(s->index, name, &a->box);
	if (e)
		return imap_incoming_refuse(last_message(a), e);
	do {
		if (is_full(s, p, a))
			return p->err ? p->err : E_CANCELLED;
		e = imap_incoming_take(s, p, a->box.id, next_message(a));
	} while (!e && imap_parse_try(p, ' '));
	return e ? e : imap_parse_end(p);
}

static enum err
run_append(struct imap_session *s, struct imap_parser *p)
{
	struct append *a = MEM_NEW(struct append);
	enum err e = append_take(s, p, a);

	if (!e)
		e = append_commit(s, a);
	if (p->err)
		e = p->err;
	else if (e == E_CANCELLED)
		e = imap_incoming_reply(s, last_message(a));
	for (size_t i = 0; i < a->count; i++)
		imap_incoming_fini(&a->messages[i]);
	imap_incoming_fini(&a->none);
	free(a->messages);
	index_mailbox_free(&a->box);
	free(a);
	return e;
}

const struct imap_command imap_command_append = {
	.name = "APPEND",
	.rfc = "3501 6.3.11",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "MULTIAPPEND CATENATE URL-PARTIAL BINARY",
	.run = run_append,
};
