/* SPDX-License-Identifier: MIT */
#include "index/message_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/gzip.h"
#include "index/index_proto.h"
#include "index/message_id.h"
#include "lib/mem.h"
#include "mail/cache.h"
#include "mail/mime.h"

enum { PIECE = 64 * 1024 };

struct feed {
	struct mime_parser *parser;
	struct message_hash *hash;
};

static void
feed_begin(struct feed *f)
{
	f->parser = mime_parser_create(NULL);
	f->hash = message_hash_create();
}

static void
feed_drop(struct feed *f)
{
	mime_parser_free(&f->parser);
	message_hash_finish(&f->hash, NULL);
}

static enum err
feed_piece(void *arg, const char *p, size_t len)
{
	struct feed *f = arg;

	mime_parser_feed(f->parser, p, len);
	message_hash_feed(f->hash, p, len);
	return OK;
}

static enum err
feed_plain(struct feed *f, int fd, uint64_t max)
{
	char *piece = mem_alloc(PIECE);
	uint64_t bytes = 0;
	enum err e = OK;

	while (e == OK) {
		ssize_t n = pread(fd, piece, PIECE, (off_t)bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = err_from_errno(errno);
		if (n <= 0)
			break;
		bytes += (uint64_t)n;
		e = bytes > max ? E_TOOBIG : feed_piece(f, piece, (size_t)n);
	}
	free(piece);
	return e;
}

static void
describe(struct feed *f, struct message_parsed *out)
{
	struct mime_message *m = NULL;

	mime_parser_finish(f->parser, &m);
	out->size_crlf = m->size_crlf;
	out->cache.max = INDEX_PROTO_CACHE_MAX;
	if (mail_cache_build(m, &out->cache))
		buf_reset(&out->cache);
	mime_message_free(&m);
	message_hash_finish(&f->hash, out->email_id);
	message_thread_id(buf_str(&out->cache), out->email_id, out->thread_id);
}

enum err
message_parse_fd(int fd, uint64_t max, struct message_parsed *out)
{
	struct feed f;
	struct stat st;
	uint32_t isize;
	enum err e;

	*out = (struct message_parsed){0};
	if (fstat(fd, &st) != 0)
		return err_from_errno(errno);
	if (!S_ISREG(st.st_mode))
		return E_NOTFOUND;
	out->mtime_s = st.st_mtim.tv_sec;
	feed_begin(&f);
	e = E_CORRUPT;
	if (gzip_isize(fd, (uint64_t)st.st_size, &isize) == OK) {
		e = gzip_unfold_fd(fd, max, feed_piece, &f);
		/* No gzip file after all, or a bomb: readers give it out as it is. */
		if (e == E_CORRUPT || e == E_TOOBIG) {
			e = E_CORRUPT;
			feed_drop(&f);
			feed_begin(&f);
		}
	}
	if (e == E_CORRUPT)
		e = feed_plain(&f, fd, max);
	if (e == OK)
		describe(&f, out);
	feed_drop(&f);
	return e;
}

void
message_parsed_free(struct message_parsed *m)
{
	buf_free(&m->cache);
}
