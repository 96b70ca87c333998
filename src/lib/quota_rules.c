/* SPDX-License-Identifier: MIT */
#include "lib/quota_rules.h"

#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"
#include "lib/mem.h"

/* ---- the parts of a rule ---- */

static int
take_prefix(struct str *s, const char *prefix)
{
	size_t len = strlen(prefix);

	if (!str_starts_i(*s, prefix))
		return 0;
	*s = str_make(s->p + len, s->len - len);
	return 1;
}

/* "+100M", "+10%"; with or without "storage=" in front, as Dovecot has it. */
static enum err
parse_more(struct str s, struct quota_rule *rule)
{
	(void)take_prefix(&s, "storage=");
	if (!take_prefix(&s, "+"))
		return E_PARSE;
	if (s.len && s.p[s.len - 1] == '%')
		return str_to_u64(str_make(s.p, s.len - 1), &rule->more_percent) ||
				       rule->more_percent > 1000
			       ? E_PARSE
			       : OK;
	return conf_parse_size(s, &rule->more_bytes);
}

static enum err
parse_part(struct str part, struct quota_rule *rule)
{
	if (str_is_i(part, "ignore")) {
		rule->ignore = 1;
		return OK;
	}
	if (take_prefix(&part, "messages=+"))
		return str_to_u64(part, &rule->more_messages);
	if (take_prefix(&part, "max_messages="))
		return str_to_u64(part, &rule->max_messages);
	if (take_prefix(&part, "max="))
		return conf_parse_size(part, &rule->max_bytes);
	return parse_more(part, rule);
}

/* ---- rules ---- */

static enum err
fail(struct buf *why, enum err e, struct str text, const char *what)
{
	if (why)
		buf_printf(why, "\"%.*s\" %s", STR_ARG(text), what);
	return e;
}

static enum err
add_one(struct quota_rules *r, struct str text, struct buf *why)
{
	struct quota_rule rule = {0};
	struct str rest = text, name = str_trim(str_split(&rest, ':'));

	if (name.len == 0 || name.len > QUOTA_RULES_NAME_MAX || !str_is_utf8(name) ||
		str_has_control(name))
		return fail(why, E_PARSE, text, "begins with no mailbox name");
	if (!rest.p || rest.len == 0)
		return fail(
			why, E_PARSE, text, "says nothing of the mailbox; write MAILBOX:ignore");
	while (rest.len) {
		struct str part = str_trim(str_split(&rest, ':'));

		if (parse_part(part, &rule))
			return fail(why, E_PARSE, part,
				"is no part of a rule; there are +SIZE, +N%, messages=+N, ignore, "
				"max=SIZE and max_messages=N");
	}
	if (r->count == QUOTA_RULES_MAX)
		return fail(why, E_TOOBIG, text, "is one rule too many");
	rule.mailbox = str_is_i(name, "INBOX") ? mem_strdup("INBOX") : str_dup(name);
	r->items = mem_realloc(r->items, r->count + 1, sizeof(*r->items));
	r->items[r->count++] = rule;
	return OK;
}

enum err
quota_rules_add(struct quota_rules *r, struct str text, struct buf *why)
{
	enum err e = OK;

	while (text.len && e == OK) {
		size_t semicolon = str_find(text, 0, ';'), line = str_find(text, 0, '\n');
		struct str one = str_split(&text, semicolon < line ? ';' : '\n');

		one = str_trim(one);
		if (one.len)
			e = add_one(r, one, why);
	}
	return e;
}

void
quota_rules_free(struct quota_rules *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->items[i].mailbox);
	MEM_FREE(r->items);
	r->count = 0;
}

static int
fits(const char *pattern, struct str mailbox)
{
	size_t len = strlen(pattern);

	if (len >= 2 && strcmp(pattern + len - 2, "/*") == 0)
		return mailbox.len > len - 1 && memcmp(mailbox.p, pattern, len - 1) == 0;
	return str_is(mailbox, pattern);
}

const struct quota_rule *
quota_rules_find(const struct quota_rules *r, struct str mailbox)
{
	for (size_t i = r->count; i > 0; i--)
		if (fits(r->items[i - 1].mailbox, mailbox))
			return &r->items[i - 1];
	return NULL;
}

/* ---- warnings ---- */

enum err
quota_warning_parse(struct str text, struct quota_warning *out)
{
	uint32_t percent;

	text = str_trim(text);
	out->of_messages = take_prefix(&text, "messages=");
	if (!out->of_messages)
		(void)take_prefix(&text, "storage=");
	if (text.len < 2 || text.p[text.len - 1] != '%' ||
		str_to_u32(str_make(text.p, text.len - 1), &percent) || percent < 1 ||
		percent > 100)
		return E_PARSE;
	out->percent = percent;
	return OK;
}
