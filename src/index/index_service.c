/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/ticket.h"
#include "index/adopt.h"
#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/link.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { OPEN_BODY_MAX = 64 * 1024 };

/* ---- opening: the ticket is checked here, then the worker that owns the user takes over ---- */

static char *
host_name(const struct config *conf)
{
	char name[HOST_NAME_MAX + 1];

	if (conf->hostname[0])
		return mem_strdup(conf->hostname);
	if (gethostname(name, sizeof(name)) != 0)
		return mem_strdup("localhost");
	name[HOST_NAME_MAX] = '\0';
	return mem_strdup(name);
}

static char **
copy_list(const struct conf_list *list)
{
	char **out = mem_zalloc((list->count + 1) * sizeof(*out));

	for (size_t i = 0; i < list->count; i++)
		out[i] = mem_strdup(list->items[i]);
	return out;
}

/* The user's own come last, so that they hold. */
static char *
join_rules(const struct config *conf, const char *own)
{
	struct buf text = {0};

	for (size_t i = 0; i < conf->quota_rules.count; i++)
		buf_printf(&text, "%s;", conf->quota_rules.items[i]);
	buf_add_cstr(&text, own);
	return buf_steal(&text);
}

/* A guest's index lies beside his own, where his sessions may map it. */
static enum err
guest_paths(const struct config *conf, const struct ticket *t, struct index_open *o)
{
	char *own = NULL, *slash;
	struct buf dir = {0};
	struct stat st;
	enum err e = index_paths(conf, t->guest_home, &o->guest_maildir, &own);

	if (e)
		return e;
	/* Mail that is gone is not made anew for a guest. */
	if (stat(o->maildir, &st) != 0) {
		free(own);
		return E_NOTFOUND;
	}
	slash = strrchr(own, '/');
	(void)buf_printf(&dir, "%.*s/shared/", (int)(slash - own), own);
	for (const char *p = t->user; *p; p++) {
		if (*p == '/' || *p == '%' || (*p == '.' && p == t->user))
			(void)buf_printf(&dir, "%%%02X", (unsigned char)*p);
		else
			(void)buf_add_char(&dir, *p);
	}
	o->guest = mem_strdup(t->guest);
	o->guest_dir = buf_steal(&dir);
	free(own);
	return OK;
}

/* url_user: whom the mail is opened for, who is not its owner; or NULL. */
static enum err
make_open(const struct config *conf, const struct ticket *t, const char *url_user,
	struct index_open **out)
{
	struct index_open *o = MEM_NEW(struct index_open);
	struct stat st;
	enum err e = index_paths(conf, t->home, &o->maildir, &o->index_dir);

	o->fd = o->url_found.fd = -1;
	if (e == OK && t->guest)
		e = guest_paths(conf, t, o);
	/* Mail that is gone is not made anew for others. */
	if (e == OK && url_user && stat(o->maildir, &st) != 0)
		e = E_NOTFOUND;
	if (e) {
		index_open_free(o);
		*out = NULL;
		return e;
	}
	o->user = mem_strdup(t->user);
	o->acl_groups = mem_strdup(t->acl_groups ? t->acl_groups : "");
	o->host = host_name(conf);
	o->default_mailboxes = copy_list(&conf->default_mailboxes);
	o->map_size = conf->index_map_size;
	o->max_message_size = conf->max_message_size;
	o->rules = join_rules(conf, t->quota_rules);
	o->warnings = index_warnings_create(conf, o->host);
	o->limits = (struct index_core_limits){.bytes = t->quota_bytes,
		.messages = t->quota_messages,
		.grace_bytes = conf->quota_grace,
		.rules = o->rules,
		/* Of an index that knows any limits others change none. */
		.issued = t->guest || url_user ? 1 : (int64_t)t->expires - TICKET_LIFETIME_S};
	o->fsync = conf->mail_fsync;
	o->expunge_keep_s = conf->expunge_keep / 1000;
	o->watches_max = (size_t)conf->index_inotify_watches;
	index_owner_copy(&o->owner, &(struct index_owner){.user = t->user,
					    .home = t->home,
					    .quota_bytes = t->quota_bytes,
					    .quota_messages = t->quota_messages,
					    .quota_rules = t->quota_rules});
	*out = o;
	return OK;
}

