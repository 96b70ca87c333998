/* SPDX-License-Identifier: MIT */
#include "lib/session_sleepers.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/session.h"

void
session_tell_ended(struct ipc_conn *origin, uint32_t request)
{
	if (origin)
		ipc_conn_send(origin, SESSION_ENDED, request, (struct str){0}, NULL, 0);
}

struct session_sleeper **
session_sleeper_find(struct session_sleepers *l, const char *id)
{
	struct session_sleeper **at;
	unsigned h = 0;

	for (const char *c = id; *c; c++)
		h = h * 31 + (unsigned char)*c;
	at = &l->buckets[h % SESSION_SLEEPER_BUCKETS];
	while (*at && strcmp((*at)->id, id) != 0)
		at = &(*at)->next;
	return at;
}

struct session_sleeper *
session_sleeper_add(
	struct session_sleepers *l, const char *id, struct ipc_conn *origin, uint32_t request)
{
	struct session_sleeper *s = MEM_NEW(struct session_sleeper);

	s->id = mem_strdup(id);
	s->origin = origin;
	s->request = request;
	*session_sleeper_find(l, id) = s;
	l->count++;
	return s;
}

void
session_sleeper_remove(struct session_sleepers *l, struct session_sleeper **at)
{
	struct session_sleeper *s = *at;

	*at = s->next;
	l->count--;
	free(s->id);
	free(s);
}

void
session_sleeper_ended(struct session_sleepers *l, const char *id)
{
	struct session_sleeper **at = session_sleeper_find(l, id);

	if (!*at)
		return;
	session_tell_ended((*at)->origin, (*at)->request);
	session_sleeper_remove(l, at);
}

void
session_sleepers_end(struct session_sleepers *l, int tell)
{
	for (size_t i = 0; i < SESSION_SLEEPER_BUCKETS; i++)
		while (l->buckets[i]) {
			if (tell)
				session_tell_ended(l->buckets[i]->origin, l->buckets[i]->request);
			session_sleeper_remove(l, &l->buckets[i]);
		}
}

void
session_sleepers_forget(struct session_sleepers *l, const struct ipc_conn *origin)
{
	for (size_t i = 0; i < SESSION_SLEEPER_BUCKETS; i++)
		for (struct session_sleeper *s = l->buckets[i]; s; s = s->next)
			if (s->origin == origin)
				s->origin = NULL;
}
