/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/local_copy.h"
#include "mta-lite/local_run.h"

/* One mbox. Programs lock it in two ways, PATH.lock and fcntl(2): both are done. */

enum { LOCK_WAIT_MS = 30 * 1000, LOCK_AGAIN_MS = 100, LOCK_STALE_S = 500, LOCK_TEXT_MAX = 300 };

struct mbox {
	struct local_run *r;
	const char *path;
	char *lock; /* NULL: not ours */
	int fd;
	off_t size; /* before us */
	int made; /* it was not there */
};

static void
later(struct mbox *b, const char *dsn, const char *what, int error)
{
	log_event(LOGL_WARN, "local.file failed", "path", b->path, "what", what, "error",
		error ? log_errno(error) : "", NULL);
	smtp_answer_set(b->r->answer, QUEUE_PENDING, dsn, "the file of %s: %s%s%s",
		b->r->job->recipient, what, error ? ": " : "", error ? strerror(error) : "");
}

static void
wait_a_while(void)
{
	const struct timespec t = {0, LOCK_AGAIN_MS * 1000 * 1000L};

	(void)nanosleep(&t, NULL);
}

/* "PID:HOST": who has a lock, as other programs write it too. */
static void
sign_lock(int fd)
{
	char host[LOCK_TEXT_MAX] = "";

	if (gethostname(host, sizeof(host) - 1) == 0)
		(void)dprintf(fd, "%ld:%s\n", (long)getpid(), host);
}

/* It says that a process of this machine has it, and there is none of that number. */
static int
owner_is_gone(const char *lock)
{
	char text[LOCK_TEXT_MAX] = "", host[LOCK_TEXT_MAX] = "";
	int fd = open(lock, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	struct str rest, pid;
	uint32_t number;

	io_close(&fd);
	if (n <= 0 || text[n - 1] != '\n' || gethostname(host, sizeof(host) - 1) != 0)
		return 0;
	rest = str_make(text, (size_t)n - 1);
	pid = str_split(&rest, ':');
	if (!str_is(rest, host) || str_to_u32(pid, &number) || number == 0 || number > INT32_MAX)
		return 0;
	return kill((pid_t)number, 0) != 0 && errno == ESRCH;
}

/* Whoever made it is dead, or has been for long. */
static void
break_stale_lock(const char *lock)
{
	struct stat st;

	if (lstat(lock, &st) == 0 && S_ISREG(st.st_mode) &&
		(st.st_mtime < time(NULL) - LOCK_STALE_S || owner_is_gone(lock)))
		(void)unlink(lock);
}

/* 0: somebody has it for too long. Where it cannot be made, fcntl(2) has to do. */
static int
lock_by_name(struct mbox *b, int64_t deadline)
{
	char *lock = mem_printf("%s.lock", b->path);

	for (;;) {
		int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd >= 0) {
			sign_lock(fd);
			close(fd);
			b->lock = lock;
			return 1;
		}
		if (errno == EACCES || errno == EPERM || errno == EROFS || errno == ENAMETOOLONG)
			break;
		if (errno != EEXIST) {
			later(b, "4.2.0", "it cannot be locked", errno);
			free(lock);
			return 0;
		}
		break_stale_lock(lock);
		if (io_now_ms() >= deadline || local_run_abandoned(b->r)) {
			later(b, "4.2.0", "another program has locked it", 0);
			free(lock);
			return 0;
		}
		wait_a_while();
	}
	free(lock);
	return 1;
}

static int
lock_by_fcntl(struct mbox *b, int64_t deadline)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	while (fcntl(b->fd, F_SETLK, &l) != 0) {
		if (errno != EACCES && errno != EAGAIN && errno != EINTR) {
			later(b, "4.2.0", "it cannot be locked", errno);
			return 0;
		}
		if (io_now_ms() >= deadline || local_run_abandoned(b->r)) {
			later(b, "4.2.0", "another program has locked it", 0);
			return 0;
		}
		wait_a_while();
	}
	return 1;
}

