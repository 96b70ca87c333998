/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IDLE_IDLE_H
#define ROOST_IDLE_IDLE_H

#include "lib/service.h"

extern const struct service idle_service;

#endif
