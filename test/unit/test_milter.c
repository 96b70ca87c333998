/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/milter.h"
#include "mta-lite/milter_wire.h"

/*
 * The filters' side of a session against a filter that a thread plays by a script: what to answer
 * to which command.
 */
struct line {
	int command; /* 0 ends the script */
	const char *response; /* letter and data of each packet; see packet() */
	size_t len;
};
#define SAY(command, bytes)                                                                        \
	{                                                                                          \
		command, bytes, sizeof(bytes) - 1                                                  \
	}

struct filter {
	uint32_t actions, protocol;
	const struct line *script;
	const char *terms; /* behind the three numbers */
	size_t terms_len;
	int raw; /* send the script's bytes as they are, without a length */
	/* What came: the letters of the commands, macros left out; and the last header lines. */
	char seen[512];
	struct buf headers, macros;
	int listener;
	char path[64];
	pthread_t thread;
};

static void
packet(struct smtp_io *io, struct str bytes)
{
	(void)milter_write(io, (unsigned char)bytes.p[0], str_make(bytes.p + 1, bytes.len - 1));
}

static void
greet(struct filter *f, struct smtp_io *io)
{
	struct buf out = {0};

	milter_put_u32(&out, MILTER_VERSION);
	milter_put_u32(&out, f->actions);
	milter_put_u32(&out, f->protocol);
	buf_add(&out, f->terms, f->terms_len);
	(void)milter_write(io, MILTER_R_OPTNEG, buf_str(&out));
	buf_free(&out);
}

/* Whether the filter's terms say that it does not answer this. */
static int
silent(const struct filter *f, int command)
{
	return (command == MILTER_HEADER && (f->protocol & MILTER_NR_HEADER)) ||
	       command == MILTER_ABORT || command == MILTER_QUIT;
}

static void
respond(struct filter *f, struct smtp_io *io, int command)
{
	const struct line *l;
	int found = 0;

	for (l = f->script; l && l->command; l++) {
		if (l->command != command)
			continue;
		if (f->raw)
			(void)smtp_io_write(io, str_make(l->response, l->len));
		else
			packet(io, str_make(l->response, l->len));
		found = 1;
	}
	if (!found && !silent(f, command))
		packet(io, STR("c"));
	(void)smtp_io_flush(io);
}

static void *
play(void *arg)
{
	struct filter *f = arg;
	struct buf in = {0};
	struct smtp_io *io;
	int command, fd = accept(f->listener, NULL, NULL);
	struct str data;

	io = smtp_io_create(fd);
	smtp_io_set_timeout(io, 5000);
	while (milter_read(io, &in, &command, &data) == OK) {
		size_t n = strlen(f->seen);

		if (command == MILTER_OPTNEG) {
			greet(f, io);
			continue;
		}
		if (command == MILTER_MACRO) {
			buf_add_str(&f->macros, data);
			continue;
		}
		f->seen[n] = (char)command;
		if (command == MILTER_HEADER)
			buf_add_str(&f->headers, data);
		respond(f, io, command);
	}
	smtp_io_free(&io);
	buf_free(&in);
	return NULL;
}

static void
start(struct filter *f)
{
	struct net_addr addr;

	(void)snprintf(f->path, sizeof(f->path), "/tmp/test_milter.%ld", (long)getpid());
	assert_int_equal(net_addr_parse(str_of(f->path), 0, &addr), OK);
	assert_int_equal(net_listen(&addr, 5, 0600, &f->listener), OK);
	(void)io_set_nonblocking(f->listener, 0);
	assert_int_equal(pthread_create(&f->thread, NULL, play, f), 0);
}

static void
stop(struct filter *f)
{
	pthread_join(f->thread, NULL);
	io_close(&f->listener);
	(void)unlink(f->path);
	buf_free(&f->headers);
	buf_free(&f->macros);
}

/* The server's side. */
static char envelope[512];

