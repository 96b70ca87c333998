/* SPDX-License-Identifier: MIT */
#include "lib/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"

/* Loads text as a file; the caller frees both. */
static enum err
load(const char *text, struct buf *problems, struct config **out)
{
	char path[] = "/tmp/test-conf-XXXXXX";
	int fd = mkstemp(path);
	enum err e;

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), OK);
	close(fd);
	e = conf_load(path, problems, out);
	unlink(path);
	return e;
}

static void
an_empty_file_runs(void **state)
{
	struct buf problems = {0};
	struct config *conf;

	(void)state;
	assert_int_equal(load("", &problems, &conf), OK);
	assert_string_equal(conf->db, "sqlite");
	assert_int_equal(conf->login_timeout, 60000);
	assert_int_equal(conf->max_message_size, 50 << 20);
	assert_int_equal(conf->mynetworks.count, 2);
	assert_true(*conf->hostname);
	assert_non_null(strstr(conf->mail_dir, conf->state_dir));
	conf_free(&conf);
	assert_null(conf);
}

static void
all_problems_are_told_with_their_lines(void **state)
{
	static const char text[] = "# a comment\n"
				   "hostname = \"mail.example.com\" # another\n"
				   "max_lin = 8K\n"
				   "\n"
				   "imap_max_errors = lots\n"
				   "no_such_thing_at_all = 1\n"
				   "db = mysql\n"
				   "login_timeout = 2w\n";
	static const char *const expected[] = {":3: setting 'max_lin'", "did you mean 'max_line'",
		":5: setting 'imap_max_errors'", ":6: setting 'no_such_thing_at_all'",
		":7: setting 'db'", "sqlite|postgresql", ":8: setting 'login_timeout'", NULL};
	struct buf problems = {0};
	struct config *conf;

	(void)state;
	assert_int_equal(load(text, &problems, &conf), E_PARSE);
	assert_null(conf);
	for (size_t i = 0; expected[i]; i++)
		if (!strstr(buf_cstr(&problems), expected[i]))
			fail_msg("\"%s\" is not in:\n%s", expected[i], buf_cstr(&problems));
	buf_free(&problems);
}

/* A word that does not count would be one that somebody relies on. */
static void
lists_of_fixed_words(void **state)
{
	static const char good[] = "notify_classes = {\"Bounce, delay\", policy}\n"
				   "allow_mail_to_files = \"alias include\"\n"
				   "receive_override_options = {}\n";
	static const char bad[] = "notify_classes = {bounce, dellay, policy}\n"
				  "\n"
				  "reinject_override_options = \"no_milters, no_milter\"\n"
				  "smtp_sasl_security_options = {noplain, noanonym}\n"
				  "allow_mail_to_files = {\n\"nobody\"\n}\n";
	static const char *const expected[] = {
		":1: setting 'notify_classes': \"dellay\" is not one of its words; write some of bounce|",
		":3: setting 'reinject_override_options': \"no_milter\" is not",
		":4: setting 'smtp_sasl_security_options': \"noplain\" is not",
		":4: setting 'smtp_sasl_security_options': \"noanonym\" is not",
		":6: setting 'allow_mail_to_files': \"nobody\" is not", NULL};
	struct buf problems = {0};
	struct config *conf;
	size_t lines = 0;

	(void)state;
	assert_int_equal(load(good, &problems, &conf), OK);
	assert_int_equal(conf->notify_classes.count, 3);
	assert_string_equal(conf->notify_classes.items[0], "bounce");
	assert_string_equal(conf->notify_classes.items[2], "policy");
	assert_int_equal(conf->allow_mail_to_files.count, 2);
	assert_int_equal(conf->receive_override_options.count, 0);
	assert_int_equal(conf_set(conf, "allow_mail_to_files", "alias,forward", NULL), OK);
	assert_int_equal(conf_set(conf, "allow_mail_to_files", "alias nobody", NULL), E_PARSE);
	assert_int_equal(conf->allow_mail_to_files.count, 2);
	conf_free(&conf);
	assert_int_equal(load(bad, &problems, &conf), E_PARSE);
	for (size_t i = 0; expected[i]; i++)
		if (!strstr(buf_cstr(&problems), expected[i]))
			fail_msg("\"%s\" is not in:\n%s", expected[i], buf_cstr(&problems));
	/* Each once. */
	for (size_t i = 0; i < problems.len; i++)
		lines += problems.p[i] == '\n';
	assert_int_equal(lines, 5);
	buf_free(&problems);
}

