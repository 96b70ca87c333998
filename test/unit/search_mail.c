/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/mem.h"
#include "search_mail.h"
/* 1: plain, with an odd field that no cache record has. */
const char search_plain[] = "From: \"Smith, Ann\" <ann@example.test>\n"
			    "To: Bob <bob@example.test>, carol@example.test\n"
			    "Cc: dave@example.test\n"
			    "Subject: Lunch on\n Friday\n"
			    "Date: Mon, 7 Feb 1994 23:30:00 -0500\n"
			    "X-Odd-Field: strange value\n"
			    "X-Empty:\n"
			    "\n"
			    "Shall we meet at noon?\n";

/* 2: encoded words, quoted-printable ISO-8859-1. */
static const char latin[] = "From: =?iso-8859-1?Q?J=F6rg?= <joerg@example.test>\r\n"
			    "Subject: =?utf-8?B?R3LDvMOfZQ==?= aus Berlin\r\n"
			    "Date: Tue, 8 Feb 1994 00:30:00 +0100\r\n"
			    "MIME-Version: 1.0\r\n"
			    "Content-Type: text/plain; charset=iso-8859-1\r\n"
			    "Content-Transfer-Encoding: quoted-printable\r\n"
			    "\r\n"
			    "Sch=F6ne Gr=\r\n=FC=DFe, dein J=F6rg\r\n";

/* 3: a multipart with HTML in base64, an attached message and a binary attachment. */
static const char mixed[] =
	"Subject: parts\n"
	"Cc: \"Eve \\\"X\\\" Y\" <eve (at home) @ example.test>, =?utf-8?Q?J=C3=B6?= < jo@\n"
	" example.test>\n"
	"MIME-Version: 1.0\n"
	"Content-Type: multipart/mixed; boundary=b\n"
	"\n"
	"preamble\n"
	"--b\n"
	"Content-Type: text/html; charset=utf-8\n"
	"Content-Transfer-Encoding: base64\n"
	"\n"
	/* <p>Be<b>au</b>tiful <a href="http://example.test/x">z&uuml;rich</a></p> */
	"PHA+QmU8Yj5hdTwvYj50aWZ1bCA8YSBocmVmPSJodHRwOi8vZXhhbXBsZS50ZXN0L3giPnomdXVt\n"
	"bDtyaWNoPC9hPjwvcD4K\n"
	"--b\n"
	"Content-Type: message/rfc822\n"
	"\n"
	"Subject: =?utf-8?Q?embedded_=C3=89t=C3=A9?=\n"
	"\n"
	"deep text\n"
	"--b\n"
	"Content-Type: application/octet-stream\n"
	"Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.bin\n"
	"\n"
	"hidden bytes\n"
	"--b--\n";

/* 4: next to nothing. */
const char search_bare[] = "\nbare body\n";

static const char *const keyword_names[] = {"$Label1", "Work"};

struct fake fake;
struct fake_message messages[4];

int
search_setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	messages[0] = (struct fake_message){.text = search_plain,
		.flags = INDEX_SEEN | INDEX_FLAGGED,
		.internal_date = NOON_7_FEB_1994};
	messages[1] = (struct fake_message){.text = latin,
		.flags = INDEX_ANSWERED | INDEX_DRAFT,
		.keywords = 2,
		.recent = 1,
		.internal_date = NOON_7_FEB_1994 + DAY};
	messages[2] = (struct fake_message){.text = mixed,
		.flags = INDEX_SEEN | INDEX_DELETED,
		.recent = 1,
		.internal_date = NOON_7_FEB_1994 + 10 * DAY};
	messages[3] = (struct fake_message){.text = search_bare, .internal_date = -1};
	fake_init(&fake, messages, 4);
	fake.keywords = keyword_names;
	fake.keyword_count = 2;
	fake_run(&fake, "a SEARCH KEYWORD Work"); /* so that FLAGS has been told */
	return 0;
}

int
search_teardown(void **state)
{
	(void)state;
	fake_fini(&fake);
	return 0;
}

void
search_check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *command = mem_printf("a SEARCH %s", rows[i].keys);
		char *want = mem_printf("* SEARCH%s\r\na OK SEARCH completed\r\n", rows[i].found);
		struct str said = fake_run(&fake, command);

		if (strcmp(said.p, want) != 0)
			fail_msg("%s gave\n%s and not\n%s", command, said.p, want);
		free(command);
		free(want);
	}
}
