/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

const struct imap_command *const imap_commands[] = {
#define IMAP_COMMAND(name) &imap_command_##name,
#include "imap/commands.def"
#undef IMAP_COMMAND
	NULL,
};

const struct imap_command *
imap_command_find(struct str name, int uid)
{
	for (size_t i = 0; imap_commands[i]; i++) {
		const struct imap_command *c = imap_commands[i];

		if (str_is_i(name, c->name))
			return (uid ? c->uid : !c->uid_only) ? c : NULL;
	}
	return NULL;
}
