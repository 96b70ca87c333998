/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/hmac.h>

#include "index/core_guest.h"
#include "lib/hex.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/rights.h"

/*
 * URLs that carry their own authorization (RFC 4467). The user's table of mailbox access keys
 * (section 2.2) is one file in the Maildir, so that it outlives the index. It has the key in hex
 * under "mailbox/" and the mailbox's object id, which follows one that is renamed and is never
 * given again; under "shared/", the owner, "/" and the object id for a mailbox that another shares.
 *
 * The token (section 2.4.1) is one byte that says how it was made, and the MAC.
 */

enum {
	KEY_BYTES = 32,
	TOKEN_HMAC_SHA256 = 1, /* the only algorithm so far */
	MAC_BYTES = 32,
	TOKEN_BYTES = 1 + MAC_BYTES,
	KEYS_MAX = 2000,
	ENTRY_NAME_SIZE = 512,
};
_Static_assert(2 * TOKEN_BYTES + 1 == INDEX_URL_TOKEN_SIZE, "size of a token");
_Static_assert(sizeof("shared//") + INDEX_URL_OWNER_MAX + INDEX_OBJECT_ID_TEXT <= ENTRY_NAME_SIZE,
	"size of a name");

static const char own_prefix[] = "mailbox/", shared_prefix[] = "shared/";

static void
own_name(const unsigned char object_id[16], char out[ENTRY_NAME_SIZE])
{
	memcpy(out, own_prefix, sizeof(own_prefix));
	hex_write(object_id, 16, out + sizeof(own_prefix) - 1);
}

static void
shared_name(const struct index_url_box *b, char out[ENTRY_NAME_SIZE])
{
	snprintf(out, ENTRY_NAME_SIZE, "%s%.*s/%.*s", shared_prefix, STR_ARG(b->owner),
		STR_ARG(b->object_id));
}

/* The other way round; the strings are pieces of name. 0: it is of no such mailbox. */
static int
shared_box(const char *name, struct index_url_box *out)
{
	const char *slash = strrchr(name, '/');

	if (!str_starts_i(str_of(name), shared_prefix))
		return 0;
	out->owner = str_of(name + sizeof(shared_prefix) - 1);
	out->object_id = str_of(slash + 1);
	out->owner.len = slash > out->owner.p ? (size_t)(slash - out->owner.p) : 0;
	return 1;
}

int
index_url_box_is_sound(const struct index_url_box *b)
{
	unsigned char id[16];

	return b->owner.len > 0 && b->owner.len <= INDEX_URL_OWNER_MAX &&
	       !str_has_control(b->owner) && hex_read(b->object_id, id, sizeof(id));
}

/* ---- the table ---- */

static void
table_free(struct entry_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		buf_wipe(&l->items[i].value);
	entry_list_free(l);
}

static int
key_get(const struct entry_list *l, const char *name, unsigned char key[KEY_BYTES])
{
	const struct entry *found = entry_list_get(l, str_of(name));

	return found && hex_read(buf_str(&found->value), key, KEY_BYTES);
}

static void
key_make(struct entry_list *l, const char *name, unsigned char key[KEY_BYTES])
{
	char hex[2 * KEY_BYTES + 1];

	io_random(key, KEY_BYTES);
	hex_write(key, KEY_BYTES, hex);
	entry_list_set(l, str_of(name), str_of(hex));
	explicit_bzero(hex, sizeof(hex));
}

/* Of mailboxes that another program has removed; of others' it is not known here. */
static enum err
keys_prune(struct core_tx *tx, struct entry_list *l)
{
	struct entry_list kept = {0};
	struct core_box *boxes = NULL;
	char name[ENTRY_NAME_SIZE];
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		const struct entry *x;

		own_name(boxes[i].r.object_id, name);
		x = entry_list_get(l, str_of(name));
		if (x)
			entry_list_set(&kept, str_of(name), buf_str(&x->value));
	}
	free(boxes);
	for (size_t i = 0; i < l->count; i++)
		if (str_starts_i(str_of(l->items[i].name), shared_prefix))
			entry_list_set(
				&kept, str_of(l->items[i].name), buf_str(&l->items[i].value));
	if (e) {
		table_free(&kept);
		return e;
	}
	table_free(l);
	*l = kept;
	return OK;
}

