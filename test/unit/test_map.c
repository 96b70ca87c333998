/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <lmdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/mem.h"
#include "mta-lite/lazy_library.h"
#include "mta-lite/map_text.h"
#include "mta-lite/words.h"

/* Tables: what each type finds, and that "not there" and "nobody knows" stay apart. */

struct fixture {
	char dir[64];
	struct config *conf;
	struct maps *maps;
};

static int
setup(void **state)
{
	struct fixture *f = MEM_NEW(struct fixture);
	char *file;

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_map.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->conf = conf_defaults(f->dir);
	file = mem_printf("%s/roost.conf", f->dir);
	assert_int_equal(conf_set(f->conf, "config_file", file, NULL), OK);
	free(file);
	f->maps = maps_create(f->conf);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char *command = mem_printf("rm -rf %s", f->dir);

	maps_free(&f->maps);
	conf_free(&f->conf);
	assert_int_equal(system(command), 0);
	free(command);
	free(f);
	return 0;
}

static void
write_file(struct fixture *f, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", f->dir, name), *tmp = mem_printf("%s.new", path);
	FILE *out = fopen(tmp, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(rename(tmp, path), 0);
	free(path);
	free(tmp);
}

static struct map *
open_map(struct fixture *f, const char *name)
{
	struct buf why = {0};
	struct map *m;

	if (maps_get(f->maps, str_of(name), &m, &why) != OK)
		fail_msg("%s: %s", name, buf_cstr(&why));
	buf_free(&why);
	return m;
}

/* want NULL: not found; "!": temporary failure. */
static void
expect(struct map *m, const char *key, const char *want)
{
	struct buf value = {0};
	enum err e = map_find(m, str_of(key), &value);

	if (want == NULL) {
		if (e != E_NOTFOUND)
			fail_msg("%s: %s: %s, \"%s\"", map_name(m), key, err_word(e),
				buf_cstr(&value));
	} else if (strcmp(want, "!") == 0) {
		assert_int_equal(e, E_TEMPFAIL);
	} else {
		if (e != OK)
			fail_msg("%s: %s: %s", map_name(m), key, err_word(e));
		assert_string_equal(buf_cstr(&value), want);
	}
	buf_free(&value);
}

static void
names(void **state)
{
	static const char *const bad[] = {"", "plain", "nosuch:x", "file:", "cidr:", "inline:x",
		"inline:{a=b", "inline:{a}", "inline:{{=b}}", "tcp:host", "tcp::25",
		"unix:shadow.byname", "pgsql:", "sqlite:", "lmdb:", "pcre:"};
	struct fixture *f = *state;
	struct map *m, *again;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf why = {0};

		assert_int_equal(maps_get(f->maps, str_of(bad[i]), &m, &why), E_PARSE);
		assert_null(m);
		assert_true(why.len > 0);
		buf_free(&why);
	}
	m = open_map(f, "static:x");
	again = open_map(f, "proxy:static:x");
	assert_ptr_equal(m, again);
}

static void
files(void **state)
{
	struct fixture *f = *state;
	struct map *m;

	m = open_map(f, "file:table");
	expect(m, "a", "!"); /* there is no such file yet */
	write_file(f, "table",
		"# comment\n"
		"a   1\n"
		"B\ttwo words  \n"
		"\n"
		"c one,\n"
		"# in between\n"
		"   two\n"
		"\"x y\"@example.com quoted\n"
		"alone\n"
		"a second\r\n"
		"last 9");
	map_warn(m, 0, "a warning is no crash");
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
	expect(m, "a", "1");
	expect(m, "A", "1");
	expect(m, "b", "two words");
	expect(m, "c", "one,   two");
	expect(m, "\"x y\"@example.com", "quoted");
	expect(m, "alone", NULL);
	expect(m, "last", "9");
	expect(m, "", NULL);
	/* A new file counts within a second or so, one that is gone leaves what it said. */
	write_file(f, "table", "a new\n");
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
	expect(m, "a", "new");
	expect(m, "b", NULL);
	m = open_map(f, "hash:table");
	expect(m, "a", "new");
}

