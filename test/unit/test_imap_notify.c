/* SPDX-License-Identifier: MIT */
#include "imap/notify_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum err
no_literal(void *ctx, int sync, char *p, size_t size)
{
	(void)ctx;
	(void)sync;
	(void)p;
	(void)size;
	return E_CLOSED;
}

static enum err
no_skip(void *ctx, uint64_t size)
{
	(void)ctx;
	(void)size;
	return E_CLOSED;
}

static enum err
one_line(void *ctx, struct str *line)
{
	*line = str_of(ctx);
	return OK;
}

/* Text begins with the space behind NOTIFY. */
static enum err
parse(const char *text, struct notify_request *out)
{
	struct imap_source source = {one_line, no_literal, no_skip, (void *)text};
	struct imap_parser p;
	enum err e;

	imap_parser_init(&p, &source);
	assert_int_equal(imap_parser_next(&p), OK);
	e = notify_request_parse(&p, out);
	imap_parser_reset(&p);
	return e;
}

static void
is_bad(const char *text)
{
	struct notify_request r;
	enum err e = parse(text, &r);

	if (!e)
		print_error("%s was taken\n", text);
	assert_int_equal(e, E_PARSE);
	notify_request_fini(&r);
}

static void
test_groups(void **state)
{
	struct notify_request r;

	(void)state;
	assert_int_equal(parse(" set status (selected MessageNew (uid body.peek[header.fields "
			       "(from to subject)]) MessageExpunge) (subtree (Lists a/b) "
			       "(messagenew MESSAGEEXPUNGE FlagChange)) (inboxes NONE)",
				 &r),
		OK);
	assert_true(r.status && !r.none && r.has_fetch);
	assert_int_equal(r.count, 3);
	assert_int_equal(r.groups[0].filter, NOTIFY_SELECTED);
	assert_int_equal(r.groups[0].events, IMAP_NOTIFY_MESSAGES);
	assert_int_equal(r.fetch.count, 2);
	assert_int_equal(r.groups[1].events, IMAP_NOTIFY_MESSAGES | IMAP_NOTIFY_FLAGS);
	assert_int_equal(r.groups[2].filter, NOTIFY_PERSONAL);
	assert_int_equal(r.groups[2].events, 0);
	notify_request_fini(&r);
	assert_int_equal(parse(" NONE", &r), OK);
	assert_true(r.none && r.count == 0);
	notify_request_fini(&r);
	/* UID is always there. */
	assert_int_equal(
		parse(" SET (SELECTED-DELAYED (MessageNew (FLAGS) MessageExpunge))", &r), OK);
	assert_int_equal(r.groups[0].filter, NOTIFY_SELECTED_DELAYED);
	assert_int_equal(r.fetch.items[0].kind, FETCH_UID);
	notify_request_fini(&r);
}

static void
test_unknown_events(void **state)
{
	struct notify_request r;

	(void)state;
	assert_int_equal(parse(" SET (personal (AnnotationChange))", &r), OK);
	assert_true(r.bad_event);
	notify_request_fini(&r);
	assert_int_equal(parse(" SET (personal (MessageNew Later MessageExpunge))", &r), OK);
	assert_true(r.bad_event);
	notify_request_fini(&r);
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		" SET",
		" SET ",
		" SETX (personal NONE)",
		" NONE NONE",
		" SET STATUS",
		" SET ()",
		" SET (personal)",
		" SET (personal ())",
		" SET (personal NONE",
		" SET (personal NONE)(personal NONE)",
		" SET (mailboxes NONE)",
		" SET (mailboxes () NONE)",
		" SET (selected NONE) (selected NONE)",
		" SET (selected (MailboxName))",
		" SET (selected (MessageNew))",
		" SET (personal (MessageNew))",
		" SET (personal (FlagChange))",
		" SET (personal (MessageNew (UID) MessageExpunge))",
		" SET (selected (MessageNew (UID) MessageExpunge MessageNew (UID)))",
		" SET (selected (MessageNew () MessageExpunge))",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_bad(bad[i]);
}

static void
test_which_mailboxes(void **state)
{
	struct notify_request r;

	(void)state;
	assert_int_equal(parse(" SET (subtree (a/b z) MailboxName) (mailboxes (\"x%\" a) "
			       "SubscriptionChange) (subscribed MailboxMetadataChange)",
				 &r),
		OK);
	assert_int_equal(notify_request_events(&r, "a/b", 1, 0), IMAP_NOTIFY_NAME);
	assert_int_equal(notify_request_events(&r, "a/b/c/d", 0, 0), IMAP_NOTIFY_NAME);
	assert_int_equal(notify_request_events(&r, "a/bc", 1, 0), 0);
	assert_int_equal(notify_request_events(&r, "a", 1, 0), IMAP_NOTIFY_SUBSCRIPTION);
	assert_int_equal(notify_request_events(&r, "xy", 1, 0), 0);
	assert_int_equal(notify_request_events(&r, "x%", 1, 1),
		IMAP_NOTIFY_SUBSCRIPTION | IMAP_NOTIFY_METADATA);
	notify_request_fini(&r);
	assert_int_equal(parse(" SET (personal MailboxName)", &r), OK);
	assert_int_equal(notify_request_events(&r, "a", 1, 0), IMAP_NOTIFY_NAME);
	assert_int_equal(notify_request_events(&r, "a", 0, 1), 0);
	notify_request_fini(&r);
}

static void
test_entries(void **state)
{
	struct notify_entries e = {0};
	struct index_metadata list[] = {
		{STR("/private/B"), STR("1"), 0},
		{STR("/private/a"), STR("1"), 0},
		{STR("/private/b"), STR("2"), 0},
	};
	struct index_metadata gone = {STR("/PRIVATE/b"), STR(""), 1};

	(void)state;
	notify_entries_set(&e, list, 3);
	assert_int_equal(e.n, 2);
	assert_string_equal(e.v[0].name, "/private/b");
	assert_true(e.v[0].hash != e.v[1].hash);
	notify_entries_set(&e, &gone, 1);
	notify_entries_set(&e, &gone, 1);
	assert_int_equal(e.n, 1);
	assert_string_equal(e.v[0].name, "/private/a");
	notify_entries_fini(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_unknown_events),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_which_mailboxes),
		cmocka_unit_test(test_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
