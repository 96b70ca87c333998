/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "imap/acl.h"
#include "imap/rights.h"

/*
 * GETACL, SETACL, DELETEACL, LISTRIGHTS and MYRIGHTS (RFC 4314 section 3), of own mailboxes and of
 * those of others that the user administers for them.
 */

enum whose { OWNER, NOT_OWNER, OTHER };

/* The mailbox of a command. */
struct target {
	struct index_mailbox box;
	const char *owner; /* the user himself, or whose guest he is */
	unsigned rights; /* what the user may do */
};

static void
target_fini(struct target *t)
{
	index_mailbox_free(&t->box);
}

/* On which the user has need. */
static enum err
target_find(struct imap_session *s, struct str name, unsigned need, struct target *t)
{
	enum err e;

	*t = (struct target){.owner = s->user.name};
	e = index_mailbox_get(s->index, name, &t->box);
	if (!e && index_mailbox_is_shared(t->box.id))
		e = index_guest_rights(s->index, t->box.id, &t->owner, &t->rights);
	else if (!e)
		e = imap_rights_get(s, t->box.id, &t->rights, NULL);
	/* Who may not know of a mailbox is not told that it is there (section 6). */
	if (!e && (t->rights & need) != need)
		e = t->rights & RIGHT_LOOKUP ? E_ACCESS : E_NOTFOUND;
	return e;
}

