/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lib/log.h"
#include "mta-lite/content_check.h"

/* Header and body checks: each message with its tables, what becomes of it and of its text. */

static const char message[] =
	"Subject: buy\r\n now\r\nX-Old: 1\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	"preamble\r\n--b\r\nContent-Type: text/plain; name=x.exe\r\nX-Old: part\r\n\r\n"
	"first line\r\nsecond line\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
	"Subject: inner\r\nX-Old: inner\r\n\r\ninner body\r\n--b--\r\n";

struct tables {
	struct config *conf;
	struct maps *maps;
	struct content_checks checks;
};

static void
open_list(struct maps *maps, const char *name, struct map_list *out)
{
	char *items[] = {(char *)name};
	struct conf_list list = {items, 1};

	if (name)
		assert_int_equal(map_list_parse(maps, &list, out, NULL), OK);
}

static void
start(struct tables *t, const char *header, const char *mime, const char *nested, const char *body)
{
	memset(t, 0, sizeof(*t));
	t->conf = conf_defaults("/tmp");
	t->maps = maps_create(t->conf);
	open_list(t->maps, header, &t->checks.header);
	open_list(t->maps, mime, &t->checks.mime_header);
	open_list(t->maps, nested, &t->checks.nested_header);
	open_list(t->maps, body, &t->checks.body);
	t->checks.body_limit = 51200;
}

static void
stop(struct tables *t)
{
	map_list_free(&t->checks.header);
	map_list_free(&t->checks.mime_header);
	map_list_free(&t->checks.nested_header);
	map_list_free(&t->checks.body);
	maps_free(&t->maps);
	conf_free(&t->conf);
}

static char *
text_of(struct content *c)
{
	char bytes[8192];
	struct buf all = {0};
	struct str piece;

	while (content_read(c, all.len, bytes, sizeof(bytes), &piece) == OK && piece.len > 0)
		buf_add_str(&all, piece);
	(void)buf_cstr(&all);
	return buf_steal(&all);
}

