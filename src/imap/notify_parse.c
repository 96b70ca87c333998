/* SPDX-License-Identifier: MIT */
#include "imap/notify_private.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* The arguments of NOTIFY (RFC 5465 section 8). */

static const struct {
	const char *name;
	enum notify_filter filter;
} filters[] = {
	{"SELECTED-DELAYED", NOTIFY_SELECTED_DELAYED},
	{"SELECTED", NOTIFY_SELECTED},
	{"INBOXES", NOTIFY_PERSONAL},
	{"PERSONAL", NOTIFY_PERSONAL},
	{"SUBSCRIBED", NOTIFY_SUBSCRIBED},
	{"SUBTREE", NOTIFY_SUBTREE},
	{"MAILBOXES", NOTIFY_MAILBOXES},
};
enum { FILTER_COUNT = sizeof(filters) / sizeof(filters[0]) };

/* MessageNew and MessageExpunge have bits of their own here: either one alone is an error. */
enum { MESSAGE_NEW = 1 << 16, MESSAGE_EXPUNGE = 1 << 17 };
enum { MESSAGE_EVENTS = MESSAGE_NEW | MESSAGE_EXPUNGE | IMAP_NOTIFY_FLAGS };

static const struct {
	const char *name;
	unsigned bit;
} events[] = {
	{"MessageNew", MESSAGE_NEW},
	{"MessageExpunge", MESSAGE_EXPUNGE},
	{"FlagChange", IMAP_NOTIFY_FLAGS},
	{"MailboxName", IMAP_NOTIFY_NAME},
	{"SubscriptionChange", IMAP_NOTIFY_SUBSCRIPTION},
	{"MailboxMetadataChange", IMAP_NOTIFY_METADATA},
	{"ServerMetadataChange", IMAP_NOTIFY_SERVER_METADATA},
};
enum { EVENT_COUNT = sizeof(events) / sizeof(events[0]) };

static int
is_selected(const struct notify_group *g)
{
	return g->filter == NOTIFY_SELECTED || g->filter == NOTIFY_SELECTED_DELAYED;
}

/* ---- mailboxes ---- */

static void
name_add(struct notify_request *r, struct notify_group *g, struct str name)
{
	if (r->name_total == NOTIFY_NAMES_MAX) {
		r->too_much = 1;
		return;
	}
	r->name_total++;
	if ((g->name_count & (g->name_count + 1)) == 0)
		g->names = mem_realloc(g->names, 2 * (g->name_count + 1), sizeof(*g->names));
	g->names[g->name_count++] = str_dup(name);
}

static int
name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* <one-or-more-mailbox> */
static enum err
names_parse(struct imap_parser *p, struct notify_request *r, struct notify_group *g)
{
	struct str name;
	size_t n = 0;

	(void)imap_parse_space(p);
	if (imap_parse_peek(p) != '(') {
		if (!imap_parse_mailbox(p, &name))
			name_add(r, g, name);
		return p->err;
	}
	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n))
		if (!imap_parse_mailbox(p, &name))
			name_add(r, g, name);
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a mailbox name");
	if (g->name_count)
		qsort(g->names, g->name_count, sizeof(*g->names), name_compare);
	return p->err;
}

static enum err
filter_parse(struct imap_parser *p, struct notify_request *r, struct notify_group *g)
{
	size_t start = p->at, i = 0;
	struct str word;

	if (imap_parse_word(p, "expected a mailbox filter", &word))
		return p->err;
	while (i < FILTER_COUNT && !str_is_i(word, filters[i].name))
		i++;
	if (i == FILTER_COUNT) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "there is no such mailbox filter");
	}
	g->filter = filters[i].filter;
	for (size_t k = 0; k + 1 < r->count && is_selected(g); k++) {
		if (is_selected(&r->groups[k])) {
			p->at = start;
			return imap_parser_fail(p, E_PARSE, "the selected mailbox is there twice");
		}
	}
	return g->filter == NOTIFY_SUBTREE || g->filter == NOTIFY_MAILBOXES ? names_parse(p, r, g)
									    : OK;
}

/* ---- events ---- */

static enum err
event_parse(struct imap_parser *p, struct notify_request *r, struct notify_group *g)
{
	size_t start = p->at, i = 0;
	struct str word;

	if (imap_parse_atom(p, "expected an event", &word))
		return p->err;
	while (i < EVENT_COUNT && !str_is_i(word, events[i].name))
		i++;
	/* AnnotationChange is among them: messages have no annotations. */
	if (i == EVENT_COUNT) {
		r->bad_event = 1;
		return OK;
	}
	g->events |= events[i].bit;
	if (is_selected(g) && !(events[i].bit & MESSAGE_EVENTS)) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "this is no event of the selected mailbox");
	}
	if (events[i].bit != MESSAGE_NEW || imap_parse_peek(p) != ' ' || p->at + 1 >= p->line.len ||
		p->line.p[p->at + 1] != '(')
		return OK;
	(void)imap_parse_space(p);
	if (!is_selected(g) || r->has_fetch)
		return imap_parser_fail(p, E_PARSE, "nothing is fetched from this mailbox");
	r->has_fetch = 1;
	return fetch_plan_parse_list(p, &r->fetch);
}

