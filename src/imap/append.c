/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* APPEND (RFC 3501 section 6.3.11), MULTIAPPEND (RFC 3502), APPENDUID (RFC 4315 section 3). */

enum {
	MESSAGES_MAX = 256, /* of one command */
	CHUNK = 65536,
};

struct append {
	struct index_mailbox box;
	struct index_append *messages[MESSAGES_MAX];
	struct index_append_info info[MESSAGES_MAX];
	struct imap_flags flags[MESSAGES_MAX];
	size_t count;
	/* Why it will be refused; the parser has its own error. */
	enum err e;
	const char *code, *text;
};

/*
 * Notes why the command is refused; the first reason stays. Returns an error, which keeps the
 * parser from going on.
 */
static enum err
refuse(struct append *a, const char *code, const char *text)
{
	if (!a->text && !a->e) {
		a->code = code;
		a->text = text;
	}
	return E_CANCELLED;
}

static enum err
refuse_error(struct append *a, enum err e)
{
	if (e == E_NOTFOUND)
		return refuse(a, "TRYCREATE", "There is no such mailbox");
	if (!a->text && !a->e)
		a->e = e;
	return E_CANCELLED;
}

/* Flags and date in front of a message's literal. */
static void
options_parse(struct imap_parser *p, struct append *a)
{
	struct imap_flags *flags = &a->flags[a->count];
	struct index_append_info *info = &a->info[a->count];
	time_t when = 0;
	int zone;

	if (imap_parse_peek(p) == '(') {
		(void)imap_parse_flag_list(p, flags);
		(void)imap_parse_space(p);
	}
	if (imap_parse_peek(p) == '"') {
		(void)imap_parse_date_time(p, &when, &zone);
		(void)imap_parse_space(p);
	}
	info->flags = flags->system;
	info->keywords = (const char *const *)flags->keywords;
	info->keyword_count = flags->count;
	info->internal_date = when;
}

/*
 * Copies the literal to the message. What the client has been allowed to send is taken to its end,
 * whatever happens to it here. Errors are those of the connection.
 */
static enum err
literal_copy(struct imap_session *s, struct append *a, uint64_t size, int *has_nul)
{
	struct index_append *m = a->messages[a->count];
	enum err failed = OK, e;
	struct str part;

	*has_nul = 0;
	while (size > 0) {
		e = stream_peek(s->client, size < CHUNK ? (size_t)size : CHUNK, &part);
		if (e)
			return e;
		*has_nul |= memchr(part.p, '\0', part.len) != NULL;
		if (!failed && !*has_nul)
			failed = index_append_write(m, part.p, part.len);
		stream_consume(s->client, part.len);
		size -= part.len;
	}
	if (!failed && !*has_nul)
		failed = index_append_finish(m);
	if (failed)
		(void)refuse_error(a, failed);
	return OK;
}

/* Everything that can be said before the client sends the message. */
static enum err
message_check(struct imap_session *s, struct append *a, uint64_t size)
{
	enum err e;

	if (size > s->conf->max_message_size)
		return refuse(a, "TOOBIG", "The message is larger than this server takes");
	/* RFC 3502 section 6.3.11: how a client calls it off. */
	if (size == 0)
		return refuse(a, NULL, "A message cannot be empty");
	e = index_append_create(s->index, a->box.id, size, &a->messages[a->count]);
	return e ? refuse_error(a, e) : OK;
}

static enum err
message_take(struct imap_session *s, struct imap_parser *p, struct append *a)
{
	uint64_t size;
	int sync, has_nul;
	enum err e;

	if (a->count == MESSAGES_MAX)
		return imap_parser_fail(p, E_TOOBIG, "too many messages in one command");
	options_parse(p, a);
	if (imap_parse_literal_start(p, &size, &sync))
		return p->err;
	e = message_check(s, a, size);
	if (e)
		return e;
	if (sync)
		(void)stream_write_cstr(s->client, "+ OK\r\n");
	e = literal_copy(s, a, size, &has_nul);
	a->count++;
	if (e)
		return imap_parser_fail(p, e, "");
	if (has_nul)
		(void)imap_parser_fail(p, E_PARSE, "a NUL byte in the message");
	(void)imap_parse_literal_done(p, size);
	if (p->err)
		return p->err;
	return a->text || a->e ? E_CANCELLED : OK;
}

static enum err
append_commit(struct imap_session *s, struct append *a)
{
	uint32_t *uids = mem_alloc(a->count * sizeof(*uids)), uidvalidity = 0;
	enum err e =
		index_append_commit(s->index, a->messages, a->info, a->count, &uidvalidity, uids);
	struct numset set = {0};

	if (e) {
		(void)refuse_error(a, e);
		goto out;
	}
	for (size_t i = 0; i < a->count; i++)
		numset_add(&set, uids[i]);
	(void)buf_printf(&s->out, "APPENDUID %" PRIu32 " ", uidvalidity);
	(void)numset_format(&set, &s->out);
	(void)imap_reply_ok(s, buf_cstr(&s->out), "Append completed");
	buf_reset(&s->out);
out:
	numset_free(&set);
	free(uids);
	return e;
}

/* OK: all messages are there, to be committed. Else the parser or *a tells. */
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
		return refuse_error(a, e);
	do {
		e = message_take(s, p, a);
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
	else if (a->text)
		e = imap_reply_no(s, a->code, a->text);
	else if (a->e)
		e = imap_reply_error(s, a->e, "mailbox");
	for (size_t i = 0; i < MESSAGES_MAX; i++) {
		index_append_free(&a->messages[i]);
		imap_flags_free(&a->flags[i]);
	}
	index_mailbox_free(&a->box);
	free(a);
	return e;
}

const struct imap_command imap_command_append = {
	.name = "APPEND",
	.rfc = "3501 6.3.11",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "MULTIAPPEND",
	.run = run_append,
};
