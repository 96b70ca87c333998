/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>

#include "index/entry_file.h"
#include "lib/mem.h"

/* Annotations and rights are read from the files of the folder, and changed by the service. */

/* The folder of a mailbox, on the heap. */
static enum err
folder_of(struct index_user *u, uint32_t mailbox, char **dir)
{
	struct index_mailbox_record r;
	enum err e = index_read_begin(u);

	*dir = NULL;
	if (e) {
		return e;
	}
	e = client_mailbox_record(u, mailbox, &r);
	if (e == OK) {
		*dir = str_dup(r.dir);
	}
	index_read_end(u);
	return e;
}

static enum err
entry_add(struct str name, struct str value, void *arg)
{
	if (name.len > 0) {
		entry_list_set(arg, name, value);
	}
	return OK;
}

/* What is not there is an empty list. A guest is told by the service what he may know of it. */
static enum err
entries_read(struct index_user *u, uint32_t mailbox, const char *file, struct entry_list *out)
{
	char *dir = NULL, *again = NULL;
	enum err e;

	*out = (struct entry_list){0};
	u = client_route(u, &mailbox);
	if (u->is_guest) {
		return client_entries_get(u,
			strcmp(file, ENTRY_FILE_ACL) == 0 ? INDEX_ACL_GET : INDEX_METADATA_GET,
			mailbox, entry_add, out);
	}
	e = folder_of(u, mailbox, &dir);
	if (e) {
		return e;
	}
	e = entry_file_read(u->maildir_fd, dir, file, out, NULL);
	if (e == E_NOTFOUND) {
		/* No file; or the folder got another name in between. */
		e = folder_of(u, mailbox, &again);
		if (e == OK && strcmp(dir, again) != 0) {
			e = entry_file_read(u->maildir_fd, again, file, out, NULL);
			e = e == E_NOTFOUND ? OK : e;
		}
	} else if (e == E_CORRUPT) {
		/* The service puts it aside when it next writes one. */
		e = OK;
	}
	free(dir);
	free(again);
	return e;
}

static enum err
metadata_read(struct index_user *u, uint32_t mailbox, struct entry_list *out)
{
	enum err e;

	if (mailbox != INDEX_METADATA_SERVER) {
		return entries_read(u, mailbox, ENTRY_FILE_METADATA, out);
	}
	/* For the descriptor of the Maildir. */
	*out = (struct entry_list){0};
	e = index_read_begin(u);
	if (e) {
		return e;
	}
	e = entry_file_read(u->maildir_fd, "", ENTRY_FILE_METADATA_SERVER, out, NULL);
	index_read_end(u);
	return e == E_NOTFOUND || e == E_CORRUPT ? OK : e;
}

static enum err
list_each(const struct entry_list *l, enum err (*cb)(struct str name, struct str value, void *arg),
	void *arg)
{
	enum err e = OK;

	for (size_t i = 0; i < l->count && e == OK; i++) {
		e = cb(str_of(l->items[i].name), buf_str(&l->items[i].value), arg);
	}
	return e;
}

/* ---- annotations ---- */

enum err
index_metadata_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str name, struct str value, void *arg), void *arg)
{
	struct entry_list l;
	enum err e = metadata_read(u, mailbox, &l);

	if (e == OK) {
		e = list_each(&l, cb, arg);
	}
	entry_list_free(&l);
	return e;
}

enum err
index_metadata_get(struct index_user *u, uint32_t mailbox, struct str name, struct buf *value)
{
	const struct entry *found = NULL;
	struct entry_list l = {0};
	struct buf clean = {0};
	enum err e = entry_metadata_name(name, &clean);

	buf_reset(value);
	if (e == OK) {
		e = metadata_read(u, mailbox, &l);
	}
	if (e == OK) {
		found = entry_list_get(&l, buf_str(&clean));
		e = found != NULL ? buf_add_str(value, buf_str(&found->value)) : E_NOTFOUND;
	}
	entry_list_free(&l);
	buf_free(&clean);
	return e;
}

enum err
index_metadata_set(
	struct index_user *u, uint32_t mailbox, const struct index_metadata *list, size_t count)
{
	struct buf body = {0};
	size_t bytes = 0;
	enum err e;

	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	for (size_t i = 0; i < count && e == OK; i++) {
		bytes += list[i].name.len + list[i].value.len;
		if (list[i].value.len > INDEX_METADATA_VALUE_MAX) {
			e = E_TOOBIG;
		} else if (bytes > INDEX_METADATA_TOTAL_MAX || count > INDEX_PROTO_ENTRIES_MAX) {
			e = E_QUOTA; /* a frame takes no more, and neither does the mailbox */
		}
	}
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	ipc_put_u32(&body, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		struct str nothing = {0};

		ipc_put_str(&body, list[i].name);
		ipc_put_u8(&body, list[i].is_nil != 0);
		ipc_put_str(&body, list[i].is_nil ? nothing : list[i].value);
	}
	e = client_request(u, INDEX_METADATA_SET, &body, INDEX_OK, NULL);
	buf_free(&body);
	return e;
}

enum err
index_metadata_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq)
{
	u = client_route(u, &mailbox);
	return client_meta(u, INDEX_META_ENTRIES, mailbox, modseq);
}

/* ---- rights ---- */

enum err
index_acl_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str identifier, struct str rights, void *arg), void *arg)
{
	struct entry_list l;
	enum err e = entries_read(u, mailbox, ENTRY_FILE_ACL, &l);

	if (e == OK) {
		e = list_each(&l, cb, arg);
	}
	entry_list_free(&l);
	return e;
}

enum err
index_acl_get(struct index_user *u, uint32_t mailbox, struct str identifier,
	char rights[INDEX_ACL_RIGHTS_SIZE])
{
	const struct entry *found;
	struct entry_list l;
	enum err e = entries_read(u, mailbox, ENTRY_FILE_ACL, &l);

	rights[0] = '\0';
	if (e == OK) {
		found = entry_list_get(&l, identifier);
		e = E_NOTFOUND;
		if (found != NULL) {
			e = entry_rights_normalize(buf_str(&found->value), rights);
		}
	}
	entry_list_free(&l);
	/* Rights that are none were written by somebody else: they give nothing. */
	return e == E_RANGE ? OK : e;
}

enum err
index_acl_set(struct index_user *u, uint32_t mailbox, struct str identifier, enum index_acl_op op,
	struct str rights)
{
	struct buf body = {0};
	enum err e;

	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	e = e ? e : entry_identifier_check(identifier);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	ipc_put_u8(&body, (uint8_t)op);
	ipc_put_str(&body, identifier);
	ipc_put_str(&body, rights);
	e = client_request(u, INDEX_ACL_SET, &body, INDEX_OK, NULL);
	buf_free(&body);
	return e;
}
