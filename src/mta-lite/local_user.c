/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "mta-lite/local_run.h"

/*
 * Who writes to files and runs commands: default_privs, the user whose .forward says so, or the one
 * of a pipe transport.
 */

static int __attribute__((format(printf, 3, 4)))
refuse(struct local_run *r, const char *user, const char *fmt, ...)
{
	struct buf why = {0};
	va_list args;

	va_start(args, fmt);
	buf_vprintf(&why, fmt, args);
	va_end(args);
	log_event(LOGL_ERROR, "local.user failed", "user", user, "error", buf_cstr(&why), NULL);
	smtp_answer_set(r->answer, QUEUE_PENDING, "4.3.5", "files and commands get no mail now: %s",
		buf_cstr(&why));
	buf_free(&why);
	return 0;
}

static int
is_user(const char *name, uid_t uid)
{
	const struct passwd *pw = name[0] ? getpwnam(name) : NULL;

	return pw && pw->pw_uid == uid;
}

int
local_user_is_ours(const struct config *conf, uid_t uid)
{
	return is_user(conf->mail_user, uid) || is_user(conf->user, uid);
}

int
local_user_set(uid_t uid, gid_t gid)
{
	return setgroups(1, &gid) == 0 && setresgid(gid, gid, gid) == 0 &&
	       setresuid(uid, uid, uid) == 0 && geteuid() != 0 && setuid(0) != 0;
}

/* what: the setting that names it. */
static int
become(struct local_run *r, const char *what, const char *name, const char *group)
{
	const struct passwd *pw = getpwnam(name);
	const struct group *gr = group[0] ? getgrnam(group) : NULL;
	uid_t uid;
	gid_t gid;

	if (pw == NULL)
		return refuse(r, name, "there is no user %s", what);
	if (group[0] && gr == NULL)
		return refuse(r, group, "there is no such group");
	uid = pw->pw_uid;
	gid = gr ? gr->gr_gid : pw->pw_gid;
	/* Roost as an ordinary user can only be that user. */
	if (geteuid() != 0)
		return uid == geteuid()
			       ? 1
			       : refuse(r, name, "%s must be who Roost is, without root", what);
	if (uid == 0 || gid == 0)
		return refuse(r, name, "%s must not be root", what);
	if (local_user_is_ours(r->conf, uid))
		return refuse(r, name, "%s must be none of Roost's own users", what);
	return local_user_set(uid, gid) ? 1 : refuse(r, name, "the system does not let go of root");
}

static int
become_default(struct local_run *r)
{
	return geteuid() != 0 || become(r, "default_privs", r->conf->default_privs, "");
}

int
local_user_become_named(struct local_run *r, const char *user, const char *group)
{
	return become(r, "a user of pipe_transports", user, group);
}

/* Whether the user wants this done, and may. */
static int
stands_in(const struct forward *f, const struct config *conf, const char *target)
{
	int command = target[0] == '|';
	const struct conf_list *allowed =
		command ? &conf->allow_mail_to_commands : &conf->allow_mail_to_files;
	size_t i;

	for (i = 0; i < f->count; i++) {
		const struct forward_item *item = &f->items[i];

		if (item->item.kind == (command ? ALIAS_COMMAND : ALIAS_FILE) &&
			str_is(buf_str(&item->item.text), target + command) &&
			conf_list_has(allowed, str_of(forward_word(item))))
			return 1;
	}
	return 0;
}

/* roost-local's word for it is not enough: he says so himself. */
static int
become_recipient(struct local_run *r)
{
	struct forward f;
	int ready = 0;

	local_forward_read(r->conf, str_of(r->job->recipient), &f);
	if (f.state == FORWARD_FAILED)
		(void)refuse(r, r->job->recipient, "%s", f.why);
	else if (!stands_in(&f, r->conf, r->job->target))
		(void)refuse(r, r->job->recipient, "the user's .forward does not lead there now");
	else if (geteuid() == 0)
		ready = become_default(r); /* what root wants done needs no root */
	else
		ready = 1;
	forward_free(&f);
	return ready;
}

int
local_user_become(struct local_run *r)
{
	return r->job->forward ? become_recipient(r) : become_default(r);
}
