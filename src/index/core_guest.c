/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_guest_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- the guest's index ---- */

/* What it was made of; another word there and it is made anew. */
static void
boot_text(const struct index_core *c, struct buf *out)
{
	(void)buf_printf(
		out, "%s %llx\n", c->boot_id, (unsigned long long)index_core_generation(c));
}

static int
is_trusted(const struct index_core *c, const char *dir)
{
	char *path = mem_printf("%s/boot", dir), *damaged = mem_printf("%s/damaged", dir);
	struct buf text = BUF_INIT(256), want = {0};
	int is;

	boot_text(c, &want);
	is = io_read_file(path, &text) == OK && str_equal(buf_str(&text), buf_str(&want)) &&
	     access(damaged, F_OK) != 0;
	buf_free(&text);
	buf_free(&want);
	free(path);
	free(damaged);
	return is;
}

static enum err
boot_write(const struct index_core *c, const char *dir)
{
	char *path = mem_printf("%s/boot", dir);
	struct buf text = {0};
	enum err e = OK;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	boot_text(c, &text);
	if (fd < 0)
		e = err_from_errno(errno);
	else
		e = io_write_all(fd, text.p, text.len);
	io_close(&fd);
	buf_free(&text);
	free(path);
	return e;
}

static enum err
env_open(const struct index_core *c, struct core_guest *g)
{
	enum err e;

	core_damage_watch(g->shadow.damage_path);
	e = index_env_open(g->dir, 1, c->map_size, &g->shadow.env);
	/* Of sessions that were killed. */
	if (e == OK)
		(void)mdb_reader_check(g->shadow.env->env, NULL);
	core_damage_watch(NULL);
	return e;
}

enum err
core_guest_open(struct index_core *c, const char *guest, const char *dir, struct core_guest **out)
{
	struct core_guest *g = MEM_NEW(struct core_guest);
	enum err e;

	g->name = mem_strdup(guest);
	g->groups = mem_strdup("");
	g->dir = mem_strdup(dir);
	g->shadow.damage_path = mem_printf("%s/damaged", dir);
	e = io_mkdir_parents(dir, 0700);
	if (e == OK && !is_trusted(c, dir))
		e = index_core_discard(dir);
	if (e == OK)
		e = env_open(c, g);
	if (e == E_CORRUPT) {
		e = index_core_discard(dir);
		e = e ? e : env_open(c, g);
	}
	if (e == OK)
		e = boot_write(c, dir);
	if (e) {
		log_event(LOGL_ERROR, "index.guest failed", "maildir", c->maildir, "guest", guest,
			"error", err_word(e), NULL);
		core_guest_close(&g);
	}
	*out = g;
	return e;
}

void
core_guest_close(struct core_guest **gp)
{
	struct core_guest *g = *gp;

	if (!g)
		return;
	index_env_close(&g->shadow.env);
	free(g->shadow.damage_path);
	numset_free(&g->seen);
	free(g->name);
	free(g->groups);
	free(g->dir);
	MEM_FREE(*gp);
}

void
core_guest_set_groups(struct core_guest *g, const char *groups)
{
	free(g->groups);
	g->groups = mem_strdup(groups);
}

struct rights_who
core_guest_who(const struct core_guest *g)
{
	return (struct rights_who){g->name, g->groups};
}

int
core_guest_is_gone(const struct core_guest *g)
{
	return index_env_is_replaced(g->shadow.env, g->dir);
}

uint64_t
core_guest_generation(const struct core_guest *g)
{
	return index_env_generation(g->shadow.env);
}

/* ---- rights ---- */

enum err
guest_rights_read(
	struct index_core *c, const char *dir, const struct rights_who *who, unsigned *rights)
{
	struct rights_guest r = {0};
	struct entry_list l = {0};
	enum err e = core_entries_read(c, dir, ENTRY_FILE_ACL, &l);

	for (size_t i = 0; i < l.count; i++)
		rights_guest_add(&r, who, str_of(l.items[i].name), buf_str(&l.items[i].value));
	*rights = e ? 0 : rights_guest_have(&r);
	entry_list_free(&l);
	return e;
}

struct look {
	const struct rights_who *who;
	struct str name; /* or */
	uint32_t mailbox;
	unsigned rights;
};

static enum err
rights_step(struct core_tx *tx, void *arg)
{
	struct look *l = arg;
	struct core_box box;
	enum err e = core_box_get(tx, l->mailbox, &box);

	return e ? e : guest_rights_read(tx->core, box.dir, l->who, &l->rights);
}

