/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/queue_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mta-lite/job.h"

const char *
queue_dir_name(enum queue_dir dir)
{
	static const char *const names[QUEUE_DIR_COUNT] = {
		"incoming", "active", "deferred", "hold", "corrupt"};

	return names[dir];
}

char *
queue_dir_path(const struct config *conf, enum queue_dir dir)
{
	return mem_printf("%s/%s", conf->queue_dir, queue_dir_name(dir));
}

static char *
file_path(const struct config *conf, enum queue_dir dir, const char *id)
{
	return mem_printf("%s/%s/%s", conf->queue_dir, queue_dir_name(dir), id);
}

/* As root this runs before privileges are dropped: the directory must be the later user's. */
/* Who works on the queue, where root makes something for him; else NULL. */
static const struct passwd *
owner(const struct config *conf)
{
	return geteuid() == 0 && conf->mail_user[0] ? getpwnam(conf->mail_user) : NULL;
}

enum err
queue_store_make_dir(const struct config *conf, const char *path)
{
	const struct passwd *pw = owner(conf);
	struct stat st;
	enum err e = io_mkdir_parents(path, 0700);

	if (e)
		return e;
	if (pw == NULL || lstat(path, &st) != 0 || st.st_uid != 0 || !S_ISDIR(st.st_mode))
		return OK;
	return lchown(path, pw->pw_uid, pw->pw_gid) == 0 ? OK : err_from_errno(errno);
}

/* What leads to a message is on disk before one is promised to be. */
static enum err
sync_dirs(const struct config *conf)
{
	char *parent = mem_printf("%s/..", conf->queue_dir);
	enum err e = io_fsync_dir(conf->queue_dir), outer = io_fsync_dir(parent);

	free(parent);
	/* An administrator's directory need not be readable to us. */
	if (e == OK && outer != E_ACCESS)
		e = outer;
	if (e)
		log_event(LOGL_ERROR, "queue.directory failed", "path", conf->queue_dir, "error",
			log_errno(errno), NULL);
	return e;
}

enum err
queue_store_init(const struct config *conf)
{
	enum err e = OK;
	int dir;

	for (dir = 0; dir < QUEUE_DIR_COUNT && e == OK; dir++) {
		char *path = queue_dir_path(conf, (enum queue_dir)dir);

		e = queue_store_make_dir(conf, path);
		if (e)
			log_event(LOGL_ERROR, "queue.directory failed", "path", path, "error",
				log_errno(errno), NULL);
		free(path);
	}
	if (e == OK && conf->mail_fsync)
		e = sync_dirs(conf);
	return e;
}

enum err
queue_store_lock(const struct config *conf)
{
	enum { LOOK_US = 20 * 1000 };
	char *path = mem_printf("%s/qmgr.lock", conf->queue_dir);
	const struct passwd *pw = owner(conf);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	/* Never closed: that is the end of the lock. */
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), told = 0;
	enum err e = fd < 0 ? err_from_errno(errno) : OK;

	if (e == OK && pw && fchown(fd, pw->pw_uid, pw->pw_gid) != 0)
		e = err_from_errno(errno);
	while (e == OK && fcntl(fd, F_SETLK, &lock) != 0) {
		if (errno != EAGAIN && errno != EACCES) {
			e = err_from_errno(errno);
		} else {
			if (!told)
				log_event(LOGL_INFO, "qmgr.queue waits", "reason",
					"another qmgr finishes what it delivers", NULL);
			told = 1;
			usleep(LOOK_US);
		}
	}
	if (e)
		log_event(LOGL_ERROR, "qmgr.queue cannot be locked", "path", path, "error",
			err_text(e), NULL);
	free(path);
	return e;
}

void
queue_id_make(char out[QUEUE_ID_SIZE])
{
	struct timeval now;
	uint32_t random;

	gettimeofday(&now, NULL);
	io_random(&random, sizeof(random));
	(void)snprintf(out, QUEUE_ID_SIZE, "%08llX%05lX%06X",
		(unsigned long long)now.tv_sec & 0xffffffffULL, (unsigned long)now.tv_usec,
		(unsigned)(random & 0xffffff));
}

int
queue_id_valid(struct str s)
{
	size_t i;

	if (s.len == 0 || s.len >= QUEUE_ID_SIZE)
		return 0;
	for (i = 0; i < s.len; i++) {
		if (!str_is_digit(s.p[i]) && (s.p[i] < 'A' || s.p[i] > 'F'))
			return 0;
	}
	return 1;
}

static enum err
write_body(int fd, struct spool *body)
{
	char chunk[64 * 1024];
	uint64_t off = 0;
	struct str piece;
	enum err e;

	if (body == NULL)
		return OK;
	for (;;) {
		e = spool_read(body, off, chunk, sizeof(chunk), &piece);
		if (e || piece.len == 0)
			return e;
		e = io_write_all(fd, piece.p, piece.len);
		if (e)
			return e;
		off += piece.len;
	}
}

static enum err
write_file(const struct config *conf, int fd, const struct queue_entry *q, struct str head,
	struct spool *body)
{
	struct buf start = {0};
	enum err e;

