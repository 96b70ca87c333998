/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/client_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/gzip.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/cache.h"

enum {
	/* Below this a read(2) is cheaper than a mapping and its page faults. */
	CONTENT_READ_MAX = 256 * 1024,
	PREFETCH_MAX = 64 * 1024,
	/* A small file that takes longer came from the disk. */
	CONTENT_SLOW_US = 60,
	CONTENT_SLOW_COUNT = 100,
};

/* What content->priv owns. */
struct content {
	void *heap;
	void *map;
	size_t map_len;
	int fd; /* kept for sendfile */
};

/* ---- finding the file ---- */

/* path below the Maildir. Regular files only: no symbolic links, no FIFOs. */
static enum err
open_path(struct index_user *u, const char *path, int *fd, struct stat *st)
{
	enum err e = OK;

	/* O_NONBLOCK: the open itself must not hang on a FIFO. */
	*fd = openat(u->maildir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0) {
		e = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO
			    ? E_NOTFOUND
			    : err_from_errno(errno);
	} else if (fstat(*fd, st) != 0) {
		e = err_from_errno(errno);
	} else if (!S_ISREG(st->st_mode)) {
		e = E_NOTFOUND;
	}
	if (e && e != E_NOTFOUND) {
		log_event(LOGL_ERROR, "index.content failed", "user", u->name, "path", path,
			"reason", err_word(e), NULL);
	}
	if (e) {
		io_close(fd);
	}
	return e;
}

/* Tries the places that the record names. */
static enum err
open_recorded(struct index_user *u, struct str dir, const struct index_message_record *rec,
	uint32_t uid, int *fd, struct stat *st)
{
	struct buf path = {0};
	enum err e;

	index_message_path(dir, rec, &path);
	e = open_path(u, buf_cstr(&path), fd, st);
	if (e == E_NOTFOUND) {
		buf_reset(&path);
		index_message_wanted_path(dir, rec, uid, &path);
		e = open_path(u, buf_cstr(&path), fd, st);
	}
	buf_free(&path);
	return e;
}

/* Asks the service where the file is. */
static enum err
open_located(struct index_user *u, uint32_t mailbox, uint32_t uid, int *fd, struct stat *st)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	enum err e;

	ipc_put_u32(&body, mailbox);
	ipc_put_u32(&body, uid);
	e = client_request(u, INDEX_LOCATE, &body, INDEX_PATH, &m);
	if (e == OK) {
		char *path;

		r = ipc_reader_of(buf_str(&m.body));
		path = ipc_get_dup(&r);
		e = client_answer_end(u, &r);
		e = e ? e : open_path(u, path, fd, st);
		free(path);
	}
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

/* One look at the record and at the places in it. *crlf: S and W say that all lines end in CRLF. */
static enum err
open_once(struct index_user *u, uint32_t mailbox, uint32_t uid, int *fd, struct stat *st, int *crlf)
{
	struct index_mailbox_record box;
	struct index_message_record rec;
	enum err e = index_read_begin(u);

	if (e) {
		return e;
	}
	e = client_message_record(u, mailbox, uid, &rec);
	e = e ? e : client_mailbox_record(u, mailbox, &box);
	if (e == OK) {
		*crlf = rec.size == rec.disk_size;
		e = open_recorded(u, box.dir, &rec, uid, fd, st);
		e = e == E_NOTFOUND ? E_CONFLICT : e; /* the record is there, the file is not */
	}
	index_read_end(u);
	return e;
}

/* From the service, which has a guest's rights looked up for it. */
static enum err
open_as_guest(
	struct index_user *u, uint32_t mailbox, uint32_t uid, int *fd, struct stat *st, int *crlf)
{
	struct index_message_record rec;
	struct buf body = {0};
	struct ipc_msg m;
	enum err e = index_read_begin(u);

	*fd = -1;
	if (e) {
		return e;
	}
	e = client_message_record(u, mailbox, uid, &rec);
	*crlf = e == OK && rec.size == rec.disk_size;
	index_read_end(u);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	ipc_put_u32(&body, uid);
	e = client_request(u, INDEX_CONTENT_OPEN, &body, INDEX_CONTENT, &m);
	buf_free(&body);
	if (e == OK) {
		*fd = m.fds[0];
		m.fds[0] = -1;
		if (*fd < 0 || fstat(*fd, st) != 0) {
			io_close(fd);
			e = E_TEMPFAIL;
		}
	}
	ipc_msg_free(&m);
	return e;
}

static enum err
message_open(
	struct index_user *u, uint32_t mailbox, uint32_t uid, int *fd, struct stat *st, int *crlf)
{
	enum err e;

	u = client_route(u, &mailbox);
	if (u->is_guest) {
		return open_as_guest(u, mailbox, uid, fd, st, crlf);
	}
	e = open_once(u, mailbox, uid, fd, st, crlf);

