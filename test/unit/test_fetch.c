/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "imap/fetch.h"
#include "imap_fake.h"
#include "lib/buf.h"
#include "lib/mem.h"

static const char plain[] = "From: Ann <ann@example.test>\n"
			    "To: bob@example.test\n"
			    "Subject: one\n"
			    "X-Odd: a\n"
			    "\tb\n"
			    "\n"
			    "line 1\n"
			    "line 2\n";

static const char nested[] = "Subject: outer\r\n"
			     "MIME-Version: 1.0\r\n"
			     "Content-Type: multipart/mixed; boundary=xx\r\n"
			     "\r\n"
			     "--xx\r\n"
			     "\r\n"
			     "first\r\n"
			     "--xx\r\n"
			     "Content-Type: message/rfc822\r\n"
			     "\r\n"
			     "Subject: inner\r\n"
			     "From: in@example.test\r\n"
			     "\r\n"
			     "inside\r\n"
			     "--xx--\r\n";

static const char no_header[] = "\nonly a body\n";
static const char no_body[] = "Subject: bare";

static struct fake fake;
static struct fake_message messages[4];

static int
setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	memset(messages, 0, sizeof(messages));
	messages[0] = (struct fake_message){
		.text = plain, .internal_date = 760097472, .recent = 1, .flags = INDEX_ANSWERED};
	messages[1] = (struct fake_message){.text = nested, .flags = INDEX_SEEN};
	messages[2] = (struct fake_message){.text = no_header, .internal_date = 1};
	messages[3] = (struct fake_message){.text = no_body};
	fake_init(&fake, messages, 4);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_fini(&fake);
	return 0;
}

struct row {
	const char *command, *answer;
};

static void
check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str said = fake_run(&fake, rows[i].command);

		if (strcmp(said.p, rows[i].answer) != 0)
			fail_msg(
				"%s gave\n%s and not\n%s", rows[i].command, said.p, rows[i].answer);
	}
}

#define CHECK_ROWS(rows) check_rows((rows), sizeof(rows) / sizeof((rows)[0]))
#define DONE "a OK FETCH completed\r\n"
#define UID_DONE "a OK UID FETCH completed\r\n"

static void
record_items(void **state)
{
	static const struct row rows[] = {
		{"a FETCH 1 UID", "* 1 FETCH (UID 10)\r\n" DONE},
		{"a FETCH 1 (UID FLAGS)",
			"* 1 FETCH (UID 10 FLAGS (\\Answered \\Recent))\r\n" DONE},
		{"a fetch 1 (flags flags)",
			"* 1 FETCH (FLAGS (\\Answered \\Recent) FLAGS (\\Answered \\Recent))\r\n" DONE},
		{"a FETCH 1,3 INTERNALDATE",
			"* 1 FETCH (INTERNALDATE \"01-Feb-1994 10:11:12 +0000\")\r\n"
			"* 3 FETCH (INTERNALDATE \"01-Jan-1970 00:00:01 +0000\")\r\n" DONE},
		{"a FETCH 3:4 RFC822.SIZE", "* 3 FETCH (RFC822.SIZE 15)\r\n"
					    "* 4 FETCH (RFC822.SIZE 13)\r\n" DONE},
		{"a FETCH * UID", "* 4 FETCH (UID 40)\r\n" DONE},
		{"a FETCH 1 FAST", "* 1 FETCH (FLAGS (\\Answered \\Recent) INTERNALDATE "
				   "\"01-Feb-1994 10:11:12 +0000\" RFC822.SIZE 98)\r\n" DONE},
		{"a UID FETCH 20 FLAGS", "* 2 FETCH (UID 20 FLAGS (\\Seen))\r\n" UID_DONE},
		{"a UID FETCH 20 (FLAGS UID)", "* 2 FETCH (FLAGS (\\Seen) UID 20)\r\n" UID_DONE},
		{"a UID FETCH 11:25,99 UID", "* 2 FETCH (UID 20)\r\n" UID_DONE},
		{"a UID FETCH 11 UID", UID_DONE},
		{"a UID FETCH 100:* UID", "* 4 FETCH (UID 40)\r\n" UID_DONE},
	};

	(void)state;
	CHECK_ROWS(rows);
	assert_int_equal(fake.contents_opened, 0);
	assert_int_equal(fake.stores, 0);
}

