/* SPDX-License-Identifier: MIT */
#include "auth/passwd_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"
#include "lib/mem.h"

static char path[] = "/tmp/roost-test-XXXXXX";

static void
put(const char *text)
{
	assert_int_equal(io_write_file_atomic(path, text, strlen(text), 0600), OK);
}

/* The password, and what else is of interest; or the error. */
static void
assert_user(struct passwd_file *f, const char *address, const char *want)
{
	const struct auth_settings s = {.default_quota_bytes = 7};
	struct directory_user u;
	struct addr a;
	char *got;
	enum err e;

	assert_int_equal(addr_parse(str_of(address), &a), OK);
	e = passwd_file_find(f, &s, &a, &u);
	got = e ? mem_strdup(err_word(e))
		: mem_printf("%s %d %u %s %s", u.password, u.active, (unsigned)u.quota_bytes,
			  u.protocols, u.networks);
	assert_string_equal(got, want);
	if (!e)
		assert_true(u.is_of_file);
	free(got);
	directory_user_free(&u);
}

static void
lines(void **state)
{
	struct passwd_file *f = passwd_file_create(path);

	(void)state;
	put("# a comment\n"
	    "\n"
	    "b@x.test:{PLAIN}two\r\n"
	    "A@X.test:{PLAIN}one:1000:1000:A, B:/home/a:/bin/sh:quota_bytes=5 "
	    "networks=10.0.0.0/8,2001:db8::/32 protocols=imap other=1\n"
	    "c@x.test:{SHA512-CRYPT}$6$a$b::::::nologin\n"
	    "no address:{PLAIN}x\n"
	    "nothing@x.test\n"
	    "../../etc@x.test:{PLAIN}x\n"
	    "d@x.test:{PLAIN}old\n"
	    "q@x.test:{PLAIN}x::::::quota_bytes=much\n"
	    "d@x.test:{PLAIN}new");
	assert_user(f, "a@x.test", "{PLAIN}one 1 5 imap 10.0.0.0/8,2001:db8::/32");
	assert_user(f, "b@x.test", "{PLAIN}two 1 7  ");
	assert_user(f, "c@x.test", "{SHA512-CRYPT}$6$a$b 0 7  ");
	assert_user(f, "d@x.test", "{PLAIN}new 1 7  ");
	assert_user(f, "nothing@x.test", "notfound");
	assert_user(f, "e@x.test", "notfound");
	assert_user(f, "q@x.test", "tempfail");
	passwd_file_free(&f);
	assert_null(f);
}

/* As Dovecot's passdb fields: "nologin" beside "host" sends the user there. */
static void
hosts(void **state)
{
	static const struct {
		const char *extra, *want;
	} table[] = {
		{"host=Mail.Example.NET", "1 mail.example.net"},
		{"nologin host=mail.example.net:1143", "1 mail.example.net:1143"},
		{"host=[2001:DB8::1]:143 nologin", "1 [2001:db8::1]:143"},
		{"host= ", "1 "},
		{"host= nologin", "0 "},
		{"host=not/a/host", "tempfail"},
		{"host=x\"]y", "tempfail"},
	};
	const struct auth_settings s = {0};
	struct passwd_file *f = passwd_file_create(path);
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(STR("a@x.test"), &a), OK);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *line = mem_printf("a@x.test:{PLAIN}one::::::%s\n", table[i].extra), *got;
		struct directory_user u;
		enum err e;

		put(line);
		e = passwd_file_find(f, &s, &a, &u);
		got = e ? mem_strdup(err_word(e)) : mem_printf("%d %s", u.active, u.host);
		assert_string_equal(got, table[i].want);
		directory_user_free(&u);
		free(got);
		free(line);
	}
	passwd_file_free(&f);
}

static void
groups(void **state)
{
	static const struct {
		const char *extra, *want;
	} table[] = {
		{"acl_groups=Staff,sales", "staff,sales"},
		{"userdb_acl_groups=staff quota_bytes=1", "staff"},
		{"acl_groups=", ""},
		{"acl_groups=a=b", "tempfail"},
	};
	const struct auth_settings s = {0};
	struct passwd_file *f = passwd_file_create(path);
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(STR("a@x.test"), &a), OK);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *line = mem_printf("a@x.test:{PLAIN}one::::::%s\n", table[i].extra);
		struct directory_user u;
		enum err e;

		put(line);
		e = passwd_file_find(f, &s, &a, &u);
		assert_string_equal(e ? err_word(e) : u.acl_groups, table[i].want);
		directory_user_free(&u);
		free(line);
	}
	passwd_file_free(&f);
}

static void
changes(void **state)
{
	struct passwd_file *f = passwd_file_create(path);

	(void)state;
	put("a@x.test:{PLAIN}one\n");
	assert_user(f, "a@x.test", "{PLAIN}one 1 7  ");
	put("a@x.test:{PLAIN}two\n");
	assert_user(f, "a@x.test", "{PLAIN}two 1 7  ");
	/* One that is gone for a moment leaves what was known. */
	unlink(path);
	assert_user(f, "a@x.test", "{PLAIN}two 1 7  ");
	put("");
	assert_user(f, "a@x.test", "notfound");
	passwd_file_free(&f);
	unlink(path);
	f = passwd_file_create(path);
	assert_user(f, "a@x.test", "tempfail");
	passwd_file_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(hosts),
		cmocka_unit_test(groups), cmocka_unit_test(changes)};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
