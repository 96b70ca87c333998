/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mta-lite/pipe_transport.h"

/* Items of pipe_transports, and what becomes of their arguments. */

static void
refused(void **state)
{
	static const char *const cases[][2] = {
		{"", "name"},
		{"user=nobody argv=/bin/cat", "name"},
		{"x:y user=nobody argv=/bin/cat", "name"},
		{"x argv=/bin/cat", "user="},
		{"x user= argv=/bin/cat", "user="},
		{"x user=nobody", "argv"},
		{"x user=nobody argv=", "argv"},
		{"x user=nobody argv=cat", "whole path"},
		{"x user=nobody argv=$recipient", "whole path"},
		{"x user=nobody flags=Rz argv=/bin/cat", "flag z"},
		{"x user=nobody flags=. argv=/bin/cat", "flag ."},
		{"x user=nobody chroot=/ argv=/bin/cat", "attribute chroot=/"},
		{"x user=nobody eol=\\r\\n argv=/bin/cat", "attribute eol"},
		{"x user=nobody size=big argv=/bin/cat", "number"},
		{"x user=nobody directory=tmp argv=/bin/cat", "whole path"},
		{"x user=nobody stray argv=/bin/cat", "stray"},
		{"x user=nobody argv=/bin/cat ${nothing}", "macro nothing"},
		{"x user=nobody argv=/bin/cat $", NULL},
		{"x user=nobody argv=/bin/cat ${user", NULL},
		{"x user=nobody argv=/bin/cat {", NULL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pipe_transport t;
		struct buf why = {0};
		enum err e = pipe_transport_parse(str_of(cases[i][0]), &t, &why);

		assert_int_equal(e, cases[i][1] ? E_PARSE : OK);
		if (cases[i][1])
			assert_non_null(strstr(buf_cstr(&why), cases[i][1]));
		buf_free(&why);
	}
}

static void
attributes(void **state)
{
	struct pipe_transport t;

	(void)state;
	assert_int_equal(
		pipe_transport_parse(str_of("maildrop  user=vmail:mail\tflags=DRhu size=1000 "
					    "directory=/var null_sender= time_limit=5 "
					    "argv=/usr/bin/maildrop -d {a b}"),
			&t, NULL),
		OK);
	assert_true(
		str_is(t.name, "maildrop") && str_is(t.user, "vmail") && str_is(t.group, "mail"));
	assert_int_equal(
		t.flags, PIPE_DELIVERED_TO | PIPE_RETURN_PATH | PIPE_FOLD_DOMAIN | PIPE_FOLD_USER);
	assert_int_equal(t.size, 1000);
	assert_int_equal(t.time_limit_s, 5);
	assert_true(str_is(t.directory, "/var") && t.null_sender.len == 0);
	assert_true(str_is(t.argv, "/usr/bin/maildrop -d {a b}"));
	/* With D there is one Delivered-To. */
	assert_int_equal(t.recipient_limit, 1);
	assert_int_equal(
		pipe_transport_parse(str_of("x user=a argv=/x ${recipient}"), &t, NULL), OK);
	assert_int_equal(t.recipient_limit, PIPE_RECIPIENTS);
	assert_int_equal(pipe_transport_parse(str_of("x user=a argv=/x ${domain}"), &t, NULL), OK);
	assert_int_equal(t.recipient_limit, 1);
}

/* The arguments, each behind a "|". */
static char *
expand(const char *item, const struct pipe_mail *mail, enum err expected)
{
	struct pipe_transport t;
	struct buf out = {0};
	char **argv = NULL;
	size_t i;

	assert_int_equal(pipe_transport_parse(str_of(item), &t, NULL), OK);
	assert_int_equal(pipe_argv(&t, mail, &argv), expected);
	for (i = 0; argv && argv[i]; i++)
		buf_printf(&out, "|%s", argv[i]);
	pipe_argv_free(&argv);
	assert_null(argv);
	return buf_steal(&out);
}

static void
arguments(void **state)
{
	static const struct pipe_recipient rcpts[] = {
		{"Bob+Lists@Example.COM", "first@old.test"}, {"\"a b\"@example.com", ""}};
	static const struct pipe_recipient option[] = {{"-x@example.com", ""}};
	static const struct {
		const char *item, *expected;
	} cases[] = {
		{"p user=u argv=/x", "|/x"},
		{"p user=u argv=/x -f $sender -- ${recipient} end",
			"|/x|-f|S@a.test|--|Bob+Lists@Example.COM|a b@example.com|end"},
		{"p user=u flags=q argv=/x ${recipient}",
			"|/x|Bob+Lists@Example.COM|\"a b\"@example.com"},
		{"p user=u flags=hu argv=/x $(user)/${extension}", "|/x|bob/lists|a b/"},
		{"p user=u argv=/x ${original_recipient} ${mailbox}",
			"|/x|first@old.test|a b@example.com|Bob+Lists|a b"},
		{"p user=u argv=/x {two words $size} $$x a$", "|/x|two words 77|$x|a$"},
		{"p user=u flags=h argv=/x $nexthop ${queue_id} ${envid}", "|/x|next.hop|ABC|e"},
		{"p user=u argv=/x ${client_address} ${client_hostname} [${client_helo}] ${client_port}",
			"|/x|192.0.2.1||[a b]|"},
		{"p user=u argv=/x -${sender}", "|/x|-S@a.test"},
	};
	struct pipe_mail mail = {"ABC", "e", "S@a.test", STR("Next.Hop"),
		"NAME=[UNAVAILABLE] ADDR=192.0.2.1 HELO=a+20b", 77, '+', rcpts, 2};
	size_t i;
	char *found;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		found = expand(cases[i].item, &mail, OK);
		assert_string_equal(found, cases[i].expected);
		free(found);
	}
	mail.sender = "";
	found = expand("p user=u argv=/x ${sender}", &mail, OK);
	assert_string_equal(found, "|/x|MAILER-DAEMON");
	free(found);
	found = expand("p user=u null_sender= argv=/x ${sender} y", &mail, OK);
	assert_string_equal(found, "|/x||y");
	free(found);
	mail.rcpts = option;
	mail.rcpt_count = 1;
	free(expand("p user=u argv=/x ${recipient}", &mail, E_PARSE));
	free(expand("p user=u argv=/x ${user}", &mail, E_PARSE));
	found = expand("p user=u argv=/x to:${recipient}", &mail, OK);
	assert_string_equal(found, "|/x|to:-x@example.com");
	free(found);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),
		cmocka_unit_test(attributes),
		cmocka_unit_test(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
