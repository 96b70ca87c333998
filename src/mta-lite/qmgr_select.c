/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/mem.h"

/* Files that are read in one turn of the loop: deliveries go on beside a large request. */
enum { SELECT_AT_ONCE = 100 };

/* What a message must be like; NULL and 0 ask for nothing. */
struct filter {
	const char *sender, *recipient, *destination;
	int64_t before, after; /* arrival, Unix time */
};

struct selection {
	struct qmgr *q;
	struct ctl_request *req;
	const struct qmgr_verb *verb; /* NULL: a look at all */
	const struct qmgr_look *look;
	void *arg;
	struct filter filter;
	char (*ids)[QUEUE_ID_SIZE];
	size_t count, next, size;
	json_int_t taken;
	json_t *list;
	struct event *timer;
};

static void
add_id(struct selection *s, const char *id)
{
	if (s->count == s->size) {
		s->size = s->size ? s->size * 2 : 64;
		s->ids = mem_realloc(s->ids, s->size, QUEUE_ID_SIZE);
	}
	memset(s->ids[s->count], 0, QUEUE_ID_SIZE);
	memcpy(s->ids[s->count++], id, strlen(id));
}

static void
add_dir(struct selection *s, enum queue_dir dir)
{
	DIR *d = qmgr_dir_open(s->q, dir);
	const char *id;

	while ((id = qmgr_dir_next(d)) != NULL)
		add_id(s, id);
	qmgr_dir_close(&d);
}

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* A message that moves between two directories while they are read is there twice. */
static void
sort_ids(struct selection *s)
{
	size_t i, kept = 0;

	if (s->count > 1)
		qsort(s->ids, s->count, QUEUE_ID_SIZE, compare_ids);
	for (i = 0; i < s->count; i++) {
		if (kept > 0 && strcmp(s->ids[kept - 1], s->ids[i]) == 0)
			continue;
		if (kept != i)
			memcpy(s->ids[kept], s->ids[i], QUEUE_ID_SIZE);
		kept++;
	}
	s->count = kept;
}

/* "user@domain" or "@domain" or "domain"; "<>" is the sender of reports. */
static int
address_matches(const char *pattern, const char *address)
{
	const char *at = strrchr(address, '@');

	if (strcmp(pattern, "<>") == 0)
		return address[0] == '\0';
	if (pattern[0] == '@')
		return at && strcasecmp(pattern, at) == 0;
	if (strchr(pattern, '@'))
		return strcasecmp(pattern, address) == 0;
	return at && strcasecmp(pattern, at + 1) == 0;
}

static int
has_recipient(const struct queue_entry *e, const char *pattern, int pending_only)
{
	size_t i;

	for (i = 0; i < e->rcpt_count; i++) {
		if ((!pending_only || e->rcpts[i].status == QUEUE_PENDING) &&
			address_matches(pattern, e->rcpts[i].address))
			return 1;
	}
	return 0;
}

static int
matches(const struct filter *f, const struct queue_entry *e)
{
	return (!f->sender || address_matches(f->sender, e->sender)) &&
	       (!f->recipient || has_recipient(e, f->recipient, 0)) &&
	       (!f->destination || has_recipient(e, f->destination, 1)) &&
	       (!f->before || e->arrival <= f->before) && (!f->after || e->arrival >= f->after);
}

static void
selection_end(struct selection *s)
{
	if (s->look)
		s->look->done(s->q, s->arg);
	else if (s->verb->lists)
		ctl_reply_ok(s->req, s->list);
	else
		ctl_reply_ok(s->req, json_pack("{s:I}", "messages", s->taken));
	event_free(s->timer);
	free(s->ids);
	free(s);
}

static void
look_at(struct selection *s, struct qmgr_message *m, int known)
{
	if (s->look->dirs & (1u << m->dir))
		s->look->each(s->q, m, s->arg);
	if (!known)
		qmgr_drop(m);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct selection *s = arg;
	struct timeval now = {0};
	unsigned n;

	(void)fd;
	(void)what;
	for (n = 0; n < SELECT_AT_ONCE && s->next < s->count; n++) {
		const char *id = s->ids[s->next++];
		int known = qmgr_find(s->q, str_of(id)) != NULL;
		struct qmgr_message *m = qmgr_load(s->q, str_of(id));

		if (m == NULL)
			continue;
		if (s->look)
			look_at(s, m, known);
		else if ((s->verb->dirs & (1u << m->dir)) && matches(&s->filter, &m->entry))
			s->taken += s->verb->run(s->q, m, s->list);
		else if (!known)
			qmgr_drop(m);
	}
	qmgr_pump(s->q);
	if (s->next == s->count)
		selection_end(s);
	else
		event_add(s->timer, &now);
}

