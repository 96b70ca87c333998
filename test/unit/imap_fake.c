/* SPDX-License-Identifier: MIT */
#include "imap_fake.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imap/rights.h"
#include "index/index_client.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/stream.h"
#include "mail/cache.h"
#include "mail/mime.h"

/* The index's functions have no other argument that leads here. */
static struct fake *fake;

/* ---- reading ---- */

static struct fake_message *
find(uint32_t uid)
{
	if (uid == 0 || uid % 10 || uid / 10 > fake->count)
		return NULL;
	return &fake->messages[uid / 10 - 1];
}

static void
fill(const struct fake_message *f, struct index_message *out)
{
	*out = (struct index_message){
		.uid = f->uid,
		.modseq = f->modseq,
		.flags = f->flags,
		.keywords.bits = {f->keywords},
		.internal_date = f->internal_date,
		.save_date = f->save_date,
		.size = f->len,
		.disk_size = f->len,
	};
	memcpy(out->email_id, f->email_id, sizeof(out->email_id));
	memcpy(out->thread_id, f->thread_id, sizeof(out->thread_id));
	for (size_t i = 0; i < f->len; i++)
		if (f->text[i] == '\n' && (i == 0 || f->text[i - 1] != '\r'))
			out->size++;
}

enum err
index_read_begin(struct index_user *u)
{
	(void)u;
	fake->read_depth++;
	return OK;
}

void
index_read_end(struct index_user *u)
{
	(void)u;
	ROOST_ASSERT(fake->read_depth > 0);
	fake->read_depth--;
}

enum err
index_message_get(struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_message *out)
{
	const struct fake_message *f = find(uid);

	(void)u;
	(void)mailbox;
	ROOST_ASSERT(fake->read_depth > 0);
	if (!f || f->gone)
		return E_NOTFOUND;
	fill(f, out);
	return OK;
}

enum err
index_message_facts(struct index_user *u, uint32_t mailbox, struct index_message *m)
{
	(void)u;
	(void)mailbox;
	(void)m; /* complete from the start */
	return OK;
}

enum err
index_message_each(struct index_user *u, uint32_t mailbox, uint32_t first, uint32_t last,
	enum err (*cb)(const struct index_message *m, void *arg), void *arg)
{
	(void)u;
	(void)mailbox;
	for (size_t i = 0; i < fake->count; i++) {
		const struct fake_message *f = &fake->messages[i];
		struct index_message m;
		enum err e;

		if (f->gone || f->uid < first || f->uid > last)
			continue;
		fill(f, &m);
		e = cb(&m, arg);
		if (e)
			return e;
	}
	return OK;
}

enum err
index_cache_get(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct buf *scratch, struct str *out)
{
	const struct fake_message *f = find(uid);
	struct mime_message *m;
	enum err e;

	(void)u;
	(void)mailbox;
	*out = (struct str){NULL, 0};
	if (!f || f->gone)
		return E_NOTFOUND;
	if (f->no_cache)
		return E_TOOBIG;
	mime_parse(f->stale_cache ? STR("Subject: another\n\nA quite different message\n")
				  : str_make(f->text, f->len),
		NULL, &m);
	e = mail_cache_build(m, scratch);
	mime_message_free(&m);
	*out = buf_str(scratch);
	return e;
}

/* ---- cache records in their order ---- */

struct index_cache_walk {
	uint32_t mailbox;
	struct buf record;
};

enum err
index_cache_walk_begin(struct index_user *u, uint32_t mailbox, struct index_cache_walk **out)
{
	(void)u;
	*out = MEM_NEW(struct index_cache_walk);
	(*out)->mailbox = mailbox;
	return OK;
}

enum err
index_cache_walk_get(struct index_cache_walk *w, uint32_t uid, struct str *out)
{
	enum err e;

	buf_reset(&w->record);
	e = index_cache_get(NULL, w->mailbox, uid, &w->record, out);
	return e ? E_NOTFOUND : OK;
}

void
index_cache_walk_end(struct index_cache_walk **w)
{
	if (*w)
		buf_free(&(*w)->record);
	MEM_FREE(*w);
}

enum err
index_cache_peek(struct index_user *u, uint32_t mailbox, uint32_t uid, struct str *out)
{
	(void)u;
	(void)mailbox;
	(void)uid;
	*out = (struct str){NULL, 0};
	return E_NOTFOUND;
}

