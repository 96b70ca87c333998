/* SPDX-License-Identifier: MIT */
#include "mta-lite/map_rules.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/words.h"

enum rule_kind { RULE_VALUE, RULE_IF, RULE_ENDIF };

struct rule {
	enum rule_kind kind;
	int negated;
	void *pattern;
	char *value;
	size_t endif; /* RULE_IF: index of its end */
};

struct map_rules {
	const struct map_pattern_type *type;
	struct rule *rules;
	size_t count;
};

struct map_rules *
map_rules_create(const struct map_pattern_type *type)
{
	struct map_rules *r = MEM_NEW(struct map_rules);

	r->type = type;
	return r;
}

static void
clear(struct map_rules *r)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		if (r->rules[i].pattern)
			r->type->free(r->rules[i].pattern);
		free(r->rules[i].value);
	}
	MEM_FREE(r->rules);
	r->count = 0;
}

void
map_rules_free(struct map_rules **r)
{
	if (*r == NULL)
		return;
	clear(*r);
	MEM_FREE(*r);
}

/*
 * The group's number behind a "$" in *s ("1", "{1}", "(1)"), which goes on behind it; 0 for "$$";
 * -1: none of these.
 */
static int
group_number(struct str *s)
{
	char close = '\0';
	struct str digits;
	size_t used = 0;
	uint32_t n;

	if (s->len > 0 && s->p[0] == '$') {
		*s = str_make(s->p + 1, s->len - 1);
		return 0;
	}
	if (s->len > 0 && (s->p[0] == '{' || s->p[0] == '(')) {
		close = s->p[0] == '{' ? '}' : ')';
		used = 1;
	}
	digits = str_make(s->p + used, 0);
	while (used < s->len && str_is_digit(s->p[used]) && digits.len < 3) {
		digits.len++;
		used++;
	}
	if (digits.len == 0 || str_to_u32(digits, &n) || n == 0)
		return -1;
	if (close && (used >= s->len || s->p[used++] != close))
		return -1;
	*s = str_make(s->p + used, s->len - used);
	return (int)n;
}

static const char *
check_value(struct str value, unsigned groups, int negated)
{
	size_t dollar;

	while ((dollar = str_find(value, 0, '$')) < value.len) {
		int n;

		value = str_make(value.p + dollar + 1, value.len - dollar - 1);
		n = group_number(&value);
		if (n < 0)
			return "\"$\" without a number; a dollar sign is written \"$$\"";
		if (n > 0 && negated)
			return "\"$\" and a number where nothing matches";
		if ((unsigned)n > groups || n >= MAP_GROUPS_MAX)
			return "\"$\" and the number of no group";
	}
	return NULL;
}

static enum err
substitute(struct str value, struct str subject, const struct map_groups *g, struct buf *out)
{
	size_t dollar;

	while ((dollar = str_find(value, 0, '$')) < value.len) {
		int n;

		buf_add(out, value.p, dollar);
		value = str_make(value.p + dollar + 1, value.len - dollar - 1);
		n = group_number(&value);
		if (n == 0)
			buf_add_char(out, '$');
		else if (n > 0 && (size_t)n < g->count && g->at[n].start != SIZE_MAX)
			buf_add(out, subject.p + g->at[n].start, g->at[n].end - g->at[n].start);
	}
	return buf_add_str(out, value);
}

static struct rule *
add_rule(struct map_rules *r, enum rule_kind kind)
{
	if ((r->count & (r->count - 1)) == 0)
		r->rules = mem_realloc(r->rules, r->count ? r->count * 2 : 1, sizeof(*r->rules));
	r->rules[r->count] = (struct rule){.kind = kind};
	return &r->rules[r->count++];
}

/* "if" and "endif" as words of their own at the front. */
static int
cut_word(struct str *line, const char *word)
{
	size_t len = strlen(word);

	if (!str_starts_i(*line, word))
		return 0;
	if (line->len > len && !str_is_space(line->p[len]) && line->p[len] != '!' &&
		line->p[len] != '/')
		return 0;
	*line = str_trim(str_make(line->p + len, line->len - len));
	return 1;
}

struct parse {
	struct map_rules *r;
	size_t open[MAP_IF_DEPTH_MAX];
	size_t depth;
	/* Lines inside of an "if" that made no sense mean nothing either. */
	size_t skipping;
};

static const char *
parse_end(struct parse *p)
{
	if (p->skipping > 0) {
		p->skipping--;
		return NULL;
	}
	if (p->depth == 0)
		return "\"endif\" without \"if\"";
	p->r->rules[p->open[--p->depth]].endif = p->r->count;
	(void)add_rule(p->r, RULE_ENDIF);
	return NULL;
}

