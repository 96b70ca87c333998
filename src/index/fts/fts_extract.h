/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_EXTRACT_H
#define ROOST_FTS_EXTRACT_H

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/mime.h"

/*
 * Text out of attachments: OpenDocument and Office Open XML by the reader of fts_zip.h, PDF by
 * pdftotext(1) of poppler-utils, which runs alone, one at a time, confined to its own program and
 * libraries, with bounds for time, memory and output. What has no text, is damaged or over a bound
 * just gives less.
 */
enum {
	FTS_ATTACHMENT_MAX = 32 << 20, /* bytes of an attachment that is looked at */
	FTS_EXTRACTED_MAX = 8 << 20, /* bytes of text from it */
	FTS_EXTRACT_MS = 20 * 1000,
};

struct sandbox;

/* In the service, before its sandbox closes: says in the log which programs are missing. */
void fts_extract_look(void);
/* For the service and for the process that indexes: the programs may be started. */
void fts_extract_sandbox(struct sandbox *sb);
/* Appends the text of a part; body: as it is stored in the message. out has a bound. */
void fts_extract(const struct mime_part *part, struct str body, struct buf *out);

#endif
