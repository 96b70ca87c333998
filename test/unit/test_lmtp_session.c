/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/io.h"
#include "lib/mem.h"

/* A store that keeps what it gets: addresses that begin with "no" are unknown, "full" fails late.
 */
struct fake {
	struct buf message, log, expected;
	struct lmtp_reply replies[8];
	size_t rcpts, asked_ahead;
};

/* Each is asked for next, or the transaction ends. */
static void
fake_expect(void *arg, const char *address)
{
	struct fake *f = arg;

	buf_printf(&f->expected, "%s,", address);
}

static struct lmtp_reply
fake_rcpt(void *arg, const char *address, struct str raw, uint64_t size)
{
	struct fake *f = arg;

	(void)size;
	(void)raw;
	if (f->expected.len) {
		struct str rest = buf_str(&f->expected);

		assert_true(str_is(str_split(&rest, ','), address));
		buf_consume(&f->expected, strlen(address) + 1);
		f->asked_ahead++;
	}
	if (strncmp(address, "no", 2) == 0) {
		return (struct lmtp_reply){"550 5.1.1", "No such user here"};
	}
	f->replies[f->rcpts++] = strncmp(address, "full", 4) == 0
					 ? (struct lmtp_reply){"552 5.2.2", "Mailbox is full"}
					 : (struct lmtp_reply){"250 2.0.0", "Saved"};
	return (struct lmtp_reply){"250 2.1.5", "OK"};
}

static void
fake_begin(void *arg, const struct lmtp_envelope *env)
{
	struct fake *f = arg;

	buf_printf(&f->log, "begin <%.*s> %s;", STR_ARG(env->sender), env->helo);
	if (env->client_name[0] || env->utf8) {
		char ip[NET_ADDR_TEXT];

		net_addr_format_ip(env->client, ip);
		buf_printf(&f->log, "for %s %s%s;", env->client_name, ip, env->utf8 ? " utf8" : "");
	}
	buf_reset(&f->message);
}

static void
fake_write(void *arg, const char *p, size_t len)
{
	buf_add(&((struct fake *)arg)->message, p, len);
}

static void
fake_commit(void *arg, struct lmtp_reply *replies)
{
	struct fake *f = arg;

	memcpy(replies, f->replies, f->rcpts * sizeof(*replies));
	buf_printf(&f->log, "commit %zu;", f->message.len);
}

static void
fake_reset(void *arg)
{
	struct fake *f = arg;

	f->rcpts = 0;
	buf_free(&f->expected);
}

static const struct lmtp_store fake_store = {
	.expect = fake_expect,
	.rcpt = fake_rcpt,
	.begin = fake_begin,
	.write = fake_write,
	.commit = fake_commit,
	.reset = fake_reset,
};

/* Runs a whole dialogue: all input at once, as a pipelining client may send it. */
static void
converse_as(char *service, const char *in, struct fake *f, struct buf *out)
{
	struct session s = {.channel = -1, .info = {.service = service, .fresh = 1}};
	struct config *conf = conf_defaults("/nonexistent");
	char bytes[4096];
	ssize_t n;
	int fds[2];

	*f = (struct fake){0};
	buf_reset(out);
	conf->max_message_size = 2000;
	assert_int_equal(conf_set(conf, "hostname", "mx.example.test", NULL), OK);
	conf->lmtp_max_recipients = 3;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(io_write_all(fds[1], in, strlen(in)), OK);
	shutdown(fds[1], SHUT_WR);
	s.conf = conf;
	s.client = stream_create(fds[0]);
	lmtp_session_run(&s, "mx.example.test", &fake_store, f);
	stream_free(&s.client);
	while ((n = read(fds[1], bytes, sizeof(bytes))) > 0) {
		buf_add(out, bytes, (size_t)n);
	}
	close(fds[1]);
	conf_free(&conf);
}

static void
converse(const char *in, struct fake *f, struct buf *out)
{
	char service[] = "lmtp";

	converse_as(service, in, f, out);
}

static void
fake_free(struct fake *f, struct buf *out)
{
	buf_free(&f->message);
	buf_free(&f->log);
	buf_free(out);
}

