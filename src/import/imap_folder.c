/* SPDX-License-Identifier: MIT */
#include "import/imap_folder.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/mutf7.h"

void
imap_folders_free(struct imap_folders *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->all[i].source);
		free(f->all[i].name);
	}
	MEM_FREE(f->all);
	f->count = f->cap = 0;
}

/* ---- names ---- */

/* A level cannot hold what separates levels here and on disk. */
static void
add_level(struct str level, struct buf *out)
{
	struct buf utf8 = {0};

	/* A server that speaks UTF-8, or none of the two. */
	if (mutf7_to_utf8(level, &utf8) != OK) {
		for (size_t i = 0; i < level.len; i++)
			buf_add_char(&utf8,
				str_is_utf8(level) || !(level.p[i] & 0x80) ? level.p[i] : '?');
	}
	for (size_t i = 0; i < utf8.len; i++) {
		char c = utf8.p[i];

		buf_add_char(out, c == '/' || c == '.' || (unsigned char)c < ' ' ? '_' : c);
	}
	buf_free(&utf8);
}

void
imap_folder_name(struct str source, char separator, struct str prefix, struct buf *out)
{
	int first = 1;

	if (str_is_i(source, "INBOX")) {
		buf_add_cstr(out, "INBOX");
		return;
	}
	if (prefix.len && source.len > prefix.len && str_starts_i(source, prefix.p)) {
		source.p += prefix.len;
		source.len -= prefix.len;
	}
	while (source.p) {
		struct str level = separator ? str_split(&source, separator) : source;

		if (!separator)
			source = (struct str){0};
		if (!level.len)
			continue;
		if (!first)
			buf_add_char(out, '/');
		if (first && str_is_i(level, "INBOX"))
			buf_add_cstr(out, "INBOX");
		else
			add_level(level, out);
		first = 0;
	}
}

/* ---- what the server has ---- */

struct listing {
	struct imap_folders *folders;
	struct imap_namespaces spaces;
	struct buf separators; /* one for each folder */
	int subscribed; /* LSUB answers now */
};

static enum err
on_namespace(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct listing *l = arg;

	(void)c;
	if (strcmp(u->word, "NAMESPACE") != 0)
		return OK;
	*taken = 1;
	imap_namespaces_free(&l->spaces);
	return imap_namespaces_read(in, &l->spaces);
}

static struct imap_folder *
folder_find(struct imap_folders *f, struct str source)
{
	for (size_t i = 0; i < f->count; i++)
		if (str_is(source, f->all[i].source) ||
			(str_is_i(source, "INBOX") && str_is_i(str_of(f->all[i].source), "INBOX")))
			return &f->all[i];
	return NULL;
}

static enum err
on_list(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct listing *l = arg;
	struct imap_folders *f = l->folders;
	struct imap_list item;
	struct imap_folder *known;
	enum err e;

	(void)c;
	if (strcmp(u->word, l->subscribed ? "LSUB" : "LIST") != 0)
		return OK;
	*taken = 1;
	e = imap_list_read(in, &item);
	if (e == OK && item.name.len && !str_has_control(buf_str(&item.name))) {
		known = folder_find(f, buf_str(&item.name));
		if (l->subscribed) {
			if (known && !item.no_select)
				known->subscribed = 1;
		} else if (!known && f->count < INDEX_MAILBOXES_MAX) {
			if (f->count == f->cap) {
				f->cap = f->cap ? f->cap * 2 : 32;
				f->all = mem_realloc(f->all, f->cap, sizeof(*f->all));
			}
			f->all[f->count++] =
				(struct imap_folder){.source = str_dup(buf_str(&item.name)),
					.special_use = item.special_use,
					.no_select = item.no_select};
			buf_add_char(&l->separators, item.separator);
		}
	}
	buf_free(&item.name);
	return e;
}

/* Not ours: below the prefix of another namespace. */
static int
is_foreign(const struct listing *l, const char *source)
{
	for (size_t i = 0; i < l->spaces.count; i++) {
		const struct imap_namespace *n = &l->spaces.all[i];
		size_t len = strlen(n->prefix);

		if (!n->personal && len && strncmp(source, n->prefix, len) == 0)
			return 1;
	}
	return 0;
}

/* The longest personal prefix that the name begins with. */
static struct str
prefix_of(const struct listing *l, const char *source)
{
	struct str best = {0};

	for (size_t i = 0; i < l->spaces.count; i++) {
		struct str prefix = str_of(l->spaces.all[i].prefix);

		if (l->spaces.all[i].personal && prefix.len > best.len &&
			str_starts_i(str_of(source), prefix.p))
			best = prefix;
	}
	return best;
}

/* Without NAMESPACE: a server whose folders are all below INBOX has that as its prefix. */
static void
guess_namespace(struct listing *l)
{
	char prefix[] = "INBOX?";
	size_t below = 0;

	for (size_t i = 0; i < l->folders->count; i++) {
		const char *source = l->folders->all[i].source;

		if (str_is_i(str_of(source), "INBOX"))
			continue;
		prefix[5] = l->separators.p[i];
		if (!prefix[5] || !str_starts_i(str_of(source), prefix))
			return;
		below++;
	}
	if (below)
		l->spaces.all[l->spaces.count++] = (struct imap_namespace){
			.prefix = mem_strdup(prefix), .separator = prefix[5], .personal = 1};
}

/* ---- what is wanted of it ---- */

static int
matches(const char *name, const char *const *patterns, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			return 1;
	return 0;
}

