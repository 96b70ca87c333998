/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_INDEX_DAEMON_H
#define ROOST_TEST_INDEX_DAEMON_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/ticket.h"
#include "index/index_client.h"
#include "lib/conf.h"
#include "lib/io.h"
#include "lib/mem.h"

/* A roost-index of its own, in a directory of its own, for tests and measurements. */

#define DAEMON_KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct daemon {
	char dir[256];
	struct config *conf;
	int listener;
	pid_t pid;
	rlim_t descriptors; /* at most; 0: as the caller has */
};

static inline int
daemon_check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		abort();
	}
	return ok;
}

static inline void
daemon_start(struct daemon *d)
{
	int config;

	daemon_check(conf_to_memfd(d->conf, &config) == OK, "config");
	d->pid = fork();
	if (d->pid == 0) {
		struct rlimit lim = {d->descriptors, d->descriptors};
		char fds[64];

		snprintf(fds, sizeof(fds), "config:%d index:%d", config, d->listener);
		setenv("ROOST_FDS", fds, 1);
		io_set_cloexec(config, 0);
		io_set_cloexec(d->listener, 0);
		if (d->descriptors)
			daemon_check(setrlimit(RLIMIT_NOFILE, &lim) == 0, "limit");
		execl("./roost-index", "roost-index", (char *)NULL);
		_exit(127);
	}
	close(config);
}

/* parent: where the directory is made. */
static inline void
daemon_create(struct daemon *d, const char *parent, int fsync_on)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char *path;

	d->descriptors = 0;
	snprintf(d->dir, sizeof(d->dir), "%s/roost-index-XXXXXX", parent);
	daemon_check(mkdtemp(d->dir) != NULL, "mkdtemp");
	d->conf = conf_defaults(d->dir);
	daemon_check(conf_set(d->conf, "ticket_key", DAEMON_KEY, NULL) == OK, "key");
	daemon_check(conf_set(d->conf, "mail_fsync", fsync_on ? "yes" : "no", NULL) == OK, "fsync");
	daemon_check(conf_set(d->conf, "log_level", "error", NULL) == OK, "log");
	path = conf_run_path(d->conf, "");
	daemon_check(io_mkdir_parents(path, 0700) == OK, "run");
	free(path);
	path = conf_run_path(d->conf, "index");
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	free(path);
	d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	daemon_check(bind(d->listener, (struct sockaddr *)&sa, sizeof(sa)) == 0, "bind");
	daemon_check(listen(d->listener, 128) == 0, "listen");
	daemon_start(d);
}

/* Returns its exit status, or the negative signal. */
static inline int
daemon_stop(struct daemon *d, int signum)
{
	int status;

	kill(d->pid, signum);
	waitpid(d->pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void
daemon_remove(struct daemon *d)
{
	char command[300];

	close(d->listener);
	conf_free(&d->conf);
	snprintf(command, sizeof(command), "rm -rf '%s'", d->dir);
	daemon_check(system(command) == 0, "rm");
}

static inline void
daemon_user(const struct daemon *d, const char *local, struct auth_user *u)
{
	struct ticket t = {.expires = time(NULL) + 3600};
	struct buf text = {0};

	u->name = mem_printf("%s@example.test", local);
	u->home = mem_printf("%s/example.test/%s", d->conf->mail_dir, local);
	t.user = u->name;
	t.home = u->home;
	daemon_check(ticket_make(DAEMON_KEY, &t, &text) == OK, "ticket");
	u->ticket = buf_steal(&text);
}

static inline void
daemon_user_fini(struct auth_user *u)
{
	free(u->name);
	free(u->home);
	free(u->ticket);
}

#endif