#define GREETING "220 mx.example.test LMTP Roost\r\n"
#define HELLO                                                                                      \
	"250-mx.example.test\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n"     \
	"250-SMTPUTF8\r\n250-CHUNKING\r\n250 SIZE 2000\r\n"

struct dialogue {
	const char *in, *out, *message, *log;
};

static const struct dialogue dialogues[] = {
	{"LHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<bob@d.test>\r\nDATA\r\nHi\r\n..x\r\n.\r\n"
	 "QUIT\r\n",
		GREETING HELLO
		"250 2.1.0 OK\r\n250 2.1.5 <bob@d.test> OK\r\n"
		"354 End data with <CR><LF>.<CR><LF>\r\n"
		"250 2.0.0 <bob@d.test> Saved\r\n221 2.0.0 mx.example.test closing\r\n",
		"Hi\r\n.x\r\n", "begin <a@c.test> c.test;commit 8;"},
	/* One reply for each accepted recipient, in order (RFC 2033 section 4.2). */
	{"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<bob@d.test>\r\nRCPT TO:<nobody@d.test>\r\n"
	 "RCPT TO:<full@d.test>\r\nRCPT TO:<bob@d.test>\r\nRCPT TO:<four@d.test>\r\nDATA\r\n.\r\n",
		GREETING HELLO
		"250 2.1.0 OK\r\n250 2.1.5 <bob@d.test> OK\r\n"
		"550 5.1.1 <nobody@d.test> No such user here\r\n250 2.1.5 <full@d.test> OK\r\n"
		"250 2.1.5 <bob@d.test> OK\r\n452 4.5.3 Too many recipients in one transaction\r\n"
		"354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 <bob@d.test> Saved\r\n"
		"552 5.2.2 <full@d.test> Mailbox is full\r\n250 2.0.0 <bob@d.test> Saved\r\n",
		"", "begin <> c.test;commit 0;"},
	/* No valid recipient: DATA is refused, and what follows is a command. */
	{"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<no@d.test>\r\nDATA\r\nNOOP\r\n",
		GREETING HELLO "250 2.1.0 OK\r\n550 5.1.1 <no@d.test> No such user here\r\n"
			       "503 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n",
		"", ""},
	{"EHLO c.test\r\nHELO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nLHLO (\r\nVRFY "
	 "x\r\nFOO\r\n\r\n",
		GREETING
		"500 5.5.1 This is LMTP: say LHLO\r\n500 5.5.1 This is LMTP: say LHLO\r\n"
		"503 5.5.1 LHLO first\r\n503 5.5.1 MAIL first\r\n"
		"503 5.5.1 No valid recipients\r\n501 5.5.4 Say LHLO with your host name\r\n"
		"252 2.1.5 Send some mail, and see\r\n500 5.5.2 Unknown command\r\n"
		"500 5.5.2 Unknown command\r\n",
		"", ""},
	/* RSET and LHLO clear the transaction. */
	{"LHLO c.test\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRSET\r\nDATA\r\n"
	 "MAIL FROM:<> SIZE=2001\r\nMAIL FROM:<> SIZE=2000\r\nMAIL FROM:<x\r\n",
		GREETING HELLO
		"250 2.1.0 OK\r\n503 5.5.1 A transaction is under way already\r\n"
		"250 2.1.5 <a@b.test> OK\r\n250 2.0.0 OK\r\n503 5.5.1 No valid recipients\r\n"
		"552 5.3.4 Message is larger than the limit here\r\n250 2.1.0 OK\r\n"
		"503 5.5.1 A transaction is under way already\r\n",
		"", ""},
	/* CHUNKING. */
	{"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nBDAT 5\r\nHi\r\n.BDAT 0\r\nDATA\r\n"
	 "BDAT 4 LAST\r\n\r\n.\nNOOP\r\n",
		GREETING HELLO
		"250 2.1.0 OK\r\n250 2.1.5 <a@b.test> OK\r\n250 2.0.0 5 octets received\r\n"
		"250 2.0.0 0 octets received\r\n503 5.5.1 DATA and BDAT cannot be mixed\r\n"
		"250 2.0.0 <a@b.test> Saved\r\n250 2.0.0 OK\r\n",
		"Hi\r\n.\r\n.\n", "begin <> c.test;commit 9;"},
	/* No recipient, no reply to the last chunk (RFC 2033 section 4.3); its octets are no
	   commands. */
	{"LHLO c.test\r\nMAIL FROM:<>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
		GREETING HELLO "250 2.1.0 OK\r\n503 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n",
		"", ""},
	{"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nBDAT x\r\nQUIT\r\n",
		GREETING HELLO "250 2.1.0 OK\r\n250 2.1.5 <a@b.test> OK\r\n"
			       "501 5.5.4 Syntax: BDAT size [LAST]; closing\r\n",
		"", ""},
	/* The client goes away in the middle: nothing is committed. */
	{"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nHi\r\n.",
		GREETING HELLO "250 2.1.0 OK\r\n250 2.1.5 <a@b.test> OK\r\n"
			       "354 End data with <CR><LF>.<CR><LF>\r\n",
		"Hi\r\n", "begin <> c.test;"},
	/* SMTPUTF8 (RFC 6531): addresses beyond ASCII only with the parameter, and for one mail. */
	{"LHLO c.test\r\nMAIL FROM:<j\303\266@c.test>\r\nMAIL FROM:<j\303\266@c.test> SMTPUTF8\r\n"
	 "RCPT TO:<b\303\266b@d.test>\r\nRCPT TO:<b\303@d.test>\r\nDATA\r\n.\r\n"
	 "MAIL FROM:<a@c.test>\r\nRCPT TO:<b\303\266b@d.test>\r\n",
		GREETING HELLO
		"553 5.6.7 Address beyond ASCII without SMTPUTF8, or not UTF-8\r\n250 2.1.0 OK\r\n"
		"250 2.1.5 <b\303\266b@d.test> OK\r\n"
		"553 5.6.7 Address beyond ASCII without SMTPUTF8, or not UTF-8\r\n"
		"354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 <b\303\266b@d.test> Saved\r\n"
		"250 2.1.0 OK\r\n553 5.6.7 Address beyond ASCII without SMTPUTF8, or not UTF-8\r\n",
		"", "begin <j\303\266@c.test> c.test;for  local utf8;commit 0;"},
	/* TLS begins in roost-proxy; XCLIENT is for whom the setting names. */
	{"LHLO c.test\r\nSTARTTLS\r\nXCLIENT NAME=x.test\r\n",
		GREETING HELLO "503 5.5.1 STARTTLS comes before mail\r\n"
			       "550 5.7.0 Not authorized to say XCLIENT\r\n",
		"", ""},
	{"NOOP\r\nQU\001IT\r\n",
		GREETING "250 2.0.0 OK\r\n500 5.5.2 Control characters in a command\r\n", "", ""},
};

