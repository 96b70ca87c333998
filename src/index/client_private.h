/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CLIENT_PRIVATE_H
#define ROOST_INDEX_CLIENT_PRIVATE_H

#include <stdint.h>

#include "index/index_client.h"
#include "index/index_proto.h"
#include "index/index_schema.h"
#include "index/message_id.h"
#include "lib/buf.h"
#include "lib/ipc.h"
#include "lib/numset.h"

/* Between the files of the client library only. */

enum {
	CLIENT_CONNECT_MS = 5 * 1000,
	CLIENT_AGAIN_MS =
		2 * 1000, /* what another program did to the tree may stay unseen so long */
	CLIENT_NOTES_MAX = 32 * 1024, /* bytes of notes that are held back */
	CLIENT_TIMEOUT_MS = 120 * 1000, /* a rebuild of a big mailbox may stand before an answer */
};

struct client_known {
	uint32_t id, uidvalidity;
	unsigned char object_id[16];
};

struct index_user {
	const struct config *conf;
	char *name, *ticket, *maildir, *index_dir;
	char *told_name; /* as the service took it from the ticket */
	int fd; /* to the service, -1 while not connected */
	uint32_t request; /* last id used */
	uint64_t generation; /* of the environment that the service has open */
	int64_t opened_ms; /* when the service last answered OPEN; monotonic */
	uint64_t quota_bytes, quota_messages; /* of the ticket */
	char *quota_rules; /* the same */
	int watch_fd;
	int watch_news; /* a notice was read before somebody asked for it */
	struct numset watch_boxes; /* index_watch_changed */
	int watch_tree;

	int maildir_fd; /* O_PATH, opened and closed with env */
	int slow; /* > 0: one of the last messages did not come from the page cache */
	struct index_env *env;
	int env_stale; /* the service replaced the file: open it anew */
	int unanswered; /* the last request was sent, and what became of it is not known */
	int ids_doubtful; /* and did not say that ids of mailboxes still mean the same */
	MDB_txn *txn; /* kept, reset, between transactions */
	unsigned depth;
	/* Mailboxes whose ids mean something else since the index was rebuilt: not found any more.
	 */
	struct numset dead;
	/* What ids of the last index stood for, until there is another to compare with. */
	struct client_known *known;
	size_t known_count;

	/* client_shared.h */
	int is_guest; /* of another's mail, which name says; the Maildir is out of reach */
	int shares; /* others' mailboxes are wanted */
	struct client_shared *shared;
	size_t shared_count;
	int watch_epoll; /* index_watch_fd, when there is more than one */

	uint64_t tmp_counter;
	struct buf notes; /* frames without an answer, not sent yet: see client_notify */
};

/* ---- client_conn.c ---- */

/* A user with its environment open but no service behind it: for roost-fts and tests. */
enum err client_user_create(const struct config *conf, const char *name, const char *maildir,
	const char *index_dir, struct index_user **out);
/* Nothing of it is open. */
struct index_user *client_user_new(const struct config *conf, const char *name);
/* Connects if need be. E_TEMPFAIL, E_AUTH. */
enum err client_connect(struct index_user *u);
void client_disconnect(struct index_user *u);
/* Closes the connection if the service has; to be called where the environment is about to be used.
 */
void client_check(struct index_user *u);
/*
 * Sends a request and waits for its answer, which must be of type want. *out may be NULL; else it
 * is zeroed first and the caller frees it. An ERROR of the service is returned as what it says.
 */
enum err client_request(struct index_user *u, enum index_frame type, const struct buf *body,
	enum index_frame want, struct ipc_msg *out);
/*
 * Sends what has no answer. Errors do not matter. Many of them go together, with the next request
 * or client_notes_flush at the latest.
 */
void client_notify(struct index_user *u, enum index_frame type, const struct buf *body);
void client_notes_flush(struct index_user *u);
/* The meaning of an ERROR frame. */
enum err client_error_of(const struct ipc_msg *m);
/* Tells the service that the index is broken. Returns E_CORRUPT. */
enum err client_corrupt(struct index_user *u, const char *what);
/* E_NOTFOUND for a mailbox id of an index that is no more. */
enum err client_mailbox_check(const struct index_user *u, uint32_t mailbox);

void client_put_set(struct buf *b, const struct numset *s);
/* E_PROTO in r->err for a set that is none. */
void client_get_set(struct ipc_reader *r, struct numset *out);
/* The err of reading an answer: E_PROTO closes the connection and becomes E_TEMPFAIL. */
enum err client_answer_end(struct index_user *u, const struct ipc_reader *r);

/* ---- client_env.c ---- */

/* E_TEMPFAIL: not there, or another than the service speaks of; E_ACCESS, E_CORRUPT. */
enum err client_env_open(struct index_user *u);
/* The same, waiting for the word of one that is made anew just now. */
enum err client_env_open_told(struct index_user *u);
void client_env_close(struct index_user *u);
/*
 * Outside of transactions: puts the new index in the place of a replaced one. The old one is closed
 * first; LMDB's locks do not bear two of them in one process. Errors as client_env_open.
 */
enum err client_env_replace(struct index_user *u);

/* ---- client_read.c ---- */

/* mdb_get inside a transaction. E_NOTFOUND. */
enum err client_get(struct index_user *u, enum index_db db, struct index_key *key, MDB_val *out);
/* The record of a mailbox; strings borrowed from the transaction. E_NOTFOUND, E_CORRUPT (reported).
 */
enum err client_mailbox_record(
	struct index_user *u, uint32_t mailbox, struct index_mailbox_record *out);
enum err client_message_record(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_message_record *out);

/* A number beside the record of a mailbox; 0: none. */
enum err client_meta(struct index_user *u, enum index_meta what, uint32_t mailbox, uint64_t *out);

/* ---- client_content.c ---- */

/* The contents of a message file that is open; takes fd over. crlf: see struct index_content. */
enum err client_content_make(
	struct index_user *u, int fd, size_t size, int crlf, struct index_content *out);

/* What a record may leave open and its file tells. */
struct client_facts {
	uint64_t size;
	int64_t internal_date;
};
/* Finds out what rec does not know, and tells the service. E_NOTFOUND: the file is gone. */
enum err client_facts(struct index_user *u, uint32_t mailbox, uint32_t uid,
	const struct index_message_record *rec, struct client_facts *out);

#endif
