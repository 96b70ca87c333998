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
 * IMAP load, in one of four modes:
 *   login    log-ins a second (connect, greeting, LOGIN, LOGOUT) of several clients at once
 *   mixed    commands a second of several clients at once, and how many were refused (see below)
 *   command  seconds that log-in (with connecting), and then each command given, takes in one
 *            session
 *   idle     opens many logged-in connections with INBOX selected (-i: in IDLE), prints "ready",
 *            and waits for the end of standard input
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

/*
 * A session of the mix: log in, look around, select, then APPEND, FETCH, STORE in an order that
 * depends on the client and the round alone, EXPUNGE, log out. Each adds a message and removes one,
 * so that a mailbox stays as large as it is. Sessions of one user may run at once.
 */
static const char mixed_text[] =
	"From: Sender <sender@example.org>\r\nTo: user@example.test\r\nSubject: a message of the mix\r\n"
	"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
	"Content-Type: text/plain; charset=utf-8\r\n\r\n";
enum { MIXED_BODY_LINES = 40 };

static struct {
	char *append; /* the command, literal and all */
	size_t append_len;
	atomic_long commands, refused;
} mixed;

static void
mixed_prepare(void)
{
	static const char line[] =
		"The quick brown fox jumps over the lazy dog and looks back.\r\n";
	size_t len = sizeof(mixed_text) - 1 + MIXED_BODY_LINES * (sizeof(line) - 1);
	FILE *f = open_memstream(&mixed.append, &mixed.append_len);

	fprintf(f, "x APPEND INBOX {%zu+}\r\n%s", len, mixed_text);
	for (int i = 0; i < MIXED_BODY_LINES; i++)
		fputs(line, f);
	fputs("\r\n", f);
	fclose(f);
}

static void
mixed_command(struct load_conn *c, const char *text)
{
	if (text)
		load_sendf(c, "x %s\r\n", text);
	else
		load_send(c, mixed.append, mixed.append_len);
	atomic_fetch_add(&mixed.commands, 1);
	if (!load_imap_is_ok(c, "x"))
		atomic_fetch_add(&mixed.refused, 1);
}

static void *
mixed_client(void *arg)
{
	static const char *const before[] = {
		"LIST \"\" *", "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)", "SELECT INBOX"};
	static const char *const middle[] = {NULL, "FETCH 1:* (UID FLAGS)",
		"FETCH * (ENVELOPE BODYSTRUCTURE)", "FETCH * BODY[]", "STORE * +FLAGS (\\Answered)",
		"STORE 1 +FLAGS.SILENT (\\Deleted)", "NOOP"};
	enum {
		BEFORE = sizeof(before) / sizeof(before[0]),
		MIDDLE = sizeof(middle) / sizeof(middle[0])
	};
	long client = (long)(intptr_t)arg, rounds = opt.count / opt.clients;

	for (long round = 0; round < rounds; round++) {
		struct load_conn *c = log_in(client + round);

		atomic_fetch_add(&mixed.commands, 1);
		for (int i = 0; i < BEFORE; i++)
			mixed_command(c, before[i]);
		/* MIDDLE is prime, so each step goes through all of them. */
		for (long i = 0; i < MIDDLE; i++)
			mixed_command(c,
				middle[(client + round + i * (1 + round % (MIDDLE - 1))) % MIDDLE]);
		mixed_command(c, "EXPUNGE");
		mixed_command(c, "LOGOUT");
		load_close(&c);
	}
	return NULL;
}

static void
mixed_fill(void)
{
	enum { MESSAGES = 20 };

	for (long user = 0; user < opt.users; user++) {
		struct load_conn *c = log_in(user);

		for (int i = 0; i < MESSAGES; i++) {
			load_send(c, mixed.append, mixed.append_len);
			load_imap_result(c, "x");
		}
		load_sendf(c, "z LOGOUT\r\n");
		load_imap_result(c, "z");
		load_close(&c);
	}
}

static void
mixes(void)
{
	pthread_t *threads = calloc((size_t)opt.clients, sizeof(*threads));
	double start;

	mixed_prepare();
	mixed_fill();
	start = load_now();
	for (intptr_t i = 0; i < opt.clients; i++)
		pthread_create(&threads[i], NULL, mixed_client, (void *)i);
	for (int i = 0; i < opt.clients; i++)
		pthread_join(threads[i], NULL);
	printf("%.1f %ld\n", (double)mixed.commands / (load_now() - start), mixed.refused);
	free(threads);
	free(mixed.append);
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
				"[-U user] [-P password] [-i] login | mixed | idle | command COMMAND...");
		}
	}
	opt.mode = optind < argc ? argv[optind] : "";
	if (strcmp(opt.mode, "login") == 0)
		logins();
	else if (strcmp(opt.mode, "mixed") == 0)
		mixes();
	else if (strcmp(opt.mode, "idle") == 0)
		idle();
	else if (strcmp(opt.mode, "command") == 0)
		commands(argc - optind - 1, argv + optind + 1);
	else
		load_die("no mode \"%s\"", opt.mode);
	return 0;
}
