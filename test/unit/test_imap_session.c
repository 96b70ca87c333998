/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "imap_index.h"
#include "lib/mem.h"

/*
 * Whole dialogues: all that the client says is in the socket before the session begins, so that
 * everything is pipelined, and what the server said is read when it has ended.
 */
static struct buf said;
static struct config *conf;

static const char *
dialogue_bytes(struct str client)
{
	static const char greeting_end[] = "] Logged in\r\n";
	struct auth_user user = {
		.name = mem_strdup("alice@example.test"), .ticket = mem_strdup("")};
	struct session s = {.conf = conf, .channel = -1};
	int fds[2], auth = -1;
	ssize_t n;
	size_t after;
	int status;

	s.info.tag = mem_strdup("L1");
	s.info.user = mem_strdup("alice@example.test");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s.client = stream_create(fds[0]);
	stream_push_input(s.client, client);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	status = imap_session_run(&s, &user, memory_index_user(), &auth);
	assert_true(status == 0 || status == SESSION_AGAIN);
	stream_free(&s.client);
	free(s.info.tag);
	free(s.info.user);
	buf_reset(&said);
	do {
		assert_int_equal(buf_reserve(&said, 65536), OK);
		n = read(fds[1], said.p + said.len, 65536);
		assert_true(n >= 0);
		said.len += (size_t)n;
	} while (n > 0);
	close(fds[1]);
	after = str_find_str(buf_str(&said), STR("] Logged in\r\n"));
	assert_true(after < said.len);
	return buf_cstr(&said) + after + sizeof(greeting_end) - 1;
}

static const char *
dialogue(const char *client)
{
	return dialogue_bytes(str_of(client));
}

#define BYE_BYE "* BYE Logging out\r\nz OK Logout completed\r\n"
#define FLAGS(k) "(\\Answered \\Flagged \\Deleted \\Seen \\Draft" k ")"
#define MAILBOX_ID                                                                                 \
	"* OK [MAILBOXID (F)] Id of the mailbox\r\n"                                               \
	"* OK [URLMECH INTERNAL] URLs with an authorization\r\n"
#define HIGHEST(n) "* OK [HIGHESTMODSEQ " n "] Highest\r\n"
#define SELECTED(k, n, recent, more)                                                               \
	"* FLAGS " FLAGS(k) "\r\n* OK [PERMANENTFLAGS " FLAGS(k                                    \
		" \\*") "] Flags that are kept\r\n* " n " EXISTS\r\n* " recent " RECENT\r\n" more

static int
fresh(void **state)
{
	(void)state;
	memory_index_reset();
	return 0;
}

static void
greets(void **state)
{
	(void)state;
	(void)dialogue("z LOGOUT\r\n");
	for (const char *const *c = (const char *const[]){" IMAP4rev1 ", " LITERAL+ ", " UIDPLUS ",
		     " IDLE ", " MOVE ", " NAMESPACE ", " UNSELECT", " ENABLE ", " ID ",
		     " MULTIAPPEND ", " SPECIAL-USE ", " CREATE-SPECIAL-USE ", " CHILDREN ",
		     " LIST-EXTENDED ", " LIST-STATUS ", NULL};
		*c; c++)
		assert_non_null(strstr(buf_cstr(&said), *c));
	assert_int_equal(strncmp(buf_cstr(&said), "L1 OK [CAPABILITY IMAP4rev1 ", 28), 0);
}

struct transcript {
	const char *client, *server;
};

static void
check(const struct transcript *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf client = BUF_INIT(0), server = BUF_INIT(0);

		(void)buf_printf(&client, "%sz LOGOUT\r\n", t[i].client);
		(void)buf_printf(&server, "%s" BYE_BYE, t[i].server);
		assert_string_equal(dialogue(buf_cstr(&client)), buf_cstr(&server));
		buf_free(&client);
		buf_free(&server);
	}
}
#define CHECK(t) check(t, sizeof(t) / sizeof((t)[0]))

static void
bad_input(void **state)
{
	static const struct transcript t[] = {
		{"\r\n", "* BAD Position 1: expected a tag\r\n"},
		{"a\r\n", "a BAD Position 2: expected a space\r\n"},
		{"a \r\n", "a BAD Position 3: expected a command\r\n"},
		{"a FROB\r\n", "a BAD Unknown command\r\n"},
		{"a FROB {3}\r\n", "a BAD Unknown command\r\n"},
		{"a FROB {3+}\r\nb X\r\n", "a BAD Unknown command\r\n"},
		{"a FROB {3+}\r\nb X {2+}\r\nyy\r\nb NOOP\r\n",
			"a BAD Unknown command\r\nb OK Noop completed\r\n"},
		{"a LOGIN x y\r\n", "a BAD Already logged in\r\n"},
		{"a STARTTLS\r\n", "a BAD Already logged in\r\n"},
		{"a UID\r\n", "a BAD Position 6: expected a space\r\n"},
		{"a UID NOOP\r\n", "a BAD Unknown command\r\n"},
		{"a CHECK\r\n", "a BAD Select a mailbox first\r\n"},
		{"a UID STORE 1 FLAGS ()\r\n", "a BAD Select a mailbox first\r\n"},
		{"a NOOP x\r\n", "a BAD Position 7: expected the end of the command\r\n"},
		{"a SELECT\r\n", "a BAD Position 9: expected a space\r\n"},
		{"a SELECT (\r\n", "a BAD Position 10: expected a mailbox name\r\n"},
		{"a SELECT {600000}\r\n", "a BAD Position 10: the literal is too large\r\n"},
		{"a SELECT &x\r\n",
			"a BAD Position 10: the mailbox name is not in modified UTF-7\r\n"},
		{"a SELECT x\"\r\n", "a BAD Position 11: expected the end of the command\r\n"},
		{"\x01\x02 NOOP\r\n", "* BAD Position 1: expected a tag\r\n"},
		{"a+b NOOP\r\n", "a BAD Position 2: expected a space\r\n"},
		{"a noop\nb NoOp\r\n", "a OK Noop completed\r\nb OK Noop completed\r\n"},
	};

	(void)state;
	CHECK(t);
}