enum err
core_guest_rights(
	struct index_core *c, uint32_t mailbox, const struct rights_who *who, unsigned *rights)
{
	struct look l = {.who = who, .mailbox = mailbox};
	enum err e = core_read(c, rights_step, &l);

	*rights = e ? 0 : l.rights;
	return e == E_NOTFOUND ? OK : e;
}

static enum err
above_step(struct core_tx *tx, void *arg)
{
	struct look *l = arg;
	struct core_box box;
	enum err e = E_NOTFOUND;

	while (l->name.len > 0 && e == E_NOTFOUND) {
		while (l->name.len > 0 && l->name.p[--l->name.len] != '/')
			;
		e = core_box_find(tx, l->name, &box);
	}
	if (e)
		return e == E_NOTFOUND ? OK : e;
	l->mailbox = box.r.id;
	return guest_rights_read(tx->core, box.dir, l->who, &l->rights);
}

enum err
core_guest_rights_above(struct index_core *c, struct str name, const struct rights_who *who,
	uint32_t *parent, unsigned *rights)
{
	struct look l = {.who = who, .name = name};
	enum err e = core_read(c, above_step, &l);

	*parent = e ? 0 : l.mailbox;
	*rights = e ? 0 : l.rights;
	return e;
}

struct identifiers {
	void (*fn)(struct str identifier, void *arg);
	void *arg;
};

static enum err
identifiers_step(struct core_tx *tx, void *arg)
{
	const struct identifiers *ids = arg;
	struct entry_list all = {0};
	struct core_box *boxes;
	size_t count;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		struct entry_list l = {0};

		e = core_entries_read(tx->core, boxes[i].dir, ENTRY_FILE_ACL, &l);
		for (size_t k = 0; k < l.count; k++)
			if (rights_entry_gives(str_of(l.items[k].name), buf_str(&l.items[k].value)))
				entry_list_set(&all, str_of(l.items[k].name), STR(""));
		entry_list_free(&l);
		e = e == E_NOTFOUND ? OK : e;
	}
	for (size_t i = 0; i < all.count && e == OK; i++)
		ids->fn(str_of(all.items[i].name), ids->arg);
	entry_list_free(&all);
	free(boxes);
	return e;
}

enum err
core_guest_identifiers(
	struct index_core *c, void (*fn)(struct str identifier, void *arg), void *arg)
{
	struct identifiers ids = {fn, arg};

	return core_read(c, identifiers_step, &ids);
}

struct inherit {
	uint32_t from, to;
};

static enum err
inherit_step(struct core_tx *tx, void *arg)
{
	const struct inherit *in = arg;
	struct core_box from, to;
	enum err e = core_box_get(tx, in->from, &from);

	e = e ? e : core_box_get(tx, in->to, &to);
	return e ? e : core_entries_copy(tx->core, from.dir, to.dir, ENTRY_FILE_ACL);
}

enum err
core_guest_inherit(struct index_core *c, uint32_t from, uint32_t to)
{
	struct inherit in = {from, to};

	return core_read(c, inherit_step, &in);
}

/* ---- \Seen ---- */

enum { SEEN_NAME_MAX = 200 };

/* A name that can be a file's, whatever the address has in it; a long one is cut, with a mark. */
static char *
seen_file(const char *guest)
{
	struct buf name = {0};
	uint32_t hash = 2166136261u;

	(void)buf_add_cstr(&name, ENTRY_FILE_SEEN "-");
	for (const unsigned char *p = (const unsigned char *)guest; *p; p++) {
		hash = (hash ^ *p) * 16777619u;
		if (*p == '/' || *p == '%' || *p < ' ')
			(void)buf_printf(&name, "%%%02X", *p);
		else
			(void)buf_add_char(&name, (char)*p);
	}
	if (name.len > SEEN_NAME_MAX) {
		buf_truncate(&name, SEEN_NAME_MAX);
		(void)buf_printf(&name, "-%08x", hash);
	}
	return buf_steal(&name);
}

enum err
guest_seen_read(
	struct index_core *c, const struct core_box *b, const char *guest, struct numset *out)
{
	char *file = seen_file(guest), uidvalidity[16];
	const struct entry *validity, *seen;
	struct entry_list l;
	enum err e = core_entries_read(c, b->dir, file, &l);

	snprintf(uidvalidity, sizeof(uidvalidity), "%u", b->r.uidvalidity);
	numset_free(out);
	validity = entry_list_get(&l, STR("uidvalidity"));
	seen = entry_list_get(&l, STR("seen"));
	/* What cannot be read of it is as if it had not been seen. */
	if (e == OK && validity && seen && str_is(buf_str(&validity->value), uidvalidity) &&
		seen->value.len && numset_parse(buf_str(&seen->value), out))
		numset_free(out);
	entry_list_free(&l);
	free(file);
	return e;
}

