/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "proxy/known.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
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
 * A word: 32 bits of the address's hash above the second until which it is known; 0 is free. An
 * address stands somewhere in the KNOWN_WINDOW words from its home on.
 */
enum { KNOWN_WINDOW = 16 };
#define KNOWN_MAGIC UINT64_C(0x726f6f73746b6e31)

struct header {
	uint64_t magic;
	struct siphash_key key;
	char pad[40];
};

struct known {
	struct header *h;
	_Atomic uint64_t *words;
	struct siphash_key key; /* our own copy: another process could change the shared one */
};

enum { KNOWN_BYTES = sizeof(struct header) + KNOWN_SLOTS * sizeof(uint64_t) };

/* ---- the master's ---- */

/* What was kept, if it is whole; else an empty table with a key of its own. */
static void
fill(const char *path, struct buf *out)
{
	struct header head = {.magic = KNOWN_MAGIC};

	if (io_read_file(path, out) == OK && out->len == KNOWN_BYTES) {
		memcpy(&head, out->p, sizeof head);
		if (head.magic == KNOWN_MAGIC)
			return;
		head = (struct header){.magic = KNOWN_MAGIC};
	}
	buf_reset(out);
	head.key = siphash_key_random();
	buf_add(out, &head, sizeof head);
}

enum err
known_create(const char *path, int *fd_out)
{
	int fd = memfd_create("roost-known", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct buf text = BUF_INIT(KNOWN_BYTES);
	enum err e = OK;

	*fd_out = -1;
	if (fd < 0)
		return err_from_errno(errno);
	fill(path, &text);
	if (ftruncate(fd, KNOWN_BYTES) != 0 || pwrite(fd, text.p, text.len, 0) != (ssize_t)text.len)
		e = err_from_errno(errno);
	/* A process that could shrink it would kill the others with SIGBUS. */
	else if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		e = err_from_errno(errno);
	if (e)
		io_close(&fd);
	buf_free(&text);
	*fd_out = fd;
	return e;
}

void
known_save(int fd, const char *path)
{
	char *fresh = mem_printf("%s.new", path);
	char *bytes = mem_alloc(KNOWN_BYTES);
	enum err e = pread(fd, bytes, KNOWN_BYTES, 0) == KNOWN_BYTES ? OK : E_IO;
	int out = -1;

	/* A file left by one that died is not written through. */
	(void)unlink(fresh);
	if (e == OK) {
		out = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		e = out < 0 ? err_from_errno(errno) : io_write_all(out, bytes, KNOWN_BYTES);
	}
	if (e == OK && rename(fresh, path) != 0)
		e = err_from_errno(errno);
	if (e)
		log_event(LOGL_WARN, "master.known unsaved", "path", path, "error", err_text(e),
			NULL);
	io_close(&out);
	free(bytes);
	free(fresh);
}

/* ---- the proxy's ---- */

enum err
known_open(int fd, struct known **out)
{
	struct stat st;
	struct known *k;
	void *p;

	*out = NULL;
	if (fstat(fd, &st) != 0)
		return err_from_errno(errno);
	if (st.st_size != KNOWN_BYTES)
		return E_CORRUPT;
	p = mmap(NULL, KNOWN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_from_errno(errno);
	k = MEM_NEW(struct known);
	k->h = p;
	k->words = (_Atomic uint64_t *)((char *)p + sizeof(struct header));
	k->key = k->h->key;
	*out = k;
	return OK;
}

void
known_close(struct known **k)
{
	if (*k == NULL)
		return;
	munmap((*k)->h, KNOWN_BYTES);
	MEM_FREE(*k);
}

/* Its home and, in the upper half, its tag, which is not 0. */
static size_t
place(const struct known *k, const struct net_addr *a, uint64_t *tag)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
	const struct in6_addr *six = &in6->sin6_addr;
	struct siphash hash;
	struct str bytes = str_make((const char *)&in4->sin_addr, 4);

	if (a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(six))
		bytes = str_make((const char *)six->s6_addr + 12, 4);
	else if (a->sa.ss_family == AF_INET6)
		bytes = str_make((const char *)six->s6_addr, 8);
	hash = siphash_128(&k->key, bytes);
	*tag = (hash.b | 1) << 32;
	return (size_t)(hash.a % KNOWN_SLOTS);
}

int
known_has(const struct known *k, const struct net_addr *client, int64_t now)
{
	uint64_t tag;
	size_t home = place(k, client, &tag);

	for (size_t i = 0; i < KNOWN_WINDOW; i++) {
		uint64_t word = k->words[(home + i) % KNOWN_SLOTS];

		if (word >> 32 == tag >> 32 && (int64_t)(uint32_t)word > now)
			return 1;
	}
	return 0;
}

void
known_add(struct known *k, const struct net_addr *client, int64_t until)
{
	uint64_t tag, least = UINT64_MAX;
	size_t home = place(k, client, &tag), at = home;

	/* Its own word, else the one that ends first: a free one, or one that is over. */
	for (size_t i = 0; i < KNOWN_WINDOW; i++) {
		size_t slot = (home + i) % KNOWN_SLOTS;
		uint64_t word = k->words[slot];

		if (word >> 32 == tag >> 32) {
			at = slot;
			break;
		}
		if ((uint32_t)word < least) {
			least = (uint32_t)word;
			at = slot;
		}
	}
	k->words[at] = tag | (uint32_t)until;
}