static struct index_worker *
worker_of(struct index_service_state *s, const char *user)
{
	return &s->workers[(index_user_hash(user) & 0xffff) % s->worker_count];
}

static void
refuse(struct ipc_conn *c, uint32_t request, enum err e, const char *text)
{
	struct buf body = {0};

	ipc_put_u32(&body, (uint32_t)e);
	ipc_put_cstr(&body, text);
	ipc_conn_send(c, INDEX_ERROR, request, buf_str(&body), NULL, 0);
	buf_free(&body);
	ipc_conn_free(&c);
}

static void
hand_over(struct index_service_state *s, struct ipc_conn *c, struct index_open *o, uint32_t request)
{
	o->request = request;
	o->fd = ipc_conn_detach(c, &o->readahead);
	/* Nothing was sent yet, so there is room; a client that is gone is noticed later. */
	(void)ipc_send(o->fd, INDEX_WAIT, 0, (struct str){0}, NULL, 0, 0);
	index_service_open(s, o);
}

void
index_service_open(void *service, void *open)
{
	struct index_service_state *s = service;
	struct index_open *o = open;

	if (s->worker_count)
		index_queue_add(&worker_of(s, o->user)->queue, index_worker_open, o);
	else
		index_open_free(o); /* they have ended */
}

/* owner's mail, opened for user. */
static enum err
url_make_open(const struct config *conf, const struct index_owner *owner, const char *user,
	struct str url, struct index_open **out)
{
	struct ticket of = {.user = owner->user,
		.home = owner->home,
		.quota_bytes = owner->quota_bytes,
		.quota_messages = owner->quota_messages,
		.quota_rules = owner->quota_rules};
	enum err e = make_open(conf, &of, user, out);

	if (e)
		return e;
	(*out)->url = str_dup(url);
	(*out)->url_user = mem_strdup(user);
	return OK;
}

/* Who shares the mailbox comes first. Mail of his that is gone is as if he shared nothing. */
static enum err
url_put_sharer(struct index_service_state *s, struct index_open **o)
{
	const struct config *conf = service_conf(s->run);
	struct str url = str_of((*o)->url);
	struct index_owner sharer = {0};
	struct index_open *first;
	char *mailbox = NULL;
	enum err e = OK;

	if (index_url_sharer(conf, s->shared, (*o)->user, url, &sharer, &mailbox)) {
		e = url_make_open(conf, &sharer, (*o)->url_user, url, &first);
		if (e == OK) {
			first->url_mailbox = mailbox;
			first->url_then = *o;
			*o = first;
			mailbox = NULL;
		}
	}
	free(mailbox);
	index_owner_free(&sharer);
	return e == E_NOTFOUND ? OK : e;
}

/* The owner of a URL, for the user of the ticket. */
static enum err
url_open(struct index_service_state *s, const struct ticket *t, struct str url,
	struct index_open **out)
{
	const struct config *conf = service_conf(s->run);
	struct index_owner who = {.user = t->user,
		.home = t->home,
		.quota_bytes = t->quota_bytes,
		.quota_messages = t->quota_messages,
		.quota_rules = t->quota_rules};
	struct index_owner owner = {0};
	/* A guest's ticket does not say who he is, but whose mail he is let into. */
	enum err e = t->guest ? E_AUTH : index_url_admit(conf, s->shared, &who, url, &owner);

	if (e == OK)
		e = url_make_open(conf, &owner, t->user, url, out);
	if (e == E_NOTFOUND)
		index_shared_forget(s->shared, owner.user);
	if (e == OK)
		e = url_put_sharer(s, out);
	index_owner_free(&owner);
	return e == OK || e == E_RANGE ? e : E_AUTH;
}

