/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "mta-lite/map_regexp.h"

#include <pcre2.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* regexp:FILE and pcre:FILE (regexp_table(5), pcre_table(5)). */

enum { REGEXP_MATCH_LIMIT = 200000, REGEXP_DEPTH_LIMIT = 2000, REGEXP_HEAP_KB = 4096 };

/* Cuts "/pattern/flags" off *line; any character that is no letter, digit or blank delimits. */
static const char *
cut_pattern(struct str *line, struct str *pattern, struct str *flags)
{
	char delimiter = line->len > 0 ? line->p[0] : '\0';
	size_t i, end;

	if (delimiter == '\0' || delimiter == '\\' || str_is_alnum(delimiter) ||
		str_is_space(delimiter))
		return "no pattern between slashes";
	for (i = 1; i < line->len && line->p[i] != delimiter; i++) {
		if (line->p[i] == '\\')
			i++;
	}
	if (i >= line->len)
		return "the pattern has no end";
	*pattern = str_make(line->p + 1, i - 1);
	for (end = ++i; end < line->len && !str_is_space(line->p[end]); end++)
		;
	*flags = str_make(line->p + i, end - i);
	*line = str_make(line->p + end, line->len - end);
	return NULL;
}

static void *
regexp_compile(struct str *line, unsigned *groups, const char **why)
{
	int options = REG_EXTENDED | REG_ICASE;
	struct str pattern, flags;
	regex_t *re;
	size_t i;
	char *text;

	*why = cut_pattern(line, &pattern, &flags);
	if (*why)
		return NULL;
	for (i = 0; i < flags.len; i++) {
		if (flags.p[i] == 'i')
			options ^= REG_ICASE;
		else if (flags.p[i] == 'm')
			options ^= REG_NEWLINE;
		else if (flags.p[i] == 'x')
			options ^= REG_EXTENDED;
		else
			*why = "an unknown flag behind the pattern";
	}
	if (*why)
		return NULL;
	re = MEM_NEW(regex_t);
	text = str_dup(pattern);
	if (regcomp(re, text, options) != 0) {
		*why = "the pattern is no regular expression";
		MEM_FREE(re);
	} else {
		*groups = (unsigned)re->re_nsub;
	}
	free(text);
	return re;
}

static enum err
regexp_match(const void *pattern, struct str subject, struct map_groups *groups)
{
	regmatch_t at[MAP_GROUPS_MAX] = {{.rm_so = 0, .rm_eo = (regoff_t)subject.len}};
	size_t i;

	switch (regexec(pattern, subject.p ? subject.p : "", MAP_GROUPS_MAX, at, REG_STARTEND)) {
	case 0:
		break;
	case REG_NOMATCH:
		return E_NOTFOUND;
	default:
		return E_TEMPFAIL;
	}
	groups->count = MAP_GROUPS_MAX;
	for (i = 0; i < MAP_GROUPS_MAX; i++) {
		groups->at[i].start = at[i].rm_so < 0 ? SIZE_MAX : (size_t)at[i].rm_so;
		groups->at[i].end = at[i].rm_so < 0 ? SIZE_MAX : (size_t)at[i].rm_eo;
	}
	return OK;
}

static void
regexp_free(void *pattern)
{
	regfree(pattern);
	free(pattern);
}

const struct map_pattern_type map_pattern_regexp = {
	.compile = regexp_compile,
	.match = regexp_match,
	.free = regexp_free,
	.substitutes = 1,
};

/* ---- PCRE2 ---- */

