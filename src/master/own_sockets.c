/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "master/own_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "master/setup.h"

#define OF(field) offsetof(struct config, field)

const struct own_socket own_sockets[] = {
	{"auth", "auth-dovecot", "auth_socket_dovecot", OF(auth_socket_dovecot),
		OF(auth_socket_dovecot_owner), OF(auth_socket_dovecot_mode), OF(user)},
	{"auth", "auth-dovecot-userdb", "auth_socket_dovecot_userdb",
		OF(auth_socket_dovecot_userdb), OF(auth_socket_dovecot_userdb_owner),
		OF(auth_socket_dovecot_userdb_mode), OF(mail_user)},
};
const size_t own_socket_count = sizeof own_sockets / sizeof *own_sockets;

static const char *
value(const struct config *conf, size_t offset)
{
	return *(char *const *)((const char *)conf + offset);
}

static enum err
parse_mode(const char *text, unsigned *mode)
{
	*mode = 0;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '7' || *mode > 0777 / 8)
			return E_PARSE;
		*mode = *mode * 8 + (unsigned)(*c - '0');
	}
	return text[0] ? OK : E_PARSE;
}

/* "USER" or "USER:GROUP". */
static enum err
find_owner(const char *owner, struct own_socket_place *out, struct buf *problems)
{
	char *name = mem_strdup(owner), *colon = strchr(name, ':');
	const struct passwd *pw;
	const struct group *gr;
	enum err e = OK;

	if (colon)
		*colon = '\0';
	pw = getpwnam(name);
	if (pw) {
		out->uid = pw->pw_uid;
		out->gid = pw->pw_gid;
	} else {
		buf_printf(problems, "there is no user \"%s\"\n", name);
		e = E_NOTFOUND;
	}
	if (!e && colon) {
		gr = getgrnam(colon + 1);
		if (gr) {
			out->gid = gr->gr_gid;
		} else {
			buf_printf(problems, "there is no group \"%s\"\n", colon + 1);
			e = E_NOTFOUND;
		}
	}
	free(name);
	return e;
}

/* Passwords travel there in the clear, and who asks is believed: not over a network. */
static enum err
check_inet(const struct own_socket *s, const char *text, struct buf *problems)
{
	struct net_addr addr;

	if (!net_addr_parse(str_of(text), 0, &addr) && addr.sa.ss_family != AF_UNIX &&
		net_addr_is_loopback(&addr))
		return OK;
	buf_printf(problems,
		"setting '%s': \"%s\" is not a loopback address with a port; write it as "
		"inet:127.0.0.1:12345\n",
		s->setting, text);
	return E_PARSE;
}

enum err
own_socket_place(const struct own_socket *s, const struct config *conf,
	struct own_socket_place *out, struct buf *problems)
{
	const char *text = value(conf, s->place), *owner = value(conf, s->owner);
	enum err e;

	*out = (struct own_socket_place){.uid = (uid_t)-1, .gid = (gid_t)-1};
	if (!text[0])
		return OK;
	if (parse_mode(value(conf, s->mode), &out->mode)) {
		buf_printf(problems, "setting '%s_mode': \"%s\" is not a mode such as 0660\n",
			s->setting, value(conf, s->mode));
		return E_PARSE;
	}
	if (strncmp(text, "inet:", 5) == 0) {
		out->text = text + 5;
		return check_inet(s, out->text, problems);
	}
	if (text[0] != '/') {
		buf_printf(problems,
			"setting '%s': \"%s\" is neither a path from / on nor inet:ADDRESS:PORT\n",
			s->setting, text);
		return E_PARSE;
	}
	out->text = text;
	if (!owner[0])
		owner = value(conf, s->default_owner);
	if (!setup_is_root() || !owner[0])
		return OK;
	e = find_owner(owner, out, problems);
	if (e)
		buf_printf(problems, "setting '%s_owner': \"%s\" cannot own the socket\n",
			s->setting, owner);
	return e;
}

enum err
own_sockets_check(const struct config *conf, struct buf *problems)
{
	enum err e = OK, one;

	for (size_t i = 0; i < own_socket_count; i++) {
		struct own_socket_place place;
		const char *text = value(conf, own_sockets[i].place);

		one = own_socket_place(&own_sockets[i], conf, &place, problems);
		e = e ? e : one;
		for (size_t j = 0; text[0] && j < i; j++) {
			if (strcmp(value(conf, own_sockets[j].place), text) != 0)
				continue;
			buf_printf(problems, "settings '%s' and '%s' are the same socket\n",
				own_sockets[j].setting, own_sockets[i].setting);
			e = e ? e : E_CONFLICT;
		}
	}
	return e;
}

/* By a descriptor: what its directory's owner puts in the place of the name is not followed. */
enum err
own_socket_apply(const struct own_socket_place *place, struct buf *problems)
{
	int fd = open(place->text, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char *self = mem_printf("/proc/self/fd/%d", fd);
	struct stat st;
	enum err e = OK;

	if (fd < 0 || fstat(fd, &st) != 0)
		e = err_from_errno(errno);
	else if (!S_ISSOCK(st.st_mode))
		e = E_CONFLICT;
	else if ((place->uid != (uid_t)-1 &&
			 fchownat(fd, "", place->uid, place->gid, AT_EMPTY_PATH) != 0) ||
		 chmod(self, place->mode) != 0)
		e = err_from_errno(errno);
	if (e)
		buf_printf(problems, "%s: cannot set its owner and mode: %s\n", place->text,
			err_text(e));
	free(self);
	io_close(&fd);
	return e;
}
