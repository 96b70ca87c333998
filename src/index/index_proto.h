/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_PROTO_H
#define ROOST_INDEX_PROTO_H

/*
 * Frames (lib/ipc.h) spoken on run/index. One connection is one client for one user: its first
 * frame is OPEN, everything else follows the answer OPENED. Requests may be pipelined; answers come
 * in the order of the requests and repeat the request id. Notices have request id 0.
 *
 * "str" is a length-prefixed string. "set" is u32 n, n * (u32 first, u32 last), rising and
 * disjoint, n <= INDEX_PROTO_RANGES_MAX. A mailbox is its id (u32). Flags are enum index_flag (u8).
 * Every request is answered by the frame named behind "->" or by ERROR. A request that breaks the
 * protocol closes the connection.
 *
 * What the service changed is committed to the LMDB environment before its answer is sent: a read
 * transaction begun after the answer sees it.
 */
enum index_frame {
	/*
	 * OPEN: str ticket (auth/ticket.h). Makes or refreshes the tree and the index. With a
	 * ticket of a guest the connection is his: see below.
	 * -> OPENED: str user, str maildir (absolute path), str index directory (absolute path),
	 * u64 generation. When the generation differs from the one that a client's open LMDB
	 * environment came with, the environment's file was replaced: close it and open it anew.
	 * ERROR E_AUTH: the ticket was refused.
	 * The notice WAIT comes at once when the ticket is good, so that a service that works on a
	 * long rebuild can be told from one that is not there: its socket is the master's.
	 */
	INDEX_OPEN = 1,
	INDEX_OPENED = 2,
	INDEX_WAIT = 5, /* nothing */

	/*
	 * In the place of OPEN, and all there is on its connection: str ticket of the user who
	 * asks, str URL with an authorization (RFC 4467) -> CONTENT: the message that it is of.
	 * ERROR E_AUTH: whatever is wrong with the URL; E_TEMPFAIL: all else.
	 */
	INDEX_URL_OPEN = 6,

	INDEX_OK = 3, /* nothing */
	INDEX_ERROR = 4, /* u32 enum err, str text for the log */

	/* ---- mailboxes ---- */

	/* str name (UTF-8), u32 special use -> MAILBOX. E_EXISTS, E_RANGE (name), E_TOOBIG. */
	INDEX_CREATE = 10,
	INDEX_MAILBOX = 11, /* u32 mailbox */
	/* str name -> OK. E_NOTFOUND; E_ACCESS: INBOX; E_EXISTS: has children. */
	INDEX_DELETE = 12,
	/* str from, str to -> OK. E_NOTFOUND, E_EXISTS, E_RANGE, E_TOOBIG. */
	INDEX_RENAME = 13,
	/* str name, u8 on -> OK. E_RANGE. */
	INDEX_SUBSCRIBE = 14,

	/* ---- messages ---- */

