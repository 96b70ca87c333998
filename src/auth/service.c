/* SPDX-License-Identifier: MIT */
#include "auth/service.h"

#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "auth/auth_service.h"
#include "auth/directory_pg_connect.h"
#include "auth/last_login.h"
#include "auth/oauth_introspect.h"
#include "auth/sasl_login.h"
#include "auth/saslprep.h"
#include "lib/io.h"
#include "lib/launch.h"
#include "lib/log.h"
#include "lib/mem.h"

enum {
	RETIRE_LOOK_MS = 50,
	RETIRE_LINKS_MS = 5000, /* until all have turned to the new process */
};

static void
accept_login(struct service_run *run, int fd, const struct net_addr *peer)
{
	(void)peer;
	peer_accept(run, fd, login_frames);
}

static void
accept_session(struct service_run *run, int fd, const struct net_addr *peer)
{
	(void)peer;
	peer_accept(run, fd, session_frames);
}

static void
accept_directory(struct service_run *run, int fd, const struct net_addr *peer)
{
	(void)peer;
	peer_accept(run, fd, directory_frames);
}

static void
accept_userdb(struct service_run *run, int fd, const struct net_addr *peer)
{
	(void)peer;
	peer_accept(run, fd, userdb_frames);
}

static const struct service_listener listeners[] = {
	{"auth-login", accept_login},
	{"auth-session", accept_session},
	{"auth-directory", accept_directory},
	{"auth-userdb", accept_userdb},
	{"auth-dovecot", dovecot_auth_accept},
	{"auth-dovecot-userdb", dovecot_userdb_accept},
	{NULL, NULL},
};

/* ---- the SQLite file's directory ---- */

/* On the heap. */
static char *
sqlite_dir(const struct config *conf)
{
	char *path = mem_strdup(conf->sqlite_path);
	char *dir = mem_strdup(dirname(path));

	free(path);
	return dir;
}

/*
 * Makes the directory, and gives it and a file that is there already to whom the process will
 * become: SQLite must write beside the file. A directory of somebody else's stays as it is.
 */
static enum err
sqlite_dir_make(const struct config *conf)
{
	uid_t uid;
	gid_t gid;
	int root = geteuid() == 0 && launch_user(&uid, &gid);
	char *dir = sqlite_dir(conf);
	struct stat st;
	int is_new = stat(dir, &st) != 0;
	enum err e = is_new ? io_mkdir_parents(dir, 0700) : OK;

	if (!e && is_new && root && chown(dir, uid, gid))
		e = E_ACCESS;
	if (e)
		log_event(LOGL_ERROR, "auth.start fail", "path", dir, "error", err_word(e), NULL);
	free(dir);
	return e;
}

/* ---- life ---- */

static enum err
settings_make(const struct config *conf, struct auth_settings **out)
{
	char *why = NULL;
	enum err e;

	*out = auth_settings_create(conf);
	e = directory_check_queries(*out, &why);
	if (e) {
		log_event(LOGL_ERROR, "auth.settings bad", "message", why, NULL);
		auth_settings_unref(out);
	}
	free(why);
	return e;
}

/* Before the sandbox, since the user database is a file. */
static enum err
mail_owner_find(struct auth_service *auth)
{
	const char *name = service_conf(auth->run)->mail_user;
	uid_t uid;
	gid_t gid;
	const struct passwd *pw;

	auth->mail_uid = geteuid();
	auth->mail_gid = getegid();
	/* Without root everything is ours. */
	if (!launch_user(&uid, &gid) || !name[0] ||
		!service_conf(auth->run)->auth_socket_dovecot_userdb[0])
		return OK;
	pw = getpwnam(name);
	if (!pw) {
		log_event(LOGL_ERROR, "auth.start fail", "user", name, "error",
			err_word(E_NOTFOUND), NULL);
		return E_NOTFOUND;
	}
	auth->mail_uid = pw->pw_uid;
	auth->mail_gid = pw->pw_gid;
	return OK;
}