static void
whole_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++) {
		struct fake f;
		struct buf out = {0};

		converse(dialogues[i].in, &f, &out);
		assert_string_equal(buf_cstr(&out), dialogues[i].out);
		assert_string_equal(buf_cstr(&f.message), dialogues[i].message);
		assert_string_equal(buf_cstr(&f.log), dialogues[i].log);
		fake_free(&f, &out);
	}
}

/* By the UNIX socket XCLIENT is offered, and begins everything anew. */
static void
speaking_for_another(void **state)
{
	static const char in[] =
		"LHLO c.test\r\nXCLIENT\r\nXCLIENT NAME=mx.c.test ADDR=192.0.2.7 HELO=mx.c.test\r\n"
		"MAIL FROM:<>\r\nLHLO proxy.test\r\nMAIL FROM:<>\r\nXCLIENT NAME=x.test\r\n"
		"RCPT TO:<a@b.test>\r\nDATA\r\n.\r\nQUIT\r\n";
	char service[] = "lmtp-local";
	struct fake f;
	struct buf out = {0};

	(void)state;
	converse_as(service, in, &f, &out);
	assert_non_null(strstr(buf_cstr(&out), "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"));
	assert_non_null(strstr(buf_cstr(&out),
		"501 5.5.4 Bad attribute of XCLIENT\r\n" GREETING "503 5.5.1 LHLO first\r\n"));
	assert_non_null(strstr(buf_cstr(&out), "503 5.5.1 A transaction is under way\r\n"));
	assert_string_equal(
		buf_cstr(&f.log), "begin <> mx.c.test;for mx.c.test 192.0.2.7;commit 0;");
	fake_free(&f, &out);
}

