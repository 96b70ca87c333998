/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

/*
 * IMAP load, in one of three modes:
 *   login    log-ins a second (connect, greeting, LOGIN, LOGOUT) of several clients at once
 *   command  seconds that log-in (with connecting), and then each command given, takes in one
 * session idle     opens many logged-in connections with INBOX selected (-i: in IDLE), prints "ready", and
 * waits
 * for the end of standard input
 */

static struct {
	const char *mode, *host, *user, *password;
	int port, tls, clients, users, in_idle;
	long count;
} opt = {.host = "127.0.0.1",
	.user = "user%ld@example.test",
	.password = "secret",
	.clients = 1,
	.users = 20,
	.count = 100};

static atomic_long next_login;

static struct load_conn *
log_in(long n)
{
	struct load_conn *c = load_connect(opt.host, opt.port, opt.tls);
	char user[256];

	load_line(c, NULL);
	/* The pattern comes from the command line of a tool of ours. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(user, sizeof(user), opt.user, n % opt.users);
#pragma GCC diagnostic pop
	load_sendf(c, "a LOGIN %s %s\r\n", user, opt.password);
	load_imap_result(c, "a");
	return c;
}

static void *
login_client(void *arg)
{
	long n;

	(void)arg;
	while ((n = atomic_fetch_add(&next_login, 1)) < opt.count) {
		struct load_conn *c = log_in(n);

		load_sendf(c, "z LOGOUT\r\n");
		load_imap_result(c, "z");
		load_close(&c);
	}
	return NULL;
}

static void
logins(void)
{
	pthread_t *threads = calloc((size_t)opt.clients, sizeof(*threads));
	double start = load_now();

	for (int i = 0; i < opt.clients; i++)
		pthread_create(&threads[i], NULL, login_client, NULL);
	for (int i = 0; i < opt.clients; i++)
		pthread_join(threads[i], NULL);
	printf("%.1f\n", (double)opt.count / (load_now() - start));
	free(threads);
}

static void
commands(int argc, char **argv)
{
	double begin = load_now();
	struct load_conn *c = log_in(0);

	printf("%.6f 0\n", load_now() - begin);
	for (int i = 0; i < argc; i++) {
		double start = load_now();
		uint64_t bytes;

		load_sendf(c, "b%d %s\r\n", i, argv[i]);
		char tag[16];
		snprintf(tag, sizeof(tag), "b%d", i);
		bytes = load_imap_result(c, tag);
		printf("%.6f %llu\n", load_now() - start, (unsigned long long)bytes);
	}
	load_sendf(c, "z LOGOUT\r\n");
	load_imap_result(c, "z");
	load_close(&c);
}

static void
idle(void)
{
	struct load_conn **all = calloc((size_t)opt.count, sizeof(struct load_conn *));
	char c;

	for (long n = 0; n < opt.count; n++) {
		all[n] = log_in(n);
		load_sendf(all[n], "b SELECT INBOX\r\n");
		load_imap_result(all[n], "b");
		if (opt.in_idle)
			load_sendf(all[n], "c IDLE\r\n");
	}
	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	for (long n = 0; n < opt.count; n++)
		load_close(&all[n]);
	free(all);
}

int
main(int argc, char **argv)
{
	int ch;

	while ((ch = getopt(argc, argv, "tih:p:c:n:u:U:P:")) != -1) {
		switch (ch) {
		case 't':
			opt.tls = 1;
			break;
		case 'i':
			opt.in_idle = 1;
			break;
		case 'h':
			opt.host = optarg;
			break;
		case 'p':
			opt.port = atoi(optarg);
			break;
		case 'c':
			opt.clients = atoi(optarg);
			break;
		case 'n':
			opt.count = atol(optarg);
			break;
		case 'u':
			opt.users = atoi(optarg);
			break;
		case 'U':
			opt.user = optarg;
			break;
		case 'P':
			opt.password = optarg;
			break;
		default:
			load_die(
				"usage: load_imap [-t] -p port [-h host] [-c clients] [-n count] [-u users] "
				"[-U user] [-P password] [-i] login | idle | command COMMAND...");
		}
	}
	opt.mode = optind < argc ? argv[optind] : "";
	if (strcmp(opt.mode, "login") == 0)
		logins();
	else if (strcmp(opt.mode, "idle") == 0)
		idle();
	else if (strcmp(opt.mode, "command") == 0)
		commands(argc - optind - 1, argv + optind + 1);
	else
		load_die("no mode \"%s\"", opt.mode);
	return 0;
}
