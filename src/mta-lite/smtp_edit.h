/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_EDIT_H
#define ROOST_MTA_SMTP_EDIT_H

#include "mta-lite/agent.h"
#include "mta-lite/content_check.h"
#include "mta-lite/rewrite.h"

/*
 * What becomes of a message on its way to another server: addresses of envelope and header by
 * smtp_generic_maps, header fields by smtp_header_checks. The file in the queue stays as it is.
 */
struct smtp_edit {
	struct rewrite *generic; /* NULL: no table */
	struct content_checks checks;
};

/* maps are borrowed. E_PARSE: logged. */
enum err smtp_edit_open(const struct config *conf, struct maps *maps, struct smtp_edit *edit);

/* One message as it goes out. */
struct smtp_edited;

/*
 * Changes a->send. OK: *out is freed by the caller with smtp_edited_free once the job is done; NULL
 * when there was nothing to do: mail for a content filter or by LMTP goes out as it is. Else *why
 * is the answer for all recipients.
 */
enum err smtp_edit_message(const struct smtp_edit *edit, struct agent *a, struct smtp_edited **out,
	struct smtp_answer *why);
void smtp_edited_free(struct smtp_edited **m);

#endif
