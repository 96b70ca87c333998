/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_BDAT_H
#define ROOST_MTA_SMTP_BDAT_H

#include "mta-lite/smtp_data.h"

/*
 * "BDAT size [LAST]" (RFC 3030 section 2). E_PARSE: where the chunk ends nobody can tell, so the
 * connection is of no use any more.
 */
enum err smtp_bdat_parse(struct str args, uint64_t *size, int *last);

/*
 * Looks at content that comes as it is, without dots to be taken off, in chunks that may end
 * anywhere: sets in *d what smtp_data_feed would. smtp_bdat_end belongs to the last one.
 */
void smtp_bdat_look(struct smtp_data *d, struct str in);
void smtp_bdat_end(struct smtp_data *d);

#endif
