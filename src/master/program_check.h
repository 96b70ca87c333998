/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_PROGRAM_CHECK_H
#define ROOST_MASTER_PROGRAM_CHECK_H

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"

/*
 * Has the daemons that read tables, lists of restrictions and the like look at the settings, in
 * processes that end then (SERVICE_CHECK_OPTION in lib/service.h), and appends what they say is
 * wrong, a line each and each once; to *warnings, unless that is NULL, what they only warn of.
 * E_PARSE: *problems has something, or one did not finish in time.
 */
enum err program_check(const struct config *conf, struct buf *warnings, struct buf *problems);

#endif
