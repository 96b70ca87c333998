/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_NOTICE_H
#define ROOST_MTA_NOTICE_H

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/str.h"

/*
 * A message of the host's own to its administrator. to: an address, or a local part at hostname;
 * id: its queue id; text: lines with CRLF.
 */
void notice_write(const struct config *conf, const char *to, const char *subject, const char *id,
	struct str text, struct buf *out);

#endif
