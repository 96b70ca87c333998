/* SPDX-License-Identifier: MIT */
#include "imap/sleep.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "auth/seal.h"
#include "idle/idle_client.h"
#include "idle/idle_proto.h"
#include "imap/deflate.h"
#include "imap/rights.h"
#include "imap/sleep_state.h"
#include "imap/state.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

#if UINTPTR_MAX == UINT64_MAX && !defined(__SANITIZE_ADDRESS__)
/*
 * Whoever adds a field to the session: does it last from one command to the next, so that a client
 * would notice if a sleep lost it? Then it belongs into struct imap_sleep_state as well. Then write
 * the new size here.
 */
_Static_assert(sizeof(struct imap_session) == 752,
	"imap_session has a new field: see the comment in sleep.c");
#endif

static const char seal_label[] = "imap-sleep";

/* What a state is bound to: a session has one id all its life, and one user. */
static char *
seal_context(const char *id, const char *user)
{
	return mem_printf("%s %s", id, user);
}

int64_t
imap_sleep_due_ms(const struct imap_session *s, int64_t since_ms)
{
	return s->conf->imap_hibernate_after ? since_ms + s->conf->imap_hibernate_after : INT64_MAX;
}

/* ---- falling asleep ---- */

/* Nothing under way that only this process knows of. */
static int
may_sleep(struct imap_session *s)
{
	return s->conf->imap_hibernate_after > 0 && s->base->channel >= 0 && !s->contexts &&
	       !s->notify && s->user.resume.len > 0 && !session_should_end(s->base) && !s->end &&
	       stream_flush(s->client) == OK && stream_input_available(s->client) == 0 &&
	       !stream_has_raw_input(s->client);
}

/* *box: the selected mailbox, whose strings state borrows. */
static enum err
state_make(struct imap_session *s, struct index_mailbox *box, struct buf *view, struct buf *inflate,
	struct imap_sleep_state *state)
{
	enum err e = OK;

	if (stream_filter_ctx(s->client)) {
		e = imap_deflate_keep(s->client, inflate);
		if (e)
			return e;
		state->deflated = 1;
		state->inflate = buf_str(inflate);
	}

	state->enabled = s->enabled;
	state->errors = s->errors;
	state->bytes_in = s->bytes_in_before + stream_bytes_in(s->client);
	state->bytes_out = s->bytes_out_before + stream_bytes_out(s->client);
	if (!s->view)
		return OK;
	e = index_mailbox_get_id(s->index, s->mailbox, box);
	e = e ? e : index_view_keep(s->view, view);
	state->selected = 1;
	state->mailbox = s->mailbox;
	state->uidvalidity = s->uidvalidity;
	state->object_id = str_of(box->object_id);
	state->read_only = s->read_only;
	state->modseq_held = s->modseq_held;
	state->modseq_sent = s->modseq_sent;
	state->keywords_told = imap_sleep_keywords(s->keywords, s->keyword_count);
	state->url_key_told = s->url_key_told;
	state->view = buf_str(view);
	state->recent = s->recent; /* borrowed, as is the next */
	state->saved = s->saved;
	return e;
}

/* The body of the SESSION_HANDOVER that wakes the session. */
static enum err
handover_make(struct imap_session *s, const struct imap_sleep_state *state, struct buf *out)
{
	struct session_info info = s->base->info; /* borrowed */
	struct buf plain = BUF_INIT(IMAP_SLEEP_STATE_MAX), sealed = {0};
	char *context = seal_context(info.id, s->user.name);
	char nothing[] = "";
	enum err e;

	imap_sleep_state_put(&plain, state);
	e = plain.err ? plain.err
		      : seal_make(s->conf->imap_sleep_key, seal_label, str_of(context),
				buf_str(&plain), &sealed);
	info.user = s->user.name;
	info.token = info.tag = info.input = nothing;
	info.input_len = 0;
	info.resume = s->user.resume.p;
	info.resume_len = s->user.resume.len;
	info.state = sealed.p;
	info.state_len = sealed.len;
	info.bytes_in = state->bytes_in;
	info.bytes_out = state->bytes_out;
	if (!e)
		session_info_put(out, &info);
	buf_free(&plain);
	buf_free(&sealed);
	free(context);
	return e;
}

static enum err
give_away(struct imap_session *s, const struct idle_sleep *f)
{
	enum err e = session_sleeps(s->base, 1);

	if (e)
		return e;
	e = idle_sleep(s->conf, stream_fd(s->client), f);
	if (e == E_TEMPFAIL)
		(void)session_sleeps(s->base, 0);
	if (e == E_STATE)
		(void)shutdown(stream_fd(s->client), SHUT_RDWR);
	return e;
}

int
imap_sleep(struct imap_session *s, const struct imap_sleep_idle *idle, int64_t deadline_ms)
{
	struct imap_sleep_state state = {0};
	struct index_mailbox box = {0};
	struct buf view = {0}, inflate = {0}, token = {0}, handover = {0};
	struct idle_sleep f = {.bye_ms = deadline_ms};
	enum err e;

	if (!may_sleep(s))
		return 0;
	if (idle) {
		state.tag = s->tag;
		state.deadline_ms = deadline_ms;
		f.idling = 1;
		f.still_here_ms = idle->still_here_ms;
	}
	e = state_make(s, &box, &view, &inflate, &state);
	f.deflated = state.deflated;
	/* Between commands nothing is told of the mailbox, so nobody needs to watch it. */
	if (!e && idle && s->view) {
		f.modseq = index_view_read_modseq(s->view);
		e = index_sleep_token(s->index, s->mailbox, &token);
	}
	e = e ? e : handover_make(s, &state, &handover);
	f.watch = buf_str(&token);
	f.mailbox = box.name;
	f.handover = buf_str(&handover);
	e = e ? e : give_away(s, &f);
	if (e == OK)
		s->end = "sleep";
	else if (e == E_STATE)
		s->end = "lost";
	else
		log_event(LOGL_DEBUG, "imap.sleep failed", "error", err_word(e), NULL);
	index_mailbox_free(&box);
	buf_free(&view);
	buf_free(&inflate);
	buf_free(&token);
	buf_wipe(&handover);
	buf_free(&handover);
	return s->end != NULL;
}