/* A key under a name that may have none yet. */
static enum err
key_add(struct core_tx *tx, struct entry_list *l, const char *name, unsigned char key[KEY_BYTES])
{
	int is_new = !entry_list_get(l, str_of(name));
	enum err e = OK;

	if (is_new && l->count >= KEYS_MAX)
		e = keys_prune(tx, l);
	if (e == OK && is_new && l->count >= KEYS_MAX)
		e = E_QUOTA;
	if (e)
		return e;
	key_make(l, name, key);
	return core_entries_write(tx->core, "", ENTRY_FILE_URLAUTH, l);
}

/* ---- tokens ---- */

static enum err
token_make(const unsigned char key[KEY_BYTES], struct str rump, unsigned char token[TOKEN_BYTES])
{
	unsigned len = 0;

	token[0] = TOKEN_HMAC_SHA256;
	return HMAC(EVP_sha256(), key, KEY_BYTES, (const unsigned char *)rump.p, rump.len,
		       token + 1, &len) &&
			       len == MAC_BYTES
		       ? OK
		       : E_TEMPFAIL;
}

static enum err
token_check(const unsigned char key[KEY_BYTES], const struct imap_url *url, int *same)
{
	unsigned char want[TOKEN_BYTES], got[TOKEN_BYTES] = {0};
	char lower[INDEX_URL_TOKEN_SIZE] = "";
	enum err e = token_make(key, url->rump, want);
	int is_token;

	/* Its digits may be of either case. */
	for (size_t i = 0; i < url->token.len && i < sizeof(lower); i++)
		lower[i] = str_lower(url->token.p[i]);
	is_token = hex_read(str_make(lower, url->token.len), got, TOKEN_BYTES);

	*same = e == OK && is_token &&
		str_equal_secret(str_make((const char *)want, TOKEN_BYTES),
			str_make((const char *)got, TOKEN_BYTES));
	explicit_bzero(want, sizeof(want));
	return e;
}

void
index_core_url_pretend(const struct imap_url *url)
{
	unsigned char key[KEY_BYTES];
	int same;

	io_random(key, sizeof(key));
	(void)token_check(key, url, &same);
}

static enum err
box_find(struct core_tx *tx, struct str name, uint32_t uidvalidity, struct core_box *out)
{
	char clean[INDEX_MAILBOX_NAME_MAX + 1];
	enum err e = core_name_normalize(name, clean) ? E_NOTFOUND
						      : core_box_find(tx, str_of(clean), out);

	/* RFC 5092 section 5: a stale URL is of no mailbox. */
	if (e == OK && uidvalidity && uidvalidity != out->r.uidvalidity)
		e = E_NOTFOUND;
	return e;
}

struct signing {
	const struct imap_url *url;
	const struct index_url_box *shared;
	unsigned char token[TOKEN_BYTES];
};

static enum err
sign_step(struct core_tx *tx, void *arg)
{
	struct signing *s = arg;
	unsigned char key[KEY_BYTES];
	char name[ENTRY_NAME_SIZE];
	struct entry_list l = {0};
	struct core_box box;
	enum err e = OK;

	if (s->shared) {
		shared_name(s->shared, name);
	} else {
		e = box_find(tx, str_of(s->url->mailbox), s->url->uidvalidity, &box);
		if (e)
			return e;
		own_name(box.r.object_id, name);
	}
	e = core_entries_read(tx->core, "", ENTRY_FILE_URLAUTH, &l);
	if (e == OK && !key_get(&l, name, key))
		e = key_add(tx, &l, name, key);
	if (e == OK)
		e = token_make(key, s->url->rump, s->token);
	explicit_bzero(key, sizeof(key));
	table_free(&l);
	return e;
}