static void
bad_arguments(void **state)
{
	static const char *const commands[] = {
		"a FETCH",
		"a FETCH 1",
		"a FETCH 1 ",
		"a FETCH 1 ()",
		"a FETCH 1 (UID",
		"a FETCH 1 (UID ALL)",
		"a FETCH 1 (ALL)",
		"a FETCH 1 (UID  FLAGS)",
		"a FETCH 1 UID FLAGS",
		"a FETCH 1 NOTHING",
		"a FETCH 5 UID",
		"a FETCH 0 UID",
		"a FETCH x UID",
		"a FETCH 1 BODY[",
		"a FETCH 1 BODY[]]",
		"a FETCH 1 BODY[]<0.0>",
		"a FETCH 1 BODY[]<0>",
		"a FETCH 1 BODY[]<a.1>",
		"a FETCH 1 BODY[]<1.99999999999999999999>",
		"a FETCH 1 BODY[]<-1.5>",
		"a FETCH 1 BODY[MIME]",
		"a FETCH 1 BODY[0]",
		"a FETCH 1 BODY[1.]",
		"a FETCH 1 BODY[1..2]",
		"a FETCH 1 BODY[HEADER.FIELDS]",
		"a FETCH 1 BODY[HEADER.FIELDS ()]",
		"a FETCH 1 BODY.PEEK",
		"a FETCH 1 RFC822[]",
		"a FETCH 1 RFC822.PEEK",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct str said = fake_run(&fake, commands[i]);

		if (!str_starts_i(said, "BAD "))
			fail_msg("%s gave %s", commands[i], said.p);
	}
	assert_int_equal(fake.contents_opened, 0);
}

static void
bounded_arguments(void **state)
{
	struct buf deep = BUF_INIT(0), many = BUF_INIT(0);

	(void)state;
	buf_add_cstr(&deep, "a FETCH 1 BODY.PEEK[1");
	buf_add_cstr(&many, "a FETCH 1 (UID");
	for (int i = 0; i < 20000; i++)
		buf_add_cstr(&deep, ".1");
	for (int i = 0; i < FETCH_ITEMS_MAX; i++)
		buf_add_cstr(&many, " UID");
	buf_add_cstr(&deep, "]");
	buf_add_cstr(&many, ")");
	assert_true(str_starts_i(fake_run_bytes(&fake, buf_str(&deep)), "BAD "));
	assert_true(str_starts_i(fake_run_bytes(&fake, buf_str(&many)), "BAD "));
	buf_free(&deep);
	buf_free(&many);
}

/* The same large header many times: refused, before memory runs out. */
static void
bounded_response(void **state)
{
	struct buf text = BUF_INIT(0), command = BUF_INIT(0);

	(void)state;
	while (text.len < 1 << 20)
		buf_add_cstr(&text, "X-Field: some value\n");
	messages[0] = (struct fake_message){.text = text.p, .len = text.len, .uid = 10};
	buf_add_cstr(&command, "a FETCH 1:2 (UID");
	for (int i = 0; i < 200; i++)
		buf_add_cstr(&command, " BODY.PEEK[HEADER.FIELDS.NOT (a)]");
	buf_add_cstr(&command, ")");
	assert_true(str_ends_i(fake_run_bytes(&fake, buf_str(&command)), "over a size limit\r\n"));
	assert_non_null(strstr(fake.said.p, "\r\na NO [LIMIT] Message 1 (UID 10)"));
	assert_true(str_starts_i(buf_str(&fake.said), "* 2 FETCH (UID 20 "));
	buf_free(&text);
	buf_free(&command);
}

