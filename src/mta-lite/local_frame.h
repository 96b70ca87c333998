/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LOCAL_FRAME_H
#define ROOST_MTA_LOCAL_FRAME_H

/*
 * Frames on run/local-run, where roost-local-run has a process for each connection, which becomes
 * an unprivileged user before it looks at anything: a question and its answer.
 *
 * Who asks is not trusted with other people's rights: what runs as a user stands in his .forward,
 * which is read again for that.
 */
enum local_frame {
	LOCAL_RUN = 1, /* struct local_job in order; the queue file's descriptor attached */
	LOCAL_RAN = 2, /* u8 enum queue_status, str enhanced code, str text */
	LOCAL_FORWARD = 3, /* str address */
	LOCAL_FORWARDS = 4, /* struct forward */
	LOCAL_PIPE =
		5, /* struct local_pipe in order; the queue file's descriptor attached; LOCAL_RAN */
};

#endif
