/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "imap/acl.h"
#include "imap/rights.h"

/*
 * GETACL, SETACL, DELETEACL, LISTRIGHTS and MYRIGHTS (RFC 4314 section 3). Nobody but its owner
 * reaches a mailbox, so that the owner's are the only rights that can be granted: LISTRIGHTS says
 * so of every other identifier, and SETACL refuses it.
 */

enum whose { OWNER, NOT_OWNER, OTHER };

static enum whose
identifier_whose(const struct imap_session *s, struct str id)
{
	int negative = id.len > 0 && id.p[0] == '-';
	struct str name = negative ? str_make(id.p + 1, id.len - 1) : id;

	if (!str_is_i(name, s->user.name) && !str_is_i(name, RIGHTS_OWNER))
		return OTHER;
	return negative ? NOT_OWNER : OWNER;
}

/* Under which name it is stored. */
static struct str
identifier_stored(enum whose whose, struct str id)
{
	return whose == OWNER ? STR(RIGHTS_OWNER) : whose == NOT_OWNER ? STR(RIGHTS_NOT_OWNER) : id;
}

/* Section 3: one that cannot be prepared, or is empty, is BAD. */
static enum err
identifier_parse(struct imap_parser *p, struct str *id)
{
	size_t start = p->at;

	if (imap_parse_space(p) || imap_parse_astring(p, id))
		return p->err;
	if (id->len > 0 && !str_is(*id, "-"))
		return OK;
	p->at = start;
	return imap_parser_fail(p, E_PARSE, "an identifier cannot be empty");
}

/* The mailbox of a command, on which the user has need. */
static enum err
mailbox_find(struct imap_session *s, struct str name, unsigned need, struct index_mailbox *box)
{
	enum err e = index_mailbox_get(s->index, name, box);

	return e ? e : imap_rights_check(s, box->id, need);
}

/* ---- MYRIGHTS ---- */

enum err
imap_acl_send_myrights(struct imap_session *s, struct str name)
{
	char text[RIGHTS_TEXT];
	struct index_mailbox box = {0};
	unsigned rights = 0;
	enum err e = index_mailbox_get(s->index, name, &box);

	if (!e)
		e = imap_rights_get(s, box.id, &rights, NULL);
	if (!e) {
		rights_format(rights, text);
		(void)buf_add_cstr(&s->out, "MYRIGHTS ");
		imap_write_mailbox(s, &s->out, str_of(box.name));
		(void)buf_printf(&s->out, " %s", text);
		imap_untagged_out(s);
	}
	index_mailbox_free(&box);
	return e;
}

static enum err
run_myrights(struct imap_session *s, struct imap_parser *p)
{
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	e = imap_acl_send_myrights(s, name);
	return e ? imap_reply_error(s, e, "mailbox") : imap_reply_ok(s, NULL, "Myrights completed");
}

/* ---- GETACL ---- */

static void
pair_write(struct imap_session *s, const char *sign, struct str id, struct str rights)
{
	struct buf name = {0};

	(void)buf_add_cstr(&name, sign);
	(void)buf_add_str(&name, id);
	(void)buf_add_char(&s->out, ' ');
	imap_write_astring(&s->out, buf_str(&name));
	(void)buf_add_char(&s->out, ' ');
	imap_write_astring(&s->out, rights);
	buf_free(&name);
}

/* The owner has been told. */
static enum err
pair_visit(struct str id, struct str rights, void *arg)
{
	struct imap_session *s = arg;
	char text[RIGHTS_TEXT];
	unsigned bits;

	if (str_is(id, RIGHTS_OWNER))
		return OK;
	/* Letters that mean nothing here are told as they are. */
	if (!rights_parse(rights, &bits)) {
		rights_format(bits, text);
		rights = str_of(text);
	}
	if (str_is(id, RIGHTS_NOT_OWNER))
		pair_write(s, "-", str_of(s->user.name), rights);
	else
		pair_write(s, "", id, rights);
	return OK;
}

static enum err
run_getacl(struct imap_session *s, struct imap_parser *p)
{
	char text[RIGHTS_TEXT];
	struct index_mailbox box = {0};
	unsigned rights, given = 0;
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	e = mailbox_find(s, name, RIGHT_ADMIN, &box);
	if (!e)
		e = imap_rights_get(s, box.id, &rights, &given);
	if (!e) {
		(void)buf_add_cstr(&s->out, "ACL ");
		imap_write_mailbox(s, &s->out, str_of(box.name));
		rights_format(given, text);
		pair_write(s, "", str_of(s->user.name), str_of(text));
		e = index_acl_each(s->index, box.id, pair_visit, s);
	}
	index_mailbox_free(&box);
	if (e) {
		buf_reset(&s->out);
		return imap_reply_error(s, e, "mailbox");
	}
	imap_untagged_out(s);
	return imap_reply_ok(s, NULL, "Getacl completed");
}

/* ---- LISTRIGHTS ---- */

static enum err
run_listrights(struct imap_session *s, struct imap_parser *p)
{
	struct index_mailbox box = {0};
	struct str name, id = {0};
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)identifier_parse(p, &id);
	if (imap_parse_end(p))
		return p->err;
	e = mailbox_find(s, name, RIGHT_ADMIN, &box);
	if (!e) {
		enum whose whose = identifier_whose(s, id);

		(void)buf_add_cstr(&s->out, "LISTRIGHTS ");
		imap_write_mailbox(s, &s->out, str_of(box.name));
		(void)buf_add_char(&s->out, ' ');
		imap_write_astring(&s->out, id);
		(void)buf_add_cstr(&s->out, whose == OWNER ? " lpa" : " \"\"");
		if (whose != OTHER)
			(void)buf_add_cstr(&s->out, " r s w i k x t e c d");
		imap_untagged_out(s);
	}
	index_mailbox_free(&box);
	return e ? imap_reply_error(s, e, "mailbox")
		 : imap_reply_ok(s, NULL, "Listrights completed");
}