struct pcre {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

static void
pcre_free(void *pattern)
{
	struct pcre *p = pattern;

	pcre2_match_data_free(p->data);
	pcre2_match_context_free(p->limits);
	pcre2_code_free(p->code);
	free(p);
}

static const char *
pcre_flags(struct str flags, uint32_t *options)
{
	static const struct {
		char flag;
		uint32_t option;
	} known[] = {{'i', PCRE2_CASELESS}, {'m', PCRE2_MULTILINE}, {'s', PCRE2_DOTALL},
		{'x', PCRE2_EXTENDED}, {'A', PCRE2_ANCHORED}, {'E', PCRE2_DOLLAR_ENDONLY},
		{'U', PCRE2_UNGREEDY}, {'X', 0}};
	size_t i, k;

	*options = PCRE2_CASELESS | PCRE2_DOTALL;
	for (i = 0; i < flags.len; i++) {
		for (k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
			if (known[k].flag == flags.p[i])
				break;
		}
		if (k == sizeof(known) / sizeof(known[0]))
			return "an unknown flag behind the pattern";
		*options ^= known[k].option;
	}
	return NULL;
}

static void *
pcre_compile(struct str *line, unsigned *groups, const char **why)
{
	struct str pattern, flags;
	uint32_t options, count = 0;
	PCRE2_SIZE offset;
	struct pcre *p;
	int error;

	*why = cut_pattern(line, &pattern, &flags);
	if (*why == NULL)
		*why = pcre_flags(flags, &options);
	if (*why)
		return NULL;
	p = MEM_NEW(struct pcre);
	p->code = pcre2_compile((PCRE2_SPTR)(pattern.p ? pattern.p : ""), pattern.len, options,
		&error, &offset, NULL);
	if (p->code == NULL) {
		*why = "the pattern is no regular expression";
		free(p);
		return NULL;
	}
	p->data = pcre2_match_data_create(MAP_GROUPS_MAX, NULL);
	p->limits = pcre2_match_context_create(NULL);
	(void)pcre2_set_match_limit(p->limits, REGEXP_MATCH_LIMIT);
	(void)pcre2_set_depth_limit(p->limits, REGEXP_DEPTH_LIMIT);
	(void)pcre2_set_heap_limit(p->limits, REGEXP_HEAP_KB);
	(void)pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &count);
	*groups = count;
	return p;
}

static enum err
pcre_match(const void *pattern, struct str subject, struct map_groups *groups)
{
	const struct pcre *p = pattern;
	int n = pcre2_match(p->code, (PCRE2_SPTR)(subject.p ? subject.p : ""), subject.len, 0, 0,
		p->data, p->limits);
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
	size_t i;

	if (n == PCRE2_ERROR_NOMATCH)
		return E_NOTFOUND;
	if (n < 0)
		return E_TEMPFAIL;
	/* 0: more groups than there is room for. */
	groups->count = n == 0 ? MAP_GROUPS_MAX : (size_t)n;
	for (i = 0; i < groups->count; i++) {
		groups->at[i].start = at[2 * i] == PCRE2_UNSET ? SIZE_MAX : at[2 * i];
		groups->at[i].end = at[2 * i + 1];
	}
	return OK;
}

const struct map_pattern_type map_pattern_pcre = {
	.compile = pcre_compile,
	.match = pcre_match,
	.free = pcre_free,
	.substitutes = 1,
};

/* ---- as tables ---- */

static enum err
regexp_open(struct map *map, struct str argument, struct buf *why)
{
	return map_rules_open(map, &map_pattern_regexp, argument, why);
}

static enum err
pcre_open(struct map *map, struct str argument, struct buf *why)
{
	return map_rules_open(map, &map_pattern_pcre, argument, why);
}

const struct map_type map_type_regexp = {
	.name = "regexp",
	.pattern = 1,
	.open = regexp_open,
	.find = map_rules_file_find,
	.refresh = map_rules_refresh,
	.sandbox = map_rules_sandbox,
	.close = map_rules_close,
};

const struct map_type map_type_pcre = {
	.name = "pcre",
	.pattern = 1,
	.open = pcre_open,
	.find = map_rules_file_find,
	.refresh = map_rules_refresh,
	.sandbox = map_rules_sandbox,
	.close = map_rules_close,
};
