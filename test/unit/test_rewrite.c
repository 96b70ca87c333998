/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lib/log.h"
#include "mta-lite/rewrite.h"

/* Addresses and what the tables make of them. */

struct setup {
	struct config *conf;
	struct maps *maps;
	struct rewrite *r;
};

static void
start(struct setup *s, const char *const settings[][2])
{
	size_t i;

	memset(s, 0, sizeof(*s));
	s->conf = conf_defaults("/tmp");
	assert_int_equal(conf_set(s->conf, "hostname", "mx.example.test", NULL), OK);
	for (i = 0; settings[i][0]; i++)
		assert_int_equal(conf_set(s->conf, settings[i][0], settings[i][1], NULL), OK);
	s->maps = maps_create(s->conf);
	assert_int_equal(rewrite_open(s->conf, s->maps, &s->r), OK);
}

static void
stop(struct setup *s)
{
	rewrite_close(&s->r);
	maps_free(&s->maps);
	conf_free(&s->conf);
}

static void
envelope(void **state)
{
	static const char *const settings[][2] = {
		{"canonical_maps",
			"inline:{a@x.test=b@y.test, b@y.test=c@z.test, @old.test=@new.test, "
			"short@x.test=user, self@x.test=self@x.test, one@l.test=two@l.test, two@l.test=one@l.test}"},
		{"sender_canonical_maps", "inline:{s@x.test=sender@x.test}"},
		{"masquerade_domains", "!keep.m.test m.test"},
		{"masquerade_exceptions", "root"},
		{NULL, NULL},
	};
	static const struct {
		enum rewrite_class c;
		const char *in, *out;
	} cases[] = {
		{REWRITE_SENDER, "", ""},
		{REWRITE_SENDER, "a@x.test", "c@z.test"},
		{REWRITE_RECIPIENT, "a+ext@x.test", "c+ext@z.test"},
		{REWRITE_RECIPIENT, "any@old.test", "any@new.test"},
		{REWRITE_RECIPIENT, "short@x.test", "user@mx.example.test"},
		{REWRITE_RECIPIENT, "self@x.test", "self@x.test"},
		{REWRITE_RECIPIENT, "other@x.test", "other@x.test"},
		{REWRITE_SENDER, "s@x.test", "sender@x.test"},
		{REWRITE_RECIPIENT, "s@x.test", "s@x.test"},
		{REWRITE_SENDER, "u@host.m.test", "u@m.test"},
		{REWRITE_SENDER, "u@m.test", "u@m.test"},
		{REWRITE_SENDER, "u@a.keep.m.test", "u@a.keep.m.test"},
		{REWRITE_SENDER, "u@notm.test", "u@notm.test"},
		{REWRITE_SENDER, "root@host.m.test", "root@host.m.test"},
		{REWRITE_RECIPIENT, "u@host.m.test", "u@host.m.test"},
	};
	struct buf out = {0};
	struct setup s;
	size_t i;

	(void)state;
	start(&s, settings);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(rewrite_envelope(s.r, cases[i].c, str_of(cases[i].in), &out), OK);
		assert_string_equal(buf_cstr(&out), cases[i].out);
	}
	assert_int_equal(rewrite_envelope(s.r, REWRITE_SENDER, STR("one@l.test"), &out), E_TOOBIG);
	buf_free(&out);
	stop(&s);
}

static void
virtual_aliases(void **state)
{
	static const char *const settings[][2] = {
		{"virtual_alias_maps",
			"inline:{ {list@x.test = a@x.test, b@x.test,  more@x.test}, {more@x.test = c@x.test, a@x.test},"
			" {own@x.test = own@x.test, d@x.test}, {@all.test = @x.test}, {loop1@x.test = loop2@x.test},"
			" {loop2@x.test = loop1@x.test}, {ext@x.test = target@y.test} }"},
		{NULL, NULL},
	};
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"list@x.test", "a@x.test b@x.test c@x.test "},
		{"LIST@X.test", "a@x.test b@x.test c@x.test "},
		{"own@x.test", "own@x.test d@x.test "},
		{"u@all.test", "u@x.test "},
		{"list@all.test", "a@x.test b@x.test c@x.test "},
		{"ext+tag@x.test", "target+tag@y.test "},
	};
	struct rewrite_list list;
	struct setup s;
	size_t i, k;

	(void)state;
	start(&s, settings);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(rewrite_virtual(s.r, str_of(cases[i].in), &list), OK);
		for (k = 0; k < list.text.len; k++) {
			if (list.text.p[k] == '\0')
				list.text.p[k] = ' ';
		}
		assert_string_equal(buf_cstr(&list.text), cases[i].out);
		rewrite_list_free(&list);
	}
	assert_int_equal(rewrite_virtual(s.r, STR("nobody@x.test"), &list), E_NOTFOUND);
	assert_int_equal(rewrite_virtual(s.r, STR("loop1@x.test"), &list), E_TOOBIG);
	stop(&s);
}

