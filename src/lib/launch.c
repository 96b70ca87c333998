/* SPDX-License-Identifier: MIT */
#include "lib/launch.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/str.h"

enum err
launch_read(struct launch *out)
{
	struct str rest = str_of(getenv(LAUNCH_ENV_FDS));
	enum err e = rest.len ? OK : E_PARSE;

	*out = (struct launch){0};
	while (!e && rest.p) {
		struct str fd_text = str_split(&rest, ' ');
		struct str name = str_split(&fd_text, ':');
		uint32_t fd;

		if (!name.len)
			continue;
		e = out->count < LAUNCH_FDS_MAX ? str_to_u32(fd_text, &fd) : E_TOOBIG;
		if (e)
			break;
		out->fds[out->count++] = (struct launch_fd){str_dup(name), (int)fd};
		e = io_set_cloexec((int)fd, 1);
	}
	unsetenv(LAUNCH_ENV_FDS);
	return e;
}

void
launch_free(struct launch *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->fds[i].name);
	l->count = 0;
}

int
launch_find(const struct launch *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->fds[i].name, name) == 0)
			return l->fds[i].fd;
	return -1;
}

enum err
launch_user_format(const char *name, struct buf *out)
{
	gid_t groups[LAUNCH_GROUPS_MAX];
	int count = LAUNCH_GROUPS_MAX;
	struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (!pw)
		return errno ? err_from_errno(errno) : E_NOTFOUND;
	if (getgrouplist(name, pw->pw_gid, groups, &count) < 0)
		return E_TOOBIG;
	buf_printf(out, "%u %u", (unsigned)pw->pw_uid, (unsigned)pw->pw_gid);
	for (int i = 0; i < count; i++)
		buf_printf(out, " %u", (unsigned)groups[i]);
	return OK;
}

/* The next number of ROOST_USER. */
static enum err
next_id(struct str *rest, uint32_t *id)
{
	return rest->p ? str_to_u32(str_split(rest, ' '), id) : E_PARSE;
}

int
launch_user(uid_t *uid, gid_t *gid)
{
	struct str rest = str_of(getenv(LAUNCH_ENV_USER));

	return rest.len && next_id(&rest, uid) == OK && next_id(&rest, gid) == OK;
}

enum err
launch_drop_privileges(void)
{
	struct str rest = str_of(getenv(LAUNCH_ENV_USER));
	gid_t groups[LAUNCH_GROUPS_MAX];
	size_t count = 0;
	uint32_t uid, gid, group;
	enum err e;

	if (!rest.len)
		return OK;
	e = next_id(&rest, &uid);
	if (!e)
		e = next_id(&rest, &gid);
	while (!e && rest.p) {
		e = count < LAUNCH_GROUPS_MAX ? next_id(&rest, &group) : E_TOOBIG;
		if (!e)
			groups[count++] = group;
	}
	if (e)
		return e;
	/* The groups first: afterwards there is no right left to change them. */
	if (setgroups(count, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
		setresuid(uid, uid, uid) < 0)
		return err_from_errno(errno);
	unsetenv(LAUNCH_ENV_USER);
	return OK;
}
