/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_SCREEN_H
#define ROOST_PROXY_SCREEN_H

#include "proxy/client.h"

/*
 * Tests of clients on port 25 that nobody knows, as Postfix's postscreen(8) has them: whoever
 * speaks before the greeting, talks ahead, or ends lines with a bare LF is a program that does not
 * wait for answers. Who has passed is known for postscreen_greet_ttl, and not tested.
 */

/* 1: the client has to wait for its greeting: c->phase is CLIENT_SCREEN. 0: it need not. */
int screen_begin(struct client *c);
/* In CLIENT_SCREEN: it has said something, or hung up. It may be gone afterwards. */
void screen_ready(struct client *c);
/* The wait is over. */
void screen_over(struct client *c);
/* Its first mail command: it has passed what was tested. */
void screen_passed(struct client *c);

#endif
