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
launch_drop_privileges(void)
{
	const char *name = getenv(LAUNCH_ENV_USER);
	struct passwd *pw;

	if (!name || !*name)
		return OK;
	errno = 0;
	pw = getpwnam(name);
	if (!pw)
		return errno ? err_from_errno(errno) : E_NOTFOUND;
	/* The groups first: afterwards there is no right left to change them. */
	if (initgroups(name, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_from_errno(errno);
	unsetenv(LAUNCH_ENV_USER);
	return OK;
}
