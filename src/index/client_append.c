/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/client_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/gzip.h"
#include "index/maildir_name.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/cache.h"
#include "mail/mime.h"

enum {
	/* A message up to this size is one write(2). */
	APPEND_BUFFER = 256 * 1024,
	APPEND_PIECE = 16 * 1024,
	NAME_TRIES = 16,
	/* Less than this is not worth it. */
	APPEND_COMPRESS_MIN = 1024,
	/* Descriptors from here on are closed until the commit: MULTIAPPEND can have thousands. */
	APPEND_FD_KEEP = 128,
};

/* The bytes of one message on disk; several appends share it through hard links. */
struct append_file {
	unsigned refs;
	int fd; /* -1 before it is made, and while closed to save descriptors */
	int synced;
	int64_t mtime; /* set already; 0: that of writing */
	uint64_t size, size_crlf;
	unsigned char email_id[16], thread_id[16];
	struct buf cache;
};

struct index_append {
	struct index_user *u; /* until finished */
	uint32_t mailbox;
	uint32_t tmp_box; /* in whose folder the file is written: for another's mailbox INBOX */
	char *tmp_path, *tmp_name;
	int made, finished;
	int committed; /* the file is the service's */
	enum err err;
	struct append_file *file;

	/* while writing */
	int crlf, pending_crs;
	struct buf out; /* stored form, not yet written */
	int flushed; /* it is decided whether gz is there */
	struct gzip_writer *gz;
	struct mime_parser *parser;
	struct message_hash *hash;
};

/* OpenSSL reads its configuration and looks for its algorithms at the first use: a millisecond. */
void
index_client_warm(void)
{
	struct message_hash *h = message_hash_create();

	message_hash_finish(&h, NULL);
}

/* ---- files in tmp/ ---- */

static void
file_unref(struct append_file **f)
{
	if (*f != NULL && --(*f)->refs == 0) {
		io_close(&(*f)->fd);
		buf_free(&(*f)->cache);
		free(*f);
	}
	*f = NULL;
}

/* A new name in the tmp/ of the mailbox's folder. */
static enum err
tmp_name(struct index_user *u, struct index_append *a)
{
	struct index_mailbox_record box;
	struct timespec now;
	struct buf name = {0};
	enum err e = index_read_begin(u);

	if (e) {
		return e;
	}
	e = client_mailbox_record(u, a->tmp_box, &box);
	if (e == OK) {
		clock_gettime(CLOCK_REALTIME, &now);
		maildir_unique_build(
			&(struct maildir_unique){
				.time_s = now.tv_sec,
				.usec = (uint32_t)(now.tv_nsec / 1000),
				.pid = (uint32_t)getpid(),
				.counter = ++u->tmp_counter,
				.host = u->conf->hostname,
			},
			&name);
		free(a->tmp_name);
		free(a->tmp_path);
		a->tmp_name = buf_steal(&name);
		a->tmp_path = mem_printf("%s/%.*s%stmp/%s", u->maildir, STR_ARG(box.dir),
			box.dir.len > 0 ? "/" : "", a->tmp_name);
	}
	index_read_end(u);
	return e;
}

/* What went wrong with the path p; a folder that is not there is gone. */
static enum err
path_error(const char *path)
{
	enum err e = errno == ENOENT ? E_NOTFOUND : err_from_errno(errno);

	if (e != E_NOTFOUND) {
		log_event(LOGL_ERROR, "index.append failed", "path", path, "error",
			log_errno(errno), NULL);
	}
	return e;
}

