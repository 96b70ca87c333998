/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdlib.h>
#include <string.h>

#include "index/core_guest.h"
#include "index/index_proto.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The guests of a user who is open: for each of them one index (core_guest.h), which all of his
 * connections read. It follows the owner's behind each change, from the loop; what a guest does
 * himself is in it before he is answered.
 */

struct index_guest {
	struct index_guest *next; /* of the owner */
	struct index_user_entry *owner;
	char *name, *dir, *tmp;
	struct core_guest *core;
	unsigned conns;
	struct numset dirty; /* mailboxes that are to be followed */
	int dirty_all;
};

struct core_guest *
index_guest_core(const struct index_guest *g)
{
	return g->core;
}

const char *
index_guest_tmp(const struct index_guest *g)
{
	return g->tmp;
}

const char *
index_guest_dir(const struct index_guest *g)
{
	return g->dir;
}

/* ---- following ---- */

void
index_guest_note(struct index_user_entry *u, uint32_t mailbox)
{
	struct timeval now = {0, 0};

	for (struct index_guest *g = u->guests; g; g = g->next) {
		if (mailbox)
			numset_add(&g->dirty, mailbox);
		else
			g->dirty_all = 1;
	}
	if (u->guests && !event_pending(u->guests_event, EV_TIMEOUT, NULL))
		event_add(u->guests_event, &now);
}

static void
tell_watchers(const struct index_guest *g, const struct numset *changed, int tree)
{
	for (struct index_conn *c = g->owner->conns; c; c = c->next) {
		if (c->guest != g)
			continue;
		for (size_t i = 0; i < changed->count; i++)
			for (uint64_t id = changed->ranges[i].first; id <= changed->ranges[i].last;
				id++)
				index_watch_tell(c, (uint32_t)id, 0);
		if (tree)
			index_watch_tell(c, 0, 0);
	}
}

static enum err
follow(struct index_guest *g)
{
	struct numset dirty = g->dirty, changed = {0};
	struct index_core *core = g->owner->core;
	int tree = 0, all = g->dirty_all;
	enum err e = OK;

	g->dirty = (struct numset){0};
	g->dirty_all = 0;
	if (all)
		e = core_guest_sync(core, g->core, 0, &changed, &tree);
	for (size_t i = 0; i < dirty.count && !all && e == OK; i++)
		for (uint64_t id = dirty.ranges[i].first; id <= dirty.ranges[i].last && e == OK;
			id++)
			e = core_guest_sync(core, g->core, (uint32_t)id, &changed, &tree);
	if (e == OK)
		tell_watchers(g, &changed, tree);
	numset_free(&dirty);
	numset_free(&changed);
	return e;
}

/* After an error with the guest's index: the next one who comes gets another. */
static void
guest_end(struct index_guest *g, enum err e)
{
	struct index_user_entry *u = g->owner;
	char *dir = mem_strdup(g->dir);
	struct index_conn *c, *next;

	log_event(LOGL_ERROR, "index.guest discarded", "user", u->name, "guest", g->name, "error",
		err_word(e), NULL);
	for (c = u->conns; c; c = next) {
		next = c->next;
		if (c->guest == g)
			index_conn_end(c);
	}
	/* The last of them took g along. */
	if (index_core_discard(dir))
		log_event(LOGL_ERROR, "index.discard failed", "dir", dir, NULL);
	free(dir);
}

void
index_guest_settle_all(struct index_user_entry *u)
{
	struct index_guest *next;

	for (struct index_guest *g = u->guests; g; g = next) {
		enum err e;

		next = g->next;
		if (!g->dirty_all && numset_is_empty(&g->dirty))
			continue;
		e = u->corrupt ? OK : follow(g);
		if (e)
			guest_end(g, e);
	}
}

void
index_guest_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	index_guest_settle_all(arg);
}

enum err
index_guest_settle(struct index_conn *c)
{
	struct index_guest *g = c->guest;
	enum err e = follow(g);

	if (e)
		guest_end(g, e);
	return e;
}

void
index_guest_discard(struct index_conn *c)
{
	guest_end(c->guest, E_CORRUPT);
}

/* ---- coming and going ---- */

static void
guest_free(struct index_guest *g)
{
	struct index_guest **at = &g->owner->guests;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	core_guest_close(&g->core);
	numset_free(&g->dirty);
	free(g->name);
	free(g->dir);
	free(g->tmp);
	free(g);
}

enum err
index_guest_enter(struct index_conn *c, const struct index_open *o)
{
	struct index_user_entry *u = c->user;
	struct index_guest *g = u->guests;
	enum err e;

	while (g && strcmp(g->name, o->guest) != 0)
		g = g->next;
	/* His index was removed under those who read it. */
	if (g && core_guest_is_gone(g->core)) {
		guest_end(g, E_NOTFOUND);
		g = NULL;
	}
	if (!g) {
		g = MEM_NEW(struct index_guest);
		g->owner = u;
		g->name = mem_strdup(o->guest);
		g->dir = mem_strdup(o->guest_dir);
		g->tmp = mem_printf("%s/tmp", o->guest_maildir);
		g->dirty_all = 1;
		g->next = u->guests;
		u->guests = g;
		e = core_guest_open(u->core, g->name, g->dir, &g->core);
		if (e) {
			guest_free(g);
			return e;
		}
	}
	/* Those of his latest log-in count for all of his sessions. */
	if (strcmp(core_guest_who(g->core).groups, o->acl_groups) != 0) {
		core_guest_set_groups(g->core, o->acl_groups);
		g->dirty_all = 1;
	}
	e = follow(g);
	if (e == E_CORRUPT && g->conns == 0) {
		core_guest_close(&g->core);
		e = index_core_discard(g->dir);
		e = e ? e : core_guest_open(u->core, g->name, g->dir, &g->core);
		if (e == OK)
			core_guest_set_groups(g->core, o->acl_groups);
		g->dirty_all = 1;
		e = e ? e : follow(g);
	}
	if (e && g->conns == 0) {
		guest_free(g);
		return e;
	}
	if (e)
		return e;
	g->conns++;
	c->guest = g;
	return OK;
}

void
index_guest_leave(struct index_conn *c)
{
	struct index_guest *g = c->guest;

	c->guest = NULL;
	if (g && --g->conns == 0)
		guest_free(g);
}
