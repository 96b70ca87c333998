/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtp_edit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/spool.h"

struct smtp_edited {
	struct spool spool; /* the message in its file */
	struct content *content; /* with its header changed */
	struct smtp_send original;
	char *sender;
	struct smtp_send_rcpt *rcpts;
	size_t rcpt_count;
};

enum err
smtp_edit_open(const struct config *conf, struct maps *maps, struct smtp_edit *edit)
{
	enum err e = OK;

	memset(edit, 0, sizeof(*edit));
	if (conf->smtp_generic_maps.count > 0)
		e = rewrite_open_generic(conf, maps, &edit->generic);
	if (e == OK)
		e = map_list_open(maps, "smtp_header_checks", &conf->smtp_header_checks,
			&edit->checks.header);
	edit->checks.changes_only = 1;
	return e;
}

void
smtp_edited_free(struct smtp_edited **m)
{
	size_t i;

	if (*m == NULL)
		return;
	content_free(&(*m)->content);
	spool_free(&(*m)->spool);
	for (i = 0; i < (*m)->rcpt_count; i++)
		free((char *)(uintptr_t)(*m)->rcpts[i].address);
	free((*m)->rcpts);
	free((*m)->sender);
	MEM_FREE(*m);
}

static enum err
read_edited(void *arg, uint64_t offset, void *p, size_t size, struct str *out)
{
	struct smtp_edited *m = arg;
	enum err e = content_read(m->content, offset, p, size, out);

	/* The end is the original's: it knows whether anybody still waits for this. */
	if (e == OK && out->len == 0)
		e = m->original.read(m->original.arg, m->original.size, p, size, out);
	return e;
}

/* *out is on the heap. */
static enum err
rewrite(const struct smtp_edit *edit, enum rewrite_class c, const char *address, char **out)
{
	struct buf to = BUF_INIT(MAP_KEY_MAX);
	enum err e = rewrite_envelope(edit->generic, c, str_of(address), &to);

	*out = e ? mem_strdup(address) : buf_steal(&to);
	buf_free(&to);
	return e;
}

static enum err
edit_envelope(const struct smtp_edit *edit, struct smtp_edited *m, struct smtp_send *send)
{
	enum err e = rewrite(edit, REWRITE_SENDER, send->sender, &m->sender);
	size_t i;

	m->rcpts = mem_zalloc((send->rcpt_count + 1) * sizeof(*m->rcpts));
	for (i = 0; e == OK && i < send->rcpt_count; i++) {
		char *address;

		m->rcpts[i] = send->rcpts[i];
		e = rewrite(edit, REWRITE_RECIPIENT, send->rcpts[i].address, &address);
		m->rcpts[i].address = address;
		m->rcpt_count++;
	}
	send->sender = m->sender;
	send->rcpts = m->rcpts;
	return e;
}

static enum err
edit_header(const struct smtp_edit *edit, struct agent *a, struct smtp_edited *m)
{
	struct content_verdict verdict = {0};
	enum err e = spool_of_file(&m->spool, a->file, a->job.content_offset, a->job.content_len);

	if (e == OK)
		e = content_load(&m->spool, NULL, &m->content);
	if (e == OK && edit->generic)
		e = rewrite_header(edit->generic, m->content);
	if (e == OK && !content_checks_empty(&edit->checks)) {
		e = content_checks_run(&edit->checks, m->content, a->job.id, &verdict);
		content_verdict_free(&verdict);
	}
	return e;
}

enum err
smtp_edit_message(const struct smtp_edit *edit, struct agent *a, struct smtp_edited **out,
	struct smtp_answer *why)
{
	struct smtp_edited *m;
	enum err e = OK;

	*out = NULL;
	if (a->job.filter || a->job.lmtp ||
		(edit->generic == NULL && content_checks_empty(&edit->checks)))
		return OK;
	m = *out = MEM_NEW(struct smtp_edited);
	m->spool.fd = -1;
	m->original = a->send;
	if (edit->generic)
		e = edit_envelope(edit, m, &a->send);
	if (e == OK)
		e = edit_header(edit, a, m);
	if (e) {
		smtp_answer_set(why, e == E_TOOBIG ? QUEUE_FAILED : QUEUE_PENDING,
			e == E_TOOBIG ? "5.3.4" : "4.3.0",
			"the message could not be rewritten for the way out: %s", err_text(e));
		return e;
	}
	if (content_changed(m->content)) {
		a->send.read = read_edited;
		a->send.arg = m;
		a->send.size = content_size(m->content);
	}
	return OK;
}
