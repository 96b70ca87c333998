/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/local_run.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

void
local_job_put(struct buf *body, const struct local_job *j)
{
	ipc_put_cstr(body, j->target);
	ipc_put_cstr(body, j->sender);
	ipc_put_cstr(body, j->recipient);
	ipc_put_cstr(body, j->original);
	ipc_put_u64(body, j->content_offset);
	ipc_put_u64(body, j->content_len);
}

enum err
local_job_get(struct str body, struct local_job *out)
{
	struct ipc_reader r = ipc_reader_of(body);

	out->target = ipc_get_dup(&r);
	out->sender = ipc_get_dup(&r);
	out->recipient = ipc_get_dup(&r);
	out->original = ipc_get_dup(&r);
	out->content_offset = ipc_get_u64(&r);
	out->content_len = ipc_get_u64(&r);
	return ipc_reader_end(&r);
}

void
local_job_free(struct local_job *j)
{
	free(j->target);
	free(j->sender);
	free(j->recipient);
	free(j->original);
	memset(j, 0, sizeof(*j));
}

int
local_run_abandoned(const struct local_run *r)
{
	struct pollfd p = {.fd = r->client, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}

/* ---- the user ---- */

static int
refuse(struct local_run *r, const char *why)
{
	log_event(LOGL_ERROR, "local.user failed", "user", r->conf->default_privs, "error", why,
		NULL);
	smtp_answer_set(
		r->answer, QUEUE_PENDING, "4.3.5", "files and commands get no mail now: %s", why);
	return 0;
}

static int
is_user(const char *name, uid_t uid)
{
	const struct passwd *pw = name[0] ? getpwnam(name) : NULL;

	return pw && pw->pw_uid == uid;
}

int
local_user_become(struct local_run *r)
{
	const struct passwd *pw;
	uid_t uid;
	gid_t gid;

	/* Roost as an ordinary user can only be that user. */
	if (geteuid() != 0)
		return 1;
	pw = getpwnam(r->conf->default_privs);
	if (pw == NULL)
		return refuse(r, "there is no user default_privs");
	uid = pw->pw_uid;
	gid = pw->pw_gid;
	if (uid == 0 || gid == 0)
		return refuse(r, "default_privs must not be root");
	if (is_user(r->conf->mail_user, uid) || is_user(r->conf->user, uid))
		return refuse(r, "default_privs must be none of Roost's own users");
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
		setresuid(uid, uid, uid) != 0 || geteuid() == 0 || setuid(0) == 0)
		return refuse(r, "the system does not let go of root");
	return 1;
}
