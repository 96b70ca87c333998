/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_expand.h"

#include <pwd.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/forward.h"
#include "mta-lite/list_file.h"

/* An alias that was met on the way. */
struct met {
	char *address;
	int open; /* what stands behind it is being looked at */
};

struct walk {
	const struct rcpt_lookup *l;
	struct local_expansion *x;
	const char *top;
	struct met *met;
	size_t met_count;
	const char *user; /* whose .forward we are in, or NULL */
	/* tsearch(3) tree, each on the heap: what is in x->out, and each .forward on the way. */
	void *seen;
	struct buf *why;
	enum err err; /* ends it all */
};

/* Where an item of a list was read: what it may do, and what its names are completed with. */
struct place {
	const char *word; /* of allow_mail_to_commands and allow_mail_to_files */
	const char *where; /* for the log: an alias or a file */
	const char *alias; /* or the user with the .forward */
	unsigned depth;
	int forward; /* files and commands are the user's */
};

static void expand_list(struct walk *w, const struct place *p, struct str list);
static void expand_address(struct walk *w, const struct place *p, const struct alias_item *item);

static void
give_up(struct walk *w, enum err e, const char *what, const char *problem)
{
	if (w->err)
		return;
	w->err = e;
	buf_printf(w->why, "%s: %s", what, problem);
	log_event(LOGL_WARN, "local.alias failed", "to", w->top, "where", what, "error", problem,
		NULL);
}