static void
limits(void **state)
{
	struct buf client = BUF_INIT(0);
	int bads = 0;

	(void)state;
	(void)buf_add_cstr(&client, "tag SELECT ");
	for (int i = 0; i < 300000; i++)
		(void)buf_add_char(&client, 'x');
	(void)buf_add_cstr(&client, " {4+}\r\nabcd\r\nz LOGOUT\r\n");
	assert_string_equal(
		dialogue(buf_cstr(&client)), "tag BAD The command line is too long\r\n" BYE_BYE);
	buf_reset(&client);
	/* A literal that is too large for us to swallow. */
	assert_string_equal(dialogue("a SELECT {99999999999+}\r\nxx"),
		"* BYE [TOOBIG] The literal is too large\r\n");
	for (int i = 0; i < 50; i++)
		(void)buf_add_cstr(&client, "a X\r\n");
	for (const char *p = dialogue(buf_cstr(&client)); (p = strstr(p, "a BAD")) != NULL; p++)
		bads++;
	assert_int_equal(bads, conf->imap_max_errors);
	assert_non_null(strstr(buf_cstr(&said), "* BYE Too many bad commands\r\n"));
	buf_free(&client);
	/* Gone in the middle. */
	assert_string_equal(dialogue("a SELECT {10}\r\nabc"), "+ OK\r\n");
	assert_string_equal(dialogue("a NOO"), "");
}

static void
small_commands(void **state)
{
	static const struct transcript t[] = {
		{"a NAMESPACE\r\n",
			"* NAMESPACE ((\"\" \"/\")) ((\"other/\" \"/\")) ((\"Public/\" \"/\"))\r\na OK Namespace completed\r\n"},
		{"a ID NIL\r\n", "* ID (\"name\" \"Roost\")\r\na OK Id completed\r\n"},
		{"a ID (\"name\" \"x\" \"version\" NIL)\r\n",
			"* ID (\"name\" \"Roost\")\r\na OK Id completed\r\n"},
		{"a ID (\"name\")\r\n", "a BAD Position 13: expected a space\r\n"},
		{"a ENABLE CONDSTORE X\r\n", "* ENABLED CONDSTORE\r\na OK Enable completed\r\n"},
		{"a ENABLE X\r\n", "* ENABLED\r\na OK Enable completed\r\n"},
		{"a SELECT INBOX (QRESYNC (1 2))\r\n",
			"a BAD Position 17: ENABLE QRESYNC first\r\n"},
		{"a SELECT INBOX ()\r\n", "a BAD Position 18: expected a parameter\r\n"},
		{"a ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1 2 1:*))\r\n",
			"* ENABLED QRESYNC\r\na OK Enable completed\r\nb BAD Position 32: \"*\" is "
			"not allowed here\r\n"},
		{"a ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1 2 1:9 (1,2 5)))\r\n",
			"* ENABLED QRESYNC\r\na OK Enable completed\r\nb BAD Position 40: the two sets "
			"differ in length\r\n"},
		{"a ENABLE\r\n", "a BAD Position 9: expected a space\r\n"},
	};

	(void)state;
	CHECK(t);
}

static void
select_close(void **state)
{
	static const struct transcript t[] = {
		{"a EXAMINE inbox\r\n",
			"* FLAGS " FLAGS(
				" Work") "\r\n* OK [PERMANENTFLAGS ()] Flags that are "
					 "kept\r\n* 3 EXISTS\r\n* 3 RECENT\r\n* OK "
					 "[UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY "
					 "1000] UIDs are valid\r\n* OK [UIDNEXT 4] Next "
					 "UID\r\n" MAILBOX_ID HIGHEST(
						 "4") "a OK [READ-ONLY] Examine completed\r\n"},
		{"a SELECT INBOX\r\nb CLOSE\r\nc CLOSE\r\n",
			SELECTED(" Work", "3", "3",
				"") "* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY 1000] UIDs are "
				    "valid\r\n* OK [UIDNEXT 4] Next UID\r\n" MAILBOX_ID HIGHEST(
					    "4") "a OK [READ-WRITE] Select "
						 "completed\r\nb OK Close completed\r\nc BAD Select a mailbox first\r\n"},
		/* The one with \Deleted went; nothing is recent any more. */
		{"a SELECT INBOX\r\nb UNSELECT\r\n",
			SELECTED(" Work", "2", "0",
				"") "* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY 1000] UIDs are "
				    "valid\r\n* OK [UIDNEXT 4] Next UID\r\n" MAILBOX_ID HIGHEST(
					    "5") "a OK [READ-WRITE] Select "
						 "completed\r\nb OK Unselect completed\r\n"},
		{"a SELECT nope\r\nb CHECK\r\n",
			"a NO [NONEXISTENT] There is no such mailbox\r\nb BAD Select a mailbox "
			"first\r\n"},
	};

	(void)state;
	memory_index_message("INBOX", INDEX_SEEN, NULL);
	memory_index_message("INBOX", 0, "Work");
	memory_index_message("INBOX", INDEX_SEEN | INDEX_DELETED, NULL);
	CHECK(t);
}