enum err
index_message_ids(struct index_user *u, uint32_t mailbox, struct index_message *m)
{
	(void)u;
	(void)mailbox;
	memset(m->email_id, (int)m->uid, sizeof(m->email_id));
	memset(m->thread_id, 0xab, sizeof(m->thread_id));
	return OK;
}

enum err
index_content_open(struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_content *out)
{
	const struct fake_message *f = find(uid);

	(void)u;
	(void)mailbox;
	fake->contents_opened++;
	if (!f || f->gone)
		return E_NOTFOUND;
	if (f->unreadable)
		return f->unreadable;
	*out = (struct index_content){.p = f->text, .len = f->len, .fd = -1};
	if (f->as_file) {
		FILE *file = tmpfile();

		size_t len = f->len - f->file_lacks;

		ROOST_ASSERT(file && fwrite(f->text, 1, len, file) == len && !fflush(file));
		out->priv = file;
		out->fd = fileno(file);
	}
	return OK;
}

void
index_content_prefetch(struct index_user *u, uint32_t mailbox, uint32_t uid)
{
	(void)u;
	(void)mailbox;
	(void)uid;
}

void
index_content_close(struct index_content *c)
{
	if (c->priv)
		fclose(c->priv);
	*c = (struct index_content){.fd = -1};
}

enum err
index_mailbox_keywords_epoch(struct index_user *u, uint32_t mailbox, uint64_t *epoch)
{
	(void)u;
	(void)mailbox;
	*epoch = 0;
	return OK;
}

enum err
index_mailbox_keywords(struct index_user *u, uint32_t mailbox, char ***names, size_t *count)
{
	(void)u;
	(void)mailbox;
	*count = fake->keyword_count;
	*names = mem_zalloc((*count + 1) * sizeof(**names));
	for (size_t i = 0; i < *count; i++)
		(*names)[i] = mem_strdup(fake->keywords[i]);
	return OK;
}

void
index_names_free(char ***names, size_t count)
{
	for (size_t i = 0; i < count && *names; i++)
		free((*names)[i]);
	MEM_FREE(*names);
}

/* ---- changing ---- */

enum err
index_store(struct index_user *u, uint32_t mailbox, const struct numset *uids,
	enum index_store_op op, unsigned flags, const char *const *keywords, size_t keyword_count,
	uint64_t unchanged_since, struct numset *conflicts, uint64_t *modseq)
{
	(void)u;
	(void)mailbox;
	(void)keywords;
	(void)unchanged_since;
	(void)conflicts;
	ROOST_ASSERT(op == INDEX_STORE_ADD && keyword_count == 0);
	fake->stores++;
	if (fake->store_error)
		return fake->store_error;
	*modseq = ++fake->modseq;
	for (size_t i = 0; i < fake->count; i++) {
		if (!numset_contains(uids, fake->messages[i].uid))
			continue;
		fake->messages[i].flags |= flags;
		fake->messages[i].modseq = *modseq;
	}
	return OK;
}

/* ---- the view: all messages, those gone too ---- */

uint32_t
index_view_count(const struct index_view *v)
{
	(void)v;
	return (uint32_t)fake->count;
}

uint32_t
index_view_uid(const struct index_view *v, uint32_t seq)
{
	(void)v;
	return seq >= 1 && seq <= fake->count ? seq * 10 : 0;
}

uint32_t
index_view_seq(const struct index_view *v, uint32_t uid)
{
	(void)v;
	return find(uid) ? uid / 10 : 0;
}

uint32_t
index_view_lower(const struct index_view *v, uint32_t uid)
{
	uint64_t seq = ((uint64_t)uid + 9) / 10;

	(void)v;
	return seq < 1 ? 1 : seq > fake->count ? (uint32_t)fake->count + 1 : (uint32_t)seq;
}

uint64_t
index_view_modseq(const struct index_view *v)
{
	(void)v;
	return 1;
}

uint64_t
index_view_read_modseq(const struct index_view *v)
{
	return index_view_modseq(v);
}

int
index_mailbox_is_shared(uint32_t mailbox)
{
	(void)mailbox;
	return 0;
}

enum err
index_guest_rights(struct index_user *u, uint32_t mailbox, const char **owner, unsigned *rights)
{
	(void)u;
	(void)mailbox;
	*owner = NULL;
	*rights = 0;
	return OK;
}

