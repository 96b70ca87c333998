/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "master/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/quota_rules.h"
#include "master/own_sockets.h"
#include "mta-lite/ehlo.h"

enum { SECRET_BYTES = 32 };

int
setup_is_root(void)
{
	return geteuid() == 0;
}

enum err
setup_user(enum daemon_user user, const struct config *conf, uid_t *uid_out, gid_t *gid_out)
{
	const char *name = daemon_user_name(user, conf);
	struct passwd *pw;

	*uid_out = geteuid();
	*gid_out = getegid();
	if (!setup_is_root() || !name[0])
		return OK;
	pw = getpwnam(name);
	if (!pw)
		return E_NOTFOUND;
	*uid_out = pw->pw_uid;
	*gid_out = pw->pw_gid;
	return OK;
}

static enum err
check_user(
	enum daemon_user user, const char *setting, const struct config *conf, struct buf *problems)
{
	const char *name = daemon_user_name(user, conf);
	uid_t uid;
	gid_t gid;

	if (setup_user(user, conf, &uid, &gid) == OK)
		return OK;
	buf_printf(problems,
		"setting '%s': there is no user \"%s\"; make it with \"useradd --system "
		"--no-create-home --shell /usr/sbin/nologin %s\" or name another\n",
		setting, name, name);
	return E_NOTFOUND;
}

static enum err
check_quota(const struct config *conf, struct buf *problems)
{
	struct quota_rules rules = {0};
	struct buf why = {0};
	enum err e = OK;

	for (size_t i = 0; i < conf->quota_rules.count && e == OK; i++)
		e = quota_rules_add(&rules, str_of(conf->quota_rules.items[i]), &why);
	if (e)
		buf_printf(problems, "setting 'quota_rules': %s\n", buf_cstr(&why));
	quota_rules_free(&rules);
	buf_free(&why);
	if (conf->quota_warning.count > QUOTA_WARNINGS_MAX)
		e = E_TOOBIG;
	for (size_t i = 0; i < conf->quota_warning.count && e != E_TOOBIG; i++) {
		struct quota_warning w;

		if (quota_warning_parse(str_of(conf->quota_warning.items[i]), &w) == OK)
			continue;
		buf_printf(problems,
			"setting 'quota_warning': \"%s\" is none; write them as 95%% or messages=95%%\n",
			conf->quota_warning.items[i]);
		e = E_PARSE;
	}
	if (e == E_TOOBIG)
		buf_printf(problems, "setting 'quota_warning': at most %d\n", QUOTA_WARNINGS_MAX);
	return e;
}

static int
has_field(struct str head, const char *name)
{
	while (head.len) {
		struct str line = str_split(&head, '\n');

		if (str_starts_i(line, name))
			return 1;
	}
	return 0;
}

enum err
setup_quota_warning(struct config *conf, struct buf *problems)
{
	enum { TEMPLATE_MAX = 64 * 1024 };
	struct buf text = BUF_INIT(TEMPLATE_MAX);
	const char *path = conf->quota_warning_template;
	struct str head;
	enum err e;

	if (!path[0])
		return OK;
	e = io_read_file(path, &text);
	head = str_make(text.p, str_find_str(buf_str(&text), STR("\n\n")));
	if (e)
		buf_printf(
			problems, "setting 'quota_warning_template': %s: %s\n", path, err_text(e));
	else if (head.len == text.len || !has_field(head, "Subject:") ||
		 !has_field(head, "From:") || !str_is_utf8(buf_str(&text)) ||
		 memchr(text.p, '\0', text.len)) {
		buf_printf(problems,
			"setting 'quota_warning_template': %s: it has to be UTF-8 text with the fields From "
			"and Subject, an empty line, and a text\n",
			path);
		e = E_PARSE;
	} else {
		free(conf->quota_warning_text);
		conf->quota_warning_text = buf_steal(&text);
	}
	buf_free(&text);
	return e;
}

enum err
setup_check(const struct config *conf, struct buf *problems)
{
	enum err e = check_user(DAEMON_USER, "user", conf, problems);
	enum err e2 = check_user(DAEMON_MAIL_USER, "mail_user", conf, problems);

	e = e ? e : e2;
	e2 = check_quota(conf, problems);
	e = e ? e : e2;
	e2 = own_sockets_check(conf, problems);
	e = e ? e : e2;
	for (size_t i = 0; i < daemon_def_count; i++) {
		char *path = mem_printf("%s/%s", conf->program_dir, daemon_defs[i].program);
		if (access(path, X_OK) != 0) {
			buf_printf(problems,
				"%s: %s; setting 'program_dir' names where the daemons are "
				"installed\n",
				path, strerror(errno));
			e = E_NOTFOUND;
		}
		free(path);
	}
	return e;
}

