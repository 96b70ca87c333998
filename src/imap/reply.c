/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "imap/state.h"
#include "lib/log.h"
#include "lib/mem.h"

static enum err
tagged(struct imap_session *s, const char *word, const char *code, const char *text)
{
	struct str tag = s->tag.len > 0 ? s->tag : STR("*");
	uint64_t modseq = imap_state_due_modseq(s);
	char highest[48];

	/* RFC 7162 section 3.2.7 wants it in the tagged reply where that has no other code. */
	if (modseq && !code && word[0] == 'O') {
		snprintf(highest, sizeof(highest), "HIGHESTMODSEQ %" PRIu64, modseq);
		code = highest;
	} else if (modseq) {
		imap_send_highest_modseq(s);
	}
	(void)stream_printf(s->client, "%.*s %s %s%s%s%s\r\n", STR_ARG(tag), word, code ? "[" : "",
		code ? code : "", code ? "] " : "", text);
	return OK;
}

/* What other sessions did comes before the reply, as far as this command allows it. */
static void
changes_tell(struct imap_session *s)
{
	if (!s->command || s->command->sync == IMAP_SYNC_NOTHING)
		return;
	imap_state_sync(s, (s->uid && !s->has_numbers) || s->command->sync == IMAP_SYNC_ALL);
}

enum err
imap_reply_ok(struct imap_session *s, const char *code, const char *text)
{
	changes_tell(s);
	return tagged(s, "OK", code, text);
}

enum err
imap_reply_no(struct imap_session *s, const char *code, const char *text)
{
	changes_tell(s);
	return tagged(s, "NO", code, text);
}

enum err
imap_reply_bad(struct imap_session *s, const char *code, const char *text)
{
	s->errors++;
	return tagged(s, "BAD", code, text);
}

/* Response codes of RFC 5530 section 3. with_what: the text goes on with what is meant. */
static const struct error_reply {
	enum err e;
	const char *code, *text;
	int with_what;
} error_replies[] = {
	{E_NOTFOUND, "NONEXISTENT", "There is no such ", 1},
	{E_EXISTS, "ALREADYEXISTS", "There already is such a ", 1},
	{E_RANGE, "CANNOT", "This cannot be the name of a ", 1},
	{E_QUOTA, "OVERQUOTA", "The quota leaves no room for this", 0},
	{E_TOOBIG, "LIMIT", "Over a limit of this server", 0},
	{E_ACCESS, "NOPERM", "Not permitted", 0},
	{E_CONFLICT, "INUSE", "In use at the moment, try again", 0},
};
static const struct error_reply unavailable = {
	OK, "UNAVAILABLE", "Not possible at the moment, try again", 0};
static const struct error_reply server_bug = {
	OK, "SERVERBUG", "Something went wrong that should not; it was logged", 0};

enum err
imap_reply_error(struct imap_session *s, enum err e, const char *what)
{
	const struct error_reply *r = err_is_temporary(e) ? &unavailable : &server_bug;
	char *text;

	for (size_t i = 0; i < sizeof(error_replies) / sizeof(error_replies[0]); i++)
		if (error_replies[i].e == e)
			r = &error_replies[i];
	log_event(r == &server_bug ? LOGL_ERROR : LOGL_DEBUG, "imap.command failed", "command",
		s->command ? s->command->name : NULL, "error", err_word(e), NULL);
	text = mem_printf("%s%s", r->text, r->with_what ? what : "");
	(void)imap_reply_no(s, r->code, text);
	free(text);
	return OK;
}

void
imap_untagged(struct imap_session *s, const char *fmt, ...)
{
	struct buf line = BUF_INIT(0);
	va_list ap;

	va_start(ap, fmt);
	(void)buf_vprintf(&line, fmt, ap);
	va_end(ap);
	(void)stream_write(s->client, "* ", 2);
	(void)stream_write_str(s->client, buf_str(&line));
	(void)stream_write(s->client, "\r\n", 2);
	buf_free(&line);
}

void
imap_untagged_out(struct imap_session *s)
{
	(void)stream_write(s->client, "* ", 2);
	(void)stream_write_str(s->client, buf_str(&s->out));
	(void)stream_write(s->client, "\r\n", 2);
	buf_reset(&s->out);
}
