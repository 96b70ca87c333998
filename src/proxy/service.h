/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_SERVICE_H
#define ROOST_PROXY_SERVICE_H

#include "lib/service.h"

/* proxy.c, for the table in main.c. See struct service. */
enum err proxy_start(struct service_run *run);
enum err proxy_begin(struct service_run *run);
void proxy_reload(struct service_run *run, const struct config *old);
void proxy_drain(struct service_run *run);
void proxy_stop(struct service_run *run);
void proxy_status(struct service_run *run, json_t *object);

#endif
