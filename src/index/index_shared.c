/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "auth/ticket.h"
#include "index/core_guest.h"
#include "index/entry_file.h"
#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/rights.h"

/*
 * The dictionary is one JSON file, read when the service starts and written when it changes, which
 * is when somebody begins or ends to share with somebody. All threads share it.
 *
 * Where the file is gone it is made anew by a walk through mail_dir; homes that are not
 * <domain>/<local> do not say whose they are, and their owners come in when they are next opened.
 */

enum { GUEST_OWNERS_MAX = 1000 }; /* whose mail one guest is let into */

struct shared_owner {
	struct index_owner o;
	struct entry_list ids; /* identifiers; the values are empty */
	int urls; /* he has keys for URLs with an authorization */
};
struct index_shared {
	pthread_mutex_t mutex;
	char *path;
	int other_domains;
	struct shared_owner *items;
	size_t count;
};

void
index_owner_free(struct index_owner *o)
{
	MEM_FREE(o->user);
	MEM_FREE(o->home);
	MEM_FREE(o->quota_rules);
}

void
index_owner_copy(struct index_owner *to, const struct index_owner *from)
{
	index_owner_free(to);
	*to = *from;
	to->user = mem_strdup(from->user);
	to->home = mem_strdup(from->home);
	to->quota_rules = mem_strdup(from->quota_rules ? from->quota_rules : "");
}

static struct shared_owner *
owner_find(struct index_shared *s, const char *user)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->items[i].o.user, user) == 0)
			return &s->items[i];
	return NULL;
}

static struct shared_owner *
owner_add(struct index_shared *s, const struct index_owner *o)
{
	s->items = mem_realloc(s->items, s->count + 1, sizeof(*s->items));
	s->items[s->count] = (struct shared_owner){0};
	index_owner_copy(&s->items[s->count].o, o);
	return &s->items[s->count++];
}

static void
owner_remove(struct index_shared *s, struct shared_owner *x)
{
	index_owner_free(&x->o);
	entry_list_free(&x->ids);
	*x = s->items[--s->count];
}

/* ---- the file ---- */

static void
save(const struct index_shared *s)
{
	json_t *all = json_array();
	char *text;

	for (size_t i = 0; i < s->count; i++) {
		const struct shared_owner *x = &s->items[i];
		json_t *ids = json_array();

		for (size_t k = 0; k < x->ids.count; k++)
			json_array_append_new(ids, json_string(x->ids.items[k].name));
		json_array_append_new(all,
			json_pack("{s:s, s:s, s:I, s:I, s:s, s:o, s:b}", "user", x->o.user, "home",
				x->o.home, "quota_bytes", (json_int_t)x->o.quota_bytes,
				"quota_messages", (json_int_t)x->o.quota_messages, "quota_rules",
				x->o.quota_rules, "shares_with", ids, "urls", x->urls));
	}
	text = json_dumps(all, JSON_INDENT(1));
	if (!text || io_write_file_atomic(s->path, text, strlen(text), 0600))
		log_event(LOGL_ERROR, "index.shared write failed", "path", s->path, NULL);
	free(text);
	json_decref(all);
}

static void
load_one(struct index_shared *s, const json_t *row)
{
	json_t *ids = json_object_get(row, "shares_with"), *id;
	struct index_owner o = {
		.user = (char *)json_string_value(json_object_get(row, "user")),
		.home = (char *)json_string_value(json_object_get(row, "home")),
		.quota_bytes = (uint64_t)json_integer_value(json_object_get(row, "quota_bytes")),
		.quota_messages =
			(uint64_t)json_integer_value(json_object_get(row, "quota_messages")),
		.quota_rules = (char *)json_string_value(json_object_get(row, "quota_rules")),
	};
	struct shared_owner *x;
	size_t i;

	if (!o.user || !o.home || owner_find(s, o.user))
		return;
	x = owner_add(s, &o);
	x->urls = json_is_true(json_object_get(row, "urls"));
	json_array_foreach(ids, i, id)
	{
		const char *name = json_string_value(id);

		if (name && name[0])
			entry_list_set(&x->ids, str_of(name), STR(""));
	}
}