static void
others(void **state)
{
	static const char *const settings[][2] = {
		{"relocated_maps", "inline:{ {gone@x.test = here@y.test} }"},
		{"sender_bcc_maps", "inline:{ {a@x.test = copy@x.test} }"},
		{"recipient_bcc_maps", "fail:x"},
		{NULL, NULL},
	};
	struct buf out = {0};
	struct setup s;

	(void)state;
	start(&s, settings);
	assert_int_equal(rewrite_relocated(s.r, STR("gone@x.test"), &out), OK);
	assert_string_equal(buf_cstr(&out), "here@y.test");
	assert_int_equal(rewrite_relocated(s.r, STR("here@x.test"), &out), E_NOTFOUND);
	assert_int_equal(rewrite_bcc(s.r, REWRITE_SENDER, STR("a@x.test"), &out), OK);
	assert_string_equal(buf_cstr(&out), "copy@x.test");
	/* A table that cannot be asked is no answer. */
	assert_int_equal(rewrite_bcc(s.r, REWRITE_RECIPIENT, STR("a@x.test"), &out), E_TEMPFAIL);
	buf_free(&out);
	stop(&s);
}

static void
spans(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{" a@x.test", "a@x.test|"},
		{" Alice <a@x.test>, b@y.test (Bob <no@z.test>)", "a@x.test|b@y.test|"},
		{" \"x@y.test\" <a@x.test>", "a@x.test|"},
		{" group: a@x.test, b@x.test;", "a@x.test|b@x.test|"},
		{" \"odd, one\"@x.test", "\"odd, one\"@x.test|"},
		{" a@[192.0.2.1]", "a@[192.0.2.1]|"},
		{" (nested (c@d.test) e) f@g.test", "f@g.test|"},
		{" \"never closed a@x.test", ""},
		{" (never closed a@x.test", ""},
		{" @x.test, plain, a\\", ""},
		{"", ""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf found = {0};
		struct rewrite_span span;
		size_t pos = 0;

		while (rewrite_next_address(str_of(cases[i].in), &pos, &span)) {
			buf_add(&found, cases[i].in + span.offset, span.len);
			buf_add_char(&found, '|');
		}
		assert_string_equal(buf_cstr(&found), cases[i].out);
		buf_free(&found);
	}
}

static void
headers(void **state)
{
	static const char *const settings[][2] = {
		{"canonical_maps", "inline:{a@x.test=new.name@x.test}"},
		{"recipient_canonical_maps", "inline:{r@x.test=rcpt@x.test}"},
		{"masquerade_domains", "m.test"},
		{NULL, NULL},
	};
	static const char in[] =
		"From: \"a@x.test\" <a@x.test>\r\nTo: r@x.test,\r\n\tA <a@x.test>\r\n"
		"Resent-Cc: u@h.m.test\r\nSubject: a@x.test\r\nSender: r@x.test\r\n\r\na@x.test\r\n";
	static const char out[] =
		"From: \"a@x.test\" <new.name@x.test>\r\nTo: rcpt@x.test,\r\n\tA <new.name@x.test>\r\n"
		"Resent-Cc: u@m.test\r\nSubject: a@x.test\r\nSender: r@x.test\r\n\r\na@x.test\r\n";
	char bytes[1024];
	struct spool spool;
	struct content *c;
	struct setup s;
	struct buf all = {0};
	struct str piece;

	(void)state;
	start(&s, settings);
	assert_true(rewrite_changes_header(s.r));
	spool_init(&spool, "/tmp");
	assert_int_equal(spool_add(&spool, str_of(in)), OK);
	assert_int_equal(content_load(&spool, "/tmp", &c), OK);
	assert_int_equal(rewrite_header(s.r, c), OK);
	while (content_read(c, all.len, bytes, sizeof(bytes), &piece) == OK && piece.len > 0)
		buf_add_str(&all, piece);
	assert_string_equal(buf_cstr(&all), out);
	buf_free(&all);
	content_free(&c);
	spool_free(&spool);
	stop(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(envelope),
		cmocka_unit_test(virtual_aliases),
		cmocka_unit_test(others),
		cmocka_unit_test(spans),
		cmocka_unit_test(headers),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
