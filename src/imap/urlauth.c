/* SPDX-License-Identifier: MIT */
#include "imap/urlauth.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "imap/part.h"
#include "imap/rights.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "mail/imap_url.h"

/*
 * GENURLAUTH, RESETKEY and URLFETCH (RFC 4467 section 7), and URL-PARTIAL in them (RFC 5550 section
 * 5.7.1). What a URL is good for is roost-index's to say; here its section is cut out.
 */

enum {
	URLS_MAX = 100, /* of one command */
	/* A URL that is refused is answered no sooner, so that nothing shows in the time. */
	REFUSED_MS = 20,
};

static const char mechanism_internal[] = "INTERNAL";
static const char no_mechanism[] = "There is no such mechanism";
static const char no_mailbox[] = "There is no such mailbox";
static const char by_group[] = "A right that only a group has makes no URL";
static const char many_keys[] = "Too many mailboxes have keys";
static const char many_urls[] = "So many URLs at once are not served";

static void
urls_free(char **urls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(urls[i]);
	free(urls);
}

/* One more astring of a command; beyond URLS_MAX they are only counted. */
static void
url_take(struct imap_parser *p, char ***urls, size_t *count)
{
	struct str text;

	if (imap_parse_space(p) || imap_parse_astring(p, &text))
		return;
	if (*count < URLS_MAX) {
		*urls = mem_realloc(*urls, *count + 1, sizeof(**urls));
		(*urls)[*count] = str_dup(text);
	}
	++*count;
}

static size_t
kept(size_t count)
{
	return count < URLS_MAX ? count : URLS_MAX;
}

/* ---- GENURLAUTH ---- */

/*
 * *problem: why a rump URL is BAD; NULL and OK: it can be signed, and *box is the mailbox that it
 * is of, which the caller frees in any case. E_NOTFOUND: there is none.
 */
static enum err
rump_check(struct imap_session *s, struct str text, struct index_mailbox *box, const char **problem)
{
	struct imap_url url;
	char *user = NULL;
	enum err e = OK;

	*problem = NULL;
	*box = (struct index_mailbox){0};
	if (imap_url_parse_auth(text, 1, &url)) {
		*problem = "This is no URL of a message with an owner and an access identifier";
	} else {
		user = imap_url_user(url.user, s->user.name);
		/* Nobody learns here which users there are: another is another. */
		if (strcmp(user, s->user.name) != 0)
			*problem = "The owner in the URL is somebody else";
		else
			e = index_mailbox_get(s->index, str_of(url.mailbox), box);
		if (!e && !*problem && index_mailbox_is_shared(box->id))
			e = imap_rights_check(s, box->id, RIGHT_READ);
		if (!e && !*problem && url.uidvalidity && url.uidvalidity != box->uidvalidity)
			e = E_NOTFOUND;
	}
	free(user);
	imap_url_fini(&url);
	return e;
}

/* One URL with its token, behind a space. */
static enum err
sign(struct imap_session *s, const char *rump, const struct index_mailbox *box, struct buf *line)
{
	char token[INDEX_URL_TOKEN_SIZE];
	struct buf full = {0};
	enum err e = index_url_token(s->index, box, str_of(rump), token);

	(void)buf_printf(&full, "%s:%s:%s", rump, mechanism_internal, token);
	(void)buf_add_char(line, ' ');
	imap_write_astring(line, buf_str(&full));
	buf_free(&full);
	return e;
}

/* All or none. *problem: BAD is the answer. */
static enum err
sign_all(struct imap_session *s, char *const *urls, size_t count, struct buf *line,
	const char **problem)
{
	struct index_mailbox *boxes = mem_zalloc(count * sizeof(*boxes));
	enum err e = OK;

	*problem = NULL;
	for (size_t i = 0; i < count && !e && !*problem; i++)
		e = rump_check(s, str_of(urls[i]), &boxes[i], problem);
	for (size_t i = 0; i < count && !e && !*problem; i++)
		e = sign(s, urls[i], &boxes[i], line);
	for (size_t i = 0; i < count; i++)
		index_mailbox_free(&boxes[i]);
	free(boxes);
	return e;
}

