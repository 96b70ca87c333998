/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_tool.h"
#include "index/index_client.h"
#include "lib/mem.h"
#include "mail/rights.h"

/* What others, and the owner's own programs, may do with a user's mailbox (RFC 4314). */

static const char *const columns[] = {"identifier", "rights", NULL};

static enum err
add_entry(struct str identifier, struct str rights, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s%, s:s%}", "identifier", identifier.p,
					   identifier.len, "rights", rights.p, rights.len));
	return OK;
}

/* As clients write them, "c" and "d" with what they stand for. */
static enum err
rights_arg(const char *text, struct buf *out)
{
	char plain[RIGHTS_TEXT];
	unsigned rights;

	if (rights_parse(str_of(text), &rights) || rights == 0) {
		tool_error(
			"\"%s\" are no rights; these are: l lookup, r read, s keep seen, w write "
			"flags, i insert, p post, k create below, x delete the mailbox, t delete "
			"messages, e expunge, a administer",
			text);
		return E_PARSE;
	}
	rights_format(rights, plain);
	for (const char *c = plain; *c; c++)
		if (*c != 'c' && *c != 'd')
			(void)buf_add_char(out, *c);
	return OK;
}

struct acl {
	const char *verb, *mailbox, *identifier, *rights;
};

static enum err
acl_parse(const struct tool_args *a, struct acl *out)
{
	static const struct {
		const char *verb;
		size_t words;
	} verbs[] = {{"list", 3}, {"set", 5}, {"delete", 4}};

	*out = (struct acl){.verb = a->positional[0],
		.mailbox = a->positional[2],
		.identifier = a->count > 3 ? a->positional[3] : NULL,
		.rights = a->count > 4 ? a->positional[4] : NULL};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].verb, out->verb) == 0 && verbs[i].words == a->count)
			return OK;
	tool_error("expected list, set or delete, and what they need");
	return E_PARSE;
}

static enum err
acl_do(struct tool *t, struct index_user *u, uint32_t mailbox, const char *owner,
	const struct acl *acl)
{
	struct buf id = {0}, rights = {0};
	json_t *rows = json_array();
	enum err e = OK;

	if (acl->identifier)
		rights_identifier_prepare(str_of(acl->identifier), owner, &id);
	if (acl->rights)
		e = rights_arg(acl->rights, &rights);
	if (e == OK && acl->rights)
		e = index_acl_set(u, mailbox, buf_str(&id), INDEX_ACL_REPLACE, buf_str(&rights));
	else if (e == OK && acl->identifier)
		e = index_acl_set(u, mailbox, buf_str(&id), INDEX_ACL_DELETE, STR(""));
	if (e == OK)
		e = index_acl_each(u, mailbox, add_entry, rows);
	if (e == OK)
		tool_print(t, &rows, columns);
	else if (e != E_PARSE)
		tool_error("mailbox \"%s\" of %s: %s", acl->mailbox, owner,
			e == E_RANGE ? "nobody can have this identifier" : err_text(e));
	json_decref(rows);
	buf_free(&id);
	buf_free(&rights);
	return e;
}

enum err
tool_mailbox_acl(struct tool *t, int argc, char **argv)
{
	struct index_mailbox box = {0};
	struct index_user *u = NULL;
	struct tool_args a;
	struct acl acl;
	char *owner = NULL;
	enum err e = tool_args_parse(argc, argv, NULL, 3, 5, &a);

	e = e ? e : acl_parse(&a, &acl);
	e = e ? e : tool_open_user(t, a.positional[1], &u, &owner);
	if (e)
		return e;
	e = index_mailbox_get(u, str_of(acl.mailbox), &box);
	if (e)
		tool_error("mailbox \"%s\" of %s: %s", acl.mailbox, owner, err_text(e));
	else
		e = acl_do(t, u, box.id, owner, &acl);
	index_mailbox_free(&box);
	index_close(&u);
	free(owner);
	return e;
}
