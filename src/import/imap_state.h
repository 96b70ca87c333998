/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_IMAP_STATE_H
#define ROOST_IMPORT_IMAP_STATE_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * What an import from an IMAP server has taken already: a text file that only grows, so that a
 * process killed at any moment leaves all but its last line whole.
 *
 *   roost-import-imap 1
 *   F <number> <source UIDVALIDITY> <mailbox UIDVALIDITY> <source's name of the folder>
 *   M <number> <source UID> <UID here> <flags as the source had them, import_flags_format>
 *
 * A later line for the same thing counts. A line F with other UIDVALIDITYs forgets what was known
 * of the folder. Nothing is lost with the file: messages that are there are then compared by their
 * bytes.
 */
struct imap_state;
struct imap_state_folder;
struct imap_state_message {
	uint32_t source, uid;
	const char *flags; /* one pointer for one text */
};

/* Made if it is not there, and locked. E_CONFLICT: another import runs; E_CORRUPT: no such file. */
enum err imap_state_open(const char *path, struct imap_state **out);
/* Writes what waits. E_IO, E_NOSPACE. */
enum err imap_state_flush(struct imap_state *s);
void imap_state_close(struct imap_state **s);

/* Of a folder as it is now; what is known of it under other UIDVALIDITYs is forgotten. Borrowed. */
struct imap_state_folder *imap_state_folder_get(
	struct imap_state *s, struct str name, uint32_t source_validity, uint32_t validity);
/* Rising by source UID. Borrowed until the next change. */
const struct imap_state_message *imap_state_messages(
	struct imap_state *s, struct imap_state_folder *f, size_t *count);
/* NULL: not taken yet. Borrowed. */
const struct imap_state_message *imap_state_find(
	struct imap_state *s, struct imap_state_folder *f, uint32_t source);
/* The one pointer for this text. */
const char *imap_state_text(struct imap_state *s, struct str flags);
/* Takes note of a message, new or known. In the file after the next flush. */
void imap_state_put(struct imap_state *s, struct imap_state_folder *f, uint32_t source,
	uint32_t uid, const char *flags);

#endif