/* What comes behind "a SELECT INBOX" of n messages without keywords, all seen and recent. */
static const char *
selected(const char *client)
{
	struct buf all = BUF_INIT(0);
	const char *answer, *end;

	(void)buf_printf(&all, "a SELECT INBOX\r\n%sz LOGOUT\r\n", client);
	answer = dialogue(buf_cstr(&all));
	buf_free(&all);
	end = strstr(answer, "Select completed\r\n");
	assert_non_null(end);
	return end + strlen("Select completed\r\n");
}

static void
three_messages(void)
{
	memory_index_reset();
	memory_index_mailbox("Sent", INDEX_USE_SENT);
	for (int i = 0; i < 3; i++)
		memory_index_message("INBOX", INDEX_SEEN, NULL);
}

static void
check_selected(const struct transcript *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf want = BUF_INIT(0);

		three_messages();
		(void)buf_printf(&want, "%s" BYE_BYE, t[i].server);
		assert_string_equal(selected(t[i].client), buf_cstr(&want));
		buf_free(&want);
	}
}
#define CHECK_SELECTED(t) check_selected(t, sizeof(t) / sizeof((t)[0]))

static void
store(void **state)
{
	static const struct transcript t[] = {
		{"b STORE 1 +FLAGS (\\Flagged)\r\n",
			"* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent))\r\nb OK Store completed\r\n"},
		{"b STORE 1:2 -FLAGS \\Seen\r\n",
			"* 1 FETCH (FLAGS (\\Recent))\r\n* 2 FETCH (FLAGS (\\Recent))\r\nb OK "
			"Store completed\r\n"},
		{"b UID STORE 3 FLAGS (\\Draft)\r\n",
			"* 3 FETCH (UID 3 FLAGS (\\Draft \\Recent))\r\nb OK Store completed\r\n"},
		{"b STORE * FLAGS.SILENT ()\r\nc NOOP\r\n",
			"b OK Store completed\r\nc OK Noop completed\r\n"},
		/* A new keyword is announced before it is used. */
		{"b STORE 1 +FLAGS Work\r\n",
			"* FLAGS " FLAGS(" Work") "\r\n* OK [PERMANENTFLAGS " FLAGS(
				" Work \\*") "] Flags that are kept\r\n* 1 FETCH (FLAGS (\\Seen "
					     "\\Recent Work))\r\nb OK Store completed\r\n"},
		{"b STORE 4 FLAGS ()\r\n",
			"b BAD Position 9: there is no message with such a number\r\n"},
		{"b STORE 0 FLAGS ()\r\n", "b BAD Position 9: expected a sequence set\r\n"},
		{"b UID STORE 4294967295:* FLAGS.SILENT ()\r\n", "b OK Store completed\r\n"},
		{"b UID STORE 99 FLAGS ()\r\n", "b OK Store completed, no messages\r\n"},
		{"b STORE 1 FLAGS\r\n", "b BAD Position 16: expected a space\r\n"},
		{"b STORE 1 FLAG ()\r\n", "b BAD Position 11: expected FLAGS or FLAGS.SILENT\r\n"},
		{"b STORE 1 FLAGS (\\Bad)\r\n",
			"b BAD Position 18: there is no such system flag\r\n"},
		{"b EXAMINE INBOX\r\nc STORE 1 FLAGS ()\r\n",
			"* OK [CLOSED] The mailbox before is closed\r\n* FLAGS " FLAGS(
				"") "\r\n* OK [PERMANENTFLAGS ()] Flags that are "
				    "kept\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY "
				    "1000] UIDs are valid\r\n* OK [UIDNEXT 4] Next UID\r\n" MAILBOX_ID
					    HIGHEST("4") "b "
							 "OK [READ-ONLY] Examine completed\r\nc NO [READ-ONLY] "
							 "The mailbox is selected read-only\r\n"},
	};

	(void)state;
	CHECK_SELECTED(t);
}

