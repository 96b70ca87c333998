/* SPDX-License-Identifier: MIT */
#include "lib/conf_value.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* ---- the table, twice the same rows ---- */

#define SECTION(title)
#define SETTING(type, name, def, min, max, unit, help)                                             \
	{CONF_##type, offsetof(struct config, name), min, max},
static const struct conf_def defs[] = {
#include "lib/settings.def"
};
#undef SETTING
#undef SECTION

#define SECTION(title) {title, NULL, NULL, NULL, NULL, NULL, 0},
#define SETTING(type, name, def, min, max, unit, help) {NULL, #name, #type, def, unit, help, 0},
/* With the section titles as rows of their own; rows_build() folds them into the others. */
static const struct conf_row raw_rows[] = {
#include "lib/settings.def"
};
#undef SETTING
#undef SECTION

enum { ROW_COUNT = sizeof(defs) / sizeof(defs[0]) };

static struct conf_row rows[ROW_COUNT];

static void
rows_build(void)
{
	const char *section = "";
	size_t n = 0;

	if (rows[0].name)
		return;
	for (size_t i = 0; i < sizeof(raw_rows) / sizeof(raw_rows[0]); i++) {
		if (!raw_rows[i].name) {
			section = raw_rows[i].section;
			continue;
		}
		rows[n] = raw_rows[i];
		rows[n].section = section;
		rows[n].internal = strcmp(section, "Internal") == 0;
		n++;
	}
}

const struct conf_row *
conf_rows(size_t *count)
{
	rows_build();
	*count = ROW_COUNT;
	return rows;
}

const struct conf_def *
conf_defs(void)
{
	return defs;
}

int
conf_find(const char *name)
{
	rows_build();
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (strcmp(rows[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* Edits between two short words, each costing 1. */
static size_t
edit_distance(const char *a, const char *b)
{
	enum { WORD_MAX = 63 };
	size_t row[WORD_MAX + 1], len_a = strlen(a), len_b = strlen(b);

	if (len_a > WORD_MAX || len_b > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= len_b; j++)
		row[j] = j;
	for (size_t i = 1; i <= len_a; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len_b; j++) {
			size_t best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[len_b];
}

const char *
conf_nearest(const char *name)
{
	const char *best = NULL;
	size_t best_distance = strlen(name) / 3 + 2;

	rows_build();
	for (size_t i = 0; i < ROW_COUNT; i++) {
		size_t d = edit_distance(name, rows[i].name);

		if (!rows[i].internal && d < best_distance) {
			best = rows[i].name;
			best_distance = d;
		}
	}
	return best;
}

/* ---- texts to values ---- */

enum err
conf_parse_size(struct str text, uint64_t *out)
{
	unsigned shift = 0;
	uint64_t n;
	enum err e;

	if (text.len && str_lower(text.p[text.len - 1]) == 'b' && text.len > 1 &&
		str_is_alpha(text.p[text.len - 2]))
		text.len--;
	if (text.len) {
		switch (str_lower(text.p[text.len - 1])) {
		case 'k':
			shift = 10;
			break;
		case 'm':
			shift = 20;
			break;
		case 'g':
			shift = 30;
			break;
		case 't':
			shift = 40;
			break;
		}
		if (shift)
			text.len--;
	}
	e = str_to_u64(text, &n);
	if (e)
		return e;
	if (n > UINT64_MAX >> shift)
		return E_RANGE;
	*out = n << shift;
	return OK;
}

static int64_t
unit_ms(struct str unit)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
		{"w", 7 * 86400000LL}};

	if (!unit.len)
		return 1000;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (str_is_i(unit, units[i].name))
			return units[i].ms;
	return 0;
}

enum err
conf_parse_duration(struct str text, int64_t *out_ms)
{
	int64_t total = 0;
	size_t at = 0;

	if (!text.len)
		return E_PARSE;
	while (at < text.len) {
		size_t digits = at, unit;
		uint64_t n;
		int64_t ms;
		enum err e;

		while (digits < text.len && str_is_digit(text.p[digits]))
			digits++;
		unit = digits;
		while (unit < text.len && str_is_alpha(text.p[unit]))
			unit++;
		e = str_to_u64(str_make(text.p + at, digits - at), &n);
		if (e)
			return e;
		ms = unit_ms(str_make(text.p + digits, unit - digits));
		if (!ms)
			return E_PARSE;
		if (n > (uint64_t)(INT64_MAX / ms) || (int64_t)n * ms > INT64_MAX - total)
			return E_RANGE;
		total += (int64_t)n * ms;
		at = unit;
	}
	*out_ms = total;
	return OK;
}

static enum err
parse_int(struct str text, int64_t *out)
{
	int negative = text.len && text.p[0] == '-';
	uint64_t n;
	enum err e = str_to_u64(str_make(text.p + negative, text.len - (size_t)negative), &n);

	if (e)
		return e;
	if (n > INT64_MAX)
		return E_RANGE;
	*out = negative ? -(int64_t)n : (int64_t)n;
	return OK;
}

static enum err
parse_bool(struct str text, int *out)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < 4; i++) {
		if (str_is_i(text, yes[i]) || str_is_i(text, no[i])) {
			*out = str_is_i(text, yes[i]);
			return OK;
		}
	}
	return E_PARSE;
}

/* Whether text is one of the words in "a|b|c"; *out gets the word as the table writes it. */
static enum err
parse_enum(struct str text, const char *words, char **out)
{
	struct str rest = str_of(words);

	while (rest.p) {
		struct str word = str_split(&rest, '|');

		if (str_equal_i(word, text)) {
			*out = str_dup(word);
			return OK;
		}
	}
	return E_PARSE;
}

int
conf_list_has(const struct conf_list *list, struct str item)
{
	for (size_t i = 0; i < list->count; i++)
		if (str_is_i(item, list->items[i]))
			return 1;
	return 0;
}

static void
list_free(struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct conf_list){0};
}

void
conf_value_free(struct config *conf, size_t i)
{
	void *at = (char *)conf + defs[i].offset;

	switch (defs[i].type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_ENUM:
		MEM_FREE(*(char **)at);
		break;
	case CONF_LIST:
		list_free(at);
		break;
	default:
		break;
	}
}

static void
list_add(struct conf_list *list, char *item)
{
	list->items = mem_realloc(list->items, list->count + 2, sizeof(*list->items));
	list->items[list->count++] = item;
	list->items[list->count] = NULL;
}

static void
list_empty(struct conf_list *list)
{
	list_free(list);
	list->items = mem_zalloc(sizeof(*list->items));
}

static void
set_list(struct conf_list *list, const char *const *texts, size_t n)
{
	list_empty(list);
	for (size_t k = 0; k < n; k++)
		list_add(list, mem_strdup(texts[k]));
}

/* Adds the words of one text, which blanks and commas separate as in Postfix's main.cf. */
static enum err
add_words(struct conf_list *list, const char *text, const char *allowed, struct buf *why)
{
	while (*text) {
		size_t len = strcspn(text, " \t\r\n,");
		struct str one = str_make(text, len);
		char *word = NULL;

		if (len && parse_enum(one, allowed, &word)) {
			if (why)
				buf_printf(why,
					"\"%.*s\" is not one of its words; write some of %s",
					STR_ARG(one), allowed);
			return E_PARSE;
		}
		if (word)
			list_add(list, word);
		text += len + (text[len] != '\0');
	}
	return OK;
}

/* A list of words that are all known: a wrong one is an error. */
static enum err
set_words(struct conf_list *list, const char *const *texts, size_t n, const char *allowed,
	struct buf *why)
{
	struct conf_list words = {0};
	enum err e = OK;

	list_empty(&words);
	for (size_t k = 0; e == OK && k < n; k++)
		e = add_words(&words, texts[k], allowed, why);
	if (e) {
		list_free(&words);
	} else {
		list_free(list);
		*list = words;
	}
	return e;
}

static void
explain(const struct conf_row *row, enum conf_type type, enum err e, const char *text,
	struct buf *why)
{
	static const char *const examples[] = {
		[CONF_INT] = "a number such as 10",
		[CONF_SIZE] = "a size such as 512K, 50M or 2G",
		[CONF_DURATION] = "a time such as 30s, 5m or 1h30m",
		[CONF_BOOL] = "yes or no",
	};

	if (!why)
		return;
	if (e == E_RANGE)
		return; /* check_range has said it */
	if (type == CONF_ENUM)
		buf_printf(
			why, "\"%s\" is not one of its values; write one of %s", text, row->unit);
	else
		buf_printf(why, "\"%s\" does not fit; write %s", text, examples[type]);
}

/* Bounds in the unit of the value; both 0 means none. */
static enum err
check_range(size_t i, int64_t value, struct buf *why)
{
	const struct conf_def *d = &defs[i];

	if ((d->min == 0 && d->max == 0) || (value >= d->min && value <= d->max))
		return OK;
	if (why && d->type == CONF_DURATION)
		buf_printf(why, "out of range; write a time from %" PRId64 "ms to %" PRId64 "ms",
			d->min, d->max);
	else if (why)
		buf_printf(why, "out of range; write a value from %" PRId64 " to %" PRId64, d->min,
			d->max);
	return E_RANGE;
}

enum err
conf_value_set(struct config *conf, size_t i, const char *const *texts, size_t n, struct buf *why)
{
	void *at = (char *)conf + defs[i].offset;
	struct str text = str_of(n ? texts[0] : "");
	char *word;
	int64_t number = 0;
	uint64_t size = 0;
	int flag;
	enum err e = OK;

	rows_build();
	switch (defs[i].type) {
	case CONF_LIST:
		if (strchr(rows[i].unit, '|'))
			return set_words(at, texts, n, rows[i].unit, why);
		set_list(at, texts, n);
		return OK;
	case CONF_STRING:
	case CONF_PATH:
		free(*(char **)at);
		*(char **)at = str_dup(text);
		return OK;
	case CONF_ENUM:
		e = parse_enum(text, rows[i].unit, &word);
		if (!e) {
			free(*(char **)at);
			*(char **)at = word;
		}
		break;
	case CONF_BOOL:
		e = parse_bool(text, &flag);
		if (!e)
			*(int *)at = flag;
		break;
	case CONF_INT:
	case CONF_DURATION:
		e = defs[i].type == CONF_INT ? parse_int(text, &number)
					     : conf_parse_duration(text, &number);
		if (!e)
			e = check_range(i, number, why);
		if (!e)
			*(int64_t *)at = number;
		break;
	case CONF_SIZE:
		e = conf_parse_size(text, &size);
		if (!e)
			e = check_range(i, size > INT64_MAX ? INT64_MAX : (int64_t)size, why);
		if (!e)
			*(uint64_t *)at = size;
		break;
	}
	if (e)
		explain(&rows[i], defs[i].type, e, n ? texts[0] : "", why);
	return e;
}

void
conf_value_write(const struct config *conf, size_t i, struct buf *out)
{
	const void *at = (const char *)conf + defs[i].offset;
	const struct conf_list *list = at;

	switch (defs[i].type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_ENUM:
		buf_add_cstr(out, *(char *const *)at ? *(char *const *)at : "");
		break;
	case CONF_BOOL:
		buf_add_cstr(out, *(const int *)at ? "yes" : "no");
		break;
	case CONF_INT:
		buf_printf(out, "%" PRId64, *(const int64_t *)at);
		break;
	case CONF_DURATION:
		buf_printf(out, "%" PRId64 "ms", *(const int64_t *)at);
		break;
	case CONF_SIZE:
		buf_add_u64(out, *(const uint64_t *)at);
		break;
	case CONF_LIST:
		for (size_t k = 0; k < list->count; k++)
			buf_printf(out, "%s%s", k ? " " : "", list->items[k]);
		break;
	}
}
