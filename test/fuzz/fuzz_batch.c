/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>

#include "index/core_batch.h"
#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_folder(void (*line)(struct core_batch_text *, const struct core_box *),
	struct core_batch_text *t, const struct core_batch_folder *f)
{
	struct core_box b = {.r = {.uidvalidity = f->uidvalidity}};

	if (!f->uidvalidity)
		return;
	memcpy(b.dir, f->dir.p, f->dir.len);
	line(t, &b);
}

/* Whatever roost-batch holds: what was read is read again as it is, and leads nowhere else. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct core_batch_plan one, two;
	struct core_batch_text t = {0};

	if (core_batch_parse(str_make((const char *)data, size), &one))
		return 0;
	write_folder(core_batch_from, &t, &one.from);
	write_folder(core_batch_to, &t, &one.to);
	for (size_t i = 0; i < one.message_count; i++) {
		const struct core_batch_message *m = &one.messages[i];

		ROOST_ASSERT(str_find(m->src, 0, '/') == m->src.len);
		ROOST_ASSERT(str_find(m->dst, 0, '/') == m->dst.len);
		core_batch_message(&t, m);
	}
	for (size_t i = 0; i < one.rename_count; i++)
		core_batch_rename(&t, &one.renames[i]);
	if (one.replaced)
		core_batch_replaced(&t, one.replaced);
	core_batch_text_end(&t);
	ROOST_ASSERT(core_batch_parse(buf_str(&t.text), &two) == OK);
	ROOST_ASSERT(two.message_count == one.message_count);
	ROOST_ASSERT(two.rename_count == one.rename_count && two.replaced == one.replaced);
	core_batch_plan_free(&two);
	core_batch_plan_free(&one);
	buf_free(&t.text);
	return 0;
}