static enum err
complain(struct buf *problems, const char *path, const char *what)
{
	enum err e = err_from_errno(errno);

	buf_printf(problems, "%s: %s: %s\n", path, what, strerror(errno));
	return e ? e : E_IO;
}

/*
 * enforce: the place is ours alone, so owner and mode are set anew at each start. Otherwise an
 * existing directory stays as its administrator made it.
 */
static enum err
make_directory(
	const char *path, uid_t uid, gid_t gid, mode_t mode, int enforce, struct buf *problems)
{
	struct stat st;
	int made = 0, fd;
	enum err e = OK;

	if (lstat(path, &st) != 0) {
		if (errno != ENOENT || io_mkdir_parents(path, 0755))
			return complain(problems, path, "cannot be made");
		made = 1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (enforce ? O_NOFOLLOW : 0));
	if (fd < 0)
		return complain(problems, path, "cannot be used as a directory");
	if (made || enforce) {
		if (setup_is_root() && fchown(fd, uid, gid) != 0)
			e = complain(problems, path, "cannot change its owner");
		else if (fchmod(fd, mode) != 0)
			e = complain(problems, path, "cannot change its mode");
	} else if (setup_is_root() && fstat(fd, &st) == 0 && st.st_uid != uid) {
		log_event(LOGL_WARN, "master.directory owner", "path", path, "owner",
			log_u64(st.st_uid), "expected", log_u64(uid), NULL);
	}
	close(fd);
	return e;
}

enum err
setup_directories(const struct config *conf, struct buf *problems)
{
	uid_t uid, mail_uid, root = geteuid();
	gid_t gid, mail_gid, root_gid = getegid();
	char *run = conf_run_path(conf, "");
	char *tls = mem_printf("%s/tls", conf->state_dir);
	enum err e = setup_user(DAEMON_USER, conf, &uid, &gid), e2;

	if (e)
		goto out;
	e = setup_user(DAEMON_MAIL_USER, conf, &mail_uid, &mail_gid);
	if (e)
		goto out;
	run[strlen(run) - 1] = '\0'; /* the slash */
	/*
	 * The database lies in state_dir and its user must be able to make files there, but with
	 * the sticky bit not to move run/ or tls/ away, which belong to us.
	 */
	if (setup_is_root() && uid != root)
		e = make_directory(conf->state_dir, root, gid, 01775, 1, problems);
	else
		e = make_directory(conf->state_dir, root, root_gid, 0755, 1, problems);
	if (e)
		goto out;
	e = make_directory(run, root, root_gid, 0755, 1, problems);
	e2 = make_directory(tls, root, root_gid, 0755, 1, problems);
	e = e ? e : e2;
	e2 = make_directory(conf->mail_dir, mail_uid, mail_gid, 0700, 0, problems);
	e = e ? e : e2;
	e2 = make_directory(conf->queue_dir, mail_uid, mail_gid, 0700, 0, problems);
	e = e ? e : e2;
	if (conf->index_dir[0]) {
		e2 = make_directory(conf->index_dir, mail_uid, mail_gid, 0700, 0, problems);
		e = e ? e : e2;
	}
out:
	free(run);
	free(tls);
	return e;
}

enum err
setup_lock(const struct config *conf, int *fd_out, struct buf *problems)
{
	char *path = conf_run_path(conf, "master.lock");
	enum err e = OK;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	*fd_out = -1;
	if (fd < 0) {
		e = complain(problems, path, "cannot be opened");
	} else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK) {
			buf_printf(problems,
				"%s: Roost is running on this state_dir already; stop it with "
				"\"roostctl stop\", or give this one another state_dir\n",
				conf->state_dir);
			e = E_CONFLICT;
		} else {
			e = complain(problems, path, "cannot be locked");
		}
		close(fd);
	} else {
		*fd_out = fd;
	}
	free(path);
	return e;
}

void
setup_hostname(struct config *conf)
{
	if (conf->hostname[0])
		return;
	char *name = mem_strdup(smtp_hostname(conf));
	free(conf->hostname);
	conf->hostname = name;
}

/* ---- log ---- */

enum err
setup_log_open(const struct config *conf, int *fd_out)
{
	*fd_out = -1;
	if (conf->log[0] != '/')
		return OK;
	*fd_out = open(conf->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
	return *fd_out < 0 ? err_from_errno(errno) : OK;
}

void
setup_log_use(const struct config *conf, int fd)
{
	enum log_level level;

	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	else if (strcmp(conf->log, "syslog") == 0)
		log_use_syslog();
	if (log_level_parse(conf->log_level, &level) == OK)
		log_set_level(level);
}

void
setup_secret(char **setting)
{
	char hex[2 * SECRET_BYTES + 1];

	io_random_hex(hex, SECRET_BYTES);
	free(*setting);
	*setting = mem_strdup(hex);
	explicit_bzero(hex, sizeof hex);
}
