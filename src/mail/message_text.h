/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_MESSAGE_TEXT_H
#define ROOST_MAIL_MESSAGE_TEXT_H

#include "lib/str.h"
#include "mail/mime.h"

/*
 * All the text of a message as a search sees it (RFC 9051 section 6.4.4). Header fields are decoded
 * (RFC 2047, RFC 2231), bodies are decoded and converted to UTF-8, HTML comes as it stands and as
 * text. Parts that are neither text nor message are left out, but their headers, with the file
 * names, are not. The search without an index and the index are both made from this one walk, so
 * that they agree.
 */
enum message_text_stream {
	MESSAGE_TEXT_HEADER, /* of the message itself */
	MESSAGE_TEXT_PLAIN, /* headers of parts and messages inside; bodies */
	MESSAGE_TEXT_HTML, /* a body of HTML as text; between the pieces of the same body as PLAIN
			    */
};

struct message_text_sink {
	/* Well-formed UTF-8, borrowed, that ends between two characters. 0: enough, the walk ends.
	 */
	int (*piece)(enum message_text_stream stream, struct str utf8, void *ctx);
	/* The end of a field or a body: nothing matches across it. Not when the walk ended. */
	void (*end)(enum message_text_stream stream, void *ctx);
	/* A part whose body is no text, as it is stored; NULL: not asked for. 0: enough. */
	int (*other)(const struct mime_part *part, struct str body, void *ctx);
	void *ctx;
};

/* with_header: the header of the message itself too. */
void message_text_walk(struct str content, int with_header, const struct message_text_sink *sink);

#endif