enum err
guest_seen_write(struct index_core *c, const struct core_box *b, const char *guest,
	const struct numset *seen)
{
	char *file = seen_file(guest), uidvalidity[16];
	struct entry_list l = {0};
	struct buf text = {0}, all = {0};
	enum err e = numset_format(seen, &text);

	snprintf(uidvalidity, sizeof(uidvalidity), "%u", b->r.uidvalidity);
	entry_list_set(&l, STR("uidvalidity"), str_of(uidvalidity));
	entry_list_set(&l, STR("seen"), buf_str(&text));
	entry_list_format(&l, &all);
	if (e == OK)
		e = core_text_write_soon(c, b->dir, file, buf_str(&all));
	entry_list_free(&l);
	buf_free(&text);
	buf_free(&all);
	free(file);
	return e;
}

struct mark {
	struct index_core *own;
	struct core_guest *g;
	uint32_t mailbox;
	const struct numset *uids;
	int on;
	uint64_t since; /* for conflicts */
	struct numset *found;
	int differs; /* one of found has another \Seen */
	uint64_t before; /* of the change that this one is told with; 0: none */
	uint64_t modseq;
	struct core_box own_box;
};

static enum err
own_box_step(struct core_tx *tx, void *arg)
{
	struct mark *m = arg;

	return core_box_get(tx, m->mailbox, &m->own_box);
}

/* The set that the file is written from, as of before. */
static enum err
seen_load(struct mark *m)
{
	struct core_guest *g = m->g;
	enum err e;

	if (g->seen_mailbox == m->mailbox)
		return OK;
	e = guest_seen_read(m->own, &m->own_box, g->name, &g->seen);
	g->seen_mailbox = e ? 0 : m->mailbox;
	return e;
}

/* Calls fn for what is in the guest's index of uids. */
static enum err
on_guest(struct core_guest *g, int write, core_step *step, void *arg)
{
	struct core_tx tx = {.core = &g->shadow};
	enum err e;

	core_damage_watch(g->shadow.damage_path);
	do {
		e = index_env_begin(g->shadow.env, write, &tx.txn);
		if (e)
			break;
		e = step(&tx, arg);
		if (e == OK && write)
			e = index_err_of_mdb(mdb_txn_commit(tx.txn), "commit");
		else
			mdb_txn_abort(tx.txn);
	} while (e == E_STATE && index_env_grow(g->shadow.env) == OK);
	core_damage_watch(NULL);
	buf_free(&tx.buf);
	return e;
}

static enum err
differs_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *x, void *arg)
{
	struct mark *m = arg;

	(void)tx;
	(void)b;
	if (!(x->r.flags & INDEX_SEEN) == !m->on)
		return OK;
	numset_add(m->found, uid);
	m->differs = 1;
	return OK;
}

/* Those too that the change before was of: what is answered is one mod-sequence for all of them. */
static enum err
to_mark_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *x, void *arg)
{
	const struct mark *m = arg;

	if (m->before && x->r.modseq == m->before)
		numset_add(m->found, uid);
	return differs_one(tx, b, uid, x, arg);
}

static enum err
conflict_one(
	struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *x, void *arg)
{
	struct mark *m = arg;

	(void)tx;
	(void)b;
	if (x->r.modseq > m->since)
		numset_add(m->found, uid);
	return OK;
}

struct find {
	struct mark *m;
	core_message_fn *fn;
};

static enum err
find_step(struct core_tx *tx, void *arg)
{
	const struct find *f = arg;
	struct core_box box;
	enum err e = core_box_get(tx, f->m->mailbox, &box);

	numset_free(f->m->found);
	return e ? e : core_each(tx, &box, f->m->uids, f->fn, f->m);
}

static enum err
find(struct mark *m, core_message_fn *fn)
{
	struct find f = {m, fn};

	return on_guest(m->g, 0, find_step, &f);
}

enum err
core_guest_conflicts(struct core_guest *g, uint32_t mailbox, const struct numset *uids,
	uint64_t since, struct numset *out)
{
	struct mark m = {.g = g, .mailbox = mailbox, .uids = uids, .since = since, .found = out};

	return find(&m, conflict_one);
}

enum err
core_guest_seen_of(
	struct core_guest *g, uint32_t mailbox, const struct numset *uids, struct numset *out)
{
	struct mark m = {.g = g, .mailbox = mailbox, .uids = uids, .on = 0, .found = out};

	/* What is not unseen. */
	return find(&m, differs_one);
}

