/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_POSTFIX_PIPE_H
#define ROOST_IMPORT_POSTFIX_PIPE_H

#include "import/postfix_conf.h"

/* Services of master.cf that run pipe(8), as items of pipe_transports. */

/*
 * Writes the setting for those whose program is on this machine, or that wanted (may be NULL)
 * names: "NAME:..." of content_filter. *left: a line for each other one.
 */
void postfix_pipe_write(const struct postfix_main *main_cf, const struct postfix_master *master_cf,
	const char *wanted, struct buf *conf, struct buf *left);
/* Whether the service is one of those that are written. */
int postfix_pipe_is_written(
	const struct postfix_main *main_cf, const struct postfix_service *s, const char *wanted);
/* Whether a setting of main.cf is "NAME_destination_recipient_limit" and the like of a service. */
int postfix_pipe_has_setting(const struct postfix_master *master_cf, const char *setting);

#endif