enum err
index_core_url_token(struct index_core *c, const struct imap_url *url,
	const struct index_url_box *shared, char token[INDEX_URL_TOKEN_SIZE])
{
	struct signing s = {.url = url, .shared = shared};
	enum err e = core_read(c, sign_step, &s);

	hex_write(s.token, e ? 0 : TOKEN_BYTES, token);
	return e;
}

struct checking {
	const struct imap_url *url;
	const struct index_url_box *shared;
	struct core_box box;
	int own; /* it is of box */
};

/* What he took from himself holds here too: the token gives what he has (RFC 4467 section 7). */
static enum err
owner_may_read(struct core_tx *tx, const struct core_box *box)
{
	struct rights_owner o;
	struct entry_list l = {0};
	enum err e = core_entries_read(tx->core, box->dir, ENTRY_FILE_ACL, &l);

	rights_owner_init(&o);
	for (size_t i = 0; i < l.count; i++)
		rights_owner_add(&o, str_of(l.items[i].name), buf_str(&l.items[i].value));
	entry_list_free(&l);
	if (e)
		return e;
	return rights_owner_have(&o) & RIGHT_READ ? OK : E_AUTH;
}

/* A mailbox that is not there costs as much as one that is (RFC 4467 section 6). */
static enum err
check_step(struct core_tx *tx, void *arg)
{
	struct checking *x = arg;
	unsigned char key[KEY_BYTES];
	char name[ENTRY_NAME_SIZE];
	struct entry_list l = {0};
	int has_key, same = 0;
	enum err e = core_entries_read(tx->core, "", ENTRY_FILE_URLAUTH, &l);

	if (e == OK) {
		e = box_find(tx, str_of(x->url->mailbox), x->url->uidvalidity, &x->box);
		x->own = e == OK;
		e = e == E_NOTFOUND ? OK : e;
	}
	/* A session, too, takes a name for its user's own mailbox first. */
	if (!x->own && x->shared)
		shared_name(x->shared, name);
	else
		own_name(x->box.r.object_id, name);
	has_key = key_get(&l, name, key) && (x->own || x->shared);
	if (!has_key)
		io_random(key, sizeof(key));
	if (e == OK)
		e = token_check(key, x->url, &same);
	explicit_bzero(key, sizeof(key));
	table_free(&l);
	if (e == OK && !(has_key && same))
		e = E_AUTH;
	return e || !x->own ? e : owner_may_read(tx, &x->box);
}

enum err
index_core_url_open(struct index_core *c, const struct imap_url *url,
	const struct index_url_box *shared, int *fd)
{
	struct checking x = {.url = url, .shared = shared};
	enum err e = core_read(c, check_step, &x);

	*fd = -1;
	if (e == OK && x.own)
		e = core_guest_file(c, x.box.r.id, url->uid, fd);
	return e == E_NOTFOUND ? E_AUTH : e;
}

/* ---- for a guest's URL ---- */

struct looking {
	const struct imap_url *url;
	struct str mailbox;
	struct core_box box;
};

static enum err
look_step(struct core_tx *tx, void *arg)
{
	struct looking *x = arg;

	return box_find(tx, x->mailbox, x->url->uidvalidity, &x->box);
}

/* Nobody says here which groups the guest is in now. */
int
index_core_url_guest_may(struct index_core *c, uint32_t mailbox, const char *guest)
{
	const struct rights_who who = {.user = guest};
	unsigned rights;

	return core_guest_rights(c, mailbox, &who, &rights) == OK && (rights & RIGHT_READ);
}

enum err
index_core_url_look(struct index_core *c, const struct imap_url *url, struct str mailbox,
	const char *guest, char object_id[INDEX_OBJECT_ID_TEXT], int *fd)
{
	struct looking x = {.url = url, .mailbox = mailbox};
	enum err e = core_read(c, look_step, &x);

	*fd = -1;
	if (e == OK && !index_core_url_guest_may(c, x.box.r.id, guest))
		e = E_AUTH;
	if (e == OK)
		e = core_guest_file(c, x.box.r.id, url->uid, fd);
	hex_write(x.box.r.object_id, sizeof(x.box.r.object_id), object_id);
	return e == E_NOTFOUND ? E_AUTH : e;
}

