/* SPDX-License-Identifier: MIT */
#include "imap/sleep_state.h"

#include "imap/deflate.h"
#include "imap/parse.h"
#include "lib/ipc.h"

/* Another program version cannot meet it: what sleeps ends with the master that started us. */
enum { VERSION = 2, OBJECT_ID_MAX = 32 };

static void
put_set(struct buf *out, const struct numset *s)
{
	struct buf packed = {0};

	numset_pack(s, &packed);
	ipc_put_str(out, buf_str(&packed));
	buf_free(&packed);
}

void
imap_sleep_state_put(struct buf *out, const struct imap_sleep_state *s)
{
	ipc_put_u8(out, VERSION);
	ipc_put_u32(out, s->enabled);
	ipc_put_u32(out, s->errors);
	ipc_put_u64(out, s->bytes_in);
	ipc_put_u64(out, s->bytes_out);
	ipc_put_str(out, s->tag);
	ipc_put_u64(out, (uint64_t)s->deadline_ms);
	ipc_put_u8(out, s->deflated != 0);
	ipc_put_str(out, s->inflate);
	ipc_put_u8(out, s->selected != 0);
	if (!s->selected)
		return;
	ipc_put_u32(out, s->mailbox);
	ipc_put_u32(out, s->uidvalidity);
	ipc_put_str(out, s->object_id);
	ipc_put_u8(out, s->read_only != 0);
	ipc_put_u64(out, s->modseq_held);
	ipc_put_u64(out, s->modseq_sent);
	ipc_put_u64(out, s->keywords_told);
	ipc_put_u64(out, s->url_key_told);
	ipc_put_str(out, s->view);
	put_set(out, &s->recent);
	put_set(out, &s->saved);
}

static void
selected_get(struct ipc_reader *r, struct imap_sleep_state *out)
{
	struct str recent, saved;

	out->mailbox = ipc_get_u32(r);
	out->uidvalidity = ipc_get_u32(r);
	out->object_id = ipc_get_str(r);
	out->read_only = ipc_get_u8(r);
	out->modseq_held = ipc_get_u64(r);
	out->modseq_sent = ipc_get_u64(r);
	out->keywords_told = ipc_get_u64(r);
	out->url_key_told = ipc_get_u64(r);
	out->view = ipc_get_str(r);
	recent = ipc_get_str(r);
	saved = ipc_get_str(r);
	if (!r->err)
		r->err = numset_unpack(recent, &out->recent);
	if (!r->err)
		r->err = numset_unpack(saved, &out->saved);
	if (out->object_id.len > OBJECT_ID_MAX)
		r->err = E_PROTO;
}

enum err
imap_sleep_state_get(struct str body, struct imap_sleep_state *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	int version = ipc_get_u8(&r);

	*out = (struct imap_sleep_state){0};
	out->enabled = ipc_get_u32(&r);
	out->errors = ipc_get_u32(&r);
	out->bytes_in = ipc_get_u64(&r);
	out->bytes_out = ipc_get_u64(&r);
	out->tag = ipc_get_str(&r);
	out->deadline_ms = (int64_t)ipc_get_u64(&r);
	out->deflated = ipc_get_u8(&r);
	out->inflate = ipc_get_str(&r);
	out->selected = ipc_get_u8(&r);
	if (!r.err && out->selected)
		selected_get(&r, out);
	if (version != VERSION || out->selected > 1 || out->deflated > 1 ||
		out->inflate.len > IMAP_DEFLATE_KEPT_MAX || out->tag.len > IMAP_TAG_MAX)
		return E_PROTO;
	return ipc_reader_end(&r);
}

void
imap_sleep_state_free(struct imap_sleep_state *s)
{
	numset_free(&s->recent);
	numset_free(&s->saved);
}

uint64_t
imap_sleep_keywords(char *const *names, size_t count)
{
	uint64_t h = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < count; i++)
		for (const unsigned char *p = (const unsigned char *)names[i];; p++) {
			h = (h ^ *p) * 1099511628211u;
			if (!*p)
				break;
		}
	return h;
}
