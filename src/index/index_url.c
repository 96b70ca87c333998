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

void
index_url_answer(struct index_conn *c, const struct index_open *o)
{
	struct imap_url url;
	int fd = -1;
	enum err e = imap_url_parse_auth(str_of(o->url), 0, &url) ? E_AUTH : OK;

	if (!e)
		e = index_core_url_open(c->user->core, &url, &fd);
	log_event(LOGL_INFO, e ? "index.url refused" : "index.url ok", "user", o->user, "guest",
		o->url_user, "reason", e ? err_word(e) : NULL, NULL);
	if (e == E_CORRUPT)
		index_user_corrupt(c->user);
	if (e)
		index_answer_error(c, o->request, e == E_AUTH ? E_AUTH : E_TEMPFAIL, "url");
	else
		ipc_conn_send(c->ipc, INDEX_CONTENT, o->request, (struct str){0}, &fd, 1);
	io_close(&fd);
	imap_url_fini(&url);
}
