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
#include "lib/siphash.h"

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
	/* An address, a user, and a user at an address. */
	while (slots < 4 * max_connections && slots < LIMITS_SLOTS_MAX)
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

/* ---- hashes, so that nobody can aim at one window ---- */

/* Never 0. */
static uint64_t
hash_of(const struct limits *l, struct str text)
{
	struct siphash_key key;
	uint64_t h;

	memcpy(&key, l->key, sizeof key);
	h = siphash_128(&key, text).a;
	return h ? h : 1;
}

enum { HOST_BYTES = 16 };

/* 0: not counted by address. */
static int
host_bytes(const struct net_addr *a, char bytes[HOST_BYTES])
{
	memset(bytes, 0, HOST_BYTES);
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
	return 1;
}

/* 0: not counted by address. */
static uint64_t
host_hash(const struct limits *l, const struct net_addr *a)
{
	char bytes[HOST_BYTES];

	return host_bytes(a, bytes) ? hash_of(l, str_make(bytes, sizeof bytes)) : 0;
}

/* A letter in front keeps the kinds apart: an address begins with 4 or 6. */
static void
login_hash(const struct limits *l, const char *user, const struct net_addr *peer,
	struct limits_login *out)
{
	struct buf text = {0};
	char bytes[HOST_BYTES];

	(void)buf_printf(&text, "u%s", user);
	out->user = hash_of(l, buf_str(&text));
	if (host_bytes(peer, bytes)) {
		buf_reset(&text);
		(void)buf_add_char(&text, 'h');
		(void)buf_add(&text, bytes, sizeof bytes);
		(void)buf_add_cstr(&text, user);
		out->user_host = hash_of(l, buf_str(&text));
	}
	buf_free(&text);
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
total_of(const struct limits *l, uint64_t hash)
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
count(struct limits *l, uint64_t hash)
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
uncount(struct limits *l, uint64_t hash)
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
	if (!count(l, hash)) {
		atomic_fetch_sub(total, 1);
		return LIMITS_HOST;
	}
	if (total_of(l, hash) > max_host) {
		uncount(l, hash);
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
		uncount(l, hash);
}

/* Counts, and takes it back when that is more than max. 0: no, too many. */
static int
login_count(struct limits *l, uint64_t hash, uint64_t max)
{
	if (!count(l, hash))
		return 0;
	if (max == 0 || total_of(l, hash) <= max)
		return 1;
	uncount(l, hash);
	return 0;
}

enum limits_login_verdict
limits_login_enter(struct limits *l, const char *user, const struct net_addr *peer,
	uint64_t max_user, uint64_t max_user_host, struct limits_login *out)
{
	struct limits_login login = {0};

	memset(out, 0, sizeof *out);
	login_hash(l, user, peer, &login);
	if (!login_count(l, login.user, max_user))
		return LIMITS_USER;
	if (login.user_host && !login_count(l, login.user_host, max_user_host)) {
		uncount(l, login.user);
		return LIMITS_USER_HOST;
	}
	*out = login;
	return LIMITS_LOGIN_OK;
}

void
limits_login_leave(struct limits *l, struct limits_login *login)
{
	if (login->user)
		uncount(l, login->user);
	if (login->user_host)
		uncount(l, login->user_host);
	memset(login, 0, sizeof *login);
}
