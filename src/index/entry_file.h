/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_ENTRY_FILE_H
#define ROOST_INDEX_ENTRY_FILE_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * A small text file of a folder that holds names and values: roost-metadata, roost-acl. Its first
 * line is "roost 1"; each other one is a name, a space and a value, in the order of the names. The
 * bytes 0..31, 127 and '%' are written as '%' and two capital hex digits, in names the space too,
 * so that any bytes can be a value; all others stand for themselves.
 */

/* Ours, in folders and (the second) in the user's Maildir. */
#define ENTRY_FILE_METADATA "roost-metadata"
#define ENTRY_FILE_METADATA_SERVER "roost-metadata-server"
#define ENTRY_FILE_ACL "roost-acl"
#define ENTRY_FILE_URLAUTH "roost-urlauth" /* in the Maildir */
/* Followed by "-" and a guest: what he has seen of it. */
#define ENTRY_FILE_SEEN "roost-seen"

enum { ENTRY_FILE_MAX = 8 << 20 }; /* bytes of such a file: four times what our limits let in */

struct entry {
	char *name;
	struct buf value;
};
/* In the order of the names' bytes, each name once. Zeroed: empty. */
struct entry_list {
	struct entry *items;
	size_t count;
};
void entry_list_free(struct entry_list *l);
/* NULL: not there. */
const struct entry *entry_list_get(const struct entry_list *l, struct str name);
/* Adds or replaces. name: not empty, without NUL. */
void entry_list_set(struct entry_list *l, struct str name, struct str value);
/* Returns whether it was there. */
int entry_list_remove(struct entry_list *l, struct str name);
/* Bytes of all names and values. */
size_t entry_list_bytes(const struct entry_list *l);

/*
 * Lines that are none of ours are left out and counted in *bad (may be NULL); of a name that comes
 * twice the last counts. E_CORRUPT: the first line is not ours, *out is empty. The caller frees
 * *out.
 */
enum err entry_list_parse(struct str text, struct entry_list *out, size_t *bad);
void entry_list_format(const struct entry_list *l, struct buf *out);

/*
 * Reads such a file of folder dir ("": the Maildir itself) below the open directory maildir_fd,
 * without following symbolic links. E_NOTFOUND: no such file, or no regular one; E_NOTFOUND also
 * when the folder is not there. E_CORRUPT: as above, or larger than ENTRY_FILE_MAX.
 */
enum err entry_file_read(
	int maildir_fd, const char *dir, const char *file, struct entry_list *out, size_t *bad);

/* ---- annotations (RFC 5464) ---- */

/*
 * Whether name may be an entry (RFC 5464 section 3.2): "/private/..." or "/shared/...", ASCII
 * without controls, "*", "%", no empty part. Its form in lower case goes into out, as names are
 * case-insensitive. E_RANGE.
 */
enum err entry_metadata_name(struct str name, struct buf *out);

/* ---- rights (RFC 4314) ---- */

enum { ENTRY_RIGHTS_MAX = 36 };
/*
 * Letters a..z and digits, each once, in that order, NUL at the end. E_RANGE: other bytes.
 */
enum err entry_rights_normalize(struct str rights, char out[ENTRY_RIGHTS_MAX + 1]);
/* Not empty, without controls, UTF-8, at most INDEX_ACL_IDENTIFIER_MAX bytes. E_RANGE, E_TOOBIG. */
enum err entry_identifier_check(struct str identifier);

#endif
