/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_STREAM_H
#define ROOST_LIB_STREAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Buffered, blocking text I/O on a socket, with time-outs: what a session talks to its client
 * with. Output is collected and sent when 32 KB are waiting, on stream_flush, and before any read
 * that has to wait, so that pipelined commands are answered in few packets. The first I/O error
 * sticks: every later call returns it.
 */
struct stream;

/* Owns fd from now on. fd may be -1 for a stream that only replays input (tests). */
struct stream *stream_create(int fd);
/* Flushes nothing, closes fd. */
void stream_free(struct stream **s);
int stream_fd(const struct stream *s);
/* Gives fd away without closing it; the stream can only be freed afterwards. */
int stream_release_fd(struct stream *s);

/* How long a read may wait for the next byte, and a write for the peer to take one. */
void stream_set_timeouts(struct stream *s, int read_ms, int write_ms);
/*
 * Reads wait no longer than up to this point of io_now_ms(), whatever trickles in until then; 0:
 * none.
 */
void stream_set_deadline(struct stream *s, int64_t deadline_ms);
/* Bytes to be read before those of the socket (what a proxy had read ahead). */
void stream_push_input(struct stream *s, struct str bytes);
/* Bytes that can be read without waiting for the socket. */
size_t stream_input_available(const struct stream *s);
/* Those bytes; borrowed until the next read. */
struct str stream_unread(const struct stream *s);
/* Throws away input already buffered (after STARTTLS). */
void stream_drop_input(struct stream *s);

enum stream_line_end { STREAM_CRLF, STREAM_LF };
/*
 * One line without its end. *line is borrowed until the next read. *end says how it ended; may be
 * NULL. max: bytes without the line end, <= 1 MiB. E_TOOBIG: the line is longer, nothing of it was
 * consumed (see stream_skip_line). E_TIMEOUT, E_CLOSED, E_IO.
 */
enum err stream_read_line(
	struct stream *s, size_t max, struct str *line, enum stream_line_end *end);
/* Reads and drops up to and with the next LF, whatever the length. */
enum err stream_skip_line(struct stream *s);
/* Exactly len bytes. */
enum err stream_read_exact(struct stream *s, void *p, size_t len);
/*
 * Whatever is there, at least one byte, at most max: *out is borrowed until the next read; what
 * is not stream_consume()d is returned again. For copying bulk data without an extra copy.
 */
enum err stream_peek(struct stream *s, size_t max, struct str *out);
/* Like stream_peek, but waits for and includes more bytes than have bytes. */
enum err stream_peek_more(struct stream *s, size_t have, struct str *out);
void stream_consume(struct stream *s, size_t len);

enum err stream_write(struct stream *s, const void *p, size_t len);
enum err stream_write_cstr(struct stream *s, const char *text);
enum err stream_write_str(struct stream *s, struct str text);
enum err stream_printf(struct stream *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
enum err stream_flush(struct stream *s);
/*
 * on: from now on nothing is sent by itself, whatever is written: for the time of a transaction
 * that must not wait for a peer. Off: as before; what is waiting is sent if it is much.
 */
void stream_hold(struct stream *s, int on);
/* Flushes, then sends len bytes of file_fd from offset with sendfile(2). */
enum err stream_send_file(struct stream *s, int file_fd, uint64_t offset, uint64_t len);

/*
 * Flushes, then waits until the client has sent something (or closed), or other_fd (-1: none) is
 * readable. *client, *other tell which. timeout_ms < 0: for ever. E_TIMEOUT when neither came.
 */
enum err stream_wait(struct stream *s, int other_fd, int timeout_ms, int *client, int *other);

/*
 * What is put between the text and the socket: compression. Each end has a state of its own; errors
 * end the connection.
 */
struct stream_filter {
	/*
	 * Takes bytes off the front of *raw and appends what they stand for to *out, at most room
	 * bytes. Called again with an empty *raw after it filled the room. E_PROTO: malformed.
	 */
	enum err (*decode)(void *ctx, struct str *raw, struct buf *out, size_t room);
	/*
	 * Appends to *out. flush: the peer must be able to read everything so far, and after
	 * STREAM_FILTER_END nothing more comes.
	 */
	enum err (*encode)(void *ctx, const void *p, size_t len, int flush, struct buf *out);
	/*
	 * The text ends behind what decode has given last: takes off the front of *raw what still
	 * belongs to it, so that what is left was not filtered. E_PROTO: the end cannot be here.
	 */
	enum err (*decode_end)(void *ctx, struct str *raw);
	void (*free)(void *ctx);
};
enum { STREAM_FILTER_FLUSH = 1, STREAM_FILTER_END = 2 };
/*
 * From here on both ways. What was written is sent as it is; input not read yet passes through the
 * filter. ctx is taken over. The statistics count bytes of the socket.
 */
enum err stream_set_filter(struct stream *s, const struct stream_filter *filter, void *ctx);
/*
 * Takes the filter away again behind what was written, with an end mark, and behind what was read;
 * what came later is input as it is. E_PROTO: the peer's filter did not end there.
 */
enum err stream_end_filter(struct stream *s);
/* NULL: there is none. */
void *stream_filter_ctx(const struct stream *s);
/* Whether bytes came that the filter has not made text of. */
int stream_has_raw_input(const struct stream *s);

/* What is counted, readable by another process when it lies in shared memory. */
struct stream_traffic {
	_Atomic uint64_t in, out;
};
/* Counts there from now on, beginning at what was counted before. Borrowed; NULL: in itself. */
void stream_count_in(struct stream *s, struct stream_traffic *where);
/*
 * While *on is not 0, tap is shown the text that goes both ways: what was read, and what is sent,
 * before a filter. on and arg are borrowed.
 */
typedef void (*stream_tap)(void *arg, int from_client, const char *p, size_t len);
void stream_set_tap(struct stream *s, stream_tap tap, void *arg, const _Atomic unsigned *on);
/* Bytes so far, for `who` and the log-out line. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);
/* The sticky error, OK while all is well. */
enum err stream_error(const struct stream *s);

#endif