	if (e == E_CONFLICT && u->depth == 0) {
		e = open_once(u, mailbox, uid, fd, st, crlf); /* renamed between look and open */
	}
	if (e == E_CONFLICT) {
		e = open_located(u, mailbox, uid, fd, st);
	}
	return e;
}

enum err
index_content_file(struct index_user *u, uint32_t mailbox, uint32_t uid, int *fd)
{
	struct stat st;
	int crlf;

	return message_open(u, mailbox, uid, fd, &st, &crlf);
}

/* ---- reading it ---- */

static void
content_free(struct content *c)
{
	if (c->map != NULL) {
		munmap(c->map, c->map_len);
	}
	free(c->heap);
	io_close(&c->fd);
	free(c);
}

/* The bytes of the file as they are. */
static enum err
content_load(struct content *c, size_t len, const char **p, size_t *got)
{
	*got = len;
	if (len >= CONTENT_READ_MAX) {
		c->map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, c->fd, 0);
		if (c->map == MAP_FAILED) {
			c->map = NULL;
			return err_from_errno(errno);
		}
		c->map_len = len;
		*p = c->map;
		return OK;
	}
	c->heap = mem_alloc(len + 1);
	for (*got = 0; *got < len;) {
		ssize_t n = pread(c->fd, (char *)c->heap + *got, len - *got, (off_t)*got);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_from_errno(errno);
		}
		if (n == 0) {
			break; /* somebody cut it short */
		}
		*got += (size_t)n;
	}
	*p = c->heap;
	return OK;
}

static enum err
content_unzip(struct index_user *u, struct content *c, const char **p, size_t *len)
{
	uint64_t max = u->conf->max_message_size * GZIP_UNFOLD_FACTOR;
	struct buf plain = {0};
	enum err e = gzip_unfold(*p, *len, max < SIZE_MAX ? (size_t)max : SIZE_MAX, &plain);

	if (e == OK) {
		free(c->heap);
		*len = plain.len;
		plain.max = 0;
		*p = c->heap = buf_steal(&plain);
		io_close(&c->fd);
	}
	buf_free(&plain);
	/* What is no gzip file after all, or a bomb, is given out as it is. */
	if (e == E_TOOBIG) {
		log_event(LOGL_WARN, "index.content folded", "user", u->name, "reason", err_word(e),
			"size", log_u64(*len), NULL);
	}
	return e == E_CORRUPT || e == E_TOOBIG ? OK : e;
}

enum err
client_content_make(struct index_user *u, int fd, size_t size, int crlf, struct index_content *out)
{
	struct content *c = MEM_NEW(struct content);
	const char *p = NULL;
	size_t len = 0;
	enum err e;

	c->fd = fd;
	e = content_load(c, size, &p, &len);
	if (e == OK && gzip_is(p, len)) {
		e = content_unzip(u, c, &p, &len);
		crlf = crlf && c->fd >= 0;
	}
	if (e) {
		log_event(LOGL_ERROR, "index.content failed", "user", u->name, "reason",
			err_word(e), NULL);
		content_free(c);
		return e;
	}
	*out = (struct index_content){.p = p, .len = len, .crlf = crlf, .fd = c->fd, .priv = c};
	return OK;
}

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

enum err
index_content_open(struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_content *out)
{
	struct stat st = {0};
	int fd = -1, crlf = 0;
	int64_t begin = now_us();
	enum err e = message_open(u, mailbox, uid, &fd, &st, &crlf);

	*out = (struct index_content){.fd = -1};
	if (e) {
		return e;
	}
	e = client_content_make(u, fd, (size_t)st.st_size, crlf, out);
	/* A system that is merely busy looks like a slow disk: that costs a few system calls. */
	if (now_us() - begin > CONTENT_SLOW_US) {
		u->slow = CONTENT_SLOW_COUNT;
	} else if (u->slow > 0) {
		u->slow--;
	}
	return e;
}

void
index_content_prefetch(struct index_user *u, uint32_t mailbox, uint32_t uid)
{
	struct stat st;
	int fd = -1, crlf;

	if (u->slow && !index_mailbox_is_shared(mailbox) &&
		open_once(u, mailbox, uid, &fd, &st, &crlf) == OK) {
		(void)posix_fadvise(fd, 0, PREFETCH_MAX, POSIX_FADV_WILLNEED);
		io_close(&fd);
	}
}

void
index_content_close(struct index_content *c)
{
	if (c->priv != NULL) {
		content_free(c->priv);
	}
	*c = (struct index_content){.fd = -1};
}

/* ---- facts and cache ---- */

