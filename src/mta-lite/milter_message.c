/* SPDX-License-Identifier: MIT */
#include "mta-lite/milter_private.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The end of a message, for one filter: header, body, and then what the filter wants changed. Its
 * changes of header and body are made at once, on the message as it stands; a filter that fails
 * half way leaves what it had done, unless its default action is to refuse.
 */

enum { CHANGES_MAX = 10000 };

/* After a piece was sent: OK, E_ACCESS (ms->reply), or a failure. *skip: it wants no more of these.
 */
static enum err
answer(struct milters *ms, struct milter *m, int silent, int *skip)
{
	struct str data;
	int response;
	enum err e;

	if (silent)
		return OK;
	e = milter_read(m->io, &m->in, &response, &data);
	if (e)
		return e;
	if (response == MILTER_R_SKIP && skip)
		*skip = 1;
	return milter_take_answer(ms, m, response, data);
}

/* Filters see line ends of a folded value as LF. */
static void
put_value(struct buf *out, struct str value, int keep_space)
{
	size_t i;

	if (!keep_space && value.len > 0 && value.p[0] == ' ')
		value = str_make(value.p + 1, value.len - 1);
	for (i = 0; i < value.len; i++) {
		if (value.p[i] != '\r' && value.p[i] != '\0')
			buf_add_char(out, value.p[i]);
	}
	buf_add_char(out, '\0');
}

static enum err
send_header(struct milters *ms, struct milter *m, struct content *c)
{
	int silent = (m->terms.protocol & MILTER_NR_HEADER) != 0, skip = 0;
	int keep = (m->terms.protocol & MILTER_LEADING_SPACE) != 0;
	struct buf data = {0};
	size_t i;
	enum err e = OK;

	if (m->terms.protocol & MILTER_NO_HEADER)
		return OK;
	for (i = 0; e == OK && i < content_field_count(c) && m->state == MILTER_READY && !skip;
		i++) {
		buf_reset(&data);
		milter_put_text(&data, content_field_name(c, i));
		put_value(&data, content_field_value(c, i), keep);
		e = milter_write(m->io, MILTER_HEADER, buf_str(&data));
		if (e == OK)
			e = answer(ms, m, silent, &skip);
	}
	buf_free(&data);
	return e;
}

static enum err
send_body(struct milters *ms, struct milter *m, struct content *c)
{
	int silent = (m->terms.protocol & MILTER_NR_BODY) != 0, skip = 0;
	char *chunk;
	uint64_t off = 0;
	struct str piece;
	enum err e = OK;

	if (m->terms.protocol & MILTER_NO_BODY)
		return OK;
	chunk = mem_alloc(MILTER_CHUNK);
	while (e == OK && m->state == MILTER_READY && !skip) {
		e = content_body_read(c, off, chunk, MILTER_CHUNK, &piece);
		if (e || piece.len == 0)
			break;
		off += piece.len;
		e = milter_write(m->io, MILTER_BODY, piece);
		if (e == OK)
			e = answer(ms, m, silent, &skip);
	}
	free(chunk);
	return e;
}

static enum err
send_message(struct milters *ms, struct milter *m, struct content *c)
{
	enum err e = milter_send_macros(ms, m, MILTER_AT_EOH, MILTER_HEADER);

	if (e == OK)
		e = send_header(ms, m, c);
	if (e == OK && m->state == MILTER_READY && !(m->terms.protocol & MILTER_NO_EOH)) {
		e = milter_send_macros(ms, m, MILTER_AT_EOH, MILTER_EOH);
		if (e == OK)
			e = milter_write(m->io, MILTER_EOH, STR(""));
		if (e == OK)
			e = answer(ms, m, (m->terms.protocol & MILTER_NR_EOH) != 0, NULL);
	}
	if (e == OK && m->state == MILTER_READY)
		e = send_body(ms, m, c);
	if (e == OK && m->state == MILTER_READY) {
		e = milter_send_macros(ms, m, MILTER_AT_EOM, MILTER_EOB);
		if (e == OK)
			e = milter_write(m->io, MILTER_EOB, STR(""));
	}
	return e;
}

