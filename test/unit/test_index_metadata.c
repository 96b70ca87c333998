/* SPDX-License-Identifier: MIT */
#include "index_daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "index/client_private.h"
#include "lib/log.h"

/* Annotations and rights, through a real roost-index. */

struct fixture {
	struct daemon d;
	struct auth_user alice;
	struct index_user *u;
};

static int
setup(void **state)
{
	struct fixture *f = MEM_NEW(struct fixture);

	daemon_create(&f->d, "/tmp", 1);
	daemon_user(&f->d, "alice", &f->alice);
	assert_int_equal(index_open(f->d.conf, &f->alice, &f->u), OK);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	index_close(&f->u);
	daemon_user_fini(&f->alice);
	assert_int_equal(daemon_stop(&f->d, SIGTERM), 0);
	daemon_remove(&f->d);
	free(f);
	return 0;
}

/* The index is made anew. */
static void
rebuild(struct fixture *f)
{
	char command[600];

	snprintf(command, sizeof(command), "rm -f '%s'/data.mdb", f->u->index_dir);
	index_close(&f->u);
	assert_int_equal(daemon_stop(&f->d, SIGTERM), 0);
	assert_int_equal(system(command), 0);
	daemon_start(&f->d);
	assert_int_equal(index_open(f->d.conf, &f->alice, &f->u), OK);
}

static uint32_t
box(struct fixture *f, const char *name)
{
	struct index_mailbox m;
	uint32_t id;

	assert_int_equal(index_mailbox_get(f->u, str_of(name), &m), OK);
	id = m.id;
	index_mailbox_free(&m);
	return id;
}

static enum err
join(struct str name, struct str value, void *arg)
{
	return buf_printf(arg, "%.*s=%.*s;", STR_ARG(name), STR_ARG(value));
}

static struct index_metadata
entry(const char *name, const char *value)
{
	struct index_metadata m = {.name = str_of(name), .is_nil = value == NULL};

	if (value != NULL)
		m.value = str_of(value);
	return m;
}

static void
check_metadata(struct fixture *f, uint32_t mailbox, const char *want)
{
	struct buf all = {0};

	assert_int_equal(index_metadata_each(f->u, mailbox, join, &all), OK);
	assert_string_equal(buf_cstr(&all), want);
	buf_free(&all);
}

static void
test_values(void **state)
{
	static const char bytes[] = "a\0\r\n\xff%25 \x7f ";
	struct fixture *f = *state;
	struct index_metadata list[3] = {entry("/Shared/Comment", "one"),
		{.name = STR("/private/x"), .value = str_make(bytes, sizeof(bytes) - 1)},
		entry("/private/empty", "")};
	struct buf value = {0};
	uint32_t id;

	assert_int_equal(index_metadata_set(f->u, box(f, "Sent"), list, 3), OK);
	assert_int_equal(index_metadata_set(f->u, INDEX_METADATA_SERVER, list, 1), OK);
	assert_int_equal(
		index_metadata_get(f->u, box(f, "Sent"), STR("/SHARED/comment"), &value), OK);
	assert_string_equal(buf_cstr(&value), "one");
	/* Through a rename and a rebuild; an empty value is not NIL. */
	assert_int_equal(index_mailbox_rename(f->u, STR("Sent"), STR("Away/Out")), OK);
	rebuild(f);
	id = box(f, "Away/Out");
	assert_int_equal(index_metadata_get(f->u, id, STR("/private/x"), &value), OK);
	assert_int_equal(value.len, sizeof(bytes) - 1);
	assert_memory_equal(value.p, bytes, sizeof(bytes) - 1);
	assert_int_equal(index_metadata_get(f->u, id, STR("/private/empty"), &value), OK);
	assert_int_equal(value.len, 0);
	assert_int_equal(index_metadata_get(f->u, id, STR("/private/no"), &value), E_NOTFOUND);
	check_metadata(f, INDEX_METADATA_SERVER, "/shared/comment=one;");
	list[0] = entry("/private/x", NULL);
	assert_int_equal(index_metadata_set(f->u, id, list, 1), OK);
	check_metadata(f, id, "/private/empty=;/shared/comment=one;");
	/* A new mailbox of an old name has none. */
	assert_int_equal(index_mailbox_delete(f->u, STR("Away/Out")), OK);
	assert_int_equal(index_metadata_set(f->u, id, list, 1), E_NOTFOUND);
	assert_int_equal(index_mailbox_create(f->u, STR("Away/Out"), 0, NULL), OK);
	check_metadata(f, box(f, "Away/Out"), "");
	buf_free(&value);
}

