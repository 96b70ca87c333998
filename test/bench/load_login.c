/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/*
 * Log-ins by POP3 and submission, look-ups of recipients by LMTP, each over several connections at
 * once: prints how many a second. And a POP3 client that fetches all of its mail: prints seconds.
 */

enum { BATCH = 50 /* recipients of a transaction */, LINE_SIZE = 4096 };

static struct {
	const char *host, *user, *password;
	int port, clients;
	long count, users;
} opt = {.host = "127.0.0.1",
	.user = "user%ld@example.test",
	.password = "secret",
	.clients = 1,
	.count = 1000,
	.users = 20};

static atomic_long next_number;

/* The name of the n-th user, in turn; pattern: the option -U. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void
user_name(long n, char *out, size_t size)
{
	snprintf(out, size, opt.user, n % opt.users);
}
#pragma GCC diagnostic pop

/* A reply of POP3 that must be good. */
static void
expect_ok(struct load_conn *c)
{
	const char *line = load_line(c, NULL);

	if (strncmp(line, "+OK", 3) != 0)
		load_die("expected +OK, got: %s", line);
}

static struct load_conn *
pop3_log_in(long n)
{
	struct load_conn *c = load_connect(opt.host, opt.port, 0);
	char user[LINE_SIZE / 4];

	user_name(n, user, sizeof(user));
	expect_ok(c);
	load_sendf(c, "USER %s\r\n", user);
	expect_ok(c);
	load_sendf(c, "PASS %s\r\n", opt.password);
	expect_ok(c);
	return c;
}

static void
pop3_end(struct load_conn **c)
{
	load_sendf(*c, "QUIT\r\n");
	expect_ok(*c);
	load_close(c);
}

static void
pop3_once(long n)
{
	struct load_conn *c = pop3_log_in(n);

	pop3_end(&c);
}

static size_t
base64(const char *in, size_t len, char *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;

	for (size_t i = 0; i < len; i += 3) {
		unsigned long three = 0;

		for (size_t k = 0; k < 3; k++)
			three = three << 8 | (i + k < len ? (unsigned char)in[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			out[n++] = i + k <= len ? digits[three >> (18 - 6 * k) & 63] : '=';
	}
	out[n] = '\0';
	return n;
}

static void
submission_once(long n)
{
	struct load_conn *c = load_connect(opt.host, opt.port, 0);
	char user[LINE_SIZE / 4], plain[LINE_SIZE / 2], text[LINE_SIZE];
	int len;

	user_name(n, user, sizeof(user));
	len = snprintf(plain, sizeof(plain), "%c%s%c%s", 0, user, 0, opt.password);
	base64(plain, (size_t)len, text);
	load_expect(c, '2');
	load_sendf(c, "EHLO bench.example.org\r\n");
	load_expect(c, '2');
	load_sendf(c, "AUTH PLAIN %s\r\n", text);
	load_expect(c, '2');
	load_sendf(c, "QUIT\r\n");
	load_expect(c, '2');
	load_close(&c);
}

static void (*once)(long n);

static void *
log_in_client(void *arg)
{
	long n;

	while ((n = atomic_fetch_add(&next_number, 1)) < opt.count)
		once(n);
	return arg;
}

/* Transactions of BATCH recipients, sent at once, that end without a message. */
static void *
rcpt_client(void *arg)
{
	struct load_conn *c = load_connect(opt.host, opt.port, 0);
	char user[LINE_SIZE / 4];
	long n;

	load_expect(c, '2');
	load_sendf(c, "LHLO bench.example.org\r\n");
	load_expect(c, '2');
	while ((n = atomic_fetch_add(&next_number, BATCH)) < opt.count) {
		load_sendf(c, "MAIL FROM:<sender@example.org>\r\n");
		for (long i = 0; i < BATCH; i++) {
			/* No two neighbours, so that each transaction has users of its own. */
			user_name((n + i) * 7919, user, sizeof(user));
			load_sendf(c, "RCPT TO:<%s>\r\n", user);
		}
		load_sendf(c, "RSET\r\n");
		for (int i = 0; i < BATCH + 2; i++)
			load_expect(c, '2');
	}
	load_close(&c);
	return arg;
}

static double
with_clients(void *(*client)(void *))
{
	pthread_t *threads = calloc((size_t)opt.clients, sizeof(*threads));
	double start = load_now();

	for (int i = 0; i < opt.clients; i++)
		pthread_create(&threads[i], NULL, client, NULL);
	for (int i = 0; i < opt.clients; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	return (double)opt.count / (load_now() - start);
}

/* One that asks for the next when it has one. */
static void
retrieve(void)
{
	double start = load_now();
	struct load_conn *c = pop3_log_in(0);
	long count;

	load_sendf(c, "STAT\r\n");
	count = strtol(load_line(c, NULL) + strlen("+OK"), NULL, 10);
	if (count != opt.count)
		load_die("there are %ld messages", count);
	for (long n = 1; n <= count; n++) {
		load_sendf(c, "RETR %ld\r\n", n);
		expect_ok(c);
		while (strcmp(load_line(c, NULL), ".") != 0)
			;
	}
	pop3_end(&c);
	printf("%.6f\n", load_now() - start);
}

int
main(int argc, char **argv)
{
	const char *mode;
	int ch;

	while ((ch = getopt(argc, argv, "h:p:c:n:u:U:P:")) != -1) {
		switch (ch) {
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
			opt.users = atol(optarg);
			break;
		case 'U':
			opt.user = optarg;
			break;
		case 'P':
			opt.password = optarg;
			break;
		default:
			load_die("usage: load_login -p port [-h host] [-c clients] [-n count] "
				 "[-u users] [-U user] [-P password] pop3 | submission | rcpt | "
				 "retrieve");
		}
	}
	mode = optind < argc ? argv[optind] : "";
	once = strcmp(mode, "pop3") == 0	 ? pop3_once
	       : strcmp(mode, "submission") == 0 ? submission_once
						 : NULL;
	if (once)
		printf("%.1f\n", with_clients(log_in_client));
	else if (strcmp(mode, "rcpt") == 0)
		printf("%.1f\n", with_clients(rcpt_client));
	else if (strcmp(mode, "retrieve") == 0)
		retrieve();
	else
		load_die("no mode \"%s\"", mode);
	return 0;
}
