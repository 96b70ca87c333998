/* SPDX-License-Identifier: MIT */
#include "auth/token_used.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/mem.h"

/*
 * A mark is one word, so that it is set in one step: a tag, never 0, and behind it the second in
 * which the token expires, without its upper bits. An expired one is free.
 */
enum { BUCKET = 32, SECOND_BITS = 24, LIVE_MAX_S = 61 };
#define SECOND_MASK ((UINT64_C(1) << SECOND_BITS) - 1)

struct token_used {
	_Atomic uint64_t marks[TOKEN_USED_MAX];
};

enum err
token_used_create(int *fd_out)
{
	int fd = memfd_create("roost-tokens", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	*fd_out = -1;
	if (fd < 0)
		return err_from_errno(errno);
	if (ftruncate(fd, sizeof(struct token_used)) != 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		enum err e = err_from_errno(errno);

		io_close(&fd);
		return e;
	}
	*fd_out = fd;
	return OK;
}

enum err
token_used_open(int fd, struct token_used **out)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	struct stat st;
	void *p;

	*out = NULL;
	if (fd >= 0 && fstat(fd, &st) != 0)
		return err_from_errno(errno);
	if (fd >= 0 && st.st_size != (off_t)sizeof(struct token_used))
		return E_RANGE;
	p = mmap(NULL, sizeof(struct token_used), PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED)
		return err_from_errno(errno);
	*out = p;
	return OK;
}

void
token_used_close(struct token_used **t)
{
	if (*t)
		munmap(*t, sizeof(**t));
	*t = NULL;
}

/* Seconds that a mark is still good for; 0: it is free. */
static uint64_t
left_of(uint64_t mark, uint64_t now_s)
{
	uint64_t left = (mark - now_s) & SECOND_MASK;

	return mark && left <= LIVE_MAX_S ? left : 0;
}

static int
is_same(uint64_t mark, uint64_t other)
{
	return mark >> SECOND_BITS == other >> SECOND_BITS;
}

/* 1: it is there, but for the place that is ours; *place: a free one, or that of the oldest. */
static int
bucket_search(_Atomic uint64_t *bucket, uint64_t mine, uint64_t now_s, size_t ours, size_t *place,
	uint64_t *found)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < BUCKET; i++) {
		uint64_t mark = atomic_load(&bucket[i]), left = left_of(mark, now_s);

		if (i != ours && left && is_same(mark, mine))
			return 1;
		if (left < least) {
			least = left;
			*place = i;
			*found = mark;
		}
	}
	return 0;
}

int
token_used_mark(struct token_used *t, const void *seal, int64_t expires_ms, int64_t now_ms)
{
	uint64_t bits, mine, found = 0, now_s = (uint64_t)now_ms / 1000;
	_Atomic uint64_t *bucket;
	size_t place = 0, ours;

	memcpy(&bits, seal, sizeof(bits));
	bucket = &t->marks[bits % (TOKEN_USED_MAX / BUCKET) * BUCKET];
	/* The upper bits, which do not choose the bucket. */
	mine = (bits >> SECOND_BITS | 1) << SECOND_BITS |
	       (((uint64_t)expires_ms + 999) / 1000 & SECOND_MASK);
	do {
		if (bucket_search(bucket, mine, now_s, BUCKET, &place, &found))
			return 0;
	} while (!atomic_compare_exchange_strong(&bucket[place], &found, mine));
	/* Another may have taken another place in the meantime: then it is nobody's. */
	ours = place;
	return !bucket_search(bucket, mine, now_s, ours, &place, &found);
}
