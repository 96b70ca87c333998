/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_RIGHTS_H
#define ROOST_MAIL_RIGHTS_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Rights on mailboxes (RFC 4314). The owner has every right as long as nothing was set for him, and
 * those of RIGHTS_FIXED whatever was set. What he takes from himself, to guard a mailbox against
 * his own programs, holds in each of them. A guest has what is given to any identifier that means
 * him, without what is taken from any such (section 2).
 */
enum right { /* section 2.1, in the order in which they are written */
	RIGHT_LOOKUP = 1, /* l */
	RIGHT_READ = 2, /* r */
	RIGHT_SEEN = 4, /* s */
	RIGHT_WRITE = 8, /* w */
	RIGHT_INSERT = 16, /* i */
	RIGHT_POST = 32, /* p */
	RIGHT_CREATE = 64, /* k */
	RIGHT_REMOVE = 128, /* x */
	RIGHT_DELETE = 256, /* t */
	RIGHT_EXPUNGE = 512, /* e */
	RIGHT_ADMIN = 1024, /* a */
	RIGHTS_ALL = 2047,
	/* His own mail always comes in; without the others nobody could give them back. */
	RIGHTS_FIXED = RIGHT_LOOKUP | RIGHT_POST | RIGHT_ADMIN,
	/* One of them is what makes a mailbox READ-WRITE (section 5.2). */
	RIGHTS_CHANGE = RIGHT_SEEN | RIGHT_WRITE | RIGHT_INSERT | RIGHT_DELETE | RIGHT_EXPUNGE,
};

/* The identifiers under which the owner's rights are stored, whatever his name is. */
#define RIGHTS_OWNER "owner"
#define RIGHTS_NOT_OWNER "-owner"

/*
 * "lrsc": letters in any order, "c" (k and x) and "d" (t and e) too (section 2.1.1). E_RANGE:
 * another byte, upper case among them.
 */
enum err rights_parse(struct str text, unsigned *out);
/* With "c" and "d" when any of what they stand for is there. */
enum { RIGHTS_TEXT = 14 };
void rights_format(unsigned rights, char out[RIGHTS_TEXT]);

/* What the owner may do, from all that is stored for a mailbox. */
struct rights_owner {
	unsigned given, taken;
};
void rights_owner_init(struct rights_owner *o); /* nothing is stored */
/* One identifier and its rights. */
void rights_owner_add(struct rights_owner *o, struct str identifier, struct str rights);
unsigned rights_owner_have(const struct rights_owner *o);

/* Identifiers that mean more than one user. */
#define RIGHTS_ANYONE "anyone"
#define RIGHTS_AUTHENTICATED "authenticated"

/*
 * Whom identifiers may mean: a user's address, and the groups he is in, "staff,sales". Borrowed.
 * groups NULL: it is not known which; then nothing is given to him as one of a group, and what is
 * taken from any is taken from him.
 */
struct rights_who {
	const char *user, *groups;
};

/* What a guest may do, likewise; zeroed: nothing is stored. */
struct rights_guest {
	unsigned given, taken;
};
void rights_guest_add(struct rights_guest *g, const struct rights_who *who, struct str identifier,
	struct str rights);
unsigned rights_guest_have(const struct rights_guest *g);
/*
 * What somebody has who did not log in and is known to nobody, as the sender of a mail is: what is
 * given to and taken from "anyone".
 */
void rights_stranger_add(struct rights_guest *g, struct str identifier, struct str rights);
/*
 * Whether strangers may send mail to the mailbox's own address ("p", section 4). Where nobody has
 * said anything they may, unless it is to be given.
 */
int rights_stranger_posts(const struct rights_guest *g, int to_be_given);
/*
 * As an identifier is stored for a mailbox of owner's, appended to out: "owner" for his address,
 * addresses in lower case, one without a domain with that of owner's; "$staff" for a group, also
 * where it is given as "group=staff"; a leading "-" stays.
 */
void rights_identifier_prepare(struct str identifier, const char *owner, struct buf *out);
/* Whether an entry gives anything to somebody but the owner. */
int rights_entry_gives(struct str identifier, struct str rights);
/* Whether an identifier, without a leading "-", means this guest; names are compared in any case.
 */
int rights_identifier_means(struct str identifier, const struct rights_who *who);

#endif
