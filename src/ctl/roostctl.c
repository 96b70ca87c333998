/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "ctl/ctl_tool.h"
#include "lib/log.h"

enum { EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_TEMPORARY = 75, EXIT_CONF = 78 };

static const struct tool_verb *const tool_nouns[] = {tool_verbs_directory, tool_verbs_database,
	tool_verbs_fsck, tool_verbs_fts, tool_verbs_limit, tool_verbs_mailbox, tool_verbs_import,
	tool_verbs_queue, tool_verbs_quota, tool_verbs_server, tool_verbs_doctor, tool_verbs_trace,
	NULL};

static void
print_verb(FILE *f, const struct tool_verb *v)
{
	fprintf(f, "  %s%s%s%s%s\n        %s\n", v->noun, v->verb ? " " : "",
		v->verb ? v->verb : "", *v->args ? " " : "", v->args, v->help);
}

static void
print_usage(FILE *f, const char *noun)
{
	fputs("usage: roostctl [-c FILE] [--json] VERB ...\n\n"
	      "Administers a running Roost. FILE is its configuration file (default: $ROOST_CONF,\n"
	      "then " ROOST_SYSCONFDIR
	      "/roost.conf). With --json the result is JSON. The exit status is\n"
	      "0 when it was done, 75 when trying again later may help, another on failure.\n\n",
		f);
	for (size_t i = 0; tool_nouns[i]; i++)
		for (const struct tool_verb *v = tool_nouns[i]; v->noun; v++)
			if (!noun || strcmp(noun, v->noun) == 0)
				print_verb(f, v);
}

/* ---- completion ---- */

/* The options among a verb's arguments. */
static void
print_options(const char *args)
{
	for (const char *p = strstr(args, "--"); p; p = strstr(p + 2, "--"))
		printf(" %.*s", (int)strcspn(p, " ]="), p);
}

static int
is_first_of_noun(const struct tool_verb *rows, const struct tool_verb *v)
{
	for (const struct tool_verb *w = rows; w < v; w++)
		if (strcmp(w->noun, v->noun) == 0)
			return 0;
	return 1;
}

static void
print_verbs_of(const struct tool_verb *rows, const char *noun)
{
	printf("\t\"%s\") list=\"", noun);
	for (const struct tool_verb *v = rows; v->noun; v++) {
		if (strcmp(v->noun, noun) != 0)
			continue;
		if (v->verb)
			printf(" %s", v->verb);
		else
			print_options(v->args);
	}
	puts("\" ;;");
}

/* A script for bash, made from the table of verbs: it cannot fall behind. */
static void
print_completion(void)
{
	puts("# Completion of roostctl for bash. Made by roostctl --completion.\n"
	     "_roostctl() {\n"
	     "\tlocal i list words=()\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase ${COMP_WORDS[i]} in\n"
	     "\t\t-c) ((i++)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) words+=(\"${COMP_WORDS[i]}\") ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\t[ \"${COMP_WORDS[COMP_CWORD - 1]}\" = -c ] && return\n"
	     "\tcase \"${words[*]:0:2}\" in");
	for (size_t i = 0; tool_nouns[i]; i++)
		for (const struct tool_verb *v = tool_nouns[i]; v->noun; v++) {
			if (is_first_of_noun(tool_nouns[i], v))
				print_verbs_of(tool_nouns[i], v->noun);
			if (!v->verb)
				continue;
			printf("\t\"%s %s\") list=\"", v->noun, v->verb);
			print_options(v->args);
			puts("\" ;;");
		}
	fputs("\t\"\") list=\"-c --json --help --version", stdout);
	for (size_t i = 0; tool_nouns[i]; i++)
		for (const struct tool_verb *v = tool_nouns[i]; v->noun; v++)
			if (is_first_of_noun(tool_nouns[i], v))
				printf(" %s", v->noun);
	puts("\" ;;\n"
	     "\t*) list= ;;\n"
	     "\tesac\n"
	     "\tmapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
	     "}\n"
	     "complete -o default -F _roostctl roostctl");
}

