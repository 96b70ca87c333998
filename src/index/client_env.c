/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/client_shared.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* The environment that a reader has open, and its replacement when the service made another. */

enum {
	REPLACE_TRIES = 5, /* an index that is made anew several times in a row */
	REPLACE_WAIT_MS = 200,
};

enum err
client_env_open(struct index_user *u)
{
	enum err e = index_env_open(u->index_dir, 0, u->conf->index_map_size, &u->env);

	/* Without a service there is nothing to be told. */
	if (e == OK && u->ticket != NULL && index_env_generation(u->env) != u->generation) {
		/* Replaced between the word of it and our look: the next word is on its way. */
		index_env_close(&u->env);
		e = E_TEMPFAIL;
	}
	if (e == OK && !u->is_guest) {
		/* Without it messages are not found; the next OPEN makes the Maildir. */
		u->maildir_fd = open(u->maildir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return e == E_NOTFOUND ? E_TEMPFAIL : e;
}

enum err
client_env_open_told(struct index_user *u)
{
	enum err e = E_TEMPFAIL;

	for (int i = 0; i < REPLACE_TRIES; i++) {
		e = client_connect(u);
		if (e) {
			return e;
		}
		e = client_env_open(u);
		if (e != E_TEMPFAIL) {
			return e;
		}
		/* The service sees it too, and says so; a service that cannot is asked. */
		if (io_wait_readable(u->fd, REPLACE_WAIT_MS) == OK) {
			client_check(u);
		} else {
			client_disconnect(u);
		}
	}
	return e;
}

void
client_env_close(struct index_user *u)
{
	if (u->txn != NULL) {
		mdb_txn_abort(u->txn);
		u->txn = NULL;
	}
	index_env_close(&u->env);
	io_close(&u->maildir_fd);
}

/* All mailboxes of an index that is about to be closed, on the heap. */
static struct client_known *
mailboxes_known(struct index_env *env, size_t *count)
{
	struct client_known *list = NULL;
	struct index_mailbox_record r;
	MDB_txn *txn;
	MDB_cursor *c;
	MDB_val k, v;

	*count = 0;
	if (index_env_begin(env, 0, &txn)) {
		return NULL;
	}
	if (mdb_cursor_open(txn, env->dbi[INDEX_DB_MAILBOX], &c) == 0) {
		while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0) {
			struct client_known *n;

			if (index_mailbox_decode(&v, &r)) {
				continue; /* that is why it was rebuilt */
			}
			list = mem_realloc(list, *count + 1, sizeof(*list));
			n = &list[(*count)++];
			n->id = r.id;
			n->uidvalidity = r.uidvalidity;
			memcpy(n->object_id, r.object_id, sizeof(n->object_id));
		}
		mdb_cursor_close(c);
	}
	mdb_txn_abort(txn);
	return list;
}

/* An id that stands for another mailbox now, or for none, must not be used by those who have it. */
static void
mailboxes_compare(struct index_user *u, const struct client_known *list, size_t count)
{
	MDB_txn *txn = NULL;

	if (count > 0 && index_env_begin(u->env, 0, &txn)) {
		txn = NULL;
	}
	for (size_t i = 0; i < count; i++) {
		struct index_key key = index_key_u32(list[i].id);
		MDB_val k = index_key_val(&key), v;
		struct index_mailbox_record r;

		if (txn == NULL || mdb_get(txn, u->env->dbi[INDEX_DB_MAILBOX], &k, &v) != 0 ||
			index_mailbox_decode(&v, &r) || r.uidvalidity != list[i].uidvalidity ||
			memcmp(r.object_id, list[i].object_id, sizeof(r.object_id)) != 0) {
			numset_add(&u->dead, list[i].id);
		}
	}
	if (txn != NULL) {
		mdb_txn_abort(txn);
	}
}

enum err
client_env_replace(struct index_user *u)
{
	enum err e;

	if (u->env != NULL) {
		free(u->known);
		u->known = mailboxes_known(u->env, &u->known_count);
		client_env_close(u);
	}
	e = client_env_open_told(u);
	/* Until then it stays stale: ids are not used that may mean something else. */
	if (e == OK) {
		u->env_stale = u->ids_doubtful = 0;
		mailboxes_compare(u, u->known, u->known_count);
		MEM_FREE(u->known);
		u->known_count = 0;
	}
	if (e == E_CORRUPT) {
		client_corrupt(u, "open");
	}
	return e == E_ACCESS || e == OK ? e : E_TEMPFAIL;
}

enum err
index_read_begin(struct index_user *u)
{
	enum err e = OK;

	if (u->depth == 0) {
		if (u->env_stale && (e = client_env_replace(u)) != OK) {
			return e;
		}
		if (u->env == NULL && (e = client_env_open_told(u)) != OK) {
			return e;
		}
		/* Renewing keeps the slot in the table of readers; a map grown meanwhile needs
		 * more. */
		if (u->txn != NULL && mdb_txn_renew(u->txn) != 0) {
			mdb_txn_abort(u->txn);
			u->txn = NULL;
		}
		if (u->txn == NULL) {
			e = index_env_begin(u->env, 0, &u->txn);
		}
	}
	if (e == OK) {
		u->depth++;
	}
	return e;
}

void
index_read_end(struct index_user *u)
{
	ROOST_ASSERT(u->depth > 0);
	if (--u->depth == 0) {
		mdb_txn_reset(u->txn);
		client_shared_release(u);
	}
}
