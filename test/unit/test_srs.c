/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/conf.h"
#include "mta-lite/srs.h"

/* The addresses of postsrsd for this secret and this day: both must take each other's. */
enum { DAY = 86400, NEW_YEAR_2020 = 1577836860 };

static char secrets[] = "/tmp/test_srs.XXXXXX";

static void
write_secrets(const char *text)
{
	FILE *f = fopen(secrets, "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static int
set_up(void **state)
{
	int fd = mkstemp(secrets);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return unlink(secrets);
}

static enum err
open_with(const char *domain, struct srs **out)
{
	struct config *conf = conf_defaults("/tmp");
	enum err e;

	assert_int_equal(conf_set(conf, "srs_domain", domain, NULL), OK);
	assert_int_equal(conf_set(conf, "srs_secrets", secrets, NULL), OK);
	assert_int_equal(
		conf_set(conf, "srs_exclude_domains", "partner.test friend.test", NULL), OK);
	e = srs_open(conf, out);
	conf_free(&conf);
	return e;
}

static struct srs *
make(const char *text)
{
	struct srs *s;

	write_secrets(text);
	assert_int_equal(open_with("Example.COM", &s), OK);
	assert_non_null(s);
	return s;
}

static const struct {
	const char *sender;
	enum err err;
	const char *address;
} there[] = {
	{"test@otherdomain.com", OK, "SRS0=vmyz=2W=otherdomain.com=test@example.com"},
	{"SRS0=opaque+string@otherdomain.com", OK,
		"SRS1=chaI=otherdomain.com==opaque+string@example.com"},
	{"SRS1=X=thirddomain.com==opaque+string@otherdomain.com", OK,
		"SRS1=JIBX=thirddomain.com==opaque+string@example.com"},
	{"", E_NOTFOUND, ""},
	{"test@example.com", E_NOTFOUND, ""},
	{"SRS0=XjO9=2V=otherdomain.com=test@example.com", E_NOTFOUND, ""},
	{"someone@Partner.test", E_NOTFOUND, ""},
	{"someone@friend.test", E_NOTFOUND, ""},
	{"nodomain", E_PARSE, ""},
};

static void
there_as_others_do(void **state)
{
	struct srs *s = make("tops3cr3t\n");
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
		enum err e = srs_forward(s, there[i].sender, NEW_YEAR_2020, &out);

		if (e != there[i].err)
			print_error("%s\n", there[i].sender);
		assert_int_equal(e, there[i].err);
		assert_string_equal(buf_cstr(&out), there[i].address);
	}
	buf_free(&out);
	srs_free(&s);
}

static const struct {
	const char *address;
	enum err err;
	const char *sender;
} back[] = {
	{"SRS0=XjO9=2V=otherdomain.com=test@example.com", OK, "test@otherdomain.com"},
	{"srs0=xjo9=2v=otherdomain.com=test@example.com", OK, "test@otherdomain.com"},
	{"SRS0=XJO9=2V=OTHERDOMAIN.COM=TEST@EXAMPLE.COM", OK, "TEST@otherdomain.com"},
	{"SRS0+XjO9=2V=otherdomain.com=test@example.com", OK, "test@otherdomain.com"},
	{"SRS1=JIBX=thirddomain.com==opaque+string@example.com", OK,
		"SRS0=opaque+string@thirddomain.com"},
	{"SRS1=JIBY=thirddomain.com==opaque+string@example.com", E_ACCESS, ""},
	{"SRS0=FAKE=2V=otherdomain.com=test@example.com", E_ACCESS, ""},
	{"SRS0=XjO9=2V=otherdomain.com=tess@example.com", E_ACCESS, ""},
	{"SRS0=XjO9=2W=otherdomain.com=test@example.com", E_ACCESS, ""},
	{"SRS0=XjO=2V=otherdomain.com=test@example.com", E_ACCESS, ""},
	{"SRS0==2V=otherdomain.com=test@example.com", E_ACCESS, ""},
	{"SRS0=te87=T7=otherdomain.com=test@example.com", E_RANGE, ""},
	{"SRS0=VcIb=7N=otherdomain.com=test@example.com", E_RANGE, ""},
	{"SRS0=@example.com", E_PARSE, ""},
	{"SRS0=XjO9@example.com", E_PARSE, ""},
	{"SRS0=XjO9=2V@example.com", E_PARSE, ""},
	{"SRS0=XjO9=2V=otherdomain.com@example.com", E_PARSE, ""},
	{"SRS0=XjO9=2V=otherdomain.com=@example.com", E_PARSE, ""},
	{"SRS1=JIBX@example.com", E_PARSE, ""},
	{"SRS1=JIBX=thirddomain.com@example.com", E_PARSE, ""},
	{"SRS1=JIBX===opaque+string@example.com", E_PARSE, ""},
	{"SRS0@example.com", E_NOTFOUND, ""},
	{"SRS2=XjO9=2V=otherdomain.com=test@example.com", E_NOTFOUND, ""},
	{"SRS0=XjO9=2V=otherdomain.com=test@example.org", E_NOTFOUND, ""},
	{"SRS0=XjO9=2V=otherdomain.com=test@badexample.com", E_NOTFOUND, ""},
	{"test@example.com", E_NOTFOUND, ""},
};

static void
back_as_others_do(void **state)
{
	struct srs *s = make("# the old one is good to read with\n\nnew\ntops3cr3t\n");
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(back) / sizeof(back[0]); i++) {
		enum err e = srs_reverse(s, str_of(back[i].address), NEW_YEAR_2020, &out);

		if (e != back[i].err)
			print_error("%s\n", back[i].address);
		assert_int_equal(e, back[i].err);
		assert_string_equal(buf_cstr(&out), back[i].sender);
	}
	buf_free(&out);
	srs_free(&s);
}