enum err
index_metadata_get(struct index_user *u, uint32_t mailbox, struct str name, struct buf *value)
{
	(void)u;
	(void)mailbox;
	(void)name;
	(void)value;
	return E_NOTFOUND;
}

void
index_view_told(struct index_view *v, uint32_t uid, uint64_t modseq)
{
	(void)v;
	ROOST_ASSERT(find(uid) && modseq <= fake->modseq);
}

enum err
index_view_sync(
	struct index_view *v, int with_expunges, const struct index_view_events *events, void *arg)
{
	(void)v;
	(void)with_expunges;
	(void)events;
	(void)arg;
	return OK;
}

void
index_view_close(struct index_view **v)
{
	*v = NULL;
}

enum err
index_claim_recent(struct index_user *u, uint32_t mailbox, uint32_t *first)
{
	(void)u;
	(void)mailbox;
	*first = 0;
	return OK;
}

enum err
index_mailbox_get_id(struct index_user *u, uint32_t id, struct index_mailbox *out)
{
	(void)u;
	(void)id;
	(void)out;
	return E_NOTFOUND;
}

enum err
index_changed_since(struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out)
{
	(void)u;
	(void)mailbox;
	numset_free(out);
	for (size_t i = 0; i < fake->count; i++)
		if (!fake->messages[i].gone && fake->messages[i].modseq > since)
			numset_add(out, fake->messages[i].uid);
	return OK;
}

enum err
index_vanished_since(
	struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out, int *complete)
{
	(void)u;
	(void)mailbox;
	(void)since;
	numset_free(out);
	*complete = 1;
	return OK;
}

void
index_mailbox_free(struct index_mailbox *m)
{
	(void)m;
}

/* ---- the session around it ---- */

static const struct config no_limits;

int
session_should_end(const struct session *s)
{
	(void)s;
	return 0;
}

void
session_report(struct session *s, const char *user, const char *detail)
{
	(void)s;
	(void)user;
	(void)detail;
}

void
imap_state_set(struct imap_session *s, enum imap_state state)
{
	s->state = state;
}

void
imap_bye(struct imap_session *s, const char *reason, const char *text)
{
	(void)text;
	s->end = reason;
}

void
fake_init(struct fake *f, struct fake_message *messages, size_t count)
{
	int fds[2];

	memset(f, 0, sizeof(*f));
	ROOST_ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	f->messages = messages;
	f->count = count;
	f->modseq = 5;
	f->base.client = stream_create(fds[0]);
	f->peer = fds[1];
	f->session.base = &f->base;
	f->session.client = f->base.client;
	f->session.conf = &no_limits;
	f->session.state = IMAP_SELECTED;
	f->session.rights = RIGHTS_ALL;
	f->session.view = (struct index_view *)f; /* never looked into */
	for (size_t i = 0; i < count; i++) {
		messages[i].uid = (uint32_t)(i + 1) * 10;
		messages[i].modseq = 1;
		if (!messages[i].len)
			messages[i].len = strlen(messages[i].text);
		if (messages[i].recent)
			numset_add(&f->session.recent, messages[i].uid);
	}
	fake = f;
}

/* ---- running ---- */

struct script {
	struct str rest;
};

static enum err
script_line(void *ctx, struct str *line)
{
	struct script *script = ctx;

	if (!script->rest.p)
		return E_CLOSED;
	*line = str_split(&script->rest, '\n');
	if (line->len && line->p[line->len - 1] == '\r')
		line->len--;
	return OK;
}

static enum err
script_literal(void *ctx, int sync, char *p, size_t size)
{
	struct script *script = ctx;

	(void)sync;
	if (size > script->rest.len)
		return E_CLOSED;
	if (size == 0)
		return OK;
	memcpy(p, script->rest.p, size);
	script->rest = str_make(script->rest.p + size, script->rest.len - size);
	return OK;
}

static enum err
script_skip(void *ctx, uint64_t size)
{
	struct script *script = ctx;

	if (size > script->rest.len)
		return E_CLOSED;
	if (size)
		script->rest = str_make(script->rest.p + size, script->rest.len - size);
	return OK;
}

/* Takes what the server says as it says it: an answer may be larger than a socket's buffer. */
struct taker {
	int fd, ended;
	struct buf text;
};

