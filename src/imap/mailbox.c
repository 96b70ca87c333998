/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <stdlib.h>

#include "imap/list.h"
#include "imap/notify.h"
#include "imap/rights.h"
#include "imap/special_use.h"
#include "mail/netunicode.h"

/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 section 6.3.3 to 6.3.7). */

/*
 * RFC 9051 section 5.1: a name that is not Net-Unicode is refused, not converted, so that what is
 * listed is what can be selected. Names in modified UTF-7 have been checked by themselves.
 */
static int
is_good_name(const struct imap_session *s, struct str name)
{
	return !imap_uses_utf8(s) || netunicode_is_name(name);
}

static enum err
refuse_name(struct imap_session *s)
{
	return imap_reply_no(s, "CANNOT", "The name is not in Net-Unicode (RFC 5198)");
}

/* ---- CREATE ---- */

/* "(USE (\Sent))" (RFC 6154 section 3). *use: what is asked for; *known: whether we have all of it.
 */
static enum err
create_params_parse(struct imap_parser *p, unsigned *use, int *known)
{
	size_t n = 0;

	*use = 0;
	*known = 1;
	(void)imap_parse_open(p);
	if (!p->err && !imap_parse_try_word(p, "USE"))
		return imap_parser_fail(p, E_PARSE, "expected USE");
	(void)imap_parse_space(p);
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		struct str name;
		unsigned bit;

		(void)imap_parse_char(p, '\\');
		if (imap_parse_atom(p, "expected a special use", &name))
			break;
		bit = imap_special_use_find(name);
		*use |= bit;
		*known &= bit != 0;
	}
	return imap_parse_close(p);
}

/* One use a mailbox; \All and \Flagged are views of other mailboxes, which we do not have. */
static int
use_is_supported(unsigned use)
{
	return (use & (use - 1)) == 0 && !(use & (INDEX_USE_ALL | INDEX_USE_FLAGGED));
}

static enum err
run_create(struct imap_session *s, struct imap_parser *p)
{
	struct index_mailbox box = {0};
	struct str name, nearest = {0};
	unsigned use = 0;
	int known = 1;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_try(p, ' '))
		(void)create_params_parse(p, &use, &known);
	if (imap_parse_end(p))
		return p->err;
	if (!known || (use && !use_is_supported(use)))
		return imap_reply_no(s, "USEATTR", "This special use is not supported");
	if (!is_good_name(s, name))
		return refuse_name(s);
	/* "a/" says that names below it are to come, which is true of all (section 6.3.3). */
	if (name.len > 1 && name.p[name.len - 1] == '/')
		name.len--;
	e = imap_rights_check_parent(s, name);
	if (!e)
		e = imap_rights_nearest(s, name, &nearest);
	if (!e)
		e = index_mailbox_create(s->index, name, use, &box);
	if (!e)
		e = imap_rights_inherit(s, nearest, str_of(box.name));
	if (e == E_TOOBIG)
		return imap_reply_no(s, "CANNOT", "The name is too long");
	if (e) {
		index_mailbox_free(&box);
		return imap_reply_error(s, e, "mailbox");
	}
	imap_notify_own_name(s, name);
	/* RFC 8474 section 4.1 */
	(void)buf_printf(&s->out, "MAILBOXID (%c%s)", IMAP_MAILBOX_ID, box.object_id);
	(void)imap_reply_ok(s, buf_cstr(&s->out), "Create completed");
	buf_reset(&s->out);
	index_mailbox_free(&box);
	return OK;
}

/* ---- DELETE ---- */