static void
cached_items(void **state)
{
	static const struct row rows[] = {
		{"a FETCH 1 ENVELOPE",
			"* 1 FETCH (ENVELOPE (NIL \"one\" ((\"Ann\" NIL \"ann\" \"example.test\")) "
			"((\"Ann\" NIL \"ann\" \"example.test\")) ((\"Ann\" NIL \"ann\" "
			"\"example.test\")) ((NIL NIL \"bob\" \"example.test\")) NIL NIL NIL "
			"NIL))\r\n" DONE},
		{"a FETCH 1 BODY",
			"* 1 FETCH (BODY (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL "
			"\"7bit\" 16 2))\r\n" DONE},
		{"a FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (subject FROM Cc)])",
			"* 1 FETCH (UID 10 BODY[HEADER.FIELDS (subject FROM Cc)] {46}\r\n"
			"Subject: one\r\nFrom: Ann <ann@example.test>\r\n\r\n)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[HEADER.FIELDS (\"Subject\")]<3.5>",
			"* 1 FETCH (BODY[HEADER.FIELDS (Subject)]<3> {5}\r\nject:)\r\n" DONE},
	};

	(void)state;
	CHECK_ROWS(rows);
	assert_int_equal(fake.contents_opened, 0);
}

static void
sections(void **state)
{
	static const struct row rows[] = {
		{"a FETCH 3 BODY.PEEK[]",
			"* 3 FETCH (BODY[] {15}\r\n\r\nonly a body\r\n)\r\n" DONE},
		{"a FETCH 3 RFC822.HEADER", "* 3 FETCH (RFC822.HEADER {2}\r\n\r\n)\r\n" DONE},
		{"a FETCH 3 BODY.PEEK[1]", "* 3 FETCH (BODY[1] {13}\r\nonly a body\r\n)\r\n" DONE},
		{"a FETCH 4 BODY.PEEK[]", "* 4 FETCH (BODY[] {13}\r\nSubject: bare)\r\n" DONE},
		{"a FETCH 4 BODY.PEEK[TEXT]", "* 4 FETCH (BODY[TEXT] {0}\r\n)\r\n" DONE},
		{"a FETCH 1 (BODY.PEEK[HEADER.FIELDS (x-odd)] UID BODY.PEEK[TEXT]<6.4>)",
			"* 1 FETCH (BODY[HEADER.FIELDS (x-odd)] {16}\r\nX-Odd: a\r\n\tb\r\n\r\n UID "
			"10 BODY[TEXT]<6> {4}\r\n\r\nli)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[TEXT]<7.100>",
			"* 1 FETCH (BODY[TEXT]<7> {9}\r\n\nline 2\r\n)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[TEXT]<0.100>",
			"* 1 FETCH (BODY[TEXT]<0> {16}\r\nline 1\r\nline 2\r\n)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[]<4000000000.100>",
			"* 1 FETCH (BODY[]<4000000000> {0}\r\n)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[2]", "* 1 FETCH (BODY[2] NIL)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[1.1]<0.4>", "* 1 FETCH (BODY[1.1]<0> NIL)\r\n" DONE},
		{"a FETCH 2 (BODY[1] BODY[2.HEADER] BODY[2.TEXT] BODY[2.1] BODY[2.MIME])",
			"* 2 FETCH (BODY[1] {5}\r\nfirst BODY[2.HEADER] {41}\r\n"
			"Subject: inner\r\nFrom: in@example.test\r\n\r\n BODY[2.TEXT] {6}\r\ninside "
			"BODY[2.1] {6}\r\ninside BODY[2.MIME] {32}\r\n"
			"Content-Type: message/rfc822\r\n\r\n)\r\n" DONE},
		{"a FETCH 2 BODY.PEEK[2.HEADER.FIELDS.NOT (Subject)]",
			"* 2 FETCH (BODY[2.HEADER.FIELDS.NOT (Subject)] {25}\r\n"
			"From: in@example.test\r\n\r\n)\r\n" DONE},
		{"a FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (from to x-odd)]",
			"* 1 FETCH (BODY[HEADER.FIELDS.NOT (from to x-odd)] {16}\r\n"
			"Subject: one\r\n\r\n)\r\n" DONE},
	};

	(void)state;
	CHECK_ROWS(rows);
	assert_int_equal(fake.stores, 0);
}

