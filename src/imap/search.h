/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SEARCH_H
#define ROOST_IMAP_SEARCH_H

/*
 * What SEARCH (RFC 9051 section 6.4.4), SORT and THREAD (RFC 5256), the ESEARCH command (RFC 7377)
 * and contexts (RFC 5267) have in common: a tree of keys, its evaluation, and the run over a
 * mailbox.
 */

#include <stddef.h>
#include <stdint.h>

#include "imap/imap.h"
#include "imap/limit.h"
#include "imap/parse.h"
#include "imap/progress.h"
#include "index/index_client.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"

/* ---- the mailbox that is searched ---- */

struct fts_client;
struct search_fts;
struct search_fts_key;
struct search_stems;
struct search_words;

/* All is borrowed. */
struct search_box {
	struct index_user *index;
	uint32_t mailbox;
	const struct index_view *view;
	const struct numset *recent; /* UIDs; NULL: nothing is \Recent */
	char *const *keywords; /* names of the mailbox's keyword bits */
	size_t keyword_count;
	struct fts_client *fts; /* NULL: there is no full-text index */
};

/* The session's selected mailbox, with the keywords as they are now: may send FLAGS. */
void search_box_selected(struct imap_session *s, struct search_box *out);

/* ---- the tree of keys (search_parse.c) ---- */

enum search_kind {
	SEARCH_ALL,
	SEARCH_AND, /* children */
	SEARCH_OR, /* children */
	SEARCH_UIDS, /* message numbers and "$" are turned into UIDs */
	SEARCH_FLAG,
	SEARCH_RECENT,
	SEARCH_NEW,
	SEARCH_KEYWORD,
	SEARCH_MODSEQ,
	SEARCH_EMAILID,
	SEARCH_THREADID,
	SEARCH_SAVEDBEFORE,
	SEARCH_SAVEDON,
	SEARCH_SAVEDSINCE,
	SEARCH_LARGER,
	SEARCH_SMALLER,
	SEARCH_BEFORE,
	SEARCH_ON,
	SEARCH_SINCE,
	SEARCH_OLDER,
	SEARCH_YOUNGER,
	SEARCH_SENTBEFORE,
	SEARCH_SENTON,
	SEARCH_SENTSINCE,
	SEARCH_HEADER,
	SEARCH_BODY,
	SEARCH_TEXT,
};

/* What it takes to decide a key, the cheaper first. */
enum search_need { SEARCH_NEED_RECORD, SEARCH_NEED_CACHE, SEARCH_NEED_CONTENT };

enum {
	SEARCH_DEPTH_MAX = 64, /* of NOT, OR and parentheses within each other */
	SEARCH_KEYS_MAX = 1024,
	SEARCH_FILTERS_MAX = 8, /* FILTER in the value of a filter, and so on */
	SEARCH_TEXTS_MAX = 64, /* BODY and TEXT: each is looked for in every message */
	SEARCH_ID_LEN = 16, /* bytes of an email or thread id */
};

struct search_key {
	enum search_kind kind;
	int negated; /* NOT, and the UN... keys */
	enum search_need need; /* the largest of it and its children */
	struct search_key *child, *next; /* children cheapest first */