/* Makes the file, or with from a hard link to that. E_UNSUPPORTED: links do not work here. */
static enum err
tmp_make(struct index_user *u, struct index_append *a, const char *from)
{
	for (int i = 0; i < NAME_TRIES; i++) {
		enum err e = tmp_name(u, a);
		int rc;

		if (e) {
			return e;
		}
		if (from != NULL) {
			rc = link(from, a->tmp_path);
		} else {
			rc = a->file->fd = open(a->tmp_path,
				O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		}
		if (rc >= 0) {
			a->made = 1;
			return OK;
		}
		if (from != NULL && (errno == EXDEV || errno == EMLINK || errno == EPERM ||
					    errno == EACCES || errno == EOPNOTSUPP)) {
			return E_UNSUPPORTED;
		}
		if (errno != EEXIST) {
			return path_error(a->tmp_path);
		}
	}
	return E_IO;
}

static enum err
file_write(struct index_append *a, const char *p, size_t len)
{
	enum err e = OK;

	if (a->file->fd < 0) {
		e = tmp_make(a->u, a, NULL);
	}
	if (e == OK && io_write_all(a->file->fd, p, len) != OK) {
		e = path_error(a->tmp_path);
	}
	return e;
}

static enum err
write_compressed(void *arg, const char *p, size_t len)
{
	return file_write(arg, p, len);
}

/*
 * By what is there at the first flush, which is all of a short message. What looks like a
 * compressed file by itself would be unfolded by every reader.
 */
static void
decide_compression(struct index_append *a, int last)
{
	const struct config *conf = a->u->conf;
	int level = (int)conf->mail_compress_level;

	if (strcmp(conf->mail_compress, "zlib") == 0 && !index_mailbox_is_shared(a->mailbox) &&
		(!last || a->out.len >= APPEND_COMPRESS_MIN)) {
		a->gz = gzip_writer_create(level, write_compressed, a);
	} else if (gzip_is(a->out.p, a->out.len)) {
		a->gz = gzip_writer_create(1, write_compressed, a);
	}
	a->flushed = 1;
}

static enum err
out_flush(struct index_append *a, int last)
{
	enum err e;

	if (!a->flushed) {
		decide_compression(a, last);
	}
	if (a->gz != NULL) {
		e = gzip_writer_feed(a->gz, a->out.p, a->out.len, last);
	} else {
		e = file_write(a, a->out.p, a->out.len);
	}
	a->out.len = 0;
	return e;
}

/* ---- writing ---- */

/* From where the service takes what goes to another: it reaches both. */
static enum err
inbox_find(struct index_user *u, uint32_t *mailbox)
{
	struct index_mailbox inbox;
	enum err e = index_mailbox_get(u, STR("INBOX"), &inbox);

	*mailbox = inbox.id;
	index_mailbox_free(&inbox);
	return e;
}

enum err
index_append_create(
	struct index_user *u, uint32_t mailbox, uint64_t size_hint, struct index_append **out)
{
	uint32_t tmp_box = mailbox;
	enum err e = size_hint == INDEX_APPEND_UNCHECKED ? client_mailbox_check(u, mailbox)
							 : index_quota_check(u, mailbox, size_hint);

	*out = NULL;
	if (e == OK && index_mailbox_is_shared(mailbox)) {
		e = inbox_find(u, &tmp_box);
	}
	if (e) {
		return e;
	}
	*out = MEM_NEW(struct index_append);
	(*out)->u = u;
	(*out)->mailbox = mailbox;
	(*out)->tmp_box = tmp_box;
	(*out)->crlf = strcmp(u->conf->maildir_line_endings, "crlf") == 0;
	(*out)->file = MEM_NEW(struct append_file);
	(*out)->file->refs = 1;
	(*out)->file->fd = -1;
	(*out)->parser = mime_parser_create(NULL);
	(*out)->hash = message_hash_create();
	return OK;
}

/* Bytes in the stored form. */
static void
store(struct index_append *a, const char *p, size_t len)
{
	if (a->err || len == 0) {
		return;
	}
	if (a->out.len + len > APPEND_BUFFER) {
		a->err = out_flush(a, 0);
	}
	buf_add(&a->out, p, len);
}

/*
 * Line ends come in as LF or CRLF and go out as the setting says. Further CRs before an LF are
 * dropped with it: kept, they would be read back as part of the line end and be lost then.
 */
static void
convert(struct index_append *a, const char *p, size_t len)
{
	const char *end = p + len;

	while (p < end) {
		const char *stop;

		if (a->pending_crs > 0 && *p != '\r') {
			for (; a->pending_crs > 0; a->pending_crs--) {
				if (*p != '\n') {
					store(a, "\r", 1);
				}
			}
		}
		stop = memchr(p, '\r', (size_t)(end - p));
		if (stop == NULL) {
			stop = end;
		}
		if (!a->crlf) {
			store(a, p, (size_t)(stop - p));
			p = stop;
		}
		while (p < stop) {
			const char *lf = memchr(p, '\n', (size_t)(stop - p));

			store(a, p, (size_t)((lf != NULL ? lf : stop) - p));
			if (lf != NULL) {
				store(a, "\r\n", 2);
			}
			p = lf != NULL ? lf + 1 : stop;
		}
		for (; p < end && *p == '\r'; p++) {
			a->pending_crs++;
		}
	}
}

/* Parser and hash see what was stored since out was at from. */
static void
look_at(struct index_append *a, size_t from)
{
	const char *p = a->out.p + from;
	size_t len = a->out.len - from;

	if (a->err == OK && len > 0) {
		mime_parser_feed(a->parser, p, len);
		message_hash_feed(a->hash, p, len);
		a->file->size += len;
	}
}

enum err
index_append_write(struct index_append *a, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len > 0 && a->err == OK) {
		size_t n = len < APPEND_PIECE ? len : APPEND_PIECE, from;

		/* Twice the room for a piece of line ends only, so that store need not flush in it.
		 */
		if (a->out.len + 2 * n + (size_t)a->pending_crs > APPEND_BUFFER) {
			a->err = out_flush(a, 0);
		}
		from = a->out.len;
		convert(a, p, n);
		look_at(a, from);
		p += n;
		len -= n;
	}
	return a->err;
}