static void
seen_is_set_once_and_told(void **state)
{
	(void)state;
	assert_string_equal(fake_run(&fake, "a FETCH 1:3 BODY[TEXT]<0.1>").p,
		"* 1 FETCH (BODY[TEXT]<0> {1}\r\nl FLAGS (\\Answered \\Seen \\Recent))\r\n"
		"* 2 FETCH (BODY[TEXT]<0> {1}\r\n-)\r\n"
		"* 3 FETCH (BODY[TEXT]<0> {1}\r\no FLAGS (\\Seen))\r\n" DONE);
	assert_int_equal(fake.stores, 1);
	assert_string_equal(fake_run(&fake, "a FETCH 1 (FLAGS BODY[TEXT]<0.1>)").p,
		"* 1 FETCH (FLAGS (\\Answered \\Seen \\Recent) BODY[TEXT]<0> {1}\r\nl)\r\n" DONE);
	assert_int_equal(fake.stores, 1);
	/* Out of the cache record, and yet a BODY[...] without PEEK. */
	assert_string_equal(fake_run(&fake, "a FETCH 4 BODY[HEADER.FIELDS (Cc)]").p,
		"* 4 FETCH (BODY[HEADER.FIELDS (Cc)] {2}\r\n\r\n FLAGS (\\Seen))\r\n" DONE);
	assert_int_equal(fake.stores, 2);
}

static void
examine_sets_nothing(void **state)
{
	(void)state;
	fake.session.read_only = 1;
	assert_string_equal(fake_run(&fake, "a FETCH 3 RFC822.TEXT").p,
		"* 3 FETCH (RFC822.TEXT {13}\r\nonly a body\r\n)\r\n" DONE);
	assert_int_equal(fake.stores, 0);
}

static void
mail_is_read_while_the_index_is_down(void **state)
{
	(void)state;
	fake.store_error = E_TEMPFAIL;
	assert_string_equal(fake_run(&fake, "a FETCH 3 BODY[1]").p,
		"* 3 FETCH (BODY[1] {13}\r\nonly a body\r\n)\r\n" DONE);
}

static void
expunged_messages(void **state)
{
	static const struct row rows[] = {
		{"a FETCH 1:3 UID",
			"* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
			"a OK [EXPUNGEISSUED] Some of the messages no longer exist\r\n"},
		{"a FETCH 2 UID", "a NO [EXPUNGEISSUED] These messages no longer exist\r\n"},
		{"a FETCH 2,4 ENVELOPE", "a NO [EXPUNGEISSUED] These messages no longer exist\r\n"},
		{"a FETCH 2 BODY[]", "a NO [EXPUNGEISSUED] These messages no longer exist\r\n"},
		{"a UID FETCH 20 UID",
			"a OK [EXPUNGEISSUED] Some of the messages no longer exist\r\n"},
	};

	(void)state;
	messages[1].gone = messages[3].gone = 1;
	CHECK_ROWS(rows);
}

static void
unreadable_message(void **state)
{
	(void)state;
	messages[1].unreadable = E_IO;
	assert_string_equal(fake_run(&fake, "a FETCH 1:3 (UID BODY.PEEK[1]<0.3>)").p,
		"* 1 FETCH (UID 10 BODY[1]<0> {3}\r\nlin)\r\n"
		"* 3 FETCH (UID 30 BODY[1]<0> {3}\r\nonl)\r\n"
		"a NO [UNAVAILABLE] Message 2 (UID 20) cannot be read: input/output error\r\n");
	/* What needs no file is answered all the same. */
	assert_string_equal(fake_run(&fake, "a FETCH 2 UID").p, "* 2 FETCH (UID 20)\r\n" DONE);
}

static void
stale_cache_record(void **state)
{
	(void)state;
	messages[0].stale_cache = 1;
	assert_string_equal(fake_run(&fake, "a FETCH 1 BODY.PEEK[TEXT]").p,
		"* 1 FETCH (BODY[TEXT] {16}\r\nline 1\r\nline 2\r\n)\r\n" DONE);
}

