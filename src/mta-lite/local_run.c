/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_run.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/pipe_transport.h"

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

void
local_pipe_put(struct buf *body, const struct local_pipe *p)
{
	size_t i;

	ipc_put_cstr(body, p->transport);
	ipc_put_cstr(body, p->nexthop);
	ipc_put_cstr(body, p->queue_id);
	ipc_put_cstr(body, p->envid);
	ipc_put_cstr(body, p->sender);
	ipc_put_cstr(body, p->client);
	ipc_put_u64(body, p->content_offset);
	ipc_put_u64(body, p->content_len);
	ipc_put_u32(body, (uint32_t)p->rcpt_count);
	for (i = 0; i < p->rcpt_count; i++) {
		ipc_put_cstr(body, p->rcpts[i].address);
		ipc_put_cstr(body, p->rcpts[i].original);
	}
}

enum err
local_pipe_get(struct str body, struct local_pipe *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	uint32_t count;

	memset(out, 0, sizeof(*out));
	out->transport = ipc_get_dup(&r);
	out->nexthop = ipc_get_dup(&r);
	out->queue_id = ipc_get_dup(&r);
	out->envid = ipc_get_dup(&r);
	out->sender = ipc_get_dup(&r);
	out->client = ipc_get_dup(&r);
	out->content_offset = ipc_get_u64(&r);
	out->content_len = ipc_get_u64(&r);
	count = ipc_get_u32(&r);
	if (r.err || count == 0 || count > PIPE_RECIPIENTS)
		return E_PROTO;
	out->rcpts = mem_zalloc(count * sizeof(*out->rcpts));
	for (; out->rcpt_count < count; out->rcpt_count++) {
		out->rcpts[out->rcpt_count].address = ipc_get_dup(&r);
		out->rcpts[out->rcpt_count].original = ipc_get_dup(&r);
	}
	return ipc_reader_end(&r);
}

void
local_pipe_free(struct local_pipe *p)
{
	size_t i;

	for (i = 0; i < p->rcpt_count; i++) {
		free(p->rcpts[i].address);
		free(p->rcpts[i].original);
	}
	free(p->rcpts);
	free(p->transport);
	free(p->nexthop);
	free(p->queue_id);
	free(p->envid);
	free(p->sender);
	free(p->client);
	memset(p, 0, sizeof(*p));
}

int
local_run_abandoned(const struct local_run *r)
{
	struct pollfd p = {.fd = r->client, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}
