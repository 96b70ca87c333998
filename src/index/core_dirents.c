/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_dirents.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/mem.h"

enum { PIECES = 4, PIECE_BYTES = 256 << 10, SMALL_BYTES = 32 << 10 };

struct piece {
	char *p;
	ssize_t len; /* as getdents64 says */
	int error;
};

struct core_dirents {
	int fd, in_thread, stop;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char *memory;
	size_t piece_bytes;
	/* A ring: those from taken up to filled are read and not done with yet. */
	struct piece pieces[PIECES];
	unsigned long filled, taken;
	ssize_t at; /* in the piece taken % PIECES; -1: that is not had yet */
};

/* 0: nothing comes behind it. */
static int
fill(struct core_dirents *d, struct piece *piece)
{
	piece->len = getdents64(d->fd, piece->p, d->piece_bytes);
	piece->error = piece->len < 0 ? errno : 0;
	return piece->len > 0;
}

static void *
read_ahead(void *arg)
{
	struct core_dirents *d = arg;
	int more = 1;

	while (more) {
		pthread_mutex_lock(&d->mutex);
		while (!d->stop && d->filled - d->taken == PIECES)
			pthread_cond_wait(&d->changed, &d->mutex);
		more = !d->stop;
		pthread_mutex_unlock(&d->mutex);
		if (!more)
			break;
		more = fill(d, &d->pieces[d->filled % PIECES]);
		pthread_mutex_lock(&d->mutex);
		d->filled++;
		pthread_cond_signal(&d->changed);
		pthread_mutex_unlock(&d->mutex);
	}
	return NULL;
}

struct core_dirents *
core_dirents_begin(int fd, int in_thread)
{
	struct core_dirents *d = MEM_NEW(struct core_dirents);

	d->fd = fd;
	d->at = -1;
	d->piece_bytes = in_thread ? PIECE_BYTES : SMALL_BYTES;
	d->memory = mem_large(in_thread ? PIECES * d->piece_bytes : d->piece_bytes);
	for (size_t i = 0; i < PIECES; i++)
		d->pieces[i].p = d->memory + (in_thread ? i * d->piece_bytes : 0);
	pthread_mutex_init(&d->mutex, NULL);
	pthread_cond_init(&d->changed, NULL);
	d->in_thread = in_thread && pthread_create(&d->thread, NULL, read_ahead, d) == 0;
	return d;
}

/* The piece that is next, filled. */
static const struct piece *
next_piece(struct core_dirents *d)
{
	struct piece *piece = &d->pieces[d->taken % PIECES];

	if (!d->in_thread) {
		(void)fill(d, piece);
		return piece;
	}
	pthread_mutex_lock(&d->mutex);
	while (d->filled == d->taken)
		pthread_cond_wait(&d->changed, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
	return piece;
}

static void
give_back(struct core_dirents *d)
{
	pthread_mutex_lock(&d->mutex);
	d->taken++;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->mutex);
	d->at = -1;
}

const struct dirent64 *
core_dirents_next(struct core_dirents *d, enum err *e)
{
	const struct piece *piece = &d->pieces[d->taken % PIECES];
	const struct dirent64 *entry;

	*e = OK;
	if (d->at >= 0 && d->at >= piece->len && piece->len > 0)
		give_back(d);
	if (d->at < 0) {
		piece = next_piece(d);
		d->at = 0;
	}
	/* The last one stays, and says the same again. */
	if (piece->len <= 0) {
		*e = piece->len < 0 ? err_from_errno(piece->error) : OK;
		return NULL;
	}
	entry = (const struct dirent64 *)(const void *)(piece->p + d->at);
	d->at += entry->d_reclen;
	return entry;
}

void
core_dirents_end(struct core_dirents **dp)
{
	struct core_dirents *d = *dp;

	if (!d)
		return;
	if (d->in_thread) {
		pthread_mutex_lock(&d->mutex);
		d->stop = 1;
		pthread_cond_signal(&d->changed);
		pthread_mutex_unlock(&d->mutex);
		(void)pthread_join(d->thread, NULL);
	}
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->mutex);
	free(d->memory);
	MEM_FREE(*dp);
}