static void
no_cache_record(void **state)
{
	static const char command[] = "a FETCH 1:4 (UID ENVELOPE BODY BODYSTRUCTURE "
				      "BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[])";
	char *cached;

	(void)state;
	cached = str_dup(fake_run(&fake, command));
	for (size_t i = 0; i < fake.count; i++)
		messages[i].no_cache = 1;
	assert_string_equal(fake_run(&fake, command).p, cached);
	free(cached);
	cached = str_dup(fake_run(&fake, "a FETCH 1:4 FULL"));
	assert_true(str_ends_i(str_of(cached), DONE));
	free(cached);
}

static void
keywords_are_told_first(void **state)
{
	static const char *const names[] = {"$Label1", "Work"};

	(void)state;
	fake.keywords = names;
	fake.keyword_count = 2;
	messages[2].keywords = 2;
	assert_string_equal(fake_run(&fake, "a FETCH 2:3 FLAGS").p,
		"* 2 FETCH (FLAGS (\\Seen))\r\n"
		"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label1 Work)\r\n"
		"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label1 Work "
		"\\*)] Flags that are kept\r\n"
		"* 3 FETCH (FLAGS (Work))\r\n" DONE);
	/* A bit without a name, from a damaged index, does no harm. */
	messages[2].keywords = 1 | 8;
	assert_string_equal(
		fake_run(&fake, "a FETCH 3 FLAGS").p, "* 3 FETCH (FLAGS ($Label1))\r\n" DONE);
}

static void
nul_never_goes_out(void **state)
{
	static const char text[] = "Subject: n\r\n\r\na\0b\r\n";

	(void)state;
	messages[3] = (struct fake_message){.text = text, .len = sizeof(text) - 1, .uid = 40};
	messages[3].as_file = 1;
	assert_string_equal(fake_run(&fake, "a FETCH 4 BODY.PEEK[]").p,
		"* 4 FETCH (BODY[] {19}\r\nSubject: n\r\n\r\na\x80"
		"b\r\n)\r\n" DONE);
}

