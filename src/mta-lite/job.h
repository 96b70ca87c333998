/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_JOB_H
#define ROOST_MTA_JOB_H

#include <stdint.h>

#include "lib/ipc.h"
#include "mta-lite/queue_file.h"

/* Frames (lib/ipc.h) to the socket run/qmgr. */
enum qmgr_frame {
	QMGR_NEW = 1, /* str id: a file is in incoming. No answer. */
	/*
	 * str domain, u8: those below it, too: messages that wait for it are to be tried. Answered
	 * with u8 enum qmgr_etrn_answer, u32 how many.
	 */
	QMGR_ETRN = 2,
};

enum qmgr_etrn_answer {
	QMGR_ETRN_BUSY, /* not now */
	QMGR_ETRN_STARTED, /* how many is not known yet */
	QMGR_ETRN_PENDING, /* some; how many is not known yet */
	QMGR_ETRN_COUNT, /* that many; they are tried */
};

/*
 * Frames on the socket pair between qmgr and a delivery process. qmgr hands one end over with
 * SESSION_HANDOVER and sends JOB_START with the queue file's descriptor (read only) on the other;
 * another JOB_START may follow JOB_DONE, until qmgr closes its end.
 * The end of the pair without JOB_DONE is a crash of the agent: its recipients without a result
 * are tried again.
 */
enum job_frame {
	JOB_START = 1, /* struct job in order; descriptor attached */
	JOB_RESULT = 2, /* struct job_result in order */
	JOB_DONE = 3, /* u8: the destination as a whole could not be reached */
	JOB_NOTICE = 4, /* str subject, str text: a message for error_notice_recipient */
};

struct job_rcpt {
	uint32_t index; /* in the queue file */
	char *address, *orcpt;
	unsigned notify;
	int local; /* enum queue_place */
	char *target; /* QUEUE_TARGET, QUEUE_FORWARD: what it is; else "" */
};

/* One delivery: some recipients of one message to one next hop. */
struct job {
	char *id, *sender, *envid;
	unsigned ret, flags; /* enum dsn_ret, enum queue_flag */
	int priority;
	int64_t arrival;
	uint64_t content_offset, content_len;
	/*
	 * A domain, or hosts as relayhost has them; "unix:PATH" of LMTP, "" of LMTP here;
	 * "NAME:NEXTHOP" of a program.
	 */
	char *nexthop;
	int relayhost; /* nexthop was chosen here and not by the address */
	int lmtp; /* speak LMTP */
	int forwarded; /* its recipients are: the sender is rewritten (srs.h) */
	int pipe; /* nexthop is one of pipe_transports */
	int filter; /* nexthop is a content filter: nobody else will do */
	char *xforward; /* "NAME=VALUE NAME=VALUE" in xtext for a filter that wants it; else "" */
	struct job_rcpt *rcpts;
	size_t rcpt_count;
};
enum { JOB_RCPTS_MAX = 100, JOB_BODY_MAX = 1 << 20 };

struct job_result {
	uint32_t index;
	/* DELIVERED, RELAYED, EXPANDED, FAILED; PENDING: try again later. */
	enum queue_status status;
	struct str dsn, text, mta; /* borrowed */
};

void job_put(struct buf *body, const struct job *j);
/* E_PROTO. The caller frees *out in either case. */
enum err job_get(struct str body, struct job *out);
void job_free(struct job *j);
void job_result_put(struct buf *body, const struct job_result *r);
enum err job_result_get(struct str body, struct job_result *out);

#endif
