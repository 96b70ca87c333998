/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

const struct imap_command *const imap_commands[] = {
	&imap_command_append,
	&imap_command_cancelupdate,
	&imap_command_capability,
	&imap_command_check,
	&imap_command_close,
	&imap_command_copy,
	&imap_command_create,
	&imap_command_delete,
	&imap_command_enable,
	&imap_command_examine,
	&imap_command_expunge,
	&imap_command_fetch,
	&imap_command_id,
	&imap_command_idle,
	&imap_command_list,
	&imap_command_logout,
	&imap_command_lsub,
	&imap_command_move,
	&imap_command_namespace,
	&imap_command_noop,
	&imap_command_rename,
	&imap_command_replace,
	&imap_command_search,
	&imap_command_select,
	&imap_command_sort,
	&imap_command_status,
	&imap_command_store,
	&imap_command_subscribe,
	&imap_command_thread,
	&imap_command_unselect,
	&imap_command_unsubscribe,
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