static void
read_filter(const json_t *args, struct filter *f)
{
	int64_t now = (int64_t)time(NULL);
	json_t *older = json_object_get(args, "older"), *newer = json_object_get(args, "newer");

	f->sender = json_string_value(json_object_get(args, "sender"));
	f->recipient = json_string_value(json_object_get(args, "recipient"));
	f->destination = json_string_value(json_object_get(args, "destination"));
	if (json_is_integer(older))
		f->before = now - (int64_t)json_integer_value(older);
	if (json_is_integer(newer))
		f->after = now - (int64_t)json_integer_value(newer);
}

/* By ids, one of which may be wrong. 0: answered with an error. */
static int
add_named(struct selection *s, const json_t *ids)
{
	size_t i;
	json_t *one;

	json_array_foreach(ids, i, one)
	{
		const char *id = json_string_value(one);
		int known = id && qmgr_find(s->q, str_of(id)) != NULL;
		struct qmgr_message *m = id ? qmgr_load(s->q, str_of(id)) : NULL;

		if (m == NULL) {
			ctl_reply_error(s->req, E_NOTFOUND,
				"no message %.30s in the queue; `roostctl queue list` shows what "
				"is there",
				id ? id : "");
			return 0;
		}
		if (!(s->verb->dirs & (1u << m->dir))) {
			ctl_reply_error(s->req, E_STATE, "message %.30s is %s", id,
				m->dir == QUEUE_HOLD ? "on hold" : "not on hold");
			if (!known)
				qmgr_drop(m);
			return 0;
		}
		add_id(s, m->entry.id);
		if (!known)
			qmgr_drop(m);
	}
	return 1;
}

static void
begin(struct selection *s)
{
	struct timeval now = {0};

	s->timer = evtimer_new(service_base(s->q->run), on_turn, s);
	event_add(s->timer, &now);
}

void
qmgr_look(struct qmgr *q, const struct qmgr_look *look, void *arg)
{
	struct selection *s = MEM_NEW(struct selection);
	int dir;

	*s = (struct selection){.q = q, .look = look, .arg = arg};
	for (dir = 0; dir < QUEUE_CORRUPT; dir++) {
		if (look->dirs & (1u << dir))
			add_dir(s, (enum queue_dir)dir);
	}
	sort_ids(s);
	begin(s);
}

void
qmgr_select(
	struct qmgr *q, struct ctl_request *req, const json_t *args, const struct qmgr_verb *verb)
{
	const json_t *ids = json_object_get(args, "ids");
	const char *queue = json_string_value(json_object_get(args, "queue"));
	struct selection *s = MEM_NEW(struct selection);
	int dir;

	*s = (struct selection){.q = q, .req = req, .verb = verb};
	read_filter(args, &s->filter);
	if (json_array_size(ids) > 0) {
		if (!add_named(s, ids)) {
			free(s->ids);
			free(s);
			return;
		}
	} else if (verb->needs_selection && !s->filter.sender && !s->filter.recipient &&
		   !s->filter.destination && !s->filter.before && !s->filter.after && !queue &&
		   !json_is_true(json_object_get(args, "all"))) {
		ctl_reply_error(req, E_PARSE,
			"say which: ids, --sender, --recipient, --site, --older, --newer, --queue "
			"or --all");
		free(s);
		return;
	} else {
		for (dir = 0; dir < QUEUE_CORRUPT; dir++) {
			if ((verb->dirs & (1u << dir)) &&
				(!queue || strcmp(queue, queue_dir_name((enum queue_dir)dir)) == 0))
				add_dir(s, (enum queue_dir)dir);
		}
		sort_ids(s);
	}
	s->list = verb->lists ? json_array() : NULL;
	begin(s);
}