	/*
	 * u32 mailbox, u32 n (1..INDEX_PROTO_APPEND_MAX), n messages:
	 *   str file name inside tmp/ of the mailbox's folder: regular, fsync'd, its mtime is the
	 *       INTERNALDATE;
	 *   u8 flags, u32 count, count * str keyword;
	 *   u64 size with CRLF line ends (W), u64 size as stored but before it was compressed
	 *       (S); 0: that of the file;
	 *   str email id, str thread id: 16 bytes each, or empty when not known;
	 *   str cache record (mail/cache.h), at most INDEX_PROTO_CACHE_MAX, or empty.
	 * All or none. -> COMMITTED: u32 uidvalidity, u64 modseq, u32 n, n * u32 uid. The tmp files
	 * are gone then; after ERROR they are still there. E_NOTFOUND: the mailbox, or a file;
	 * E_QUOTA; E_TOOBIG: too many keywords; E_RANGE: a bad keyword or file name.
	 */
	INDEX_APPEND = 20,
	INDEX_COMMITTED = 21,
	/*
	 * u32 mailbox, u32 uid of the message that goes, then as APPEND with n = 1 -> COMMITTED.
	 * Both or neither; the quota counts the difference. E_NOTFOUND: also the message.
	 */
	INDEX_REPLACE = 34,
	/*
	 * u32 mailbox, set, u8 enum index_store_op, u8 flags, u64 unchanged_since (UINT64_MAX: no
	 * condition), u32 count, count * str keyword
	 * -> STORED: u64 modseq of the change (the mailbox's highest when nothing changed), set of
	 * conflicts.
	 */
	INDEX_STORE = 22,
	INDEX_STORED = 23,
	/*
	 * u32 mailbox, u8 force, u8 all, set (empty when all): those of the set that have \Deleted,
	 * with force all of them -> EXPUNGED: u64 modseq, set.
	 */
	INDEX_EXPUNGE = 24,
	INDEX_EXPUNGED = 25,
	/* u32 from, u32 to, u32 how (index_copy), set -> COPIED: u32 uidvalidity, u32 n, n * (u32
	   src, u32 dst). All or none. */
	INDEX_COPY = 26,
	INDEX_COPIED = 27,
	/* u32 mailbox -> RECENT: u32 first uid that is \Recent to the caller. */
	INDEX_CLAIM_RECENT = 28,
	INDEX_RECENT = 29,
	/* u32 mailbox, u32 uid, str cache record -> no answer; dropped when it does not fit. */
	INDEX_CACHE_PUT = 30,
	/*
	 * What the client found out about a message whose record has it as not known:
	 * u32 mailbox, u32 uid, u64 size with CRLF (INDEX_SIZE_UNKNOWN: leave), i64 internal date
	 * as u64 (0: leave), str email id, str thread id (empty: leave) -> no answer. Does not
	 * raise the modseq.
	 */
	INDEX_FACTS_PUT = 31,
	/*
	 * u32 mailbox, u32 uid -> PATH: str path below the Maildir where the file is now. Looks in
	 * the directory: for a reader that found no file under the recorded name. E_NOTFOUND.
	 */
	INDEX_LOCATE = 32,
	INDEX_PATH = 33,

	/* ---- annotations and rights: read from the folder's files ---- */

	/*
	 * u32 mailbox (0: the server's), u32 n (1..INDEX_PROTO_ENTRIES_MAX), n * (str name, u8 nil,
	 * str value) -> OK. All or none. E_NOTFOUND; E_RANGE: name; E_TOOBIG: value; E_QUOTA: too
	 * many.
	 */
	INDEX_METADATA_SET = 60,
	/*
	 * u32 mailbox, u8 enum index_acl_op, str identifier, str rights -> OK. E_NOTFOUND, E_RANGE,
	 * E_TOOBIG: identifier; E_QUOTA: too many.
	 */
	INDEX_ACL_SET = 61,

	/* ---- URLs with an authorization (RFC 4467), of the user himself; not from guests ---- */

	/*
	 * A mailbox that another shares is given as str owner, str object id in hex, both of which
	 * are empty for one of the user's own. They are believed: such a URL gives what the user
	 * may read when it is fetched, and nothing else.
	 */

	/*
	 * str rump URL, str owner, str object id -> URL_SIGNED: str token. E_NOTFOUND: the mailbox;
	 * E_RANGE: no URL of this user's; E_QUOTA.
	 */
	INDEX_URL_SIGN = 62,
	INDEX_URL_SIGNED = 63,
	/*
	 * str mailbox, str owner, str object id (all empty: all keys are removed) -> URL_GONE: u32
	 * n, n * (str owner, str object id): of others' mailboxes whose keys are other ones now.
	 * E_NOTFOUND, E_QUOTA.
	 */
	INDEX_URL_RESET = 64,
	INDEX_URL_GONE = 65,

	/* ---- news ---- */

