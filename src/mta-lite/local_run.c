/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_run.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

void
local_job_put(struct buf *body, const struct local_job *j)
{
	ipc_put_cstr(body, j->target);
	ipc_put_cstr(body, j->sender);
	ipc_put_cstr(body, j->recipient);
	ipc_put_cstr(body, j->original);
	ipc_put_u8(body, (uint8_t)j->forward);
	ipc_put_u64(body, j->content_offset);
	ipc_put_u64(body, j->content_len);
}

enum err
local_job_get(struct str body, struct local_job *out)
{
	struct ipc_reader r = ipc_reader_of(body);

	out->target = ipc_get_dup(&r);
	out->sender = ipc_get_dup(&r);
	out->recipient = ipc_get_dup(&r);
	out->original = ipc_get_dup(&r);
	out->forward = ipc_get_u8(&r) != 0;
	out->content_offset = ipc_get_u64(&r);
	out->content_len = ipc_get_u64(&r);
	return ipc_reader_end(&r);
}

void
local_job_free(struct local_job *j)
{
	free(j->target);
	free(j->sender);
	free(j->recipient);
	free(j->original);
	memset(j, 0, sizeof(*j));
}

int
local_run_abandoned(const struct local_run *r)
{
	struct pollfd p = {.fd = r->client, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}
