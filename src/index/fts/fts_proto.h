/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_PROTO_H
#define ROOST_FTS_PROTO_H

/*
 * Frames (lib/ipc.h) of roost-fts.
 *
 * run/fts: a session asks about its user's mail. The first frame is OPEN, everything else follows
 * the answer OK. Answers come in the order of the requests and repeat the request id. A request
 * that breaks the protocol closes the connection; so does silence of FTS_CLIENT_IDLE_MS, since to
 * connect again costs little.
 */
enum fts_frame {
	/* str user, str ticket (auth/ticket.h) -> OK, or ERROR E_AUTH, E_TEMPFAIL */
	FTS_OPEN = 1,
	FTS_OK = 2,
	FTS_ERROR = 3, /* u32 enum err */
	/*
	 * str object id of the mailbox, u32 its UIDVALIDITY, u32 n (1..FTS_KEYS_MAX), n * (u8 enum
	 * fts_where, u8 enum fts_how, str needle, folded by mail/casemap.h)
	 * -> FOUND: str packed set of the UIDs that the index has (lib/numset.h), n * (u8
	 * all_maybe, str yes, str maybe, str scores). yes and maybe are email ids, 16 bytes each,
	 * of any mailbox: those messages match, or have to be looked at. A message that the index
	 * has and that is in neither does not match, or, with all_maybe, has to be looked at.
	 * scores: of FTS_FUZZY, for each of yes a byte, its relevancy; else empty. ERROR
	 * E_NOTFOUND: the index has nothing yet; E_TOOBIG: too much of it would have to be said.
	 */
	FTS_QUERY = 4,
	FTS_FOUND = 5,
	/*
	 * str word, str other, both folded -> OK: u8 whether they are forms of one word in one of
	 * the languages of the setting fts_languages
	 */
	FTS_STEMS = 6,

	/* ---- run/fts-feed: roost-index says whose mail has changed ---- */

	/* str user, str maildir, str index directory; no answer */
	FTS_CHANGED = 10,

	/* ---- between roost-fts and its processes ---- */

	/* u32 request id, str user, str ticket of an OPEN, with the client's descriptor */
	FTS_CLIENT = 20,
	/* Back: a client of this user was let in, whose mail may have to be indexed: as CHANGED */
	FTS_WANTED = 21,
	/* Back: what is there is damaged, and has to be made anew */
	FTS_DAMAGED = 22,
};

/* FTS_IN_HEADER: in some field of the message's own header; never "yes", since not which. */
enum fts_where { FTS_IN_BODY, FTS_IN_TEXT, FTS_IN_HEADER };
/* The string; its words; words that are like them (mail/word_match.h). */
enum fts_how { FTS_SUBSTRING, FTS_BY_WORDS, FTS_FUZZY };

enum {
	FTS_KEYS_MAX = 64,
	FTS_BODY_MAX = 1 << 20, /* of a frame from a session */
	FTS_CLIENT_IDLE_MS = 60 * 1000,
};

#endif
