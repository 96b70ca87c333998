/* SPDX-License-Identifier: MIT */
#include "auth/directory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/directory_db.h"
#include "auth/resolve.h"
#include "auth/verify.h"
#include "lib/io.h"
#include "lib/mem.h"

/*
 * The directory and what is made of it, on SQLite and, where PostgreSQL's programs are installed or
 * PG_TEST_DSN names a database, on a real PostgreSQL too.
 */
#define PG_BIN "/usr/lib/postgresql/15/bin"

struct fixture {
	char dir[64];
	char *dsn; /* NULL: SQLite */
	int own_cluster;
	struct config *conf;
	struct auth_settings *settings;
	struct directory_health *health;
	struct directory *d;
};

static struct fixture fx;

__attribute__((format(printf, 1, 2))) static int
shell(const char *fmt, ...)
{
	struct buf b = {0};
	va_list ap;
	int rc;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	rc = system(buf_cstr(&b));
	buf_free(&b);
	return rc;
}

static const char *
as_postgres(void)
{
	return geteuid() == 0 ? "runuser -u postgres --" : "";
}

static int
cluster_start(void)
{
	return shell(
		"%s %s/pg_ctl -D %s/pg -l %s/log -w -o \"-k %s -h '' -F\" start >/dev/null 2>&1",
		as_postgres(), PG_BIN, fx.dir, fx.dir, fx.dir);
}

static int
cluster_stop(void)
{
	return shell("%s %s/pg_ctl -D %s/pg -m immediate -w stop >/dev/null 2>&1", as_postgres(),
		PG_BIN, fx.dir);
}

static int
cluster_create(void)
{
	if (access(PG_BIN "/initdb", X_OK) != 0)
		return -1;
	if (geteuid() == 0 && shell("chown postgres %s 2>/dev/null", fx.dir))
		return -1;
	if (shell("cd / && %s %s/initdb -D %s/pg -A trust -U roost --no-sync -E UTF8 >/dev/null 2>&1",
		    as_postgres(), PG_BIN, fx.dir) ||
		cluster_start())
		return -1;
	fx.own_cluster = 1;
	fx.dsn = mem_printf("host=%s user=roost dbname=postgres", fx.dir);
	return 0;
}

static void
run(enum directory_statement id, const struct directory_args *args, uint64_t affected)
{
	struct db_result r;

	assert_int_equal(directory_run(fx.d, id, args, &r), OK);
	assert_int_equal(r.affected, affected);
	db_result_free(&r);
}

static void
add_domain(const char *name)
{
	struct directory_args a = {.v = {[ARG_DOMAIN] = name, [ARG_NOW] = "1"}};

	run(SQL_DOMAIN_ADD, &a, 1);
}

static void
add_user(const char *local, const char *domain, const char *quota, const char *active)
{
	struct directory_args a = {.v = {[ARG_LOCAL] = local,
					   [ARG_DOMAIN] = domain,
					   [ARG_PASSWORD] = "{PLAIN}secret",
					   [ARG_QUOTA] = quota,
					   [ARG_NAME] = "",
					   [ARG_NOW] = "1"}};

	run(SQL_USER_ADD, &a, 1);
	a.v[ARG_PASSWORD] = NULL;
	a.v[ARG_NAME] = NULL;
	a.v[ARG_FORCE] = "0";
	a.v[ARG_ACTIVE] = active;
	run(SQL_USER_SET, &a, 1);
}

static void
add_alias(const char *local, const char *domain, const char *target)
{
	struct directory_args a = {.v = {[ARG_LOCAL] = local,
					   [ARG_DOMAIN] = domain,
					   [ARG_TARGET] = target,
					   [ARG_NOW] = "1"}};

	run(SQL_ALIAS_ADD, &a, 1);
}

