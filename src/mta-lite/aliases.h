/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_ALIASES_H
#define ROOST_MTA_ALIASES_H

#include "mta-lite/alias_list.h"
#include "mta-lite/map.h"

/*
 * The aliases of this machine (alias_maps), which count in the domains of local_domains. Names are
 * local parts; what stands behind one is a list (alias_list.h).
 */
struct aliases;

/* conf and maps are borrowed. E_PARSE: logged. */
enum err aliases_open(const struct config *conf, struct maps *maps, struct aliases **out);
void aliases_free(struct aliases **a);

/* Whether the address, whose domain is in A-labels, is in one of local_domains. */
int aliases_is_local(const struct aliases *a, struct str address);

/*
 * The list behind an address of a local domain: that of its local part, then of the same without
 * the extension. *value is emptied first. E_NOTFOUND: it has none, or is in another domain;
 * E_TEMPFAIL: nobody knows.
 */
enum err aliases_find(const struct aliases *a, struct str address, struct buf *value);
/*
 * Who gets the reports about a list: owner-NAME@domain, if there is such an alias. *owner is
 * emptied first. Errors as above.
 */
enum err aliases_find_owner(const struct aliases *a, struct str address, struct buf *owner);

#endif
