/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "lib/conf.h"

/* Writes roost.conf.example (argument "example") or roost.conf(5) ("man") from the settings table.
 */

/* "lf|crlf" as "lf or crlf". */
static void
print_words(const char *words, const char *between)
{
	for (const char *p = words; *p; p++) {
		if (*p == '|')
			fputs(between, stdout);
		else
			putchar(*p);
	}
}

static const char *
type_text(const struct conf_row *row)
{
	static const struct {
		const char *type, *text;
	} texts[] = {
		{"STRING", "a text"},
		{"PATH", "a path"},
		{"INT", "a number"},
		{"SIZE", "a size in bytes; K, M, G and T may follow"},
		{"DURATION",
			"a time: ms, s, m, h, d or w follow each number; a bare number is seconds"},
		{"BOOL", "yes or no"},
		{"LIST", "a list: {\"one\", \"two\"}"},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(row->type, texts[i].type) == 0)
			return texts[i].text;
	return "one of ";
}

/* As the file has it, where "${" in double quotes would be a variable of the environment. */
static void
print_quoted(const char *p, size_t len)
{
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '$')
			putchar('\\');
		putchar(p[i]);
	}
	putchar('"');
}

static void
print_value(const struct conf_row *row)
{
	const char *p = row->def;
	int first = 1;

	if (strcmp(row->type, "LIST") != 0) {
		print_quoted(p, strlen(p));
		return;
	}
	putchar('{');
	while (*p) {
		size_t len = strcspn(p, " ");

		if (len && !first)
			fputs(", ", stdout);
		if (len)
			print_quoted(p, len);
		first = 0;
		p += len + (p[len] == ' ');
	}
	putchar('}');
}

/* Paths below the build's prefix are shown as an installation has them. */
static int
is_compiled_path(const struct conf_row *row)
{
	return strcmp(row->def, ROOST_STATEDIR) == 0 || strcmp(row->def, ROOST_LIBEXECDIR) == 0;
}

static void
print_example(const struct conf_row *rows, size_t count)
{
	const char *section = "";

	puts("# roost.conf: every setting of Roost with its default. An empty file runs as well.\n"
	     "# Made from the settings table; see roost.conf(5).");
	for (size_t i = 0; i < count; i++) {
		if (rows[i].internal)
			continue;
		if (strcmp(section, rows[i].section) != 0) {
			section = rows[i].section;
			printf("\n# ---- %s ----\n", section);
		}
		printf("\n# %s.\n# Value: %s", rows[i].help, type_text(&rows[i]));
		if (strcmp(rows[i].type, "ENUM") == 0)
			print_words(rows[i].unit, ", ");
		else if (*rows[i].unit)
			printf(" (%s)", rows[i].unit);
		printf("\n#%s = ", rows[i].name);
		if (is_compiled_path(&rows[i]))
			printf("(set when Roost was built)");
		else
			print_value(&rows[i]);
		putchar('\n');
	}
}

/*
 * mdoc takes a dot or an apostrophe at the beginning of a line, and a backslash, for its own. Each
 * sentence begins a line.
 */
static void
print_mdoc(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text; text++) {
		if (*text == '\\') {
			fputs("\\e", stdout);
		} else if (text[0] == '.' && text[1] == ' ' && text[2] >= 'A' && text[2] <= 'Z') {
			puts(".");
			text++;
		} else {
			putchar(*text);
		}
	}
}

static void
print_man(const struct conf_row *rows, size_t count)
{
	const char *section = "";

	puts(".\\\" SPDX-License-Identifier: MIT\n"
	     ".\\\" Made from the settings table by settings-doc; do not edit.\n"
	     ".Dd November 20, 2026\n.Dt ROOST.CONF 5\n.Os\n.Sh NAME\n.Nm roost.conf\n"
	     ".Nd configuration of the Roost mail server\n.Sh DESCRIPTION\n"
	     "One file configures all of Roost.\n"
	     "A line sets one setting:\n"
	     ".Bd -literal -offset indent\n"
	     "hostname = mail.example.com\n"
	     "listen_imap = {\"127.0.0.1:143\", \"[::1]:143\"}\n"
	     "login_timeout = 90s   # a comment\n"
	     ".Ed\n.Pp\n"
	     "Text with blanks or any of the characters\n"
	     ".Ql \" ' # = { } ( ) , + \\e $\n"
	     "stands in double quotes.\n"
	     "What is not set has its default; an empty file runs.\n"
	     ".Xr roost 8\n"
	     "reports every mistake of the file at once, with file, line and remedy, and\n"
	     ".Ql roostctl reload\n"
	     "takes a changed file into use without dropping a session.");
	for (size_t i = 0; i < count; i++) {
		if (rows[i].internal)
			continue;
		if (strcmp(section, rows[i].section) != 0) {
			if (*section)
				puts(".El");
			section = rows[i].section;
			printf(".Sh %s\n.Bl -tag -width Ds\n", section);
		}
		printf(".It Ic %s\n", rows[i].name);
		print_mdoc(rows[i].help);
		printf(".\nValue: %s", type_text(&rows[i]));
		if (strcmp(rows[i].type, "ENUM") == 0)
			print_words(rows[i].unit, ", ");
		else if (*rows[i].unit)
			printf(" (%s)", rows[i].unit);
		if (is_compiled_path(&rows[i]))
			puts(".\nThe default is set when Roost is built.");
		else if (!*rows[i].def)
			puts(".\nThe default is empty.");
		else
			printf(".\nThe default is\n.Ql %s .\n", rows[i].def);
	}
	puts(".El\n.Sh SEE ALSO\n.Xr roost 8 ,\n.Xr roostctl 8");
}

int
main(int argc, char **argv)
{
	size_t count;
	const struct conf_row *rows = conf_rows(&count);

	if (argc == 2 && strcmp(argv[1], "example") == 0) {
		print_example(rows, count);
	} else if (argc == 2 && strcmp(argv[1], "man") == 0) {
		print_man(rows, count);
	} else {
		fputs("usage: settings-doc example|man\n", stderr);
		return 64;
	}
	return 0;
}