static enum err
generate(struct imap_session *s, char *const *urls, size_t count)
{
	struct buf line = {0};
	const char *problem;
	enum err e;

	(void)buf_add_cstr(&line, "GENURLAUTH");
	e = sign_all(s, urls, count, &line, &problem);
	if (!e && !problem) {
		(void)buf_add_buf(&s->out, &line);
		imap_untagged_out(s);
	}
	buf_free(&line);
	if (problem || e == E_NOTFOUND)
		return imap_reply_bad(s, NULL, problem ? problem : no_mailbox);
	if (e == E_QUOTA)
		return imap_reply_no(s, "LIMIT", many_keys);
	if (e == E_UNSUPPORTED)
		return imap_reply_no(s, "CANNOT", by_group);
	return e ? imap_reply_error(s, e, "mailbox")
		 : imap_reply_ok(s, NULL, "Genurlauth completed");
}

static enum err
run_genurlauth(struct imap_session *s, struct imap_parser *p)
{
	char **urls = NULL;
	size_t count = 0;
	int other = 0;
	enum err e;

	do {
		struct str mechanism = {0};

		url_take(p, &urls, &count);
		(void)imap_parse_space(p);
		(void)imap_parse_word(p, "expected a mechanism", &mechanism);
		other |= !str_is_i(mechanism, mechanism_internal);
	} while (!p->err && !imap_parse_at_end(p));
	e = imap_parse_end(p);
	if (!e && count > URLS_MAX)
		e = imap_reply_no(s, "LIMIT", many_urls);
	else if (!e && other)
		e = imap_reply_no(s, "CANNOT", no_mechanism);
	else if (!e)
		e = generate(s, urls, count);
	urls_free(urls, kept(count));
	return e;
}

/* ---- RESETKEY ---- */

static enum err
reset_all(struct imap_session *s)
{
	enum err e = index_url_reset(s->index, NULL);

	return e ? imap_reply_error(s, e, "mailbox") : imap_reply_ok(s, NULL, "All keys removed");
}

static enum err
reset_one(struct imap_session *s, struct str name)
{
	struct index_mailbox box = {0};
	enum err e = index_mailbox_get(s->index, name, &box);

	if (!e)
		e = index_url_reset(s->index, &box);
	/* The reply tells this session, the synchronization all others. */
	if (!e && s->view && box.id == s->mailbox)
		(void)index_url_key_modseq(s->index, box.id, &s->url_key_told);
	index_mailbox_free(&box);
	if (e == E_QUOTA)
		return imap_reply_no(s, "LIMIT", many_keys);
	return e ? imap_reply_error(s, e, "mailbox")
		 : imap_reply_ok(s, "URLMECH INTERNAL", "Resetkey completed");
}

static enum err
run_resetkey(struct imap_session *s, struct imap_parser *p)
{
	struct str name = {0}, mechanism;
	int other = 0, named = !imap_parse_at_end(p);

	if (named) {
		(void)imap_parse_space(p);
		(void)imap_parse_mailbox(p, &name);
	}
	while (named && !p->err && !imap_parse_at_end(p)) {
		(void)imap_parse_space(p);
		if (!imap_parse_word(p, "expected a mechanism", &mechanism))
			other |= !str_is_i(mechanism, mechanism_internal);
	}
	if (imap_parse_end(p))
		return p->err;
	if (other)
		return imap_reply_no(s, "CANNOT", no_mechanism);
	if (named && name.len == 0)
		return imap_reply_error(s, E_NOTFOUND, "mailbox");
	return named ? reset_one(s, name) : reset_all(s);
}

/* ---- what is told of keys unasked ---- */

void
imap_urlauth_selected(struct imap_session *s)
{
	s->url_key_told = 0;
	(void)index_url_key_modseq(s->index, s->mailbox, &s->url_key_told);
	imap_untagged(s, "OK [URLMECH INTERNAL] URLs with an authorization");
}