static void
in_settings(void **state)
{
	struct fixture *f = *state;
	struct map *m = open_map(f, "inline:{ A=1, { b = two words }, {c={d=e}} }");

	expect(m, "a", "1");
	expect(m, "b", "two words");
	expect(m, "c", "d=e");
	expect(m, "d", NULL);
	m = open_map(f, "static:{550 5.7.1 no}");
	expect(m, "whatever", "550 5.7.1 no");
	m = open_map(f, "fail:x");
	expect(m, "whatever", "!");
}

static void
networks(void **state)
{
	struct fixture *f = *state;
	struct map *m;

	write_file(f, "nets",
		"192.0.2.1 OK\n"
		"192.0.2.0/24 REJECT\n"
		"2001:db8::/32 six\n"
		"300.1.1.1 bad\n"
		"if 10.0.0.0/8\n"
		"10.1.0.0/16 ten-one\n"
		"if !10.2.0.0/16\n"
		"!10.3.0.0/16 neither\n"
		"endif\n"
		"endif\n"
		"10.3.0.0/17 three\n");
	m = open_map(f, "cidr:nets");
	expect(m, "192.0.2.1", "OK");
	expect(m, "192.0.2.2", "REJECT");
	expect(m, "192.0.3.2", NULL);
	expect(m, "2001:DB8::5", "six");
	expect(m, "2001:db9::5", NULL);
	expect(m, "10.1.2.3", "ten-one");
	expect(m, "10.4.0.1", "neither");
	expect(m, "10.2.0.1", NULL);
	expect(m, "10.3.0.1", "three");
	expect(m, "example.com", NULL);
	expect(m, "192.0.2.0/24", NULL);
}

