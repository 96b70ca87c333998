/* SPDX-License-Identifier: MIT */
#include "index/core_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index/gzip.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * An index that is removed while it is in use lives on until we close it: it is not broken, it has
 * no name any more. So nothing is lost with it that the files do not have yet.
 */

/* What an id stands for. */
struct identity {
	uint32_t id, uidvalidity;
	unsigned char object_id[16];
};
struct identities {
	struct identity *list;
	size_t count;
	int same;
};

static enum err
identities_step(struct core_tx *tx, void *arg)
{
	struct identities *known = arg;
	struct core_box *boxes = NULL;
	enum err e = core_box_list(tx, &boxes, &known->count);

	known->list = mem_zalloc((known->count + 1) * sizeof(*known->list));
	for (size_t i = 0; i < known->count; i++) {
		struct identity *it = &known->list[i];

		it->id = boxes[i].r.id;
		it->uidvalidity = boxes[i].r.uidvalidity;
		memcpy(it->object_id, boxes[i].r.object_id, sizeof(it->object_id));
	}
	free(boxes);
	return e;
}

static enum err
compare_step(struct core_tx *tx, void *arg)
{
	struct identities *known = arg;
	enum err e = OK;

	known->same = 1;
	for (size_t i = 0; i < known->count && e == OK; i++) {
		const struct identity *it = &known->list[i];
		struct core_box box;

		e = core_box_get(tx, it->id, &box);
		if (e == E_NOTFOUND) {
			/* Gone with its folder. */
			e = OK;
			continue;
		}
		if (e == OK &&
			(box.r.uidvalidity != it->uidvalidity ||
				memcmp(box.r.object_id, it->object_id, sizeof(it->object_id)) != 0))
			known->same = 0;
	}
	return e;
}

/* Directories whose sync an answer waits for are the new core's to sync. */
static void
carry_sync(struct index_core *from, struct index_core *to)
{
	for (size_t i = 0; i < from->sync_count; i++) {
		if (to->sync_count == to->sync_cap) {
			to->sync_cap = to->sync_cap ? to->sync_cap * 2 : 8;
			to->sync = mem_realloc(to->sync, to->sync_cap, sizeof(*to->sync));
		}
		to->sync[to->sync_count++] = from->sync[i];
	}
	from->sync_count = 0;
	if (from->sync_errno)
		to->sync_errno = from->sync_errno;
	from->sync_errno = 0;
}

enum err
index_core_rebuild(struct index_core **cp, int *same)
{
	struct index_core *c = *cp, waiting = {0};
	struct identities known = {0};
	struct index_core_options o = {.map_size = c->map_size,
		.max_message_size = c->unfold_max / GZIP_UNFOLD_FACTOR,
		.limits = {.bytes = c->state.bytes_limit,
			.messages = c->state.messages_limit,
			.grace_bytes = c->state.grace_bytes,
			.issued = c->state.quota_issued},
		.modseq_floor = c->state.modseq,
		.fsync = c->fsync,
		.expunge_keep_s = c->expunge_keep_s,
		.on_change = c->on_change,
		.arg = c->arg};
	char *maildir = mem_strdup(c->maildir), *index_dir = mem_strdup(c->index_dir);
	char *rules = mem_strdup(c->rules_text), *host = mem_strdup(c->host),
	     *boot_id = mem_strdup(c->boot_id);
	char **defaults;
	enum err e;

	log_event(LOGL_WARN, "index.rebuild begin", "maildir", maildir, NULL);
	o.maildir = maildir;
	o.index_dir = index_dir;
	o.host = host;
	o.limits.rules = rules;
	o.boot_id = boot_id;
	while (index_core_background(c))
		;
	*same = core_read(c, identities_step, &known) == OK;
	carry_sync(c, &waiting);
	defaults = c->default_mailboxes;
	c->default_mailboxes = mem_zalloc(sizeof(*defaults));
	o.default_mailboxes = (const char *const *)defaults;
	index_core_close(cp, 0);
	/* What lies there in its place is not ours. */
	e = index_core_discard(index_dir);
	if (e == OK || e == E_NOTFOUND)
		e = index_core_open(&o, cp);
	if (e == OK) {
		carry_sync(&waiting, *cp);
		if (*same && core_read(*cp, compare_step, &known) == OK)
			*same = known.same;
		else
			*same = 0;
		log_event(LOGL_INFO, "index.rebuild ok", "maildir", maildir, NULL);
	}
	for (size_t i = 0; i < waiting.sync_count; i++)
		(void)close(waiting.sync[i].fd);
	free(waiting.sync);
	for (char **d = defaults; *d; d++)
		free(*d);
	free(defaults);
	free(known.list);
	free(maildir);
	free(index_dir);
	free(rules);
	free(host);
	free(boot_id);
	return e;
}
