/* SPDX-License-Identifier: MIT */
#include "mta-lite/job.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum { JOB_PRIORITY_BIAS = 100 }; /* on the wire it is unsigned */

void
job_put(struct buf *body, const struct job *j)
{
	size_t i;

	ipc_put_cstr(body, j->id);
	ipc_put_cstr(body, j->sender);
	ipc_put_cstr(body, j->envid);
	ipc_put_u32(body, j->ret);
	ipc_put_u32(body, j->flags);
	ipc_put_u8(body, (uint8_t)(j->priority + JOB_PRIORITY_BIAS));
	ipc_put_u64(body, (uint64_t)j->arrival);
	ipc_put_u64(body, j->content_offset);
	ipc_put_u64(body, j->content_len);
	ipc_put_cstr(body, j->nexthop);
	ipc_put_u8(body, (uint8_t)j->relayhost);
	ipc_put_u8(body, (uint8_t)j->lmtp);
	ipc_put_u8(body, (uint8_t)j->filter);
	ipc_put_u8(body, (uint8_t)j->pipe);
	ipc_put_u8(body, (uint8_t)j->forwarded);
	ipc_put_cstr(body, j->xforward);
	ipc_put_u32(body, (uint32_t)j->rcpt_count);
	for (i = 0; i < j->rcpt_count; i++) {
		ipc_put_u32(body, j->rcpts[i].index);
		ipc_put_cstr(body, j->rcpts[i].address);
		ipc_put_cstr(body, j->rcpts[i].orcpt);
		ipc_put_u8(body, (uint8_t)j->rcpts[i].notify);
		ipc_put_u8(body, (uint8_t)j->rcpts[i].local);
		ipc_put_cstr(body, j->rcpts[i].target);
	}
}

enum err
job_get(struct str body, struct job *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	size_t i;

	memset(out, 0, sizeof(*out));
	out->id = ipc_get_dup(&r);
	out->sender = ipc_get_dup(&r);
	out->envid = ipc_get_dup(&r);
	out->ret = ipc_get_u32(&r);
	out->flags = ipc_get_u32(&r);
	out->priority = (int)ipc_get_u8(&r) - JOB_PRIORITY_BIAS;
	out->arrival = (int64_t)ipc_get_u64(&r);
	out->content_offset = ipc_get_u64(&r);
	out->content_len = ipc_get_u64(&r);
	out->nexthop = ipc_get_dup(&r);
	out->relayhost = ipc_get_u8(&r);
	out->lmtp = ipc_get_u8(&r);
	out->filter = ipc_get_u8(&r);
	out->pipe = ipc_get_u8(&r);
	out->forwarded = ipc_get_u8(&r);
	out->xforward = ipc_get_dup(&r);
	out->rcpt_count = ipc_get_u32(&r);
	if (r.err || out->rcpt_count > JOB_RCPTS_MAX) {
		out->rcpt_count = 0;
		return E_PROTO;
	}
	out->rcpts = mem_zalloc(out->rcpt_count * sizeof(*out->rcpts) + 1);
	for (i = 0; i < out->rcpt_count; i++) {
		out->rcpts[i].index = ipc_get_u32(&r);
		out->rcpts[i].address = ipc_get_dup(&r);
		out->rcpts[i].orcpt = ipc_get_dup(&r);
		out->rcpts[i].notify = ipc_get_u8(&r);
		out->rcpts[i].local = ipc_get_u8(&r);
		out->rcpts[i].target = ipc_get_dup(&r);
	}
	return ipc_reader_end(&r);
}

void
job_free(struct job *j)
{
	size_t i;

	for (i = 0; i < j->rcpt_count; i++) {
		free(j->rcpts[i].address);
		free(j->rcpts[i].orcpt);
		free(j->rcpts[i].target);
	}
	free(j->rcpts);
	free(j->id);
	free(j->sender);
	free(j->envid);
	free(j->nexthop);
	free(j->xforward);
	memset(j, 0, sizeof(*j));
}

void
job_result_put(struct buf *body, const struct job_result *r)
{
	ipc_put_u32(body, r->index);
	ipc_put_u8(body, (uint8_t)r->status);
	ipc_put_str(body, r->dsn);
	ipc_put_str(body, r->text);
	ipc_put_str(body, r->mta);
}

enum err
job_result_get(struct str body, struct job_result *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	unsigned status;

	out->index = ipc_get_u32(&r);
	status = ipc_get_u8(&r);
	out->dsn = ipc_get_str(&r);
	out->text = ipc_get_str(&r);
	out->mta = ipc_get_str(&r);
	if (status >= QUEUE_STATUS_COUNT)
		return E_PROTO;
	out->status = (enum queue_status)status;
	return ipc_reader_end(&r);
}
