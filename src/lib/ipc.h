/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_IPC_H
#define ROOST_LIB_IPC_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

struct event_base;

/*
 * The one framing of all internal sockets:
 *
 *   u32 length   bytes behind this header, <= IPC_BODY_MAX
 *   u16 type     what it is; each protocol has its own enum
 *   u16 flags    IPC_FLAG_*
 *   u32 request  chosen by who asks, repeated in the answer; 0 in unasked notices
 *
 * in the machine's byte order (both ends are on one machine), then fields, written and read by the
 * helpers below. Descriptors ride as SCM_RIGHTS with the frame's first byte.
 */
enum { IPC_BODY_MAX = 64 << 20, IPC_FDS_MAX = 4, IPC_HEADER_SIZE = 12 };
enum { IPC_FLAG_FDS = 1 /* the low 4 bits of flags >> 4 count the descriptors */ };

/* ---- fields ---- */

void ipc_put_u8(struct buf *b, uint8_t n);
void ipc_put_u32(struct buf *b, uint32_t n);
void ipc_put_u64(struct buf *b, uint64_t n);
void ipc_put_str(struct buf *b, struct str s); /* u32 length, bytes */
void ipc_put_cstr(struct buf *b, const char *s); /* NULL is written as an empty string */

/*
 * Reading: the first short or wrong field sets err to E_PROTO, and from then on every get returns
 * 0 or an empty slice; look at err once behind the last field.
 */
struct ipc_reader {
	const char *p;
	size_t len;
	enum err err;
};
struct ipc_reader ipc_reader_of(struct str body);
uint8_t ipc_get_u8(struct ipc_reader *r);
uint32_t ipc_get_u32(struct ipc_reader *r);
uint64_t ipc_get_u64(struct ipc_reader *r);
struct str ipc_get_str(struct ipc_reader *r); /* borrowed from the body */
/* Into out, ended by NUL; one that does not fit is E_PROTO. */
void ipc_get_text(struct ipc_reader *r, char *out, size_t size);
char *ipc_get_dup(struct ipc_reader *r); /* heap copy, never NULL; the caller frees it */
/* OK when everything was read without an error and nothing is left over; else E_PROTO. */
enum err ipc_reader_end(const struct ipc_reader *r);

/* ---- a message ---- */

struct ipc_msg {
	uint16_t type;
	uint32_t request;
	struct buf body;
	int fds[IPC_FDS_MAX]; /* -1 where none; whoever takes one sets it to -1 */
};
/* Frees the body and closes descriptors that nobody took. */
void ipc_msg_free(struct ipc_msg *m);

/* ---- blocking: sessions and tools ---- */

/* Sends one frame. fds: nfds descriptors to pass (they stay open here). E_CLOSED, E_TIMEOUT, E_IO.
 */
enum err ipc_send(int fd, uint16_t type, uint32_t request, struct str body, const int *fds,
	size_t nfds, int timeout_ms);
/* Reads one frame into *m, which is zeroed first; the caller frees it. */
enum err ipc_recv(int fd, struct ipc_msg *m, int timeout_ms);

/* For who sends and reads many at a time: appends a frame without descriptors to *out. */
void ipc_frame_put(struct buf *out, uint16_t type, uint32_t request, struct str body);
/*
 * Takes the first frame off what was read; *m is zeroed first, the caller frees it. E_NOTFOUND: it
 * is not all there yet; E_PROTO (also for one with descriptors), E_TOOBIG.
 */
enum err ipc_frame_take(struct buf *in, struct ipc_msg *m);
/* Sends what ipc_frame_put made. E_CLOSED, E_TIMEOUT, E_IO. */
enum err ipc_frames_send(int fd, struct str frames, int timeout_ms);
/* Waits for bytes and appends what there is to *in, for ipc_frame_take. E_CLOSED, E_TIMEOUT, E_IO.
 */
enum err ipc_frames_read(int fd, struct buf *in, int timeout_ms);

/* ---- event-driven: services ---- */

struct ipc_conn;

struct ipc_conn_handler {
	/* *m is freed after the call; take fds and steal the body to keep them. */
	void (*on_message)(struct ipc_conn *c, struct ipc_msg *m, void *arg);
	/*
	 * The peer is gone or broke the framing (e: E_CLOSED, E_PROTO, E_IO, E_TOOBIG). The
	 * connection is freed after the call. Not called for ipc_conn_free.
	 */
	void (*on_close)(struct ipc_conn *c, enum err e, void *arg);
};

/* Owns fd. body_max bounds a frame from this peer. The handler is borrowed. */
struct ipc_conn *ipc_conn_create(struct event_base *base, int fd, size_t body_max,
	const struct ipc_conn_handler *handler, void *arg);
void ipc_conn_free(struct ipc_conn **c);
/*
 * Queues a frame; sent as the peer reads. fds are duplicated. Must run in the thread of base.
 * A peer that lets more than 256 MiB pile up is closed from the loop (on_close, E_TOOBIG).
 */
void ipc_conn_send(struct ipc_conn *c, uint16_t type, uint32_t request, struct str body,
	const int *fds, size_t nfds);
/*
 * Frames queued while on_message runs go out together, when those that came with its frame have
 * been handled: for answers that are made at once.
 */
void ipc_conn_batch(struct ipc_conn *c);
/* fn is called, from the loop, whenever the peer has taken all of what it had let pile up. */
void ipc_conn_on_drained(struct ipc_conn *c, void (*fn)(struct ipc_conn *c, void *arg));
/* Bytes queued and not yet taken by the peer. */
size_t ipc_conn_pending(const struct ipc_conn *c);
void *ipc_conn_arg(const struct ipc_conn *c);
void ipc_conn_set_arg(struct ipc_conn *c, void *arg);
int ipc_conn_fd(const struct ipc_conn *c);
/* Stops or resumes reading, for back-pressure. */
void ipc_conn_pause(struct ipc_conn *c, int on);
/*
 * Gives the descriptor away with nothing lost (call it from on_message only): the connection is
 * freed after on_message returns, without on_close; bytes read ahead are appended to *readahead.
 */
int ipc_conn_detach(struct ipc_conn *c, struct buf *readahead);
/* Feeds read-ahead bytes to a new connection before its first read. */
void ipc_conn_push_input(struct ipc_conn *c, struct str bytes);

#endif