static void
on_url_open(struct index_service_state *s, struct ipc_conn *c, const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	struct str text = ipc_get_str(&r), url = ipc_get_str(&r);
	struct index_open *o = NULL;
	struct ticket t = {0};
	enum err e = ipc_reader_end(&r);

	if (e) {
		log_event(LOGL_WARN, "index.client bad", "frame", log_u64(m->type), NULL);
		ipc_conn_free(&c);
		return;
	}
	/* A session that is as old as its ticket is no reason to say anything of the URL. */
	e = ticket_check(service_conf(s->run)->ticket_key, text, time(NULL), &t) ? E_TEMPFAIL : OK;
	if (e == OK)
		e = url_open(s, &t, url, &o);
	if (e) {
		log_event(LOGL_INFO, "index.url refused", "guest", t.user, "reason", err_word(e),
			NULL);
		refuse(c, m->request, e == E_AUTH ? E_AUTH : E_TEMPFAIL, "url");
	} else {
		hand_over(s, c, o, m->request);
	}
	ticket_free(&t);
}

static void
on_open(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct index_service_state *s = arg;
	const struct config *conf = service_conf(s->run);
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	struct str text = ipc_get_str(&r);
	struct index_open *o = NULL;
	struct ticket t = {0};
	enum err e;

	if (m->type == INDEX_URL_OPEN) {
		on_url_open(s, c, m);
		return;
	}
	if (m->type != INDEX_OPEN || ipc_reader_end(&r)) {
		log_event(LOGL_WARN, "index.client bad", "frame", log_u64(m->type), NULL);
		ipc_conn_free(&c);
		return;
	}
	e = ticket_check(conf->ticket_key, text, time(NULL), &t);
	if (e == OK)
		e = make_open(conf, &t, NULL, &o);
	if (e) {
		log_event(LOGL_WARN, "index.open refused", "user", t.user, "reason", err_word(e),
			NULL);
		if (e == E_NOTFOUND)
			index_shared_forget(s->shared, t.user);
		refuse(c, m->request, e == E_RANGE ? E_TEMPFAIL : e, "ticket");
	} else {
		hand_over(s, c, o, m->request);
	}
	ticket_free(&t);
}

static void
on_gone(struct ipc_conn *c, enum err e, void *arg)
{
	(void)c;
	(void)e;
	(void)arg;
}

static const struct ipc_conn_handler open_handler = {on_open, on_gone};

static void
on_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	(void)peer;
	ipc_conn_create(service_base(run), fd, OPEN_BODY_MAX, &open_handler, service_state(run));
}

/* ---- administration ---- */

static void
job_begin(struct service_run *run, struct ctl_request *req, const json_t *args, const char *verb)
{
	struct index_service_state *s = service_state(run);
	const char *user = json_string_value(json_object_get(args, "user"));

	index_job_begin(s, worker_of(s, user ? user : ""), req, verb, args);
}

static void
ctl_flush_user(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	job_begin(run, req, args, "flush-user");
}

static void
ctl_export_user(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	job_begin(run, req, args, "export-user");
}

static void
ctl_quota_recount(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	job_begin(run, req, args, "quota-recount");
}

static void
ctl_undelete(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	job_begin(run, req, args, "undelete");
}

static void
ctl_purge_expunged(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	job_begin(run, req, args, "purge-expunged");
}

static void
ctl_fsck(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	job_begin(run, req, args, "fsck");
}

static void
status(struct service_run *run, json_t *object)
{
	struct index_service_state *s = service_state(run);
	uint64_t users = 0, connections = 0, requests = 0, messages = 0;
	uint64_t parsed = 0, by_sessions = 0;

	for (size_t i = 0; i < s->worker_count; i++) {
		users += atomic_load(&s->workers[i].users_open);
		connections += atomic_load(&s->workers[i].connections);
		requests += atomic_load(&s->workers[i].requests);
		messages += atomic_load(&s->workers[i].messages);
		parsed += atomic_load(&s->workers[i].parsed);
		by_sessions += atomic_load(&s->workers[i].parsed_by_sessions);
	}
	json_object_set_new(object, "users_open", json_integer((json_int_t)users));
	json_object_set_new(object, "connections", json_integer((json_int_t)connections));
	json_object_set_new(object, "requests", json_integer((json_int_t)requests));
	json_object_set_new(object, "messages_indexed", json_integer((json_int_t)messages));
	json_object_set_new(object, "parsed_in_background", json_integer((json_int_t)parsed));
	json_object_set_new(object, "parsed_by_sessions", json_integer((json_int_t)by_sessions));
}

