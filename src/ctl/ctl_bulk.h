/* SPDX-License-Identifier: MIT */
#ifndef ROOST_CTL_BULK_H
#define ROOST_CTL_BULK_H

#include "ctl/ctl_tool.h"

/*
 * "import FILE" and "export" of users, domains, aliases and domain aliases: kind is the noun. FILE
 * is JSON (a list of objects) when its name ends in ".json", else CSV (RFC 4180) whose first line
 * names the columns.
 */
enum err bulk_import(struct tool *t, int argc, char **argv, const char *kind);
enum err bulk_export(struct tool *t, int argc, char **argv, const char *kind);

#endif