static const char *
parse_pattern(struct parse *p, struct str line, int is_if)
{
	const char *why = NULL;
	int negated = 0;
	unsigned groups = 0;
	struct rule *rule;
	void *pattern;

	while (line.len > 0 && (line.p[0] == '!' || (negated && line.p[0] == ' '))) {
		negated = !negated;
		line = str_make(line.p + 1, line.len - 1);
	}
	pattern = p->r->type->compile(&line, &groups, &why);
	if (pattern == NULL)
		return why;
	line = str_trim(line);
	if (is_if && line.len > 0)
		why = "something behind the pattern of an \"if\"";
	else if (!is_if && line.len == 0)
		why = "a pattern without a value";
	else if (!is_if && p->r->type->substitutes)
		why = check_value(line, groups, negated);
	if (why) {
		p->r->type->free(pattern);
		return why;
	}
	rule = add_rule(p->r, is_if ? RULE_IF : RULE_VALUE);
	rule->negated = negated;
	rule->pattern = pattern;
	rule->value = is_if ? NULL : str_dup(line);
	return NULL;
}

static const char *
parse_if(struct parse *p, struct str line)
{
	const char *why = p->depth >= MAP_IF_DEPTH_MAX ? "too many \"if\" in each other"
						       : parse_pattern(p, line, 1);

	if (why == NULL)
		p->open[p->depth++] = p->r->count - 1;
	else
		p->skipping = 1;
	return why;
}

static const char *
parse_line(struct parse *p, struct str line)
{
	if (cut_word(&line, "endif"))
		return line.len ? "something behind \"endif\"" : parse_end(p);
	if (cut_word(&line, "if")) {
		if (p->skipping > 0) {
			p->skipping++;
			return NULL;
		}
		return parse_if(p, line);
	}
	return p->skipping > 0 ? NULL : parse_pattern(p, line, 0);
}

void
map_rules_parse(struct map_rules *r, const struct map *map, struct str text)
{
	struct parse p = {.r = r};
	struct map_lines lines = {.rest = text};
	unsigned number = 0;
	struct str line;

	clear(r);
	while (map_lines_next(&lines, &line, &number)) {
		const char *why = parse_line(&p, line);

		if (why)
			map_warn(map, number, why);
	}
	map_lines_fini(&lines);
	if (p.depth > 0 || p.skipping > 0)
		map_warn(map, number, "\"if\" without \"endif\"");
	/* It ends with the file. */
	while (p.depth > 0)
		(void)parse_end(&p);
}

enum err
map_rules_find(const struct map_rules *r, struct str subject, struct buf *value)
{
	struct map_groups groups;
	size_t i;

	for (i = 0; i < r->count; i++) {
		const struct rule *rule = &r->rules[i];
		enum err e;
		int holds;

		if (rule->kind == RULE_ENDIF)
			continue;
		groups.count = 0;
		e = r->type->match(rule->pattern, subject, &groups);
		if (e != OK && e != E_NOTFOUND)
			return e;
		holds = (e == OK) != (rule->negated != 0);
		if (rule->kind == RULE_IF) {
			if (!holds)
				i = rule->endif;
			continue;
		}
		if (!holds)
			continue;
		return r->type->substitutes
			       ? substitute(str_of(rule->value), subject, &groups, value)
			       : buf_add_cstr(value, rule->value);
	}
	return E_NOTFOUND;
}

/* ---- as files or in the settings ---- */

/* Postfix's "regexp:{ {/x/ y}, ... }": one rule a brace. */
static void
parse_inline(struct map *map, struct str argument)
{
	struct map_rules_file *f = map->data;
	struct str rest = words_unbrace(argument), word;
	struct buf text = {0};

	while (words_next(&rest, &word, NULL)) {
		buf_add_str(&text, words_unbrace(word));
		buf_add_char(&text, '\n');
	}
	map_rules_parse(f->rules, map, buf_str(&text));
	buf_free(&text);
	f->text.loaded = 1;
}

void
map_rules_refresh(struct map *map)
{
	struct map_rules_file *f = map->data;
	struct buf text = {0};

	if (f->text.path && map_text_changed(&f->text, map, &text))
		map_rules_parse(f->rules, map, buf_str(&text));
	buf_free(&text);
}

enum err
map_rules_open(
	struct map *map, const struct map_pattern_type *type, struct str argument, struct buf *why)
{
	struct map_rules_file *f;

	if (argument.len == 0) {
		buf_printf(why, "'%s' names no file", map->name);
		return E_PARSE;
	}
	f = MEM_NEW(struct map_rules_file);
	f->rules = map_rules_create(type);
	map->data = f;
	if (argument.p[0] == '{') {
		parse_inline(map, argument);
		return OK;
	}
	f->text.path = map_path(map->conf, argument);
	map_rules_refresh(map);
	return OK;
}

enum err
map_rules_file_find(struct map *map, struct str key, struct buf *value)
{
	struct map_rules_file *f = map->data;

	return f->text.loaded ? map_rules_find(f->rules, key, value) : E_TEMPFAIL;
}

void
map_rules_sandbox(const struct map *map, struct sandbox *sb)
{
	const struct map_rules_file *f = map->data;

	if (f->text.path)
		map_sandbox_file(sb, f->text.path);
}

void
map_rules_close(struct map *map)
{
	struct map_rules_file *f = map->data;

	map_text_fini(&f->text);
	map_rules_free(&f->rules);
	free(f);
}
