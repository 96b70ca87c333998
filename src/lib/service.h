/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SERVICE_H
#define ROOST_LIB_SERVICE_H

#include <stddef.h>

#include <jansson.h>

#include "lib/conf.h"
#include "lib/ctl.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/sandbox.h"

struct event_base;

/*
 * The one skeleton of long-lived processes. main() is data:
 *
 *   int main(int argc, char **argv) { return service_main(&index_service, argc, argv); }
 *
 * The master starts a daemon with ROOST_FDS in its environment, "name:fd name:fd ...":
 *   config   an anonymous file with the settings (conf_load_fd)
 *   control  a socket to the master (master_proto.h): ready, reload, stop
 *   metrics  the memory in which it counts (metrics.h)
 *   others   listening sockets by name, several may have the same name
 * and, started as root, with the user to become in ROOST_USER ("" stays).
 *
 * Order: settings, log, spec->start, drop of privileges, sandbox, spec->begin, "ready" to the
 * master, loop.
 * SIGTERM or the master's word (or its death) drains: listeners close, spec->drain runs, and the
 * process ends when service_exit is called, or at once when spec->drain is NULL. When the master
 * says that another process has taken its place, spec->retire runs instead.
 */
struct service_run; /* one running service */

struct service_listener {
	const char *name; /* as in ROOST_FDS */
	/* A new client: fd is non-blocking and close-on-exec, owned by the callee. */
	void (*on_accept)(struct service_run *run, int fd, const struct net_addr *peer);
};

struct service {
	const char *name;
	const struct service_listener *listeners; /* ended by a NULL name */
	const struct ctl_verb *ctl; /* ended by a NULL name; NULL: only "status" */
	/* Opens what must be opened before the sandbox closes. An error ends the process. */
	enum err (*start)(struct service_run *run);
	/* Adds what the process may touch later on. NULL: nothing at all. */
	void (*sandbox)(const struct config *conf, struct sandbox *sb);
	/*
	 * The sandbox has closed; the loop begins next. Threads are started here and not earlier,
	 * since Landlock holds for threads made after it alone. An error ends the process.
	 */
	enum err (*begin)(struct service_run *run);
	/* New settings are in place (service_conf). The old ones are freed after the call. */
	void (*reload)(struct service_run *run, const struct config *old);
	/* Finish what is under way, then call service_exit. */
	void (*drain)(struct service_run *run);
	/*
	 * Another process serves who comes from now on: let those that are here finish, then call
	 * service_exit. drain may still follow. NULL: as drain.
	 */
	void (*retire)(struct service_run *run);
	/*
	 * In a process of its own, which ends then: whether start could work with these settings,
	 * what is wrong in the log. Changes nothing anywhere. NULL: nothing can be wrong.
	 */
	enum err (*check)(const struct config *conf);
	/* The loop has ended: free what start and begin made. */
	void (*stop)(struct service_run *run);
	/* Adds "key": value pairs to the answer of the control verb "status". */
	void (*status)(struct service_run *run, json_t *object);
};

/* The argument with which a daemon does nothing but spec->check, and tells by its status. */
#define SERVICE_CHECK_OPTION "--check"

int service_main(const struct service *spec, int argc, char **argv);

struct event_base *service_base(struct service_run *run);
/* Current settings; borrowed, replaced on reload. */
const struct config *service_conf(struct service_run *run);
void *service_state(struct service_run *run);
void service_set_state(struct service_run *run, void *state);
/* Ends the loop with this exit status. */
void service_exit(struct service_run *run, int status);
/*
 * Drains, and has the master start the service anew once it has ended: for settings that are beyond
 * what the sandbox of this process lets it reach.
 */
void service_start_anew(struct service_run *run);
/* Stops and resumes accepting on all listeners (out of descriptors, too many clients). */
void service_pause_accept(struct service_run *run, int on);
/* The listening descriptors with that name; returns how many, at most max are written. */
size_t service_listener_fds(struct service_run *run, const char *name, int *fds, size_t max);
/*
 * For a child that the service forked: closes every descriptor but 0 to 2 and those in keep,
 * restores default signal handling. The loop must not be used any more; settings stay valid.
 */
void service_leave_in_child(struct service_run *run, const int *keep, size_t keep_count);
/* No new clients are taken. */
int service_is_draining(const struct service_run *run);
/* As that, since another process has taken the place of this one. */
int service_is_retiring(const struct service_run *run);
/* Tools (ctl.h) that are connected. */
size_t service_ctl_clients(const struct service_run *run);

#endif
