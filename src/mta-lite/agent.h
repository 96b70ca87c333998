/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_AGENT_H
#define ROOST_MTA_AGENT_H

#include "lib/session.h"
#include "mta-lite/job.h"
#include "mta-lite/smtp_client.h"
#include "mta-lite/srs.h"

/*
 * What the delivery processes have in common: one job after the other, the file, the results. qmgr
 * sends the next job for the same destination when it has one, and closes the channel when not.
 */
struct agent {
	struct session *session;
	const struct config *conf;
	int channel; /* to qmgr; borrowed from the session's stream */
	int file;
	struct job job;
	char *sender; /* what agent_rewrite_sender made, or NULL */
	struct smtp_send send; /* of the job; content read from the file */
	struct smtp_send_rcpt *rcpts;
	struct smtp_answer *answers; /* one for each recipient */
	char **mtas; /* who gave them; on the heap, or NULL */
	int site_failed; /* the destination as a whole could not be reached */
};

void agent_open(struct agent *a, struct session *s);
/* Waits for the next job. E_CLOSED: there is none; other errors are logged. */
enum err agent_next(struct agent *a);
/*
 * Of a job with forwarded recipients: send gets the sender that SRS makes. One for whom there is
 * none stays, with a line in the log. A process lives for many jobs: srs is brought up to date.
 */
void agent_rewrite_sender(struct agent *a, struct srs *srs);
/* Tells qmgr the answer of recipient i now, so that it counts whatever becomes of the others. */
enum err agent_report_one(struct agent *a, size_t i);
/* Tells qmgr that the job is done. */
void agent_report_done(struct agent *a);
/* Tells qmgr the answers and that the job is done. */
void agent_report(struct agent *a);
/* The same answer for all recipients that have none. */
void agent_answer_rest(struct agent *a, const struct smtp_answer *answer);
/* Throws answers that ask to try again away, for another try now. */
void agent_forget_pending(struct agent *a);
/* Whether a recipient has no final answer. */
int agent_has_pending(const struct agent *a);
/* Who gave the answers that have no name beside them yet. */
void agent_note_mta(struct agent *a, const char *mta);
void agent_close(struct agent *a);

#endif
