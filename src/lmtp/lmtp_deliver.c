/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lmtp/lmtp_deliver.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/index_client.h"
#include "lib/buf.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lmtp/lmtp_data.h"
#include "lmtp/lmtp_seen.h"
#include "lmtp/lmtp_users.h"
#include "mail/date.h"
#include "mail/rights.h"

enum {
	PLACE_WAIT_MS = 10000, /* for one of lmtp_user_concurrency_limit */
	PLACE_LOOK_MS = 20,
};

/* One folder of one user that gets the message. */
struct target {
	struct lmtp_user *user;
	char *folder;
	char *address; /* of its first recipient, as given */
	struct lmtp_reply reply; /* code NULL until decided */
	enum err err; /* what the reply came from, for the log */
};

struct lmtp_deliver {
	struct session *s;
	const char *hostname;
	struct lmtp_users *users;

	/* transaction */
	struct target **rcpts; /* of each accepted recipient; the same one may be there twice */
	size_t rcpt_count, rcpt_cap;
	struct target **targets; /* each once, in order */
	size_t target_count, target_cap;
	void *tree; /* tsearch(3) over targets */
	char *sender;
	uint64_t size_hint;
	struct lmtp_header header;
	struct target *first; /* whose folder the file is written in */
	struct index_append *append;
	uint64_t size;
	int64_t end_us; /* when the message was whole */
};

static const struct lmtp_reply reply_rcpt_ok = {"250 2.1.5", "OK"},
			       reply_unknown = {"550 5.1.1", "No such user here"},
			       reply_bad_address = {"550 5.1.3", "No such address can exist"},
			       reply_disabled = {"550 5.2.1", "Mailbox is switched off"},
			       reply_full = {"552 5.2.2", "Mailbox is full"},
			       reply_full_now = {"452 4.2.2", "Mailbox is full, try again later"},
			       reply_moved = {"450 4.2.1",
				       "Mailbox is on another server, and no alias leads there"},
			       reply_tempfail = {"451 4.3.0", "Try again later"},
			       reply_no_space = {"452 4.3.1",
				       "No space left here, try again later"},
			       reply_too_big = {"552 5.3.4", "Message is too big"},
			       reply_busy = {"451 4.3.2",
				       "Too many deliveries to this mailbox at once"},
			       reply_loop = {"554 5.4.6", "Mail is going round in a loop"},
			       reply_saved = {"250 2.0.0", "Saved"};

static struct lmtp_reply
reply_for(const struct lmtp_deliver *d, enum err e)
{
	switch (e) {
	case E_QUOTA:
		return d->s->conf->quota_full_tempfail ? reply_full_now : reply_full;
	case E_TOOBIG:
		return reply_too_big;
	case E_NOSPACE:
		return reply_no_space;
	case E_CONFLICT:
		return reply_busy;
	default:
		/* A mailbox that vanished meanwhile is temporary too: the next try finds another.
		 */
		return reply_tempfail;
	}
}

struct lmtp_deliver *
lmtp_deliver_create(struct session *s, const char *hostname)
{
	struct lmtp_deliver *d = MEM_NEW(struct lmtp_deliver);

	d->s = s;
	d->hostname = hostname;
	d->users = lmtp_users_create(s->conf);
	lmtp_header_init(&d->header);
	return d;
}

static void
target_fail(const struct lmtp_deliver *d, struct target *t, enum err e)
{
	t->err = e;
	t->reply = reply_for(d, e);
}

/* ---- recipients ---- */

static int
target_compare(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->user != y->user) {
		return (uintptr_t)x->user < (uintptr_t)y->user ? -1 : 1;
	}
	return strcmp(x->folder, y->folder);
}

struct folder_search {
	struct str wanted;
	char *found;
};

static enum err
folder_match(const struct index_mailbox *m, void *arg)
{
	struct folder_search *fs = arg;

	if (str_equal_i(str_of(m->name), fs->wanted)) {
		fs->found = mem_strdup(m->name);
		return E_EXISTS; /* stops */
	}
	return OK;
}

static enum err
stranger_visit(struct str identifier, struct str rights, void *arg)
{
	rights_stranger_add(arg, identifier, rights);
	return OK;
}

