/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_MASTER_PROTO_H
#define ROOST_LIB_MASTER_PROTO_H

/*
 * Frames (lib/ipc.h) on the control socket between the master and each daemon, see service.h.
 */
enum master_frame {
	MASTER_READY = 1, /* daemon → master: start-up is done; no fields */
	MASTER_RELOAD = 2, /* master → daemon: new settings; descriptor of a memfd attached */
	MASTER_STOP = 3, /* master → daemon: drain and end; no fields */
	MASTER_RELOADED = 4, /* daemon → master: u8 1 done, 0 refused; str why */
	/*
	 * master → daemon: another process has taken its place; take no new clients, and end when
	 * those that you have are done; no fields.
	 */
	MASTER_RETIRE = 6,
	MASTER_LOG = 5, /* master → daemon: descriptor of a new log to put in place of 2 */
};

/* The exit status of a daemon that wants to be started anew at once: see service_start_anew. */
enum { MASTER_EXIT_ANEW = 99 };

#endif