static void
note(const char *what, struct str address)
{
	size_t n = strlen(envelope);

	(void)snprintf(envelope + n, sizeof(envelope) - n, "%s%.*s ", what, STR_ARG(address));
}

static enum err
add_rcpt(void *arg, struct str address)
{
	(void)arg;
	note("+", address);
	return OK;
}

static enum err
remove_rcpt(void *arg, struct str address)
{
	(void)arg;
	note("-", address);
	return OK;
}

static enum err
set_sender(void *arg, struct str address)
{
	(void)arg;
	note("=", address);
	return OK;
}

static const char *
macro(void *arg, const char *name)
{
	(void)arg;
	if (strcmp(name, "i") == 0)
		return "4711";
	return strcmp(name, "{client_addr}") == 0 ? "192.0.2.1" : NULL;
}

static const struct milter_server server = {
	.macro = macro,
	.add_rcpt = add_rcpt,
	.remove_rcpt = remove_rcpt,
	.set_sender = set_sender,
};

static struct milters *
client(const struct filter *f, const char *action)
{
	struct milter_settings set = {2000, 2000, 2000, MILTER_TEMPFAIL};
	char *spec = mem_printf("unix:%s%s", f->path, action);
	struct milters *ms = milters_create(&set, &spec, 1, &server);

	free(spec);
	envelope[0] = '\0';
	return ms;
}

static struct content *
message(struct spool *spool, const char *text)
{
	struct content *c;

	spool_init(spool, "/tmp");
	assert_int_equal(spool_add(spool, str_of(text)), OK);
	assert_int_equal(content_load(spool, "/tmp", &c), OK);
	return c;
}

static void
assert_content(struct content *c, const char *wanted)
{
	char bytes[4096];
	struct buf all = {0};
	struct str piece;

	while (content_read(c, all.len, bytes, sizeof(bytes), &piece) == OK && piece.len > 0)
		buf_add_str(&all, piece);
	assert_string_equal(buf_cstr(&all), wanted);
	assert_int_equal(content_size(c), all.len);
	buf_free(&all);
}

/* One message through the filter; the reply, NULL if it was taken. */
static const char *
run(struct milters *ms, struct content *c, int *hold, char **reason)
{
	struct net_addr peer;
	const char *reply;

	*hold = 0;
	*reason = NULL;
	assert_int_equal(net_addr_parse(STR("192.0.2.1:1234"), 0, &peer), OK);
	reply = milters_connect(ms, "client.example.test", &peer);
	if (reply == NULL)
		reply = milters_helo(ms, "client.example.test");
	if (reply == NULL)
		reply = milters_mail(ms, "a@example.test", STR("SIZE=100"));
	if (reply == NULL)
		reply = milters_rcpt(ms, "b@example.test", STR(""));
	if (reply == NULL)
		reply = milters_data(ms);
	if (reply == NULL)
		reply = milters_message(ms, c, hold, reason);
	return reply;
}

static const char text[] = "Subject: one\r\n two\r\nTo: b@example.test\r\n\r\nbody\r\n";

static void
changes(void **state)
{
	static const struct line script[] = {
		SAY(MILTER_EOB, "hX-Added\0yes\0"),
		SAY(MILTER_EOB, "i\0\0\0\1X-First\0 1\n2\0"),
		SAY(MILTER_EOB, "m\0\0\0\1Subject\0new\0"),
		SAY(MILTER_EOB, "m\0\0\0\1To\0\0"),
		SAY(MILTER_EOB, "m\0\0\0\1X-None\0made\0"),
		SAY(MILTER_EOB, "bnew\r"),
		SAY(MILTER_EOB, "b\nbody\nlast\r\n"),
		SAY(MILTER_EOB, "+<c@example.test>\0"),
		SAY(MILTER_EOB, "2d@example.test\0NOTIFY=NEVER\0"),
		SAY(MILTER_EOB, "-<b@example.test>\0"),
		SAY(MILTER_EOB, "e<x@example.test>\0"),
		SAY(MILTER_EOB, "qlooks odd\0"),
		SAY(MILTER_EOB, "p"),
		SAY(MILTER_EOB, "c"),
		{0},
	};
	struct filter f = {.actions = 0x1ff, .script = script};
	struct milters *ms;
	struct content *c;
	struct spool spool;
	char *reason;
	int hold;

	(void)state;
	start(&f);
	ms = client(&f, "");
	c = message(&spool, text);
	assert_null(run(ms, c, &hold, &reason));
	assert_content(c, "X-First: 1\r\n 2\r\nSubject: new\r\nX-Added: yes\r\nX-None: made\r\n"
			  "\r\nnew\r\nbody\r\nlast\r\n");
	assert_int_equal(hold, 1);
	assert_string_equal(reason, "looks odd");
	assert_string_equal(
		envelope, "+c@example.test +d@example.test -b@example.test =x@example.test ");
	free(reason);
	content_free(&c);
	spool_free(&spool);
	milters_abort(ms);
	milters_free(&ms);
	stop(&f);
}