static void
expunge_copy_move(void **state)
{
	static const struct transcript t[] = {
		{"b STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\nc EXPUNGE\r\n",
			"b OK Store completed\r\n* 1 EXPUNGE\r\n* 2 EXPUNGE\r\nc OK Expunge "
			"completed\r\n"},
		{"b STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\nc UID EXPUNGE 3:9\r\n",
			"b OK Store completed\r\n* 3 EXPUNGE\r\nc OK Expunge completed\r\n"},
		{"b EXPUNGE 1\r\n", "b BAD Position 10: expected the end of the command\r\n"},
		{"b COPY 1,3 Sent\r\nc STATUS Sent (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)\r\n",
			"b OK [COPYUID 1001 1,3 1:2] Copy completed\r\n* STATUS Sent (MESSAGES 2 "
			"RECENT 2 UIDNEXT 3 UIDVALIDITY 1001 UNSEEN 0)\r\nc OK Status "
			"completed\r\n"},
		{"b COPY 1 Nope\r\n", "b NO [TRYCREATE] There is no such mailbox\r\n"},
		{"b UID COPY 77 Sent\r\n", "b OK Completed, no messages\r\n"},
		{"b MOVE 2:3 Sent\r\n",
			"* OK [COPYUID 1001 2:3 1:2] Moved\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\nb OK "
			"Move completed\r\n"},
		{"b UID MOVE 1 \"Sent\"\r\n",
			"* OK [COPYUID 1001 1 1] Moved\r\n* 1 EXPUNGE\r\nb OK Move completed\r\n"},
		{"b COPY 1 INBOX\r\n",
			"* 4 EXISTS\r\n* 4 RECENT\r\nb OK [COPYUID 1000 1 4] Copy completed\r\n"},
	};

	(void)state;
	CHECK_SELECTED(t);
}

/* The index in memory has no log of what vanished: all that is missing may have. */
static void
resynchronize(void **state)
{
#define ENABLE "a ENABLE QRESYNC\r\n"
#define ENABLED "* ENABLED QRESYNC\r\na OK Enable completed\r\n"
#define OPENED(next, highest)                                                                      \
	"* OK [UIDVALIDITY 1000] UIDs are valid\r\n* OK [UIDNEXT " next                            \
	"] Next UID\r\n" MAILBOX_ID                                                                \
	HIGHEST(highest)
#define DONE "b OK [READ-WRITE] Select completed\r\n"
	static const struct transcript t[] = {
		/* UIDs 2 and 4 are gone; 5 was changed behind 6, which is all the client knows. */
		{ENABLE "b SELECT INBOX (QRESYNC (1000 6))\r\n",
			ENABLED SELECTED("", "3", "3", "") OPENED(
				"6", "9") "* VANISHED (EARLIER) 2,4\r\n* 3 FETCH (UID 5 "
					  "FLAGS (\\Flagged \\Seen \\Recent) MODSEQ (9))\r\n" DONE},
		/* Of those it knows, which are more than there ever were. */
		{ENABLE "b SELECT INBOX (QRESYNC (1000 6 3:4000000000))\r\n",
			ENABLED SELECTED("", "3", "0", "")
				OPENED("6", "9") "* VANISHED (EARLIER) 4\r\n* 3 FETCH (UID 5 FLAGS "
						 "(\\Flagged \\Seen) MODSEQ (9))\r\n" DONE},
		{ENABLE "b SELECT INBOX (QRESYNC (1000 9 1:5))\r\n",
			ENABLED SELECTED("", "3", "0", "") OPENED("6", "9") DONE},
		/* Its first two messages are those of the mailbox: it knows that 2 is gone. */
		{ENABLE "b SELECT INBOX (QRESYNC (1000 6 1:5 (1:3 1,3:4)))\r\n",
			ENABLED SELECTED("", "3", "0", "")
				OPENED("6", "9") "* VANISHED (EARLIER) 4\r\n* 3 FETCH (UID 5 FLAGS "
						 "(\\Flagged \\Seen) MODSEQ (9))\r\n" DONE},
		/* Another mailbox by the same name: nothing more is said. */
		{ENABLE "b SELECT INBOX (QRESYNC (999 6))\r\n",
			ENABLED SELECTED("", "3", "0", "") OPENED("6", "9") DONE},
		/* A moment that never was. */
		{ENABLE "b SELECT INBOX (QRESYNC (1000 100 5))\r\n",
			ENABLED SELECTED("", "3", "0", "")
				OPENED("6", "9") "* 3 FETCH (UID 5 FLAGS (\\Flagged \\Seen) MODSEQ "
						 "(9))\r\n" DONE},
		{"a SELECT INBOX (CONDSTORE)\r\nb UID FETCH 1:* (FLAGS) (CHANGEDSINCE 6 VANISHED)\r\n",
			SELECTED("", "3", "0", "") OPENED("6",
				"9") "a OK [READ-WRITE] Select completed\r\nb BAD Position 50: "
				     "VANISHED needs UID FETCH and ENABLE QRESYNC\r\n"},
	};

	(void)state;
	memory_index_reset();
	for (int i = 0; i < 5; i++)
		memory_index_message("INBOX", INDEX_SEEN, NULL);
	memory_index_remove("INBOX", 2);
	memory_index_remove("INBOX", 4);
	memory_index_flag("INBOX", 5, INDEX_SEEN | INDEX_FLAGGED);
	CHECK(t);
}

