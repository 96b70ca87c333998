/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_ADDRESS_SPLIT_H
#define ROOST_MTA_ADDRESS_SPLIT_H

#include "lib/str.h"

/* Where the parts of an address begin. */

/* The domain, behind the last "@"; address.len without one. */
size_t address_domain_start(struct str address);
/*
 * The extension of a local part, at its delimiter; user.len without one. delimiter: the first of
 * recipient_delimiter; 0: there are no extensions. Some names with a delimiter have none (Postfix's
 * split_addr).
 */
size_t address_extension_start(struct str user, char delimiter);

#endif
