/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_ACL_GROUPS_H
#define ROOST_AUTH_ACL_GROUPS_H

#include "lib/err.h"
#include "lib/str.h"

enum { ACL_GROUPS_MAX = 255 }; /* bytes of a user's groups */

/*
 * The groups that a user is in, for rights on mailboxes (mail/rights.h): names with commas or
 * blanks between, of letters, digits, "-", "_", "." and whatever is not ASCII. Into out in lower
 * case with commas between. E_PARSE: another byte; E_TOOBIG. out is "" then.
 */
enum err acl_groups_normalise(struct str text, char out[ACL_GROUPS_MAX + 1]);

#endif
