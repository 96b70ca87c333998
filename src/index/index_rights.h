/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_INDEX_RIGHTS_H
#define ROOST_INDEX_INDEX_RIGHTS_H

#include "index/index_client.h"
#include "mail/rights.h"

/* The flags (enum index_flag) that rights allow to change; keywords go with RIGHT_WRITE. */
static inline unsigned
index_rights_flags(unsigned rights)
{
	unsigned flags = 0;

	if (rights & RIGHT_SEEN)
		flags |= INDEX_SEEN;
	if (rights & RIGHT_DELETE)
		flags |= INDEX_DELETED;
	if (rights & RIGHT_WRITE)
		flags |= INDEX_FLAGS_ALL & ~(unsigned)(INDEX_SEEN | INDEX_DELETED);
	return flags;
}

#endif