/* Nothing but a plain file with one name, and still the one that has this name. */
static int
is_sound(struct mbox *b)
{
	struct stat st, named;

	if (fstat(b->fd, &st) != 0 || lstat(b->path, &named) != 0) {
		later(b, "4.2.0", "it cannot be looked at", errno);
		return 0;
	}
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
		later(b, "4.3.5", "it is no regular file with one name", 0);
		return 0;
	}
	if (st.st_dev != named.st_dev || st.st_ino != named.st_ino) {
		later(b, "4.2.0", "it was replaced by another one just now", 0);
		return 0;
	}
	b->size = st.st_size;
	return 1;
}

static int
open_mbox(struct mbox *b)
{
	const int flags = O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	b->fd = open(b->path, flags);
	if (b->fd < 0 && errno == ENOENT) {
		b->fd = open(b->path, flags | O_CREAT | O_EXCL, 0600);
		b->made = b->fd >= 0;
	}
	if (b->fd < 0)
		later(b, errno == ELOOP ? "4.3.5" : "4.2.0", "it cannot be opened", errno);
	return b->fd >= 0;
}

/* The end of one who died while writing: what follows must begin a line. */
static enum err
mend_end(const struct mbox *b)
{
	char last = '\n';

	if (b->size > 0 && pread(b->fd, &last, 1, b->size - 1) != 1)
		return E_IO;
	return last == '\n' ? OK : io_write_all(b->fd, "\n\n", 2);
}

static enum err
write_message(const struct mbox *b, struct local_copy *c)
{
	struct buf piece = {0};
	enum err e = mend_end(b);

	while (e == OK) {
		buf_reset(&piece);
		e = local_copy_next(c, &piece);
		if (e == OK)
			e = io_write_all(b->fd, piece.p, piece.len);
	}
	buf_free(&piece);
	return e == E_CLOSED ? OK : e;
}

static enum err
sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = mem_strndup(path, slash > path ? (size_t)(slash - path) : 1);
	enum err e = io_fsync_dir(dir);

	free(dir);
	/* It need not be readable to us. */
	return e == E_ACCESS ? OK : e;
}

/* All of it, or nothing. */
static void
append(struct mbox *b, struct local_copy *c)
{
	enum err e = write_message(b, c);

	if (e == OK && fsync(b->fd) != 0)
		e = err_from_errno(errno);
	if (e == OK && b->made)
		e = sync_parent(b->path);
	if (e == OK && local_run_abandoned(b->r))
		e = E_CANCELLED;
	if (e == OK) {
		smtp_answer_set(b->r->answer, QUEUE_DELIVERED, "2.0.0", "delivered to a file");
		return;
	}
	later(b, e == E_NOSPACE ? "4.3.1" : "4.2.0", err_text(e), 0);
	if (ftruncate(b->fd, b->size) != 0 || fsync(b->fd) != 0)
		log_event(LOGL_ERROR, "local.file damaged", "path", b->path, "error",
			log_errno(errno), NULL);
}

void
local_file_deliver(struct local_run *r)
{
	struct mbox b = {.r = r, .path = r->job->target, .fd = -1};
	int64_t deadline = io_now_ms() + LOCK_WAIT_MS;
	uint64_t limit = r->conf->mailbox_size_limit;
	struct local_copy c;

	if (strcmp(b.path, "/dev/null") == 0) {
		smtp_answer_set(r->answer, QUEUE_DELIVERED, "2.0.0", "thrown away");
		return;
	}
	local_copy_init(&c, r->file, r->job->content_offset, r->job->content_len, LOCAL_COPY_MBOX);
	local_copy_head(
		&c, r->job->sender, r->job->recipient, r->job->original, (int64_t)time(NULL));
	if (lock_by_name(&b, deadline) && open_mbox(&b) && lock_by_fcntl(&b, deadline) &&
		is_sound(&b)) {
		if (limit > 0 && (uint64_t)b.size + r->job->content_len > limit)
			smtp_answer_set(r->answer, QUEUE_FAILED, "5.2.2", "the file of %s is full",
				r->job->recipient);
		else
			append(&b, &c);
	}
	if (b.lock)
		(void)unlink(b.lock);
	io_close(&b.fd);
	free(b.lock);
	local_copy_free(&c);
}
