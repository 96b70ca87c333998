/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/map_private.h"

/* unix:passwd.byname and unix:group.byname: the system's users and groups. */

enum { UNIX_TEXT_SIZE = 64 * 1024 };

/* The value is the line of passwd(5) or group(5). */
static int
find_user(const char *name, char *space, struct buf *value)
{
	struct passwd pw, *found = NULL;
	int error = getpwnam_r(name, &pw, space, UNIX_TEXT_SIZE, &found);

	if (found)
		buf_printf(value, "%s:%s:%lu:%lu:%s:%s:%s", pw.pw_name, pw.pw_passwd,
			(unsigned long)pw.pw_uid, (unsigned long)pw.pw_gid, pw.pw_gecos, pw.pw_dir,
			pw.pw_shell);
	return found ? -1 : error;
}

static int
find_group(const char *name, char *space, struct buf *value)
{
	struct group gr, *found = NULL;
	int error = getgrnam_r(name, &gr, space, UNIX_TEXT_SIZE, &found);
	size_t i;

	if (found) {
		buf_printf(value, "%s:%s:%lu:", gr.gr_name, gr.gr_passwd, (unsigned long)gr.gr_gid);
		for (i = 0; gr.gr_mem[i]; i++)
			buf_printf(value, "%s%s", i > 0 ? "," : "", gr.gr_mem[i]);
	}
	return found ? -1 : error;
}

typedef int (*finder)(const char *name, char *space, struct buf *value);

struct map_unix {
	finder find;
};

static enum err
unix_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_unix *u = MEM_NEW(struct map_unix);
	struct buf ignored = {0};
	char *space;

	map->data = u;
	if (str_is(argument, "passwd.byname") || str_is(argument, "passwd")) {
		u->find = find_user;
	} else if (str_is(argument, "group.byname") || str_is(argument, "group")) {
		u->find = find_group;
	} else {
		buf_printf(
			why, "'%s' is neither unix:passwd.byname nor unix:group.byname", map->name);
		return E_PARSE;
	}
	/* The C library loads what it needs for this now, before the sandbox. */
	space = mem_alloc(UNIX_TEXT_SIZE);
	(void)u->find("root", space, &ignored);
	free(space);
	buf_free(&ignored);
	return OK;
}

static enum err
unix_find(struct map *map, struct str key, struct buf *value)
{
	const struct map_unix *u = map->data;
	char *space = mem_alloc(UNIX_TEXT_SIZE);
	int result = u->find(key.p, space, value);

	free(space);
	if (result < 0)
		return OK;
	return result == 0 || result == ENOENT || result == ESRCH ? E_NOTFOUND : E_TEMPFAIL;
}

static void
unix_sandbox(const struct map *map, struct sandbox *sb)
{
	(void)map;
	/* vipw(8) puts a new file there. */
	sandbox_allow_path(sb, "/etc", SANDBOX_READ);
}

static void
unix_close(struct map *map)
{
	free(map->data);
}

const struct map_type map_type_unix = {
	.name = "unix",
	.open = unix_open,
	.find = unix_find,
	.sandbox = unix_sandbox,
	.close = unix_close,
};
