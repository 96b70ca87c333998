/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_AGENT_H
#define ROOST_MTA_AGENT_H

#include "lib/session.h"
#include "mta-lite/job.h"
#include "mta-lite/smtp_client.h"

/* What the delivery processes have in common: the job, the file, the results. */
struct agent {
	struct session *session;
	const struct config *conf;
	int channel; /* to qmgr; borrowed from the session's stream */
	int file;
	struct job job;
	struct smtp_send send; /* of the job; content read from the file */
	struct smtp_send_rcpt *rcpts;
	struct smtp_answer *answers; /* one for each recipient */
};

/* Receives the job. Not OK: logged, agent_close all the same. */
enum err agent_open(struct agent *a, struct session *s);
/* Tells qmgr the answers; mta: who gave them. */
void agent_report(struct agent *a, const char *mta);
/* The same answer for all recipients. */
void agent_answer_all(struct agent *a, const struct smtp_answer *answer);
/* Throws the answers away, for another try. */
void agent_forget_answers(struct agent *a);
void agent_close(struct agent *a);

#endif
