/* SPDX-License-Identifier: MIT */
#include "pop3/pop3_maildrop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/maildir_name.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/rights.h"

struct loading {
	struct pop3_maildrop *m;
	size_t cap;
};

static enum err
add_message(const struct index_message *msg, void *arg)
{
	struct loading *l = arg;
	struct pop3_maildrop *m = l->m;
	struct index_message full = *msg;
	enum err e = index_message_facts(m->user, m->mailbox, &full);

	if (e && err_is_temporary(e))
		return e;
	if (e) {
		/* One file that cannot be read does not keep its owner from all the others. */
		log_event(LOGL_WARN, "pop3.message skipped", "uid", log_u64(msg->uid), "reason",
			err_word(e), NULL);
		return OK;
	}

	if (m->count == l->cap) {
		l->cap = l->cap ? l->cap + l->cap / 2 : 64;
		m->v = mem_realloc(m->v, l->cap, sizeof(struct pop3_message));
	}
	m->v[m->count++] = (struct pop3_message){
		.uid = msg->uid, .size = full.size, .seen = (msg->flags & INDEX_SEEN) != 0};
	return OK;
}

static enum err
add_rights(struct str identifier, struct str rights, void *arg)
{
	rights_owner_add(arg, identifier, rights);
	return OK;
}

/* RFC 4314, whose rights bind the owner's own programs, whichever protocol they speak. */
static enum err
ask_rights(struct pop3_maildrop *m)
{
	const unsigned deletes = RIGHT_DELETE | RIGHT_EXPUNGE;
	struct rights_owner owner;
	unsigned have;
	enum err e;

	rights_owner_init(&owner);
	e = index_acl_each(m->user, m->mailbox, add_rights, &owner);
	have = rights_owner_have(&owner);
	m->can_delete = (have & deletes) == deletes;
	m->can_see = (have & RIGHT_SEEN) != 0;
	return e == OK && !(have & RIGHT_READ) ? E_STATE : e;
}

enum err
pop3_maildrop_open(struct index_user *u, struct pop3_maildrop *out)
{
	struct index_mailbox box = {0};
	struct loading l = {.m = out};
	enum err e;

	*out = (struct pop3_maildrop){.user = u, .lock = -1};
	e = index_lock(u, "pop3", &out->lock);
	e = e ? e : index_mailbox_get(u, STR("INBOX"), &box);
	if (e == OK) {
		out->mailbox = box.id;
		out->uidvalidity = box.uidvalidity;
		/* Mail that another program has put there is to be seen, too. */
		e = ask_rights(out);
		e = e ? e : index_refresh(u, box.id);
		e = e ? e : index_message_each(u, box.id, 1, UINT32_MAX, add_message, &l);
	}
	index_mailbox_free(&box);
	pop3_maildrop_reset(out);
	return e;
}

/* When that was is the time of the lock's file; a new one is empty. */
enum err
pop3_maildrop_log_in(struct pop3_maildrop *m, int64_t delay_ms)
{
	struct stat st;
	struct timespec now;
	int64_t past_ms;

	if (delay_ms <= 0 || fstat(m->lock, &st) != 0)
		return OK;
	clock_gettime(CLOCK_REALTIME, &now);
	past_ms = (now.tv_sec - st.st_mtim.tv_sec) * INT64_C(1000) +
		  (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000;
	/* A time to come is a clock that was set back. */
	if (st.st_size > 0 && past_ms >= 0 && past_ms < delay_ms)
		return E_RANGE;
	if (pwrite(m->lock, "+", 1, 0) != 1)
		log_event(LOGL_WARN, "pop3.delay failed", "reason", log_errno(errno), NULL);
	return OK;
}

void
pop3_maildrop_close(struct pop3_maildrop *m)
{
	MEM_FREE(m->v);
	pop3_uidls_free(&m->uidls);
	m->count = m->left = 0;
	io_close(&m->lock);
}

struct pop3_message *
pop3_maildrop_get(struct pop3_maildrop *m, uint32_t number)
{
	return number >= 1 && number <= m->count && !m->v[number - 1].deleted ? &m->v[number - 1]
									      : NULL;
}

enum err
pop3_maildrop_file(struct pop3_maildrop *m, const struct pop3_message *msg, struct buf *out)
{
	struct index_message full;
	struct maildir_name name;
	enum err e = index_read_begin(m->user);

	if (e)
		return e;
	e = index_message_get(m->user, m->mailbox, msg->uid, &full);
	e = e ? e : maildir_name_parse(full.file, &name);
	e = e ? e
	      : maildir_base_rebuild(&name, name.has_size ? name.size : full.disk_size,
			name.has_crlf_size ? name.crlf_size : msg->size, 0, out);
	index_read_end(m->user);
	return e;
}

void
pop3_maildrop_delete(struct pop3_maildrop *m, struct pop3_message *msg)
{
	msg->deleted = 1;
	m->left--;
	m->left_size -= msg->size;
}

void
pop3_maildrop_reset(struct pop3_maildrop *m)
{
	m->left = m->count;
	m->left_size = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		m->v[i].deleted = 0;
		m->left_size += m->v[i].size;
	}
}

enum err
pop3_maildrop_update(struct pop3_maildrop *m, uint32_t *removed)
{
	struct numset gone = {0}, seen = {0};
	enum err e = OK;

	*removed = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		if (m->v[i].deleted) {
			numset_add(&gone, m->v[i].uid);
		} else if (m->can_see && m->v[i].retrieved && !m->v[i].seen) {
			numset_add(&seen, m->v[i].uid);
		}
	}
	if (!numset_is_empty(&gone)) {
		e = index_expunge(m->user, m->mailbox, &gone, 1, NULL);
		if (e == E_TEMPFAIL) {
			/* Removing twice does no harm: once more, should the service be back. */
			e = index_expunge(m->user, m->mailbox, &gone, 1, NULL);
		}
		*removed = e ? 0 : (uint32_t)numset_size(&gone);
	}
	if (!numset_is_empty(&seen)) {
		/* A courtesy to IMAP clients; no reason to tell the client that QUIT failed. */
		index_store(m->user, m->mailbox, &seen, INDEX_STORE_ADD, INDEX_SEEN, NULL, 0,
			UINT64_MAX, NULL, NULL);
	}
	numset_free(&gone);
	numset_free(&seen);
	return e;
}
