/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_CTL_PRIVATE_H
#define ROOST_LIB_CTL_PRIVATE_H

#include "lib/ctl.h"
#include "lib/net.h"

/* Between lib/service.c and lib/ctl.c. */

/* The listener "ctl" of every service. */
void ctl_on_accept(struct service_run *run, int fd, const struct net_addr *peer);

/* The answer to "status"; the caller owns it. */
json_t *service_status(struct service_run *run);
const struct ctl_verb *service_ctl_verbs(struct service_run *run);
/* One more (1) or less (-1) is connected. */
void service_ctl_count(struct service_run *run, int change);

#endif
