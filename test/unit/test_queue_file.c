/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <zlib.h>

#include "lib/ipc.h"
#include "lib/mem.h"
#include "mta-lite/queue_file.h"
#include "mta-lite/queue_store.h"

/* Queue files: what was written comes back; torn, cut and garbled ones never do harm. */

static void
make_entry(struct queue_entry *q)
{
	memset(q, 0, sizeof(*q));
	memcpy(q->id, "6B00D0A1", 9);
	q->sender = mem_strdup("alice@example.test");
	q->envid = mem_strdup("env id");
	q->client = mem_strdup("client.example.com[192.0.2.1]");
	q->ret = DSN_RET_HDRS;
	q->flags = QUEUE_8BIT;
	q->arrival = 1700000000;
	(void)queue_entry_add_rcpt(q, "bob@example.test", "rfc822;b@c", DSN_NOTIFY_SUCCESS, 1);
	(void)queue_entry_add_rcpt(q, "joe@example.com", "", 0, 0);
	(void)queue_entry_add_rcpt(q, "ann@example.com", "", DSN_NOTIFY_NEVER, 0);
}

static void
make_file(struct queue_entry *q, struct buf *file)
{
	assert_int_equal(queue_header_write(q, 9, file), OK);
	buf_add_cstr(file, "content\r\n");
}

static void
add_status(struct queue_entry *q, size_t i, enum queue_status status, const char *text,
	struct buf *file)
{
	queue_rcpt_set(&q->rcpts[i], status, STR("2.0.0"), str_of(text), STR("mx"));
	q->rcpts[i].attempts++;
	q->rcpts[i].next_try = 1700000300;
	queue_status_write(q, i, file);
}

static void
round_trip(void **state)
{
	struct queue_entry q, back;
	struct buf file = {0};

	(void)state;
	make_entry(&q);
	make_file(&q, &file);
	add_status(&q, 1, QUEUE_PENDING, "451 later\r\nInjected: yes", &file);
	add_status(&q, 0, QUEUE_DELIVERED, "250 ok", &file);
	add_status(&q, 1, QUEUE_RELAYED, "250 ok", &file);
	assert_int_equal(queue_file_parse(buf_str(&file), &back), OK);
	assert_string_equal(back.id, q.id);
	assert_string_equal(back.sender, q.sender);
	assert_string_equal(back.envid, "env id");
	assert_int_equal(back.ret, DSN_RET_HDRS);
	assert_int_equal(back.arrival, 1700000000);
	assert_int_equal(back.rcpt_count, 3);
	assert_int_equal(back.content_len, 9);
	assert_memory_equal(file.p + back.content_offset, "content\r\n", 9);
	assert_int_equal(back.end, file.len);
	assert_int_equal(back.rcpts[0].status, QUEUE_DELIVERED);
	assert_int_equal(back.rcpts[0].notify, DSN_NOTIFY_SUCCESS);
	assert_string_equal(back.rcpts[0].orcpt, "rfc822;b@c");
	assert_int_equal(back.rcpts[0].local, 1);
	assert_int_equal(back.rcpts[1].status, QUEUE_RELAYED);
	assert_int_equal(back.rcpts[1].attempts, 2);
	assert_int_equal(back.rcpts[1].next_try, 1700000300);
	assert_int_equal(back.rcpts[2].status, QUEUE_PENDING);
	queue_entry_free(&back);
	queue_entry_free(&q);
	buf_free(&file);
}

