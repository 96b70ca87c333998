/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "index/message_parse.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/date.h"

/*
 * Quota warnings: when what a user has rises over a threshold, a mail says so. It is compared after
 * each request with what there was before it, so that each crossing is noticed once, and again
 * after the use went down. New limits warn nobody, and neither does a rebuild. The mail comes in
 * whatever the quota says; if it crosses the next threshold, that is said too.
 */

static const char built_in[] =
	"From: Mail system <postmaster@%{domain}>\n"
	"Subject: Your mailbox is %{percent}% full\n"
	"\n"
	"The mailbox %{user} holds %{used} of %{limit}.\n"
	"\n"
	"When it is full, new mail for you is refused. Please delete what you no longer\n"
	"need, and remember to empty the folder for deleted messages too.\n";

static int
is_over(uint64_t used, uint64_t limit, unsigned percent)
{
	return limit && used >= limit / 100 * percent + limit % 100 * percent / 100;
}

static int
is_crossed(
	const struct index_quota *was, const struct index_quota *is, const struct quota_warning *w)
{
	if (w->of_messages)
		return !is_over(was->messages, was->messages_limit, w->percent) &&
		       is_over(is->messages, is->messages_limit, w->percent);
	return !is_over(was->bytes, was->bytes_limit, w->percent) &&
	       is_over(is->bytes, is->bytes_limit, w->percent);
}

void
index_user_quota_look(struct index_user_entry *u, const struct index_quota *now)
{
	struct index_quota was = u->quota_seen;
	const struct index_warnings *ws = u->warnings;

	u->quota_seen = *now;
	if (!ws || was.bytes_limit != now->bytes_limit || was.messages_limit != now->messages_limit)
		return;
	for (size_t i = 0; i < ws->count; i++) {
		const struct quota_warning *w = &ws->items[i];

		/* Several at once: the highest says it all. */
		if (is_crossed(&was, now, w) && w->percent > u->warning.percent)
			u->warning = *w;
	}
}

/* ---- the mail ---- */

static void
add_amount(struct buf *out, const struct quota_warning *w, uint64_t n)
{
	static const char *const units[] = {"KB", "MB", "GB", "TB"};
	uint64_t unit = 1024;
	size_t i = 0;

	if (w->of_messages) {
		buf_printf(out, "%llu messages", (unsigned long long)n);
		return;
	}
	for (; i + 1 < sizeof(units) / sizeof(units[0]) && n / unit >= 1024; i++)
		unit *= 1024;
	buf_printf(out, "%llu.%llu %s", (unsigned long long)(n / unit),
		(unsigned long long)(n % unit * 10 / unit), units[i]);
}

static void
add_variable(struct buf *out, struct str name, const struct index_user_entry *u)
{
	const struct index_quota *q = &u->quota_seen;
	const struct quota_warning *w = &u->warning;
	const char *at = strrchr(u->name, '@');

	if (str_is(name, "user"))
		buf_add_cstr(out, u->name);
	else if (str_is(name, "domain"))
		buf_add_cstr(out, at ? at + 1 : u->warnings->host);
	else if (str_is(name, "percent"))
		buf_add_u64(out, w->percent);
	else if (str_is(name, "used"))
		add_amount(out, w, w->of_messages ? q->messages : q->bytes);
	else if (str_is(name, "limit"))
		add_amount(out, w, w->of_messages ? q->messages_limit : q->bytes_limit);
	else
		buf_printf(out, "%%{%.*s}", STR_ARG(name));
}

static void
fill_in(struct buf *out, struct str template, const struct index_user_entry *u)
{
	while (template.len) {
		size_t at = str_find_str(template, STR("%{"));
		size_t end = at < template.len ? str_find(template, at, '}') : template.len;

		if (end == template.len) {
			buf_add_str(out, template);
			return;
		}
		buf_add(out, template.p, at);
		add_variable(out, str_make(template.p + at + 2, end - at - 2), u);
		template = str_make(template.p + end + 1, template.len - end - 1);
	}
}