/* ---- made anew ---- */

static void
folder_look(struct entry_list *ids, int maildir, const char *dir)
{
	struct entry_list l;

	if (entry_file_read(maildir, dir, ENTRY_FILE_ACL, &l, NULL) == OK)
		for (size_t i = 0; i < l.count; i++)
			if (rights_entry_gives(str_of(l.items[i].name), buf_str(&l.items[i].value)))
				entry_list_set(ids, str_of(l.items[i].name), STR(""));
	entry_list_free(&l);
}

static int
urls_look(int maildir)
{
	struct entry_list l;
	int any = entry_file_read(maildir, "", ENTRY_FILE_URLAUTH, &l, NULL) == OK && l.count;

	entry_list_free(&l);
	return any;
}

static void
home_look(struct index_shared *s, const char *domain, const char *local, const char *home)
{
	char *path = mem_printf("%s/Maildir", home), *user = mem_printf("%s@%s", local, domain);
	struct entry_list ids = {0};
	DIR *d = opendir(path);
	int urls = 0;

	if (d) {
		urls = urls_look(dirfd(d));
		folder_look(&ids, dirfd(d), "");
		for (struct dirent *e; (e = readdir(d)) != NULL;)
			if (e->d_name[0] == '.' && e->d_name[1] && e->d_name[1] != '.')
				folder_look(&ids, dirfd(d), e->d_name);
		closedir(d);
	}
	if (ids.count || urls) {
		/* What he may have shows when he is next opened; index_owner_copy reads NULL so. */
		struct index_owner o = {.user = user, .home = (char *)home};
		struct shared_owner *x = owner_add(s, &o);

		x->ids = ids;
		x->urls = urls;
	}
	free(user);
	free(path);
}

static void
domain_look(struct index_shared *s, const char *mail_dir, const char *domain)
{
	char *path = mem_printf("%s/%s", mail_dir, domain);
	DIR *d = opendir(path);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		char *home = mem_printf("%s/%s", path, e->d_name);

		if (e->d_name[0] != '.')
			home_look(s, domain, e->d_name, home);
		free(home);
	}
	if (d)
		closedir(d);
	free(path);
}

static void
walk(struct index_shared *s, const char *mail_dir)
{
	DIR *d = opendir(mail_dir);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.')
			domain_look(s, mail_dir, e->d_name);
	if (d)
		closedir(d);
	log_event(LOGL_INFO, "index.shared made", "owners", log_u64(s->count), NULL);
	save(s);
}

struct index_shared *
index_shared_open(const char *dir, const char *mail_dir, int other_domains)
{
	struct index_shared *s = MEM_NEW(struct index_shared);
	json_t *all;
	size_t i;

	pthread_mutex_init(&s->mutex, NULL);
	s->path = mem_printf("%s/.roost-shared.json", dir);
	s->other_domains = other_domains;
	all = json_load_file(s->path, 0, NULL);
	if (json_is_array(all))
		for (i = 0; i < json_array_size(all); i++)
			load_one(s, json_array_get(all, i));
	else
		walk(s, mail_dir);
	json_decref(all);
	return s;
}

void
index_shared_close(struct index_shared **sp)
{
	struct index_shared *s = *sp;

	if (!s)
		return;
	while (s->count)
		owner_remove(s, &s->items[s->count - 1]);
	free(s->items);
	free(s->path);
	pthread_mutex_destroy(&s->mutex);
	MEM_FREE(*sp);
}

/* ---- learning ---- */

static void
id_add(struct str identifier, void *arg)
{
	entry_list_set(arg, identifier, STR(""));
}

static int
same_ids(const struct entry_list *a, const struct entry_list *b)
{
	if (a->count != b->count)
		return 0;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i].name, b->items[i].name) != 0)
			return 0;
	return 1;
}

static int
same_owner(const struct index_owner *a, const struct index_owner *b)
{
	return strcmp(a->home, b->home) == 0 && a->quota_bytes == b->quota_bytes &&
	       a->quota_messages == b->quota_messages &&
	       strcmp(a->quota_rules, b->quota_rules) == 0;
}