/* ---- the service ---- */

static enum err
start(struct service_run *run)
{
	struct index_service_state *s = MEM_NEW(struct index_service_state);
	char *fts;

	s->run = run;
	s->ticket_key = mem_strdup(service_conf(run)->ticket_key);
	index_queue_init(&s->queue, service_base(run), s);
	index_inotify_init(&s->inotify);
	fts = conf_run_path(service_conf(run), "fts-feed");
	s->fts = link_create(service_base(run), fts);
	free(fts);
	service_set_state(run, s);
	return OK;
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow(sb, SANDBOX_CAN_THREAD);
	/* A path that is not there cannot be allowed. */
	(void)io_mkdir_parents(conf->mail_dir, 0700);
	sandbox_allow_path(sb, conf->mail_dir, SANDBOX_READ | SANDBOX_WRITE);
	if (conf->index_dir[0]) {
		(void)io_mkdir_parents(conf->index_dir, 0700);
		sandbox_allow_path(sb, conf->index_dir, SANDBOX_READ | SANDBOX_WRITE);
	}
	sandbox_allow_path(sb, "/proc/sys/kernel/random", SANDBOX_READ);
}

/* Behind the sandbox, so that the threads are inside it too. */
static enum err
begin(struct service_run *run)
{
	struct index_service_state *s = service_state(run);
	size_t n = (size_t)service_conf(run)->index_threads;
	enum err e = OK;

	index_core_damage_init();
	s->shared = index_shared_open(service_conf(run)->index_dir[0] ? service_conf(run)->index_dir
								      : service_conf(run)->mail_dir,
		service_conf(run)->mail_dir, service_conf(run)->acl_other_domains);
	if (index_parser_start(&s->parser, (size_t)service_conf(run)->index_parse_threads))
		log_event(LOGL_ERROR, "index.threads failed", "for", "parse", NULL);
	e = index_openers_start(&s->openers);
	s->workers = mem_zalloc(n * sizeof(*s->workers));
	for (size_t i = 0; i < n && e == OK; i++) {
		e = index_worker_start(&s->workers[i], s);
		s->worker_count += e == OK;
	}
	/* Fewer than asked for will do. */
	if (e)
		log_event(LOGL_ERROR, "index.threads failed", "error", err_word(e), NULL);
	return s->worker_count ? OK : e;
}

static void
drain(struct service_run *run)
{
	struct index_service_state *s = service_state(run);

	index_parser_stop(&s->parser);
	for (size_t i = 0; i < s->worker_count; i++)
		index_queue_add(&s->workers[i].queue, index_worker_drain, NULL);
	for (size_t i = 0; i < s->worker_count; i++)
		pthread_join(s->workers[i].thread, NULL);
	s->worker_count = 0;
	index_openers_stop(&s->openers);
	/* What the threads said last: the loop does not come round to it any more. */
	while (index_queue_run(&s->queue))
		;
	service_exit(run, 0);
}

static void
stop(struct service_run *run)
{
	struct index_service_state *s = service_state(run);

	index_parser_fini(&s->parser);
	index_sleep_stop(s);
	index_inotify_fini(&s->inotify);
	link_free(&s->fts);
	free(s->workers);
	index_shared_close(&s->shared);
	free(s->ticket_key);
	index_queue_fini(&s->queue);
	free(s);
	service_set_state(run, NULL);
}

static const struct service_listener listeners[] = {
	{"index", on_accept}, {"index-sleep", index_sleep_accept}, {NULL, NULL}};
static const struct ctl_verb verbs[] = {{"flush-user", ctl_flush_user},
	{"export-user", ctl_export_user}, {"quota-recount", ctl_quota_recount},
	{"undelete", ctl_undelete}, {"purge-expunged", ctl_purge_expunged}, {"fsck", ctl_fsck},
	{NULL, NULL}};

const struct service index_service = {
	.name = "index",
	.listeners = listeners,
	.ctl = verbs,
	.start = start,
	.sandbox = sandbox,
	.begin = begin,
	.drain = drain,
	.stop = stop,
	.status = status,
};