/* What a CONDSTORE client is told of its own changes and those of others. */
static void
conditional_store(void **state)
{
	static const struct transcript t[] = {
		{"b STORE 1 (UNCHANGEDSINCE 4) +FLAGS.SILENT (\\Flagged)\r\n",
			HIGHEST("4") "* 1 FETCH (UID 1 MODSEQ (5))\r\nb OK Store completed\r\n"},
		{"b STORE 1:3 (UNCHANGEDSINCE 2) +FLAGS (\\Flagged)\r\n",
			HIGHEST("4") "* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent) MODSEQ (5))\r\n"
				     "b OK [MODIFIED 2:3] Some of them were changed by somebody else\r\n"},
		{"b UID STORE 2 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Flagged)\r\n",
			HIGHEST("4") "b OK [MODIFIED 2] Some of them were changed by somebody else\r\n"},
		{"b STORE 1 (UNCHANGEDSINCE) FLAGS ()\r\n",
			"b BAD Position 26: expected a space\r\n"},
		{"b FETCH 1 MODSEQ\r\nc STORE 2 -FLAGS (\\Seen)\r\n",
			HIGHEST("4") "* 1 FETCH (MODSEQ (2))\r\nb OK FETCH completed\r\n* 2 FETCH (UID 2 "
				     "FLAGS (\\Recent) MODSEQ (5))\r\nc OK Store completed\r\n"},
		{"b FETCH 1:3 (FLAGS) (CHANGEDSINCE 3)\r\n",
			HIGHEST("4") "* 3 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (4))\r\nb OK FETCH "
				     "completed\r\n"},
		{"b STATUS INBOX (HIGHESTMODSEQ)\r\n",
			HIGHEST("4") "* STATUS INBOX (HIGHESTMODSEQ 4)\r\nb OK Status completed\r\n"},
		{"b ENABLE QRESYNC\r\nc STORE 1 +FLAGS.SILENT (\\Deleted)\r\nd EXPUNGE\r\n",
			"* ENABLED QRESYNC\r\n" HIGHEST(
				"4") "b OK Enable completed\r\n* 1 FETCH (UID 1 "
				     "MODSEQ (5))\r\nc OK Store completed\r\n* VANISHED 1\r\nd OK [HIGHESTMODSEQ "
				     "6] Expunge completed\r\n"},
	};

	(void)state;
	CHECK_SELECTED(t);
}

static void
append(void **state)
{
	static const struct transcript t[] = {
		{"b APPEND Sent {3}\r\nabc\r\n",
			"+ OK\r\nb OK [APPENDUID 1001 1] Append completed\r\n"},
		{"b APPEND INBOX (\\Seen) {3+}\r\nabc\r\n",
			"* 4 EXISTS\r\n* 4 RECENT\r\nb OK [APPENDUID 1000 4] Append completed\r\n"},
		{"b APPEND {4+}\r\nSent (\\Seen \\Draft) \" 1-Feb-2026 10:00:00 +0100\" "
		 "{3+}\r\nabc\r\n",
			"b OK [APPENDUID 1001 1] Append completed\r\n"},
		{"b APPEND Sent {3+}\r\nabc (\\Seen) {2+}\r\nde {1+}\r\nf\r\n",
			"b OK [APPENDUID 1001 1:3] Append completed\r\n"},
		{"b APPEND Nope {3}\r\n", "b NO [TRYCREATE] There is no such mailbox\r\n"},
		{"b APPEND Nope {3+}\r\nabc\r\n", "b NO [TRYCREATE] There is no such mailbox\r\n"},
		{"b APPEND Sent {60000000}\r\n",
			"b NO [TOOBIG] The message is larger than this server takes\r\n"},
		{"b APPEND Sent {9223372036854775807}\r\n",
			"b NO [TOOBIG] The message is larger than this server takes\r\n"},
		{"b APPEND Sent {9223372036854775808}\r\n",
			"b BAD Position 15: the literal is too large\r\n"},
		{"b APPEND Sent {0}\r\n", "b NO A message cannot be empty\r\n"},
		/* Called off with an empty one: none is kept. */
		{"b APPEND Sent {3+}\r\nabc {0+}\r\n\r\nc STATUS Sent (MESSAGES)\r\n",
			"b NO A message cannot be empty\r\n* STATUS Sent (MESSAGES 0)\r\nc OK "
			"Status completed\r\n"},
		{"b APPEND Sent {3+}\r\nabcx\r\nc STATUS Sent (MESSAGES)\r\n",
			"b BAD Position 24: expected the end of the command\r\n* STATUS Sent "
			"(MESSAGES 0)\r\nc OK Status completed\r\n"},
		{"b APPEND Sent (\\Foo) {3+}\r\nabc\r\n",
			"b BAD Position 16: there is no such system flag\r\n"},
		{"b APPEND Sent \"x\" {3+}\r\nabc\r\n",
			"b BAD Position 15: expected a date such as \"01-Feb-2026 10:11:12 "
			"+0000\"\r\n"},
		{"b APPEND Sent\r\n", "b BAD Position 14: expected a space\r\n"},
		{"b APPEND Sent abc\r\n", "b BAD Position 15: expected a literal\r\n"},
	};

	(void)state;
	CHECK_SELECTED(t);
	three_messages();
	(void)dialogue("b APPEND Sent {5+}\r\na\r\nb\n\r\nz LOGOUT\r\n");
	assert_true(str_is(memory_index_text("Sent", 1), "a\r\nb\n"));
	assert_string_equal(dialogue_bytes(STR("b APPEND Sent {3+}\r\na\0b\r\nz LOGOUT\r\n")),
		"b BAD Position 15: a NUL byte in the message\r\n" BYE_BYE);
	assert_int_equal(memory_index_text("Sent", 2).len, 0);
}