static enum whose
identifier_whose(const struct target *t, struct str id)
{
	int negative = id.len > 0 && id.p[0] == '-';
	struct str name = negative ? str_make(id.p + 1, id.len - 1) : id;

	if (!str_is_i(name, t->owner) && !str_is_i(name, RIGHTS_OWNER))
		return OTHER;
	return negative ? NOT_OWNER : OWNER;
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

/* ---- MYRIGHTS ---- */

enum err
imap_acl_send_myrights(struct imap_session *s, struct str name)
{
	char text[RIGHTS_TEXT];
	struct target t;
	enum err e = target_find(s, name, 0, &t);

	if (!e) {
		rights_format(t.rights, text);
		(void)buf_add_cstr(&s->out, "MYRIGHTS ");
		imap_write_mailbox(s, &s->out, str_of(t.box.name));
		(void)buf_printf(&s->out, " %s", text);
		imap_untagged_out(s);
	}
	target_fini(&t);
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

struct telling {
	struct imap_session *s;
	const char *owner;
};

/* The owner has been told. */
static enum err
pair_visit(struct str id, struct str rights, void *arg)
{
	const struct telling *t = arg;
	struct imap_session *s = t->s;
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
		pair_write(s, "-", str_of(t->owner), rights);
	else
		pair_write(s, "", id, rights);
	return OK;
}

static enum err
owner_visit(struct str id, struct str rights, void *arg)
{
	rights_owner_add(arg, id, rights);
	return OK;
}

static enum err
run_getacl(struct imap_session *s, struct imap_parser *p)
{
	char text[RIGHTS_TEXT];
	struct rights_owner o;
	struct target t;
	struct telling tell = {.s = s};
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	e = target_find(s, name, RIGHT_ADMIN, &t);
	rights_owner_init(&o);
	if (!e)
		e = index_acl_each(s->index, t.box.id, owner_visit, &o);
	if (!e) {
		tell.owner = t.owner;
		(void)buf_add_cstr(&s->out, "ACL ");
		imap_write_mailbox(s, &s->out, str_of(t.box.name));
		rights_format(o.given, text);
		pair_write(s, "", str_of(t.owner), str_of(text));
		e = index_acl_each(s->index, t.box.id, pair_visit, &tell);
	}
	target_fini(&t);
	if (e) {
		buf_reset(&s->out);
		return imap_reply_error(s, e, "mailbox");
	}
	imap_untagged_out(s);
	return imap_reply_ok(s, NULL, "Getacl completed");
}

/* ---- LISTRIGHTS ---- */

/* What is always given comes first, then what can be, each by itself (section 3.4). */
static const char *
grantable(const struct target *t, struct str id)
{
	switch (identifier_whose(t, id)) {
	case OWNER:
		/* His own guard, which is not for guests to change. */
		return index_mailbox_is_shared(t->box.id) ? "lrswipkxteacd"
							  : "lpa r s w i k x t e c d";
	case NOT_OWNER:
		return index_mailbox_is_shared(t->box.id) ? "\"\"" : "\"\" r s w i k x t e c d";
	default:
		return "\"\" l r s w i p k x t e a c d";
	}
}

static enum err
run_listrights(struct imap_session *s, struct imap_parser *p)
{
	struct str name, id = {0};
	struct target t;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)identifier_parse(p, &id);
	if (imap_parse_end(p))
		return p->err;
	e = target_find(s, name, RIGHT_ADMIN, &t);
	if (!e) {
		(void)buf_add_cstr(&s->out, "LISTRIGHTS ");
		imap_write_mailbox(s, &s->out, str_of(t.box.name));
		(void)buf_add_char(&s->out, ' ');
		imap_write_astring(&s->out, id);
		(void)buf_printf(&s->out, " %s", grantable(&t, id));
		imap_untagged_out(s);
	}
	target_fini(&t);
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
rights_stored(struct imap_session *s, const struct target *t, enum whose whose, struct str id,
	unsigned *out)
{
	char text[INDEX_ACL_RIGHTS_SIZE];
	unsigned rights;
	enum err e;

	*out = 0;
	if (whose == OWNER)
		return imap_rights_get(s, t->box.id, &rights, out);
	e = index_acl_get(s->index, t->box.id, id, text);
	if (!e)
		(void)rights_parse(str_of(text), out);
	return e == E_NOTFOUND ? OK : e;
}

/* Of the owner, the rights that cannot be taken or given are left out of what is stored. */
static enum err
rights_set(
	struct imap_session *s, const struct target *t, struct str given, char op, unsigned change)
{
	enum whose whose = identifier_whose(t, given);
	struct buf id = {0}, plain = {0};
	char text[RIGHTS_TEXT];
	unsigned rights;
	enum err e;

	rights_identifier_prepare(given, t->owner, &id);
	e = rights_stored(s, t, whose, buf_str(&id), &rights);
	rights = op == '+' ? rights | change : op == '-' ? rights & ~change : change;
	if (whose == OWNER)
		rights |= RIGHTS_FIXED;
	else if (whose == NOT_OWNER)
		rights &= ~(unsigned)RIGHTS_FIXED;
	rights_format(rights, text);
	for (const char *c = text; *c; c++)
		if (*c != 'c' && *c != 'd')
			(void)buf_add_char(&plain, *c);
	if (!e)
		e = index_acl_set(s->index, t->box.id, buf_str(&id),
			plain.len ? INDEX_ACL_REPLACE : INDEX_ACL_DELETE, buf_str(&plain));
	buf_free(&plain);
	buf_free(&id);
	return e;
}

/* A change of the selected mailbox shows in what can be changed there. */
static enum err
changed_reply(struct imap_session *s, struct target *t, enum err e, const char *text)
{
	uint32_t mailbox = t->box.id;

	target_fini(t);
	if (!e && s->view && mailbox == s->mailbox) {
		e = imap_rights_selected(s);
		/* He has taken the last right from himself, which the reply's synchronization
		 * tells. */
		e = e == E_NOTFOUND ? OK : e;
	}
	if (e == E_RANGE)
		return imap_reply_no(s, "CANNOT", "Nobody can have this identifier");
	return e ? imap_reply_error(s, e, "mailbox") : imap_reply_ok(s, NULL, text);
}

static enum err
run_setacl(struct imap_session *s, struct imap_parser *p)
{
	struct str name, id = {0};
	unsigned change = 0;
	struct target t;
	char op = '=';
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)identifier_parse(p, &id);
	(void)modification_parse(p, &op, &change);
	if (imap_parse_end(p))
		return p->err;
	e = target_find(s, name, RIGHT_ADMIN, &t);
	if (!e)
		e = rights_set(s, &t, id, op, change);
	return changed_reply(s, &t, e, "Setacl completed");
}

static enum err
run_deleteacl(struct imap_session *s, struct imap_parser *p)
{
	struct str name, id = {0};
	struct buf stored = {0};
	struct target t;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	(void)identifier_parse(p, &id);
	if (imap_parse_end(p))
		return p->err;
	e = target_find(s, name, RIGHT_ADMIN, &t);
	if (!e) {
		rights_identifier_prepare(id, t.owner, &stored);
		e = index_acl_set(s->index, t.box.id, buf_str(&stored), INDEX_ACL_DELETE, STR(""));
	}
	buf_free(&stored);
	return changed_reply(s, &t, e, "Deleteacl completed");
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
	.capabilities = "ACL RIGHTS=texk",
	.run = run_getacl,
};
const struct imap_command imap_command_listrights = {
	.name = "LISTRIGHTS",
	.rfc = "4314 3.4",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_listrights,
};
const struct imap_command imap_command_myrights = {
	.name = "MYRIGHTS",
	.rfc = "4314 3.5",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "LIST-MYRIGHTS",
	.run = run_myrights,
};
const struct imap_command imap_command_setacl = {
	.name = "SETACL",
	.rfc = "4314 3.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_setacl,
};
