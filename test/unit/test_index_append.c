/* SPDX-License-Identifier: MIT */
#include "index/index_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "index/client_private.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mail/cache.h"

enum { BOX = 3, UID = 77 };

/*
 * A tree with one folder, an index that says so, and a service that takes appends: it answers with
 * the CRLF size as the UID, so that the test sees what was sent.
 */
struct fixture {
	char dir[64];
	struct config *conf;
	struct index_user *u;
	pid_t service;
};

/* ---- the service ---- */

static void
serve_append(int fd, const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	struct buf out = {0};
	uint32_t n;

	ipc_get_u32(&r);
	n = ipc_get_u32(&r);
	ipc_put_u32(&out, 7);
	ipc_put_u64(&out, 1);
	ipc_put_u32(&out, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t keywords;

		ipc_get_str(&r);
		ipc_get_u8(&r);
		keywords = ipc_get_u32(&r);
		for (uint32_t k = 0; k < keywords; k++) {
			ipc_get_str(&r);
		}
		ipc_put_u32(&out, (uint32_t)ipc_get_u64(&r));
		ipc_get_u64(&r);
		if (ipc_get_str(&r).len != 16 || ipc_get_str(&r).len != 16 ||
			mail_cache_check(ipc_get_str(&r)) != OK) {
			r.err = E_PROTO;
		}
	}
	if (ipc_reader_end(&r)) {
		buf_reset(&out);
		ipc_put_u32(&out, E_PROTO);
		ipc_put_cstr(&out, "");
	}
	ipc_send(fd, ipc_reader_end(&r) ? INDEX_ERROR : INDEX_COMMITTED, m->request, buf_str(&out),
		NULL, 0, 1000);
	buf_free(&out);
}

static void
serve(int listener, const char *dir)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		struct ipc_msg m;
		struct buf out = {0};

		while (fd >= 0 && ipc_recv(fd, &m, 10000) == OK) {
			buf_reset(&out);
			if (m.type == INDEX_OPEN) {
				ipc_put_cstr(&out, "a@example.test");
				ipc_put_cstr(&out, dir);
				ipc_put_cstr(&out, dir);
				ipc_put_u64(&out, index_env_generation_at(dir));
				ipc_send(fd, INDEX_OPENED, m.request, buf_str(&out), NULL, 0, 1000);
			} else if (m.type == INDEX_APPEND) {
				serve_append(fd, &m);
			} else if (m.type == INDEX_LOCATE) {
				ipc_put_u32(&out, E_NOTFOUND);
				ipc_put_cstr(&out, "");
				ipc_send(fd, INDEX_ERROR, m.request, buf_str(&out), NULL, 0, 1000);
			}
			ipc_msg_free(&m);
		}
		buf_free(&out);
		close(fd);
	}
}

/* ---- the index ---- */

static int
make_index(const char *dir)
{
	struct index_mailbox_record box = {.id = BOX,
		.uidvalidity = 7,
		.uidnext = 100,
		.name = STR("Sent"),
		.dir = STR(".Sent")};
	struct index_message_record msg = {.modseq = 1,
		.internal_date = 1,
		.size = INDEX_SIZE_UNKNOWN,
		.name = STR("m:2,"),
		.base_len = 1};
	struct index_state st = {
		.version = INDEX_SCHEMA_VERSION, .bytes = 100, .bytes_limit = 100000};
	struct index_key key = index_key_u32(BOX), mkey = index_key_message(BOX, UID);
	struct buf b = {0};
	struct index_env *e;
	MDB_txn *txn;
	MDB_val k, v;

	if (index_env_open(dir, 1, 64 << 20, &e) || index_env_begin(e, 1, &txn)) {
		return 1;
	}
	index_mailbox_encode(&box, &b);
	k = index_key_val(&key);
	v = (MDB_val){.mv_size = b.len, .mv_data = b.p};
	mdb_put(txn, e->dbi[INDEX_DB_MAILBOX], &k, &v, 0);
	buf_reset(&b);
	index_message_encode(&msg, &b);
	k = index_key_val(&mkey);
	v = (MDB_val){.mv_size = b.len, .mv_data = b.p};
	mdb_put(txn, e->dbi[INDEX_DB_MESSAGE], &k, &v, 0);
	buf_reset(&b);
	index_state_encode(&st, &b);
	k = (MDB_val){.mv_size = 5, .mv_data = (void *)"state"};
	v = (MDB_val){.mv_size = b.len, .mv_data = b.p};
	mdb_put(txn, e->dbi[INDEX_DB_META], &k, &v, 0);
	buf_free(&b);
	return mdb_txn_commit(txn) != 0;
}