/* What parsing and hashing brought. */
static void
file_describe(struct index_append *a)
{
	struct append_file *f = a->file;
	struct mime_message *m = NULL;

	mime_parser_finish(a->parser, &m);
	f->size_crlf = m->size_crlf;
	f->cache.max = INDEX_PROTO_CACHE_MAX;
	/* A record over the bound is left out: readers parse the message then. */
	mail_cache_build(m, &f->cache);
	mime_message_free(&m);
	message_hash_finish(&a->hash, f->email_id);
	message_thread_id(buf_str(&f->cache), f->email_id, f->thread_id);
}

enum err
index_append_finish(struct index_append *a)
{
	size_t from = a->out.len;

	if (a->finished || a->err) {
		return a->err;
	}
	for (; a->pending_crs > 0; a->pending_crs--) {
		store(a, "\r", 1); /* the last line ends in CR alone */
	}
	look_at(a, from);
	if (a->err == OK) {
		a->err = out_flush(a, 1);
	}
	buf_free(&a->out);
	gzip_writer_free(&a->gz);
	if (a->err == OK) {
		file_describe(a);
		a->finished = 1;
		if (a->file->fd >= APPEND_FD_KEEP) {
			io_close(&a->file->fd);
		}
	}
	mime_parser_free(&a->parser);
	a->u = NULL;
	return a->err;
}

void
index_append_email_id(const struct index_append *a, unsigned char out[16])
{
	memcpy(out, a->file->email_id, sizeof(a->file->email_id));
}

static enum err
file_reopen(struct index_append *a)
{
	if (a->file->fd < 0) {
		a->file->fd = open(a->tmp_path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	}
	return a->file->fd < 0 ? path_error(a->tmp_path) : OK;
}

/* ---- links ---- */

/* Copies the bytes, for where links do not work. */
static enum err
file_copy(struct index_user *u, struct index_append *a, struct index_append *from)
{
	struct append_file *f = MEM_NEW(struct append_file);
	char *bytes = mem_alloc(APPEND_PIECE);
	off_t off = 0;
	enum err e;

	*f = *from->file;
	f->refs = 1;
	f->synced = 0;
	f->mtime = 0;
	f->fd = -1;
	f->cache = (struct buf){0};
	buf_add_buf(&f->cache, &from->file->cache);
	from->file->refs--; /* a's share of it */
	a->file = f;
	e = file_reopen(from);
	e = e ? e : tmp_make(u, a, NULL);
	while (e == OK) {
		ssize_t n = pread(from->file->fd, bytes, APPEND_PIECE, off);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			e = n == 0 ? OK : path_error(from->tmp_path);
			break;
		}
		off += n;
		if (io_write_all(f->fd, bytes, (size_t)n) != OK) {
			e = path_error(a->tmp_path);
		}
	}
	free(bytes);
	return e;
}

