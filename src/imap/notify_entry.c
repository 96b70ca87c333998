/* SPDX-License-Identifier: MIT */
#include "imap/notify_private.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/*
 * What the client knows of annotations: names, and a hash that stands for each value, so that it is
 * seen which entries changed or went (RFC 5465 section 5.6, 5.7).
 */

static uint64_t
hash_of(struct str value)
{
	uint64_t h = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < value.len; i++)
		h = (h ^ (unsigned char)value.p[i]) * 1099511628211u;
	return h;
}

void
notify_entries_fini(struct notify_entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i].name);
	free(e->v);
	*e = (struct notify_entries){0};
}

struct load {
	struct notify_entries *out;
	size_t max;
};

static void
entry_add(struct notify_entries *e, char *name, uint64_t hash)
{
	if ((e->n & (e->n + 1)) == 0)
		e->v = mem_realloc(e->v, 2 * (e->n + 1), sizeof(*e->v));
	e->v[e->n++] = (struct notify_entry){name, hash};
}

static enum err
load_one(struct str name, struct str value, void *arg)
{
	struct load *l = arg;

	if (l->out->n >= l->max)
		return E_TOOBIG;
	entry_add(l->out, str_dup(name), hash_of(value));
	return OK;
}

enum err
notify_entries_load(
	struct imap_session *s, uint32_t mailbox, size_t max, struct notify_entries *out)
{
	struct load l = {out, max};
	enum err e = index_read_begin(s->index);

	*out = (struct notify_entries){0};
	if (e)
		return e;
	e = index_metadata_modseq(s->index, mailbox, &out->modseq);
	if (!e)
		e = index_metadata_each(s->index, mailbox, load_one, &l);
	index_read_end(s->index);
	if (e)
		notify_entries_fini(out);
	return e;
}

static struct notify_entry *
entry_find(const struct notify_entries *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (strcmp(e->v[i].name, name) == 0)
			return &e->v[i];
	return NULL;
}

/* Names in a, with *line begun by the first, that b does not have with this value. */
static void
names_add(struct imap_session *s, const struct notify_entries *a, const struct notify_entries *b,
	int only_missing, const char *name, size_t *told)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct notify_entry *other = entry_find(b, a->v[i].name);

		if (other && (only_missing || other->hash == a->v[i].hash))
			continue;
		if (!(*told)++) {
			(void)buf_add_cstr(&s->out, "METADATA ");
			if (name[0])
				imap_write_mailbox(s, &s->out, str_of(name));
			else
				(void)buf_add_cstr(&s->out, "\"\"");
		}
		(void)buf_add_char(&s->out, ' ');
		imap_write_astring(&s->out, str_of(a->v[i].name));
	}
}

enum err
notify_entries_look(
	struct imap_session *s, uint32_t mailbox, const char *name, struct notify_entries *known)
{
	struct notify_entries now = {0};
	uint64_t modseq = known->modseq;
	size_t told = 0;
	enum err e = index_metadata_modseq(s->index, mailbox, &modseq);

	if (e || modseq == known->modseq)
		return e;
	e = notify_entries_load(s, mailbox, NOTIFY_ENTRIES_MAX, &now);
	if (e)
		return e;
	names_add(s, &now, known, 0, name, &told);
	names_add(s, known, &now, 1, name, &told);
	if (told)
		imap_untagged_out(s);
	notify_entries_fini(known);
	*known = now;
	return OK;
}

void
notify_entries_set(struct notify_entries *e, const struct index_metadata *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *name = str_dup(list[i].name);
		struct notify_entry *entry;

		for (char *c = name; *c; c++)
			*c = str_lower(*c);
		entry = entry_find(e, name);
		if (list[i].is_nil && entry) {
			free(entry->name);
			*entry = e->v[--e->n];
		} else if (entry) {
			entry->hash = hash_of(list[i].value);
		} else if (!list[i].is_nil) {
			entry_add(e, name, hash_of(list[i].value));
			name = NULL;
		}
		free(name);
	}
}
