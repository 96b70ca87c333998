/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_POSTFIX_TRANSLATE_H
#define ROOST_IMPORT_POSTFIX_TRANSLATE_H

#include "import/postfix_conf.h"

/*
 * roost.conf for what main.cf and master.cf say. *conf: settings, each checked against Roost's own
 * rows. *left: a line "name: reason" for each setting that has no counterpart, or only in part.
 */
void postfix_translate(const struct postfix_main *main_cf, const struct postfix_master *master_cf,
	struct buf *conf, struct buf *left);

#endif