static void
add_domain_alias(const char *alias, const char *target)
{
	struct directory_args a = {
		.v = {[ARG_DOMAIN] = alias, [ARG_TARGET] = target, [ARG_NOW] = "1"}};

	run(SQL_DOMAIN_ALIAS_ADD, &a, 1);
}

static void
populate(void)
{
	struct directory_args off = {
		.v = {[ARG_DOMAIN] = "off.test", [ARG_ACTIVE] = "0", [ARG_NOW] = "2"}};
	char name[16], next[32];

	add_domain("example.test");
	add_domain("catch.test");
	add_domain("off.test");
	add_domain("mail.test");
	run(SQL_DOMAIN_SET, &off, 1);
	add_user("alice", "example.test", "1000", "1");
	add_user("bob", "example.test", NULL, "1");
	add_user("o'brien", "example.test", NULL, "1");
	add_user("gone", "example.test", NULL, "0");
	add_user("x", "off.test", NULL, "1");
	add_user("root", "mail.test", NULL, "1");
	add_alias("both", "example.test", "alice@example.test");
	add_alias("both", "example.test", "Bob@example.test");
	add_alias("both", "example.test", "bob@EXAMPLE.test");
	add_alias("both", "example.test", "Someone@elsewhere.example");
	add_alias("keep", "example.test", "both@example.test");
	add_alias("bob", "catch.test", "bob+Lists@example.test");
	add_alias("", "catch.test", "alice@example.test");
	add_alias("loop1", "example.test", "loop2@example.test");
	add_alias("loop2", "example.test", "loop1@example.test");
	add_alias("dead", "example.test", "nobody@example.test");
	add_alias("half", "example.test", "nobody@example.test");
	add_alias("half", "example.test", "alice@example.test");
	add_alias("bad", "example.test", "not an address");
	add_alias("postmaster", "mail.test", "root@mail.test");
	/* An alias beside the mailbox: a copy for bob. */
	add_alias("root", "mail.test", "root@mail.test");
	add_alias("root", "mail.test", "bob@example.test");
	add_domain_alias("alias.test", "example.test");
	for (int i = 1; i <= 20; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		snprintf(next, sizeof(next), i == 20 ? "alice@example.test" : "n%d@example.test",
			i + 1);
		add_alias(name, "example.test", next);
	}
}

static void
settings_make(void)
{
	fx.conf = conf_defaults(fx.dir);
	assert_int_equal(conf_set(fx.conf, "hostname", "mail.test", NULL), OK);
	assert_int_equal(conf_set(fx.conf, "db_timeout", "2s", NULL), OK);
	assert_int_equal(conf_set(fx.conf, "password_scheme", "PLAIN", NULL), OK);
	if (fx.dsn) {
		assert_int_equal(conf_set(fx.conf, "db", "postgresql", NULL), OK);
		assert_int_equal(conf_set(fx.conf, "postgresql", fx.dsn, NULL), OK);
	}
	fx.settings = auth_settings_create(fx.conf);
	fx.health = directory_health_create();
	fx.d = directory_create(fx.settings, fx.health);
}