static void
facts_put(struct index_user *u, uint32_t mailbox, uint32_t uid, const struct client_facts *facts,
	const unsigned char *email_id, const unsigned char *thread_id)
{
	struct buf body = {0};

	ipc_put_u32(&body, mailbox);
	ipc_put_u32(&body, uid);
	ipc_put_u64(&body, facts->size);
	ipc_put_u64(&body, (uint64_t)facts->internal_date);
	ipc_put_str(&body, str_make((const char *)email_id, email_id != NULL ? 16 : 0));
	ipc_put_str(&body, str_make((const char *)thread_id, thread_id != NULL ? 16 : 0));
	client_notify(u, INDEX_FACTS_PUT, &body);
	buf_free(&body);
}

enum err
client_facts(struct index_user *u, uint32_t mailbox, uint32_t uid,
	const struct index_message_record *rec, struct client_facts *out)
{
	struct client_facts told = {.size = INDEX_SIZE_UNKNOWN};
	struct index_content c;
	struct stat st = {0};
	int fd = -1, crlf = 0;
	enum err e = message_open(u, mailbox, uid, &fd, &st, &crlf);

	*out = (struct client_facts){.size = rec->size, .internal_date = rec->internal_date};
	if (e) {
		return e;
	}
	if (rec->internal_date == 0) {
		out->internal_date = told.internal_date = st.st_mtime;
	}
	if (rec->size == INDEX_SIZE_UNKNOWN) {
		e = client_content_make(u, fd, (size_t)st.st_size, 0, &c);
		if (e) {
			return e;
		}
		out->size = told.size = message_crlf_size(c.p, c.len);
		index_content_close(&c);
	} else {
		io_close(&fd);
	}
	facts_put(u, mailbox, uid, &told, NULL, NULL);
	return OK;
}

/*
 * Parses a message and offers what that brought to the service, for the next reader. *record is
 * set to what is built in scratch. E_TOOBIG: no record can hold it; the ids are right all the same.
 */
static enum err
message_parse(struct index_user *u, uint32_t mailbox, uint32_t uid, struct buf *scratch,
	unsigned char email_id[16], unsigned char thread_id[16])
{
	static const struct client_facts none = {.size = INDEX_SIZE_UNKNOWN};
	struct index_content c;
	struct mime_message *m = NULL;
	struct message_hash *h;
	struct buf body = {0};
	enum err e;

	u = client_route(u, &mailbox);
	e = index_content_open(u, mailbox, uid, &c);

	if (e) {
		return e;
	}
	mime_parse(str_make(c.p, c.len), NULL, &m);
	buf_reset(scratch);
	e = mail_cache_build(m, scratch);
	mime_message_free(&m);
	h = message_hash_create();
	message_hash_feed(h, c.p, c.len);
	message_hash_finish(&h, email_id);
	message_thread_id(buf_str(scratch), email_id, thread_id);
	if (e == OK && scratch->len <= INDEX_PROTO_CACHE_MAX) {
		ipc_put_u32(&body, mailbox);
		ipc_put_u32(&body, uid);
		ipc_put_str(&body, buf_str(scratch));
		client_notify(u, INDEX_CACHE_PUT, &body);
		buf_free(&body);
	}
	facts_put(u, mailbox, uid, &none, email_id, thread_id);
	index_content_close(&c);
	return e;
}

enum err
index_cache_peek(struct index_user *u, uint32_t mailbox, uint32_t uid, struct str *out)
{
	struct index_key key;
	MDB_val v;
	enum err e;

	u = client_route(u, &mailbox);
	key = index_key_message(mailbox, uid);
	e = client_mailbox_check(u, mailbox);
	*out = (struct str){0};
	e = e ? e : client_get(u, INDEX_DB_CACHE, &key, &v);
	if (e == OK && mail_cache_check(str_make(v.mv_data, v.mv_size)) == OK) {
		*out = str_make(v.mv_data, v.mv_size);
		return OK;
	}
	return e ? e : E_NOTFOUND;
}

enum err
index_cache_get(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct buf *scratch, struct str *out)
{
	unsigned char email_id[16], thread_id[16];
	enum err e = index_cache_peek(u, mailbox, uid, out);

	if (e != E_NOTFOUND) {
		return e;
	}
	e = message_parse(u, mailbox, uid, scratch, email_id, thread_id);
	if (e == OK) {
		*out = buf_str(scratch);
	}
	return e;
}

enum err
index_message_ids(struct index_user *u, uint32_t mailbox, struct index_message *m)
{
	static const unsigned char none[16];
	struct buf scratch = {0};
	enum err e = OK;

	if (memcmp(m->email_id, none, sizeof(none)) == 0 ||
		memcmp(m->thread_id, none, sizeof(none)) == 0) {
		e = message_parse(u, mailbox, m->uid, &scratch, m->email_id, m->thread_id);
	}
	buf_free(&scratch);
	return e == E_TOOBIG ? OK : e;
}