static enum err
start(struct service_run *run)
{
	const struct config *conf = service_conf(run);
	struct auth_service *auth = MEM_NEW(struct auth_service);
	int tokens_fd = -1;
	enum err e;

	auth->run = run;
	service_set_state(run, auth);
	e = settings_make(conf, &auth->settings);
	if (!e && !auth->settings->use_postgresql)
		e = sqlite_dir_make(conf);
	if (!e)
		e = mail_owner_find(auth);
	if (!e)
		e = sasl_login_init();
	if (!e)
		e = saslprep_init();
	if (!e)
		e = oauth_introspect_init();
	if (e)
		return e;
	/* What is made from now on (database files) is for this user alone. */
	umask(077);
	auth->health = directory_health_create();
	auth->cache = cache_create(conf->auth_cache_ttl);
	auth->answers = answers_create(conf->auth_cache_ttl, conf->auth_cache_size);
	auth->penalty = penalty_create();
	/* Without the master's it is one of its own. */
	service_listener_fds(run, "tokens", &tokens_fd, 1);
	e = token_used_open(tokens_fd, &auth->tokens);
	if (e)
		log_event(LOGL_ERROR, "auth.start fail", "message", "no memory for used tokens",
			"error", err_word(e), NULL);
	return e;
}

static enum err
begin(struct service_run *run)
{
	struct auth_service *auth = service_state(run);

	auth->workers = worker_pool_create(service_base(run),
		(size_t)service_conf(run)->auth_workers, auth->settings, auth->health);
	auth->last_login = last_login_create(auth);
	auth->watch = directory_watch_create(auth->settings, auth->cache, auth->answers);
	return OK;
}

static void
allow_file(void *arg, const char *path)
{
	sandbox_allow_path(arg, path, SANDBOX_READ);
}

/* Its directory, since a new file may take its place. */
static void
allow_dir_of(struct sandbox *sb, const char *file)
{
	char *path = mem_strdup(file);

	if (path[0])
		sandbox_allow_path(sb, dirname(path), SANDBOX_READ);
	free(path);
}

