/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_AUTH_SERVICE_H
#define ROOST_AUTH_AUTH_SERVICE_H

#include "lib/service.h"

/* What main() runs. */
extern const struct service auth_service;

#endif