enum err
index_append_link(struct index_user *u, uint32_t mailbox, struct index_append *from,
	struct index_append **out)
{
	struct index_append *a;
	enum err e;

	*out = NULL;
	if (!from->finished || from->committed) {
		return from->err ? from->err : E_STATE;
	}
	e = index_quota_check(u, mailbox, from->file->size);
	if (e) {
		return e;
	}
	if (index_mailbox_is_shared(mailbox)) {
		return E_UNSUPPORTED;
	}
	a = MEM_NEW(struct index_append);
	a->mailbox = a->tmp_box = mailbox;
	a->finished = 1;
	a->file = from->file;
	a->file->refs++;
	e = tmp_make(u, a, from->tmp_path);
	if (e == E_UNSUPPORTED) {
		e = file_copy(u, a, from);
	}
	if (e) {
		index_append_free(&a);
	}
	*out = a;
	return e;
}

/* ---- commit ---- */

/*
 * The date is set and everything is on disk before the service hears of it. Links of one file are
 * synced once.
 */
static enum err
file_sync(struct index_append *a, int64_t date, int want_fsync)
{
	struct append_file *f = a->file;
	int redate = date != 0 && date != f->mtime;

	if ((redate || !f->synced) && file_reopen(a)) {
		return E_NOTFOUND;
	}
	if (redate) {
		struct timespec times[2] = {{.tv_sec = (time_t)date}, {.tv_sec = (time_t)date}};

		if (futimens(f->fd, times) != 0) {
			return path_error(a->tmp_path);
		}
		f->mtime = date;
		f->synced = 0;
	}
	if (!f->synced && want_fsync && fsync(f->fd) != 0) {
		return path_error(a->tmp_path);
	}
	f->synced = 1;
	if (f->fd >= APPEND_FD_KEEP) {
		io_close(&f->fd);
	}
	return OK;
}

static void
message_put(struct buf *b, const struct index_append *a, const struct index_append_info *info)
{
	const struct append_file *f = a->file;

	ipc_put_cstr(b, a->tmp_name);
	ipc_put_u8(b, (uint8_t)info->flags);
	ipc_put_u32(b, (uint32_t)info->keyword_count);
	for (size_t i = 0; i < info->keyword_count; i++) {
		ipc_put_cstr(b, info->keywords[i]);
	}
	ipc_put_u64(b, f->size_crlf);
	ipc_put_u64(b, f->size);
	ipc_put_str(b, str_make((const char *)f->email_id, sizeof(f->email_id)));
	ipc_put_str(b, str_make((const char *)f->thread_id, sizeof(f->thread_id)));
	ipc_put_str(b, buf_str(&f->cache));
}

static enum err
committed_read(struct index_user *u, const struct ipc_msg *m, size_t n, uint32_t *uidvalidity,
	uint32_t *uids)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));

	*uidvalidity = ipc_get_u32(&r);
	ipc_get_u64(&r);
	if (ipc_get_u32(&r) != n) {
		r.err = E_PROTO;
	}
	for (size_t i = 0; i < n; i++) {
		uids[i] = ipc_get_u32(&r);
	}
	return client_answer_end(u, &r);
}