static void
broken_files(void **state)
{
	static const char *const texts[] = {"hostname", "hostname =", "= x", "hostname = {", "}",
		"hostname = \"x", "listen_imap = {\"a\"", "ticket_key = abc", "\xff\xfe", NULL};

	(void)state;
	for (size_t i = 0; texts[i]; i++) {
		struct buf problems = {0};
		struct config *conf;

		assert_int_equal(load(texts[i], &problems, &conf), E_PARSE);
		assert_true(problems.len > 0);
		assert_null(conf);
		buf_free(&problems);
	}
}

static void
a_missing_file_is_named(void **state)
{
	struct buf problems = {0};
	struct config *conf;

	(void)state;
	assert_int_equal(conf_load("/nonexistent/roost.conf", &problems, &conf), E_NOTFOUND);
	assert_non_null(strstr(buf_cstr(&problems), "/nonexistent/roost.conf"));
	buf_free(&problems);
}

/* What the master hands on arrives unchanged, whatever characters are in it. */
static void
travels_through_a_memfd(void **state)
{
	struct config *conf = conf_defaults("/tmp/x"), *copy;
	static const char odd[] = "a\"b\\c$d#e{f}'g\nh";
	int fd;

	(void)state;
	assert_int_equal(conf_set(conf, "ticket_key", odd, NULL), OK);
	assert_int_equal(conf_set(conf, "listen_imap", "127.0.0.1:1 [::1]:2", NULL), OK);
	assert_int_equal(conf_set(conf, "listen_pop3", "", NULL), OK);
	assert_int_equal(conf_set(conf, "max_line", "9K", NULL), OK);
	assert_int_equal(conf_to_memfd(conf, &fd), OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(conf_load_fd(fd, &copy), OK);
		assert_string_equal(copy->ticket_key, odd);
		assert_int_equal(copy->listen_imap.count, 2);
		assert_string_equal(copy->listen_imap.items[1], "[::1]:2");
		assert_int_equal(copy->listen_pop3.count, 0);
		assert_int_equal(copy->max_line, 9 << 10);
		assert_string_equal(copy->state_dir, "/tmp/x");
		conf_free(&copy);
	}
	close(fd);
	conf_free(&conf);
}

static void
sizes_and_durations(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		int64_t value;
	} sizes[] = {{"0", OK, 0}, {"10", OK, 10}, {"2k", OK, 2048}, {"3M", OK, 3 << 20},
		{"1GB", OK, 1 << 30}, {"1T", OK, 1LL << 40}, {"", E_PARSE, 0}, {"M", E_PARSE, 0},
		{"-1", E_PARSE, 0}, {"1.5M", E_PARSE, 0}, {"99999999999T", E_RANGE, 0}},
	  durations[] = {{"90", OK, 90000}, {"90s", OK, 90000}, {"1h30m", OK, 5400000},
		  {"250ms", OK, 250}, {"2w", OK, 14 * 86400000LL}, {"", E_PARSE, 0},
		  {"s", E_PARSE, 0}, {"5x", E_PARSE, 0}, {"-5s", E_PARSE, 0},
		  {"9999999999999999999w", E_RANGE, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = 0;

		assert_int_equal(conf_parse_size(str_of(sizes[i].text), &n), sizes[i].e);
		assert_int_equal(n, sizes[i].value);
	}
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		int64_t n = 0;

		assert_int_equal(
			conf_parse_duration(str_of(durations[i].text), &n), durations[i].e);
		assert_int_equal(n, durations[i].value);
	}
}

/* The defaults of the table are themselves allowed. */
static void
defaults_are_valid(void **state)
{
	size_t count;
	const struct conf_row *rows = conf_rows(&count);
	struct config *conf = conf_defaults("/tmp/x");

	(void)state;
	for (size_t i = 0; i < count; i++) {
		struct buf why = {0};

		if (conf_set(conf, rows[i].name, rows[i].def, &why) != OK)
			fail_msg("%s = %s: %s", rows[i].name, rows[i].def, buf_cstr(&why));
		assert_true(rows[i].internal || strlen(rows[i].help) > 10);
	}
	conf_free(&conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_runs),
		cmocka_unit_test(all_problems_are_told_with_their_lines),
		cmocka_unit_test(lists_of_fixed_words),
		cmocka_unit_test(broken_files),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(travels_through_a_memfd),
		cmocka_unit_test(sizes_and_durations),
		cmocka_unit_test(defaults_are_valid),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