	/*
	 * u32 mailbox (0: all, and the tree; INDEX_PROTO_TREE: which mailboxes there are) -> OK,
	 * after changes by other programs were taken in.
	 */
	INDEX_REFRESH = 40,
	/* u32 mailbox (0: all), u8 on -> OK */
	INDEX_WATCH = 41,
	/* Notice: u32 mailbox (0: the tree or the subscriptions), u64 modseq. Sent to watchers, the
	   one who made the change too. */
	INDEX_CHANGED = 42,
	/* -> QUOTA: u64 bytes, u64 limit, u64 messages, u64 limit (0: none) */
	INDEX_QUOTA_GET = 43,
	INDEX_QUOTA = 44,
	/*
	 * str what: the client read a record that does not hold together. -> OK; the index is
	 * rebuilt and the generation is another then: the service closes all connections of the
	 * user.
	 */
	INDEX_CORRUPT = 45,
	/*
	 * Notice: u64 generation, see OPENED. The environment's file was replaced while the
	 * connection was open, and ids of mailboxes mean what they meant. It comes before the
	 * answer of any request that was carried out on the new one. A watcher takes it for news of
	 * all mailboxes too.
	 */
	INDEX_REBUILT = 46,
	/*
	 * u32 mailbox -> SLEEP_TOKEN: str token, which lets its bearer watch this one mailbox on
	 * run/index-sleep. E_NOTFOUND.
	 */
	INDEX_SLEEP_SEAL = 48,
	INDEX_SLEEP_TOKEN = 49,

	/*
	 * ---- guests ----
	 *
	 * -> SHARED: u32 n, n * (str owner, str ticket): who has given rights to the user, each
	 * with a ticket to OPEN his mail as his guest.
	 *
	 * OPENED tells a guest no Maildir ("") and the directory of an index that has what he may
	 * see, and his own \Seen. Each of his requests is checked against the rights of that
	 * moment: E_NOTFOUND for a mailbox of which he may not know, E_ACCESS for what he may not
	 * do. SUBSCRIBE, REPLACE, LOCATE, CLAIM_RECENT and QUOTA_GET are not for him; CACHE_PUT and
	 * FACTS_PUT are passed over; CORRUPT is of his index. The files of APPEND lie in tmp/ of
	 * his own INBOX, where they stay; what is said of them but flags and keywords is passed
	 * over.
	 */
	INDEX_SHARED_GET = 70, /* not from guests */
	INDEX_SHARED = 71,
	/* u32 mailbox, u32 uid -> CONTENT: the file as it is stored, as a descriptor. E_NOTFOUND.
	 */
	INDEX_CONTENT_OPEN = 72,
	INDEX_CONTENT = 73,
	/* u32 mailbox -> ENTRIES: u32 n, n * (str name, str value): rights of all identifiers, or
	   the annotations that are "/shared/". */
	INDEX_ACL_GET = 74,
	INDEX_METADATA_GET = 75,
	INDEX_ENTRIES = 76,
	/*
	 * u32 mailbox -> OK: a URL with an authorization of a message there would be good.
	 * E_UNSUPPORTED: the guest may read it, but only as one of a group.
	 */
	INDEX_URL_MAY = 77,
	/*
	 * str object id in hex -> OK: sessions of the guest's hear that his key of this mailbox is
	 * another now. E_NOTFOUND.
	 */
	INDEX_URL_TOLD = 78,

	/*
	 * ---- run/index-sleep: roost-idle asks for news of the mailboxes of those who sleep ----
	 *
	 * One connection for all of them; the request id stands for one sleeper. All it can learn
	 * is that something changed.
	 */

	/*
	 * str token, u64 modseq that the sleeper's session has seen -> OK: it is watched; ERROR
	 * E_AUTH, E_NOSPACE (the kernel watches no more). Later, once: the notice CHANGED with the
	 * id of the request, empty; the mailbox is not watched any more then.
	 */
	INDEX_SLEEP_WATCH = 60,
	INDEX_SLEEP_FORGET = 61, /* of the sleeper with this request id; no answer */
};

#define INDEX_PROTO_TREE UINT32_MAX /* no mailbox has this id */

enum {
	INDEX_PROTO_RANGES_MAX = 1 << 20,
	INDEX_PROTO_APPEND_MAX = 4096,
	INDEX_PROTO_ENTRIES_MAX = 1000,
	INDEX_PROTO_CACHE_MAX = 1 << 20,
	INDEX_SLEEP_BODY_MAX = 8192, /* of a frame on run/index-sleep */
	INDEX_PROTO_BODY_MAX = 32 << 20, /* of a frame from a client */
};

#endif