static void
test_watchers_are_told(void **state)
{
	struct fixture *f = *state;
	struct index_metadata one = entry("/private/a", "1");
	uint32_t sent = box(f, "Sent");
	uint64_t modseq, again;
	int changed;

	assert_int_equal(index_watch(f->u, sent, 1), OK);
	assert_int_equal(index_metadata_modseq(f->u, sent, &modseq), OK);
	assert_int_equal(modseq, 0);
	assert_int_equal(index_metadata_set(f->u, sent, &one, 1), OK);
	assert_int_equal(io_wait_readable(index_watch_fd(f->u), 5000), OK);
	assert_int_equal(index_watch_read(f->u, &changed), OK);
	assert_int_equal(changed, 1);
	assert_int_equal(index_metadata_modseq(f->u, sent, &modseq), OK);
	assert_true(modseq > 0);
	/* What is so already is no change. */
	assert_int_equal(index_metadata_set(f->u, sent, &one, 1), OK);
	assert_int_equal(index_metadata_modseq(f->u, sent, &again), OK);
	assert_true(again == modseq);
	assert_int_equal(index_metadata_modseq(f->u, box(f, "INBOX"), &modseq), OK);
	assert_int_equal(modseq, 0);
	assert_int_equal(index_watch(f->u, 0, 1), OK);
	assert_int_equal(index_metadata_set(f->u, INDEX_METADATA_SERVER, &one, 1), OK);
	assert_int_equal(io_wait_readable(index_watch_fd(f->u), 5000), OK);
	assert_int_equal(index_metadata_modseq(f->u, INDEX_METADATA_SERVER, &modseq), OK);
	assert_true(modseq > 0);
}

static void
test_inbox_keeps_its_own(void **state)
{
	struct fixture *f = *state;
	struct index_metadata one = entry("/private/comment", "mine");
	uint32_t inbox = box(f, "INBOX");

	assert_int_equal(index_metadata_set(f->u, inbox, &one, 1), OK);
	assert_int_equal(index_mailbox_rename(f->u, STR("INBOX"), STR("Old")), OK);
	check_metadata(f, inbox, "/private/comment=mine;");
	check_metadata(f, box(f, "Old"), "/private/comment=mine;");
}

static void
test_bad_names(void **state)
{
	static const char *const names[] = {"", "comment", "/comment", "/other/comment",
		"/private/", "/private//x", "/private/a*", "/shared/a%", "/shared/a\x01",
		"/shared/\xc3\xa9", "/private"};
	struct index_metadata list[2] = {entry("/private/a", "a")};
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX");

	/* All or none. */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		list[1] = entry(names[i], "x");
		assert_int_equal(index_metadata_set(f->u, inbox, list, 2), E_RANGE);
	}
	check_metadata(f, inbox, "");
	assert_int_equal(index_metadata_set(f->u, 999, list, 1), E_NOTFOUND);
}

static void
test_bounds(void **state)
{
	static char big[INDEX_METADATA_VALUE_MAX + 1];
	struct index_metadata list[2] = {entry("/private/a", "a")};
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX"), sent = box(f, "Sent");
	char name[64];
	enum err e = OK;
	int n;

	list[1] = (struct index_metadata){
		.name = STR("/private/b"), .value = str_make(big, sizeof(big))};
	assert_int_equal(index_metadata_set(f->u, inbox, list, 2), E_TOOBIG);
	check_metadata(f, inbox, "");
	/* One after the other until there are too many, by bytes and by number. */
	for (n = 0; e == OK && n < 100; n++) {
		snprintf(name, sizeof(name), "/private/big%d", n);
		list[0] = (struct index_metadata){
			.name = str_of(name), .value = str_make(big, sizeof(big) - 1)};
		e = index_metadata_set(f->u, inbox, list, 1);
	}
	assert_int_equal(e, E_QUOTA);
	assert_int_equal(n - 1, INDEX_METADATA_TOTAL_MAX / (INDEX_METADATA_VALUE_MAX + 13));
	list[0] = entry("/private/big0", NULL);
	assert_int_equal(index_metadata_set(f->u, inbox, list, 1), OK);
	for (n = 0, e = OK; e == OK && n <= INDEX_METADATA_COUNT_MAX; n++) {
		snprintf(name, sizeof(name), "/private/n%d", n);
		list[0] = entry(name, "");
		e = index_metadata_set(f->u, sent, list, 1);
	}
	assert_int_equal(e, E_QUOTA);
	assert_int_equal(n - 1, INDEX_METADATA_COUNT_MAX);
	for (n = 0, e = OK; e == OK && n <= INDEX_ACL_COUNT_MAX; n++) {
		snprintf(name, sizeof(name), "user%d@example.test", n);
		e = index_acl_set(f->u, sent, str_of(name), INDEX_ACL_REPLACE, STR("lr"));
	}
	assert_int_equal(e, E_QUOTA);
	assert_int_equal(n - 1, INDEX_ACL_COUNT_MAX);
}