/* Files are synced, then asked for with the frame type; body has what stands in front. */
static enum err
commit(struct index_user *u, enum index_frame type, struct buf *body, struct index_append *const *a,
	const struct index_append_info *info, size_t n, uint32_t *uidvalidity, uint32_t *uids)
{
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	uint32_t mailbox = a[0]->mailbox;
	struct index_user *to = client_route(u, &mailbox);
	enum err e = OK;

	/* Of several all are on their way before the first is waited for: its sync brings the rest.
	 */
	for (size_t i = 0; i < n && n > 1 && u->conf->mail_fsync; i++) {
		if (a[i]->finished && file_sync(a[i], info[i].internal_date, 0) == OK) {
			a[i]->file->synced = 0;
			(void)sync_file_range(a[i]->file->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		}
	}
	for (size_t i = 0; i < n && e == OK; i++) {
		e = a[i]->finished && a[i]->mailbox == a[0]->mailbox
			    ? client_mailbox_check(to, mailbox)
		    : a[i]->err ? a[i]->err
				: E_STATE;
		/* What goes to another is copied there and synced then. */
		e = e ? e : file_sync(a[i], info[i].internal_date, to == u && u->conf->mail_fsync);
	}
	if (e) {
		return e;
	}
	ipc_put_u32(body, mailbox);
	ipc_put_u32(body, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		message_put(body, a[i], &info[i]);
	}
	e = client_request(to, type, body, INDEX_COMMITTED, &m);
	/* After an ERROR the files are still ours, and those for another always are. After a lost
	 * connection nobody knows: of several some may have their names already, and recovery needs
	 * the others to make it all of them. */
	for (size_t i = 0; (e == OK || (n > 1 && to->unanswered)) && to == u && i < n; i++) {
		a[i]->committed = 1;
	}
	e = e ? e : committed_read(to, &m, n, uidvalidity, uids);
	ipc_msg_free(&m);
	return e;
}

enum err
index_append_commit(struct index_user *u, struct index_append *const *a,
	const struct index_append_info *info, size_t n, uint32_t *uidvalidity, uint32_t *uids)
{
	struct buf body = BUF_INIT(INDEX_PROTO_BODY_MAX);
	enum err e;

	*uidvalidity = 0;
	if (n == 0 || n > INDEX_PROTO_APPEND_MAX) {
		return E_TOOBIG;
	}
	e = commit(u, INDEX_APPEND, &body, a, info, n, uidvalidity, uids);
	buf_free(&body);
	return e;
}

/* E_NOTFOUND: it is not there. */
static enum err
message_check(struct index_user *u, uint32_t mailbox, uint32_t uid)
{
	struct index_message m;
	enum err e = index_read_begin(u);

	if (e) {
		return e;
	}
	e = index_message_get(u, mailbox, uid, &m);
	index_read_end(u);
	return e;
}

enum err
index_append_replace(struct index_user *u, uint32_t from, uint32_t uid, struct index_append *a,
	const struct index_append_info *info, uint32_t *uidvalidity, uint32_t *new_uid)
{
	struct buf body = BUF_INIT(INDEX_PROTO_BODY_MAX);
	struct numset old = {0};
	enum err e;

	*uidvalidity = 0;
	/* Of two owners' mail the one cannot be changed with the other: the new one is safe first.
	 */
	if (index_mailbox_is_shared(from) || index_mailbox_is_shared(a->mailbox)) {
		e = message_check(u, from, uid);
		e = e ? e : index_append_commit(u, &a, info, 1, uidvalidity, new_uid);
		numset_add(&old, uid);
		e = e ? e : index_expunge(u, from, &old, 1, NULL);
		numset_free(&old);
		return e;
	}
	ipc_put_u32(&body, from);
	ipc_put_u32(&body, uid);
	e = commit(u, INDEX_REPLACE, &body, &a, info, 1, uidvalidity, new_uid);
	buf_free(&body);
	return e;
}

void
index_append_free(struct index_append **ap)
{
	struct index_append *a = *ap;

	if (a == NULL) {
		return;
	}
	if (a->made && !a->committed) {
		unlink(a->tmp_path);
	}
	mime_parser_free(&a->parser);
	message_hash_finish(&a->hash, NULL);
	gzip_writer_free(&a->gz);
	buf_free(&a->out);
	file_unref(&a->file);
	free(a->tmp_path);
	free(a->tmp_name);
	MEM_FREE(*ap);
}