static char *
in_dir(const struct fixture *f, const char *name)
{
	return mem_printf("%s/%s", f->dir, name);
}

static void
make_dirs(const struct fixture *f)
{
	static const char *const dirs[] = {".Sent", ".Sent/tmp", ".Sent/cur", ".Sent/new", "run"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char *path = in_dir(f, dirs[i]);

		assert_int_equal(mkdir(path, 0700), 0);
		free(path);
	}
}

static int
setup(void **state)
{
	struct fixture *f = MEM_NEW(struct fixture);
	struct auth_user user = {.name = (char *)"a@example.test", .ticket = (char *)"t"};
	struct net_addr a;
	char *path;
	int listener, status;
	pid_t pid;

	*state = f; /* at once: the children leave with it in reach, as valgrind wants it */
	memcpy(f->dir, "/tmp/roost-append-XXXXXX", 25);
	assert_non_null(mkdtemp(f->dir));
	make_dirs(f);
	f->conf = conf_defaults(f->dir);
	f->conf->mail_fsync = 0;
	path = in_dir(f, "run/index");
	assert_int_equal(net_addr_parse(str_of(path), 0, &a), OK);
	assert_int_equal(net_listen(&a, 5, 0600, &listener), OK);
	io_set_nonblocking(listener, 0);
	free(path);
	pid = fork();
	if (pid == 0) {
		_exit(make_index(f->dir));
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	f->service = fork();
	if (f->service == 0) {
		serve(listener, f->dir);
	}
	close(listener);
	assert_int_equal(index_open(f->conf, &user, &f->u), OK);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char *rm = mem_printf("rm -rf %s", f->dir);

	index_close(&f->u);
	conf_free(&f->conf);
	kill(f->service, SIGKILL);
	waitpid(f->service, NULL, 0);
	assert_int_equal(system(rm), 0);
	free(rm);
	free(f);
	return 0;
}

/* ---- looking ---- */

/* The only file in tmp/ (*path on the heap, its contents in *out), or how many there are. */
static int
tmp_files(const struct fixture *f, char **path, struct buf *out)
{
	char *dir = in_dir(f, ".Sent/tmp");
	DIR *d = opendir(dir);
	struct dirent *de;
	int n = 0;

	*path = NULL;
	while ((de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.') {
			free(*path);
			*path = mem_printf("%s/%s", dir, de->d_name);
			n++;
		}
	}
	closedir(d);
	free(dir);
	buf_reset(out);
	if (n == 1) {
		assert_int_equal(io_read_file(*path, out), OK);
	}
	return n;
}

struct line_case {
	const char *in, *lf, *crlf;
};

static const struct line_case line_cases[] = {
	{"A: b\r\n\r\nx\r\n", "A: b\n\nx\n", "A: b\r\n\r\nx\r\n"},
	{"A: b\n\nx\n", "A: b\n\nx\n", "A: b\r\n\r\nx\r\n"},
	{"A: b\r\n\nx", "A: b\n\nx", "A: b\r\n\r\nx"},
	{"a\rb\r", "a\rb\r", "a\rb\r"},
	{"a\r\r\nb", "a\nb", "a\r\nb"},
	{"a\r\r\rb\n", "a\r\r\rb\n", "a\r\r\rb\r\n"},
	{"\r\n\r\n", "\n\n", "\r\n\r\n"},
	{"\r", "\r", "\r"},
	{"", "", ""},
};

static void
check_lines(struct fixture *f, const struct line_case *c, size_t piece, int crlf)
{
	struct index_append *a;
	struct index_append_info info = {.internal_date = 1000000000};
	struct buf out = {0};
	const char *want = crlf ? c->crlf : c->lf;
	size_t len = strlen(c->in);
	uint32_t uidvalidity, uid;
	struct stat st;
	char *path;

	conf_set(f->conf, "maildir_line_endings", crlf ? "crlf" : "lf", NULL);
	assert_int_equal(index_append_create(f->u, BOX, 0, &a), OK);
	for (size_t at = 0; at < len; at += piece) {
		assert_int_equal(
			index_append_write(a, c->in + at, piece < len - at ? piece : len - at), OK);
	}
	assert_int_equal(index_append_finish(a), OK);
	assert_int_equal(tmp_files(f, &path, &out), 1);
	assert_string_equal(buf_cstr(&out), want);
	assert_int_equal(index_append_commit(f->u, &a, &info, 1, &uidvalidity, &uid), OK);
	assert_int_equal(uidvalidity, 7);
	/* W is what a reader makes of the stored bytes. */
	assert_int_equal(uid, message_crlf_size(want, strlen(want)));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mtime, 1000000000);
	unlink(path); /* as the service does in earnest */
	index_append_free(&a);
	free(path);
	buf_free(&out);
}