static void
attributes(void **state)
{
	struct queue_entry q, back, copy;
	struct buf file = {0};

	(void)state;
	make_entry(&q);
	make_file(&q, &file);
	assert_int_equal(queue_file_parse(buf_str(&file), &back), OK);
	assert_int_equal(back.priority, 0);
	assert_int_equal(back.hold_until, 0);
	assert_null(back.filter);
	assert_null(back.release_asked);
	assert_null(back.xforward);
	queue_entry_free(&back);
	q.priority = -9;
	q.hold_until = 1700009999;
	q.filter = mem_strdup("smtp:[127.0.0.1]:10024");
	q.release_asked = mem_strdup("for;60");
	q.xforward = mem_strdup("NAME=a.example HELO=[UNAVAILABLE]");
	q.flags = QUEUE_SMTPUTF8 | QUEUE_REQUIRETLS | QUEUE_BINARY;
	buf_reset(&file);
	make_file(&q, &file);
	assert_int_equal(queue_file_parse(buf_str(&file), &back), OK);
	queue_entry_copy_envelope(&back, &copy);
	queue_entry_free(&back);
	assert_int_equal(copy.priority, -9);
	assert_int_equal(copy.hold_until, 1700009999);
	assert_string_equal(copy.filter, "smtp:[127.0.0.1]:10024");
	assert_string_equal(copy.release_asked, "for;60");
	assert_string_equal(copy.xforward, "NAME=a.example HELO=[UNAVAILABLE]");
	assert_int_equal(copy.flags, q.flags);
	assert_int_equal(copy.rcpt_count, 0);
	queue_entry_free(&copy);
	/* Out of range. */
	q.priority = 10;
	buf_reset(&file);
	make_file(&q, &file);
	assert_int_equal(queue_file_parse(buf_str(&file), &back), E_CORRUPT);
	queue_entry_free(&q);
	buf_free(&file);
}

/* What a later version adds is passed over. */
static void
unknown_attribute(void **state)
{
	struct queue_entry q, back;
	struct buf file = {0}, header = {0};
	uint32_t len, crc;
	uint64_t content;

	(void)state;
	make_entry(&q);
	q.priority = 3;
	make_file(&q, &file);
	assert_int_equal(queue_prefix_parse(buf_str(&file), &len, &crc, &content), OK);
	buf_add(&header, file.p + QUEUE_PREFIX_SIZE, len);
	ipc_put_u8(&header, 200);
	ipc_put_cstr(&header, "from the future");
	crc = (uint32_t)crc32_z(0, (const unsigned char *)header.p, header.len);
	assert_int_equal(queue_header_parse(buf_str(&header), crc, &back), OK);
	assert_int_equal(back.priority, 3);
	assert_int_equal(back.rcpt_count, 3);
	queue_entry_free(&back);
	queue_entry_free(&q);
	buf_free(&file);
	buf_free(&header);
}

static void
no_control_bytes(void **state)
{
	struct queue_rcpt r = {0};

	(void)state;
	queue_rcpt_set(&r, QUEUE_FAILED, STR("5.0.0"), STR("a\r\nb\tc\x7f\xff"), STR("m\nx"));
	assert_string_equal(r.text, "a??b?c??");
	assert_string_equal(r.mta, "m?x");
	free(r.dsn);
	free(r.text);
	free(r.mta);
}

/* Cut anywhere: before the end of the content it is corrupt; behind, whole records count. */
static void
torn(void **state)
{
	struct queue_entry q, back;
	struct buf file = {0};
	size_t content_end, first, cut;

	(void)state;
	make_entry(&q);
	make_file(&q, &file);
	content_end = file.len;
	add_status(&q, 0, QUEUE_DELIVERED, "250 ok", &file);
	first = file.len;
	add_status(&q, 1, QUEUE_FAILED, "550 no", &file);
	for (cut = 0; cut <= file.len; cut++) {
		enum err e = queue_file_parse(str_make(file.p, cut), &back);

		assert_int_equal(e, cut < content_end ? E_CORRUPT : OK);
		if (e)
			continue;
		assert_int_equal(back.end, cut == file.len ? file.len
					   : cut >= first  ? first
							   : content_end);
		assert_int_equal(
			back.rcpts[0].status, cut >= first ? QUEUE_DELIVERED : QUEUE_PENDING);
		assert_int_equal(
			back.rcpts[1].status, cut == file.len ? QUEUE_FAILED : QUEUE_PENDING);
		queue_entry_free(&back);
	}
	queue_entry_free(&q);
	buf_free(&file);
}

