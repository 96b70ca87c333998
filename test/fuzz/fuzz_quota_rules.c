/* SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "lib/log.h"
#include "lib/quota_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a directory of somebody else's has for rules. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct quota_rules rules = {0};
	struct quota_warning w;
	struct buf why = {0};
	enum err e = quota_rules_add(&rules, text, &why);

	ROOST_ASSERT((e == OK) == (why.len == 0));
	ROOST_ASSERT(rules.count <= QUOTA_RULES_MAX);
	for (size_t i = 0; i < rules.count; i++)
		ROOST_ASSERT(rules.items[i].mailbox[0]);
	(void)quota_rules_find(&rules, text);
	if (quota_warning_parse(text, &w) == OK)
		ROOST_ASSERT(w.percent >= 1 && w.percent <= 100);
	quota_rules_free(&rules);
	buf_free(&why);
	return 0;
}