static void
events(void **state)
{
	static const char terms[] = "\0\0\0\2i {client_addr} {nothing}";
	struct filter f = {.protocol = MILTER_NR_HEADER | MILTER_NO_HELO,
		.terms = terms,
		.terms_len = sizeof(terms)};
	struct milters *ms;
	struct content *c;
	struct spool spool;
	char *reason;
	int hold;

	(void)state;
	start(&f);
	ms = client(&f, "");
	c = message(&spool, text);
	assert_null(run(ms, c, &hold, &reason));
	milters_abort(ms); /* after the last word: nothing to abort */
	assert_null(milters_mail(ms, "a@example.test", STR("")));
	milters_abort(ms);
	milters_free(&ms);
	pthread_join(f.thread, NULL);
	assert_string_equal(f.seen, "CMRTLLNBEMAQ");
	assert_memory_equal(f.headers.p, "Subject\0one\n two\0To\0b@example.test\0", 35);
	assert_non_null(memmem(f.macros.p, f.macros.len,
		"Mi\0"
		"4711\0{client_addr}\0"
		"192.0.2.1",
		31));
	content_free(&c);
	spool_free(&spool);
	f.thread = pthread_self();
	io_close(&f.listener);
	(void)unlink(f.path);
	buf_free(&f.headers);
	buf_free(&f.macros);
}

