/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "proxy/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * A slot is one word, so that a reader never sees half of it: a tag of 40 bits of the address's
 * hash above a count of 24 bits; 0 is free. An address stands somewhere in the WINDOW slots from
 * its home on; a search looks at all of them, so nothing has to be moved when a slot becomes free.
 */
enum { WINDOW = 64, COUNT_BITS = 24 };
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
#define LIMITS_MAGIC UINT64_C(0x726f6f73746c696d)

struct column {
	_Atomic int32_t pid; /* 0: free */
	_Atomic uint32_t used; /* slots may be other than zero */
	_Atomic uint64_t total;
	char pad[48]; /* a cache line each */
};

struct header {
	uint64_t magic;
	uint64_t slots; /* of each column, a power of two */
	unsigned char key[16];
	char pad[32];
	struct column columns[LIMITS_COLUMNS];
	/* then LIMITS_COLUMNS * slots words */
};

struct limits {
	struct header *h;
	_Atomic uint64_t *words;
	size_t bytes;
	uint64_t slots; /* our own copy: another process could change the shared one */
	unsigned char key[16];
	unsigned column;
};

static size_t
file_size(uint64_t slots)
{
	return sizeof(struct header) + LIMITS_COLUMNS * slots * sizeof(uint64_t);
}

enum err
limits_create(uint64_t max_connections, int *fd_out)
{
	uint64_t slots = LIMITS_SLOTS_MIN;
	struct header head = {.magic = LIMITS_MAGIC};
	int fd = memfd_create("roost-limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	enum err e = OK;

	*fd_out = -1;
	if (fd < 0)
		return err_from_errno(errno);
	while (slots < 2 * max_connections && slots < LIMITS_SLOTS_MAX)
		slots *= 2;
	head.slots = slots;
	io_random(head.key, sizeof head.key);
	/* Sparse: only what is counted takes memory. */
	if (ftruncate(fd, (off_t)file_size(slots)) != 0 ||
		pwrite(fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
		e = err_from_errno(errno);
	/* A process that could shrink it would kill the others with SIGBUS. */
	else if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		e = err_from_errno(errno);
	if (e)
		io_close(&fd);
	*fd_out = fd;
	return e;
}

static enum err
map(int fd, struct limits *l)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_from_errno(errno);
	if ((size_t)st.st_size < sizeof(struct header))
		return E_CORRUPT;
	l->bytes = (size_t)st.st_size;
	void *p = mmap(NULL, l->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_from_errno(errno);
	l->h = p;
	l->slots = l->h->slots;
	memcpy(l->key, l->h->key, sizeof l->key);
	if (l->h->magic != LIMITS_MAGIC || l->slots < LIMITS_SLOTS_MIN ||
		l->slots > LIMITS_SLOTS_MAX || (l->slots & (l->slots - 1)) != 0 ||
		l->bytes != file_size(l->slots)) {
		munmap(p, l->bytes);
		return E_CORRUPT;
	}
	l->words = (_Atomic uint64_t *)((char *)p + sizeof(struct header));
	return OK;
}

static _Atomic uint64_t *
column_words(const struct limits *l, unsigned column)
{
	return l->words + (size_t)column * l->slots;
}

static void
column_empty(struct limits *l, unsigned column)
{
	_Atomic uint64_t *w = column_words(l, column);

	if (atomic_load(&l->h->columns[column].used))
		for (uint64_t i = 0; i < l->slots; i++)
			if (atomic_load_explicit(&w[i], memory_order_relaxed) != 0)
				atomic_store(&w[i], 0);
	atomic_store(&l->h->columns[column].used, 0);
	atomic_store(&l->h->columns[column].total, 0);
	atomic_store(&l->h->columns[column].pid, 0);
}

void
limits_clear(int fd, pid_t pid)
{
	struct limits l;

	if (fd < 0 || map(fd, &l))
		return;
	for (unsigned i = 0; i < LIMITS_COLUMNS; i++)
		if (atomic_load(&l.h->columns[i].pid) == (int32_t)pid)
			column_empty(&l, i);
	munmap(l.h, l.bytes);
}

enum err
limits_open(int fd, struct limits **out)
{
	struct limits *l = MEM_NEW(struct limits);
	enum err e = map(fd, l);

	*out = NULL;
	if (e) {
		free(l);
		return e;
	}
	for (unsigned i = 0; i < LIMITS_COLUMNS; i++) {
		int32_t free_pid = 0;
		if (atomic_compare_exchange_strong(
			    &l->h->columns[i].pid, &free_pid, (int32_t)getpid())) {
			l->column = i;
			*out = l;
			return OK;
		}
	}
	munmap(l->h, l->bytes);
	free(l);
	return E_NOSPACE;
}

void
limits_close(struct limits **l)
{
	if (!*l)
		return;
	column_empty(*l, (*l)->column);
	munmap((*l)->h, (*l)->bytes);
	MEM_FREE(*l);
}

/* ---- hash of an address: SipHash-2-4, so that nobody can aim at one window ---- */

static uint64_t
rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* Of 16 bytes. */
static uint64_t
hash16(const unsigned char key[16], const unsigned char in[16])
{
	uint64_t k[2], m[3] = {0, 0, UINT64_C(16) << 56};

	memcpy(k, key, sizeof k);
	memcpy(m, in, 16);
	uint64_t v[4] = {k[0] ^ UINT64_C(0x736f6d6570736575), k[1] ^ UINT64_C(0x646f72616e646f6d),
		k[0] ^ UINT64_C(0x6c7967656e657261), k[1] ^ UINT64_C(0x7465646279746573)};
	for (int i = 0; i < 3; i++) {
		v[3] ^= m[i];
		sip_round(v);
		sip_round(v);
		v[0] ^= m[i];
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* 0: not counted by address. */
static uint64_t
host_hash(const struct limits *l, const struct net_addr *a)
{
	unsigned char bytes[16] = {0};

	if (net_addr_is_loopback(a))
		return 0;
	if (a->sa.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
		bytes[0] = 4;
		memcpy(bytes + 1, &in->sin_addr, 4);
	} else if (a->sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			bytes[0] = 4;
			memcpy(bytes + 1, (const char *)&in6->sin6_addr + 12, 4);
		} else {
			bytes[0] = 6;
			memcpy(bytes + 1, &in6->sin6_addr, 8);
		}
	} else {
		return 0;
	}
	uint64_t h = hash16(l->key, bytes);
	return h ? h : 1;
}

/* The tag must not be 0, or an entry with count 0 could look free. */
static uint64_t
tag_of(uint64_t hash)
{
	uint64_t tag = hash >> COUNT_BITS;

	return (tag ? tag : 1) << COUNT_BITS;
}

static _Atomic uint64_t *
find(const struct limits *l, unsigned column, uint64_t hash, _Atomic uint64_t **vacant)
{
	_Atomic uint64_t *w = column_words(l, column);

	if (vacant)
		*vacant = NULL;
	for (uint64_t i = 0; i < WINDOW; i++) {
		/* The home comes from the low bits, the tag from the others. */
		_Atomic uint64_t *at = &w[(hash + i) & (l->slots - 1)];
		uint64_t word = atomic_load(at);
		if (word != 0 && (word & ~COUNT_MASK) == tag_of(hash))
			return at;
		if (word == 0 && vacant && !*vacant)
			*vacant = at;
	}
	return NULL;
}

static uint64_t
host_total(const struct limits *l, uint64_t hash)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LIMITS_COLUMNS; i++) {
		if (!atomic_load(&l->h->columns[i].used))
			continue;
		_Atomic uint64_t *at = find(l, i, hash, NULL);
		if (at)
			n += atomic_load(at) & COUNT_MASK;
	}
	return n;
}

uint64_t
limits_total(const struct limits *l)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LIMITS_COLUMNS; i++)
		n += atomic_load(&l->h->columns[i].total);
	return n;
}

