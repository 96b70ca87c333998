/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_TEXT_H
#define ROOST_MAIL_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * HTML to plain text, in pieces cut anywhere, in constant memory: tags become a blank (block
 * elements) or nothing (inline ones), <script>, <style>, <title> and comments are dropped with
 * their contents, character references are decoded (unknown ones stay), runs of blanks become one.
 * Input and output are UTF-8 (see charset.h). Never fails for bad input; text in an unfinished tag
 * is dropped. Fields are private.
 */
struct html_text {
	int state;
	int skip; /* which element's content is dropped; 0: none */
	int blank, any; /* a blank is owed; something came out already */
	int closing; /* the tag began with "</" */
	char quote; /* of an attribute's value */
	unsigned dashes; /* seen in a row in a comment */
	char name[32]; /* of a tag or character reference */
	size_t name_len;
};

void html_text_init(struct html_text *h);
/* E_TOOBIG: out is full; what fitted is kept. */
enum err html_text_feed(struct html_text *h, const char *p, size_t len, struct buf *out);
enum err html_text_finish(struct html_text *h, struct buf *out);

/*
 * Appends a preview (RFC 8970 section 3.3) of a UTF-8 plain text: lines quoted with ">" left out
 * unless there are no others, runs of blanks, line ends and controls as one space, invisible
 * characters and blanks at the start dropped, at most max_chars characters, never a part of one.
 * Ill-formed bytes become U+FFFD, an unfinished character at the end is dropped.
 */
enum err text_preview(struct str utf8, size_t max_chars, struct buf *out);

#endif
