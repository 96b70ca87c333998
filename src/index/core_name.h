/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_NAME_H
#define ROOST_INDEX_CORE_NAME_H

#include "index/index_client.h"
#include "index/maildir_name.h"
#include "lib/err.h"
#include "lib/str.h"

/* Names of mailboxes, of their folders on disk (Maildir++), and what they suggest. */

/* Checked, with INBOX in capitals. E_RANGE, E_TOOBIG. */
enum err core_name_normalize(struct str name, char out[INDEX_MAILBOX_NAME_MAX + 1]);
/* "A/B" is ".A.B", each level in modified UTF-7. E_RANGE, E_TOOBIG. */
enum err core_name_to_dir(const char *name, char dir[MAILDIR_NAME_MAX + 1]);
/* E_RANGE: no mailbox of ours can have this directory. */
enum err core_name_from_dir(const char *dir, char out[INDEX_MAILBOX_NAME_MAX + 1]);
/*
 * A folder that is named in UTF-8, as Courier does it since its version 5: the mailbox, and the
 * folder that it has here. E_RANGE: it is not, or cannot be.
 */
enum err core_name_from_utf8(
	const char *dir, char out[INDEX_MAILBOX_NAME_MAX + 1], char ours[MAILDIR_NAME_MAX + 1]);
/* The special use of a mailbox that has this name and no other use; 0: none. */
unsigned core_name_special_use(const char *name);
/* "sent", as roost-special-use has it, and back; 0: no such word. */
const char *core_special_use_word(unsigned use);
unsigned core_special_use_parse(struct str word);

#endif