/* *used: how many words name the verb. */
static const struct tool_verb *
find_verb(int argc, char **argv, int *used)
{
	for (size_t i = 0; tool_nouns[i]; i++) {
		for (const struct tool_verb *v = tool_nouns[i]; v->noun; v++) {
			if (argc < 1 || strcmp(argv[0], v->noun) != 0)
				continue;
			*used = v->verb ? 2 : 1;
			if (!v->verb || (argc >= 2 && strcmp(argv[1], v->verb) == 0))
				return v;
		}
	}
	return NULL;
}

static int
noun_exists(const char *noun)
{
	for (size_t i = 0; tool_nouns[i]; i++)
		for (const struct tool_verb *v = tool_nouns[i]; v->noun; v++)
			if (strcmp(noun, v->noun) == 0)
				return 1;
	return 0;
}

/* "roostctl NOUN [VERB] --help": of the verb, of the noun's verbs, or of all. */
static int
print_help(int argc, char **argv)
{
	int used = 0;
	const struct tool_verb *v = find_verb(argc, argv, &used);

	if (v) {
		fputs("usage: roostctl [-c FILE] [--json] ...\n", stdout);
		print_verb(stdout, v);
		return EXIT_SUCCESS;
	}
	if (argc > 0 && !noun_exists(argv[0])) {
		tool_error("\"%s\" is no verb; see roostctl --help", argv[0]);
		return EXIT_USAGE;
	}
	print_usage(stdout, argc > 0 ? argv[0] : NULL);
	return EXIT_SUCCESS;
}

static int
run_verb(struct tool *t, const struct tool_verb *v, int argc, char **argv)
{
	enum err e = v->run(t, argc, argv);

	if (e == E_PARSE) {
		fputs("usage:\n", stderr);
		print_verb(stderr, v);
		return EXIT_USAGE;
	}
	if (e)
		return err_is_temporary(e) ? EXIT_TEMPORARY : EXIT_FAILURE;
	return t->exit_status;
}

/* argv: from the verb on. path: of the configuration. */
static int
run(struct tool *t, const char *path, int argc, char **argv)
{
	int used = 0, status;
	const struct tool_verb *v = find_verb(argc, argv, &used);
	struct config *conf = NULL;
	struct buf problems = {0};

	if (!v) {
		tool_error("\"%s%s%s\" is no verb; these are:", argv[0], argc > 1 ? " " : "",
			argc > 1 ? argv[1] : "");
		print_usage(stderr, noun_exists(argv[0]) ? argv[0] : NULL);
		return EXIT_USAGE;
	}
	if (!v->without_conf && conf_load(path, &problems, &conf)) {
		fputs(buf_cstr(&problems), stderr);
		buf_free(&problems);
		return EXIT_CONF;
	}
	t->conf = conf;
	status = run_verb(t, v, argc - used, argv + used);
	conf_free(&conf);
	buf_free(&problems);
	return status;
}

int
main(int argc, char **argv)
{
	const char *path = getenv("ROOST_CONF");
	struct tool t = {0};
	int i;

	signal(SIGPIPE, SIG_IGN);
	log_init("roostctl", LOGL_WARN);
	if (!path || !*path)
		path = ROOST_SYSCONFDIR "/roost.conf";
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-c") == 0 && i + 1 < argc) {
			path = argv[++i];
		} else if (strcmp(argv[i], "--json") == 0) {
			t.json = 1;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_usage(stdout, NULL);
			return EXIT_SUCCESS;
		} else if (strcmp(argv[i], "--completion") == 0) {
			print_completion();
			return EXIT_SUCCESS;
		} else if (strcmp(argv[i], "--version") == 0) {
			puts("roostctl " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		} else {
			tool_error("there is no option %s; see roostctl --help", argv[i]);
			return EXIT_USAGE;
		}
	}
	/* --json is welcome at the end too. */
	if (i < argc && strcmp(argv[argc - 1], "--json") == 0) {
		t.json = 1;
		argc--;
	}
	if (i >= argc) {
		print_usage(stderr, NULL);
		return EXIT_USAGE;
	}
	if (strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0)
		return print_help(argc - 1 - i, argv + i);
	return run(&t, path, argc - i, argv + i);
}