/*
 * The folder's rights, or, where there is none yet, those of the nearest above it, of which it
 * will be a part.
 */
static enum err
may_post(struct lmtp_deliver *d, struct index_user *u, struct str folder, int *may)
{
	struct rights_guest rights = {0};
	struct index_mailbox m = {0};
	enum err e = index_mailbox_get(u, folder, &m);

	while (e == E_NOTFOUND && folder.len > 0) {
		while (folder.len > 0 && folder.p[--folder.len] != '/')
			;
		if (folder.len > 0)
			e = index_mailbox_get(u, folder, &m);
	}
	if (e == OK)
		e = index_acl_each(u, m.id, stranger_visit, &rights);
	index_mailbox_free(&m);
	*may = rights_stranger_posts(&rights, d->s->conf->lmtp_detail_needs_post);
	return e == E_NOTFOUND ? OK : e;
}

/* The folder that a detail means (lmtp_deliver.h), on the heap. */
static enum err
folder_for(struct lmtp_deliver *d, struct index_user *u, const char *detail, char **out)
{
	struct folder_search fs = {.wanted = str_of(detail)};
	int may = 0;
	enum err e = OK;

	*out = NULL;
	if (fs.wanted.len > 0 && fs.wanted.len <= INDEX_MAILBOX_NAME_MAX &&
		str_is_utf8(fs.wanted) && !str_has_control(fs.wanted)) {
		e = index_mailbox_each(u, folder_match, &fs);
		e = e == E_EXISTS ? OK : e;
		if (!e && fs.found == NULL && d->s->conf->lmtp_create_mailbox) {
			fs.found = str_dup(fs.wanted);
		}
	}
	if (!e && fs.found) {
		e = may_post(d, u, str_of(fs.found), &may);
		if (e || !may)
			MEM_FREE(fs.found);
		if (!e && !may)
			log_event(LOGL_INFO, "lmtp.detail refused", "mailbox", detail, NULL);
	}
	if (!e) {
		*out = fs.found != NULL ? fs.found : mem_strdup("INBOX");
	}
	return e;
}

/* A folder that will be made for this message is looked at when it is there. */
static enum err
check_quota(struct index_user *u, const char *folder, uint64_t size)
{
	struct index_mailbox m;
	enum err e = index_mailbox_get(u, str_of(folder), &m);

	if (e == OK) {
		e = index_quota_check(u, m.id, size);
	}
	index_mailbox_free(&m);
	return e == E_NOTFOUND ? OK : e;
}

/* Adds a target unless it is there; takes the caller's hold on user and folder. */
static void
target_add(struct lmtp_deliver *d, struct lmtp_user *user, char *folder, struct str address)
{
	struct target *t = MEM_NEW(struct target);
	struct target **found;

	*t = (struct target){.user = user, .folder = folder};
	found = tsearch(t, &d->tree, target_compare);
	if (found == NULL) {
		log_bug(__FILE__, __LINE__, "out of memory");
	}
	if (*found != t) {
		lmtp_user_put(d->users, user);
		free(folder);
		free(t);
		t = *found;
	} else {
		if (d->target_count == d->target_cap) {
			d->target_cap = d->target_cap ? 2 * d->target_cap : 8;
			d->targets =
				mem_realloc(d->targets, d->target_cap, sizeof(struct target *));
		}
		t->address = str_dup(address);
		d->targets[d->target_count++] = t;
	}
	if (d->rcpt_count == d->rcpt_cap) {
		d->rcpt_cap = d->rcpt_cap ? 2 * d->rcpt_cap : 8;
		d->rcpts = mem_realloc(d->rcpts, d->rcpt_cap, sizeof(struct target *));
	}
	d->rcpts[d->rcpt_count++] = t;
}

/*
 * Whether his mail need not be looked at before there is a message for him: nothing in it could
 * refuse one. The first recipient's is all the same, to know that there is mail at all.
 */
static int
may_look_later(const struct lmtp_deliver *d, const struct auth_user *user, const char *detail)
{
	return d->target_count > 0 && !detail[0] && user->quota_bytes == 0 &&
	       user->quota_messages == 0 && !user->quota_rules[0] &&
	       d->s->conf->quota_rules.count == 0;
}