	e = queue_header_write(q, head.len + (body ? body->size : 0), &start);
	if (e == OK) {
		buf_add_str(&start, head);
		e = io_write_all(fd, start.p, start.len);
	}
	if (e == OK)
		e = write_body(fd, body);
	if (e == OK && conf->mail_fsync && fsync(fd) != 0)
		e = err_from_errno(errno);
	buf_free(&start);
	return e;
}

enum err
queue_store_create(
	const struct config *conf, const struct queue_entry *q, struct str head, struct spool *body)
{
	char *dir = queue_dir_path(conf, QUEUE_INCOMING);
	char *tmp = mem_printf("%s/.%s", dir, q->id), *path = mem_printf("%s/%s", dir, q->id);
	const char *what = "create";
	enum err e = OK;
	int fd;

	/* In the same directory: one fsync of it makes the new name durable. */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		e = err_from_errno(errno);
		goto out;
	}
	what = "write";
	e = write_file(conf, fd, q, head, body);
	if (close(fd) != 0 && e == OK)
		e = err_from_errno(errno);
	if (e == OK) {
		what = "rename";
		if (rename(tmp, path) != 0)
			e = err_from_errno(errno);
	}
	if (e) {
		int saved = errno;

		(void)unlink(tmp);
		errno = saved;
		goto out;
	}
	what = "fsync";
	if (conf->mail_fsync)
		e = io_fsync_dir(dir);
	if (e)
		(void)unlink(path);
out:
	if (e)
		log_event(LOGL_ERROR, "queue.create failed", "queue_id", q->id, "step", what,
			"error", e == E_TOOBIG ? err_text(e) : log_errno(errno), NULL);
	free(dir);
	free(tmp);
	free(path);
	return e;
}

void
queue_store_notify(const struct config *conf, const char *id)
{
	char *path = conf_run_path(conf, "qmgr");
	struct buf body = {0};
	int fd;

	if (net_connect_unix(path, 1000, &fd) == OK) {
		ipc_put_cstr(&body, id);
		(void)ipc_send(fd, QMGR_NEW, 0, buf_str(&body), NULL, 0, 1000);
		close(fd);
	}
	buf_free(&body);
	free(path);
}

enum err
queue_store_open(const struct config *conf, enum queue_dir dir, const char *id, int flags, int *fd)
{
	char *path = file_path(conf, dir, id);
	struct stat st;
	enum err e = OK;

	*fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		e = errno == ELOOP ? E_ACCESS : err_from_errno(errno);
	else if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		io_close(fd);
		e = E_ACCESS;
	}
	free(path);
	return e;
}

enum err
queue_store_move(const struct config *conf, enum queue_dir from, enum queue_dir to, const char *id)
{
	char *old = file_path(conf, from, id), *new = file_path(conf, to, id);
	enum err e = OK;

	if (rename(old, new) != 0) {
		e = err_from_errno(errno);
		log_event(LOGL_ERROR, "queue.move failed", "queue_id", id, "to", queue_dir_name(to),
			"error", log_errno(errno), NULL);
	}
	free(old);
	free(new);
	return e;
}

enum err
queue_store_defer(const struct config *conf, enum queue_dir from, const char *id, int64_t next_try)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)next_try}};
	enum err e = from == QUEUE_DEFERRED ? OK : queue_store_move(conf, from, QUEUE_DEFERRED, id);
	char *path = file_path(conf, QUEUE_DEFERRED, id);

	/* Without it the message is looked at too early, and nothing worse. */
	if (e == OK)
		(void)utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
	free(path);
	return e;
}

enum err
queue_store_next_try(const struct config *conf, const char *id, int64_t *when)
{
	char *path = file_path(conf, QUEUE_DEFERRED, id);
	struct stat st;
	enum err e = lstat(path, &st) == 0 ? OK : err_from_errno(errno);

	*when = e == OK ? (int64_t)st.st_mtime : 0;
	free(path);
	return e;
}

enum err
queue_store_remove(const struct config *conf, enum queue_dir dir, const char *id)
{
	char *path = file_path(conf, dir, id);
	enum err e = OK;

	if (unlink(path) != 0) {
		e = err_from_errno(errno);
		log_event(LOGL_ERROR, "queue.remove failed", "queue_id", id, "error",
			log_errno(errno), NULL);
	}
	free(path);
	return e;
}

enum err
queue_store_append(int fd, struct queue_entry *q, const size_t *list, size_t n, int sync)
{
	struct buf records = {0};
	size_t i, done = 0;
	enum err e = OK;

	for (i = 0; i < n; i++)
		queue_status_write(q, list[i], &records);
	/* At a known place: what a crash tore behind it is overwritten. */
	while (done < records.len) {
		ssize_t got =
			pwrite(fd, records.p + done, records.len - done, (off_t)(q->end + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			e = err_from_errno(errno);
			break;
		}
		done += (size_t)got;
	}
	/* Leftovers of a longer torn record must not be read as a record. */
	if (e == OK && ftruncate(fd, (off_t)(q->end + records.len)) != 0)
		e = err_from_errno(errno);
	if (e == OK && sync && fdatasync(fd) != 0)
		e = err_from_errno(errno);
	if (e == OK)
		q->end += records.len;
	else
		log_event(LOGL_ERROR, "queue.status failed", "queue_id", q->id, "error",
			log_errno(errno), NULL);
	buf_free(&records);
	return e;
}