static enum err
run_delete(struct imap_session *s, struct imap_parser *p)
{
	struct index_mailbox box = {0};
	struct str name;
	uint32_t id;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	e = index_mailbox_get(s->index, name, &box);
	id = box.id;
	index_mailbox_free(&box);
	if (!e && imap_rights_check(s, id, RIGHT_REMOVE) == E_ACCESS)
		return imap_reply_error(s, E_ACCESS, "mailbox");
	if (!e)
		e = index_mailbox_delete(s->index, name);
	if (e == E_EXISTS)
		return imap_reply_no(s, "HASCHILDREN", "There are mailboxes below it");
	if (e == E_ACCESS)
		return imap_reply_no(s, "CANNOT", "INBOX cannot be deleted");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	imap_notify_own_name(s, name);
	/* Others who have it selected are sent away; the one who deletes it knows. */
	if (s->view && id == s->mailbox)
		imap_state_unselect(s);
	return imap_reply_ok(s, NULL, "Delete completed");
}

/* ---- RENAME ---- */

/* RFC 9051 section 6.3.9.7. INBOX is still there, so that it has no new name (section 6.3.6). */
static void
tell_renamed(struct imap_session *s, struct str from, struct str to)
{
	struct index_mailbox box = {0};
	char *old = str_dup(from);

	if (!str_is_i(from, "INBOX") && !index_mailbox_get(s->index, to, &box))
		imap_list_send_one(s, &box, old);
	index_mailbox_free(&box);
	free(old);
}

/*
 * RFC 4314 section 4: x on the mailbox; k above the new name, unless it stays where it is. From
 * INBOX the messages are taken away, so that it is not enough to have x there.
 */
static enum err
rename_check(struct imap_session *s, struct str from, struct str to)
{
	unsigned need = RIGHT_REMOVE;
	enum err e;

	if (str_is_i(from, "INBOX"))
		need |= RIGHT_DELETE | RIGHT_EXPUNGE;
	e = imap_rights_check_name(s, from, need);
	if (e || str_equal(imap_rights_parent(from), imap_rights_parent(to)))
		return e;
	return imap_rights_check_parent(s, to);
}

static enum err
run_rename(struct imap_session *s, struct imap_parser *p)
{
	struct str from, to;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &from);
	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &to);
	if (imap_parse_end(p))
		return p->err;
	if (!is_good_name(s, to))
		return refuse_name(s);
	e = rename_check(s, from, to);
	if (!e)
		e = index_mailbox_rename(s->index, from, to);
	if (e == E_TOOBIG)
		return imap_reply_no(s, "CANNOT", "The name is too long");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	imap_notify_own_name(s, from);
	imap_notify_own_name(s, to);
	if (s->enabled & IMAP_REV2)
		tell_renamed(s, from, to);
	return imap_reply_ok(s, NULL, "Rename completed");
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

static enum err
subscribe(struct imap_session *s, struct imap_parser *p, int on)
{
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	e = index_subscribe(s->index, name, on);
	if (e == E_TOOBIG)
		return imap_reply_no(s, "CANNOT", "The name is too long");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	imap_notify_own_name(s, name);
	return imap_reply_ok(s, NULL, on ? "Subscribe completed" : "Unsubscribe completed");
}

static enum err
run_subscribe(struct imap_session *s, struct imap_parser *p)
{
	return subscribe(s, p, 1);
}

static enum err
run_unsubscribe(struct imap_session *s, struct imap_parser *p)
{
	return subscribe(s, p, 0);
}

const struct imap_command imap_command_create = {
	.name = "CREATE",
	.rfc = "3501 6.3.3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "CREATE-SPECIAL-USE",
	.run = run_create,
};
const struct imap_command imap_command_delete = {
	.name = "DELETE",
	.rfc = "3501 6.3.4",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_delete,
};
const struct imap_command imap_command_rename = {
	.name = "RENAME",
	.rfc = "3501 6.3.5",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_rename,
};
const struct imap_command imap_command_subscribe = {
	.name = "SUBSCRIBE",
	.rfc = "3501 6.3.6",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_subscribe,
};
const struct imap_command imap_command_unsubscribe = {
	.name = "UNSUBSCRIBE",
	.rfc = "3501 6.3.7",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_unsubscribe,
};