/* RFC 3516 section 4.3, RFC 8474, RFC 8514, RFC 8970. */
static void
extension_items(void **state)
{
	static const char mixed[] = "Subject: parts\n"
				    "MIME-Version: 1.0\n"
				    "Content-Type: multipart/mixed; boundary=xx\n"
				    "\n"
				    "--xx\n"
				    "Content-Transfer-Encoding: quoted-printable\n"
				    "\n"
				    "caf=C3=A9=\n"
				    " ol=E9\n"
				    "--xx\n"
				    "Content-Type: application/octet-stream\n"
				    "Content-Transfer-Encoding: base64\n"
				    "\n"
				    "AAEC\n"
				    "--xx\n"
				    "Content-Type: application/octet-stream\n"
				    "Content-Transfer-Encoding: x-uue\n"
				    "\n"
				    "begin\n"
				    "--xx--\n";
	static const struct row rows[] = {
		{"a FETCH 2 BINARY.SIZE[1]", "* 2 FETCH (BINARY.SIZE[1] 9)\r\n" DONE},
		{"a FETCH 2 BINARY.PEEK[1]",
			"* 2 FETCH (BINARY[1] {9}\r\ncaf\xc3\xa9 ol\xe9)\r\n" DONE},
		{"a FETCH 2 BINARY.PEEK[1]<4.3>",
			"* 2 FETCH (BINARY[1]<4> {3}\r\n\xa9 o)\r\n" DONE},
		{"a FETCH 2 BINARY.PEEK[1]<90.3>", "* 2 FETCH (BINARY[1]<90> {0}\r\n)\r\n" DONE},
		{"a FETCH 2 BINARY.PEEK[9]", "* 2 FETCH (BINARY[9] NIL)\r\n" DONE},
		{"a FETCH 2 (BINARY.SIZE[2] UID BINARY.SIZE[9])",
			"* 2 FETCH (BINARY.SIZE[2] 3 UID 20 BINARY.SIZE[9] 0)\r\n" DONE},
		{"a FETCH 2 BINARY.PEEK[2]<1.9>",
			"* 2 FETCH (BINARY[2]<1> {2}\r\n\x01\x02)\r\n" DONE},
		{"a FETCH 2 BINARY.SIZE[3]",
			"a NO [UNKNOWN-CTE] Message 2 (UID 20) cannot be read: not supported\r\n"},
		{"a FETCH 2 BINARY.PEEK[]<0.13>",
			"* 2 FETCH (BINARY[]<0> {13}\r\nSubject: part)\r\n" DONE},
		{"a FETCH 2 BINARY[1.MIME]", "BAD only part numbers can stand here\r\n"},
		{"a FETCH 2 BINARY.SIZE[1]<0.1>", "BAD expected the end of the command\r\n"},
		{"a FETCH 2 BINARY[1]<4.1>",
			"* 2 FETCH (BINARY[1]<4> {1}\r\n\xa9 FLAGS (\\Seen))\r\n" DONE},
		{"a FETCH 2 (PREVIEW)",
			"* 2 FETCH (PREVIEW {11}\r\ncaf\xc3\xa9 ol\xef\xbf\xbd)\r\n" DONE},
		{"a FETCH 2 PREVIEW (LAZY)", "* 2 FETCH (PREVIEW NIL)\r\n" DONE},
		{"a FETCH 2 (PREVIEW (LAZY) UID)", "* 2 FETCH (PREVIEW NIL UID 20)\r\n" DONE},
		{"a FETCH 2 PREVIEW (EAGER)", "BAD there is no such FETCH modifier\r\n"},
		{"a FETCH 1 SAVEDATE",
			"* 1 FETCH (SAVEDATE \"01-Jan-1970 00:00:00 +0000\")\r\n" DONE},
		{"a FETCH 1 (EMAILID THREADID)",
			"* 1 FETCH (EMAILID (M0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a) "
			"THREADID (Tabababababababababababababababab))\r\n" DONE},
	};
	static const char with_nul[] = "* 2 FETCH (BINARY[2] ~{3}\r\n\0\1\2)\r\n" DONE;
	struct str said;

	(void)state;
	messages[1] = (struct fake_message){.text = mixed, .len = sizeof(mixed) - 1, .uid = 20};
	CHECK_ROWS(rows);
	said = fake_run(&fake, "a FETCH 2 BINARY.PEEK[2]");
	assert_int_equal(said.len, sizeof(with_nul) - 1);
	assert_memory_equal(said.p, with_nul, said.len);
}

/* Large messages in both forms of line ends, whole and in slices, come out octet for octet. */
static void
large_message(void **state)
{
	enum { LINES = 20000 };
	struct buf lf = BUF_INIT(0), crlf = BUF_INIT(0);
	char command[64];

	(void)state;
	buf_add_cstr(&lf, "Subject: large\n\n");
	buf_add_cstr(&crlf, "Subject: large\r\n\r\n");
	for (int i = 0; i < LINES; i++) {
		buf_printf(&lf, "line %d of many\n", i);
		buf_printf(&crlf, "line %d of many\r\n", i);
	}
	messages[0] = (struct fake_message){.text = lf.p, .len = lf.len, .uid = 10};
	messages[1] =
		(struct fake_message){.text = crlf.p, .len = crlf.len, .uid = 20, .as_file = 1};
	for (size_t off = 0; off < crlf.len + 70000; off += 70001) {
		for (int seq = 1; seq <= 2; seq++) {
			size_t want = off >= crlf.len	       ? 0
				      : crlf.len - off < 70001 ? crlf.len - off
							       : 70001;
			char head[64];
			struct str said;

			snprintf(command, sizeof(command), "a FETCH %d BODY.PEEK[]<%zu.70001>", seq,
				off);
			snprintf(head, sizeof(head), "* %d FETCH (BODY[]<%zu> {%zu}\r\n", seq, off,
				want);
			said = fake_run(&fake, command);
			assert_int_equal(said.len, strlen(head) + want + strlen(")\r\n" DONE));
			assert_memory_equal(said.p, head, strlen(head));
			assert_memory_equal(said.p + strlen(head), crlf.p + (want ? off : 0), want);
			assert_string_equal(said.p + strlen(head) + want, ")\r\n" DONE);
		}
	}
	snprintf(command, sizeof(command), "* 1 FETCH (RFC822 {%zu}\r\n FLAGS (\\Seen))\r\n",
		crlf.len);
	assert_int_equal(fake_run(&fake, "a FETCH 1:2 RFC822").len,
		2 * (crlf.len + strlen(command)) + strlen(" \\Recent") + strlen(DONE));
	buf_free(&lf);
	buf_free(&crlf);
}

