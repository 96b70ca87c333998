/* SPDX-License-Identifier: MIT */
/* The parts of the master that need no processes: settings for daemons, certificate, sockets. */
#include "master/master.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "master/setup.h"

static struct config *
make_conf(char *dir)
{
	struct buf why = {0};
	struct config *conf;

	assert_non_null(mkdtemp(dir));
	conf = conf_defaults(dir);
	conf_set(conf, "user", "", NULL);
	conf_set(conf, "mail_user", "", NULL);
	conf_set(conf, "hostname", "mail.example.test", NULL);
	/* No ports of the machine's own. */
	for (size_t i = 0; i < daemon_def_count; i++)
		for (const struct daemon_tcp *t = daemon_defs[i].tcp; t->name; t++)
			assert_int_equal(conf_set(conf, t->setting, "", NULL), OK);
	assert_int_equal(setup_directories(conf, &why), OK);
	assert_int_equal(why.len, 0);
	return conf;
}

static void
remove_all(const char *dir)
{
	char *command = mem_printf("rm -rf '%s'", dir);

	assert_int_equal(system(command), 0);
	free(command);
}

static const struct daemon_def *
def_of(const char *name)
{
	for (size_t i = 0; i < daemon_def_count; i++)
		if (strcmp(daemon_defs[i].name, name) == 0)
			return &daemon_defs[i];
	fail_msg("no daemon %s", name);
	return NULL;
}

/* Whether the rows of metrics have it as a value of the label "daemon". */
static int
is_metrics_daemon(const char *name)
{
	size_t count;
	struct str values = str_of(metrics_rows(&count)[METRIC_DAEMON_PROCESSES].labels);

	str_split(&values, '=');
	while (values.len)
		if (str_equal(str_split(&values, '|'), str_of(name)))
			return 1;
	return 0;
}

/* Every row is whole, and every listener's setting is known. */
static void
test_table(void **state)
{
	struct config *conf = conf_defaults("/nonexistent");
	(void)state;

	/* What is off when nothing is said. */
	assert_int_equal(conf_set(conf, "local_domains", "mail.example.test", NULL), OK);
	assert_int_equal(conf_set(conf, "listen_reinject", "127.0.0.1:10025", NULL), OK);
	for (size_t i = 0; i < daemon_def_count; i++) {
		const struct daemon_def *d = &daemon_defs[i];
		assert_non_null(d->name);
		assert_non_null(d->program);
		assert_in_range(daemon_wanted(d, conf), 1, 64);
		assert_true(is_metrics_daemon(d->name));
		for (const struct daemon_tcp *t = d->tcp; t->name; t++)
			assert_true(daemon_addresses(t, conf)->count > 0);
		for (const struct daemon_unix *u = d->unix_; u->name; u++)
			assert_true(u->mode == 0600 || strcmp(u->name, "sendmail") == 0);
	}
	conf_free(&conf);
}

static void
test_secrets_go_where_they_belong(void **state)
{
	static const struct {
		const char *daemon;
		int ticket, database, tls, sleep;
	} table[] = {{"auth", 1, 1, 0, 0}, {"index", 1, 0, 0, 0}, {"proxy", 0, 0, 1, 0},
		{"imap", 0, 0, 0, 1}, {"idle", 0, 0, 0, 0}, {"pop3", 0, 0, 0, 0},
		{"lmtp", 0, 0, 0, 0}, {"smtpd", 0, 0, 0, 0}, {"qmgr", 0, 0, 0, 0},
		{"smtp", 0, 0, 0, 0}, {"lmtp-client", 0, 0, 0, 0}, {"local", 0, 0, 0, 0},
		{"local-run", 0, 0, 0, 0}, {"metrics", 0, 0, 0, 0}, {"fts", 0, 0, 0, 0}};
	struct config *conf = conf_defaults("/nonexistent");
	(void)state;

	assert_int_equal(daemon_def_count, sizeof table / sizeof *table);
	setup_secret(&conf->ticket_key);
	setup_secret(&conf->tls_ticket_key);
	setup_secret(&conf->imap_sleep_key);
	setup_secret(&conf->proxy_return_key);
	setup_secret(&conf->tls_key_pem);
	assert_int_equal(conf_set(conf, "postgresql", "password=x", NULL), OK);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct config *seen;
		int fd;

		assert_int_equal(child_settings_fd(conf, def_of(table[i].daemon), &fd), OK);
		assert_int_equal(conf_load_fd(fd, &seen), OK);
		assert_int_equal(seen->ticket_key[0] != '\0', table[i].ticket);
		assert_int_equal(seen->postgresql[0] != '\0', table[i].database);
		assert_int_equal(seen->tls_key_pem[0] != '\0', table[i].tls);
		assert_int_equal(seen->imap_sleep_key[0] != '\0', table[i].sleep);
		assert_int_equal(seen->tls_ticket_key[0] != '\0', table[i].tls);
		assert_int_equal(seen->proxy_return_key[0] != '\0', table[i].tls);
		close(fd);
		conf_free(&seen);
	}
	conf_free(&conf);
}

