/* SPDX-License-Identifier: MIT */
#include "index/core_name.h"

#include <string.h>

#include "mail/mutf7.h"

/*
 * Mailbox "A/B" is the folder ".A.B" (Maildir++), each name in modified UTF-7. A level with a '.'
 * in it is refused, as Dovecot does with this layout: the folder would be read back as two levels,
 * by Roost and by every other Maildir++ program.
 */

static const struct {
	const char *word;
	unsigned use;
	const char *names[4]; /* mailboxes of this name get the use when nothing else says so */
} special_uses[] = {
	{"all", INDEX_USE_ALL, {NULL}},
	{"archive", INDEX_USE_ARCHIVE, {"Archive", "Archives"}},
	{"drafts", INDEX_USE_DRAFTS, {"Drafts"}},
	{"flagged", INDEX_USE_FLAGGED, {NULL}},
	{"junk", INDEX_USE_JUNK, {"Junk", "Spam"}},
	{"sent", INDEX_USE_SENT, {"Sent", "Sent Messages", "Sent Items"}},
	{"trash", INDEX_USE_TRASH, {"Trash", "Deleted Messages", "Deleted Items"}},
};
enum { SPECIAL_USES = sizeof(special_uses) / sizeof(special_uses[0]) };

enum err
core_name_normalize(struct str name, char out[INDEX_MAILBOX_NAME_MAX + 1])
{
	struct str rest = name;

	if (name.len > INDEX_MAILBOX_NAME_MAX)
		return E_TOOBIG;
	if (!name.p || name.len == 0 || str_has_control(name) || !str_is_utf8(name))
		return E_RANGE;
	while (rest.p) {
		struct str level = str_split(&rest, '/');

		if (level.len == 0 || str_find(level, 0, '.') < level.len)
			return E_RANGE;
		/* "A/" leaves an empty slice that is not the end of the loop's own. */
		if (rest.p && rest.len == 0)
			return E_RANGE;
	}
	memcpy(out, name.p, name.len);
	out[name.len] = '\0';
	/* RFC 9051 section 5.1: INBOX in any case; its children follow it. */
	if (str_starts_i(name, "INBOX") && (name.len == 5 || name.p[5] == '/'))
		memcpy(out, "INBOX", 5);
	return OK;
}

enum err
core_name_to_dir(const char *name, char dir[MAILDIR_NAME_MAX + 1])
{
	struct buf out = BUF_INIT(MAILDIR_NAME_MAX);
	struct str rest = str_of(name);
	enum err e = OK;

	dir[0] = '\0';
	if (strcmp(name, "INBOX") == 0)
		return OK;
	while (rest.p && e == OK) {
		buf_add_char(&out, '.');
		e = mutf7_from_utf8(str_split(&rest, '/'), &out);
	}
	if (e == OK)
		e = out.err;
	if (e == OK)
		memcpy(dir, buf_cstr(&out), out.len + 1);
	buf_free(&out);
	return e == E_PARSE ? E_RANGE : e;
}

enum err
core_name_from_dir(const char *dir, char out[INDEX_MAILBOX_NAME_MAX + 1])
{
	struct buf name = BUF_INIT(INDEX_MAILBOX_NAME_MAX);
	char again[MAILDIR_NAME_MAX + 1] = "";
	struct str rest;
	enum err e = OK;

	if (dir[0] != '.' || dir[1] == '\0' || dir[1] == '.')
		return E_RANGE;
	rest = str_of(dir + 1);
	while (rest.p && e == OK) {
		if (name.len)
			buf_add_char(&name, '/');
		e = mutf7_to_utf8(str_split(&rest, '.'), &name);
	}
	if (e == OK)
		e = name.err;
	if (e == OK)
		e = core_name_normalize(buf_str(&name), out);
	buf_free(&name);
	/* Only one folder may have a name: ".inbox" or ".INBOX" is not INBOX. */
	if (e == OK)
		e = core_name_to_dir(out, again);
	return e || strcmp(again, dir) != 0 ? E_RANGE : OK;
}

enum err
core_name_from_utf8(
	const char *dir, char out[INDEX_MAILBOX_NAME_MAX + 1], char ours[MAILDIR_NAME_MAX + 1])
{
	char name[INDEX_MAILBOX_NAME_MAX + 1];
	size_t len = strlen(dir);
	enum err e;

	/* What is ASCII is modified UTF-7, in all its spellings. */
	if (dir[0] != '.' || dir[1] == '.' || len < 2 || len > INDEX_MAILBOX_NAME_MAX ||
		str_is_ascii(str_of(dir)) || memchr(dir, '/', len))
		return E_RANGE;
	memcpy(name, dir + 1, len);
	for (char *p = name; *p; p++)
		if (*p == '.')
			*p = '/';
	e = core_name_normalize(str_of(name), out);
	if (e == OK)
		e = core_name_to_dir(out, ours);
	/* "inbox" is another spelling of a name. */
	return e || strcmp(name, out) != 0 ? E_RANGE : OK;
}

unsigned
core_name_special_use(const char *name)
{
	for (size_t i = 0; i < SPECIAL_USES; i++)
		for (size_t j = 0; j < 4 && special_uses[i].names[j]; j++)
			if (str_is_i(str_of(name), special_uses[i].names[j]))
				return special_uses[i].use;
	return 0;
}

const char *
core_special_use_word(unsigned use)
{
	for (size_t i = 0; i < SPECIAL_USES; i++)
		if (special_uses[i].use == use)
			return special_uses[i].word;
	return NULL;
}

unsigned
core_special_use_parse(struct str word)
{
	for (size_t i = 0; i < SPECIAL_USES; i++)
		if (str_is(word, special_uses[i].word))
			return special_uses[i].use;
	return 0;
}