static void
confine(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow(sb, SANDBOX_CAN_THREAD);
	/* Both: a reload may change from one database to the other. */
	if (conf->sqlite_path[0]) {
		char *dir = sqlite_dir(conf);

		sandbox_allow_path(sb, dir, SANDBOX_READ | SANDBOX_WRITE);
		free(dir);
	}
	sandbox_allow_path(sb, "/dev/urandom", SANDBOX_READ);
	allow_dir_of(sb, conf->oauth_jwks);
	allow_dir_of(sb, conf->oauth_introspection_ca);
	allow_dir_of(sb, conf->passwd_file);
	if (strcmp(conf->db, "postgresql") != 0 && !conf->oauth_introspection_url[0])
		return;
	sandbox_allow(sb, SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
	/* Host names: resolv.conf, hosts, and the name service's libraries. */
	sandbox_allow_path(sb, "/etc", SANDBOX_READ);
	sandbox_allow_path(sb, "/usr/lib", SANDBOX_READ);
	sandbox_allow_path(sb, "/lib", SANDBOX_READ);
	sandbox_allow_path(sb, "/run/systemd/resolve", SANDBOX_READ);
	/* What HTTPS is checked with. */
	sandbox_allow_path(sb, "/usr/share/ca-certificates", SANDBOX_READ);
	pg_conninfo_files(conf->postgresql, allow_file, sb);
}

static void
reload(struct service_run *run, const struct config *old)
{
	struct auth_service *auth = service_state(run);
	struct auth_settings *settings;

	(void)old;
	cache_set_ttl(auth->cache, service_conf(run)->auth_cache_ttl);
	answers_set_limits(auth->answers, service_conf(run)->auth_cache_ttl,
		service_conf(run)->auth_cache_size);
	if (settings_make(service_conf(run), &settings))
		return; /* logged; the old queries stay */
	auth_settings_unref(&auth->settings);
	auth->settings = settings;
	worker_pool_set_settings(auth->workers, settings);
	directory_watch_set_settings(auth->watch, settings);
	/* Answers of the old database or queries that were under way. */
	auth_forget(auth, NULL);
}

void
auth_forget(struct auth_service *auth, const char *user)
{
	cache_flush(auth->cache, user);
	answers_forget(auth->answers);
}

void
auth_job_done(struct auth_service *auth)
{
	if (service_is_draining(auth->run) && !service_is_retiring(auth->run) &&
		worker_pool_pending(auth->workers) == 0)
		service_exit(auth->run, 0);
}

static void
drain(struct service_run *run)
{
	struct auth_service *auth = service_state(run);

	last_login_flush(auth->last_login);
	auth_job_done(auth);
}

/* Until nobody is left, and what they made known is in the database. */
static void
on_retire_look(evutil_socket_t fd, short what, void *arg)
{
	struct auth_service *auth = arg;
	struct peers_left left = peers_retire(auth);
	size_t others = left.links + service_ctl_clients(auth->run);

	(void)fd;
	(void)what;
	/* Whoever has nothing under way and still does not turn away does not listen. */
	if (left.busy || (others && io_now_ms() < auth->retire_deadline_ms))
		return;
	if (worker_pool_pending(auth->workers) == 0)
		service_exit(auth->run, 0);
}

/* Log-ins that are under way here are finished here. */
static void
retire(struct service_run *run)
{
	struct auth_service *auth = service_state(run);
	struct timeval every = {0, RETIRE_LOOK_MS * 1000};

	last_login_flush(auth->last_login);
	auth->retire_deadline_ms = io_now_ms() + RETIRE_LINKS_MS;
	auth->retire_event = event_new(service_base(run), -1, EV_PERSIST, on_retire_look, auth);
	event_add(auth->retire_event, &every);
	on_retire_look(-1, 0, auth);
}

static void
stop(struct service_run *run)
{
	struct auth_service *auth = service_state(run);

	if (auth->retire_event)
		event_free(auth->retire_event);
	worker_pool_free(&auth->workers);
	last_login_free(&auth->last_login);
	directory_watch_free(&auth->watch);
	peers_close(auth);
	token_used_close(&auth->tokens);
	penalty_free(&auth->penalty);
	cache_free(&auth->cache);
	answers_free(&auth->answers);
	directory_health_free(&auth->health);
	auth_settings_unref(&auth->settings);
	sasl_login_fini();
	service_set_state(run, NULL);
	free(auth);
}

static void
set_count(json_t *object, const char *key, uint64_t n)
{
	json_object_set_new(object, key, json_integer((json_int_t)n));
}

static void
status(struct service_run *run, json_t *object)
{
	struct auth_service *auth = service_state(run);
	struct cache_stats cs;
	struct answers_stats as;
	size_t addresses, users;

	cache_stats(auth->cache, &cs);
	answers_stats(auth->answers, &as);
	penalty_counts(auth->penalty, &addresses, &users);
	json_object_set_new(object, "database",
		json_string(auth->settings->use_postgresql ? "postgresql" : "sqlite"));
	json_object_set_new(
		object, "database_up", json_boolean(!directory_health_is_down(auth->health)));
	json_object_set_new(
		object, "database_watched", json_boolean(directory_watch_is_up(auth->watch)));
	set_count(object, "logins_ok", auth->logins_ok);
	set_count(object, "logins_failed", auth->logins_failed);
	set_count(object, "logins_unavailable", auth->logins_unavailable);
	json_object_set_new(object, "lookups_remembered",
		json_boolean(directory_watch_is_complete(auth->watch)));
	set_count(object, "lookups", auth->lookups);
	set_count(object, "lookups_known", auth->lookups_known);
	set_count(object, "answers", as.entries);
	set_count(object, "answers_bytes", as.bytes);
	set_count(object, "jobs_pending", worker_pool_pending(auth->workers));
	set_count(object, "cache_entries", cs.entries);
	set_count(object, "cache_hits", cs.hits);
	set_count(object, "cache_misses", cs.misses);
	set_count(object, "penalty_addresses", addresses);
	set_count(object, "penalty_users", users);
}

const struct service auth_service = {
	.name = "auth",
	.listeners = listeners,
	.ctl = admin_verbs,
	.start = start,
	.sandbox = confine,
	.begin = begin,
	.reload = reload,
	.drain = drain,
	.retire = retire,
	.stop = stop,
	.status = status,
};
