/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "master/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "master/own_sockets.h"
#include "master/setup.h"

static struct listener *
add(struct listeners *l, const struct daemon_def *def, const char *name, const char *text)
{
	l->items = mem_realloc(l->items, l->count + 1, sizeof *l->items);
	struct listener *it = &l->items[l->count++];
	*it = (struct listener){
		.def = def, .name = mem_strdup(name), .text = mem_strdup(text), .fd = -1};
	return it;
}

static const struct listener *
find(const struct listeners *l, const struct daemon_def *def, const char *name, const char *text)
{
	for (size_t i = 0; l && i < l->count; i++) {
		const struct listener *it = &l->items[i];
		if (it->def == def && strcmp(it->name, name) == 0 && strcmp(it->text, text) == 0)
			return it;
	}
	return NULL;
}

static enum err
open_one(struct listener *it, const struct listeners *old, const struct config *conf, unsigned mode,
	struct buf *problems)
{
	const struct listener *had = find(old, it->def, it->name, it->text);
	struct net_addr addr;
	enum err e;

	if (had) {
		it->fd = fcntl(had->fd, F_DUPFD_CLOEXEC, 0);
		return it->fd < 0 ? err_from_errno(errno) : OK;
	}
	e = net_addr_parse(str_of(it->text), 0, &addr);
	if (e && it->text[0] == '/') {
		buf_printf(problems,
			"listener %s: the name of the socket %s is too long; choose a shorter "
			"state_dir\n",
			it->name, it->text);
		return e;
	}
	if (e) {
		buf_printf(problems,
			"listener %s: \"%s\" is not an address; write it as 127.0.0.1:25, [::1]:25 or "
			"*:25\n",
			it->name, it->text);
		return e;
	}
	e = net_listen(&addr, (int)conf->listen_backlog, mode, &it->fd);
	if (e)
		buf_printf(problems, "listener %s: cannot listen on %s: %s%s\n", it->name, it->text,
			strerror(errno), e == E_ACCESS ? " (ports below 1024 are root's)" : "");
	return e;
}

static enum err
open_unix(const struct daemon_def *def, const char *name, const char *path_name,
	enum daemon_user owner, unsigned mode, const struct config *conf,
	const struct listeners *old, struct listeners *out, struct buf *problems)
{
	char *path = conf_run_path(conf, path_name);
	struct listener *it = add(out, def, name, path);
	int fresh = !find(old, def, name, path);
	uid_t uid;
	gid_t gid;
	enum err e = open_one(it, old, conf, mode, problems);

	if (!e && fresh && setup_is_root()) {
		e = setup_user(owner, conf, &uid, &gid);
		if (!e && lchown(path, uid, gid) != 0) {
			e = err_from_errno(errno);
			buf_printf(problems, "%s: cannot change its owner: %s\n", path,
				strerror(errno));
		}
	}
	free(path);
	return e;
}

/* Owner and mode are set each time, so that a reload takes them over. */
static enum err
open_own(const struct daemon_def *def, const struct own_socket *s, const struct config *conf,
	const struct listeners *old, struct listeners *out, struct buf *problems)
{
	struct own_socket_place place;
	enum err e = own_socket_place(s, conf, &place, problems);

	if (e || !place.text)
		return e;
	/* Nobody else comes in before it has its owner. */
	e = open_one(add(out, def, s->name, place.text), old, conf, 0600, problems);
	return !e && place.text[0] == '/' ? own_socket_apply(&place, problems) : e;
}

static enum err
open_daemon(const struct daemon_def *def, const struct config *conf, const struct listeners *old,
	struct listeners *out, struct buf *problems)
{
	enum err e = OK, one;
	char *ctl = mem_printf("ctl-%s", def->name);

	for (const struct daemon_tcp *t = def->tcp; t < def->tcp + DAEMON_TCP_MAX && t->name; t++) {
		const struct conf_list *list = daemon_addresses(t, conf);
		for (size_t i = 0; i < list->count; i++) {
			if (find(out, def, t->name, list->items[i]))
				continue; /* written twice */
			one = open_one(
				add(out, def, t->name, list->items[i]), old, conf, 0600, problems);
			e = e ? e : one;
		}
	}
	for (const struct daemon_unix *u = def->unix_; u < def->unix_ + DAEMON_UNIX_MAX && u->name;
		u++) {
		one = open_unix(def, u->name, u->path, u->owner, u->mode, conf, old, out, problems);
		e = e ? e : one;
	}
	for (size_t i = 0; i < own_socket_count; i++) {
		if (strcmp(own_sockets[i].daemon, def->name) != 0)
			continue;
		one = open_own(def, &own_sockets[i], conf, old, out, problems);
		e = e ? e : one;
	}
	one = open_unix(def, "ctl", ctl, DAEMON_ROOT, 0600, conf, old, out, problems);
	free(ctl);
	return e ? e : one;
}

enum err
listeners_open(const struct config *conf, const struct listeners *old, struct listeners *out,
	struct buf *problems)
{
	enum err e = OK;

	*out = (struct listeners){0};
	for (size_t i = 0; i < daemon_def_count; i++) {
		enum err one;

		/* Nobody would answer who asks one that does not run. */
		if (daemon_wanted(&daemon_defs[i], conf) == 0)
			continue;
		one = open_daemon(&daemon_defs[i], conf, old, out, problems);
		e = e ? e : one;
	}
	if (e)
		listeners_close(out);
	return e;
}

void
listeners_close(struct listeners *l)
{
	for (size_t i = 0; i < l->count; i++) {
		io_close(&l->items[i].fd);
		free(l->items[i].name);
		free(l->items[i].text);
	}
	MEM_FREE(l->items);
	l->count = 0;
}

void
listeners_unlink(const struct listeners *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->items[i].text[0] == '/')
			unlink(l->items[i].text);
}

static int
contained(const struct listeners *a, const struct listeners *b, const struct daemon_def *def)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].def == def && !find(b, def, a->items[i].name, a->items[i].text))
			return 0;
	return 1;
}

int
listeners_same(const struct listeners *a, const struct listeners *b, const struct daemon_def *def)
{
	return contained(a, b, def) && contained(b, a, def);
}
