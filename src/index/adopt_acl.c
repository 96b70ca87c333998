/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/adopt.h"

#include <string.h>

#include "lib/log.h"
#include "mail/rights.h"

/*
 * Dovecot's dovecot-acl: a line for each identifier, "user=bob@example.test lrs", "anyone lr", with
 * "-" in front what is taken away; a name with blanks stands in quotes. Its letters are those of
 * RFC 4314. Rights spelt out behind a ":" and "group-override=" are not taken over.
 */

enum { ACL_FILE_MAX = 256 * 1024 };

/* The identifier in front of a line, as roost-acl has it. E_PARSE: none that we know. */
static enum err
identifier_take(struct str *line, struct buf *out)
{
	static const char user[] = "user=", group[] = "group=";
	struct str id = *line;
	size_t end;

	if (id.len > 0 && id.p[0] == '"') {
		id = str_make(id.p + 1, id.len - 1);
		end = str_find(id, 0, '"');
		*line = str_make(id.p + end, id.len - end);
		if (line->len > 0)
			*line = str_make(line->p + 1, line->len - 1);
	} else {
		end = str_find(id, 0, ' ');
		*line = str_make(id.p + end, id.len - end);
	}
	id.len = end;
	if (id.len > 0 && id.p[0] == '-') {
		(void)buf_add_char(out, '-');
		id = str_make(id.p + 1, id.len - 1);
	}
	if (str_starts_i(id, user)) {
		id = str_make(id.p + sizeof(user) - 1, id.len - (sizeof(user) - 1));
	} else if (str_starts_i(id, group)) {
		id = str_make(id.p + sizeof(group) - 1, id.len - (sizeof(group) - 1));
		if (id.len > 0)
			(void)buf_add_char(out, '$');
	} else if (!str_is(id, RIGHTS_OWNER) && !str_is(id, RIGHTS_ANYONE) &&
		   !str_is(id, RIGHTS_AUTHENTICATED)) {
		return E_PARSE;
	}
	if (id.len == 0)
		return E_PARSE;
	for (size_t i = 0; i < id.len; i++)
		(void)buf_add_char(
			out, id.p[i] >= 'A' && id.p[i] <= 'Z' ? (char)(id.p[i] | 32) : id.p[i]);
	return entry_identifier_check(buf_str(out)) ? E_PARSE : OK;
}

static enum err
line_take(struct str line, struct entry_list *out)
{
	char rights[ENTRY_RIGHTS_MAX + 1];
	struct buf id = {0}, letters = {0};
	unsigned bits;
	enum err e = identifier_take(&line, &id);

	for (size_t i = 0; i < line.len && line.p[i] != ':'; i++)
		if (line.p[i] != ' ')
			(void)buf_add_char(&letters, line.p[i]);
	if (e == OK && (rights_parse(buf_str(&letters), &bits) ||
			       entry_rights_normalize(buf_str(&letters), rights)))
		e = E_PARSE;
	if (e == OK)
		entry_list_set(out, buf_str(&id), str_of(rights));
	buf_free(&id);
	buf_free(&letters);
	return e;
}

void
adopt_dovecot_acl(struct str text, struct entry_list *out, size_t *bad)
{
	*out = (struct entry_list){0};
	*bad = 0;
	while (text.p && out->count < INDEX_ACL_COUNT_MAX) {
		struct str line = str_split(&text, '\n');

		if (line.len > 0 && line.p[0] != '#')
			*bad += line_take(line, out) != OK;
	}
}

enum err
adopt_acl(struct index_core *c, const char *dir)
{
	struct buf text = {0};
	struct entry_list l = {0}, own = {0};
	size_t bad = 0;
	enum err e = entry_file_read(c->maildir_fd, dir, ENTRY_FILE_ACL, &own, NULL);

	entry_list_free(&own);
	if (e != E_NOTFOUND)
		return OK;
	e = adopt_file_read(c, dir, "dovecot-acl", ACL_FILE_MAX, &text);
	if (e == OK)
		adopt_dovecot_acl(buf_str(&text), &l, &bad);
	if (bad)
		log_event(LOGL_WARN, "index.adopt acl", "maildir", c->maildir, "dir", dir, "bad",
			log_u64(bad), NULL);
	if (e == OK && l.count)
		e = core_entries_write(c, dir, ENTRY_FILE_ACL, &l);
	entry_list_free(&l);
	buf_free(&text);
	/* Who may do more than before is what must not come of a file that cannot be read. */
	return e == E_NOTFOUND ? OK : e;
}

void
export_dovecot_acl(const struct entry_list *l, struct buf *out)
{
	for (size_t i = 0; i < l->count; i++) {
		struct str id = str_of(l->items[i].name), name = id;
		int negative = id.p[0] == '-', blank;

		if (negative)
			name = str_make(id.p + 1, id.len - 1);
		blank = str_find(name, 0, ' ') < name.len;
		(void)buf_printf(out, "%s%s", blank ? "\"" : "", negative ? "-" : "");
		if (name.len > 0 && name.p[0] == '$') {
			(void)buf_add_cstr(out, "group=");
			name = str_make(name.p + 1, name.len - 1);
		} else if (!str_is(name, RIGHTS_OWNER) && !str_is(name, RIGHTS_ANYONE) &&
			   !str_is(name, RIGHTS_AUTHENTICATED)) {
			(void)buf_add_cstr(out, "user=");
		}
		(void)buf_printf(out, "%.*s%s %.*s\n", STR_ARG(name), blank ? "\"" : "",
			STR_ARG(buf_str(&l->items[i].value)));
	}
}
