/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_FILES_H
#define ROOST_INDEX_CORE_FILES_H

/* What the files beside the messages are called, and what a reader of them must know. */

enum {
	CORE_UID_CHUNK = 1000, /* the floor in roost-uidvalidity runs this far ahead */
	CORE_LETTERS = 26, /* keywords that have a letter in file names */
};

/* Names of the small files and of folders on their way out. */
#define CORE_FILE_UID "roost-uidvalidity"
#define CORE_FILE_KEYWORDS "roost-keywords"
#define CORE_FILE_KEYWORDS_MORE "roost-keywords-more"
#define CORE_FILE_SPECIAL_USE "roost-special-use"
#define CORE_FILE_SUBSCRIPTIONS "subscriptions"
#define CORE_FILE_QUOTA "maildirsize"
/* "UID ID": what POP3 clients know messages as from the server before; roost-pop3 reads it. */
#define CORE_FILE_UIDL "roost-uidl"
/* What is being done with several files, see core_batch.h. */
#define CORE_FILE_BATCH "roost-batch"
#define CORE_DELETED_PREFIX "..roost-deleted-"
/* In such a folder: what it was called, when its messages are to be kept. */
#define CORE_FILE_DELETED "roost-deleted"

#endif