/* 0: no room in the window. */
static int
host_count(struct limits *l, uint64_t hash)
{
	_Atomic uint64_t *vacant, *at = find(l, l->column, hash, &vacant);

	atomic_store(&l->h->columns[l->column].used, 1);
	if (at && (atomic_load(at) & COUNT_MASK) < COUNT_MASK)
		atomic_fetch_add(at, 1);
	else if (!at && vacant)
		atomic_store(vacant, tag_of(hash) | 1);
	else
		return 0;
	return 1;
}

static void
host_uncount(struct limits *l, uint64_t hash)
{
	_Atomic uint64_t *at = find(l, l->column, hash, NULL);

	if (!at)
		return; /* somebody wrote into our column */
	if ((atomic_load(at) & COUNT_MASK) <= 1)
		atomic_store(at, 0);
	else
		atomic_fetch_sub(at, 1);
}

enum limits_verdict
limits_enter(struct limits *l, const struct net_addr *peer, uint64_t max_all, uint64_t max_host)
{
	uint64_t hash = host_hash(l, peer);
	_Atomic uint64_t *total = &l->h->columns[l->column].total;

	atomic_fetch_add(total, 1);
	if (limits_total(l) > max_all) {
		atomic_fetch_sub(total, 1);
		return LIMITS_ALL;
	}
	if (hash == 0)
		return LIMITS_OK;
	if (!host_count(l, hash)) {
		atomic_fetch_sub(total, 1);
		return LIMITS_HOST;
	}
	if (host_total(l, hash) > max_host) {
		host_uncount(l, hash);
		atomic_fetch_sub(total, 1);
		return LIMITS_HOST;
	}
	return LIMITS_OK;
}

void
limits_leave(struct limits *l, const struct net_addr *peer)
{
	uint64_t hash = host_hash(l, peer);

	atomic_fetch_sub(&l->h->columns[l->column].total, 1);
	if (hash != 0)
		host_uncount(l, hash);
}
