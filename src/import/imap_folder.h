/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_IMAP_FOLDER_H
#define ROOST_IMPORT_IMAP_FOLDER_H

#include "import/imap_client.h"
#include "import/import.h"

/* Which folders an IMAP server has, and what they are to be called here. */

struct imap_folder {
	char *source; /* as the server writes it: for commands and the state file */
	char *name; /* UTF-8, levels separated by '/' */
	unsigned special_use;
	int no_select, subscribed;
	uint32_t messages; /* of STATUS, for the estimate */
};
struct imap_folders {
	struct imap_folder *all;
	size_t count, cap;
};
void imap_folders_free(struct imap_folders *f);

/* What was asked for on the command line: words with the values, borrowed. */
struct imap_wishes {
	const char *const *only; /* shell patterns of names here; none: all */
	size_t only_count;
	const char *const *except;
	size_t except_count;
	const char *const *map; /* "OLD=NEW"; with what is below */
	size_t map_count;
	int keep_names; /* a folder with a special use keeps its name */
};

/*
 * Lists what is to be imported, in order: INBOX first. Folders of other users and shared ones are
 * left out, as are those that show messages of others (\All, \Flagged), unless they are asked for.
 * Names are brought into Roost's form. Errors as imap_client_wait.
 */
enum err imap_folders_list(struct imap_client *c, struct index_user *u,
	const struct imap_wishes *wishes, struct imap_folders *out);
/*
 * The name here of a server's name (not yet mapped or matched), for the tests: prefix is the
 * personal namespace's. Appended to out.
 */
void imap_folder_name(struct str source, char separator, struct str prefix, struct buf *out);

#endif
