/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_LOGIN_H
#define ROOST_IMAP_LOGIN_H

#include "lib/session.h"

/*
 * The child's main function: redeems the token that roost-proxy handed over, opens the user's mail,
 * closes the sandbox, answers the log-in command and serves (session_program.run).
 */
int imap_login_run(struct session *s);
/* Closes what was kept for another session (session_program.release). */
void imap_login_release(struct session *s);
/* What the parent loads once for all children (session_program.warm). */
enum err imap_login_warm(const struct config *conf);
/* What the parent and all children may touch; each child narrows it to its user. */
void imap_login_sandbox(const struct config *conf, struct sandbox *sb);

#endif
