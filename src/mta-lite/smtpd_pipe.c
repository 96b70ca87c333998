/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtpd_pipe.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/pipe_transport.h"

/* Made once in the warm parent; children only read it. */
static struct owner {
	char *transport;
	uid_t uid;
} * owners;
static size_t owner_count;

void
smtpd_pipe_open(const struct config *conf)
{
	const struct conf_list *list = &conf->pipe_transports;
	size_t i;

	owners = mem_zalloc((list->count + 1) * sizeof(*owners));
	for (i = 0; i < list->count; i++) {
		struct pipe_transport t;
		const struct passwd *pw;
		char *user;

		if (pipe_transport_parse(str_of(list->items[i]), &t, NULL))
			continue; /* roost-local says so */
		user = str_dup(t.user);
		pw = getpwnam(user);
		if (pw)
			owners[owner_count++] = (struct owner){str_dup(t.name), pw->pw_uid};
		free(user);
	}
}

int
smtpd_pipe_gives_back(const struct smtpd *d, const char *filter)
{
	struct str rest = str_of(filter), name = str_split(&rest, ':');
	size_t i;

	for (i = 0; i < owner_count && d->kind == SMTPD_LOCAL; i++) {
		if (str_is(name, owners[i].transport) && d->local_uid == (long)owners[i].uid)
			return 1;
	}
	return 0;
}