static int
compare(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

/* 1: it was not there yet. */
static int
is_new(struct walk *w, const char *text)
{
	if (tfind(text, &w->seen, compare))
		return 0;
	(void)tsearch(mem_strdup(text), &w->seen, compare);
	return 1;
}

static struct queue_rcpt *
add(struct walk *w, const char *address, int local)
{
	if (w->x->out.rcpt_count >= QUEUE_RCPTS_MAX) {
		give_up(w, E_TOOBIG, w->top, "it leads to too many recipients");
		return NULL;
	}
	return is_new(w, address) ? queue_entry_add_rcpt(&w->x->out, address, "", 0, local) : NULL;
}

static void
add_failed(struct walk *w, const char *address, const char *dsn, const char *text)
{
	struct queue_rcpt *r = add(w, address, QUEUE_ELSEWHERE);

	if (r)
		queue_rcpt_set(r, QUEUE_FAILED, str_of(dsn), str_of(text), STR(""));
}

/* Files and commands, where they may stand. */
static void
add_target(struct walk *w, const struct place *p, const struct alias_item *item)
{
	const struct config *conf = w->l->conf;
	int command = item->kind == ALIAS_COMMAND;
	const struct conf_list *allowed =
		command ? &conf->allow_mail_to_commands : &conf->allow_mail_to_files;
	const char *address = p->forward ? p->alias : w->top;
	struct buf target = {0}, key = {0};

	if (!conf_list_has(allowed, str_of(p->word))) {
		give_up(w, E_ACCESS, p->where,
			command ? "allow_mail_to_commands does not let commands stand there"
				: "allow_mail_to_files does not let files stand there");
		return;
	}
	if (w->x->out.rcpt_count >= QUEUE_RCPTS_MAX) {
		give_up(w, E_TOOBIG, w->top, "it leads to too many recipients");
		return;
	}
	if (command)
		buf_add_char(&target, '|');
	buf_add_buf(&target, &item->text);
	/* The same as another user is another thing. */
	buf_printf(&key, "%s%s%s", p->forward ? address : "", p->forward ? " " : "",
		buf_cstr(&target));
	if (is_new(w, buf_cstr(&key))) {
		struct queue_rcpt *r = queue_entry_add_rcpt(
			&w->x->out, address, "", 0, p->forward ? QUEUE_FORWARD : QUEUE_TARGET);

		r->target = mem_strdup(buf_cstr(&target));
	}
	buf_free(&target);
	buf_free(&key);
}

/* ---- aliases ---- */

static struct met *
find_met(struct walk *w, const char *address)
{
	size_t i;

	for (i = 0; i < w->met_count; i++) {
		if (strcasecmp(w->met[i].address, address) == 0)
			return &w->met[i];
	}
	return NULL;
}

static void
meet(struct walk *w, const char *address)
{
	if ((w->met_count & (w->met_count - 1)) == 0)
		w->met = mem_realloc(w->met, w->met_count ? w->met_count * 2 : 1, sizeof(*w->met));
	w->met[w->met_count++] = (struct met){mem_strdup(address), 1};
}

/* What the directory has at an address that an alias of the same name leads to. */
static void
add_from_directory(struct walk *w, const char *address, int is_loop)
{
	struct auth_rcpt found;
	enum err e = rcpt_lookup_directory(w->l, str_of(address), &found);
	size_t i;

	if (e) {
		give_up(w, e, address, "the directory does not answer");
	} else if (found.kind == AUTH_RCPT_REMOTE) {
		(void)add(w, address, QUEUE_ELSEWHERE);
	} else if (found.target_count > 0 &&
		   (found.kind == AUTH_RCPT_MAILBOX || found.kind == AUTH_RCPT_ALIAS)) {
		for (i = 0; i < found.target_count; i++) {
			/* Whatever it is now: not this alias again. */
			if (found.targets[i].local != QUEUE_ALIAS)
				(void)add(w, found.targets[i].address, found.targets[i].local);
		}
	} else if (is_loop) {
		w->x->loops++;
		log_event(LOGL_WARN, "local.alias loop", "to", w->top, "alias", address, NULL);
	} else {
		add_failed(w, address, "5.1.1", "nobody here has this address");
	}
	auth_rcpt_free(&found);
}

static void
enter_forward(struct walk *w, const char *address, unsigned depth, const struct forward *f)
{
	const char *outer = w->user;
	char *key = mem_printf("forward %s", f->path);
	size_t i;

	if (!is_new(w, key)) {
		/* His own address in it is his mailbox. */
		add_from_directory(w, address, 1);
		free(key);
		return;
	}
	w->user = f->user;
	for (i = 0; i < f->count && !w->err; i++) {
		const struct forward_item *item = &f->items[i];
		const struct place p = {forward_word(item), item->where, address, depth + 1, 1};

		if (item->item.kind == ALIAS_ADDRESS)
			expand_address(w, &p, &item->item);
		else
			add_target(w, &p, &item->item);
	}
	w->user = outer;
	free(key);
}

/*
 * No alias, or not this one again (is_loop): what the user wants, else what the directory has.
 * Another user is one for a message of his own, so that going in circles shows.
 */
static void
expand_user(struct walk *w, const char *address, unsigned depth, int is_loop)
{
	struct forward f;
	enum err e = forward_find(w->l->conf, w->l->aliases, str_of(address), &f);

	if (e)
		give_up(w, e, address, "whether the user has a .forward cannot be told");
	else if (f.state == FORWARD_NONE)
		add_from_directory(w, address, is_loop);
	else if (depth > 0 && !is_loop && (!w->user || !f.user || strcmp(w->user, f.user) != 0))
		(void)add(w, address, QUEUE_ALIAS);
	else if (f.state == FORWARD_FAILED)
		give_up(w, E_TEMPFAIL, address, f.why);
	else
		enter_forward(w, address, depth, &f);
	forward_free(&f);
}

/* An alias with an owner is a list: its failures are the owner's, so it is a message of its own. */
static int
is_list(struct walk *w, const char *address, unsigned depth)
{
	struct buf owner = {0};
	enum err e = aliases_find_owner(w->l->aliases, str_of(address), &owner);

	if (e == OK && depth == 0)
		w->x->owner = buf_steal(&owner);
	buf_free(&owner);
	if (e != OK && e != E_NOTFOUND)
		give_up(w, e, address, "the tables of aliases do not answer");
	return e == OK && depth > 0;
}

static void
expand_alias(struct walk *w, const char *address, unsigned depth)
{
	struct place p = {"alias", address, address, depth, 0};
	struct buf value = BUF_INIT(MAP_VALUE_MAX);
	struct met *met = find_met(w, address);
	size_t at = w->met_count;
	enum err e;

	if (met) {
		if (met->open)
			expand_user(w, address, depth, 1);
		return;
	}
	if (depth > LOCAL_DEPTH_MAX) {
		give_up(w, E_TOOBIG, w->top, "the aliases nest too deeply");
		return;
	}
	if (is_list(w, address, depth)) {
		(void)add(w, address, QUEUE_ALIAS);
		return;
	}
	e = aliases_find(w->l->aliases, str_of(address), &value);
	if (e) {
		if (e != E_NOTFOUND || depth == 0)
			give_up(w, e, address, "the tables of aliases do not answer");
		else
			expand_user(w, address, depth, 0);
		buf_free(&value);
		return;
	}
	meet(w, address);
	expand_list(w, &p, buf_str(&value));
	w->met[at].open = 0;
	buf_free(&value);
}

static void
expand_address(struct walk *w, const struct place *p, const struct alias_item *item)
{
	struct buf full = {0};
	struct auth_rcpt found;
	const char *address;
	size_t i;
	enum err e;

	buf_add_buf(&full, &item->text);
	if (str_find(buf_str(&full), 0, '@') == full.len)
		buf_add_cstr(&full, strrchr(p->alias, '@'));
	address = buf_cstr(&full);
	if (item->exact) {
		add_from_directory(w, address, 0);
		buf_free(&full);
		return;
	}
	e = rcpt_lookup(w->l, str_of(address), &found);
	if (e == E_PARSE || e == E_RANGE || e == E_TOOBIG)
		add_failed(w, address, "5.1.3", "this is no address");
	else if (e)
		give_up(w, e, address, "the directory does not answer");
	else if (found.kind == AUTH_RCPT_REMOTE && found.target_count == 0)
		(void)add(w, address, QUEUE_ELSEWHERE);
	else if (found.kind == AUTH_RCPT_DISABLED)
		add_failed(w, address, "5.2.1", "the mailbox is switched off");
	else if (found.kind == AUTH_RCPT_LOOP)
		add_failed(w, address, "5.4.6", "its aliases go round in a circle");
	else if (found.target_count == 0)
		add_failed(w, address, "5.1.1", "nobody here has this address");
	for (i = 0; e == OK && i < found.target_count; i++) {
		if (found.targets[i].local == QUEUE_ALIAS)
			expand_alias(w, found.targets[i].address, p->depth + 1);
		else
			(void)add(w, found.targets[i].address, found.targets[i].local);
	}
	auth_rcpt_free(&found);
	buf_free(&full);
}

/* ---- :include: ---- */

static int
is_trusted_owner(const void *arg, uid_t uid)
{
	const struct config *conf = arg;
	size_t i;

	if (uid == 0 || uid == geteuid())
		return 1;
	for (i = 0; i < conf->alias_include_owners.count; i++) {
		const struct passwd *pw = getpwnam(conf->alias_include_owners.items[i]);

		if (pw && pw->pw_uid == uid)
			return 1;
	}
	return 0;
}

static void
expand_include(struct walk *w, const struct place *p, const char *path)
{
	const struct list_file_rules rules = {is_trusted_owner, w->l->conf,
		"its owner is neither root nor one of alias_include_owners"};
	struct buf text = {0}, where = {0};
	struct list_file_lines lines = {0};
	const char *problem;
	struct str list;

	if (list_file_read(path, &rules, &text, &problem))
		give_up(w, E_ACCESS, path, problem);
	lines.rest = buf_str(&text);
	while (!w->err && list_file_next(&lines, &list)) {
		struct place inner = {"include", NULL, p->alias, p->depth + 1, 0};

		buf_reset(&where);
		buf_printf(&where, "%s:%u", path, lines.line);
		inner.where = buf_cstr(&where);
		expand_list(w, &inner, list);
	}
	buf_free(&text);
	buf_free(&where);
}

/* ---- lists ---- */

static void
expand_list(struct walk *w, const struct place *p, struct str list)
{
	struct alias_item item = {0};
	const char *problem;
	enum err e = OK;

	if (p->depth > LOCAL_DEPTH_MAX)
		give_up(w, E_TOOBIG, w->top, "the aliases nest too deeply");
	while (!w->err && (e = alias_list_next(&list, &item, &problem)) != E_NOTFOUND) {
		/* Nobody's mail comes back for a slip in a file of ours. */
		if (e)
			give_up(w, e, p->where, problem);
		else if (item.kind == ALIAS_ADDRESS)
			expand_address(w, p, &item);
		else if (item.kind == ALIAS_INCLUDE)
			expand_include(w, p, buf_cstr(&item.text));
		else
			add_target(w, p, &item);
	}
	buf_free(&item.text);
}

enum err
local_expand(const struct rcpt_lookup *l, const char *address, struct local_expansion *x,
	struct buf *why)
{
	struct buf value = BUF_INIT(MAP_VALUE_MAX);
	struct walk w = {.l = l, .x = x, .top = address, .why = why};
	size_t i;

	memset(x, 0, sizeof(*x));
	w.err = aliases_find(l->aliases, str_of(address), &value);
	buf_free(&value);
	if (w.err == E_NOTFOUND) {
		/* A user; or it was an alias when the mail came. */
		w.err = OK;
		meet(&w, address);
		expand_user(&w, address, 0, 0);
	} else if (w.err) {
		buf_printf(why, "the tables of aliases do not answer");
		return w.err;
	} else {
		expand_alias(&w, address, 0);
	}
	if (!w.err && x->out.rcpt_count == 0 && x->loops == 0)
		give_up(&w, E_PARSE, address, "nothing stands behind this alias");
	tdestroy(w.seen, free);
	for (i = 0; i < w.met_count; i++)
		free(w.met[i].address);
	free(w.met);
	return w.err;
}

void
local_expansion_free(struct local_expansion *x)
{
	queue_entry_free(&x->out);
	MEM_FREE(x->owner);
}
