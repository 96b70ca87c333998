/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_MIME_PRIVATE_H
#define ROOST_MAIL_MIME_PRIVATE_H

/* Private to src/mail: what the files of the MIME parser share. */

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/charset.h"
#include "mail/mime.h"
#include "mail/text.h"

/* Memory that is given back all at once, with the message. */
struct mime_arena *mime_arena_create(void);
void mime_arena_free(struct mime_arena **a);
/* Zeroed, aligned for any type. */
void *mime_arena_alloc(struct mime_arena *a, size_t size);
/* A copy; never NULL, not even of an empty slice. */
struct str mime_arena_dup(struct mime_arena *a, struct str s);

/*
 * ";"-separated parameters (RFC 2045 section 5.1, RFC 2231 sections 3 and 4) of an unfolded field;
 * s begins behind the type. At most max are looked at. What is malformed is passed over.
 */
void mime_params_parse(struct str s, unsigned max, struct mime_arena *a, struct mime_params *out);

/* Skips blanks and comments. */
void mime_skip_cfws(struct str *s);
/* A token (RFC 2045 section 5.1) at the start of *s, cut off it; empty when there is none. */
struct str mime_take_token(struct str *s);

/* One Content-… field of a part; name without "Content-". The first field of a name counts. */
void mime_content_field(struct mime_part *part, struct str name, struct str value,
	unsigned max_params, struct mime_arena *a);

/*
 * Gathers the beginning of the text for the preview while the message streams by: the first
 * text/plain part that says anything, else the first text/html one.
 */
struct mime_preview {
	struct buf plain, html;
	size_t max;
	/* While a part is taken in. */
	int active;
	struct buf *out;
	struct decoder decoder;
	struct charset_conv *conv;
	struct html_text html_text;
	struct buf decoded, utf8; /* decoded: what is not converted yet */
	unsigned blocks;
};

void mime_preview_init(struct mime_preview *v, size_t max);
void mime_preview_fini(struct mime_preview *v);
/* A leaf part begins. */
void mime_preview_begin(struct mime_preview *v, const struct mime_part *part);
void mime_preview_feed(struct mime_preview *v, const char *p, size_t len);
void mime_preview_end(struct mime_preview *v);
struct str mime_preview_text(const struct mime_preview *v);

#endif
