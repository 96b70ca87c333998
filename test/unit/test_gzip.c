/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "index/gzip.h"
#include "lib/mem.h"

static enum err
collect(void *arg, const char *p, size_t len)
{
	return buf_add(arg, p, len);
}

/* One member of n times the byte c. */
static void
fold(struct buf *out, char c, size_t n)
{
	struct gzip_writer *w = gzip_writer_create(6, collect, out);
	char piece[10000];

	memset(piece, c, sizeof(piece));
	while (n > 0) {
		size_t part = n < sizeof(piece) ? n : sizeof(piece);

		assert_int_equal(gzip_writer_feed(w, piece, part, 0), OK);
		n -= part;
	}
	assert_int_equal(gzip_writer_feed(w, NULL, 0, 1), OK);
	gzip_writer_free(&w);
	assert_null(w);
}

static int
file_of(const struct buf *b)
{
	int fd = memfd_create("gzip", MFD_CLOEXEC);

	assert_int_equal(write(fd, b->p, b->len), b->len);
	return fd;
}

static void
there_and_back(void **state)
{
	static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 200000, 1000000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf folded = {0}, plain = {0};
		uint64_t bytes;
		uint32_t isize;
		int fd;

		fold(&folded, 'x', sizes[i]);
		assert_true(gzip_is(folded.p, folded.len));
		/* Exactly as much as is allowed, and a byte more. */
		assert_int_equal(gzip_unfold(folded.p, folded.len, sizes[i], &plain), OK);
		assert_int_equal(plain.len, sizes[i]);
		for (size_t at = 0; at < plain.len; at += 997)
			assert_int_equal(plain.p[at], 'x');
		buf_free(&plain);
		fd = file_of(&folded);
		assert_int_equal(gzip_isize(fd, folded.len, &isize), OK);
		assert_int_equal(isize, sizes[i]);
		assert_int_equal(gzip_unfolded_size(fd, folded.len, sizes[i], &bytes), OK);
		assert_int_equal(bytes, sizes[i]);
		if (sizes[i] > 0) {
			assert_int_equal(
				gzip_unfold(folded.p, folded.len, sizes[i] - 1, &plain), E_TOOBIG);
			assert_true(plain.len <= sizes[i]);
			buf_free(&plain);
			assert_int_equal(
				gzip_unfolded_size(fd, folded.len, sizes[i] - 1, &bytes), E_TOOBIG);
		}
		close(fd);
		buf_free(&folded);
	}
}

static void
several_members(void **state)
{
	struct buf folded = {0}, plain = {0};
	uint64_t bytes;
	int fd;

	(void)state;
	fold(&folded, 'a', 3);
	fold(&folded, 'b', 2);
	assert_int_equal(gzip_unfold(folded.p, folded.len, 100, &plain), OK);
	assert_int_equal(plain.len, 5);
	assert_memory_equal(plain.p, "aaabb", 5);
	fd = file_of(&folded);
	assert_int_equal(gzip_unfolded_size(fd, folded.len, 100, &bytes), OK);
	assert_int_equal(bytes, 5);
	close(fd);
	buf_free(&folded);
	buf_free(&plain);
}

static void
damage(void **state)
{
	struct buf folded = {0};
	uint64_t bytes;
	uint32_t isize;

	(void)state;
	fold(&folded, 'x', 100000);
	for (size_t cut = 0; cut < folded.len; cut++) {
		struct buf plain = {0}, part = {0};
		int fd;

		buf_add(&part, folded.p, cut);
		assert_int_equal(gzip_unfold(part.p, part.len, 1000000, &plain), E_CORRUPT);
		fd = file_of(&part);
		assert_int_equal(gzip_unfolded_size(fd, part.len, 1000000, &bytes), E_NOTFOUND);
		assert_int_equal(
			gzip_isize(fd, part.len, &isize), cut < GZIP_MIN ? E_NOTFOUND : OK);
		close(fd);
		buf_free(&plain);
		buf_free(&part);
	}
	assert_false(gzip_is("Subject: no gzip file\n\n", 23));
	assert_false(gzip_is(NULL, 0));
	buf_free(&folded);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(several_members),
		cmocka_unit_test(damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
