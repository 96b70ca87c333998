/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_IO_H
#define ROOST_LIB_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

/* Small helpers over system calls. All retry on EINTR and set errno as the failing call did. */

/* Writes all of it or fails. */
enum err io_write_all(int fd, const void *p, size_t len);
/* Reads exactly len bytes. E_CLOSED at an early end of file. */
enum err io_read_exact(int fd, void *p, size_t len);
/*
 * Appends a whole regular file to *out (bounded by out->max: E_TOOBIG). O_NOFOLLOW: a symbolic
 * link, FIFO or directory is E_ACCESS.
 */
enum err io_read_file(const char *path, struct buf *out);
/*
 * Replaces path by a file with these contents so that a crash leaves the old or the new one:
 * writes path.tmp, fsync, rename, fsync of the directory.
 */
enum err io_write_file_atomic(const char *path, const void *p, size_t len, mode_t mode);
enum err io_fsync_dir(const char *path);
/* mkdir -p. A directory that exists is OK. */
enum err io_mkdir_parents(const char *path, mode_t mode);
/* close(2) if *fd >= 0, then *fd = -1. */
void io_close(int *fd);
enum err io_set_nonblocking(int fd, int on);
enum err io_set_cloexec(int fd, int on);
/* Waits for events of poll(2) on fd. timeout_ms < 0: for ever. E_TIMEOUT; E_CANCELLED: a signal
 * came, *timeout_ms is what is left. */
enum err io_wait_or_signal(int fd, short events, int *timeout_ms);
/* Waits until fd is readable (or writable). timeout_ms < 0: for ever. E_TIMEOUT. */
enum err io_wait_readable(int fd, int timeout_ms);
enum err io_wait_writable(int fd, int timeout_ms);
/* Monotonic milliseconds since some start; for deadlines. */
int64_t io_now_ms(void);
/* Milliseconds of Unix time; to be shown. */
uint64_t io_unix_ms(void);
/* len bytes from the kernel's random generator; never fails. */
void io_random(void *p, size_t len);
/* 2 * bytes lower-case hex digits of random plus a NUL into out. */
void io_random_hex(char *out, size_t bytes);

#endif