void
imap_urlauth_sync(struct imap_session *s)
{
	uint64_t now = 0;

	if (index_url_key_modseq(s->index, s->mailbox, &now) || now <= s->url_key_told)
		return;
	s->url_key_told = now;
	imap_untagged(s, "OK [URLMECH INTERNAL] The key was reset");
}

/* ---- URLFETCH ---- */

static enum err
to_client(void *ctx, const char *bytes, size_t len)
{
	return stream_write(ctx, bytes, len);
}

/* An nstring. A part that is not there is an empty one (RFC 4467, BASE.7.4.URLFETCH). */
static enum err
section_send(
	struct imap_session *s, const struct imap_url *url, const struct index_content *content)
{
	struct imap_part part;
	enum err e = imap_part_open(&url->section, content, &part);
	uint64_t len = e ? 0 : section_range_len(&part.data, url->off, url->count);

	if (e == E_NOTFOUND || (!e && len == 0)) {
		(void)stream_write_cstr(s->client, "\"\"");
		e = OK;
	} else if (e) {
		(void)stream_write_cstr(s->client, "NIL");
	} else {
		(void)stream_printf(s->client, "{%" PRIu64 "}\r\n", len);
		/* The count is said already. */
		if (section_write(&part.data, url->off, url->count, 0, to_client, s->client))
			imap_bye(s, "content", "[SERVERBUG] The message does not hold together");
	}
	imap_part_close(&part);
	return e;
}

static void
refused_wait(int64_t begun_ms)
{
	int64_t left = begun_ms + REFUSED_MS - io_now_ms();

	if (left > 0)
		(void)poll(NULL, 0, (int)left);
}

/* E_AUTH: it was answered with NIL. */
static enum err
url_send(struct imap_session *s, struct str text)
{
	struct index_content content = {.fd = -1};
	int64_t begun_ms = io_now_ms();
	struct imap_url url;
	enum err e = imap_url_parse_auth(text, 0, &url) ? E_AUTH : OK;

	(void)buf_add_char(&s->out, ' ');
	imap_write_astring(&s->out, text);
	(void)buf_add_char(&s->out, ' ');
	(void)stream_write_str(s->client, buf_str(&s->out));
	buf_reset(&s->out);
	if (!e)
		e = index_url_open(s->index, text, &content);
	if (e) {
		refused_wait(begun_ms);
		(void)stream_write_cstr(s->client, "NIL");
	} else {
		e = section_send(s, &url, &content);
		index_content_close(&content);
	}
	imap_url_fini(&url);
	return e;
}

/* All are answered in one response; a failure of our own is told at the end (BASE.6.3.URLFETCH). */
static enum err
fetch(struct imap_session *s, char *const *urls, size_t count)
{
	enum err failed = OK;

	(void)stream_write_cstr(s->client, "* URLFETCH");
	for (size_t i = 0; i < count && !s->end; i++) {
		enum err e = url_send(s, str_of(urls[i]));

		if (e && e != E_AUTH)
			failed = e;
		if (stream_error(s->client))
			return OK;
	}
	if (s->end)
		return OK;
	(void)stream_write_cstr(s->client, "\r\n");
	return failed ? imap_reply_error(s, failed, "message")
		      : imap_reply_ok(s, NULL, "Urlfetch completed");
}

static enum err
run_urlfetch(struct imap_session *s, struct imap_parser *p)
{
	char **urls = NULL;
	size_t count = 0;
	enum err e;

	do {
		url_take(p, &urls, &count);
	} while (!p->err && !imap_parse_at_end(p));
	e = imap_parse_end(p);
	if (!e)
		e = count > URLS_MAX ? imap_reply_no(s, "LIMIT", many_urls) : fetch(s, urls, count);
	urls_free(urls, kept(count));
	return e;
}

const struct imap_command imap_command_genurlauth = {
	.name = "GENURLAUTH",
	.rfc = "4467 7",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "URLAUTH",
	.run = run_genurlauth,
};
const struct imap_command imap_command_resetkey = {
	.name = "RESETKEY",
	.rfc = "4467 7",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_resetkey,
};
const struct imap_command imap_command_urlfetch = {
	.name = "URLFETCH",
	.rfc = "4467 7",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_urlfetch,
};