static void
line_ends_in_all_chunkings(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(line_cases) / sizeof(line_cases[0]); i++) {
		for (size_t piece = 1; piece <= strlen(line_cases[i].in) + 1; piece++) {
			check_lines(f, &line_cases[i], piece, 0);
			check_lines(f, &line_cases[i], piece, 1);
		}
	}
}

static void
large_messages_go_through_the_buffer(void **state)
{
	struct fixture *f = *state;
	struct buf in = {0}, want = {0}, out = {0};
	struct index_append *a;
	char *path;

	buf_add_cstr(&in, "Subject: x\r\n\r\n");
	buf_add_cstr(&want, "Subject: x\n\n");
	for (int i = 0; i < 20000; i++) {
		buf_printf(&in, "%d some text on a line\r\n", i);
		buf_printf(&want, "%d some text on a line\n", i);
	}
	assert_int_equal(index_append_create(f->u, BOX, 0, &a), OK);
	assert_int_equal(index_append_write(a, in.p, in.len), OK);
	assert_int_equal(index_append_finish(a), OK);
	assert_int_equal(tmp_files(f, &path, &out), 1);
	assert_string_equal(buf_cstr(&out), buf_cstr(&want));
	index_append_free(&a);
	free(path);
	assert_int_equal(tmp_files(f, &path, &out), 0);
	buf_free(&in);
	buf_free(&out);
	buf_free(&want);
}

static void
links_share_the_file(void **state)
{
	struct fixture *f = *state;
	struct index_append *a, *b;
	struct index_append_info info = {0};
	uint32_t uidvalidity, uid;
	struct stat st;
	struct buf out = {0};
	char *path;

	assert_int_equal(index_append_create(f->u, BOX, 0, &a), OK);
	assert_int_equal(index_append_link(f->u, BOX, a, &b), E_STATE); /* not finished */
	assert_int_equal(index_append_write(a, "A: b\n\nx\n", 8), OK);
	assert_int_equal(index_append_finish(a), OK);
	assert_int_equal(index_append_link(f->u, BOX, a, &b), OK);
	assert_int_equal(tmp_files(f, &path, &out), 2);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(index_append_commit(f->u, &b, &info, 1, &uidvalidity, &uid), OK);
	index_append_free(&b);
	assert_int_equal(index_append_commit(f->u, &a, &info, 1, &uidvalidity, &uid), OK);
	assert_int_equal(uid, 11);
	index_append_free(&a);
	free(path);
	buf_free(&out);
}

static void
over_quota_or_no_mailbox(void **state)
{
	struct fixture *f = *state;
	struct index_append *a;

	assert_int_equal(index_append_create(f->u, BOX, 99900, &a), OK);
	index_append_free(&a);
	/* Lines of nothing but CRLF would still fit. */
	assert_int_equal(index_append_create(f->u, BOX, 2 * 99900, &a), OK);
	index_append_free(&a);
	assert_int_equal(index_append_create(f->u, BOX, 2 * 99900 + 1, &a), E_QUOTA);
	assert_int_equal(index_append_create(f->u, BOX, UINT64_MAX - 1, &a), E_QUOTA);
	assert_int_equal(index_append_create(f->u, BOX, INDEX_APPEND_UNCHECKED, &a), OK);
	index_append_free(&a);
	assert_int_equal(index_append_create(f->u, BOX + 1, 0, &a), E_NOTFOUND);
	assert_null(a);
}

