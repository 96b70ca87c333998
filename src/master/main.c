/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/conf.h"
#include "lib/log.h"
#include "master/master.h"
#include "master/program_check.h"
#include "master/setup.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78 };

static const char help_text[] =
	"Usage: roost [-c FILE] [--check]\n"
	"\n"
	"Runs the Roost mail server in the foreground: reads FILE, binds the ports, starts the\n"
	"daemons and keeps them running until it gets SIGTERM or SIGINT.\n"
	"\n"
	"  -c, --config FILE  the configuration (default " ROOST_SYSCONFDIR "/roost.conf)\n"
	"      --check        look at the configuration, say what is wrong with it, and end\n"
	"  -h, --help         this text\n"
	"  -V, --version      the version\n"
	"\n"
	"SIGHUP, or \"roostctl -c FILE reload\", reads the configuration again; logged-in clients do\n"
	"not notice. \"roostctl -c FILE status\" shows the daemons. When all of them are ready there\n"
	"is a file run/ready in state_dir.\n"
	"\n"
	"Exit status: 0 stopped in order or checked well, 64 wrong usage, 70 could not start,\n"
	"78 something is wrong in the configuration.\n"
	"\n"
	"See roost(8), roost.conf(5), roostctl(8).\n";

static int
check(struct config *conf, const char *path, struct buf *problems)
{
	struct buf warnings = {0};

	setup_hostname(conf);
	setup_check(conf, problems);
	cert_load(conf, 0, problems);
	setup_quota_warning(conf, problems);
	program_check(conf, &warnings, problems);
	if (problems->len > 0)
		fputs(buf_cstr(problems), stderr);
	else
		printf("%s: nothing wrong%s\n", path, warnings.len > 0 ? ", but see this:" : "");
	if (warnings.len > 0)
		fputs(buf_cstr(&warnings), stderr);
	buf_free(&warnings);
	return problems->len > 0 ? EXIT_CONFIG : EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	const char *path = ROOST_SYSCONFDIR "/roost.conf";
	struct config *conf = NULL;
	struct buf problems = {0};
	int only_check = 0, option, status;

	while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			only_check = 1;
			break;
		case 'h':
			fputs(help_text, stdout);
			return EXIT_SUCCESS;
		case 'V':
			puts("roost " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		default:
			fputs("Try \"roost --help\".\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "roost: \"%s\" is not understood. Try \"roost --help\".\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	log_init("master", LOGL_INFO);
	/* A reload must find the file again, wherever it was started from. */
	char *real = realpath(path, NULL);
	if (conf_load(real ? real : path, &problems, &conf)) {
		fputs(buf_cstr(&problems), stderr);
		status = EXIT_CONFIG;
	} else if (only_check) {
		status = check(conf, path, &problems);
		conf_free(&conf);
	} else {
		status = master_run(conf);
	}
	free(real);
	buf_free(&problems);
	return status;
}