static void
expressions(void **state)
{
	static const char text[] = "/^(a+)@(.*)\\.example$/ $2 and ${1}, $$5\n"
				   "/^CASE$/i sensitive\n"
				   "!/@/ no at\n"
				   "/x(/ broken\n"
				   "!/y/ $1\n"
				   "/z/ $1\n"
				   "if /@host/\n"
				   "/^one@/ first\n"
				   "if !/two/\n"
				   "  # a comment\n"
				   "/./ other than two\n"
				   "endif\n"
				   "/./ two\n"
				   "endif\n"
				   "if /(/\n"
				   "/@never/ seen\n"
				   "if /x/\n"
				   "endif\n"
				   "endif\n"
				   "|/@bar|  bar\n";
	static const char *const types[] = {"regexp:rules", "pcre:rules"};
	struct fixture *f = *state;
	size_t i;

	write_file(f, "rules", text);
	for (i = 0; i < 2; i++) {
		struct map *m = open_map(f, types[i]);

		expect(m, "AA@host.example", "host and AA, $5");
		expect(m, "CASE", "sensitive");
		expect(m, "case", "no at");
		expect(m, "one@host", "first");
		expect(m, "three@host", "other than two");
		expect(m, "two@host", "two");
		expect(m, "z@", NULL);
		expect(m, "@never", NULL);
		expect(m, "a/@bar", "bar");
	}
	expect(open_map(f, "pcre:{ {/^a(?=b)/ ahead}, {/^c/ see} }"), "ab", "ahead");
	/* A pattern that would take for ever is "nobody knows". */
	expect(open_map(f, "pcre:{{/^(([a-z])+.)+[A-Z]([a-z])+$/ x}}"),
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1", "!");
}

static void
run_sql(const char *path, const char *sql)
{
	sqlite3 *db;
	char *error = NULL;

	assert_int_equal(lazy_sqlite_load(NULL), OK);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s", error);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
databases(void **state)
{
	struct fixture *f = *state;
	char *path = mem_printf("%s/test.db", f->dir), *text;

	run_sql(path,
		"CREATE TABLE t (k TEXT, v TEXT);"
		"INSERT INTO t VALUES ('a@example.com', 'one@x.com'), ('a@example.com', 'two@y.com'),"
		"('it''s@example.com', 'quoted'), ('user', 'plain'), ('null@example.com', NULL)");
#define TABLE(name, rest)                                                                          \
	do {                                                                                       \
		text = mem_printf("dbpath = %s\n%s", path, rest);                                  \
		write_file(f, name, text);                                                         \
		free(text);                                                                        \
	} while (0)
	TABLE("q.cf", "query = SELECT v FROM t\n  WHERE k = '%s' ORDER BY v\n");
	expect(open_map(f, "sqlite:q.cf"), "A@example.com", "one@x.com,two@y.com");
	expect(open_map(f, "sqlite:q.cf"), "it's@example.com", "quoted");
	expect(open_map(f, "sqlite:q.cf"), "' OR '1'='1", NULL);
	expect(open_map(f, "sqlite:q.cf"), "null@example.com", NULL);
	TABLE("parts.cf", "query = SELECT '%u|%d|%2.%1|%%'\nresult_format = <%s>\n");
	expect(open_map(f, "sqlite:parts.cf"), "a@mail.example.com",
		"<a|mail.example.com|example.com|%>");
	expect(open_map(f, "sqlite:parts.cf"), "example.com", NULL);
	expect(open_map(f, "sqlite:parts.cf"), "@example.com", NULL);
	expect(open_map(f, "sqlite:parts.cf"), "a@com", NULL);
	TABLE("format.cf", "query = SELECT v FROM t WHERE k = '%s'\nresult_format = %u.%D\n");
	expect(open_map(f, "sqlite:format.cf"), "a@example.com", "one.example.com,two.example.com");
	expect(open_map(f, "sqlite:format.cf"), "user", NULL);
	TABLE("limit.cf", "query = SELECT v FROM t WHERE k = '%s'\nexpansion_limit = 1\n");
	expect(open_map(f, "sqlite:limit.cf"), "a@example.com", "!");
	expect(open_map(f, "sqlite:limit.cf"), "user", "plain");
	TABLE("domain.cf", "query = SELECT 'yes'\ndomain = example.com, example.net\n");
	expect(open_map(f, "sqlite:domain.cf"), "x@Example.NET", "yes");
	expect(open_map(f, "sqlite:domain.cf"), "x@example.org", NULL);
	expect(open_map(f, "sqlite:domain.cf"), "example.net", NULL);
	TABLE("old.cf",
		"table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND v <> 'one@x.com'\n");
	expect(open_map(f, "sqlite:old.cf"), "a@example.com", "two@y.com");
	TABLE("broken.cf", "query = SELECT nosuch FROM t WHERE k = '%s'\n");
	expect(open_map(f, "sqlite:broken.cf"), "a", "!");
	TABLE("none.cf", "");
	expect(open_map(f, "sqlite:none.cf"), "a", "!");
	expect(open_map(f, "sqlite:missing.cf"), "a", "!");
	TABLE("endless.cf",
		"query = WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n\n");
	expect(open_map(f, "sqlite:endless.cf"), "a", "1,2,3");
	write_file(f, "nodb.cf", "dbpath = /nonexistent/x.db\nquery = SELECT 1\n");
	expect(open_map(f, "sqlite:nodb.cf"), "a", "!");
	/* A server that is not there. */
	write_file(f, "pg.cf", "hosts = 127.0.0.1:1\nquery = SELECT 1\n");
	expect(open_map(f, "pgsql:pg.cf"), "a", "!");
	free(path);
}

/* ---- tcp ---- */

struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
};

static void
answer(int fd, const char *line)
{
	const char *reply = "500 not here\n";

	if (strcmp(line, "get a@b\n") == 0)
		reply = "200 found%20it%25\n";
	else if (strcmp(line, "get a%20b%25\n") == 0)
		reply = "200 blank\n";
	else if (strcmp(line, "get down\n") == 0)
		reply = "400 try later\n";
	else if (strcmp(line, "get odd\n") == 0)
		reply = "what?\n";
	else if (strcmp(line, "get badhex\n") == 0)
		reply = "200 %zz\n";
	else if (strcmp(line, "get two\n") == 0)
		reply = "200 a\n200 b\n";
	else if (strcmp(line, "get close\n") == 0)
		return;
	assert_int_equal(write(fd, reply, strlen(reply)), (ssize_t)strlen(reply));
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		FILE *in = fdopen(fd, "r");
		char line[8192];

		while (fgets(line, sizeof(line), in)) {
			answer(fd, line);
			/* A server that closes after each answer. */
			if (strcmp(line, "get close\n") == 0 || strcmp(line, "get a@b\n") == 0)
				break;
		}
		(void)fclose(in);
	}
	return NULL;
}