void
index_shared_learn(struct index_user_entry *u)
{
	struct index_shared *s = u->worker->service->shared;
	struct entry_list ids = {0};
	struct shared_owner *x;
	int urls = index_core_url_any(u->core);

	if (core_guest_identifiers(u->core, id_add, &ids)) {
		entry_list_free(&ids);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	x = owner_find(s, u->owner.user);
	if (x && x->urls == urls && same_ids(&x->ids, &ids) && same_owner(&x->o, &u->owner)) {
		entry_list_free(&ids);
	} else if (x || ids.count || urls) {
		if (x)
			owner_remove(s, x);
		if (ids.count || urls) {
			x = owner_add(s, &u->owner);
			x->ids = ids;
			x->urls = urls;
		}
		save(s);
	}
	pthread_mutex_unlock(&s->mutex);
}

void
index_shared_forget(struct index_shared *s, const char *user)
{
	struct shared_owner *x;

	pthread_mutex_lock(&s->mutex);
	x = owner_find(s, user);
	if (x) {
		owner_remove(s, x);
		save(s);
	}
	pthread_mutex_unlock(&s->mutex);
}

/* ---- asking ---- */

int
index_shared_url_owner(struct index_shared *s, const char *user, struct index_owner *out)
{
	const struct shared_owner *x;
	int urls;

	pthread_mutex_lock(&s->mutex);
	x = owner_find(s, user);
	urls = x && x->urls;
	if (urls)
		index_owner_copy(out, &x->o);
	pthread_mutex_unlock(&s->mutex);
	return urls;
}

static int
same_domain(const char *a, const char *b)
{
	const char *x = strrchr(a, '@'), *y = strrchr(b, '@');

	return x && y && strcmp(x, y) == 0;
}

static int
shares_with(
	const struct index_shared *s, const struct shared_owner *x, const struct rights_who *guest)
{
	if (strcmp(x->o.user, guest->user) == 0 ||
		(!s->other_domains && !same_domain(x->o.user, guest->user)))
		return 0;
	for (size_t i = 0; i < x->ids.count; i++)
		if (rights_identifier_means(str_of(x->ids.items[i].name), guest))
			return 1;
	return 0;
}

int
index_shared_with(
	struct index_shared *s, const char *user, const char *guest, struct index_owner *out)
{
	const struct rights_who who = {.user = guest};
	const struct shared_owner *x;
	int shares;

	pthread_mutex_lock(&s->mutex);
	x = owner_find(s, user);
	shares = x && shares_with(s, x, &who);
	if (shares)
		index_owner_copy(out, &x->o);
	pthread_mutex_unlock(&s->mutex);
	return shares;
}

static enum err
grant_put(const struct index_conn *c, const struct index_owner *o, struct buf *body)
{
	const struct index_user_entry *u = c->user;
	struct ticket t = {.user = o->user,
		.home = o->home,
		.quota_bytes = o->quota_bytes,
		.quota_messages = o->quota_messages,
		.quota_rules = o->quota_rules,
		.acl_groups = c->acl_groups,
		.guest = u->owner.user,
		.guest_home = u->owner.home,
		.expires = time(NULL) + TICKET_LIFETIME_S};
	struct buf ticket = {0};
	enum err e = ticket_make(u->worker->service->ticket_key, &t, &ticket);

	ipc_put_cstr(body, o->user);
	ipc_put_str(body, buf_str(&ticket));
	buf_wipe(&ticket);
	buf_free(&ticket);
	return e;
}

enum err
index_shared_grants(const struct index_conn *c, struct buf *body)
{
	struct index_shared *s = c->worker->service->shared;
	const struct rights_who guest = {c->user->owner.user, c->acl_groups};
	struct buf grants = {0};
	enum err e = OK;
	uint32_t n = 0;

	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->count && n < GUEST_OWNERS_MAX && e == OK; i++)
		if (shares_with(s, &s->items[i], &guest)) {
			e = grant_put(c, &s->items[i].o, &grants);
			n++;
		}
	pthread_mutex_unlock(&s->mutex);
	ipc_put_u32(body, n);
	(void)buf_add_buf(body, &grants);
	buf_wipe(&grants);
	buf_free(&grants);
	return e;
}