/* Where the message of this size will go: *folder is on the heap. E_QUOTA, E_TEMPFAIL. */
static enum err
look_at_mail(struct lmtp_deliver *d, struct lmtp_user *user, const char *detail, uint64_t size,
	char **folder)
{
	enum err e;

	if (may_look_later(d, &user->auth, detail)) {
		*folder = mem_strdup("INBOX");
		return OK;
	}
	e = lmtp_user_open(d->users, user);
	e = e ? e : folder_for(d, user->index, detail, folder);
	return e ? e : check_quota(user->index, *folder, size);
}

static void
deliver_expect(void *arg, const char *address)
{
	struct lmtp_deliver *d = arg;

	lmtp_user_expect(d->users, str_of(address));
}

static struct lmtp_reply
deliver_rcpt(void *arg, const char *address, struct str raw, uint64_t size)
{
	struct lmtp_deliver *d = arg;
	struct lmtp_user *user;
	char *detail, *folder = NULL;
	enum err e = lmtp_user_get(d->users, str_of(address), &detail, &user);

	if (e) {
		return e == E_NOTFOUND ? reply_unknown
		       : e == E_PARSE  ? reply_bad_address
		       : e == E_ACCESS ? reply_disabled
				       : reply_tempfail;
	}
	/* A mailbox that its user does not open any more is no place for his mail. */
	if (user->auth.moved_to[0]) {
		log_event(LOGL_WARN, "lmtp.rcpt moved", "user", user->auth.name, "host",
			user->auth.moved_to, NULL);
		lmtp_user_put(d->users, user);
		free(detail);
		return reply_moved;
	}
	d->size_hint = size;
	e = look_at_mail(d, user, detail, size, &folder);
	free(detail);
	if (e) {
		log_event(LOGL_WARN, "lmtp.rcpt failed", "user", user->auth.name, "reason",
			err_word(e), NULL);
		lmtp_user_put(d->users, user);
		free(folder);
		return reply_for(d, e);
	}
	target_add(d, user, folder, raw);
	return reply_rcpt_ok;
}

/* ---- the message ---- */

/* Finds or makes the folder of a target. */
static enum err
target_mailbox(struct lmtp_deliver *d, struct target *t, struct index_mailbox *out)
{
	struct str name = str_of(t->folder);
	enum err e = lmtp_user_open(d->users, t->user);
	struct index_user *u = t->user->index;

	*out = (struct index_mailbox){0};
	e = e ? e : index_mailbox_get(u, name, out);
	if (e != E_NOTFOUND) {
		return e;
	}
	if (d->s->conf->lmtp_create_mailbox && strcmp(t->folder, "INBOX") != 0) {
		e = index_mailbox_create(u, name, 0, out);
		if (e == OK) {
			/* Clients show what is subscribed; not to be is no reason to refuse mail.
			 */
			index_subscribe(u, name, 1);
			return OK;
		}
		if (e == E_EXISTS) {
			return index_mailbox_get(u, name, out);
		}
		if (e != E_RANGE && e != E_TOOBIG) {
			return e;
		}
	}
	/* Gone, or not allowed as a name. */
	free(t->folder);
	t->folder = mem_strdup("INBOX");
	return index_mailbox_get(u, STR("INBOX"), out);
}

/* RFC 5321 section 4.4: trace fields, and the Return-Path of final delivery. */
static void
write_trace(struct lmtp_deliver *d, const struct lmtp_envelope *env)
{
	struct buf b = {0};
	char ip[NET_ADDR_TEXT];
	time_t now = time(NULL);

	buf_printf(&b, "Return-Path: <%.*s>\r\n", STR_ARG(env->sender));
	if (d->target_count == 1 && strcmp(d->s->conf->lmtp_delivered_to, "none") != 0) {
		const struct target *t = d->targets[0];
		int as_given = strcmp(d->s->conf->lmtp_delivered_to, "recipient") == 0;

		buf_printf(&b, "Delivered-To: %s\r\n", as_given ? t->address : t->user->auth.name);
	}
	buf_printf(&b, "Received: from %s", env->helo);
	if (env->client->sa.ss_family == AF_INET || env->client->sa.ss_family == AF_INET6) {
		net_addr_format_ip(env->client, ip);
		buf_printf(&b, " (%s%s[%s%s])", env->client_name, *env->client_name ? " " : "",
			strchr(ip, ':') != NULL ? "IPv6:" : "", ip);
	}
	/* The protocol's name: RFC 3848, and RFC 6531 section 4.3. */
	buf_printf(&b, "\r\n\tby %s with %sLMTP%s (Roost)\r\n\tid %s", d->hostname,
		env->utf8 ? "UTF8" : "", d->s->info.tls ? "S" : "",
		d->s->info.id != NULL ? d->s->info.id : "");
	if (env->only_rcpt.len > 0) {
		buf_printf(&b, "\r\n\tfor <%.*s>", STR_ARG(env->only_rcpt));
	}
	buf_add_cstr(&b, ";\r\n\t");
	date_format_rfc5322(now, date_local_zone(now), &b);
	buf_add_cstr(&b, "\r\n");
	index_append_write(d->append, b.p, b.len);
	buf_free(&b);
}

