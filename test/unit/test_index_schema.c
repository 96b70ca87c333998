/* SPDX-License-Identifier: MIT */
#include "index/index_schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"

static MDB_val
val(const struct buf *b, size_t len)
{
	return (MDB_val){.mv_size = len, .mv_data = b->p};
}

static void
test_keys(void **state)
{
	struct index_key a = index_key_change(7, 255, 1), b = index_key_change(7, 256, 0);
	MDB_val v = index_key_val(&a);
	uint32_t mailbox, uid;
	uint64_t modseq;
	unsigned bit;

	(void)state;
	assert_true(memcmp(a.p, b.p, a.len) < 0);
	assert_int_equal(index_key_get_change(&v, &mailbox, &modseq, &uid), OK);
	assert_int_equal(mailbox, 7);
	assert_int_equal(modseq, 255);
	assert_int_equal(uid, 1);
	assert_int_equal(index_key_get_message(&v, &mailbox, &uid), E_CORRUPT);
	a = index_key_message(UINT32_MAX, UINT32_MAX - 1);
	v = index_key_val(&a);
	assert_int_equal(index_key_get_message(&v, &mailbox, &uid), OK);
	assert_int_equal(uid, UINT32_MAX - 1);
	a = index_key_keyword(1, 200);
	v = index_key_val(&a);
	assert_int_equal(index_key_get_keyword(&v, &mailbox, &bit), E_CORRUPT);
}

static struct index_message_record
message(void)
{
	return (struct index_message_record){.modseq = UINT64_C(1) << 60,
		.flags = INDEX_SEEN,
		.in_new = 1,
		.keywords = {{1, UINT64_C(1) << 63}},
		.internal_date = -5,
		.save_date = 1700000000,
		.size = INDEX_SIZE_UNKNOWN,
		.disk_size = 12,
		.email_id = "0123456789abcde",
		.thread_id = "fedcba987654321",
		.name = STR("1.x,U=3:2,SP"),
		.base_len = 7};
}

static void
test_message(void **state)
{
	struct index_message_record m = message(), out;
	struct buf b = {0}, path = {0};

	(void)state;
	index_message_encode(&m, &b);
	MDB_val v = val(&b, b.len);
	assert_int_equal(index_message_decode(&v, &out), OK);
	assert_int_equal(out.modseq, m.modseq);
	assert_int_equal(out.internal_date, -5);
	assert_int_equal(out.keywords.bits[1], m.keywords.bits[1]);
	assert_memory_equal(out.thread_id, m.thread_id, 16);
	assert_true(str_equal(out.name, m.name));
	index_message_path(STR(".A"), &out, &path);
	assert_string_equal(buf_cstr(&path), ".A/new/1.x,U=3:2,SP");
	buf_reset(&path);
	index_message_wanted_path(STR(""), &out, 3, &path);
	assert_string_equal(buf_cstr(&path), "cur/1.x,U=3:2,PSa");
	for (size_t len = 0; len < b.len; len++) {
		v = val(&b, len);
		assert_int_equal(index_message_decode(&v, &out), E_CORRUPT);
	}
	buf_add_char(&b, 'x');
	v = val(&b, b.len);
	assert_int_equal(index_message_decode(&v, &out), E_CORRUPT);
	buf_free(&b);
	buf_free(&path);
}

/* What is not known takes no room, whatever the place that it is decoded into had before. */
static void
test_message_of_a_first_look(void **state)
{
	struct index_message_record full = message(), m = message(), out;
	struct buf b = {0};
	size_t full_len;
	MDB_val v;

	(void)state;
	index_message_encode(&full, &b);
	full_len = b.len;
	memset(m.email_id, 0, sizeof(m.email_id));
	memset(m.thread_id, 0, sizeof(m.thread_id));
	m.keywords.bits[1] = 0;
	for (int with_thread = 0; with_thread < 2; with_thread++) {
		buf_reset(&b);
		m.thread_id[15] = (unsigned char)with_thread;
		index_message_encode(&m, &b);
		assert_int_equal(b.len, full_len - 8 - (with_thread ? 0 : 32));
		out = full;
		v = val(&b, b.len);
		assert_int_equal(index_message_decode(&v, &out), OK);
		assert_memory_equal(&out.keywords, &m.keywords, sizeof(m.keywords));
		assert_memory_equal(out.email_id, m.email_id, 16);
		assert_memory_equal(out.thread_id, m.thread_id, 16);
		assert_true(index_message_is_unparsed(&out));
		assert_true(str_equal(out.name, m.name));
	}
	buf_free(&b);
}

/* Numbers that fit into 32 bits take those, and all come back, at the edges too. */
static void
test_message_numbers(void **state)
{
	static const struct {
		int64_t internal_date, save_date;
		uint64_t size, disk_size, keywords;
		size_t shorter; /* than with all fields at their full width */
	} rows[] = {
		{1700000000, 1700000001, 5000, 4900, 0, 8 + 16},
		{0, 1700000001, 5000, 4900, 0, 8 + 8 + 12},
		{0, 1700000001, INDEX_SIZE_UNKNOWN, 0, 1, 8 + 12},
		{UINT32_MAX, UINT32_MAX, UINT32_MAX - 1, UINT32_MAX, 1, 16},
		{1, 1, UINT32_MAX, 1, 1, 0},
		{1, 1, 1, UINT64_C(1) << 32, 1, 0},
		{-1, 1, 1, 1, 1, 0},
		{INT64_C(1) << 32, 1, 1, 1, 1, 0},
		{0, INT64_MIN, 1, UINT64_MAX, 0, 16},
	};
	const size_t full = 4 + 6 * 8 + 32 + 8 + strlen("1.x,U=3:2,SP");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct index_message_record m = message(), out = message();
		struct buf b = {0};
		MDB_val v;

		m.internal_date = rows[i].internal_date;
		m.save_date = rows[i].save_date;
		m.size = rows[i].size;
		m.disk_size = rows[i].disk_size;
		m.keywords.bits[0] = rows[i].keywords;
		index_message_encode(&m, &b);
		assert_int_equal(b.len, full - rows[i].shorter);
		v = val(&b, b.len);
		assert_int_equal(index_message_decode(&v, &out), OK);
		assert_true(out.internal_date == m.internal_date && out.save_date == m.save_date);
		assert_true(out.size == m.size && out.disk_size == m.disk_size);
		assert_memory_equal(&out.keywords, &m.keywords, sizeof(m.keywords));
		buf_free(&b);
	}
}