/* What a filter's answers, sound or not, make of the session. */
static void
answers(void **state)
{
	static const char temp[] = "451 4.7.1 Service unavailable - try again later";
	static const struct {
		struct line script[3];
		int raw;
		const char *action, *reply;
		int discard, hold;
	} cases[] = {
		{{SAY('R', "r"), {0}}, 0, "", "550 5.7.1 Command rejected", 0, 0},
		{{SAY('M', "t"), {0}}, 0, "", temp, 0, 0},
		{{SAY('C', "r"), {0}}, 0, "", "550 5.7.1 Command rejected", 0, 0},
		{{SAY('E', "y550 5.7.1 no 100%% spam\0"), {0}}, 0, "", "550 5.7.1 no 100% spam", 0,
			0},
		{{SAY('E', "y550-5.7.1 one\r\n550 5.7.1 two\0"), {0}}, 0, "",
			"550 5.7.1 one 5.7.1 two", 0, 0},
		{{SAY('E', "d"), {0}}, 0, "", NULL, 1, 0},
		{{SAY('M', "a"), {0}}, 0, "", NULL, 0, 0},
		/* Lies and deaths. */
		{{SAY('E', "y250 fine\0"), {0}}, 0, "", temp, 0, 0},
		{{SAY('E', "yrubbish"), {0}}, 0, "", temp, 0, 0},
		{{SAY('E', "hX"), {0}}, 0, "", temp, 0, 0},
		{{SAY('M', "hX\0y\0"), {0}}, 0, "", temp, 0, 0},
		{{SAY('E', "z"), {0}}, 0, "", temp, 0, 0},
		{{SAY('R', "\0\0\0\0"), {0}}, 1, "", temp, 0, 0},
		{{SAY('R', "\377\377\377\377c"), {0}}, 1, "", temp, 0, 0},
		{{SAY('R', "\377\377\377\377c"), {0}}, 1, ",accept", NULL, 0, 0},
		{{SAY('R', "\377\377\377\377c"), {0}}, 1, ",reject",
			"550 5.5.0 Service unavailable", 0, 0},
		{{SAY('E', "\377\377\377\377c"), {0}}, 1, ",quarantine", NULL, 0, 1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct filter f = {
			.actions = 0x1ff, .script = cases[i].script, .raw = cases[i].raw};
		struct milters *ms;
		struct content *c;
		struct spool spool;
		const char *reply;
		char *reason;
		int hold;

		start(&f);
		ms = client(&f, cases[i].action);
		c = message(&spool, text);
		reply = run(ms, c, &hold, &reason);
		if ((reply == NULL) != (cases[i].reply == NULL) ||
			(reply && strcmp(reply, cases[i].reply) != 0))
			fail_msg("case %zu: %s", i, reply ? reply : "taken");
		assert_int_equal(milters_discards(ms), cases[i].discard);
		assert_int_equal(hold, cases[i].hold);
		free(reason);
		content_free(&c);
		spool_free(&spool);
		milters_abort(ms);
		milters_free(&ms);
		stop(&f);
	}
}

/* Nobody there; and one that takes the connection and says nothing. */
static void
absent(void **state)
{
	struct milter_settings set = {200, 200, 200, MILTER_TEMPFAIL};
	struct filter f = {0};
	struct milters *ms;
	struct net_addr addr;
	char spec[80], *specs[] = {spec};

	(void)state;
	(void)snprintf(f.path, sizeof(f.path), "/tmp/test_milter_no.%ld", (long)getpid());
	(void)snprintf(spec, sizeof(spec), "unix:%s", f.path);
	ms = milters_create(&set, specs, 1, &server);
	assert_non_null(milters_mail(ms, "", STR("")));
	assert_non_null(milters_mail(ms, "", STR("")));
	milters_free(&ms);

	assert_int_equal(net_addr_parse(str_of(f.path), 0, &addr), OK);
	assert_int_equal(net_listen(&addr, 5, 0600, &f.listener), OK);
	ms = milters_create(&set, specs, 1, &server);
	assert_non_null(milters_mail(ms, "", STR("")));
	milters_free(&ms);
	io_close(&f.listener);
	(void)unlink(f.path);
}

static void
specs(void **state)
{
	static const struct {
		const char *spec, *addr;
		int action;
	} cases[] = {
		{"inet:127.0.0.1:8891", "127.0.0.1:8891", MILTER_TEMPFAIL},
		{"inet:8891@127.0.0.1", "127.0.0.1:8891", MILTER_TEMPFAIL},
		{"inet:localhost:8891,accept", "127.0.0.1:8891", MILTER_ACCEPT},
		{"inet:8891@localhost", "127.0.0.1:8891", MILTER_TEMPFAIL},
		{"inet6:[::1]:8891", "[::1]:8891", MILTER_TEMPFAIL},
		{"inet6:8891@::1", "[::1]:8891", MILTER_TEMPFAIL},
		{"unix:/run/x.sock,quarantine", "/run/x.sock", MILTER_HOLD},
		{"local:/run/x.sock", "/run/x.sock", MILTER_TEMPFAIL},
		{"inet:mail.example.test:8891", NULL, 0},
		{"inet:127.0.0.1", NULL, 0},
		{"inet:/run/x.sock", NULL, 0},
		{"unix:run/x.sock", NULL, 0},
		{"unix:", NULL, 0},
		{"tcp:127.0.0.1:1", NULL, 0},
		{"inet:127.0.0.1:1,what", NULL, 0},
		{"", NULL, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum milter_default action = MILTER_TEMPFAIL;
		struct net_addr addr;
		char shown[NET_ADDR_TEXT];
		enum err e = milter_spec_parse(str_of(cases[i].spec), &addr, &action);

		if ((e == OK) != (cases[i].addr != NULL))
			fail_msg("%s: %s", cases[i].spec, err_text(e));
		if (e)
			continue;
		net_addr_format(&addr, shown);
		assert_string_equal(shown, cases[i].addr);
		assert_int_equal(action, cases[i].action);
	}
}

/* Headers of all shapes, and edits of them. */
static void
contents(void **state)
{
	static const struct {
		const char *in, *out;
		size_t fields;
	} cases[] = {
		{"", "\r\n", 0},
		{"\r\n", "\r\n", 0},
		{"just text\r\n", "\r\njust text\r\n", 0},
		{"A: b\r\n", "A: b\r\n\r\n", 1},
		{"A: b\r\n\r\n", "A: b\r\n\r\n", 1},
		{"A: b\r\nno field\r\n\r\nx", "A: b\r\n\r\nno field\r\n\r\nx", 1},
		{"A : b\r\n c\r\nB:\r\n\r\nx", "A : b\r\n c\r\nB:\r\n\r\nx", 2},
	};
	struct spool spool;
	struct content *c;
	size_t i, at;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c = message(&spool, cases[i].in);
		assert_int_equal(content_field_count(c), cases[i].fields);
		assert_content(c, cases[i].out);
		assert_false(content_changed(c));
		content_free(&c);
		spool_free(&spool);
	}
	c = message(&spool, "A: 1\r\nB: 2\r\na: 3\r\n\r\nx");
	assert_int_equal(content_find(c, STR("A"), 2, &at), OK);
	assert_int_equal(at, 2);
	assert_int_equal(content_find(c, STR("A"), 3, &at), E_NOTFOUND);
	assert_int_equal(content_insert(c, 1, STR("X Y"), STR("z")), E_PARSE);
	assert_int_equal(content_insert(c, 1, STR(""), STR("z")), E_PARSE);
	/* Nothing that is put into a value can end the header or the line. */
	assert_int_equal(content_insert(c, 1, STR("N"), STR("a\n\nB: c\r\n\r\nd\re\x01")), OK);
	assert_int_equal(content_set_value(c, 0, STR("new")), OK);
	content_remove(c, 3);
	assert_content(c, "A: new\r\nN: a\r\n B: c\r\n d?e?\r\nB: 2\r\n\r\nx");
	assert_true(content_changed(c));
	content_free(&c);
	spool_free(&spool);
}

static void
large_header(void **state)
{
	struct spool spool;
	struct content *c;
	size_t i;

	(void)state;
	spool_init(&spool, "/tmp");
	for (i = 0; i < (CONTENT_HEADER_MAX >> 10) + 1; i++) {
		char line[1025];

		memset(line, 'x', sizeof(line));
		memcpy(line, "Long: ", 6);
		memcpy(line + 1022, "\r\n", 2);
		assert_int_equal(spool_add(&spool, str_make(line, 1024)), OK);
	}
	assert_int_equal(content_load(&spool, "/tmp", &c), E_TOOBIG);
	assert_null(c);
	spool_free(&spool);
	/* A body of any size is no header. */
	spool_init(&spool, "/tmp");
	assert_int_equal(spool_add(&spool, STR("A: b\r\n\r\n")), OK);
	for (i = 0; i < 3000; i++) {
		char line[1024];

		memset(line, 'x', sizeof(line));
		assert_int_equal(spool_add(&spool, str_make(line, 1024)), OK);
	}
	assert_int_equal(content_load(&spool, "/tmp", &c), OK);
	assert_int_equal(content_body_size(c), 3000 * 1024);
	content_free(&c);
	spool_free(&spool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(specs),
		cmocka_unit_test(contents),
		cmocka_unit_test(large_header),
		cmocka_unit_test(changes),
		cmocka_unit_test(events),
		cmocka_unit_test(answers),
		cmocka_unit_test(absent),
	};

	log_set_level(LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