static void
deliver_begin(void *arg, const struct lmtp_envelope *env)
{
	struct lmtp_deliver *d = arg;

	d->sender = str_dup(env->sender);
	for (size_t i = 0; i < d->target_count && d->append == NULL; i++) {
		struct target *t = d->targets[i];
		struct index_mailbox m;
		enum err e = target_mailbox(d, t, &m);

		if (!e) {
			e = index_append_create(t->user->index, m.id, d->size_hint, &d->append);
		}
		index_mailbox_free(&m);
		if (e) {
			target_fail(d, t, e);
		} else {
			d->first = t;
			t->user->pins++;
			write_trace(d, env);
		}
	}
}

static void
append_sink(void *arg, const char *p, size_t len)
{
	struct lmtp_deliver *d = arg;

	d->size += len;
	index_append_write(d->append, p, len); /* its error sticks and comes out at the end */
}

static void
deliver_write(void *arg, const char *p, size_t len)
{
	struct lmtp_deliver *d = arg;

	if (d->append != NULL) {
		lmtp_header_feed(&d->header, p, len, append_sink, d);
	}
}

static enum err
target_commit(struct target *t, struct index_append *a, uint32_t *uid)
{
	struct index_append_info info = {0};
	uint32_t uidvalidity;

	return index_append_commit(t->user->index, &a, &info, 1, &uidvalidity, uid);
}

static enum err
target_deliver(struct lmtp_deliver *d, struct target *t, uint32_t *uid)
{
	struct index_append *link = NULL;
	struct index_mailbox m = {0};
	enum err e;

	if (t == d->first) {
		return target_commit(t, d->append, uid);
	}
	e = target_mailbox(d, t, &m);
	e = e ? e : index_append_link(t->user->index, m.id, d->append, &link);
	e = e ? e : target_commit(t, link, uid);
	index_append_free(&link);
	index_mailbox_free(&m);
	return e;
}

/*
 * One of the user's places for deliveries, within a while; closing *fd gives it back, and so does
 * the end of the process. E_CONFLICT: all stay taken.
 */
static enum err
user_place(struct lmtp_deliver *d, struct index_user *u, int *fd)
{
	const struct timespec pause = {0, PLACE_LOOK_MS * 1000000L};
	const int64_t until = io_now_ms() + PLACE_WAIT_MS;
	unsigned limit = (unsigned)d->s->conf->lmtp_user_concurrency_limit;

	*fd = -1;
	while (limit) {
		/* A lock that cannot be made is no reason to turn mail away. */
		if (index_lock_place(u, "lmtp", limit, fd) != E_CONFLICT) {
			return OK;
		}
		if (io_now_ms() >= until) {
			return E_CONFLICT;
		}
		nanosleep(&pause, NULL);
	}
	return OK;
}

/* Delivers, unless it was delivered before: then *again is set. */
static enum err
target_deliver_once(struct lmtp_deliver *d, struct target *t, uint32_t *uid, int *again)
{
	struct str id = str_trim(buf_str(&d->header.message_id));
	struct lmtp_seen seen = {.fd = -1};
	int place;
	enum err e = lmtp_user_open(d->users, t->user);

	e = e ? e : user_place(d, t->user->index, &place);
	if (e) {
		return e;
	}
	if (d->s->conf->lmtp_duplicate_window > 0 && id.len > 0) {
		*again = lmtp_seen_open(t->user->auth.home, d->s->conf->lmtp_duplicate_window, id,
				 str_of(d->sender), str_of(t->folder), &seen) == E_EXISTS;
	}
	e = *again ? OK : target_deliver(d, t, uid);
	lmtp_seen_close(&seen, !*again && e == OK);
	io_close(&place);
	return e;
}