static void
a_dead_service_is_a_temporary_failure(void **state)
{
	struct fixture *f = *state;
	struct index_append *a;
	struct index_append_info info = {0};
	uint32_t uidvalidity, uid;
	struct buf out = {0};
	char *path;

	assert_int_equal(index_append_create(f->u, BOX, 0, &a), OK);
	assert_int_equal(index_append_write(a, "x", 1), OK);
	assert_int_equal(index_append_finish(a), OK);
	kill(f->service, SIGKILL);
	waitpid(f->service, NULL, 0);
	assert_int_equal(index_append_commit(f->u, &a, &info, 1, &uidvalidity, &uid), E_TEMPFAIL);
	index_append_free(&a);
	assert_int_equal(tmp_files(f, &path, &out), 0);
	buf_free(&out);
	f->service = fork();
	if (f->service == 0) {
		_exit(0); /* for teardown */
	}
}

/* ---- reading back ---- */

static void
check_content(struct fixture *f, const char *bytes, size_t len, const char *want, uint64_t size)
{
	char *path = in_dir(f, ".Sent/cur/m:2,");
	struct index_content c;
	struct index_message m;

	assert_int_equal(io_write_file_atomic(path, bytes, len, 0600), OK);
	assert_int_equal(index_content_open(f->u, BOX, UID, &c), OK);
	assert_int_equal(c.len, strlen(want));
	assert_memory_equal(c.p, want, c.len);
	index_content_close(&c);
	assert_int_equal(index_read_begin(f->u), OK);
	assert_int_equal(index_message_get(f->u, BOX, UID, &m), OK);
	assert_int_equal(index_message_facts(f->u, BOX, &m), OK);
	assert_int_equal(m.size, size);
	index_read_end(f->u);
	free(path);
}

/* Appends a gzip member. */
static void
gzip_add(struct buf *out, const char *text)
{
	z_stream z = {0};

	assert_int_equal(
		deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(buf_reserve(out, 1000), OK);
	z.next_in = (Bytef *)text;
	z.avail_in = (uInt)strlen(text);
	z.next_out = (Bytef *)out->p + out->len;
	z.avail_out = 1000;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += 1000 - z.avail_out;
	deflateEnd(&z);
}

static void
contents_plain_and_compressed(void **state)
{
	struct fixture *f = *state;
	struct index_content c;
	struct buf twice = {0};
	char *path = in_dir(f, ".Sent/cur/m:2,");

	/* The service knows of no other place. */
	assert_int_equal(index_content_open(f->u, BOX, UID, &c), E_NOTFOUND);
	check_content(f, "A: b\n\nx\n", 8, "A: b\n\nx\n", 11);
	check_content(f, "", 0, "", 0);
	gzip_add(&twice, "A: b\n\nhello\n");
	check_content(f, twice.p, twice.len, "A: b\n\nhello\n", 15);
	gzip_add(&twice, "more\n");
	check_content(f, twice.p, twice.len, "A: b\n\nhello\nmore\n", 21);
	/* Cut short, it is no gzip file: given out as it is. */
	twice.p[20] = '\0';
	assert_int_equal(io_write_file_atomic(path, twice.p, 20, 0600), OK);
	assert_int_equal(index_content_open(f->u, BOX, UID, &c), OK);
	assert_int_equal(c.len, 20);
	index_content_close(&c);
	buf_free(&twice);
	/* Neither hangs nor leads out of the Maildir. */
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(index_content_open(f->u, BOX, UID, &c), E_NOTFOUND);
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(index_content_open(f->u, BOX, UID, &c), E_NOTFOUND);
	free(path);
}

#define APPEND_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		APPEND_TEST(line_ends_in_all_chunkings),
		APPEND_TEST(large_messages_go_through_the_buffer),
		APPEND_TEST(links_share_the_file),
		APPEND_TEST(over_quota_or_no_mailbox),
		APPEND_TEST(a_dead_service_is_a_temporary_failure),
		APPEND_TEST(contents_plain_and_compressed),
	};

	return cmocka_run_group_tests_name("index_append", tests, NULL, NULL);
}