/* Any one byte changed: in the envelope it is noticed; behind it, the record does not count. */
static void
garbled(void **state)
{
	struct queue_entry q, back;
	struct buf file = {0};
	size_t i, header_end, content_end;

	(void)state;
	make_entry(&q);
	make_file(&q, &file);
	content_end = file.len;
	header_end = content_end - 9;
	add_status(&q, 0, QUEUE_DELIVERED, "250 ok", &file);
	for (i = 0; i < file.len; i++) {
		enum err e;

		file.p[i] = (char)(file.p[i] ^ 0x55);
		e = queue_file_parse(buf_str(&file), &back);
		assert_int_equal(e, i < header_end ? E_CORRUPT : OK);
		if (i >= content_end)
			assert_int_equal(back.rcpts[0].status, QUEUE_PENDING);
		queue_entry_free(&back);
		file.p[i] = (char)(file.p[i] ^ 0x55);
	}
	queue_entry_free(&q);
	buf_free(&file);
}

static void
garbage(void **state)
{
	static const char *const files[] = {"", "ROOSTQ1\n", "From alice",
		"ROOSTQ1\n\xff\xff\xff\xff zzzzzzzzzzzzzzzzzzzzzzzzzzzz"};
	struct queue_entry q;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_int_equal(queue_file_parse(str_of(files[i]), &q), E_CORRUPT);
}

/* The directories: create, load, append behind a torn record, load again. */
static void
store(void **state)
{
	char dir[] = "/tmp/roost-test-XXXXXX", id[QUEUE_ID_SIZE], *command;
	struct queue_entry q, back;
	struct config *conf;
	struct spool body;
	size_t one = 1;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	conf = conf_defaults(dir);
	assert_int_equal(queue_store_init(conf), OK);
	queue_id_make(id);
	assert_true(queue_id_valid(str_of(id)));
	make_entry(&q);
	memcpy(q.id, id, sizeof(id));
	spool_init(&body, dir);
	assert_int_equal(spool_add(&body, STR("body\r\n")), OK);
	assert_int_equal(queue_store_create(conf, &q, STR("Head: x\r\n\r\n"), &body), OK);

	assert_int_equal(queue_store_open(conf, QUEUE_INCOMING, id, O_RDWR, &fd), OK);
	assert_int_equal(queue_file_load(fd, id, &back), OK);
	assert_int_equal(back.content_len, 17);
	assert_int_equal(pwrite(fd, "torn record", 11, (off_t)back.end), 11);
	queue_rcpt_set(&back.rcpts[1], QUEUE_FAILED, STR("5.1.1"), STR("550 no"), STR("mx"));
	assert_int_equal(queue_store_append(fd, &back, &one, 1, 1), OK);
	queue_entry_free(&back);
	assert_int_equal(queue_file_load(fd, id, &back), OK);
	assert_int_equal(back.rcpts[1].status, QUEUE_FAILED);
	queue_entry_free(&back);
	assert_int_equal(queue_file_load(fd, "0", &back), E_CORRUPT);
	close(fd);
	assert_int_equal(queue_store_move(conf, QUEUE_INCOMING, QUEUE_HOLD, id), OK);
	assert_int_equal(queue_store_open(conf, QUEUE_INCOMING, id, O_RDONLY, &fd), E_NOTFOUND);
	assert_int_equal(queue_store_remove(conf, QUEUE_HOLD, id), OK);
	queue_entry_free(&q);
	spool_free(&body);
	conf_free(&conf);
	command = mem_printf("rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
	free(command);
}

static void
ids(void **state)
{
	static const char *const bad[] = {"", ".", "..", "../x", "6b00", "6B00/", ".6B00",
		"0123456789ABCDEF01234567", "6B 0"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(queue_id_valid(str_of(bad[i])));
	assert_true(queue_id_valid(STR("6B00D0A1")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(attributes),
		cmocka_unit_test(unknown_attribute),
		cmocka_unit_test(no_control_bytes),
		cmocka_unit_test(torn),
		cmocka_unit_test(garbled),
		cmocka_unit_test(garbage),
		cmocka_unit_test(store),
		cmocka_unit_test(ids),
	};

	return cmocka_run_group_tests_name("queue_file", tests, NULL, NULL);
}