static void
check_rights(struct fixture *f, uint32_t mailbox, const char *want)
{
	struct buf all = {0};

	assert_int_equal(index_acl_each(f->u, mailbox, join, &all), OK);
	assert_string_equal(buf_cstr(&all), want);
	buf_free(&all);
}

static void
test_rights(void **state)
{
	static const struct {
		const char *identifier;
		enum index_acl_op op;
		const char *rights;
		enum err e;
		const char *all;
	} rows[] = {
		{"bob smith%", INDEX_ACL_REPLACE, "srlr", OK, "bob smith%=lrs;"},
		{"-anyone", INDEX_ACL_ADD, "x", OK, "-anyone=x;bob smith%=lrs;"},
		{"bob smith%", INDEX_ACL_ADD, "wi5", OK, "-anyone=x;bob smith%=ilrsw5;"},
		{"bob smith%", INDEX_ACL_REMOVE, "lz", OK, "-anyone=x;bob smith%=irsw5;"},
		{"-anyone", INDEX_ACL_REMOVE, "x", OK, "bob smith%=irsw5;"},
		{"eve", INDEX_ACL_REPLACE, "", OK, "bob smith%=irsw5;eve=;"},
		{"eve", INDEX_ACL_ADD, "R", E_RANGE, "bob smith%=irsw5;eve=;"},
		{"a\nb", INDEX_ACL_ADD, "r", E_RANGE, "bob smith%=irsw5;eve=;"},
		{"", INDEX_ACL_ADD, "r", E_RANGE, "bob smith%=irsw5;eve=;"},
		{"eve", INDEX_ACL_DELETE, "", OK, "bob smith%=irsw5;"},
		{"eve", INDEX_ACL_DELETE, "", OK, "bob smith%=irsw5;"},
	};
	struct fixture *f = *state;
	uint32_t sent = box(f, "Sent");
	char rights[INDEX_ACL_RIGHTS_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(index_acl_set(f->u, sent, str_of(rows[i].identifier), rows[i].op,
					 str_of(rows[i].rights)),
			rows[i].e);
		check_rights(f, sent, rows[i].all);
	}
	assert_int_equal(index_mailbox_rename(f->u, STR("Sent"), STR("Out")), OK);
	rebuild(f);
	check_rights(f, box(f, "Out"), "bob smith%=irsw5;");
	assert_int_equal(index_acl_get(f->u, box(f, "Out"), STR("bob smith%"), rights), OK);
	assert_string_equal(rights, "irsw5");
	assert_int_equal(index_acl_get(f->u, box(f, "Out"), STR("bob"), rights), E_NOTFOUND);
}

/* What is in the place of the file is no list: it is put aside, not written over. */
static void
test_damaged(void **state)
{
	struct fixture *f = *state;
	struct index_metadata one = entry("/private/a", "a");
	char path[600], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/roost-metadata", f->u->maildir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("precious\n", file);
	fclose(file);
	check_metadata(f, box(f, "INBOX"), "");
	assert_int_equal(index_metadata_set(f->u, box(f, "INBOX"), &one, 1), OK);
	check_metadata(f, box(f, "INBOX"), "/private/a=a;");
	snprintf(path, sizeof(path), "%s/roost-metadata.bad", f->u->maildir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "precious\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_values),
		TEST(test_watchers_are_told),
		TEST(test_inbox_keeps_its_own),
		TEST(test_bad_names),
		TEST(test_bounds),
		TEST(test_rights),
		TEST(test_damaged),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests_name("index_metadata", tests, NULL, NULL);
}