static void
failures(void **state)
{
	static const struct {
		enum err e;
		const char *answer;
	} cases[] = {
		{E_TEMPFAIL, "b NO [UNAVAILABLE] Not possible at the moment, try again\r\n"},
		{E_NOSPACE, "b NO [UNAVAILABLE] Not possible at the moment, try again\r\n"},
		{E_QUOTA, "b NO [OVERQUOTA] The quota leaves no room for this\r\n"},
	};
	static const char *const commands[] = {
		"b APPEND Sent {3}\r\n",
		"b APPEND Sent {3+}\r\nabc\r\n",
		"b COPY 1 Sent\r\n",
		"b MOVE 1 Sent\r\n",
		"b STORE 1 FLAGS ()\r\n",
		"b CREATE x\r\n",
		"b DELETE Sent\r\n",
		"b RENAME Sent x\r\n",
		"b SUBSCRIBE Sent\r\n",
		"b EXPUNGE\r\n",
		"b CLOSE\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t k = 0; k < sizeof(commands) / sizeof(commands[0]); k++) {
			struct buf want = BUF_INIT(0);

			three_messages();
			memory_index_fail(cases[i].e);
			(void)buf_printf(&want, "%s" BYE_BYE, cases[i].answer);
			assert_string_equal(selected(commands[k]), buf_cstr(&want));
			buf_free(&want);
		}
	}
}

#define RUMP "imap://alice@h/INBOX/;UID=1;URLAUTH=anonymous"
#define TOKEN_OF_ZEROS "000000000000000000000000000000000000000000000000000000000000000000"

static void
urls_with_an_authorization(void **state)
{
	static const struct transcript t[] = {
		{"a GENURLAUTH " RUMP " internal\r\n",
			"* GENURLAUTH \"" RUMP ":INTERNAL:" TOKEN_OF_ZEROS
			"\"\r\na OK Genurlauth completed\r\n"},
		{"a GENURLAUTH " RUMP " XSAMPLE\r\n",
			"a NO [CANNOT] There is no such mechanism\r\n"},
		{"a GENURLAUTH " RUMP "\r\n", "a BAD Position 59: expected a space\r\n"},
		{"a GENURLAUTH " RUMP " INTERNAL " RUMP "\r\n",
			"a BAD Position 114: expected a space\r\n"},
		{"a GENURLAUTH " RUMP ":INTERNAL:" TOKEN_OF_ZEROS " INTERNAL\r\n",
			"a BAD This is no URL of a message with an owner and an access "
			"identifier\r\n"},
		{"a GENURLAUTH \"imap://h/INBOX/;UID=1;URLAUTH=anonymous\" INTERNAL\r\n",
			"a BAD This is no URL of a message with an owner and an access "
			"identifier\r\n"},
		{"a GENURLAUTH \"imap://alice@h/INBOX/;UID=1\" INTERNAL\r\n",
			"a BAD This is no URL of a message with an owner and an access "
			"identifier\r\n"},
		{"a GENURLAUTH \"imap://bob@h/INBOX/;UID=1;URLAUTH=anonymous\" INTERNAL\r\n",
			"a BAD The owner in the URL is somebody else\r\n"},
		{"a URLFETCH x imap://h/\r\n",
			"* URLFETCH x NIL \"imap://h/\" NIL\r\na OK Urlfetch completed\r\n"},
		{"a URLFETCH\r\n", "a BAD Position 11: expected a space\r\n"},
		{"a URLFETCH (\r\n", "a BAD Position 12: expected an atom or string\r\n"},
		{"a RESETKEY\r\n", "a OK All keys removed\r\n"},
		{"a RESETKEY INBOX\r\n", "a OK [URLMECH INTERNAL] Resetkey completed\r\n"},
		{"a RESETKEY INBOX INTERNAL internal\r\n",
			"a OK [URLMECH INTERNAL] Resetkey completed\r\n"},
		{"a RESETKEY INBOX XSAMPLE\r\n", "a NO [CANNOT] There is no such mechanism\r\n"},
		{"a RESETKEY nope\r\n", "a NO [NONEXISTENT] There is no such mailbox\r\n"},
		{"a RESETKEY \"\"\r\n", "a NO [NONEXISTENT] There is no such mailbox\r\n"},
	};

	(void)state;
	CHECK(t);
	/* Another session's key; not told twice, and not of one's own. */
	assert_string_equal(selected("b RESETKEY INBOX\r\nc NOOP\r\nd RESETKEY\r\ne NOOP\r\n"),
		"b OK [URLMECH INTERNAL] Resetkey completed\r\nc OK Noop completed\r\n"
		"* OK [URLMECH INTERNAL] The key was reset\r\nd OK All keys removed\r\n"
		"e OK Noop completed\r\n" BYE_BYE);
}