static void *
take(void *arg)
{
	struct taker *t = arg;
	ssize_t n;

	do {
		buf_reserve(&t->text, 65536);
		n = read(t->fd, t->text.p + t->text.len, 65536);
		if (n > 0)
			t->text.len += (size_t)n;
	} while (n > 0 && !(t->text.p[t->text.len - 1] == '\0'));
	t->ended = n <= 0;
	return NULL;
}

static void
run_command(struct fake *f, struct imap_parser *p)
{
	struct imap_session *s = &f->session;
	struct str name;
	enum err e = imap_parser_next(p);

	if (!e)
		e = imap_parse_tag(p, &s->tag);
	imap_parse_space(p);
	s->uid = imap_parse_try_word(p, "UID");
	if (s->uid)
		imap_parse_space(p);
	e = imap_parse_atom(p, "expected a command", &name);
	s->command = str_is_i(name, "FETCH")  ? &imap_command_fetch
		     : str_is_i(name, "SORT") ? &imap_command_sort
					      : &imap_command_search;
	if (!e)
		e = s->command->run(s, p);
	if (e)
		stream_printf(s->client, "BAD %s\r\n", imap_parser_reason(p));
}

struct str
fake_run_bytes(struct fake *f, struct str command)
{
	struct script script = {command};
	struct imap_source source = {script_line, script_literal, script_skip, &script};
	struct taker taker = {.fd = f->peer};
	struct imap_parser parser;
	pthread_t thread;

	fake = f;
	imap_parser_init(&parser, &source);
	ROOST_ASSERT(pthread_create(&thread, NULL, take, &taker) == 0);
	run_command(f, &parser);
	/* A NUL is in no answer: it tells the taker that this is all. */
	stream_write(f->session.client, "", 1);
	stream_flush(f->session.client);
	pthread_join(thread, NULL);
	imap_parser_reset(&parser);
	ROOST_ASSERT(f->read_depth == 0);
	buf_free(&f->said);
	f->said = taker.text;
	if (!taker.ended)
		f->said.len--;
	buf_cstr(&f->said);
	return buf_str(&f->said);
}

struct str
fake_run(struct fake *f, const char *command)
{
	return fake_run_bytes(f, str_of(command));
}

void
fake_fini(struct fake *f)
{
	buf_free(&f->said);
	index_names_free(&f->session.keywords, f->session.keyword_count);
	numset_free(&f->session.recent);
	buf_free(&f->session.out);
	buf_free(&f->session.flags_line);
	stream_free(&f->base.client);
	if (f->peer >= 0)
		close(f->peer);
}

/* ---- rights: none are set ---- */

enum err
index_acl_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str identifier, struct str rights, void *arg), void *arg)
{
	(void)u;
	(void)mailbox;
	(void)cb;
	(void)arg;
	return OK;
}

enum err
index_acl_get(struct index_user *u, uint32_t mailbox, struct str identifier,
	char rights[INDEX_ACL_RIGHTS_SIZE])
{
	(void)u;
	(void)mailbox;
	(void)identifier;
	rights[0] = '\0';
	return E_NOTFOUND;
}

enum err
index_url_token(struct index_user *u, const struct index_mailbox *m, struct str rump,
	char token[INDEX_URL_TOKEN_SIZE])
{
	(void)u;
	(void)m;
	(void)rump;
	token[0] = '\0';
	return E_NOTFOUND;
}

enum err
index_url_open(struct index_user *u, struct str url, struct index_content *out)
{
	(void)u;
	(void)url;
	*out = (struct index_content){.fd = -1};
	return E_AUTH;
}

enum err
index_url_reset(struct index_user *u, const struct index_mailbox *m)
{
	(void)u;
	(void)m;
	return E_NOTFOUND;
}

enum err
index_url_key_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq)
{
	(void)u;
	(void)mailbox;
	*modseq = 0;
	return OK;
}

enum err
index_acl_set(struct index_user *u, uint32_t mailbox, struct str identifier, enum index_acl_op op,
	struct str rights)
{
	(void)u;
	(void)mailbox;
	(void)identifier;
	(void)op;
	(void)rights;
	return E_QUOTA;
}

enum err
index_mailbox_get(struct index_user *u, struct str name, struct index_mailbox *out)
{
	(void)u;
	(void)name;
	(void)out;
	return E_NOTFOUND;
}
