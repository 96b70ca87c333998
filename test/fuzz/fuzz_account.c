/* SPDX-License-Identifier: MIT */
/* What a directory says of a user: the server that has his mail, and the groups that he is in. */
#include "auth/acl_groups.h"
#include "auth/moved.h"

#include <stdint.h>
#include <string.h>

#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken is taken again as it is; what was not leaves nothing. */
static void
host(struct str in)
{
	char out[MOVED_HOST_MAX + 1], again[MOVED_HOST_MAX + 1];
	struct buf told = {0};

	if (moved_host_parse(in, out)) {
		ROOST_ASSERT(out[0] == '\0');
		return;
	}
	ROOST_ASSERT(strpbrk(out, " /@;\r\n") == NULL);
	ROOST_ASSERT(!moved_host_parse(str_of(out), again) && strcmp(out, again) == 0);
	moved_imap_put(in, NULL, str_of(out), &told);
	ROOST_ASSERT(!str_has_control(buf_str(&told)) && str_is_ascii(buf_str(&told)));
	buf_free(&told);
}

static void
groups(struct str in)
{
	char out[ACL_GROUPS_MAX + 1], again[ACL_GROUPS_MAX + 1];
	struct str rest;

	if (acl_groups_normalise(in, out)) {
		ROOST_ASSERT(out[0] == '\0');
		return;
	}
	ROOST_ASSERT(!acl_groups_normalise(str_of(out), again) && strcmp(out, again) == 0);
	for (rest = str_of(out); out[0] && rest.p;)
		ROOST_ASSERT(str_split(&rest, ',').len > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_make((const char *)data, size);

	host(in);
	groups(in);
	return 0;
}