static void
test_mailbox_and_state(void **state)
{
	struct index_mailbox_record m = {.id = 3,
					    .uidvalidity = 9,
					    .name = STR("A/B"),
					    .dir = STR(".A.B"),
					    .cur_mtime_ns = -1},
				    out;
	struct index_state s = {.version = INDEX_SCHEMA_VERSION, .modseq = 5}, s_out;
	struct buf b = {0};
	MDB_val v;

	(void)state;
	index_mailbox_encode(&m, &b);
	for (size_t len = 0; len < b.len; len++) {
		v = val(&b, len);
		assert_int_equal(index_mailbox_decode(&v, &out), E_CORRUPT);
	}
	v = val(&b, b.len);
	assert_int_equal(index_mailbox_decode(&v, &out), OK);
	assert_true(str_is(out.dir, ".A.B"));
	assert_int_equal(out.cur_mtime_ns, -1);
	/* A length that runs over the end. */
	memset(b.p + b.len - 8, 0xff, 4);
	assert_int_equal(index_mailbox_decode(&v, &out), E_CORRUPT);
	buf_reset(&b);
	index_state_encode(&s, &b);
	v = val(&b, b.len);
	assert_int_equal(index_state_decode(&v, &s_out), OK);
	assert_int_equal(s_out.modseq, 5);
	v = val(&b, b.len - 1);
	assert_int_equal(index_state_decode(&v, &s_out), E_CORRUPT);
	b.p[0]++;
	v = val(&b, b.len);
	assert_int_equal(index_state_decode(&v, &s_out), E_CORRUPT);
	buf_free(&b);
}

static void
test_env(void **state)
{
	char dir[] = "/tmp/roost-test-XXXXXX", command[64];
	struct index_env *writer, *reader;
	MDB_txn *txn;
	MDB_val k = {3, (void *)"key"}, v;
	char *blob = calloc(1, 900 * 1024);

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(index_env_open(dir, 0, 0, &reader), E_NOTFOUND);
	assert_int_equal(index_env_open(dir, 1, 1 << 20, &writer), OK);
	/* Two handles of one process are for this test alone. */
	assert_int_equal(index_env_begin(writer, 1, &txn), OK);
	v = (MDB_val){900 * 1024, blob};
	assert_int_equal(
		index_err_of_mdb(mdb_put(txn, writer->dbi[INDEX_DB_CACHE], &k, &v, 0), "put"), OK);
	k.mv_size = 2;
	assert_int_equal(
		index_err_of_mdb(mdb_put(txn, writer->dbi[INDEX_DB_CACHE], &k, &v, 0), "put"),
		E_STATE);
	mdb_txn_abort(txn);
	assert_int_equal(index_env_grow(writer), OK);
	assert_int_equal(index_env_begin(writer, 1, &txn), OK);
	assert_int_equal(mdb_put(txn, writer->dbi[INDEX_DB_CACHE], &k, &v, 0), 0);
	k.mv_size = 1;
	assert_int_equal(mdb_put(txn, writer->dbi[INDEX_DB_CACHE], &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	index_env_close(&writer);
	assert_int_equal(index_env_open(dir, 0, 0, &reader), OK);
	assert_int_equal(index_env_begin(reader, 0, &txn), OK);
	assert_int_equal(mdb_get(txn, reader->dbi[INDEX_DB_CACHE], &k, &v), 0);
	assert_int_equal(v.mv_size, 900 * 1024);
	mdb_txn_abort(txn);
	index_env_close(&reader);
	free(blob);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void
test_paths(void **state)
{
	struct config *conf = conf_defaults("/srv/roost");
	char *maildir, *dir;
	static const char *const bad[] = {"/etc", "relative", "/srv/roost/mail", "/srv/roost/mail/",
		"/srv/roost/mailx/y", "/srv/roost/mail/../x", "/srv/roost/mail/a//b", ""};

	(void)state;
	assert_int_equal(
		index_paths(conf, "/srv/roost/mail/example.test/alice", &maildir, &dir), OK);
	assert_string_equal(maildir, "/srv/roost/mail/example.test/alice/Maildir");
	assert_string_equal(dir, "/srv/roost/mail/example.test/alice/index");
	free(maildir);
	free(dir);
	assert_int_equal(conf_set(conf, "index_dir", "/fast", NULL), OK);
	assert_int_equal(
		index_paths(conf, "/srv/roost/mail/example.test/alice", &maildir, &dir), OK);
	assert_string_equal(dir, "/fast/example.test/alice/index");
	free(maildir);
	free(dir);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(index_paths(conf, bad[i], &maildir, &dir), E_RANGE);
	conf_free(&conf);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_message_of_a_first_look),
		cmocka_unit_test(test_message_numbers),
		cmocka_unit_test(test_mailbox_and_state),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_paths),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