/* Section 5: those of messages go together. */
static enum err
events_check(struct imap_parser *p, struct notify_group *g)
{
	unsigned both = MESSAGE_NEW | MESSAGE_EXPUNGE;

	if ((g->events & MESSAGE_EVENTS) && (g->events & both) != both)
		return imap_parser_fail(
			p, E_PARSE, "MessageNew and MessageExpunge have to be there, both");
	if (g->events & both)
		g->events |= IMAP_NOTIFY_MESSAGES;
	g->events &= ~both;
	return p->err;
}

static enum err
group_parse(struct imap_parser *p, struct notify_request *r)
{
	struct notify_group *g;
	size_t n = 0;

	if (r->count == NOTIFY_GROUPS_MAX)
		return imap_parser_fail(p, E_TOOBIG, "too many event groups");
	r->groups = mem_realloc(r->groups, r->count + 1, sizeof(*r->groups));
	g = &r->groups[r->count++];
	*g = (struct notify_group){0};
	(void)imap_parse_open(p);
	(void)filter_parse(p, r, g);
	(void)imap_parse_space(p);
	if (!imap_parse_try_word(p, "NONE")) {
		int list = imap_parse_peek(p) == '(';

		/* The examples of the RFC leave the inner parentheses out. */
		if (list) {
			(void)imap_parse_open(p);
			while (imap_parse_item(p, &n))
				if (event_parse(p, r, g))
					break;
		} else {
			do {
				n++;
				(void)event_parse(p, r, g);
			} while (imap_parse_try(p, ' '));
		}
		if (!p->err && n == 0)
			return imap_parser_fail(p, E_PARSE, "expected an event");
	}
	/* With an event that is not known the rule of section 5 cannot be judged. */
	if (r->bad_event)
		g->events |= g->events & MESSAGE_EVENTS ? MESSAGE_NEW | MESSAGE_EXPUNGE : 0;
	(void)events_check(p, g);
	return imap_parse_close(p);
}

enum err
notify_request_parse(struct imap_parser *p, struct notify_request *out)
{
	*out = (struct notify_request){0};
	(void)imap_parse_space(p);
	if (imap_parse_try_word(p, "NONE")) {
		out->none = 1;
		return imap_parse_end(p);
	}
	if (!p->err && !imap_parse_try_word(p, "SET"))
		return imap_parser_fail(p, E_PARSE, "expected SET or NONE");
	(void)imap_parse_space(p);
	if (imap_parse_try_word(p, "STATUS")) {
		out->status = 1;
		(void)imap_parse_space(p);
	}
	do
		(void)group_parse(p, out);
	while (imap_parse_try(p, ' '));
	return imap_parse_end(p);
}

void
notify_request_fini(struct notify_request *r)
{
	for (size_t i = 0; i < r->count; i++) {
		for (size_t k = 0; k < r->groups[i].name_count; k++)
			free(r->groups[i].names[k]);
		free(r->groups[i].names);
	}
	free(r->groups);
	fetch_plan_fini(&r->fetch);
	*r = (struct notify_request){0};
}

/* ---- which mailboxes ---- */

static int
is_named(const struct notify_group *g, const char *name)
{
	return g->name_count &&
	       bsearch(&name, g->names, g->name_count, sizeof(*g->names), name_compare) != NULL;
}

/* Itself, or something above it. */
static int
is_in_subtree(const struct notify_group *g, const char *name)
{
	char *part = mem_strdup(name);
	int found = is_named(g, part);

	for (char *slash = strrchr(part, '/'); slash && !found; slash = strrchr(part, '/')) {
		*slash = '\0';
		found = is_named(g, part);
	}
	free(part);
	return found;
}

unsigned
notify_request_events(
	const struct notify_request *r, const char *name, int personal, int subscribed)
{
	unsigned wanted = 0;

	for (size_t i = 0; i < r->count; i++) {
		const struct notify_group *g = &r->groups[i];

		if ((g->filter == NOTIFY_PERSONAL && personal) ||
			(g->filter == NOTIFY_SUBSCRIBED && subscribed) ||
			(g->filter == NOTIFY_MAILBOXES && is_named(g, name)) ||
			(g->filter == NOTIFY_SUBTREE && is_in_subtree(g, name)))
			wanted |= g->events;
	}
	return wanted;
}
