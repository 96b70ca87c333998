/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/mem.h"

enum { COLUMNS_MAX = 16, CELL_MAX = 256, PASSWORD_MAX = 1024 };

void
tool_error(const char *fmt, ...)
{
	va_list ap;

	fputs("roostctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void
tool_user_error(const char *address, enum err e)
{
	if (e == E_PARSE)
		tool_error("\"%s\" is not an address; write it as name@domain", address);
	else
		tool_error("%s: %s%s", address,
			e == E_NOTFOUND ? "there is no such user"
			: e == E_ACCESS ? "this account is switched off"
					: err_text(e),
			err_is_temporary(e) ? "; is Roost running?" : "");
}

static int
option_find(const struct tool_option *options, const char *name, size_t len)
{
	for (int i = 0; options && options[i].name; i++)
		if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0)
			return i;
	return -1;
}

/* Takes the option at argv[*i], and its value from there or from the next word. */
static enum err
option_take(int argc, char **argv, int *i, const struct tool_option *options, struct tool_args *out)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	int which = option_find(options, name, len);

	if (which < 0) {
		tool_error("there is no option --%.*s here", (int)len, name);
		return E_PARSE;
	}
	if (options[which].is_flag) {
		out->values[which] = "";
	} else if (name[len] == '=') {
		out->values[which] = name + len + 1;
	} else if (*i + 1 < argc) {
		out->values[which] = argv[++*i];
	} else {
		tool_error("--%s wants a value", options[which].name);
		return E_PARSE;
	}
	return OK;
}

enum err
tool_args_parse(int argc, char **argv, const struct tool_option *options, size_t min, size_t max,
	struct tool_args *out)
{
	int only_positionals = 0;

	memset(out, 0, sizeof(*out));
	for (int i = 0; i < argc; i++) {
		if (!only_positionals && strcmp(argv[i], "--") == 0) {
			only_positionals = 1;
		} else if (!only_positionals && strncmp(argv[i], "--", 2) == 0) {
			enum err e = option_take(argc, argv, &i, options, out);

			if (e)
				return e;
		} else if (out->count < max && out->count < TOOL_POSITIONALS_MAX) {
			out->positional[out->count++] = argv[i];
		} else {
			tool_error("\"%s\" is one argument too many", argv[i]);
			return E_PARSE;
		}
	}
	if (out->count < min) {
		tool_error("arguments are missing");
		return E_PARSE;
	}
	return OK;
}

enum err
tool_list_take(
	int *argc, char **argv, const char *name, const char **out, size_t max, size_t *count)
{
	size_t len = strlen(name);
	int n = 0;

	*count = 0;
	for (int i = 0; i < *argc; i++) {
		const char *word = argv[i];

		if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, name, len) != 0 ||
			(word[2 + len] != '\0' && word[2 + len] != '=')) {
			argv[n++] = argv[i];
			continue;
		}
		if (*count == max || (word[2 + len] == '\0' && i + 1 == *argc)) {
			tool_error("--%s %s", name,
				*count == max ? "is too often here" : "wants a value");
			return E_PARSE;
		}
		out[(*count)++] = word[2 + len] ? word + 3 + len : argv[++i];
	}
	*argc = n;
	return OK;
}

char *
tool_read_secret(const char *prompt)
{
	char line[PASSWORD_MAX];
	struct termios saved, quiet;
	int tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
	char *text = NULL;

	if (tty) {
		fprintf(stderr, "%s: ", prompt);
		quiet = saved;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	if (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\r\n")] = '\0';
		text = mem_strdup(line);
	}
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
		fputc('\n', stderr);
	}
	explicit_bzero(line, sizeof(line));
	return text;
}

enum err
tool_call(struct tool *t, const char *service, const char *verb, json_t *args, json_t **result)
{
	char *message;
	enum err e = ctl_call(t->conf, service, verb, args, result, &message);

	if (!e)
		return OK;
	if (t->json) {
		json_t *object = json_pack("{s:s, s:s}", "error", err_word(e), "message", message);

		json_dumpf(object, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(object);
	}
	tool_error("%s", message);
	free(message);
	return e;
}

void
tool_add_time_text(json_t *row, const char *key)
{
	time_t when = (time_t)json_integer_value(json_object_get(row, key));
	char *name = mem_printf("%s_text", key);
	struct tm tm;
	char text[32];

	localtime_r(&when, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	json_object_set_new(row, name, json_string(text));
	free(name);
}

/* A value as a table shows it. */
static void
cell_text(const json_t *value, struct buf *out)
{
	size_t i;
	json_t *item;

	switch (json_typeof(value)) {
	case JSON_STRING:
		buf_add_cstr(out, json_string_value(value));
		break;
	case JSON_INTEGER:
		buf_printf(out, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		buf_printf(out, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
		buf_add_cstr(out, "yes");
		break;
	case JSON_FALSE:
		buf_add_cstr(out, "no");
		break;
	case JSON_NULL:
		buf_add_cstr(out, "-");
		break;
	case JSON_ARRAY:
		json_array_foreach(value, i, item)
		{
			if (i)
				buf_add_char(out, ' ');
			cell_text(item, out);
		}
		break;
	case JSON_OBJECT:
		buf_add_cstr(out, "...");
		break;
	}
}

static const char *
cell(const json_t *row, const char *column, struct buf *scratch)
{
	const json_t *value = json_object_get(row, column);

	buf_reset(scratch);
	if (value)
		cell_text(value, scratch);
	if (!scratch->len)
		buf_add_char(scratch, '-');
	return buf_cstr(scratch);
}

/* A column of text that stands for a number ("since_text") has the number's name above it. */
static int
heading_length(const char *column)
{
	static const char suffix[] = "_text";
	size_t len = strlen(column), end = sizeof(suffix) - 1;

	return (int)(len > end && strcmp(column + len - end, suffix) == 0 ? len - end : len);
}

static void
print_table(const json_t *rows, const char *const *columns)
{
	size_t width[COLUMNS_MAX] = {0}, n = 0, r;
	struct buf scratch = {0};
	json_t *row;

	for (; n < COLUMNS_MAX && columns[n]; n++)
		width[n] = (size_t)heading_length(columns[n]);
	json_array_foreach(rows, r, row)
	{
		for (size_t c = 0; c < n; c++) {
			size_t len = strlen(cell(row, columns[c], &scratch));

			if (len > width[c])
				width[c] = len;
		}
	}
	for (size_t c = 0; c < n; c++)
		printf("%-*.*s%s", c + 1 < n ? (int)width[c] : 0, heading_length(columns[c]),
			columns[c], c + 1 < n ? "  " : "\n");
	json_array_foreach(rows, r, row)
	{
		for (size_t c = 0; c < n; c++)
			printf("%-*s%s", c + 1 < n ? (int)width[c] : 0,
				cell(row, columns[c], &scratch), c + 1 < n ? "  " : "\n");
	}
	buf_free(&scratch);
}

static void
print_object(json_t *object)
{
	struct buf scratch = {0};
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		buf_reset(&scratch);
		cell_text(value, &scratch);
		printf("%s: %s\n", key, buf_cstr(&scratch));
	}
	buf_free(&scratch);
}

void
tool_print(struct tool *t, json_t **result, const char *const *columns)
{
	if (t->json) {
		json_dumpf(*result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
		putchar('\n');
	} else if (json_is_array(*result) && columns) {
		print_table(*result, columns);
	} else if (json_is_object(*result)) {
		print_object(*result);
	}
	json_decref(*result);
	*result = NULL;
}