static void
servers(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct fixture *f = *state;
	socklen_t len = sizeof(in);
	struct server s;
	struct map *m;
	char *name;

	s.fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(s.fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(s.fd, 5), 0);
	assert_int_equal(getsockname(s.fd, (struct sockaddr *)&in, &len), 0);
	assert_int_equal(pthread_create(&s.thread, NULL, serve, &s), 0);
	name = mem_printf("tcp:127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
	m = open_map(f, name);
	expect(m, "a@b", "found it%");
	expect(m, "a b%", "blank");
	expect(m, "nothing", NULL);
	expect(m, "down", "!");
	expect(m, "odd", "!");
	expect(m, "badhex", "!");
	expect(m, "two", "!");
	expect(m, "close", "!");
	expect(m, "a@b", "found it%");
	expect(open_map(f, "tcp:127.0.0.1:1"), "a", "!");
	maps_free(&f->maps);
	f->maps = maps_create(f->conf);
	(void)shutdown(s.fd, SHUT_RDWR);
	(void)pthread_join(s.thread, NULL);
	close(s.fd);
	free(name);
}

static void
system_users(void **state)
{
	struct fixture *f = *state;
	struct buf value = {0};

	assert_int_equal(map_find(open_map(f, "unix:passwd.byname"), STR("root"), &value), OK);
	assert_true(str_starts_i(buf_str(&value), "root:x:0:0:"));
	expect(open_map(f, "unix:passwd.byname"), "no-such-user", NULL);
	assert_int_equal(map_find(open_map(f, "unix:group.byname"), STR("root"), &value), OK);
	assert_true(str_starts_i(buf_str(&value), "root:x:0:"));
	buf_free(&value);
}

static void
put(MDB_txn *txn, MDB_dbi dbi, const char *key, const char *value, size_t more)
{
	MDB_val k = {strlen(key) + more, (void *)key}, v = {strlen(value) + more, (void *)value};

	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
}

static void
lmdb_files(void **state)
{
	struct fixture *f = *state;
	char *path = mem_printf("%s/t.lmdb", f->dir);
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	put(txn, dbi, "bare", "value", 0);
	put(txn, dbi, "nul", "too", 1);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	expect(open_map(f, "lmdb:t"), "Bare", "value");
	expect(open_map(f, "lmdb:t"), "nul", "too");
	expect(open_map(f, "lmdb:t"), "nothing", NULL);
	expect(open_map(f, "lmdb:missing"), "nothing", "!");
	free(path);
}

/* ---- keys of addresses ---- */

static void
addresses(void **state)
{
	static const struct {
		const char *table, *address;
		char delimiter;
		int local;
		const enum map_key *keys;
		const char *want, *extension;
	} cases[] = {
		{"inline:{u+e@d.tld=1,u@d.tld=2}", "u+e@d.tld", '+', 0, map_keys_rewrite, "1", ""},
		{"inline:{u@d.tld=2,@d.tld=3}", "u+e@d.tld", '+', 0, map_keys_rewrite, "2", "+e"},
		{"inline:{u@d.tld=2,@d.tld=3}", "u+e@d.tld", '\0', 0, map_keys_rewrite, "3", ""},
		{"inline:{@d.tld=3}", "u+e@d.tld", '+', 0, map_keys_rewrite, "3", "+e"},
		{"inline:{u=4}", "u@d.tld", '+', 0, map_keys_rewrite, NULL, ""},
		{"inline:{u=4,@d.tld=3}", "u+e@d.tld", '+', 1, map_keys_rewrite, "4", "+e"},
		{"inline:{u+e=5,u=4}", "u+e@d.tld", '+', 1, map_keys_rewrite, "5", ""},
		{"inline:{u=4}", "u", '+', 1, map_keys_rewrite, "4", ""},
		{"inline:{owner=4}", "owner-list@d", '-', 1, map_keys_rewrite, NULL, ""},
		{"inline:{d.tld=1}", "u@d.tld", '+', 0, map_keys_access, "1", ""},
		{"inline:{tld=1,d.tld=2}", "u@d.tld", '+', 0, map_keys_access, "2", ""},
		{"inline:{tld=1,u@=2}", "u@d.tld", '+', 0, map_keys_access, "1", ""},
		{"inline:{u@=2}", "u+e@d.tld", '+', 0, map_keys_access, "2", "+e"},
		{"inline:{u+e@=2,u@=3}", "u+e@d.tld", '+', 0, map_keys_access, "2", ""},
		{"inline:{ld=1,.d.tld=2}", "u@d.tld", '+', 0, map_keys_access, NULL, ""},
		{"inline:{.tld=1,*=2}", "u@d.tld", '+', 0, map_keys_transport, "1", ""},
		{"inline:{tld=1,*=2}", "u@d.tld", '+', 0, map_keys_transport, "2", ""},
		{"inline:{d.tld=1}", "d.tld", 0, 0, map_keys_domain, "1", ""},
		{"inline:{tld=1}", "mail.d.tld", 0, 0, map_keys_domain, "1", ""},
		{"inline:{tld=1}", "tld.", 0, 0, map_keys_domain, NULL, ""},
		/* Patterns see the whole address alone. */
		{"regexp:{{/^@?d/ 1}}", "u@d.tld", '+', 0, map_keys_rewrite, NULL, ""},
		{"regexp:{{/^u\\+e@d/ 1}}", "u+e@d.tld", '+', 0, map_keys_rewrite, "1", ""},
		{"regexp:{{/^d/ 1}}", "d.tld", 0, 0, map_keys_domain, "1", ""},
		{"fail:x", "u@d.tld", '+', 0, map_keys_rewrite, "!", ""},
		{"inline:{u@d.tld=1} fail:x", "u@d.tld", '+', 0, map_keys_rewrite, "1", ""},
		{"fail:x inline:{u@d.tld=1}", "u@d.tld", '+', 0, map_keys_rewrite, "!", ""},
	};
	struct fixture *f = *state;
	struct buf value = {0};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = mem_strdup(cases[i].table);
		struct conf_list names = {&text, 1};
		struct map_address a = {
			str_of(cases[i].address), cases[i].delimiter, cases[i].local};
		struct map_list list;
		struct str extension;
		enum err e;

		assert_int_equal(map_list_parse(f->maps, &names, &list, NULL), OK);
		e = map_find_address(&list, &a, cases[i].keys, &value, &extension);
		if (cases[i].want == NULL)
			assert_int_equal(e, E_NOTFOUND);
		else if (cases[i].want[0] == '!')
			assert_int_equal(e, E_TEMPFAIL);
		else
			assert_string_equal(buf_cstr(&value), cases[i].want);
		assert_true(str_is(extension, cases[i].extension));
		map_list_free(&list);
		free(text);
	}
	buf_free(&value);
}

