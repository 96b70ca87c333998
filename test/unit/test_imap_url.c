/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mail/imap_url.h"
#include "lib/buf.h"

static const struct {
	const char *url;
	enum err e;
	const char *mailbox;
	uint32_t uidvalidity, uid;
	const char *section;
	uint64_t off, count;
} cases[] = {
	{"/Drafts/;UID=20", OK, "Drafts", 0, 20, "", 0, UINT64_MAX},
	{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", OK, "Drafts", 385759045, 20,
		"HEADER", 0, UINT64_MAX},
	{"/inbox/;uid=1/;SECTION=1.2.MIME/;PARTIAL=5.10", OK, "INBOX", 0, 1, "1.2.MIME", 5, 10},
	{";UID=3", OK, NULL, 0, 3, "", 0, UINT64_MAX},
	{";UID=3/;PARTIAL=7", OK, NULL, 0, 3, "", 7, UINT64_MAX},
	{"/a/b%20c%2Fd/;UID=3", OK, "a/b c/d", 0, 3, "", 0, UINT64_MAX},
	{"/%C3%A4/;UID=3", OK, "\xc3\xa4", 0, 3, "", 0, UINT64_MAX},
	{"/a/;UID=3/;SECTION=HEADER.FIELDS%20(To%20Cc)", OK, "a", 0, 3, "HEADER.FIELDS (To Cc)", 0,
		UINT64_MAX},
	{"/%C3/;UID=3", E_PARSE},
	{"/a%0/;UID=3", E_PARSE},
	{"/a%00/;UID=3", E_PARSE},
	{"//;UID=3", E_UNSUPPORTED},
	{"/;UID=3", E_UNSUPPORTED},
	{"/a/;UID=0", E_PARSE},
	{"/a/;UID=4294967296", E_PARSE},
	{"/a/;UID=", E_PARSE},
	{"/a/;UID=1/;UID=2", E_PARSE},
	{"/a/;SECTION=1", E_PARSE},
	{"/a/;UID=1/;SECTION=1/x", E_PARSE},
	{"/a/;UID=1/;PARTIAL=0.0", E_PARSE},
	{"/a/;UID=1/;PARTIAL=0.1/;SECTION=1", E_PARSE},
	{"/a;UIDVALIDITY=0/;UID=1", E_PARSE},
	{"/a;X=1/;UID=1", E_PARSE},
	{"/a", E_UNSUPPORTED},
	{"", E_PARSE},
	{"x", E_PARSE},
	{"imap://host/a/;UID=1", E_UNSUPPORTED},
	{"/a/;UID=1;URLAUTH=anonymous:INTERNAL:00", E_UNSUPPORTED},
};

static void
urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_url url;
		struct buf section = {0};
		enum err e = imap_url_parse(str_of(cases[i].url), &url);

		if (e != cases[i].e)
			fail_msg("%s: %s", cases[i].url, err_word(e));
		if (!e) {
			assert_int_equal(url.mailbox == NULL, cases[i].mailbox == NULL);
			if (url.mailbox)
				assert_string_equal(url.mailbox, cases[i].mailbox);
			assert_int_equal(url.uidvalidity, cases[i].uidvalidity);
			assert_int_equal(url.uid, cases[i].uid);
			assert_int_equal(section_format(&url.section, &section), OK);
			assert_string_equal(buf_cstr(&section), cases[i].section);
			assert_true(url.off == cases[i].off && url.count == cases[i].count);
		}
		buf_free(&section);
		imap_url_fini(&url);
	}
}

/* ---- with an authorization ---- */

#define TOKEN "91354a473744909de610943775f92038"
#define FULL(rump) rump ":INTERNAL:" TOKEN

static const struct {
	const char *rump;
	const char *user, *mailbox, *section;
	uint32_t uidvalidity, uid;
	enum imap_url_access access;
	const char *access_user;
	int64_t expire; /* 0: never */
	uint64_t off, count;
} good[] = {
	{"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred", "joe", "INBOX",
		"1.2", 0, 20, IMAP_URL_SUBMIT, "fred", 0, 0, UINT64_MAX},
	{"imap://bob.ar@example.org/Sent;UIDVALIDITY=387899045/;uid=45;expire=2005-10-28T23:59:59Z"
	 ";urlauth=submit+bob.ar",
		"bob.ar", "Sent", "", 387899045, 45, IMAP_URL_SUBMIT, "bob.ar", 1130543999, 0,
		UINT64_MAX},
	{"IMAP://joe%40example.com;AUTH=*@[::1]:143/a%2Fb/%C3%A4/;UID=1/;PARTIAL=5.10;URLAUTH="
	 "user+ann%40example.org",
		"joe@example.com", "a/b/\xc3\xa4", "", 0, 1, IMAP_URL_USER, "ann@example.org", 0, 5,
		10},
	{"imap://joe;AUTH=GSSAPI@h:/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(To);EXPIRE="
	 "2000-01-01T02:00:00.25+02:00;URLAUTH=AuthUser",
		"joe", "INBOX", "HEADER.FIELDS (To)", 0, 1, IMAP_URL_AUTHUSER, NULL, 946684800, 0,
		UINT64_MAX},
	{"imap://joe@h/inbox/;UID=1;URLAUTH=anonymous", "joe", "INBOX", "", 0, 1,
		IMAP_URL_ANONYMOUS, NULL, 0, 0, UINT64_MAX},
	/* What is part of a name counts for nothing. */
	{"imap://joe@h/x%3BURLAUTH=anonymous/;UID=1;URLAUTH=user+a", "joe", "x;URLAUTH=anonymous",
		"", 0, 1, IMAP_URL_USER, "a", 0, 0, UINT64_MAX},
};

