/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "index/index_client.h"

/* What the mailboxes in memory (imap_index.c) have none of. */

/* ---- URLs with an authorization: one key, and no message ---- */

static uint64_t url_key_modseq;

enum err
index_url_token(struct index_user *u, const struct index_mailbox *m, struct str rump,
	char token[INDEX_URL_TOKEN_SIZE])
{
	(void)u;
	(void)m;
	(void)rump;
	memset(token, '0', INDEX_URL_TOKEN_SIZE - 1);
	token[INDEX_URL_TOKEN_SIZE - 1] = '\0';
	return OK;
}

enum err
index_url_open(struct index_user *u, struct str url, struct index_content *out)
{
	(void)u;
	(void)url;
	*out = (struct index_content){.fd = -1};
	return E_AUTH;
}

enum err
index_url_reset(struct index_user *u, const struct index_mailbox *m)
{
	(void)u;
	(void)m;
	url_key_modseq++;
	return OK;
}

enum err
index_url_key_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq)
{
	(void)u;
	(void)mailbox;
	*modseq = url_key_modseq;
	return OK;
}

/* ---- annotations and quota: there are none ---- */

enum err
index_metadata_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq)
{
	(void)u;
	(void)mailbox;
	*modseq = 0;
	return OK;
}

enum err
index_metadata_get(struct index_user *u, uint32_t mailbox, struct str name, struct buf *value)
{
	(void)u;
	(void)mailbox;
	(void)name;
	(void)value;
	return E_NOTFOUND;
}

enum err
index_metadata_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str name, struct str value, void *arg), void *arg)
{
	(void)u;
	(void)mailbox;
	(void)cb;
	(void)arg;
	return OK;
}

enum err
index_metadata_set(
	struct index_user *u, uint32_t mailbox, const struct index_metadata *list, size_t count)
{
	(void)u;
	(void)mailbox;
	(void)list;
	(void)count;
	return E_QUOTA;
}

enum err
index_quota_root_get(struct index_user *u, struct str name, struct index_quota *out)
{
	(void)u;
	(void)name;
	*out = (struct index_quota){0};
	return E_NOTFOUND;
}

enum err
index_quota_roots(struct index_user *u, uint32_t mailbox, struct index_quota_roots *out)
{
	(void)u;
	(void)mailbox;
	*out = (struct index_quota_roots){0};
	return OK;
}

void
index_quota_roots_free(struct index_quota_roots *r)
{
	(void)r;
}

/* ---- rights: none are set ---- */

enum err
index_acl_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str identifier, struct str rights, void *arg), void *arg)
{
	(void)u;
	(void)mailbox;
	(void)cb;
	(void)arg;
	return OK;
}

enum err
index_acl_get(struct index_user *u, uint32_t mailbox, struct str identifier,
	char rights[INDEX_ACL_RIGHTS_SIZE])
{
	(void)u;
	(void)mailbox;
	(void)identifier;
	rights[0] = '\0';
	return E_NOTFOUND;
}

enum err
index_acl_set(struct index_user *u, uint32_t mailbox, struct str identifier, enum index_acl_op op,
	struct str rights)
{
	(void)u;
	(void)mailbox;
	(void)identifier;
	(void)op;
	(void)rights;
	return E_QUOTA;
}

/* ---- others' mailboxes: there are none ---- */

int
index_mailbox_is_shared(uint32_t mailbox)
{
	(void)mailbox;
	return 0;
}

enum err
index_guest_rights(struct index_user *u, uint32_t mailbox, const char **owner, unsigned *rights)
{
	(void)u;
	(void)mailbox;
	*owner = NULL;
	*rights = 0;
	return OK;
}