static enum err
edit_header(struct content *c, int response, struct str data)
{
	uint32_t index = 0;
	struct str name, value;
	size_t i;
	enum err e;

	if (response != MILTER_R_ADDHEADER && milter_get_u32(&data, &index))
		return E_PROTO;
	if (milter_get_text(&data, &name) || milter_get_text(&data, &value))
		return E_PROTO;
	if (response == MILTER_R_ADDHEADER)
		return content_insert(c, SIZE_MAX, name, value);
	if (response == MILTER_R_INSHEADER) {
		/* 1 is the first field that the client sent, 0 in front of all; our own stay above.
		 */
		return content_insert(c, index > 0 ? index - 1 : 0, name, value);
	}
	e = content_find(c, name, index ? index : 1, &i);
	if (value.len == 0) {
		if (e == OK)
			content_remove(c, i);
		return OK;
	}
	/* What is not there is added, as Sendmail does. */
	return e ? content_insert(c, SIZE_MAX, name, value) : content_set_value(c, i, value);
}

static enum err
note_change(struct milters *ms, int response, struct str data)
{
	struct str address;
	struct milter_change *ch;

	if (milter_get_text(&data, &address) || ms->change_count >= CHANGES_MAX)
		return E_PROTO;
	if (address.len >= 2 && address.p[0] == '<' && address.p[address.len - 1] == '>')
		address = str_make(address.p + 1, address.len - 2);
	if (response == MILTER_R_ADDRCPT_PAR)
		response = MILTER_R_ADDRCPT;
	ms->changes = mem_realloc(ms->changes, ms->change_count + 1, sizeof(*ms->changes));
	ch = &ms->changes[ms->change_count++];
	ch->kind = response;
	ch->address = str_dup(address);
	return OK;
}

static enum err
note_hold(struct milter *m, struct str data, int *hold, char **reason)
{
	struct str text;

	if (milter_get_text(&data, &text))
		return E_PROTO;
	*hold = 1;
	free(*reason);
	*reason = text.len ? str_dup(text) : mem_printf("filter %s", m->name);
	return OK;
}

/* The action that a response needs to have been negotiated; 0: it is an answer. */
static uint32_t
needed_action(int response)
{
	switch (response) {
	case MILTER_R_ADDHEADER:
	case MILTER_R_INSHEADER:
		return MILTER_ADDHDRS;
	case MILTER_R_CHGHEADER:
		return MILTER_CHGHDRS;
	case MILTER_R_REPLBODY:
		return MILTER_CHGBODY;
	case MILTER_R_ADDRCPT:
		return MILTER_ADDRCPT;
	case MILTER_R_ADDRCPT_PAR:
		return MILTER_ADDRCPT_PAR;
	case MILTER_R_DELRCPT:
		return MILTER_DELRCPT;
	case MILTER_R_CHGFROM:
		return MILTER_CHGFROM;
	case MILTER_R_QUARANTINE:
		return MILTER_QUARANTINE;
	default:
		return 0;
	}
}

/* What the filter says behind the end of the message, up to its last word. */
static enum err
take_changes(struct milters *ms, struct milter *m, struct content *c, int *hold, char **reason)
{
	unsigned n;
	int body_begun = 0;

	for (n = 0; n < CHANGES_MAX; n++) {
		struct str data;
		int response;
		uint32_t action;
		enum err e = milter_read(m->io, &m->in, &response, &data);

		if (e)
			return e;
		action = needed_action(response);
		if (action == 0)
			return milter_take_answer(ms, m, response, data);
		if (!(m->terms.actions & action))
			return E_PROTO;
		switch (action) {
		case MILTER_ADDHDRS:
		case MILTER_CHGHDRS:
			e = edit_header(c, response, data);
			break;
		case MILTER_CHGBODY:
			if (!body_begun)
				content_body_replace(c);
			body_begun = 1;
			e = content_body_add(c, data);
			break;
		case MILTER_QUARANTINE:
			e = note_hold(m, data, hold, reason);
			break;
		default:
			e = note_change(ms, response, data);
			break;
		}
		if (e)
			return e;
	}
	return E_PROTO;
}

const char *
milter_run_message(
	struct milters *ms, struct milter *m, struct content *c, int *hold, char **reason)
{
	enum err e;

	smtp_io_set_timeout(m->io, ms->set.content_timeout_ms);
	smtp_io_set_deadline(m->io, io_now_ms() + ms->set.content_timeout_ms);
	e = send_message(ms, m, c);
	if (e == OK && m->state == MILTER_READY) {
		e = take_changes(ms, m, c, hold, reason);
		m->in_message = 0; /* its last word ended the message for it */
	}
	if (e == E_ACCESS)
		return ms->reply;
	if (e)
		return milter_fail(ms, m, "message", e);
	smtp_io_set_timeout(m->io, ms->set.command_timeout_ms);
	return NULL;
}