static void
ip_keys(void **state)
{
	static const struct {
		const char *table, *ip, *want;
	} cases[] = {
		{"inline:{192.0.2.1=1,192.0.2=2}", "192.0.2.1", "1"},
		{"inline:{192.0.2.1=1,192.0.2=2}", "192.0.2.9", "2"},
		{"inline:{192=3}", "192.0.2.9", "3"},
		{"inline:{19=3}", "192.0.2.9", NULL},
		{"inline:{2001:db8=3}", "2001:db8::7", "3"},
		{"inline:{2001:db8:0:1=3}", "2001:db8:0:1::7", "3"},
		{"inline:{2001:db8::7=3}", "2001:db8::7", "3"},
		{"inline:{2001=3}", "2001:db8::7", "3"},
		{"inline:{x=3}", "::1", NULL},
		{"cidr:{{192.0.2.0/24 4}}", "192.0.2.9", "4"},
	};
	struct fixture *f = *state;
	struct buf value = {0};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct map *m = open_map(f, cases[i].table);
		struct map_list list = {&m, 1};
		enum err e = map_find_ip(&list, str_of(cases[i].ip), &value);

		assert_int_equal(e, cases[i].want ? OK : E_NOTFOUND);
		if (cases[i].want)
			assert_string_equal(buf_cstr(&value), cases[i].want);
	}
	buf_free(&value);
}

