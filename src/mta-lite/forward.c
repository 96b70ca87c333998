/* SPDX-License-Identifier: MIT */
#include "mta-lite/forward.h"

#include <stdlib.h>
#include <string.h>

#include "lib/ipc.h"
#include "lib/mem.h"

void
forward_free(struct forward *f)
{
	size_t i;

	for (i = 0; i < f->count; i++) {
		buf_free(&f->items[i].item.text);
		free(f->items[i].where);
	}
	free(f->items);
	free(f->user);
	free(f->path);
	free(f->why);
	memset(f, 0, sizeof(*f));
}

struct forward_item *
forward_add(struct forward *f, const struct alias_item *item, const char *where)
{
	struct forward_item *added;

	if ((f->count & (f->count - 1)) == 0)
		f->items = mem_realloc(f->items, f->count ? f->count * 2 : 1, sizeof(*f->items));
	added = &f->items[f->count++];
	memset(added, 0, sizeof(*added));
	added->item.kind = item->kind;
	added->item.exact = item->exact;
	buf_add_buf(&added->item.text, &item->text);
	added->where = mem_strdup(where);
	return added;
}

const char *
forward_word(const struct forward_item *item)
{
	return item->included ? "include" : "forward";
}

void
forward_put(struct buf *body, const struct forward *f)
{
	size_t i;

	ipc_put_u8(body, (uint8_t)f->state);
	ipc_put_cstr(body, f->user);
	ipc_put_cstr(body, f->path);
	ipc_put_cstr(body, f->why);
	ipc_put_u32(body, (uint32_t)f->count);
	for (i = 0; i < f->count; i++) {
		const struct forward_item *item = &f->items[i];

		ipc_put_u8(body, (uint8_t)item->item.kind);
		ipc_put_u8(body, (uint8_t)item->item.exact);
		ipc_put_u8(body, (uint8_t)item->included);
		ipc_put_str(body, buf_str(&item->item.text));
		ipc_put_cstr(body, item->where);
	}
}

enum err
forward_get(struct str body, struct forward *out)
{
	struct ipc_reader r = ipc_reader_of(body);
	unsigned state = ipc_get_u8(&r);
	uint32_t n, i;

	memset(out, 0, sizeof(*out));
	out->user = ipc_get_dup(&r);
	out->path = ipc_get_dup(&r);
	out->why = ipc_get_dup(&r);
	n = ipc_get_u32(&r);
	for (i = 0; i < n && !r.err; i++) {
		unsigned kind = ipc_get_u8(&r), exact = ipc_get_u8(&r), included = ipc_get_u8(&r);
		struct alias_item item = {.kind = (enum alias_kind)kind, .exact = exact != 0};
		struct str text = ipc_get_str(&r);
		char *where = ipc_get_dup(&r);

		if (kind >= ALIAS_INCLUDE || text.len == 0)
			r.err = E_PROTO;
		buf_add_str(&item.text, text);
		if (!r.err)
			forward_add(out, &item, where)->included = included != 0;
		buf_free(&item.text);
		free(where);
	}
	if (state >= FORWARD_STATE_COUNT || (state == FORWARD_FOUND && out->count == 0))
		r.err = E_PROTO;
	out->state = r.err ? FORWARD_NONE : (enum forward_state)state;
	return ipc_reader_end(&r);
}
