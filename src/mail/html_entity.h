/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_HTML_ENTITY_H
#define ROOST_MAIL_HTML_ENTITY_H

#include <stdint.h>

#include "lib/str.h"

/*
 * Private to src/mail. The character of a reference without its "&" and ";": "amp", "#160", "#xA0".
 * 0 when there is none. Numbers that HTML forbids give U+FFFD, those in 0x80..0x9f what
 * Windows-1252 has there, as browsers do.
 */
uint32_t html_entity_point(struct str name);

#endif
