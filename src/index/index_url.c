/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/imap_url.h"

/*
 * Who has a URL with an authorization (RFC 4467) asks for its message on a connection of its own:
 * the first frame is all there is. What the URL itself says is looked at where the connection comes
 * in; the token where its owner's mail is open, in his worker. Whatever is wrong has one answer.
 */

/* RFC 4467 section 3. Nobody is here without a name, so "anonymous" is as "authuser" (section 10).
 */
static int
may_use(const struct config *conf, const struct imap_url *url, const char *owner, const char *who)
{
	char *name;
	int same;

	switch (url->access) {
	case IMAP_URL_SUBMIT:
		return conf_list_has(&conf->urlauth_submit_users, str_of(who));
	case IMAP_URL_USER:
		name = imap_url_user(url->access_user, owner);
		same = strcmp(name, who) == 0;
		free(name);
		return same;
	case IMAP_URL_AUTHUSER:
	case IMAP_URL_ANONYMOUS:
		return 1;
	}
	return 0;
}

enum err
index_url_admit(const struct config *conf, struct index_shared *s, const struct index_owner *who,
	struct str text, struct index_owner *owner)
{
	struct imap_url url;
	char *name = NULL;
	enum err e = imap_url_parse_auth(text, 0, &url);

	if (!e)
		name = imap_url_user(url.user, who->user);
	if (e || !str_is_i(url.mechanism, "INTERNAL") || (url.expires && time(NULL) > url.expire) ||
		!may_use(conf, &url, name, who->user)) {
		e = E_AUTH;
	} else if (strcmp(name, who->user) == 0) {
		index_owner_copy(owner, who);
	} else if (!index_shared_url_owner(s, name, owner)) {
		index_core_url_pretend(&url);
		e = E_AUTH;
	}
	free(name);
	imap_url_fini(&url);
	return e;
}

/* ---- mailboxes that others share ---- */

/* "other/bob/x" -> "bob/x". 0: the name is not below top. */
static int
below(struct str name, const char *top, struct str *rest)
{
	size_t len = strlen(top);

	if (len == 0 || name.len <= len || memcmp(name.p, top, len) != 0 || name.p[len] != '/')
		return 0;
	*rest = str_make(name.p + len + 1, name.len - len - 1);
	return 1;
}

/* As client_shared.c names them to the user. NULL: it is in nobody's namespace. */
static char *
sharer_of(const struct config *conf, const char *user, struct str name, struct str *rest)
{
	char *owner, *address;

	if (below(name, conf->imap_namespace_public, rest))
		return imap_url_user(conf->acl_public_user, user);
	if (!below(name, conf->imap_namespace_other, rest))
		return NULL;
	owner = str_dup(str_split(rest, '/'));
	address = imap_url_user(owner, user);
	free(owner);
	return address;
}

int
index_url_sharer(const struct config *conf, struct index_shared *s, const char *owner,
	struct str text, struct index_owner *sharer, char **mailbox)
{
	struct imap_url url;
	struct str rest = {0};
	char *name = NULL;
	int shares;

	if (imap_url_parse_auth(text, 0, &url) == OK)
		name = sharer_of(conf, owner, str_of(url.mailbox), &rest);
	shares = name && rest.len > 0 && index_shared_with(s, name, owner, sharer);
	if (shares)
		*mailbox = str_dup(rest);
	free(name);
	imap_url_fini(&url);
	return shares;
}

void
index_url_look(struct index_worker *w, struct index_open *o, enum err e, struct index_user_entry *u)
{
	struct index_open *then = o->url_then;
	struct index_url_found *found = &then->url_found;
	struct imap_url url = {0};

	if (e == OK)
		e = imap_url_parse_auth(str_of(o->url), 0, &url);
	if (e == OK)
		e = index_core_url_look(u->core, &url, str_of(o->url_mailbox), then->user,
			found->object_id, &found->fd);
	if (e == OK)
		found->sharer = mem_strdup(o->user);
	found->failed = e && e != E_AUTH;
	imap_url_fini(&url);
	if (u) {
		index_user_touch(u);
		if (e == E_CORRUPT)
			index_user_corrupt(u);
		if (!u->conns)
			index_user_is_left(u);
	}
	then->fd = o->fd;
	then->request = o->request;
	then->readahead = o->readahead;
	o->fd = -1;
	o->readahead = (struct buf){0};
	o->url_then = NULL;
	index_open_free(o);
	/* By way of the main thread, which knows which workers there are still. */
	index_queue_add(&w->service->queue, index_service_open, then);
}

void
index_url_answer(struct index_conn *c, const struct index_open *o)
{
	const struct index_url_found *found = &o->url_found;
	const struct index_url_box shared = {str_of(found->sharer), str_of(found->object_id)};
	struct imap_url url;
	int fd = -1;
	enum err e = imap_url_parse_auth(str_of(o->url), 0, &url) ? E_AUTH : OK;

	if (!e)
		e = index_core_url_open(c->user->core, &url, found->sharer ? &shared : NULL, &fd);
	/* Whether it would have been good nobody can say then. */
	if (e == E_AUTH && found->failed)
		e = E_TEMPFAIL;
	log_event(LOGL_INFO, e ? "index.url refused" : "index.url ok", "user", o->user, "guest",
		o->url_user, "reason", e ? err_word(e) : NULL, NULL);
	if (e == E_CORRUPT)
		index_user_corrupt(c->user);
	if (e)
		index_answer_error(c, o->request, e == E_AUTH ? E_AUTH : E_TEMPFAIL, "url");
	else
		ipc_conn_send(c->ipc, INDEX_CONTENT, o->request, (struct str){0},
			fd >= 0 ? &fd : &found->fd, 1);
	io_close(&fd);
	imap_url_fini(&url);
}