static void
target_finish(struct lmtp_deliver *d, struct target *t)
{
	uint32_t uid = 0;
	enum err e;
	int ok, again = 0;

	if (t->reply.code == NULL &&
		(d->header.received > LMTP_RECEIVED_MAX ||
			lmtp_header_delivered_to(&d->header, t->user->auth.name))) {
		t->reply = reply_loop;
	}
	if (t->reply.code == NULL) {
		e = target_deliver_once(d, t, &uid, &again);
		if (e) {
			target_fail(d, t, e);
		} else {
			t->reply = reply_saved;
		}
	}
	ok = lmtp_reply_is_ok(t->reply);
	metrics_observe_us_labels(METRIC_DELIVERY_DURATION, metrics_now_us() - d->end_us,
		ok			  ? "delivered"
		: t->reply.code[0] == '4' ? "deferred"
					  : "refused",
		NULL);
	log_event(ok ? LOGL_INFO : LOGL_WARN,
		again ? "lmtp.deliver duplicate"
		: ok  ? "lmtp.deliver ok"
		      : "lmtp.deliver failed",
		"user", t->user->auth.name, "mailbox", t->folder, "uid",
		ok && !again ? log_u64(uid) : NULL, "size", log_u64(d->size), "from", d->sender,
		"msgid", buf_cstr(&d->header.message_id), "reply", ok ? NULL : t->reply.code,
		"reason", t->err ? err_word(t->err) : NULL, NULL);
}

static void
deliver_commit(void *arg, struct lmtp_reply *replies)
{
	struct lmtp_deliver *d = arg;
	enum err e = OK;

	d->end_us = metrics_now_us();
	if (d->append != NULL) {
		lmtp_header_finish(&d->header, append_sink, d);
		e = index_append_finish(d->append);
	}
	for (size_t i = 0; e && i < d->target_count; i++) {
		if (d->targets[i]->reply.code == NULL) {
			target_fail(d, d->targets[i], e);
		}
	}
	/* The first comes last: its file is where the links of the others come from. */
	for (size_t i = 0; i < d->target_count; i++) {
		if (d->targets[i] != d->first) {
			target_finish(d, d->targets[i]);
		}
	}
	if (d->first != NULL) {
		target_finish(d, d->first);
	}
	for (size_t i = 0; i < d->rcpt_count; i++) {
		replies[i] = d->rcpts[i]->reply;
	}
}

static void
keep_node(void *node)
{
	(void)node;
}

static void
deliver_reset(void *arg)
{
	struct lmtp_deliver *d = arg;

	lmtp_user_expect_none(d->users);
	index_append_free(&d->append);
	if (d->first != NULL) {
		d->first->user->pins--;
		d->first = NULL;
	}
	tdestroy(d->tree, keep_node);
	d->tree = NULL;
	for (size_t i = 0; i < d->target_count; i++) {
		lmtp_user_put(d->users, d->targets[i]->user);
		free(d->targets[i]->folder);
		free(d->targets[i]->address);
		free(d->targets[i]);
	}
	d->target_count = d->rcpt_count = 0;
	MEM_FREE(d->sender);
	d->size_hint = d->size = 0;
	lmtp_header_fini(&d->header);
	lmtp_header_init(&d->header);
}

void
lmtp_deliver_free(struct lmtp_deliver **d)
{
	if (*d == NULL) {
		return;
	}
	deliver_reset(*d);
	lmtp_header_fini(&(*d)->header);
	lmtp_users_free(&(*d)->users);
	free((*d)->rcpts);
	free((*d)->targets);
	MEM_FREE(*d);
}

const struct lmtp_store lmtp_deliver_store = {
	.expect = deliver_expect,
	.rcpt = deliver_rcpt,
	.begin = deliver_begin,
	.write = deliver_write,
	.commit = deliver_commit,
	.reset = deliver_reset,
};