	/*
	 * UIDS. set: as the client wrote it, resolved for each mailbox anew since "*" differs; NULL
	 * when uids was settled as the command was parsed (message numbers, "$").
	 */
	char *set;
	struct numset uids;
	unsigned flag; /* FLAG: enum index_flag */
	char *word; /* KEYWORD: its name; HEADER: the field's */
	int bit; /* KEYWORD: in the mailbox's table, -1: no message has it */
	uint64_t number; /* LARGER, SMALLER, MODSEQ; OLDER, YOUNGER: seconds */
	int day; /* dates: days since 1970-01-01 */
	unsigned char id[SEARCH_ID_LEN]; /* EMAILID, THREADID */
	int id_known; /* 0: no id of ours looks like what the client asks for */
	struct buf needle; /* HEADER, BODY, TEXT: UTF-8, folded with casemap_fold */
	/* The same, by its words (search_words.h); NULL: the needle itself is looked for. */
	struct search_words *words;
	int fuzzy; /* HEADER, BODY, TEXT with words: behind FUZZY */
	int relevant; /* such a key is it or in it, and not negated: messages have a relevancy */
	int is_cached; /* HEADER: a field that every cache record has */
	int is_addresses; /* HEADER: FROM, TO, CC or BCC */
	int found; /* BODY, TEXT: in the message at hand, see search_content_scan */
	unsigned score; /* the same, of a FUZZY key: its relevancy, 0: not found */
	const struct search_fts_key *fts; /* HEADER too: what the index knows; NULL: nothing */
};

struct search_plan {
	struct search_key *root; /* AND of all */
	struct search_key *texts[SEARCH_TEXTS_MAX]; /* the BODY and TEXT keys */
	size_t text_count, key_count;
	struct search_key *headers[SEARCH_TEXTS_MAX]; /* the first HEADER keys */
	size_t header_count;
	int has_fuzzy; /* FUZZY (RFC 6203) is in it */
	int wants_scores; /* to be set before the run: the relevancy is asked for */
	int has_cache_keys; /* some key can be decided from the cache record */
	int has_facts; /* sizes or internal dates are asked for */
	int has_modseq; /* the reply has to name the highest mod-sequence (RFC 7162 3.1.5) */
	int has_numbers; /* message numbers or "$" are in it */
	int64_t now; /* what OLDER and YOUNGER count from */
	int bad_charset; /* answer NO [BADCHARSET] */
	char *undefined_filter; /* answer NO [UNDEFINED-FILTER name]; NULL: there are all */
	const struct numset *among; /* UIDs: no others are looked at; borrowed; NULL: all */
	uint32_t looked_max; /* messages that are looked at, the newest; 0: all */
	char *charset; /* of the keys to come; NULL: UTF-8 */
	struct search_fts *fts; /* while it runs; see search_fts.h */
	struct search_stems *stems; /* see search_words.h */
};

/*
 * Parses "[CHARSET name] key key ..." through the end of the command. Message numbers and "$" are
 * resolved against the session's view, if there is one. Errors are the parser's; E_TOOBIG over a
 * bound above. The caller calls search_plan_fini also after an error. Nothing is borrowed.
 */
enum err search_plan_parse(struct imap_session *s, struct imap_parser *p, struct search_plan *out);
/* Whether value is a whole search, as a filter has to be (RFC 5466 section 3.2). */
int search_is_filter(struct imap_session *s, struct str value);
/* The same for SORT and THREAD: "charset key key ..." (RFC 5256 section 5, "search-criteria"). */
enum err search_criteria_parse(
	struct imap_session *s, struct imap_parser *p, struct search_plan *out);
void search_plan_fini(struct search_plan *plan);
/*
 * To be called after a parse that went well. wanted: the relevancy is asked for, which is for
 * searches with FUZZY only (RFC 6203 section 4): E_PARSE.
 */
enum err search_plan_want_scores(struct search_plan *plan, struct imap_parser *p, int wanted);
/* To be called before the plan is run: looks up keywords and UID sets in the mailbox. */
void search_plan_bind(struct search_plan *plan, const struct search_box *box);

/* ---- deciding (search_eval.c) ---- */

enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_UNKNOWN };

/* What is known of a message so far. */
struct search_message {
	const struct search_box *box;
	const struct index_message *m;
	int has_record, has_content;
	struct str record; /* mail/cache.h; empty: it has none, look into content */
	struct str content; /* with it search_content_scan must have been called */
	struct buf decoded, folded; /* scratch; freed by the caller */
};

/* SEARCH_UNKNOWN: more must be known (never when both has_record and has_content). */
enum search_answer search_eval(const struct search_plan *plan, struct search_message *msg);

