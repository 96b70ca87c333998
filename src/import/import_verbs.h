/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_VERBS_H
#define ROOST_IMPORT_VERBS_H

#include "ctl/ctl_tool.h"

/* The verbs of tool_verbs_import, see there. */
enum err import_imap(struct tool *t, int argc, char **argv);
enum err import_mbox(struct tool *t, int argc, char **argv);
enum err import_maildir(struct tool *t, int argc, char **argv);
enum err import_postfix(struct tool *t, int argc, char **argv);

#endif
