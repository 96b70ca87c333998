/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/*
 * Sends messages by SMTP or LMTP over several connections at once and prints messages a second.
 * Recipients are user0@DOMAIN ... in turn.
 */

static struct {
	const char *host, *domain;
	int port, lmtp, clients, users, size, per_connection;
	long messages;
} opt = {.host = "127.0.0.1",
	.domain = "example.test",
	.clients = 1,
	.users = 20,
	.size = 4096,
	.messages = 1000};

static atomic_long next_message;

static void
greet(struct load_conn *c)
{
	load_expect(c, '2');
	load_sendf(c, "%s bench.example.org\r\n", opt.lmtp ? "LHLO" : "EHLO");
	load_expect(c, '2');
}

static void
send_one(struct load_conn *c, long n)
{
	static const char line[] =
		"The quick brown fox jumps over the lazy dog and looks back at it once more.\r\n";
	char *text = malloc((size_t)opt.size + 1024);
	int len;

	load_sendf(c, "MAIL FROM:<sender@example.org>\r\nRCPT TO:<user%ld@%s>\r\nDATA\r\n",
		n % opt.users, opt.domain);
	load_expect(c, '2');
	load_expect(c, '2');
	load_expect(c, '3');
	len = snprintf(text, (size_t)opt.size + 1024,
		"From: Sender <sender@example.org>\r\nTo: user%ld@%s\r\nSubject: message %ld\r\n"
		"Message-ID: <%ld.%p@example.org>\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
		n % opt.users, opt.domain, n, n, (void *)text);
	while (len + (int)sizeof(line) - 1 < opt.size) {
		memcpy(text + len, line, sizeof(line) - 1);
		len += (int)sizeof(line) - 1;
	}
	memcpy(text + len, ".\r\n", 3);
	load_send(c, text, (size_t)len + 3);
	load_expect(c, '2');
	free(text);
}

static void *
client(void *arg)
{
	struct load_conn *c = NULL;
	int sent = 0;
	long n;

	(void)arg;
	while ((n = atomic_fetch_add(&next_message, 1)) < opt.messages) {
		if (!c) {
			c = load_connect(opt.host, opt.port, 0);
			greet(c);
			sent = 0;
		}
		send_one(c, n);
		if (opt.per_connection && ++sent == opt.per_connection) {
			load_sendf(c, "QUIT\r\n");
			load_expect(c, '2');
			load_close(&c);
		}
	}
	if (c) {
		load_sendf(c, "QUIT\r\n");
		load_expect(c, '2');
		load_close(&c);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	pthread_t *threads;
	double start;
	int ch;

	while ((ch = getopt(argc, argv, "lh:p:c:n:u:s:r:d:")) != -1) {
		switch (ch) {
		case 'l':
			opt.lmtp = 1;
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
			opt.messages = atol(optarg);
			break;
		case 'u':
			opt.users = atoi(optarg);
			break;
		case 's':
			opt.size = atoi(optarg);
			break;
		case 'r':
			opt.per_connection = atoi(optarg);
			break;
		case 'd':
			opt.domain = optarg;
			break;
		default:
			load_die(
				"usage: load_mail [-l] -p port [-h host] [-c clients] [-n messages] "
				"[-u users] [-s bytes] [-r messages a connection] [-d domain]");
		}
	}
	threads = calloc((size_t)opt.clients, sizeof(*threads));
	start = load_now();
	for (int i = 0; i < opt.clients; i++)
		pthread_create(&threads[i], NULL, client, NULL);
	for (int i = 0; i < opt.clients; i++)
		pthread_join(threads[i], NULL);
	printf("%.1f\n", (double)opt.messages / (load_now() - start));
	free(threads);
	return 0;
}