static void
words(void **state)
{
	struct str s = STR("a, {b c},d{e f}g\th "), word;
	static const char *const want[] = {"a", "{b c}", "d{e f}g", "h"};
	int unbalanced;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		assert_int_equal(words_next(&s, &word, &unbalanced), 1);
		assert_true(str_is(word, want[i]));
	}
	assert_int_equal(words_next(&s, &word, &unbalanced), 0);
	assert_int_equal(unbalanced, 0);
	s = STR("x {y");
	assert_int_equal(words_next(&s, &word, &unbalanced), 1);
	assert_int_equal(words_next(&s, &word, &unbalanced), 0);
	assert_int_equal(unbalanced, 1);
	assert_true(str_is(words_unbrace(STR("{ x }")), "x"));
	assert_true(str_is(words_unbrace(STR("x")), "x"));
}

/* A library that is not there, or not what it should be, is a reason and no crash. */
static void
lazy_libraries(void **state)
{
	static const char *const names[] = {"sqlite3_close", "sqlite3_no_such_function"};
	void *functions[2] = {NULL, NULL};
	struct buf why = {0};

	(void)state;
	assert_int_equal(lazy_library_load("libsqlite3.so.0", names, 1, functions, &why), OK);
	assert_non_null(functions[0]);
	assert_int_equal(why.len, 0);
	assert_int_equal(
		lazy_library_load("libsqlite3.so.0", names, 2, functions, &why), E_UNSUPPORTED);
	assert_null(functions[0]);
	assert_non_null(strstr(buf_cstr(&why), "sqlite3_no_such_function"));
	buf_reset(&why);
	assert_int_equal(
		lazy_library_load("libnothing.so.5", names, 1, functions, &why), E_UNSUPPORTED);
	assert_non_null(strstr(buf_cstr(&why), "libnothing.so.5"));
	buf_free(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(files, setup, teardown),
		cmocka_unit_test_setup_teardown(in_settings, setup, teardown),
		cmocka_unit_test_setup_teardown(networks, setup, teardown),
		cmocka_unit_test_setup_teardown(expressions, setup, teardown),
		cmocka_unit_test_setup_teardown(databases, setup, teardown),
		cmocka_unit_test_setup_teardown(servers, setup, teardown),
		cmocka_unit_test_setup_teardown(system_users, setup, teardown),
		cmocka_unit_test_setup_teardown(lmdb_files, setup, teardown),
		cmocka_unit_test_setup_teardown(addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(ip_keys, setup, teardown),
		cmocka_unit_test(words),
		cmocka_unit_test(lazy_libraries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