/* Over the limit: read to its end, refused for each recipient, and the session goes on. */
static void
message_over_the_limit(void **state)
{
	static const char *const starts[] = {"DATA\r\n", "BDAT 3000 LAST\r\n"};
	static const char *const ends[] = {"\r\n.\r\n", ""};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fake f;
		struct buf in = {0}, out = {0};

		buf_add_cstr(&in, "LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\n");
		buf_add_cstr(&in, starts[i]);
		for (int k = 0; k < 3000; k++) {
			buf_add_char(&in, 'x');
		}
		buf_add_cstr(&in, ends[i]);
		buf_add_cstr(&in, "MAIL FROM:<>\r\n");
		converse(buf_cstr(&in), &f, &out);
		assert_non_null(strstr(buf_cstr(&out),
			"\r\n552 5.3.4 <a@b.test> Message is larger than the limit here\r\n"
			"250 2.1.0 OK\r\n"));
		assert_null(strstr(buf_cstr(&f.log), "commit"));
		assert_true(f.message.len <= 2000);
		buf_free(&in);
		fake_free(&f, &out);
	}
}

static void
long_lines_and_many_errors(void **state)
{
	struct fake f;
	struct buf in = {0}, out = {0};

	(void)state;
	for (int k = 0; k < 5000; k++) {
		buf_add_char(&in, 'x');
	}
	buf_add_cstr(&in, "\r\nNOOP\r\n");
	converse(buf_cstr(&in), &f, &out);
	assert_string_equal(buf_cstr(&out), GREETING "500 5.5.2 Line too long\r\n250 2.0.0 OK\r\n");
	fake_free(&f, &out);
	buf_reset(&in);
	for (int k = 0; k < 100; k++) {
		buf_add_cstr(&in, "BAD\r\n");
	}
	converse(buf_cstr(&in), &f, &out);
	assert_true(str_ends_i(buf_str(&out), "\r\n421 4.7.0 Too many errors, closing\r\n"));
	buf_free(&in);
	fake_free(&f, &out);
}

/* Those that came with the first, up to another command, and no more than may be taken. */
static void
recipients_are_told_ahead(void **state)
{
	static const struct {
		const char *in;
		size_t ahead;
	} rows[] = {
		{"RCPT TO:<a@b.test>\r\n", 0},
		{"RCPT TO:<a@b.test>\r\nDATA\r\nRCPT TO:<b@b.test>\r\n.\r\n", 0},
		{"RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>", 0},
		{"RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\n", 2},
		{"RCPT TO:<a@b.test>\nrcpt to:<b@b.test>\nRCPT TO:<c@b.test>\nNOOP\n", 3},
		{"RCPT TO:<a@b.test>\r\nRCPT TO:b\r\nRCPT TO:<b@b.test> X\r\nRCPT TO:<c@b.test>\r\n",
			2},
		{"RCPT TO:<no@b.test>\r\nRCPT TO:<no@b.test>\r\nRCPT TO:<no@b.test>\r\n"
		 "RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>\r\n"
		 "RCPT TO:<d@b.test>\r\nRCPT TO:<e@b.test>\r\n",
			6},
		{"RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nRSET\r\nMAIL FROM:<>\r\n"
		 "RCPT TO:<c@b.test>\r\nRCPT TO:<d@b.test>\r\n",
			4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *in = mem_printf("LHLO c.test\r\nMAIL FROM:<>\r\n%s", rows[i].in);
		struct buf out = {0};
		struct fake f;

		converse(in, &f, &out);
		assert_int_equal(f.asked_ahead, rows[i].ahead);
		fake_free(&f, &out);
		free(in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_dialogues),
		cmocka_unit_test(speaking_for_another),
		cmocka_unit_test(message_over_the_limit),
		cmocka_unit_test(long_lines_and_many_errors),
		cmocka_unit_test(recipients_are_told_ahead),
	};

	return cmocka_run_group_tests_name("lmtp_session", tests, NULL, NULL);
}
