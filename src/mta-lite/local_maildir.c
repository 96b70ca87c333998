/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "index/maildir_name.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/local_copy.h"
#include "mta-lite/local_run.h"

/* A Maildir of somebody else's: written into tmp/, synced, moved into new/. */

struct maildir {
	struct local_run *r;
	const char *path; /* with its slash */
	char *tmp, *new; /* files */
	int fd;
	uint64_t size;
	const char *step;
};

static enum err
make_directories(struct maildir *d)
{
	static const char *const names[] = {"", "tmp", "new", "cur"};
	enum err e = OK;
	size_t i;

	for (i = 0; e == OK && i < sizeof(names) / sizeof(names[0]); i++) {
		char *dir = mem_printf("%s%s", d->path, names[i]);

		if (mkdir(dir, 0700) != 0 && errno != EEXIST)
			e = err_from_errno(errno);
		free(dir);
	}
	return e;
}

static enum err
write_message(struct maildir *d, struct local_copy *c)
{
	struct buf piece = {0};
	enum err e = OK;

	while (e == OK) {
		buf_reset(&piece);
		e = local_copy_next(c, &piece);
		if (e == OK)
			e = io_write_all(d->fd, piece.p, piece.len);
		d->size += piece.len;
	}
	buf_free(&piece);
	if (e == E_CLOSED)
		e = fsync(d->fd) == 0 ? OK : err_from_errno(errno);
	return e;
}

static enum err
move_to_new(struct maildir *d, const char *unique)
{
	struct buf name = {0};
	char *dir = mem_printf("%snew", d->path);
	enum err e;

	buf_add_cstr(&name, unique);
	maildir_fields_build(d->size, UINT64_MAX, 0, &name);
	d->new = mem_printf("%s/%s", dir, buf_cstr(&name));
	e = local_run_abandoned(d->r) ? E_CANCELLED : OK;
	if (e == OK && rename(d->tmp, d->new) != 0)
		e = err_from_errno(errno);
	if (e == OK) {
		e = io_fsync_dir(dir);
		if (e)
			(void)unlink(d->new);
	}
	buf_free(&name);
	free(dir);
	return e;
}

static enum err
deliver(struct maildir *d, struct local_copy *c)
{
	struct buf unique = {0};
	struct timeval now;
	struct maildir_unique u = {.pid = (uint32_t)getpid(), .host = smtp_hostname(d->r->conf)};
	enum err e;

	gettimeofday(&now, NULL);
	u.time_s = now.tv_sec;
	u.usec = (uint32_t)now.tv_usec;
	maildir_unique_build(&u, &unique);
	d->tmp = mem_printf("%stmp/%s", d->path, buf_cstr(&unique));
	d->step = "its directories cannot be made";
	e = make_directories(d);
	if (e == OK) {
		d->step = "the message cannot be written";
		d->fd = open(d->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		e = d->fd >= 0 ? write_message(d, c) : err_from_errno(errno);
	}
	if (e == OK)
		e = move_to_new(d, buf_cstr(&unique));
	if (e && d->fd >= 0)
		(void)unlink(d->tmp);
	io_close(&d->fd);
	buf_free(&unique);
	return e;
}

void
local_maildir_deliver(struct local_run *r)
{
	struct maildir d = {.r = r, .path = r->job->target, .fd = -1};
	struct local_copy c;
	enum err e;

	local_copy_init(&c, r->file, r->job->content_offset, r->job->content_len, 0);
	local_copy_head(
		&c, r->job->sender, r->job->recipient, r->job->original, (int64_t)time(NULL));
	e = deliver(&d, &c);
	if (e) {
		log_event(LOGL_WARN, "local.maildir failed", "path", d.path, "what", d.step,
			"error", err_text(e), NULL);
		smtp_answer_set(r->answer, QUEUE_PENDING, e == E_NOSPACE ? "4.3.1" : "4.2.0",
			"the Maildir of %s: %s: %s", r->job->recipient, d.step, err_text(e));
	} else {
		smtp_answer_set(r->answer, QUEUE_DELIVERED, "2.0.0", "delivered to a Maildir");
	}
	free(d.tmp);
	free(d.new);
	local_copy_free(&c);
}
