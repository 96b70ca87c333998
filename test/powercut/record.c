/* SPDX-License-Identifier: MIT */
#include "powercut/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * Preloaded into every process of an instance. What changes files below the root goes into a log
 * that all processes share in memory, in the order in which it happened: a lock is held around each
 * call. The calls are made with syscall(2), so that nothing here calls itself.
 */

struct shared {
	uint64_t size, end; /* of the log behind this header, which begins at LOG_START */
	uint64_t lost; /* records that found no room */
	_Atomic int64_t fault_after; /* calls left until one fails; 0: none will */
	_Atomic int64_t fault_count; /* how many fail then */
	_Atomic uint64_t calls; /* that could have failed */
	_Atomic uint64_t faults; /* that did */
	int32_t fault_errno;
	uint32_t fault_calls; /* bits of enum call */
	char fault_what[200]; /* the last one */
	char root[256];
	pthread_mutex_t mutex;
};
enum { LOG_START = 4096 };
_Static_assert(sizeof(struct shared) <= LOG_START, "the header has a page");

static struct shared *shared;

static struct shared *
map(const char *path, int make, uint64_t size)
{
	int fd = (int)syscall(
		SYS_openat, AT_FDCWD, path, O_RDWR | (make ? O_CREAT : 0) | O_CLOEXEC, 0666);
	void *p = MAP_FAILED;
	struct stat st;

	if (fd >= 0 && make && syscall(SYS_ftruncate, fd, size) != 0)
		abort();
	if (fd >= 0 && fstat(fd, &st) == 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static void __attribute__((constructor)) start(void)
{
	const char *path = getenv("POWERCUT_LOG");

	if (path)
		shared = map(path, 0, 0);
}

int
powercut_create(const char *path, const char *root, uint64_t size)
{
	pthread_mutexattr_t attr;

	shared = map(path, 1, size);
	if (!shared)
		return -1;
	shared->size = size - LOG_START;
	snprintf(shared->root, sizeof(shared->root), "%s", root);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	return pthread_mutex_init(&shared->mutex, &attr);
}

void
powercut_fault(int errnum, uint32_t calls, int64_t after, int64_t count)
{
	shared->fault_errno = errnum;
	shared->fault_calls = calls;
	atomic_store(&shared->calls, 0);
	atomic_store(&shared->faults, 0);
	atomic_store(&shared->fault_count, count);
	shared->fault_what[0] = '\0';
	atomic_store(&shared->fault_after, after);
}

uint64_t
powercut_calls(void)
{
	return atomic_load(&shared->calls);
}

uint64_t
powercut_faults(void)
{
	return atomic_load(&shared->faults);
}

const char *
powercut_fault_what(void)
{
	return shared->fault_what;
}

uint64_t
powercut_lost(void)
{
	return shared->lost;
}

/* ---- the log ---- */

static void
lock(void)
{
	if (pthread_mutex_lock(&shared->mutex) == EOWNERDEAD)
		pthread_mutex_consistent(&shared->mutex);
}

/* errno and rc as they were: the last thing that a wrapper does. */
static long
unlock(long rc)
{
	int saved = errno;

	pthread_mutex_unlock(&shared->mutex);
	errno = saved;
	return rc;
}

static void
put(struct powercut_record *r, const char *name, const char *name2, const struct iovec *data, int n)
{
	char *p = (char *)shared + LOG_START + shared->end;
	size_t left;

	r->name_len = name ? (uint32_t)strlen(name) : 0;
	r->name2_len = name2 ? (uint32_t)strlen(name2) : 0;
	left = r->data_len;
	r->size = (sizeof(*r) + r->name_len + r->name2_len + r->data_len + 7) & ~7u;
	if (r->size > shared->size - shared->end) {
		shared->lost++;
		return;
	}
	memcpy(p, r, sizeof(*r));
	p += sizeof(*r);
	if (name)
		memcpy(p, name, r->name_len);
	p += r->name_len;
	if (name2)
		memcpy(p, name2, r->name2_len);
	p += r->name2_len;
	for (int i = 0; i < n && left > 0; i++) {
		size_t len = data[i].iov_len < left ? data[i].iov_len : left;

		memcpy(p, data[i].iov_base, len);
		p += len;
		left -= len;
	}
	shared->end += r->size;
}

void
powercut_mark(const char *text)
{
	struct powercut_record r = {.call = POWERCUT_MARK, .data_len = (uint32_t)strlen(text)};
	struct iovec v = {(char *)(uintptr_t)text, r.data_len};

	lock();
	put(&r, NULL, NULL, &v, 1);
	unlock(0);
}

/* ---- what is where ---- */

static int
below_root(const char *path)
{
	size_t len = strlen(shared->root);

	return strncmp(path, shared->root, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static int
fd_path(int fd, char *out, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = (ssize_t)syscall(SYS_readlinkat, AT_FDCWD, link, out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static int
fd_counts(int fd)
{
	int saved = errno, yes;
	char path[1024];

	yes = shared && fd_path(fd, path, sizeof(path)) && below_root(path);
	errno = saved;
	return yes;
}

/* A name in a directory, which the record knows by its inode. */
struct place {
	char dir[1024];
	const char *name;
	int dirfd;
};

static int
place_of(int dirfd, const char *path, struct place *p)
{
	const char *slash = strrchr(path, '/');
	int saved = errno, yes;

	if (!shared)
		return 0;
	p->name = slash ? slash + 1 : path;
	p->dirfd = dirfd;
	p->dir[0] = '\0';
	if (slash)
		snprintf(p->dir, sizeof(p->dir), "%.*s", (int)(slash - path), path);
	if (path[0] == '/')
		yes = below_root(path);
	else
		yes = dirfd != AT_FDCWD && fd_counts(dirfd);
	errno = saved;
	return yes;
}

static uint64_t
place_dir(const struct place *p, int64_t *sec, int64_t *nsec)
{
	struct stat st = {0};
	int saved = errno;

	if (p->dir[0])
		(void)fstatat(p->dirfd, p->dir, &st, 0);
	else
		(void)fstat(p->dirfd, &st);
	errno = saved;
	*sec = st.st_mtim.tv_sec;
	*nsec = st.st_mtim.tv_nsec;
	return st.st_ino;
}

static uint64_t
inode_at(int dirfd, const char *path)
{
	struct stat st;
	int saved = errno, rc = fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW);

	errno = saved;
	return rc == 0 ? st.st_ino : 0;
}

static void
about_file(int fd, struct powercut_record *r)
{
	int saved = errno;
	struct stat st;

	if (fstat(fd, &st) == 0) {
		r->ino = st.st_ino;
		r->sec = st.st_mtim.tv_sec;
		r->nsec = st.st_mtim.tv_nsec;
	}
	errno = saved;
}

/* ---- faults ---- */

static int
fails(enum powercut_call call, const char *what)
{
	int64_t left;

	if (!(shared->fault_calls & 1u << call))
		return 0;
	atomic_fetch_add(&shared->calls, 1);
	left = atomic_load(&shared->fault_after);
	if (left <= 0)
		return 0;
	if (left > 1) {
		atomic_store(&shared->fault_after, left - 1);
		return 0;
	}
	if (atomic_fetch_sub(&shared->fault_count, 1) <= 1)
		atomic_store(&shared->fault_after, 0);
	atomic_fetch_add(&shared->faults, 1);
	snprintf(shared->fault_what, sizeof(shared->fault_what), "%s: call %d, %s",
		program_invocation_short_name, (int)call, what);
	if (shared->fault_errno < 0)
		kill(getpid(), -shared->fault_errno);
	errno = shared->fault_errno;
	return 1;
}

/* ---- the calls ---- */

static int
do_open(int dirfd, const char *path, int flags, mode_t mode)
{
	struct powercut_record r = {.call = POWERCUT_CREATE};
	struct place p;
	uint64_t before;
	long fd;

	if ((flags & O_TMPFILE) == O_TMPFILE || !place_of(dirfd, path, &p))
		return (int)syscall(SYS_openat, dirfd, path, flags, mode);
	lock();
	before = flags & O_CREAT ? inode_at(dirfd, path) : 1;
	if (fails(before ? POWERCUT_OPEN : POWERCUT_CREATE, path))
		return (int)unlock(-1);
	fd = syscall(SYS_openat, dirfd, path, flags, mode);
	if (fd < 0)
		return (int)unlock(fd);
	if (before == 0) {
		r.dir = place_dir(&p, &r.dir_sec, &r.dir_nsec);
		about_file((int)fd, &r);
		put(&r, p.name, NULL, NULL, 0);
	} else if (flags & O_TRUNC) {
		r.call = POWERCUT_TRUNCATE;
		about_file((int)fd, &r);
		put(&r, NULL, NULL, NULL, 0);
	}
	return (int)unlock(fd);
}

#define OPEN_MODE(flags, mode)                                                                     \
	mode_t mode = 0;                                                                           \
	if ((flags) & (O_CREAT | O_TMPFILE)) {                                                     \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		mode = va_arg(ap, mode_t);                                                         \
		va_end(ap);                                                                        \
	}

int
open(const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return do_open(AT_FDCWD, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return do_open(AT_FDCWD, path, flags, mode);
}

int
openat(int dirfd, const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return do_open(dirfd, path, flags, mode);
}

int
openat64(int dirfd, const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return do_open(dirfd, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);

int
__open_2(const char *path, int flags)
{
	return do_open(AT_FDCWD, path, flags, 0);
}

int
__open64_2(const char *path, int flags)
{
	return do_open(AT_FDCWD, path, flags, 0);
}

int
__openat_2(int dirfd, const char *path, int flags)
{
	return do_open(dirfd, path, flags, 0);
}

int
__openat64_2(int dirfd, const char *path, int flags)
{
	return do_open(dirfd, path, flags, 0);
}

/* off < 0: where the file's own position is. */
static long
do_write(int fd, const struct iovec *v, int n, off_t off)
{
	struct powercut_record r = {.call = POWERCUT_WRITE};
	char path[1024];
	long done;

	if (!shared || !fd_path(fd, path, sizeof(path)) || !below_root(path))
		return off < 0 ? syscall(SYS_writev, fd, v, n)
			       : syscall(SYS_pwritev, fd, v, n, off, 0);
	lock();
	if (fails(POWERCUT_WRITE, path))
		return unlock(-1);
	done = off < 0 ? syscall(SYS_writev, fd, v, n) : syscall(SYS_pwritev, fd, v, n, off, 0);
	if (done > 0) {
		about_file(fd, &r);
		r.off = off < 0 ? (uint64_t)(syscall(SYS_lseek, fd, 0, SEEK_CUR) - done)
				: (uint64_t)off;
		r.data_len = (uint32_t)done;
		put(&r, NULL, NULL, v, n);
	}
	return unlock(done);
}

ssize_t
write(int fd, const void *p, size_t len)
{
	struct iovec v = {(void *)(uintptr_t)p, len};

	return do_write(fd, &v, 1, -1);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	return do_write(fd, v, n, -1);
}

ssize_t
pwrite(int fd, const void *p, size_t len, off_t off)
{
	struct iovec v = {(void *)(uintptr_t)p, len};

	return do_write(fd, &v, 1, off);
}

ssize_t
pwrite64(int fd, const void *p, size_t len, off_t off)
{
	struct iovec v = {(void *)(uintptr_t)p, len};

	return do_write(fd, &v, 1, off);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	return do_write(fd, v, n, off);
}

ssize_t
pwritev64(int fd, const struct iovec *v, int n, off_t off)
{
	return do_write(fd, v, n, off);
}

/* Into a file: what came is read once more from there. */
static ssize_t
do_sendfile(int out, int in, off_t *off, size_t len)
{
	struct powercut_record r = {.call = POWERCUT_WRITE};
	char path[1024], *copy;
	struct iovec v;
	long done;

	if (!shared || !fd_path(out, path, sizeof(path)) || !below_root(path))
		return syscall(SYS_sendfile, out, in, off, len);
	lock();
	if (fails(POWERCUT_WRITE, path))
		return unlock(-1);
	done = syscall(SYS_sendfile, out, in, off, len);
	copy = done > 0 ? malloc((size_t)done) : NULL;
	if (copy) {
		off_t from = off ? *off : (off_t)syscall(SYS_lseek, in, 0, SEEK_CUR);

		about_file(out, &r);
		r.off = (uint64_t)(syscall(SYS_lseek, out, 0, SEEK_CUR) - done);
		r.data_len = (uint32_t)syscall(SYS_pread64, in, copy, done, from - done);
		v = (struct iovec){copy, r.data_len};
		put(&r, NULL, NULL, &v, 1);
		free(copy);
	}
	return unlock(done);
}

ssize_t
sendfile(int out, int in, off_t *off, size_t len)
{
	return do_sendfile(out, in, off, len);
}

ssize_t
sendfile64(int out, int in, off_t *off, size_t len)
{
	return do_sendfile(out, in, off, len);
}

static int
do_sync(int fd, long number)
{
	struct powercut_record r = {.call = POWERCUT_SYNC};
	char path[1024];
	long rc;

	if (!shared || !fd_path(fd, path, sizeof(path)) || !below_root(path))
		return (int)syscall(number, fd);
	lock();
	if (fails(POWERCUT_SYNC, path))
		return (int)unlock(-1);
	rc = syscall(number, fd);
	if (rc == 0) {
		about_file(fd, &r);
		put(&r, NULL, NULL, NULL, 0);
	}
	return (int)unlock(rc);
}

int
fsync(int fd)
{
	return do_sync(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
	return do_sync(fd, SYS_fdatasync);
}

static int
do_truncate(int fd, off_t len)
{
	struct powercut_record r = {.call = POWERCUT_TRUNCATE, .off = (uint64_t)len};
	char path[1024];
	long rc;

	if (!shared || !fd_path(fd, path, sizeof(path)) || !below_root(path))
		return (int)syscall(SYS_ftruncate, fd, len);
	lock();
	if (fails(POWERCUT_TRUNCATE, path))
		return (int)unlock(-1);
	rc = syscall(SYS_ftruncate, fd, len);
	if (rc == 0) {
		about_file(fd, &r);
		put(&r, NULL, NULL, NULL, 0);
	}
	return (int)unlock(rc);
}

int
ftruncate(int fd, off_t len)
{
	return do_truncate(fd, len);
}

int
ftruncate64(int fd, off_t len)
{
	return do_truncate(fd, len);
}

int
futimens(int fd, const struct timespec times[2])
{
	struct powercut_record r = {.call = POWERCUT_TIMES};
	char path[1024];
	long rc;

	if (!shared || !fd_path(fd, path, sizeof(path)) || !below_root(path))
		return (int)syscall(SYS_utimensat, fd, NULL, times, 0);
	lock();
	if (fails(POWERCUT_TIMES, path))
		return (int)unlock(-1);
	rc = syscall(SYS_utimensat, fd, NULL, times, 0);
	if (rc == 0) {
		about_file(fd, &r);
		put(&r, NULL, NULL, NULL, 0);
	}
	return (int)unlock(rc);
}

static int
do_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	struct powercut_record r = {.call = POWERCUT_RENAME};
	struct place p, q;
	int yes = place_of(from_fd, from, &p);
	long rc;

	if (!place_of(to_fd, to, &q) && !yes)
		return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
	lock();
	if (fails(POWERCUT_RENAME, to))
		return (int)unlock(-1);
	rc = syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
	if (rc == 0) {
		r.ino = inode_at(to_fd, to);
		r.dir = place_dir(&p, &r.dir_sec, &r.dir_nsec);
		r.dir2 = place_dir(&q, &r.sec, &r.nsec);
		put(&r, p.name, q.name, NULL, 0);
	}
	return (int)unlock(rc);
}

int
rename(const char *from, const char *to)
{
	return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return do_rename(from_fd, from, to_fd, to, 0);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return do_rename(from_fd, from, to_fd, to, flags);
}

static int
do_link(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	struct powercut_record r = {.call = POWERCUT_LINK};
	struct place q;
	long rc;

	if (!place_of(to_fd, to, &q))
		return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
	lock();
	if (fails(POWERCUT_LINK, to))
		return (int)unlock(-1);
	rc = syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
	if (rc == 0) {
		r.ino = inode_at(to_fd, to);
		r.dir = place_dir(&q, &r.dir_sec, &r.dir_nsec);
		put(&r, q.name, NULL, NULL, 0);
	}
	return (int)unlock(rc);
}

int
link(const char *from, const char *to)
{
	return do_link(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return do_link(from_fd, from, to_fd, to, flags);
}

static int
do_unlink(int dirfd, const char *path, int flags)
{
	struct powercut_record r = {.call = POWERCUT_UNLINK};
	struct place p;
	long rc;

	if (!place_of(dirfd, path, &p))
		return (int)syscall(SYS_unlinkat, dirfd, path, flags);
	lock();
	if (fails(POWERCUT_UNLINK, path))
		return (int)unlock(-1);
	r.ino = inode_at(dirfd, path);
	rc = syscall(SYS_unlinkat, dirfd, path, flags);
	if (rc == 0) {
		r.dir = place_dir(&p, &r.dir_sec, &r.dir_nsec);
		put(&r, p.name, NULL, NULL, 0);
	}
	return (int)unlock(rc);
}

int
unlink(const char *path)
{
	return do_unlink(AT_FDCWD, path, 0);
}

int
unlinkat(int dirfd, const char *path, int flags)
{
	return do_unlink(dirfd, path, flags);
}

int
rmdir(const char *path)
{
	return do_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}

static int
do_mkdir(int dirfd, const char *path, mode_t mode)
{
	struct powercut_record r = {.call = POWERCUT_MKDIR};
	struct place p;
	long rc;

	if (!place_of(dirfd, path, &p))
		return (int)syscall(SYS_mkdirat, dirfd, path, mode);
	lock();
	if (fails(POWERCUT_MKDIR, path))
		return (int)unlock(-1);
	rc = syscall(SYS_mkdirat, dirfd, path, mode);
	if (rc == 0) {
		r.ino = inode_at(dirfd, path);
		r.dir = place_dir(&p, &r.dir_sec, &r.dir_nsec);
		put(&r, p.name, NULL, NULL, 0);
	}
	return (int)unlock(rc);
}

int
mkdir(const char *path, mode_t mode)
{
	return do_mkdir(AT_FDCWD, path, mode);
}

int
mkdirat(int dirfd, const char *path, mode_t mode)
{
	return do_mkdir(dirfd, path, mode);
}

/* A descriptor's copy is one more: EMFILE. */
static int
do_fcntl(int fd, int command, void *arg)
{
	if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && shared && fd_counts(fd)) {
		lock();
		if (fails(POWERCUT_DUP, "fcntl"))
			return (int)unlock(-1);
		unlock(0);
	}
	return (int)syscall(SYS_fcntl, fd, command, arg);
}

int
fcntl(int fd, int command, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, command, arg);
}

int
fcntl64(int fd, int command, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, command, arg);
}