/* A literal that was announced and cannot be filled: nothing more may be said. */
static void
file_cut_short(void **state)
{
	struct buf text = BUF_INIT(0);
	char head[64];
	struct str said;

	(void)state;
	buf_add_cstr(&text, "Subject: cut\r\n\r\n");
	while (text.len < 200000)
		buf_add_cstr(&text, "a line\r\n");
	messages[0] = (struct fake_message){
		.text = text.p, .len = text.len, .uid = 10, .as_file = 1, .file_lacks = 50000};
	said = fake_run(&fake, "a FETCH 1:2 BODY.PEEK[]");
	snprintf(head, sizeof(head), "* 1 FETCH (BODY[] {%zu}\r\n", text.len);
	assert_int_equal(said.len, strlen(head) + text.len - 50000);
	assert_memory_equal(said.p, head, strlen(head));
	assert_memory_equal(said.p + strlen(head), text.p, text.len - 50000);
	assert_string_equal(fake.session.end, "cut");
	buf_free(&text);
}

/* More than a round of the scan, and more than a batch. */
static void
many_messages(void **state)
{
	enum { COUNT = 6000 };
	struct fake_message *many = mem_zalloc(COUNT * sizeof(*many));
	struct fake other;
	struct str said, line;
	uint32_t n = 0;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		many[i] = (struct fake_message){.text = plain, .gone = i % 1000 == 999};
	fake_init(&other, many, COUNT);
	for (int body = 0; body < 2; body++) {
		n = 0;
		said = fake_run(&other, body ? "a FETCH 1:* (UID BODY[TEXT]<2.1>)"
					     : "a FETCH 1:* (UID FLAGS INTERNALDATE)");
		while ((line = str_split(&said, '\n')).p && line.p[0] == '*') {
			char head[64];

			n += n % 1000 == 999 ? 2 : 1;
			snprintf(head, sizeof(head), "* %u FETCH (UID %u ", n, n * 10);
			assert_true(str_starts_i(line, head));
			if (body)
				str_split(&said, '\n');
		}
		assert_int_equal(n, COUNT - 1);
		assert_true(str_starts_i(line, "a OK [EXPUNGEISSUED]"));
	}
	assert_int_equal(other.stores, (COUNT - COUNT / 1000 + 255) / 256);
	fake_fini(&other);
	free(many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(record_items, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded_response, setup, teardown),
		cmocka_unit_test_setup_teardown(cached_items, setup, teardown),
		cmocka_unit_test_setup_teardown(sections, setup, teardown),
		cmocka_unit_test_setup_teardown(seen_is_set_once_and_told, setup, teardown),
		cmocka_unit_test_setup_teardown(examine_sets_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			mail_is_read_while_the_index_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(expunged_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable_message, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_cache_record, setup, teardown),
		cmocka_unit_test_setup_teardown(no_cache_record, setup, teardown),
		cmocka_unit_test_setup_teardown(keywords_are_told_first, setup, teardown),
		cmocka_unit_test_setup_teardown(nul_never_goes_out, setup, teardown),
		cmocka_unit_test_setup_teardown(extension_items, setup, teardown),
		cmocka_unit_test_setup_teardown(large_message, setup, teardown),
		cmocka_unit_test_setup_teardown(file_cut_short, setup, teardown),
		cmocka_unit_test_setup_teardown(many_messages, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