static void
write_mail(struct buf *out, const struct index_user_entry *u)
{
	const char *template = u->warnings->text[0] ? u->warnings->text : built_in;
	time_t now = time(NULL);
	char random[33];

	io_random_hex(random, 16);
	buf_add_cstr(out, "Return-Path: <>\nDate: ");
	date_format_rfc5322(now, date_local_zone(now), out);
	buf_printf(out,
		"\nMessage-ID: <%s@%s>\nTo: %s\n"
		/* RFC 3834 section 5 */
		"Auto-Submitted: auto-generated\nMIME-Version: 1.0\n"
		"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n",
		random, u->warnings->host, u->name);
	fill_in(out, str_of(template), u);
}

/* Into tmp/ and from there as any other message. */
static enum err
deliver(struct index_user_entry *u, const struct buf *text)
{
	struct index_core_append m = {.over_quota = 1};
	struct message_parsed parsed = {0};
	char random[17], name[64], path[80];
	uint32_t inbox, uidvalidity, uid;
	uint64_t modseq;
	int dir = index_core_maildir_dup(u->core), fd = -1;
	enum err e = dir < 0 ? E_IO : index_core_lookup(u->core, STR("INBOX"), &inbox);

	io_random_hex(random, 8);
	snprintf(name, sizeof(name), "warning.%s", random);
	snprintf(path, sizeof(path), "tmp/%s", name);
	if (e == OK) {
		fd = openat(dir, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		e = fd < 0 ? E_IO : io_write_all(fd, text->p, text->len);
	}
	if (e == OK && fsync(fd) != 0)
		e = E_IO;
	if (e == OK)
		e = message_parse_fd(fd, text->len, &parsed);
	if (e == OK) {
		m.tmp_name = str_of(name);
		m.size = parsed.size_crlf;
		m.cache = buf_str(&parsed.cache);
		memcpy(m.email_id, parsed.email_id, sizeof(m.email_id));
		memcpy(m.thread_id, parsed.thread_id, sizeof(m.thread_id));
		e = index_core_append(u->core, inbox, &m, 1, &uidvalidity, &modseq, &uid);
	}
	if (e && fd >= 0)
		(void)unlinkat(dir, path, 0);
	message_parsed_free(&parsed);
	io_close(&fd);
	io_close(&dir);
	return e;
}

void
index_user_warn(struct index_user_entry *u)
{
	while (u->warning.percent && u->warnings) {
		struct buf text = {0};
		struct index_quota now;
		enum err e;

		write_mail(&text, u);
		e = deliver(u, &text);
		log_event(e ? LOGL_ERROR : LOGL_INFO,
			e ? "index.quota unwarned" : "index.quota warning", "user", u->name,
			"resource", u->warning.of_messages ? "MESSAGE" : "STORAGE", "percent",
			log_u64(u->warning.percent), "error", e ? err_word(e) : NULL, NULL);
		buf_free(&text);
		u->warning = (struct quota_warning){0};
		index_core_quota(u->core, &now);
		index_user_quota_look(u, &now);
	}
}

/* ---- what to warn of ---- */

struct index_warnings *
index_warnings_create(const struct config *conf, const char *host)
{
	struct index_warnings *w = MEM_NEW(struct index_warnings);

	for (size_t i = 0; i < conf->quota_warning.count && w->count < QUOTA_WARNINGS_MAX; i++)
		if (quota_warning_parse(
			    str_of(conf->quota_warning.items[i]), &w->items[w->count]) == OK)
			w->count++;
	w->text = mem_strdup(conf->quota_warning_text);
	w->host = mem_strdup(host);
	return w;
}

void
index_warnings_free(struct index_warnings **w)
{
	if (*w) {
		free((*w)->text);
		free((*w)->host);
	}
	MEM_FREE(*w);
}