static void
mailboxes(void **state)
{
	static const struct transcript t[] = {
		{"a CREATE Work/2026/\r\nb CREATE Work/2026\r\n",
			"a OK [MAILBOXID (F)] Create completed\r\nb NO [ALREADYEXISTS] There already is such a "
			"mailbox\r\n"},
		{"a CREATE inbox\r\n", "a NO [ALREADYEXISTS] There already is such a mailbox\r\n"},
		{"a CREATE ../../x\r\n", "a NO [CANNOT] This cannot be the name of a mailbox\r\n"},
		{"a CREATE \"\"\r\n", "a NO [CANNOT] This cannot be the name of a mailbox\r\n"},
		{"a CREATE &AOQ-\r\nb LIST \"\" &AOQ-\r\n",
			"a OK [MAILBOXID (F)] Create completed\r\n* LIST (\\HasNoChildren) \"/\" &AOQ-\r\nb OK "
			"List completed\r\n"},
		{"a CREATE S2 (USE (\\Sent))\r\nb LIST (SPECIAL-USE) \"\" *\r\n",
			"a OK [MAILBOXID (F)] Create completed\r\n* LIST (\\HasNoChildren \\Sent) \"/\" S2\r\nb OK "
			"List completed\r\n"},
		{"a CREATE A (USE (\\All))\r\nb CREATE B (USE (\\Foo))\r\nc CREATE C (USE (\\Sent "
		 "\\Junk))\r\n",
			"a NO [USEATTR] This special use is not supported\r\nb NO [USEATTR] This "
			"special use is not supported\r\nc NO [USEATTR] This special use is not "
			"supported\r\n"},
		{"a CREATE A (USE \\All)\r\n", "a BAD Position 17: expected \"(\"\r\n"},
		{"a DELETE INBOX\r\n", "a NO [CANNOT] INBOX cannot be deleted\r\n"},
		{"a DELETE nope\r\n", "a NO [NONEXISTENT] There is no such mailbox\r\n"},
		{"a RENAME nope x\r\n", "a NO [NONEXISTENT] There is no such mailbox\r\n"},
		{"a RENAME S2 INBOX\r\n",
			"a NO [ALREADYEXISTS] There already is such a mailbox\r\n"},
		{"a RENAME S2 S3\r\nb DELETE S3\r\n",
			"a OK Rename completed\r\nb OK Delete completed\r\n"},
		{"a CREATE P/C\r\nb CREATE P\r\nc DELETE P\r\n",
			"a OK [MAILBOXID (F)] Create completed\r\nb OK [MAILBOXID (F)] Create completed\r\nc NO [HASCHILDREN] "
			"There are mailboxes below it\r\n"},
		{"a STATUS nope (MESSAGES)\r\n", "a NO [NONEXISTENT] There is no such mailbox\r\n"},
		{"a STATUS INBOX ()\r\n", "a BAD Position 18: expected a status item\r\n"},
		{"a STATUS INBOX (FOO)\r\n", "a BAD Position 17: there is no such status item\r\n"},
	};

	(void)state;
	CHECK(t);
}

static void
list(void **state)
{
	static const struct transcript t[] = {
		{"a LIST \"\" \"\"\r\n",
			"* LIST (\\Noselect) \"/\" \"\"\r\na OK List completed\r\n"},
		{"a LIST \"\" %\r\n",
			"* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasNoChildren \\Sent) "
			"\"/\" Sent\r\n* LIST (\\HasChildren) \"/\" a\r\n* LIST (\\HasChildren "
			"\\Noselect) \"/\" b\r\na OK List completed\r\n"},
		{"a LIST a/ %\r\n",
			"* LIST (\\HasNoChildren) \"/\" a/x\r\na OK List completed\r\n"},
		{"a LIST \"\" (inbox a/%) RETURN (CHILDREN SUBSCRIBED)\r\n",
			"* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\r\n* LIST "
			"(\\HasNoChildren \\Subscribed) \"/\" a/x\r\na OK List completed\r\n"},
		{"a LIST (SUBSCRIBED) \"\" *\r\n",
			"* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\r\n* LIST "
			"(\\HasNoChildren \\Subscribed) \"/\" a/x\r\n* LIST (\\HasNoChildren "
			"\\NonExistent \\Subscribed) \"/\" gone\r\na OK List completed\r\n"},
		{"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n",
			"* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\r\n* LIST "
			"(\\HasChildren) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n* LIST "
			"(\\HasNoChildren \\NonExistent \\Subscribed) \"/\" gone\r\na OK List "
			"completed\r\n"},
		{"a LIST (RECURSIVEMATCH) \"\" %\r\n",
			"a BAD Position 24: RECURSIVEMATCH needs SUBSCRIBED\r\n"},
		{"a LIST (FOO) \"\" %\r\n", "a BAD Position 9: there is no such LIST option\r\n"},
		{"a LIST () \"\" b\r\n",
			"* LIST (\\HasChildren \\NonExistent) \"/\" b\r\na OK List completed\r\n"},
		{"a LIST \"\" a* RETURN (STATUS (MESSAGES UIDNEXT))\r\n",
			"* LIST (\\HasChildren) \"/\" a\r\n* STATUS a (MESSAGES 0 UIDNEXT 1)\r\n* "
			"LIST (\\HasNoChildren) \"/\" a/x\r\n* STATUS a/x (MESSAGES 0 UIDNEXT "
			"1)\r\na OK List completed\r\n"},
		{"a LSUB \"\" %\r\n",
			"* LSUB (\\HasNoChildren) \"/\" INBOX\r\n* LSUB (\\HasChildren \\Noselect) "
			"\"/\" a\r\n* LSUB (\\HasNoChildren) \"/\" gone\r\na OK Lsub "
			"completed\r\n"},
		{"a LSUB \"\" *\r\n",
			"* LSUB (\\HasNoChildren) \"/\" INBOX\r\n* LSUB (\\HasNoChildren) \"/\" "
			"a/x\r\n* LSUB (\\HasNoChildren) \"/\" gone\r\na OK Lsub completed\r\n"},
		{"a UNSUBSCRIBE gone\r\nb LSUB \"\" g*\r\n",
			"a OK Unsubscribe completed\r\nb OK Lsub completed\r\n"},
	};

	(void)state;
	memory_index_mailbox("a", 0);
	memory_index_mailbox("a/x", 0);
	memory_index_mailbox("b/y", 0);
	memory_index_mailbox("Sent", INDEX_USE_SENT);
	(void)index_subscribe(memory_index_user(), STR("a/x"), 1);
	(void)index_subscribe(memory_index_user(), STR("gone"), 1);
	(void)index_subscribe(memory_index_user(), STR("INBOX"), 1);
	CHECK(t);
}