/* OLD=NEW renames OLD and what is below it. */
static int
map_name(struct imap_folder *f, const struct imap_wishes *w)
{
	for (size_t i = 0; i < w->map_count; i++) {
		struct str to = str_of(w->map[i]), from = str_split(&to, '=');

		if (strlen(f->name) >= from.len && memcmp(f->name, from.p, from.len) == 0 &&
			(f->name[from.len] == '\0' || f->name[from.len] == '/')) {
			char *name = mem_printf("%.*s%s", STR_ARG(to), f->name + from.len);

			free(f->name);
			f->name = name;
			return 1;
		}
	}
	return 0;
}

struct use_search {
	unsigned use;
	char *name;
};

static enum err
find_use(const struct index_mailbox *m, void *arg)
{
	struct use_search *s = arg;

	if (m->special_use == s->use && !s->name)
		s->name = mem_strdup(m->name);
	return OK;
}

/* What the server calls "Sent Items" is the user's "Sent", if that has the same use. */
static void
adopt_use(struct imap_folder *f, struct index_user *u)
{
	struct use_search s = {.use = f->special_use};

	if (index_mailbox_each(u, find_use, &s) == OK && s.name) {
		free(f->name);
		f->name = s.name;
		s.name = NULL;
	}
	free(s.name);
}

/* Gives it its name here. 0: not wanted. */
static int
choose(struct listing *l, size_t i, struct index_user *u, const struct imap_wishes *w)
{
	struct imap_folder *f = &l->folders->all[i];
	struct buf name = {0};
	int asked;

	imap_folder_name(str_of(f->source), l->separators.p[i], prefix_of(l, f->source), &name);
	f->name = mem_strdup(buf_cstr(&name));
	buf_free(&name);
	asked = w->only_count && matches(f->name, w->only, w->only_count);
	if (f->no_select || (w->only_count && !asked) ||
		matches(f->name, w->except, w->except_count))
		return 0;
	if (!asked &&
		(is_foreign(l, f->source) || f->special_use & (INDEX_USE_ALL | INDEX_USE_FLAGGED)))
		return 0;
	if (!map_name(f, w) && f->special_use && !w->keep_names &&
		!str_is(str_of(f->name), "INBOX"))
		adopt_use(f, u);
	return 1;
}

static int
compare_folders(const void *a, const void *b)
{
	const struct imap_folder *x = a, *y = b;
	int x_inbox = strcmp(x->name, "INBOX") == 0, y_inbox = strcmp(y->name, "INBOX") == 0;

	return x_inbox != y_inbox ? y_inbox - x_inbox : strcmp(x->name, y->name);
}

static enum err
on_status(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct imap_folder *f = arg;
	struct buf name = BUF_INIT(IMAP_IN_TEXT_MAX);
	struct imap_token t;
	int next = 0;
	enum err e;

	(void)c;
	if (strcmp(u->word, "STATUS") != 0)
		return OK;
	*taken = 1;
	e = imap_in_string(in, &name, NULL);
	while (e == OK && (e = imap_in_token(in, &t)) == OK && t.kind != IMAP_EOL) {
		if (t.kind == IMAP_LITERAL)
			e = imap_in_literal(in, t.size, NULL, NULL);
		else if (next && t.kind == IMAP_ATOM)
			(void)str_to_u32(t.text, &f->messages);
		next = t.kind == IMAP_ATOM && str_is_i(t.text, "MESSAGES");
	}
	buf_free(&name);
	return e;
}

static enum err
ask_sizes(struct imap_client *c, struct imap_folders *f)
{
	enum err e = OK;

	for (size_t i = 0; i < f->count && !imap_client_is_broken(e); i++) {
		struct buf name = {0};

		e = imap_quote(str_of(f->all[i].source), &name);
		e = e ? e
		      : imap_client_run(
				c, on_status, &f->all[i], "STATUS %s (MESSAGES)", buf_cstr(&name));
		buf_free(&name);
	}
	return imap_client_is_broken(e) ? e : OK;
}

enum err
imap_folders_list(struct imap_client *c, struct index_user *u, const struct imap_wishes *wishes,
	struct imap_folders *out)
{
	struct listing l = {.folders = out};
	size_t n = 0;
	enum err e = OK;

	*out = (struct imap_folders){0};
	if (imap_client_can(c, "NAMESPACE"))
		e = imap_client_run(c, on_namespace, &l, "NAMESPACE");
	if (e == OK || e == E_ACCESS)
		e = imap_client_run(c, on_list, &l,
			imap_client_can(c, "SPECIAL-USE") && imap_client_can(c, "LIST-EXTENDED")
				? "LIST \"\" \"*\" RETURN (SPECIAL-USE)"
				: "LIST \"\" \"*\"");
	if (e == OK) {
		if (!l.spaces.count)
			guess_namespace(&l);
		l.subscribed = 1;
		e = imap_client_run(c, on_list, &l, "LSUB \"\" \"*\"");
		e = e == E_ACCESS ? OK : e;
	}
	for (size_t i = 0; i < out->count; i++) {
		if (e == OK && choose(&l, i, u, wishes)) {
			out->all[n++] = out->all[i];
		} else {
			free(out->all[i].source);
			free(out->all[i].name);
		}
	}
	out->count = n;
	if (n)
		qsort(out->all, n, sizeof(*out->all), compare_folders);
	if (e == OK)
		e = ask_sizes(c, out);
	imap_namespaces_free(&l.spaces);
	buf_free(&l.separators);
	return e;
}
