/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "imap/url.h"
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