static void
verdicts(void **state)
{
	static const struct {
		const char *header, *mime, *nested, *body;
		const char *reply, *hold, *filter, *redirect, *bcc;
		int discard;
	} cases[] = {
		{"pcre:{{/^Subject: buy\\s+now$/ REJECT}}", NULL, NULL, NULL,
			"550 5.7.1 Message content rejected", NULL, NULL, NULL, NULL, 0},
		{"pcre:{{/^subject: (\\w+)/ REJECT no $1}}", NULL, NULL, NULL, "550 5.7.1 no buy",
			NULL, NULL, NULL, NULL, 0},
		{"pcre:{{/^Subject:/ REJECT 4.7.0 later}}", NULL, NULL, NULL, "450 4.7.0 later",
			NULL, NULL, NULL, NULL, 0},
		{"pcre:{{/^Subject:/ REJECT 521 5.7.9 bye}}", NULL, NULL, NULL, "521 5.7.9 bye",
			NULL, NULL, NULL, NULL, 0},
		/* Each kind of header has its own table. */
		{"pcre:{{/inner/ REJECT}}", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0},
		{"pcre:{{/^Content-Type/ REJECT}}", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
			0},
		{NULL, "pcre:{{/name=.*\\.exe/ REJECT}}", NULL, NULL,
			"550 5.7.1 Message content rejected", NULL, NULL, NULL, NULL, 0},
		{NULL, NULL, "pcre:{{/^Subject: inner/ REJECT}}", NULL,
			"550 5.7.1 Message content rejected", NULL, NULL, NULL, NULL, 0},
		{NULL, NULL, "pcre:{{/^Subject: buy/ REJECT}}", NULL, NULL, NULL, NULL, NULL, NULL,
			0},
		{NULL, NULL, NULL, "pcre:{{/^second line$/ REJECT 5.7.1 word}}", "550 5.7.1 word",
			NULL, NULL, NULL, NULL, 0},
		{NULL, NULL, NULL, "pcre:{{/^inner body$/ REJECT}}",
			"550 5.7.1 Message content rejected", NULL, NULL, NULL, NULL, 0},
		{NULL, NULL, NULL, "pcre:{{/Subject/ REJECT}}", NULL, NULL, NULL, NULL, NULL, 0},
		{"pcre:{{/^Subject/ HOLD look}}", NULL, NULL, NULL, NULL, "look", NULL, NULL, NULL,
			0},
		{"pcre:{{/^Subject/ DISCARD}}", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1},
		{"pcre:{{/^Subject/ FILTER smtp:[127.0.0.1]:10025}}", NULL, NULL,
			"pcre:{{/first/ REDIRECT a@b.test}, {/second/ BCC c@d.test}}", NULL, NULL,
			"smtp:[127.0.0.1]:10025", "a@b.test", "c@d.test", 0},
		/* What is no action changes nothing. */
		{"pcre:{{/^Subject/ WHAT}, {/zzz/ REJECT}}", NULL, NULL, NULL, NULL, NULL, NULL,
			NULL, NULL, 0},
		{"pcre:{{/^Subject/ REDIRECT}}", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0},
		{"pcre:{{/^Subject/ WARN odd}}", NULL, NULL, "pcre:{{/./ DUNNO}}", NULL, NULL, NULL,
			NULL, NULL, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct content_verdict v;
		struct tables t;
		struct spool spool;
		struct content *c;
		char *after;

		start(&t, cases[i].header, cases[i].mime, cases[i].nested, cases[i].body);
		spool_init(&spool, "/tmp");
		assert_int_equal(spool_add(&spool, str_of(message)), OK);
		assert_int_equal(content_load(&spool, "/tmp", &c), OK);
		assert_int_equal(content_checks_run(&t.checks, c, "ID", &v), OK);
		if ((v.reply == NULL) != (cases[i].reply == NULL) ||
			(v.reply && strcmp(v.reply, cases[i].reply) != 0))
			fail_msg("case %zu: %s", i, v.reply ? v.reply : "taken");
		if (cases[i].hold)
			assert_string_equal(v.hold, cases[i].hold);
		if (cases[i].filter)
			assert_string_equal(v.filter, cases[i].filter);
		if (cases[i].redirect)
			assert_string_equal(v.redirect, cases[i].redirect);
		assert_int_equal(v.bcc_count, cases[i].bcc != NULL);
		if (cases[i].bcc)
			assert_string_equal(v.bcc[0], cases[i].bcc);
		assert_int_equal(v.discard, cases[i].discard);
		after = text_of(c);
		assert_string_equal(after, message);
		free(after);
		content_verdict_free(&v);
		content_free(&c);
		spool_free(&spool);
		stop(&t);
	}
}

static void
changes(void **state)
{
	struct content_verdict v;
	struct tables t;
	struct spool spool, copy;
	struct content *c;
	char *after;

	(void)state;
	start(&t, "pcre:{{/^Subject: (.*)$/m REPLACE Subject: [x] $1}, {/^X-Old/ IGNORE}}",
		"pcre:{{/^Content-Type: multipart/ PREPEND X-Before: yes},"
		" {/^Content-Type: text/ REPLACE Content-Type: text/plain}, {/^X-Old/ STRIP gone}}",
		"pcre:{{/^X-Old/ PREPEND X-New: 2}}",
		"pcre:{{/^first/ REPLACE 1st}, {/^second/ IGNORE}, {/^inner/ PREPEND above}}");
	spool_init(&spool, "/tmp");
	spool_init(&copy, "/tmp");
	assert_int_equal(spool_add(&spool, str_of(message)), OK);
	assert_int_equal(content_load(&spool, "/tmp", &c), OK);
	assert_int_equal(content_checks_run(&t.checks, c, "ID", &v), OK);
	assert_null(v.reply);
	after = text_of(c);
	assert_string_equal(after,
		"Subject: [x] buy\r\n now\r\nX-Before: yes\r\nContent-Type: multipart/mixed; "
		"boundary=b\r\n\r\n"
		"preamble\r\n--b\r\nContent-Type: text/plain\r\n\r\n"
		"1st\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
		"Subject: inner\r\nX-New: 2\r\nX-Old: inner\r\n\r\nabove\r\ninner body\r\n--b--\r\n");
	assert_int_equal(content_store(c, &copy), OK);
	assert_int_equal(copy.size, strlen(after));
	free(after);
	content_verdict_free(&v);
	content_free(&c);
	spool_free(&spool);
	spool_free(&copy);
	stop(&t);
}

static void
table_down(void **state)
{
	struct content_verdict v;
	struct tables t;
	struct spool spool;
	struct content *c;

	(void)state;
	start(&t, "fail:x", NULL, NULL, NULL);
	spool_init(&spool, "/tmp");
	assert_int_equal(spool_add(&spool, str_of(message)), OK);
	assert_int_equal(content_load(&spool, "/tmp", &c), OK);
	assert_int_equal(content_checks_run(&t.checks, c, "ID", &v), E_TEMPFAIL);
	content_verdict_free(&v);
	content_free(&c);
	spool_free(&spool);
	stop(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test(changes),
		cmocka_unit_test(table_down),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
