/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MAP_REGEXP_H
#define ROOST_MTA_MAP_REGEXP_H

#include "mta-lite/map_rules.h"

/* "/pattern/flags" of regexp_table(5): POSIX extended, letters of either case are the same. */
extern const struct map_pattern_type map_pattern_regexp;
/* Of pcre_table(5): PCRE2, letters of either case are the same, "." matches line ends. */
extern const struct map_pattern_type map_pattern_pcre;

#endif