static void
something_happens(void)
{
	memory_index_message("INBOX", 0, NULL);
	memory_index_flag("INBOX", 2, INDEX_FLAGGED);
	memory_index_remove("INBOX", 1);
}

static void
idle(void **state)
{
	(void)state;
	three_messages();
	memory_index_on_watch(something_happens);
	/* The commands behind DONE are in the same packet. */
	assert_string_equal(selected("b IDLE\r\nDONE\r\nc NOOP\r\n"),
		"+ idling\r\n* 1 EXPUNGE\r\n* 1 FETCH (FLAGS (\\Flagged \\Recent))\r\n* 3 "
		"EXISTS\r\n* 3 RECENT\r\nb OK Idle completed\r\nc OK Noop completed\r\n" BYE_BYE);
	three_messages();
	assert_string_equal(selected("b IDLE\r\nSTOP\r\nc IDLE x\r\n"),
		"+ idling\r\nb BAD Position 9: expected DONE\r\nc BAD Position 7: expected the end "
		"of the command\r\n" BYE_BYE);
	/* Without a mailbox. */
	assert_string_equal(dialogue("b IDLE\r\ndone\r\nz LOGOUT\r\n"),
		"+ idling\r\nb OK Idle completed\r\n" BYE_BYE);
	assert_string_equal(dialogue("b IDLE\r\n"), "+ idling\r\n");
}

static void
drop_inbox(void)
{
	memory_index_drop_mailbox("INBOX");
}

static void
mailbox_deleted(void **state)
{
	(void)state;
	three_messages();
	memory_index_on_watch(drop_inbox);
	assert_string_equal(selected("b IDLE\r\nDONE\r\n"),
		"+ idling\r\n* BYE The selected mailbox was deleted\r\n");
	/* By this client itself. */
	three_messages();
	assert_string_equal(
		dialogue("a SELECT Sent\r\nb DELETE Sent\r\nc CHECK\r\nz LOGOUT\r\n") +
			strlen(SELECTED("", "0", "0",
				"") "* OK [UIDVALIDITY 1001] UIDs are valid\r\n* OK [UIDNEXT 1] Next "
				    "UID\r\n" MAILBOX_ID HIGHEST(
					    "4") "a OK [READ-WRITE] Select completed\r\n"),
		"b OK Delete completed\r\nc BAD Select a mailbox first\r\n" BYE_BYE);
}

static void
too_many_keywords(void **state)
{
	(void)state;
	three_messages();
	memory_index_fail(E_TOOBIG);
	assert_string_equal(selected("b STORE 1 FLAGS (x)\r\n"),
		"b NO [LIMIT] Too many different keywords in this mailbox\r\n" BYE_BYE);
}

static int
begin_all(void **state)
{
	(void)state;
	conf = conf_defaults("/nonexistent");
	return 0;
}

static int
end_all(void **state)
{
	(void)state;
	memory_index_reset();
	memory_index_drop_mailbox("INBOX");
	buf_free(&said);
	conf_free(&conf);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(greets, fresh),
		cmocka_unit_test_setup(bad_input, fresh),
		cmocka_unit_test_setup(limits, fresh),
		cmocka_unit_test_setup(small_commands, fresh),
		cmocka_unit_test_setup(select_close, fresh),
		cmocka_unit_test_setup(store, fresh),
		cmocka_unit_test_setup(expunge_copy_move, fresh),
		cmocka_unit_test_setup(resynchronize, fresh),
		cmocka_unit_test_setup(conditional_store, fresh),
		cmocka_unit_test_setup(append, fresh),
		cmocka_unit_test_setup(failures, fresh),
		cmocka_unit_test_setup(mailboxes, fresh),
		cmocka_unit_test_setup(urls_with_an_authorization, fresh),
		cmocka_unit_test_setup(list, fresh),
		cmocka_unit_test_setup(idle, fresh),
		cmocka_unit_test_setup(mailbox_deleted, fresh),
		cmocka_unit_test_setup(too_many_keywords, fresh),
	};

	return cmocka_run_group_tests(tests, begin_all, end_all);
}