/* ---- keys that come and go ---- */

/* What sessions that have it selected compare: see index_url_key_modseq. */
static enum err
note_reset(struct core_tx *tx, uint32_t mailbox)
{
	struct index_key key = index_key_meta(INDEX_META_URL_KEY, mailbox);
	uint64_t modseq;

	core_tx_note(tx, mailbox);
	modseq = core_tx_modseq(tx);
	return core_tx_put(tx, INDEX_DB_META, key, &modseq, sizeof(modseq));
}

/* A key that is another than before. */
static enum err
key_replace(struct core_tx *tx, const char *name)
{
	unsigned char key[KEY_BYTES];
	struct entry_list l = {0};
	enum err e = core_entries_read(tx->core, "", ENTRY_FILE_URLAUTH, &l);

	if (e == OK)
		e = key_add(tx, &l, name, key);
	explicit_bzero(key, sizeof(key));
	table_free(&l);
	return e;
}

static enum err
reset_step(struct core_tx *tx, void *arg)
{
	const struct str *mailbox = arg;
	char name[ENTRY_NAME_SIZE];
	struct core_box box;
	enum err e = box_find(tx, *mailbox, 0, &box);

	if (e)
		return e;
	own_name(box.r.object_id, name);
	e = key_replace(tx, name);
	return e ? e : note_reset(tx, box.r.id);
}

static enum err
reset_shared_step(struct core_tx *tx, void *arg)
{
	char name[ENTRY_NAME_SIZE];

	shared_name(arg, name);
	return key_replace(tx, name);
}

struct reset_all {
	index_url_box_fn *gone;
	void *arg;
};

static enum err
reset_all_step(struct core_tx *tx, void *arg)
{
	const struct reset_all *r = arg;
	struct entry_list l = {0}, nothing = {0};
	struct core_box *boxes = NULL;
	struct index_url_box shared;
	char name[ENTRY_NAME_SIZE];
	size_t count = 0;
	enum err e = core_entries_read(tx->core, "", ENTRY_FILE_URLAUTH, &l);

	if (e == OK)
		e = core_box_list(tx, &boxes, &count);
	if (e == OK && l.count)
		e = core_entries_write(tx->core, "", ENTRY_FILE_URLAUTH, &nothing);
	for (size_t i = 0; i < count && e == OK; i++) {
		own_name(boxes[i].r.object_id, name);
		if (entry_list_get(&l, str_of(name)))
			e = note_reset(tx, boxes[i].r.id);
	}
	for (size_t i = 0; i < l.count && e == OK; i++)
		if (shared_box(l.items[i].name, &shared))
			r->gone(&shared, r->arg);
	free(boxes);
	table_free(&l);
	return e;
}

enum err
index_core_url_reset(struct index_core *c, struct str mailbox)
{
	return core_run(c, reset_step, &mailbox);
}

enum err
index_core_url_reset_shared(struct index_core *c, const struct index_url_box *shared)
{
	return core_run(c, reset_shared_step, (void *)(uintptr_t)shared);
}

enum err
index_core_url_reset_all(struct index_core *c, index_url_box_fn *gone, void *arg)
{
	struct reset_all r = {gone, arg};

	return core_run(c, reset_all_step, &r);
}

void
core_url_forget(struct index_core *c, const struct core_box *box)
{
	char name[ENTRY_NAME_SIZE];
	struct entry_list l = {0};

	own_name(box->r.object_id, name);
	if (core_entries_read(c, "", ENTRY_FILE_URLAUTH, &l) == OK &&
		entry_list_remove(&l, str_of(name)))
		(void)core_entries_write(c, "", ENTRY_FILE_URLAUTH, &l);
	table_free(&l);
}

int
index_core_url_any(struct index_core *c)
{
	struct entry_list l = {0};
	int any = core_entries_read(c, "", ENTRY_FILE_URLAUTH, &l) == OK && l.count > 0;

	table_free(&l);
	return any;
}