/* ---- waking ---- */

int
imap_sleep_is_wake(const struct session *base)
{
	return base->info.state_len > 0;
}

struct find {
	const struct imap_sleep_state *state;
	uint32_t id;
};

static enum err
find_one(const struct index_mailbox *m, void *arg)
{
	struct find *f = arg;

	if (m->uidvalidity != f->state->uidvalidity || !str_is(f->state->object_id, m->object_id))
		return OK;
	f->id = m->id;
	return E_CANCELLED; /* found */
}

/* A mailbox is the same under the same UIDVALIDITY and object id; a rebuilt index numbers anew. */
static enum err
mailbox_find(struct imap_session *s, const struct imap_sleep_state *state, uint32_t *id)
{
	struct find f = {.state = state};
	struct index_mailbox box = {0};
	enum err e = index_mailbox_get_id(s->index, state->mailbox, &box);

	if (!e)
		(void)find_one(&box, &f);
	index_mailbox_free(&box);
	if (!f.id && (!e || e == E_NOTFOUND)) {
		e = index_mailbox_each(s->index, find_one, &f);
		if (!e)
			e = E_NOTFOUND;
	}
	*id = f.id;
	return f.id ? OK : e;
}

static enum err
mailbox_restore(struct imap_session *s, struct imap_sleep_state *state)
{
	struct index_mailbox box = {0};
	uint32_t id;
	enum err e = mailbox_find(s, state, &id);

	e = e ? e : index_view_reopen(s->index, id, state->view, &s->view);
	e = e ? e : index_mailbox_keywords_epoch(s->index, id, &s->keywords_epoch);
	e = e ? e : index_mailbox_keywords(s->index, id, &s->keywords, &s->keyword_count);
	e = e ? e : index_mailbox_get_id(s->index, id, &box);
	e = e ? e : imap_rights_get(s, id, &s->rights, NULL);
	if (!e) {
		s->mailbox = id;
		s->uidvalidity = state->uidvalidity;
		s->read_only = state->read_only;
		s->modseq_held = state->modseq_held;
		s->modseq_sent = state->modseq_sent;
		s->url_key_told = state->url_key_told;
		s->recent = state->recent;
		s->saved = state->saved;
		state->recent = state->saved = (struct numset){0};
		imap_state_set(s, IMAP_SELECTED);
		session_report(s->base, s->user.name, box.name);
		if (imap_sleep_keywords(s->keywords, s->keyword_count) != state->keywords_told)
			imap_send_mailbox_flags(s);
	}
	index_mailbox_free(&box);
	return e;
}

static enum err
state_restore(struct imap_session *s, struct imap_sleep_state *state)
{
	s->enabled = state->enabled;
	s->errors = state->errors;
	s->bytes_in_before = state->bytes_in;
	s->bytes_out_before = state->bytes_out;
	if (state->deflated) {
		enum err e = imap_deflate_start(s->client, state->inflate);

		if (e)
			return e;
	}
	if (state->deadline_ms) {
		s->woken.tag = str_dup(state->tag);
		s->woken.deadline_ms = state->deadline_ms;
	}
	return state->selected ? mailbox_restore(s, state) : OK;
}

/* *state borrows from base. */
static enum err
state_open(struct session *base, const char *user, struct imap_sleep_state *state)
{
	const struct session_info *info = &base->info;
	char *context = seal_context(info->id, user);
	struct str body;
	enum err e = seal_open(base->conf->imap_sleep_key, seal_label, str_of(context),
		str_make(info->state, info->state_len), &body);

	*state = (struct imap_sleep_state){0};
	free(context);
	return e ? e : imap_sleep_state_get(body, state);
}

/* The client has sent something already: a close with bytes unread would take the words back. */
void
imap_sleep_refuse(struct session *base, const char *text)
{
	struct imap_sleep_state state;
	char *line = mem_printf("* BYE %s\r\n", text), scratch[4096];
	int fd = stream_fd(base->client);
	struct buf out = {0};

	/* Who it is does not matter for how to say it. */
	(void)state_open(base, base->info.user, &state);
	idle_text_put(&out, state.deflated, line);
	(void)stream_write_str(base->client, buf_str(&out));
	(void)stream_flush(base->client);
	(void)shutdown(fd, SHUT_WR);
	while (recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0)
		;
	imap_sleep_state_free(&state);
	buf_free(&out);
	free(line);
}

void
imap_sleep_wake(struct imap_session *s)
{
	struct imap_sleep_state state;
	enum err e = state_open(s->base, s->user.name, &state);

	e = e ? e : state_restore(s, &state);
	if (e == E_NOTFOUND)
		imap_bye(s, "deleted", "The selected mailbox was deleted");
	else if (e)
		imap_bye(s, "wake", "[UNAVAILABLE] Your mail is not available at the moment");
	log_event(e ? LOGL_WARN : LOGL_DEBUG, e ? "imap.wake failed" : "imap.wake ok", "user",
		s->user.name, "error", e ? err_word(e) : NULL, NULL);
	imap_sleep_state_free(&state);
}