static void
good_check(size_t i, const struct imap_url *url)
{
	struct buf section = {0};

	assert_string_equal(url->user, good[i].user);
	assert_string_equal(url->mailbox, good[i].mailbox);
	assert_int_equal(url->uidvalidity, good[i].uidvalidity);
	assert_int_equal(url->uid, good[i].uid);
	assert_int_equal(url->access, good[i].access);
	assert_int_equal(url->access_user == NULL, good[i].access_user == NULL);
	if (good[i].access_user)
		assert_string_equal(url->access_user, good[i].access_user);
	assert_int_equal(url->expires, good[i].expire != 0);
	assert_int_equal(url->expire, good[i].expire);
	assert_true(url->off == good[i].off && url->count == good[i].count);
	assert_true(str_is(url->rump, good[i].rump));
	assert_int_equal(section_format(&url->section, &section), OK);
	assert_string_equal(buf_cstr(&section), good[i].section);
	buf_free(&section);
}

static void
authorized(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct buf full = {0};
		struct imap_url url;

		if (imap_url_parse_auth(str_of(good[i].rump), 1, &url))
			fail_msg("%s", good[i].rump);
		good_check(i, &url);
		assert_int_equal(url.token.len, 0);
		imap_url_fini(&url);
		assert_int_equal(imap_url_parse_auth(str_of(good[i].rump), 0, &url), E_PARSE);
		imap_url_fini(&url);

		(void)buf_printf(&full, "%s:x-1.y:%s", good[i].rump, TOKEN);
		if (imap_url_parse_auth(buf_str(&full), 0, &url))
			fail_msg("%s", buf_cstr(&full));
		good_check(i, &url);
		assert_true(str_is(url.mechanism, "x-1.y"));
		assert_true(str_is(url.token, TOKEN));
		imap_url_fini(&url);
		assert_int_equal(imap_url_parse_auth(buf_str(&full), 1, &url), E_PARSE);
		imap_url_fini(&url);
		buf_free(&full);
	}
}

static const char *const bad[] = {
	"",
	";URLAUTH=anonymous:INTERNAL:" TOKEN,
	"imap://",
	FULL("imap://;URLAUTH=anonymous"),
	FULL("/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("//joe@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://;AUTH=*@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe;AUTH=@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe;X=1@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@a@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@h:65536/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@[::1/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@[::1]x/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe%00@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe%0a@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://jo e@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe%C3@h/INBOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@h/;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX?ALL;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX?ALL/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@h/IN BOX/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@h//;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@h/;UID=1;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX/;UID=0;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX/;UID=1/;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX/;UID=1;EXPIRE=;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX/;UID=1;EXPIRE=2005-13-28T23:59:59Z;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX/;UID=1;EXPIRE=2005-10-28T23:59:59Z/;SECTION=1;URLAUTH=anonymous"),
	FULL("imap://joe@h/INBOX/;UID=1;URLAUTH="),
	FULL("imap://joe@h/INBOX/;UID=1;URLAUTH=nobody"),
	FULL("imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous2"),
	FULL("imap://joe@h/INBOX/;UID=1;URLAUTH=user+"),
	FULL("imap://joe@h/INBOX/;UID=1;URLAUTH=submit"),
	FULL("imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous;X=1"),
	FULL("imaps://joe@h/INBOX/;UID=1;URLAUTH=anonymous"),
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL",
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:",
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:91354a473744909de610943775f9203",
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:91354a473744909de610943775f9203g",
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous::" TOKEN,
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous:IN_TERNAL:" TOKEN,
	"imap://joe@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:" TOKEN ":" TOKEN,
};

static void
not_authorized(void **state)
{
	struct buf text = {0};
	struct imap_url url;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (imap_url_parse_auth(str_of(bad[i]), 0, &url) != E_PARSE)
			fail_msg("%s", bad[i]);
		imap_url_fini(&url);
	}
	(void)buf_add_cstr(&text, "imap://joe@h/");
	while (text.len < IMAP_URL_AUTH_MAX)
		(void)buf_add_char(&text, 'a');
	(void)buf_add_cstr(&text, FULL("/;UID=1;URLAUTH=anonymous"));
	assert_int_equal(imap_url_parse_auth(buf_str(&text), 0, &url), E_TOOBIG);
	imap_url_fini(&url);
	buf_free(&text);
}

static void
users(void **state)
{
	static const char *const names[][3] = {
		{"Joe", "ann@example.test", "joe@example.test"},
		{"joe@Example.org", "ann@example.test", "joe@example.org"},
		{"joe", "ann", "joe"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *name = imap_url_user(names[i][0], names[i][1]);

		assert_string_equal(name, names[i][2]);
		free(name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(authorized),
		cmocka_unit_test(not_authorized),
		cmocka_unit_test(users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