static void
test_certificate(void **state)
{
	char dir[] = "/tmp/roost-test-XXXXXX";
	struct config *conf = make_conf(dir);
	struct buf problems = {0};
	char *key = mem_printf("%s/tls/key.pem", dir);
	struct stat st;
	(void)state;

	/* Looking only makes nothing. */
	assert_int_equal(cert_load(conf, 0, &problems), OK);
	assert_string_equal(conf->tls_cert_pem, "");
	assert_int_equal(cert_load(conf, 1, &problems), OK);
	assert_non_null(strstr(conf->tls_cert_pem, "BEGIN CERTIFICATE"));
	assert_non_null(strstr(conf->tls_key_pem, "PRIVATE KEY"));
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* The next start finds the same. */
	char *first = mem_strdup(conf->tls_cert_pem);
	assert_int_equal(cert_load(conf, 1, &problems), OK);
	assert_string_equal(conf->tls_cert_pem, first);
	assert_int_equal(problems.len, 0);
	/* One that is not ours and not there. */
	assert_int_equal(conf_set(conf, "tls_cert", "/nonexistent/cert.pem", NULL), OK);
	assert_int_not_equal(cert_load(conf, 1, &problems), OK);
	assert_non_null(strstr(buf_cstr(&problems), "/nonexistent/cert.pem"));
	/* One that is no certificate. */
	buf_reset(&problems);
	assert_int_equal(conf_set(conf, "tls_cert", key, NULL), OK);
	assert_int_not_equal(cert_load(conf, 1, &problems), OK);
	assert_true(problems.len > 0);
	buf_free(&problems);
	free(first);
	free(key);
	conf_free(&conf);
	remove_all(dir);
}

static void
test_lock(void **state)
{
	char dir[] = "/tmp/roost-test-XXXXXX";
	struct config *conf = make_conf(dir);
	struct buf problems = {0};
	int first, second;
	(void)state;

	assert_int_equal(setup_lock(conf, &first, &problems), OK);
	assert_int_equal(setup_lock(conf, &second, &problems), E_CONFLICT);
	assert_int_equal(second, -1);
	assert_true(problems.len > 0);
	close(first);
	assert_int_equal(setup_lock(conf, &second, &problems), OK);
	close(second);
	buf_free(&problems);
	conf_free(&conf);
	remove_all(dir);
}

static void
test_listeners(void **state)
{
	char dir[] = "/tmp/roost-test-XXXXXX";
	struct config *conf = make_conf(dir);
	struct listeners first, second, none;
	struct buf problems = {0};
	char *path = mem_printf("%s/run/auth-login", dir);
	struct stat before, after;
	(void)state;

	assert_int_equal(listeners_open(conf, NULL, &first, &problems), OK);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0600);
	/* A port more: all else stays the same socket. */
	char *extra = mem_printf("%s/extra.sock", dir);
	assert_int_equal(conf_set(conf, "listen_imap", extra, NULL), OK);
	assert_int_equal(listeners_open(conf, &first, &second, &problems), OK);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_true(listeners_same(&first, &second, def_of("auth")));
	assert_false(listeners_same(&first, &second, def_of("proxy")));
	/* What cannot be bound leaves nothing open, and every such address is told. */
	assert_int_equal(conf_set(conf, "listen_imap", "nonsense 999.1.1.1:1", NULL), OK);
	assert_int_not_equal(listeners_open(conf, &second, &none, &problems), OK);
	assert_int_equal(none.count, 0);
	assert_non_null(strstr(buf_cstr(&problems), "nonsense"));
	assert_non_null(strstr(buf_cstr(&problems), "999.1.1.1:1"));
	listeners_unlink(&second);
	assert_int_not_equal(stat(path, &after), 0);
	listeners_close(&first);
	listeners_close(&second);
	buf_free(&problems);
	free(extra);
	free(path);
	conf_free(&conf);
	remove_all(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_secrets_go_where_they_belong),
		cmocka_unit_test(test_certificate),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_listeners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
