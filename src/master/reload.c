/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/master_proto.h"
#include "lib/mem.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/program_check.h"
#include "master/setup.h"

/* What daemons have built upon cannot change under them. */
static void
refuse_change(const char *name, const char *was, const char *is, struct buf *problems)
{
	if (strcmp(was, is) != 0)
		buf_printf(problems,
			"setting '%s': it was \"%s\" and is now \"%s\"; that takes effect with a "
			"restart only\n",
			name, was, is);
}

static enum err
check_unchangeable(const struct config *was, const struct config *is, struct buf *problems)
{
	size_t before = problems->len;

	refuse_change("state_dir", was->state_dir, is->state_dir, problems);
	refuse_change("mail_dir", was->mail_dir, is->mail_dir, problems);
	refuse_change("queue_dir", was->queue_dir, is->queue_dir, problems);
	refuse_change("index_dir", was->index_dir, is->index_dir, problems);
	refuse_change("user", was->user, is->user, problems);
	refuse_change("mail_user", was->mail_user, is->mail_user, problems);
	refuse_change("db", was->db, is->db, problems);
	return problems->len > before ? E_STATE : OK;
}

static void
copy_setting(char **to, const char *from)
{
	free(*to);
	*to = mem_strdup(from);
}

/*
 * Those whose sockets changed, or settings that they cannot take over, are replaced: the new one
 * serves who comes from now on, the old one ends when its clients are done. All others get the
 * settings sent.
 */
static void
spread(struct master *m, const struct listeners *old, const struct config *old_conf)
{
	struct child *end = NULL;

	for (struct child *c = m->children; c; c = c->next)
		end = c;
	for (struct child *c = m->children; c; c = c->next) {
		if (!listeners_same(old, &m->listeners, c->def) ||
			daemon_must_restart(c->def, old_conf, m->conf)) {
			c->retired = 1;
			if (c->state == CHILD_WAITING || c->state == CHILD_RESTING)
				child_stop(c);
		} else if (c->state == CHILD_RESTING) {
			child_rest_anew(c);
		} else if (c->state != CHILD_WAITING) {
			int fd;
			if (child_settings_fd(m->conf, c->def, &fd) == OK)
				child_send_fd(c, MASTER_RELOAD, fd);
			io_close(&fd);
		}
		if (c == end)
			break;
	}
	/* Fewer proxies than before: the surplus goes the same way. */
	for (size_t i = 0; i < daemon_def_count; i++) {
		unsigned have = 0, want = daemon_wanted(&daemon_defs[i], m->conf);
		for (struct child *c = m->children; c; c = c->next)
			if (c->def == &daemon_defs[i] && !c->retired && ++have > want)
				c->retired = 1;
	}
	if (m->phase == MASTER_RUNNING || master_have_last(m))
		master_start_wanted(m, 1);
	master_start_wanted(m, 0);
	for (struct child *c = m->children; c; c = c->next)
		if (c->retired)
			child_retire(c);
}

static void
spread_log(struct master *m, int fd)
{
	if (fd < 0)
		return;
	for (struct child *c = m->children; c; c = c->next)
		child_send_fd(c, MASTER_LOG, fd);
}

static enum err
reload_checked(struct master *m, struct config *fresh, struct buf *problems)
{
	struct listeners listeners;
	int log_fd = -1;
	enum err e = check_unchangeable(m->conf, fresh, problems), e2;

	setup_hostname(fresh);
	copy_setting(&fresh->ticket_key, m->conf->ticket_key);
	copy_setting(&fresh->imap_sleep_key, m->conf->imap_sleep_key);
	copy_setting(&fresh->proxy_return_key, m->conf->proxy_return_key);
	setup_secret(&fresh->tls_ticket_key);
	e2 = setup_check(fresh, problems);
	e = e ? e : e2;
	e2 = cert_load(fresh, 1, problems);
	e = e ? e : e2;
	e2 = setup_quota_warning(fresh, problems);
	e = e ? e : e2;
	/* Last, and of what is well-formed: it costs a process for each. */
	if (!e)
		e = program_check(fresh, NULL, problems);
	if (setup_log_open(fresh, &log_fd)) {
		buf_printf(problems, "%s: %s\n", fresh->log, strerror(errno));
		e = e ? e : E_IO;
	}
	if (!e)
		e = listeners_open(fresh, &m->listeners, &listeners, problems);
	if (e) {
		io_close(&log_fd);
		return e;
	}
	struct listeners old = m->listeners;
	struct config *old_conf = m->conf;
	fresh->generation = old_conf->generation + 1;
	m->conf = fresh;
	m->listeners = listeners;
	setup_log_use(fresh, log_fd);
	spread_log(m, log_fd);
	spread(m, &old, old_conf);
	listeners_close(&old);
	conf_free(&old_conf);
	io_close(&log_fd);
	return OK;
}

enum err
master_reload(struct master *m, struct buf *problems)
{
	struct config *fresh = NULL;
	enum err e = E_STATE;

	if (m->phase == MASTER_ENDING) {
		buf_add_cstr(problems, "Roost is stopping\n");
		return E_STATE;
	}
	notify_send("RELOADING=1");
	e = conf_load(m->conf->config_file, problems, &fresh);
	if (!e)
		e = reload_checked(m, fresh, problems);
	if (e) {
		conf_free(&fresh);
		struct str rest = buf_str(problems);
		while (rest.len > 0) {
			struct str line = str_split(&rest, '\n');
			log_event(
				LOGL_ERROR, "master.reload failed", "reason", log_str(line), NULL);
		}
	} else {
		log_event(LOGL_INFO, "master.reload ok", "generation", log_u64(m->conf->generation),
			NULL);
	}
	notify_send("READY=1");
	return e;
}