static int
setup_sqlite(void **state)
{
	(void)state;
	memset(&fx, 0, sizeof(fx));
	snprintf(fx.dir, sizeof(fx.dir), "/tmp/roost-test-XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	shell("mkdir %s/db", fx.dir);
	settings_make();
	populate();
	return 0;
}

static int
setup_postgresql(void **state)
{
	const char *dsn = getenv("PG_TEST_DSN");

	(void)state;
	memset(&fx, 0, sizeof(fx));
	snprintf(fx.dir, sizeof(fx.dir), "/tmp/roost-test-XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	if (dsn)
		fx.dsn = mem_strdup(dsn);
	else if (cluster_create())
		return 0;
	settings_make();
	populate();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	directory_free(&fx.d);
	directory_health_free(&fx.health);
	auth_settings_unref(&fx.settings);
	conf_free(&fx.conf);
	if (fx.own_cluster)
		cluster_stop();
	free(fx.dsn);
	return shell("rm -rf %s", fx.dir);
}

static void
need_database(void)
{
	if (!fx.d)
		skip();
}

/* ---- resolution ---- */

static void
resolution(void **state)
{
	static const struct {
		const char *in;
		enum auth_rcpt_kind kind;
		const char *targets; /* sorted as they come; "*" in front: not local */
		const char *mailbox, *detail;
	} rows[] = {
		{"alice@example.test", AUTH_RCPT_MAILBOX, "alice@example.test ",
			"alice@example.test", ""},
		{"ALICE@Example.TEST", AUTH_RCPT_MAILBOX, "alice@example.test ",
			"alice@example.test", ""},
		{"alice+Work@example.test", AUTH_RCPT_MAILBOX, "alice+Work@example.test ",
			"alice@example.test", "Work"},
		{"alice@alias.test", AUTH_RCPT_MAILBOX, "alice@example.test ", "alice@example.test",
			""},
		{"alice+a@alias.test", AUTH_RCPT_MAILBOX, "alice+a@example.test ",
			"alice@example.test", "a"},
		{"o'brien@example.test", AUTH_RCPT_MAILBOX, "o'brien@example.test ",
			"o'brien@example.test", ""},
		{"both@example.test", AUTH_RCPT_ALIAS,
			"bob@example.test *Someone@elsewhere.example alice@example.test ", NULL,
			NULL},
		{"both@alias.test", AUTH_RCPT_ALIAS,
			"bob@example.test *Someone@elsewhere.example alice@example.test ", NULL,
			NULL},
		{"keep@example.test", AUTH_RCPT_ALIAS,
			"bob@example.test *Someone@elsewhere.example alice@example.test ", NULL,
			NULL},
		{"both+x@example.test", AUTH_RCPT_ALIAS,
			"bob@example.test *Someone@elsewhere.example alice@example.test ", NULL,
			NULL},
		{"bob@catch.test", AUTH_RCPT_ALIAS, "bob+Lists@example.test ", NULL, NULL},
		{"anybody@catch.test", AUTH_RCPT_ALIAS, "alice@example.test ", NULL, NULL},
		{"root@mail.test", AUTH_RCPT_ALIAS, "bob@example.test root@mail.test ", NULL, NULL},
		{"nobody@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"nobody@alias.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"a/b@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"\"../alice\"@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"gone@example.test", AUTH_RCPT_DISABLED, "", NULL, NULL},
		{"x@off.test", AUTH_RCPT_DISABLED, "", NULL, NULL},
		{"who@elsewhere.example", AUTH_RCPT_REMOTE, "", NULL, NULL},
		{"who@sub.example.test", AUTH_RCPT_REMOTE, "", NULL, NULL},
		{"who@[127.0.0.1]", AUTH_RCPT_REMOTE, "", NULL, NULL},
		{"loop1@example.test", AUTH_RCPT_LOOP, "", NULL, NULL},
		{"loop2@alias.test", AUTH_RCPT_LOOP, "", NULL, NULL},
		{"n1@example.test", AUTH_RCPT_LOOP, "", NULL, NULL},
		{"n4@example.test", AUTH_RCPT_LOOP, "", NULL, NULL},
		{"n5@example.test", AUTH_RCPT_ALIAS, "alice@example.test ", NULL, NULL},
		{"dead@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"bad@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"half@example.test", AUTH_RCPT_ALIAS, "alice@example.test nobody@example.test ",
			NULL, NULL},
		{"postmaster", AUTH_RCPT_ALIAS, "bob@example.test root@mail.test ", NULL, NULL},
		{"Postmaster@example.test", AUTH_RCPT_ALIAS, "bob@example.test root@mail.test ",
			NULL, NULL},
		{"abuse@example.test", AUTH_RCPT_ALIAS, "bob@example.test root@mail.test ", NULL,
			NULL},
		{"postmaster@elsewhere.example", AUTH_RCPT_REMOTE, "", NULL, NULL},
		/* What must never become SQL. */
		{"'or'1'='1@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"\"' OR 1=1 --\"@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"\"x'; DROP TABLE mailbox; --\"@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"\"\\\\' UNION SELECT password\"@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"%@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"_lice@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
		{"$1@example.test", AUTH_RCPT_UNKNOWN, "", NULL, NULL},
	};

	(void)state;
	need_database();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct auth_rcpt r;
		struct buf got = {0};

		assert_int_equal(resolve_rcpt(fx.d, str_of(rows[i].in), &r), OK);
		for (size_t k = 0; k < r.target_count; k++)
			buf_printf(
				&got, "%s%s ", r.targets[k].local ? "" : "*", r.targets[k].address);
		/* The order of targets is the database's collation. */
		if (r.kind != rows[i].kind || got.len != strlen(rows[i].targets))
			fail_msg("%s: kind %d, targets %s", rows[i].in, r.kind, buf_cstr(&got));
		for (size_t k = 0; k < r.target_count; k++)
			assert_non_null(strstr(rows[i].targets, r.targets[k].address));
		if (rows[i].mailbox) {
			assert_string_equal(r.mailbox, rows[i].mailbox);
			assert_string_equal(r.detail, rows[i].detail);
		}
		buf_free(&got);
		auth_rcpt_free(&r);
	}
}

static void
resolution_of_nonsense(void **state)
{
	static const char *const rows[] = {"", "@", "alice", "a@", "@example.test",
		"a b@example.test", "a\nb@example.test", "\xff@example.test",
		"<alice@example.test>"};
	struct auth_rcpt r;

	(void)state;
	need_database();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(resolve_rcpt(fx.d, str_of(rows[i]), &r), E_PARSE);
}

static void
senders(void **state)
{
	static const struct {
		const char *user, *address;
		enum err want;
	} rows[] = {
		{"alice@example.test", "alice@example.test", OK},
		{"alice@example.test", "Alice+news@Example.test", OK},
		{"alice@example.test", "alice@alias.test", OK},
		{"alice@example.test", "both@example.test", OK},
		{"alice@example.test", "keep@alias.test", OK},
		{"alice@example.test", "anything@catch.test", OK},
		{"bob@example.test", "bob@catch.test", OK},
		{"bob@example.test", "postmaster@example.test", OK},
		{"alice@example.test", "bob@example.test", E_ACCESS},
		{"alice@example.test", "bob@catch.test", E_ACCESS},
		{"alice@example.test", "Someone@elsewhere.example", E_ACCESS},
		{"alice@example.test", "nobody@example.test", E_ACCESS},
		{"alice@example.test", "loop1@example.test", E_ACCESS},
		{"gone@example.test", "gone@example.test", E_ACCESS},
		{"alice@example.test", "", E_PARSE},
		{"alice", "alice@example.test", E_PARSE},
	};

	(void)state;
	need_database();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (resolve_may_send_as(fx.d, rows[i].user, str_of(rows[i].address)) !=
			rows[i].want)
			fail_msg("%s as %s", rows[i].user, rows[i].address);
}

/* ---- users ---- */

static void
users(void **state)
{
	struct directory_user u;
	char detail[ADDR_LOCAL_MAX + 1];

	(void)state;
	need_database();
	assert_int_equal(resolve_user(fx.d, STR("Alice+X@alias.test"), &u, detail), OK);
	assert_string_equal(u.addr.text, "alice@example.test");
	assert_string_equal(detail, "X");
	assert_int_equal(u.quota_bytes, 1000);
	directory_user_free(&u);
	assert_int_equal(resolve_user(fx.d, STR("gone@example.test"), &u, detail), E_ACCESS);
	directory_user_free(&u);
	assert_int_equal(resolve_user(fx.d, STR("x@off.test"), &u, detail), E_ACCESS);
	directory_user_free(&u);
	assert_int_equal(resolve_user(fx.d, STR("both@example.test"), &u, detail), E_NOTFOUND);
	assert_int_equal(resolve_user(fx.d, STR("a@elsewhere.example"), &u, detail), E_NOTFOUND);
	assert_int_equal(resolve_user(fx.d, STR("a"), &u, detail), E_PARSE);
}

static void
keys(void **state)
{
	struct directory_args a = {.v = {[ARG_LOCAL] = "alice",
					   [ARG_DOMAIN] = "example.test",
					   [ARG_PASSWORD] = "x",
					   [ARG_NAME] = "",
					   [ARG_NOW] = "1"}};
	struct db_result r;

	(void)state;
	need_database();
	assert_int_equal(directory_run(fx.d, SQL_USER_ADD, &a, &r), E_EXISTS);
	db_result_free(&r);
	a.v[ARG_DOMAIN] = "no.test";
	assert_int_equal(directory_run(fx.d, SQL_USER_ADD, &a, &r), E_CONFLICT);
	db_result_free(&r);
	/* A domain with users stays, unless forced. */
	a.v[ARG_DOMAIN] = "example.test";
	a.v[ARG_FORCE] = "0";
	run(SQL_DOMAIN_REMOVE, &a, 0);
	assert_int_equal(directory_run(fx.d, SQL_USER_LIST,
				 &(struct directory_args){.v = {[ARG_LIMIT] = "3"}}, &r),
		OK);
	assert_int_equal(r.rows, 3);
	assert_string_equal(db_result_get(&r, 0, "local"), "alice");
	db_result_free(&r);
}

static void
logins(void **state)
{
	static const struct {
		const char *user, *password;
		enum err want;
	} rows[] = {
		{"alice@example.test", "secret", OK},
		{"alice@example.test", "secret", OK},
		{"ALICE@example.test", "secret", OK},
		{"alice@alias.test", "secret", OK},
		{"alice@example.test", "wrong", E_AUTH},
		{"alice@example.test", "", E_AUTH},
		{"alice+x@example.test", "secret", E_AUTH},
		{"both@example.test", "secret", E_AUTH},
		{"nobody@example.test", "secret", E_AUTH},
		{"alice", "secret", E_AUTH},
		{"", "secret", E_AUTH},
		{"\xff", "secret", E_AUTH},
		{"' OR '1'='1", "secret", E_AUTH},
		{"gone@example.test", "secret", E_ACCESS},
		{"gone@example.test", "wrong", E_AUTH},
		{"x@off.test", "secret", E_ACCESS},
	};
	struct cache *cache = cache_create(60000);
	struct net_addr addr = {0};
	struct verify_from from = {.service = "imap", .addr = &addr};
	struct cache_user u;
	const char *reason;

	(void)state;
	need_database();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (verify_login(fx.d, cache, rows[i].user, str_of(rows[i].password), &from, &u,
			    &reason) != rows[i].want)
			fail_msg("%s", rows[i].user);
	assert_int_equal(
		verify_login(fx.d, cache, "alice@alias.test", STR("secret"), &from, &u, &reason),
		OK);
	assert_string_equal(reason, "cache");
	assert_string_equal(u.name, "alice@example.test");
	cache_free(&cache);
}

/* An administrator's own tables. */
static void
replaced_queries(void **state)
{
	struct auth_settings *s;
	struct directory *d;
	struct directory_user u;
	struct directory_targets t;
	struct addr a;
	char *why = NULL;
	int active;

	(void)state;
	need_database();
	conf_set(fx.conf, "query_user",
		"SELECT 'x:' || :local AS password, '-1' AS quota_bytes, 't' AS active WHERE "
		":address = 'carol@own.test'",
		NULL);
	conf_set(fx.conf, "query_alias",
		"SELECT 'a@own.test, \"b,c\"@own.test,, d@own.test' AS target "
		"WHERE :address = 'list@own.test'",
		NULL);
	conf_set(fx.conf, "query_domain", "SELECT 1 AS active WHERE :domain = 'own.test'", NULL);
	s = auth_settings_create(fx.conf);
	assert_int_equal(directory_check_queries(s, &why), OK);
	d = directory_create(s, fx.health);
	/* Nothing is written into tables that are not ours. */
	assert_true(directory_has(d, SQL_USER_FIND));
	assert_false(directory_has(d, SQL_LOGIN_NOTE) || directory_has(d, SQL_PASSWORD_REHASH) ||
		     directory_has(d, SQL_APP_PASSWORD_LIST) ||
		     directory_has(d, SQL_APP_PASSWORD_ADD));
	assert_int_equal(addr_parse(STR("carol@own.test"), &a), OK);
	assert_int_equal(directory_user_find(d, &a, &u), OK);
	assert_string_equal(u.password, "x:carol");
	assert_int_equal(u.quota_bytes, 0);
	assert_true(u.active);
	directory_user_free(&u);
	assert_int_equal(addr_parse(STR("list@own.test"), &a), OK);
	assert_int_equal(directory_user_find(d, &a, &u), E_NOTFOUND);
	assert_int_equal(directory_alias_find(d, &a, &t), OK);
	assert_int_equal(t.count, 3);
	assert_string_equal(t.items[1], "\"b,c\"@own.test");
	directory_targets_free(&t);
	assert_int_equal(directory_domain_find(d, "own.test", &active), OK);
	assert_int_equal(directory_domain_find(d, "example.test", &active), E_NOTFOUND);
	directory_free(&d);
	auth_settings_unref(&s);
	conf_set(fx.conf, "query_user", "SELECT :nope", NULL);
	s = auth_settings_create(fx.conf);
	assert_int_equal(directory_check_queries(s, &why), E_PARSE);
	assert_non_null(strstr(why, "query_user"));
	free(why);
	auth_settings_unref(&s);
	/* One that the database refuses is a temporary failure, not an unknown user. */
	conf_set(fx.conf, "query_user", "SELEKT 1", NULL);
	s = auth_settings_create(fx.conf);
	d = directory_create(s, fx.health);
	assert_int_equal(directory_user_find(d, &a, &u), E_TEMPFAIL);
	directory_free(&d);
	auth_settings_unref(&s);
}

/* ---- a database that dies ---- */

static void
dead_postgresql(void **state)
{
	struct auth_rcpt r;
	int64_t start;
	enum err e;

	(void)state;
	if (!fx.own_cluster)
		skip();
	assert_int_equal(cluster_stop(), 0);
	start = io_now_ms();
	assert_int_equal(resolve_rcpt(fx.d, STR("alice@example.test"), &r), E_TEMPFAIL);
	assert_true(directory_health_is_down(fx.health));
	/* Known dead: no waiting. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(resolve_rcpt(fx.d, STR("alice@example.test"), &r), E_TEMPFAIL);
	assert_true(io_now_ms() - start < 2000);
	assert_int_equal(cluster_start(), 0);
	start = io_now_ms();
	while ((e = resolve_rcpt(fx.d, STR("alice@example.test"), &r)) == E_TEMPFAIL &&
		io_now_ms() - start < 10000)
		usleep(10000);
	assert_int_equal(e, OK);
	assert_int_equal(r.kind, AUTH_RCPT_MAILBOX);
	auth_rcpt_free(&r);
	/* A restart between two questions is not noticed. */
	assert_int_equal(cluster_stop(), 0);
	assert_int_equal(cluster_start(), 0);
	assert_int_equal(resolve_rcpt(fx.d, STR("alice@example.test"), &r), OK);
	auth_rcpt_free(&r);
}

/* The server and its processes get this signal. */
static void
cluster_signal(const char *name)
{
	assert_int_equal(
		shell("p=$(head -n 1 %s/pg/postmaster.pid) && kill -%s $p && pkill -%s -P $p",
			fx.dir, name, name),
		0);
}

/* One that is there and says nothing, as after the loss of its disk. */
static void
silent_postgresql(void **state)
{
	struct auth_rcpt r;
	int64_t start, first;
	enum err e;

	(void)state;
	if (!fx.own_cluster)
		skip();
	assert_int_equal(resolve_rcpt(fx.d, STR("alice@example.test"), &r), OK);
	auth_rcpt_free(&r);
	cluster_signal("STOP");
	start = io_now_ms();
	e = resolve_rcpt(fx.d, STR("alice@example.test"), &r);
	first = io_now_ms() - start;
	/* The next one finds it out when it connects; those behind know. */
	for (int i = 0; i < 20; i++)
		e = e == E_TEMPFAIL ? resolve_rcpt(fx.d, STR("alice@example.test"), &r) : e;
	start = io_now_ms() - start;
	cluster_signal("CONT");
	assert_int_equal(e, E_TEMPFAIL);
	assert_true(first >= 1500 && first < 4000);
	assert_true(start < 8000);
	start = io_now_ms();
	while ((e = resolve_rcpt(fx.d, STR("alice@example.test"), &r)) == E_TEMPFAIL &&
		io_now_ms() - start < 10000)
		usleep(10000);
	assert_int_equal(e, OK);
	auth_rcpt_free(&r);
}

/* The first host answers nobody, the second does. */
static void
second_host(void **state)
{
	struct auth_settings *s;
	struct directory_health *health;
	struct directory *d;
	char *dsn;
	int active;

	(void)state;
	if (!fx.own_cluster)
		skip();
	dsn = mem_printf("host=/nonexistent,%s user=roost dbname=postgres", fx.dir);
	conf_set(fx.conf, "postgresql", dsn, NULL);
	conf_set(fx.conf, "query_domain", "", NULL);
	conf_set(fx.conf, "query_user", "", NULL);
	s = auth_settings_create(fx.conf);
	health = directory_health_create();
	d = directory_create(s, health);
	assert_int_equal(directory_domain_find(d, "example.test", &active), OK);
	directory_free(&d);
	directory_health_free(&health);
	auth_settings_unref(&s);
	free(dsn);
}

static void
slow_query(void **state)
{
	struct auth_settings *s;
	struct directory_health *health;
	struct directory *d;
	int64_t start;
	int active;

	(void)state;
	need_database();
	conf_set(fx.conf, "db_timeout", "300ms", NULL);
	conf_set(fx.conf, "query_domain",
		fx.dsn ? "SELECT 1 AS active, pg_sleep(20) WHERE :domain <> ''"
		       : "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
			 "SELECT count(*) AS active FROM n WHERE :domain <> ''",
		NULL);
	s = auth_settings_create(fx.conf);
	health = directory_health_create();
	d = directory_create(s, health);
	start = io_now_ms();
	assert_int_equal(directory_domain_find(d, "example.test", &active), E_TEMPFAIL);
	assert_true(io_now_ms() - start < 5000);
	directory_free(&d);
	directory_health_free(&health);
	auth_settings_unref(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolution),
		cmocka_unit_test(resolution_of_nonsense),
		cmocka_unit_test(senders),
		cmocka_unit_test(users),
		cmocka_unit_test(keys),
		cmocka_unit_test(logins),
		cmocka_unit_test(dead_postgresql),
		cmocka_unit_test(silent_postgresql),
		cmocka_unit_test(replaced_queries),
		cmocka_unit_test(second_host),
		cmocka_unit_test(slow_query),
	};
	int failed = cmocka_run_group_tests_name("sqlite", tests, setup_sqlite, teardown);

	return failed +
	       cmocka_run_group_tests_name("postgresql", tests, setup_postgresql, teardown);
}
