/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_ADOPT_H
#define ROOST_INDEX_ADOPT_H

#include <stddef.h>
#include <stdint.h>

#include "index/core_private.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * What Dovecot and Courier keep beside the messages of a Maildir: read when Roost sees a folder for
 * the first time, written when a user moves on to Dovecot. The parsers take any bytes: what cannot
 * be read is counted and left out.
 */

enum {
	ADOPT_UID_MAX = INT32_MAX, /* a UID above is damage, and would leave no room for others */
	ADOPT_LIST_MAX = 1 << 30, /* bytes of a list of UIDs */
};

/* ---- adopt_list.c: file names and their UIDs ---- */

struct adopt_line {
	struct str base; /* the file's name without its info part; borrowed */
	struct str unique; /* of base, up to the first comma */
	struct str uidl; /* POP3's name of the message, or empty; borrowed */
	uint32_t uid;
	int taken; /* by a file */
	uint64_t size, crlf_size; /* UINT64_MAX: not said */
};
struct adopt_list {
	uint32_t uidvalidity;
	uint32_t next_uid; /* as the list says it, and above all UIDs in it */
	struct adopt_line *lines; /* by unique and base; each base and each UID once */
	size_t count, cap;
	size_t bad; /* lines that say nothing that could be used */
};
void adopt_list_free(struct adopt_list *l);
/* For the parsers: a line with the file's name; E_RANGE, counted as bad, when it is not usable. */
enum err adopt_list_add(struct adopt_list *l, uint32_t uid, struct str name);
/* Puts the lines into their order. Of two for one file the higher UID stays, of two files with one
 * UID one. */
void adopt_list_finish(struct adopt_list *l);
/* The line of a file that nobody has taken yet, or NULL. uid: of U= in its name, or 0. */
struct adopt_line *adopt_list_find(struct adopt_list *l, struct str name, uint32_t uid);

/* ---- adopt_dovecot.c ---- */

/*
 * dovecot-uidlist:
 *
 *   3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
 *   25006 W3010 P<POP3 UIDL> :1276528487.M364837P9451.host,S=1355:2,S
 *
 * or, version 1, "1 UIDVALIDITY NEXTUID" and "UID NAME". Extensions that are not known are skipped.
 * E_CORRUPT: there is no UIDVALIDITY in the first line, without which UIDs mean nothing. *out
 * borrows text; the caller frees it in either case.
 */
enum err adopt_dovecot_uidlist(struct str text, struct adopt_list *out);
/* dovecot-keywords: "0 $Forwarded": letter a is this keyword. */
typedef char adopt_names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
void adopt_dovecot_keywords(struct str text, adopt_names names);
/* Eight hexadecimal digits, of dovecot-uidvalidity or the end of its companion's name; else 0. */
uint32_t adopt_dovecot_uidvalidity(struct str text);
/*
 * subscriptions, as Dovecot writes them: "V\t2", an empty line, a folder a line with tabs between
 * levels. Appends one with '.' between levels. A text without that first line is appended as it is.
 */
void adopt_dovecot_subscriptions(struct str text, struct buf *out);

/* ---- adopt_courier.c ---- */

/* courierimapuiddb: "1 UIDVALIDITY NEXTUID" and "UID NAME". As adopt_dovecot_uidlist. */
enum err adopt_courier_uiddb(struct str text, struct adopt_list *out);
/* courierimapsubscribed: "INBOX.Sent" is the folder ".Sent". Appends them without "INBOX.". */
void adopt_courier_subscriptions(struct str text, struct buf *out);
/*
 * courierpop3dsizelist: "/3 NEXT VALIDITY", then "FILE SIZE N:VALIDITY:0" (without the last number
 * in version 2): what POP3 clients know a message as. Appends a dovecot-uidlist that has these
 * names of messages in its field P, and numbers of its own for UIDs.
 */
void adopt_courier_uidls(struct str text, struct buf *out);

/*
 * courierimapkeywords/:list: keywords, a line each; an empty line; "FILE:0 2", which have which.
 * Changes since then are files of their own, called as the message's file (or ".N.FILE", the
 * highest N counts), with keywords a line each.
 */
struct adopt_keyword_line {
	char *unique;
	int64_t age; /* of what set it; later ones count */
	struct index_keywords keywords;
};
struct adopt_keywords {
	adopt_names names;
	struct adopt_keyword_line *lines;
	size_t count, cap;
	size_t bad;
};
void adopt_keywords_free(struct adopt_keywords *k);
void adopt_courier_keywords(struct str text, struct adopt_keywords *out);
/* file: the name of a file with changes, text what is in it. */
void adopt_courier_keyword_change(struct str file, struct str text, struct adopt_keywords *out);
/* Puts the lines into order for the look-up. */
void adopt_keywords_finish(struct adopt_keywords *k);
/* NULL: none. */
const struct index_keywords *adopt_keywords_find(const struct adopt_keywords *k, struct str name);

/* ---- adopt_file.c: files of a folder ---- */

/* A regular file of the folder, links not followed. E_NOTFOUND: none, or something else. */
enum err adopt_file_read(
	struct index_core *c, const char *dir, const char *file, size_t max, struct buf *out);
/*
 * The UIDVALIDITY that a list of the folder begins with, or 0; with dir "" also what
 * dovecot-uidvalidity says if that is more: new folders must get others.
 */
uint32_t adopt_peek_uidvalidity(struct index_core *c, const char *dir);

/* ---- adopt_folder.c ---- */

/*
 * Takes a folder over that another server has kept, before roost-uidvalidity is written, which says
 * that it is done: each file gets its UID into its name, roost-keywords is written, and
 * f->uidvalidity and f->next_uid are set. A folder without a list stays as it is, as does f. Done
 * again after a crash it gives the same UIDs. The lists are left in place.
 * E_ACCESS: there is a list that may not be read; E_IO, E_NOSPACE: nothing is taken over.
 */
enum err adopt_folder(struct index_core *c, const char *dir, struct core_uid_file *f);
/* The folder's subscriptions in the shape of Roost's file. E_NOTFOUND. */
enum err adopt_subscriptions_read(struct index_core *c, struct buf *out);

/* ---- adopt_acl.c: rights ---- */

/* Lines that are not taken over are counted in *bad. The caller frees *out. */
void adopt_dovecot_acl(struct str text, struct entry_list *out, size_t *bad);
/* Writes roost-acl of what a folder's dovecot-acl says, unless there is one already. */
enum err adopt_acl(struct index_core *c, const char *dir);
/* Appends a dovecot-acl that says the same. */
void export_dovecot_acl(const struct entry_list *l, struct buf *out);

/* ---- export_dovecot.c ---- */

struct export_counts {
	uint64_t folders, messages;
	uint64_t keywords_lost; /* messages with keywords that have no letter: not in Dovecot's
				   files */
};
/*
 * Writes dovecot-uidlist, dovecot-keywords and, where rights are set, dovecot-acl into each folder,
 * dovecot-uidvalidity and subscriptions beside them, so that Dovecot serves the same UIDs, flags
 * and keywords from this tree. Flags must have been brought into the names before
 * (index_core_background). What changes afterwards is not in them.
 */
enum err export_dovecot(struct index_core *c, struct export_counts *out);

#endif