/*
 * The relevancy (RFC 6203 section 4) of a message that matches: 1 to 100; 0: more must be known of
 * it, as above. The mean of its FUZZY keys; of OR the best; 100 when no such key has a say.
 */
unsigned search_relevancy(const struct search_plan *plan, struct search_message *msg);

/* ---- header fields (search_header.c) ---- */

/*
 * Of a HEADER key. SEARCH_YES: *score is the relevancy, at most 100; if that is as good as enough
 * it may be more.
 */
enum search_answer search_header_score(
	const struct search_key *key, struct search_message *msg, unsigned enough, unsigned *score);

/* ---- text of a whole message (search_content.c) ---- */

/*
 * Reads the message once and sets found, and score, of every key in texts: TEXT looks at
 * everything, BODY at all but the header of the message itself. Bodies are decoded and converted;
 * HTML is looked at as it stands and as text. Parts that are neither text nor message are left out
 * (RFC 3501 section 6.4.4 allows it); their headers, with the file names, are not.
 */
void search_content_scan(struct search_key *const *texts, size_t count, struct str content);

/* ---- the run over a mailbox (search_run.c) ---- */

struct search_result {
	uint32_t *seqs; /* message numbers of the view, rising */
	unsigned char *scores; /* of each its relevancy; NULL unless plan->wants_scores */
	size_t count, cap;
	uint64_t gone; /* messages of the view that another session has expunged */
	struct imap_limit limit; /* RFC 9738: whether older messages were left out */
	/* The first message that could not be looked at; the result may lack such ones. */
	enum err failed;
	uint32_t failed_seq, failed_uid;
};

/*
 * Finds the messages that match. plan must have been bound to box. Errors: of the index;
 * E_CANCELLED and those of the connection from progress. The caller calls search_result_fini also
 * after an error.
 */
enum err search_run(const struct search_box *box, struct search_plan *plan,
	struct imap_progress *progress, struct search_result *out);
void search_result_fini(struct search_result *r);

/*
 * Goes through messages with their cache records, rising. record is empty when there is none (the
 * file is gone, damaged or not to be read). An error of visit ends it.
 */
struct search_each {
	const struct search_box *box;
	const uint32_t *seqs;
	size_t count;
	int with_facts; /* sizes and internal dates are needed */
	int with_record;
	struct imap_progress *progress;
	enum err (*visit)(size_t n, const struct index_message *m, struct str record, void *ctx);
	void *ctx;
};
/* n in visit: place in seqs. Messages that are gone are passed over. */
enum err search_each(const struct search_each *each);

/*
 * The sent date (RFC 5256 section 2.2), from the field SENT_DATE of the cache record; the internal
 * date when there is none. Inside a read transaction.
 */
enum err search_sent_date(const struct search_box *box, const struct index_message *m,
	struct str field, int64_t *out);

/* The highest mod-sequence of these messages; 0 for none. */
enum err search_highest_modseq(
	const struct search_box *box, const uint32_t *seqs, size_t count, uint64_t *out);

/*
 * What a searching command in the selected mailbox begins with: the mailbox, the plan bound to it,
 * progress. A MODSEQ key switches CONDSTORE on (RFC 7162 section 3.1).
 */
void search_start(struct imap_session *s, struct search_plan *plan, struct search_box *box,
	struct imap_progress *progress);
/*
 * The tagged reply for what search_run found out: OK, with EXPUNGEISSUED when messages were gone
 * (RFC 5530), or NO when a message could not be read. done: "SEARCH completed".
 */
enum err search_reply(struct imap_session *s, const struct search_result *r, const char *done);
/* Whether what was parsed cannot be searched for; search_reply_refused says why: NO [BADCHARSET
 * (...)] or NO [UNDEFINED-FILTER name]. */
int search_is_refused(const struct search_plan *plan);
enum err search_reply_refused(struct imap_session *s, const struct search_plan *plan);

#endif
