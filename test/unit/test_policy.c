/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "mta-lite/endpoint.h"
#include "mta-lite/policy.h"
#include "mta-lite/smtp_io.h"

/* Policy servers, sound and odd; a thread plays them. */

struct server {
	const char *answers[4]; /* one for each connection; NULL ends the thread */
	unsigned per_connection; /* questions answered before it closes; 0: one */
	struct buf seen;
	int listener;
	char path[64];
	pthread_t thread;
};

static void
serve(struct server *s, int fd, const char *answer)
{
	struct smtp_io *io = smtp_io_create(fd);
	unsigned n = 0;

	smtp_io_set_timeout(io, 5000);
	while (n < (s->per_connection ? s->per_connection : 1)) {
		struct str line;

		if (smtp_io_read_line(io, &line))
			break;
		buf_add_str(&s->seen, line);
		buf_add_char(&s->seen, '|');
		if (line.len > 0)
			continue;
		(void)smtp_io_write(io, str_of(answer));
		if (smtp_io_flush(io))
			break;
		n++;
	}
	smtp_io_free(&io);
}

static void *
play(void *arg)
{
	struct server *s = arg;
	size_t i;

	for (i = 0; i < 4 && s->answers[i]; i++)
		serve(s, accept(s->listener, NULL, NULL), s->answers[i]);
	return NULL;
}

static void
start(struct server *s)
{
	struct net_addr addr;

	(void)snprintf(s->path, sizeof(s->path), "/tmp/test_policy.%ld", (long)getpid());
	assert_int_equal(net_addr_parse(str_of(s->path), 0, &addr), OK);
	assert_int_equal(net_listen(&addr, 5, 0600, &s->listener), OK);
	(void)io_set_nonblocking(s->listener, 0);
	assert_int_equal(pthread_create(&s->thread, NULL, play, s), 0);
}

static void
stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	io_close(&s->listener);
	(void)unlink(s->path);
	buf_free(&s->seen);
}

static enum err
ask(struct policy *p, struct buf *action)
{
	struct buf request = {0};
	enum err e;

	policy_put(&request, "request", "smtpd_access_policy");
	policy_put(&request, "sender", "evil\n\naction=OK\r");
	policy_put(&request, "size", NULL);
	e = policy_ask(p, &request, action);
	buf_free(&request);
	return e;
}

static struct policy *
client(const struct server *s)
{
	char spec[80];
	struct policy *p;

	(void)snprintf(spec, sizeof(spec), "unix:%s", s->path);
	assert_int_equal(policy_create(str_of(spec), 2000, &p), OK);
	return p;
}

static void
answers(void **state)
{
	static const struct {
		const char *answer, *action;
		enum err err;
	} cases[] = {
		{"action=DUNNO\n\n", "DUNNO", OK},
		{"action=451 4.7.1 later  \n\n", "451 4.7.1 later", OK},
		{"x=y\naction=OK\n\n", "OK", OK},
		{"action=A\naction=B\n\n", "B", OK},
		{"\n", NULL, E_PROTO},
		{"nothing\n\n", NULL, E_PROTO},
		{"action=a\x01\n\n", NULL, E_PROTO},
		{"action=OK\n", NULL, E_CLOSED},
		{"", NULL, E_CLOSED},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server s = {.answers = {cases[i].answer}};
		struct buf action = BUF_INIT(POLICY_ANSWER_MAX);
		struct policy *p;
		enum err e;

		start(&s);
		p = client(&s);
		e = ask(p, &action);
		if (e != cases[i].err)
			fail_msg("case %zu: %s", i, err_text(e));
		if (e == OK)
			assert_string_equal(buf_cstr(&action), cases[i].action);
		policy_free(&p);
		pthread_join(s.thread, NULL);
		assert_string_equal(buf_cstr(&s.seen),
			"request=smtpd_access_policy|sender=evil??action=OK?|size=||");
		s.thread = pthread_self();
		io_close(&s.listener);
		(void)unlink(s.path);
		buf_free(&s.seen);
		buf_free(&action);
	}
}

/* A connection is kept, and made anew when the server has closed it. */
static void
kept(void **state)
{
	struct server s = {.answers = {"action=ONE\n\n", "action=TWO\n\n"}, .per_connection = 2};
	struct buf action = BUF_INIT(POLICY_ANSWER_MAX);
	struct policy *p;
	int i;

	(void)state;
	start(&s);
	p = client(&s);
	for (i = 0; i < 4; i++) {
		assert_int_equal(ask(p, &action), OK);
		assert_string_equal(buf_cstr(&action), i < 2 ? "ONE" : "TWO");
	}
	policy_free(&p);
	buf_free(&action);
	stop(&s);
}

static void
absent(void **state)
{
	struct buf action = {0};
	struct policy *p;

	(void)state;
	assert_int_equal(policy_create(STR("unix:/nonexistent/x"), 200, &p), OK);
	assert_int_not_equal(ask(p, &action), OK);
	policy_free(&p);
	assert_int_equal(policy_create(STR("private/policy"), 200, &p), E_PARSE);
	assert_null(p);
	buf_free(&action);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(kept),
		cmocka_unit_test(absent),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