static enum err
modseq_of_step(struct core_tx *tx, void *arg)
{
	struct mark *m = arg;
	struct core_box box;
	enum err e = core_box_get(tx, m->mailbox, &box);

	m->modseq = e ? 0 : box.r.highest_modseq;
	return e;
}

enum err
core_guest_modseq(struct core_guest *g, uint32_t mailbox, uint64_t *modseq)
{
	struct mark m = {.g = g, .mailbox = mailbox};
	enum err e = on_guest(g, 0, modseq_of_step, &m);

	*modseq = m.modseq;
	return e;
}

static enum err
mark_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *x, void *arg)
{
	const struct mark *m = arg;
	struct index_message_record r = x->r;

	r.name.p = x->name;
	r.flags = m->on ? r.flags | INDEX_SEEN : r.flags & ~(unsigned)INDEX_SEEN;
	r.modseq = m->modseq;
	return guest_message_put(tx, b, uid, &x->r, &r);
}

static enum err
mark_step(struct core_tx *tx, void *arg)
{
	struct mark *m = arg;
	struct core_box box;
	enum err e = core_box_get(tx, m->mailbox, &box);

	if (e == OK)
		e = core_each(tx, &box, m->found, mark_one, m);
	if (e)
		return e;
	if (box.r.highest_modseq < m->modseq)
		box.r.highest_modseq = m->modseq;
	return core_box_put(tx, &box);
}

static enum err
modseq_step(struct core_tx *tx, void *arg)
{
	*(uint64_t *)arg = core_tx_modseq(tx);
	return OK;
}

/*
 * The file first: an index that is made anew believes it. The mod-sequence is always a new one: the
 * guest's sessions may have read the change before already, and would take this one for known.
 */
static enum err
mark_do(struct mark *m)
{
	enum err e = core_read(m->own, own_box_step, m);

	if (e == OK)
		e = seen_load(m);
	if (e == OK)
		e = core_run(m->own, modseq_step, &m->modseq);
	for (size_t i = 0; i < m->found->count && e == OK; i++) {
		const struct numset_range *r = &m->found->ranges[i];

		if (m->on)
			numset_add_range(&m->g->seen, r->first, r->last);
		else
			numset_remove_range(&m->g->seen, r->first, r->last);
	}
	if (e == OK)
		e = guest_seen_write(m->own, &m->own_box, m->g->name, &m->g->seen);
	if (e == OK)
		e = on_guest(m->g, 1, mark_step, m);
	if (e)
		m->g->seen_mailbox = 0;
	return e;
}

enum err
core_guest_seen(struct index_core *c, struct core_guest *g, uint32_t mailbox,
	const struct numset *uids, int on, uint64_t *modseq)
{
	struct numset found = {0};
	struct mark m = {.own = c,
		.g = g,
		.mailbox = mailbox,
		.uids = uids,
		.on = on,
		.found = &found,
		.before = *modseq};
	enum err e = find(&m, to_mark_one);

	if (e == OK && m.differs) {
		e = mark_do(&m);
		*modseq = m.modseq;
	}
	numset_free(&found);
	return e;
}

/* ---- access keys ---- */

struct url_reset {
	const unsigned char *object_id;
	uint32_t mailbox;
	uint64_t modseq;
};

static enum err
url_reset_step(struct core_tx *tx, void *arg)
{
	struct url_reset *u = arg;
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	u->mailbox = 0;
	for (size_t i = 0; i < count && e == OK; i++) {
		struct core_box *b = &boxes[i];

		if (memcmp(b->r.object_id, u->object_id, sizeof(b->r.object_id)) != 0)
			continue;
		u->mailbox = b->r.id;
		/* So that a session that is about to sleep wakes for it. */
		if (b->r.highest_modseq < u->modseq)
			b->r.highest_modseq = u->modseq;
		e = core_tx_put(tx, INDEX_DB_META, index_key_meta(INDEX_META_URL_KEY, b->r.id),
			&u->modseq, sizeof(u->modseq));
		if (e == OK)
			e = core_box_put(tx, b);
	}
	free(boxes);
	return e == OK && !u->mailbox ? E_NOTFOUND : e;
}

enum err
core_guest_url_reset(struct index_core *c, struct core_guest *g, const unsigned char object_id[16],
	uint32_t *mailbox, uint64_t *modseq)
{
	struct url_reset u = {.object_id = object_id};
	enum err e = core_run(c, modseq_step, &u.modseq);

	if (e == OK)
		e = on_guest(g, 1, url_reset_step, &u);
	*mailbox = u.mailbox;
	*modseq = u.modseq;
	return e;
}