static const char *const senders[] = {
	"a@b.test",
	"bounce-=+x=y=z.test@list.test",
	"\"a b\"@quoted.test",
	"\"quote\\\"and\\\\\"@quoted.test",
	"x@[192.0.2.1]",
	"m\xc3\xbcller@example.org",
	"SRS0=a=b=c=d@other.test",
	"srs0-a=b=c=d@other.test",
};

static void
there_and_back(void **state)
{
	struct srs *s = make("one\n");
	struct buf out = {0}, again = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		assert_int_equal(srs_forward(s, senders[i], NEW_YEAR_2020, &out), OK);
		assert_true(srs_is_rewritten(s, buf_str(&out)));
		assert_int_equal(srs_reverse(s, buf_str(&out), NEW_YEAR_2020, &again), OK);
		if (strncmp(senders[i], "srs", 3) == 0) /* the tag is written anew */
			assert_string_equal(buf_cstr(&again) + 4, senders[i] + 4);
		else
			assert_string_equal(buf_cstr(&again), senders[i]);
	}
	buf_free(&out);
	buf_free(&again);
	srs_free(&s);
}

static void
it_lives_so_long(void **state)
{
	struct srs *s = make("one\n");
	struct buf out = {0}, again = {0};
	int day;

	(void)state;
	assert_int_equal(srs_forward(s, "a@b.test", NEW_YEAR_2020, &out), OK);
	for (day = -2; day < 1024; day++) {
		enum err e =
			srs_reverse(s, buf_str(&out), NEW_YEAR_2020 + (int64_t)day * DAY, &again);

		assert_int_equal(e, (day >= -1 && day <= 21) || day == 1023 ? OK : E_RANGE);
	}
	buf_free(&out);
	buf_free(&again);
	srs_free(&s);
}

static void
what_is_too_long(void **state)
{
	char sender[400] = {0};
	struct srs *s = make("one\n");
	struct buf out = {0};

	(void)state;
	memset(sender, 'x', 128);
	memcpy(sender + 128, "@b.test", 8);
	assert_int_equal(srs_forward(s, sender, NEW_YEAR_2020, &out), E_TOOBIG);
	buf_free(&out);
	srs_free(&s);
}

static void
secrets_change(void **state)
{
	struct srs *s = make("one\n");
	struct buf out = {0}, again = {0};

	(void)state;
	assert_int_equal(srs_forward(s, "a@b.test", NEW_YEAR_2020, &out), OK);
	write_secrets("another\none\n");
	srs_refresh(s);
	assert_int_equal(srs_reverse(s, buf_str(&out), NEW_YEAR_2020, &again), OK);
	write_secrets("only another\n");
	srs_refresh(s);
	assert_int_equal(srs_reverse(s, buf_str(&out), NEW_YEAR_2020, &again), E_ACCESS);
	/* What cannot be used changes nothing. */
	assert_int_equal(srs_forward(s, "a@b.test", NEW_YEAR_2020, &out), OK);
	write_secrets("# none\n");
	srs_refresh(s);
	assert_int_equal(srs_reverse(s, buf_str(&out), NEW_YEAR_2020, &again), OK);
	buf_free(&out);
	buf_free(&again);
	srs_free(&s);
}

static void
settings_of_no_use(void **state)
{
	struct srs *s;

	(void)state;
	write_secrets("one\n");
	assert_int_equal(open_with("", &s), OK);
	assert_null(s);
	assert_false(srs_applies(s, "a@b.test"));
	assert_false(srs_is_rewritten(s, STR("SRS0=XjO9=2V=otherdomain.com=test@example.com")));
	write_secrets("\n# nothing\n");
	assert_int_equal(open_with("example.com", &s), E_PARSE);
	assert_null(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_as_others_do),
		cmocka_unit_test(back_as_others_do),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(it_lives_so_long),
		cmocka_unit_test(what_is_too_long),
		cmocka_unit_test(secrets_change),
		cmocka_unit_test(settings_of_no_use),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
