/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_NOTIFY_H
#define ROOST_MASTER_NOTIFY_H

/*
 * Tells the service manager (systemd, sd_notify(3)) how we are, when NOTIFY_SOCKET is set: e.g.
 * "READY=1". Failures do not matter.
 */
void notify_send(const char *state);

#endif
