/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_IPC_FRAME_H
#define ROOST_LIB_IPC_FRAME_H

#include <sys/types.h>
#include <sys/uio.h>

#include "lib/ipc.h"

/* What the blocking and the event-driven side of lib/ipc.h share. Private to them. */

struct ipc_header {
	uint32_t len;
	uint16_t type;
	uint32_t request;
	size_t nfds;
};

void ipc_header_write(
	char out[IPC_HEADER_SIZE], uint32_t len, uint16_t type, size_t nfds, uint32_t request);
/* E_TOOBIG: longer than IPC_BODY_MAX. E_PROTO: too many descriptors. */
enum err ipc_header_read(const char in[IPC_HEADER_SIZE], struct ipc_header *h);

/* sendmsg(2) and recvmsg(2) with descriptors; -1 and errno as those. */
ssize_t ipc_sendmsg(
	int fd, struct iovec *iov, size_t iov_count, const int *fds, size_t nfds, int flags);
/* Appends received descriptors to fds (*nfds in use); those beyond IPC_FDS_MAX are closed. */
ssize_t ipc_recvmsg(int fd, void *p, size_t len, int fds[IPC_FDS_MAX], size_t *nfds, int flags);

#endif
