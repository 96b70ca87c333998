/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_PIPE_H
#define ROOST_MTA_SMTPD_PIPE_H

#include "mta-lite/smtpd.h"

/*
 * A filter that is a program (pipe_transports) gives mail back with sendmail(1), which says who
 * calls it: mail of the filter's user has been through the filter.
 */

/* In the parent, before the sandbox: who these users are. */
void smtpd_pipe_open(const struct config *conf);
/* Whether the session is sendmail(1)'s and called by the user of this filter. filter may be NULL.
 */
int smtpd_pipe_gives_back(const struct smtpd *d, const char *filter);

#endif