/* ---- SETACL, DELETEACL ---- */

/* "+lr": what is to be done, and with which rights. */
static enum err
modification_parse(struct imap_parser *p, char *op, unsigned *rights)
{
	size_t start = p->at;
	struct str text;

	if (imap_parse_space(p) || imap_parse_astring(p, &text))
		return p->err;
	*op = '=';
	if (text.len > 0 && (text.p[0] == '+' || text.p[0] == '-')) {
		*op = text.p[0];
		text = str_make(text.p + 1, text.len - 1);
	}
	if (!rights_parse(text, rights))
		return OK;
	p->at = start;
	return imap_parser_fail(p, E_PARSE, "there is no such right");
}

/* What identifier has now, which for the owner may be what he has without any word of it. */
static enum err
rights_stored(struct imap_session *s, uint32_t mailbox, enum whose whose, unsigned *out)
{
	char text[INDEX_ACL_RIGHTS_SIZE];
	unsigned rights;
	enum err e;

	*out = 0;
	if (whose == OWNER)
		return imap_rights_get(s, mailbox, &rights, out);
	e = index_acl_get(s->index, mailbox, STR(RIGHTS_NOT_OWNER), text);
	if (!e)
		(void)rights_parse(str_of(text), out);
	return e == E_NOTFOUND ? OK : e;
}

/* The rights that cannot be taken or given are left out of what is stored. */
static enum err
rights_set(struct imap_session *s, uint32_t mailbox, enum whose whose, char op, unsigned change)
{
	char text[RIGHTS_TEXT];
	unsigned rights;
	enum err e = rights_stored(s, mailbox, whose, &rights);
	struct buf plain = {0};

	rights = op == '+' ? rights | change : op == '-' ? rights & ~change : change;
	if (whose == OWNER)
		rights |= RIGHTS_FIXED;
	else
		rights &= ~(unsigned)RIGHTS_FIXED;
	rights_format(rights, text);
	for (const char *c = text; *c; c++)
		if (*c != 'c' && *c != 'd')
			(void)buf_add_char(&plain, *c);
	if (!e)
		e = index_acl_set(s->index, mailbox, identifier_stored(whose, STR("")),
			plain.len ? INDEX_ACL_REPLACE : INDEX_ACL_DELETE, buf_str(&plain));
	buf_free(&plain);
	return e;
}

/* A change of the selected mailbox shows in what can be changed there. */
static enum err
changed_reply(struct imap_session *s, uint32_t mailbox, enum err e, const char *text)
{
	if (!e && s->view && mailbox == s->mailbox)
		e = imap_rights_selected(s);
	return e ? imap_reply_error(s, e, "mailbox") : imap_reply_ok(s, NULL, text);
}

static enum err
run_setacl(struct imap_session *s, struct imap_parser *p)
{
	struct index_mailbox box = {0};
	struct str name, id = {0};
	unsigned change = 0;
	char op = '=';
	enum whose whose;
	uint32_t mailbox;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)identifier_parse(p, &id);
	(void)modification_parse(p, &op, &change);
	if (imap_parse_end(p))
		return p->err;
	whose = identifier_whose(s, id);
	e = mailbox_find(s, name, RIGHT_ADMIN, &box);
	mailbox = box.id;
	index_mailbox_free(&box);
	if (!e && whose == OTHER)
		return imap_reply_no(
			s, "CANNOT", "Only the rights of the mailbox's owner can be set");
	if (!e)
		e = rights_set(s, mailbox, whose, op, change);
	return changed_reply(s, mailbox, e, "Setacl completed");
}

static enum err
run_deleteacl(struct imap_session *s, struct imap_parser *p)
{
	struct index_mailbox box = {0};
	struct str name, id = {0};
	uint32_t mailbox;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)identifier_parse(p, &id);
	if (imap_parse_end(p))
		return p->err;
	e = mailbox_find(s, name, RIGHT_ADMIN, &box);
	mailbox = box.id;
	index_mailbox_free(&box);
	if (!e)
		e = index_acl_set(s->index, mailbox, identifier_stored(identifier_whose(s, id), id),
			INDEX_ACL_DELETE, STR(""));
	return changed_reply(s, mailbox, e, "Deleteacl completed");
}

const struct imap_command imap_command_deleteacl = {
	.name = "DELETEACL",
	.rfc = "4314 3.2",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_deleteacl,
};
const struct imap_command imap_command_getacl = {
	.name = "GETACL",
	.rfc = "4314 3.3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_getacl,
};
const struct imap_command imap_command_listrights = {
	.name = "LISTRIGHTS",
	.rfc = "4314 3.4",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_listrights,
};
/*
 * None of these is advertised (ACL, RIGHTS=texk, LIST-MYRIGHTS) as long as mailboxes cannot be
 * shared: a client would offer to share them.
 */
const struct imap_command imap_command_myrights = {
	.name = "MYRIGHTS",
	.rfc = "4314 3.5",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_myrights,
};
const struct imap_command imap_command_setacl = {
	.name = "SETACL",
	.rfc = "4314 3.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_setacl,
};
