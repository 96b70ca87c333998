/* SPDX-License-Identifier: MIT */
#include "index/index_schema.h"

#include <stdlib.h>
#include <string.h>

#include "index/maildir_name.h"
#include "lib/mem.h"

/*
 * Records are packed field by field in a fixed order; a value whose length does not fit is
 * E_CORRUPT. LMDB gives no alignment, so everything goes through memcpy.
 */

static struct index_key
key_begin(uint32_t mailbox)
{
	struct index_key k = {.len = 4};

	k.p[0] = (unsigned char)(mailbox >> 24);
	k.p[1] = (unsigned char)(mailbox >> 16);
	k.p[2] = (unsigned char)(mailbox >> 8);
	k.p[3] = (unsigned char)mailbox;
	return k;
}

static void
key_add(struct index_key *k, uint64_t n, size_t bytes)
{
	for (size_t i = bytes; i > 0; i--)
		k->p[k->len++] = (unsigned char)(n >> (8 * (i - 1)));
}

static uint64_t
key_read(const MDB_val *v, size_t off, size_t bytes)
{
	const unsigned char *p = v->mv_data;
	uint64_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | p[off + i];
	return n;
}

struct index_key
index_key_u32(uint32_t mailbox)
{
	return key_begin(mailbox);
}

struct index_key
index_key_meta(enum index_meta what, uint32_t mailbox)
{
	struct index_key k = {.p = {(unsigned char)what}, .len = 1};

	key_add(&k, mailbox, 4);
	return k;
}

struct index_key
index_key_keyword(uint32_t mailbox, unsigned bit)
{
	struct index_key k = key_begin(mailbox);

	key_add(&k, bit, 1);
	return k;
}

struct index_key
index_key_message(uint32_t mailbox, uint32_t uid)
{
	struct index_key k = key_begin(mailbox);

	key_add(&k, uid, 4);
	return k;
}

struct index_key
index_key_change(uint32_t mailbox, uint64_t modseq, uint32_t uid)
{
	struct index_key k = key_begin(mailbox);

	key_add(&k, modseq, 8);
	key_add(&k, uid, 4);
	return k;
}

MDB_val
index_key_val(struct index_key *k)
{
	return (MDB_val){.mv_size = k->len, .mv_data = k->p};
}

enum err
index_key_get_u32(const MDB_val *v, uint32_t *mailbox)
{
	if (v->mv_size != 4)
		return E_CORRUPT;
	*mailbox = (uint32_t)key_read(v, 0, 4);
	return OK;
}

enum err
index_key_get_keyword(const MDB_val *v, uint32_t *mailbox, unsigned *bit)
{
	if (v->mv_size != 5 || key_read(v, 4, 1) >= INDEX_KEYWORDS_MAX)
		return E_CORRUPT;
	*mailbox = (uint32_t)key_read(v, 0, 4);
	*bit = (unsigned)key_read(v, 4, 1);
	return OK;
}

enum err
index_key_get_message(const MDB_val *v, uint32_t *mailbox, uint32_t *uid)
{
	if (v->mv_size != 8)
		return E_CORRUPT;
	*mailbox = (uint32_t)key_read(v, 0, 4);
	*uid = (uint32_t)key_read(v, 4, 4);
	return OK;
}

enum err
index_key_get_change(const MDB_val *v, uint32_t *mailbox, uint64_t *modseq, uint32_t *uid)
{
	if (v->mv_size != 16)
		return E_CORRUPT;
	*mailbox = (uint32_t)key_read(v, 0, 4);
	*modseq = key_read(v, 4, 8);
	*uid = (uint32_t)key_read(v, 12, 4);
	return OK;
}

/* ---- fields of values ---- */

static void
put_u32(struct buf *b, uint32_t n)
{
	buf_add(b, &n, sizeof(n));
}

static void
put_u64(struct buf *b, uint64_t n)
{
	buf_add(b, &n, sizeof(n));
}

struct reader {
	const char *p;
	size_t len;
	int bad;
};

static struct reader
reader_of(const MDB_val *v)
{
	return (struct reader){.p = v->mv_data, .len = v->mv_size};
}

static void
get_bytes(struct reader *r, void *out, size_t len)
{
	if (r->bad || len > r->len) {
		r->bad = 1;
		memset(out, 0, len);
		return;
	}
	memcpy(out, r->p, len);
	r->p += len;
	r->len -= len;
}

static uint32_t
get_u32(struct reader *r)
{
	uint32_t n;

	get_bytes(r, &n, sizeof(n));
	return n;
}

static uint64_t
get_u64(struct reader *r)
{
	uint64_t n;

	get_bytes(r, &n, sizeof(n));
	return n;
}

static struct str
get_rest(struct reader *r, size_t len)
{
	struct str s = {.p = r->p, .len = len};

	if (r->bad || len > r->len) {
		r->bad = 1;
		return (struct str){0};
	}
	r->p += len;
	r->len -= len;
	return s;
}

/* ---- meta ---- */

void
index_state_encode(const struct index_state *s, struct buf *out)
{
	put_u32(out, s->version);
	put_u64(out, s->modseq);
	put_u32(out, s->next_mailbox);
	put_u32(out, s->last_uidvalidity);
	put_u64(out, s->messages);
	put_u64(out, s->bytes);
	put_u64(out, s->ignored_messages);
	put_u64(out, s->ignored_bytes);
	put_u64(out, s->unparsed);
	put_u64(out, s->messages_limit);
	put_u64(out, s->bytes_limit);
	put_u64(out, s->grace_bytes);
	put_u64(out, (uint64_t)s->quota_issued);
	put_u64(out, (uint64_t)s->tree_mtime_ns);
}

enum err
index_state_decode(const MDB_val *v, struct index_state *out)
{
	struct reader r = reader_of(v);

	out->version = get_u32(&r);
	if (out->version != INDEX_SCHEMA_VERSION)
		return E_CORRUPT;
	out->modseq = get_u64(&r);
	out->next_mailbox = get_u32(&r);
	out->last_uidvalidity = get_u32(&r);
	out->messages = get_u64(&r);
	out->bytes = get_u64(&r);
	out->ignored_messages = get_u64(&r);
	out->ignored_bytes = get_u64(&r);
	out->unparsed = get_u64(&r);
	out->messages_limit = get_u64(&r);
	out->bytes_limit = get_u64(&r);
	out->grace_bytes = get_u64(&r);
	out->quota_issued = (int64_t)get_u64(&r);
	out->tree_mtime_ns = (int64_t)get_u64(&r);
	return r.bad || r.len ? E_CORRUPT : OK;
}

/* ---- mailbox ---- */

void
index_mailbox_encode(const struct index_mailbox_record *m, struct buf *out)
{
	put_u32(out, m->id);
	put_u32(out, m->uidvalidity);
	put_u32(out, m->uidnext);
	put_u32(out, m->messages);
	put_u32(out, m->unseen);
	put_u32(out, m->deleted);
	put_u32(out, m->recent_from);
	put_u32(out, m->unparsed);
	put_u32(out, m->special_use);
	put_u64(out, m->highest_modseq);
	put_u64(out, m->size_bytes);
	put_u64(out, m->disk_bytes);
	put_u64(out, m->vanished_floor);
	put_u32(out, m->vanished);
	put_u32(out, m->uid_floor);
	put_u64(out, (uint64_t)m->new_mtime_ns);
	put_u64(out, (uint64_t)m->cur_mtime_ns);
	buf_add(out, m->object_id, sizeof(m->object_id));
	put_u32(out, m->quota_ignore);
	put_u64(out, m->quota_more_bytes);
	put_u64(out, m->quota_more_messages);
	put_u64(out, m->quota_max_bytes);
	put_u64(out, m->quota_max_messages);
	put_u32(out, (uint32_t)m->name.len);
	buf_add_str(out, m->name);
	put_u32(out, (uint32_t)m->dir.len);
	buf_add_str(out, m->dir);
}

enum err
index_mailbox_decode(const MDB_val *v, struct index_mailbox_record *out)
{
	struct reader r = reader_of(v);

	out->id = get_u32(&r);
	out->uidvalidity = get_u32(&r);
	out->uidnext = get_u32(&r);
	out->messages = get_u32(&r);
	out->unseen = get_u32(&r);
	out->deleted = get_u32(&r);
	out->recent_from = get_u32(&r);
	out->unparsed = get_u32(&r);
	out->special_use = get_u32(&r);
	out->highest_modseq = get_u64(&r);
	out->size_bytes = get_u64(&r);
	out->disk_bytes = get_u64(&r);
	out->vanished_floor = get_u64(&r);
	out->vanished = get_u32(&r);
	out->uid_floor = get_u32(&r);
	out->new_mtime_ns = (int64_t)get_u64(&r);
	out->cur_mtime_ns = (int64_t)get_u64(&r);
	get_bytes(&r, out->object_id, sizeof(out->object_id));
	out->quota_ignore = get_u32(&r);
	out->quota_more_bytes = get_u64(&r);
	out->quota_more_messages = get_u64(&r);
	out->quota_max_bytes = get_u64(&r);
	out->quota_max_messages = get_u64(&r);
	out->name = get_rest(&r, get_u32(&r));
	out->dir = get_rest(&r, get_u32(&r));
	return r.bad || r.len || out->name.len == 0 ? E_CORRUPT : OK;
}

/* ---- quota ---- */

/* limit 0: none. What is full already takes nothing more, grace or not. */
static int
is_over(uint64_t used, uint64_t add, uint64_t limit, uint64_t grace)
{
	uint64_t room = used < limit ? limit - used : 0;

	if (limit == 0)
		return 0;
	if (room)
		room = room > UINT64_MAX - grace ? UINT64_MAX : room + grace;
	return add > room;
}

/* A limit with more on top; none stays none. */
static uint64_t
limit_with(uint64_t limit, uint64_t more)
{
	if (limit == 0)
		return 0;
	return limit > UINT64_MAX - more ? UINT64_MAX : limit + more;
}

enum err
index_quota_fits(const struct index_state *s, const struct index_mailbox_record *m, uint64_t bytes,
	uint64_t messages, int moved)
{
	if (is_over(m->disk_bytes, bytes, m->quota_max_bytes, 0) ||
		is_over(m->messages, messages, m->quota_max_messages, 0))
		return E_QUOTA;
	if (moved || m->quota_ignore)
		return OK;
	if (is_over(s->bytes - s->ignored_bytes, bytes,
		    limit_with(s->bytes_limit, m->quota_more_bytes), s->grace_bytes) ||
		is_over(s->messages - s->ignored_messages, messages,
			limit_with(s->messages_limit, m->quota_more_messages), 0))
		return E_QUOTA;
	return OK;
}

/* ---- message ---- */

/*
 * What a record leaves out: ids that are not known, keywords and an internal date that are not
 * there. Dates and sizes of nearly all messages fit into 32 bits each.
 */
enum {
	RECORD_IN_NEW = 1,
	RECORD_HAS_IDS = 2,
	RECORD_HAS_MORE_KEYWORDS = 4, /* behind the 64th */
	RECORD_NO_KEYWORDS = 8, /* none of the first 64 */
	RECORD_NO_DATE = 16,
	RECORD_NARROW = 32,
};
enum { MORE_KEYWORDS_BYTES = sizeof(struct index_keywords) - sizeof(uint64_t) };
#define NARROW_SIZE_UNKNOWN UINT32_MAX

static int
has_ids(const struct index_message_record *m)
{
	static const unsigned char none[sizeof(m->thread_id)];

	return !index_message_is_unparsed(m) || memcmp(m->thread_id, none, sizeof(none)) != 0;
}

static int
has_more_keywords(const struct index_message_record *m)
{
	static const unsigned char none[MORE_KEYWORDS_BYTES];

	return memcmp(m->keywords.bits + 1, none, sizeof(none)) != 0;
}

static int
is_narrow(const struct index_message_record *m)
{
	uint64_t all = (uint64_t)m->internal_date | (uint64_t)m->save_date | m->disk_size;

	return all <= UINT32_MAX &&
	       (m->size == INDEX_SIZE_UNKNOWN || m->size < NARROW_SIZE_UNKNOWN);
}

static unsigned
record_shape(const struct index_message_record *m)
{
	return (m->in_new ? RECORD_IN_NEW : 0) | (has_ids(m) ? RECORD_HAS_IDS : 0) |
	       (has_more_keywords(m) ? RECORD_HAS_MORE_KEYWORDS : 0) |
	       (m->keywords.bits[0] ? 0 : RECORD_NO_KEYWORDS) |
	       (m->internal_date ? 0 : RECORD_NO_DATE) | (is_narrow(m) ? RECORD_NARROW : 0);
}

static void
put_number(struct buf *b, uint64_t n, unsigned shape)
{
	if (shape & RECORD_NARROW)
		put_u32(b, (uint32_t)n);
	else
		put_u64(b, n);
}

static uint64_t
get_number(struct reader *r, unsigned shape)
{
	return shape & RECORD_NARROW ? get_u32(r) : get_u64(r);
}

void
index_message_encode(const struct index_message_record *m, struct buf *out)
{
	unsigned shape = record_shape(m);
	unsigned char head[4] = {
		(unsigned char)m->flags,
		(unsigned char)shape,
		(unsigned char)m->base_len,
		(unsigned char)m->name.len,
	};

	buf_add(out, head, sizeof(head));
	put_u64(out, m->modseq);
	if (!(shape & RECORD_NO_KEYWORDS))
		put_u64(out, m->keywords.bits[0]);
	if (shape & RECORD_HAS_MORE_KEYWORDS)
		buf_add(out, m->keywords.bits + 1, MORE_KEYWORDS_BYTES);
	if (!(shape & RECORD_NO_DATE))
		put_number(out, (uint64_t)m->internal_date, shape);
	put_number(out, (uint64_t)m->save_date, shape);
	/* Cut to 32 bits, unknown is unknown there too. */
	put_number(out, m->size, shape);
	put_number(out, m->disk_size, shape);
	if (shape & RECORD_HAS_IDS) {
		buf_add(out, m->email_id, sizeof(m->email_id));
		buf_add(out, m->thread_id, sizeof(m->thread_id));
	}
	buf_add_str(out, m->name);
}

enum err
index_message_decode(const MDB_val *v, struct index_message_record *out)
{
	struct reader r = reader_of(v);
	unsigned char head[4];
	unsigned shape;

	get_bytes(&r, head, sizeof(head));
	shape = head[1];
	out->flags = head[0] & INDEX_FLAGS_ALL;
	out->in_new = (shape & RECORD_IN_NEW) != 0;
	out->base_len = head[2];
	out->modseq = get_u64(&r);
	out->keywords = (struct index_keywords){{0}};
	if (!(shape & RECORD_NO_KEYWORDS))
		out->keywords.bits[0] = get_u64(&r);
	if (shape & RECORD_HAS_MORE_KEYWORDS)
		get_bytes(&r, out->keywords.bits + 1, MORE_KEYWORDS_BYTES);
	out->internal_date = shape & RECORD_NO_DATE ? 0 : (int64_t)get_number(&r, shape);
	out->save_date = (int64_t)get_number(&r, shape);
	out->size = get_number(&r, shape);
	if ((shape & RECORD_NARROW) && out->size == NARROW_SIZE_UNKNOWN)
		out->size = INDEX_SIZE_UNKNOWN;
	out->disk_size = get_number(&r, shape);
	memset(out->email_id, 0, sizeof(out->email_id));
	memset(out->thread_id, 0, sizeof(out->thread_id));
	if (shape & RECORD_HAS_IDS) {
		get_bytes(&r, out->email_id, sizeof(out->email_id));
		get_bytes(&r, out->thread_id, sizeof(out->thread_id));
	}
	out->name = get_rest(&r, head[3]);
	if (r.bad || r.len || out->base_len == 0 || out->base_len > out->name.len)
		return E_CORRUPT;
	return OK;
}

int
index_message_is_unparsed(const struct index_message_record *m)
{
	static const unsigned char none[sizeof(m->email_id)];

	return memcmp(m->email_id, none, sizeof(none)) == 0;
}

static void
add_dir(struct str dir, int in_new, struct buf *out)
{
	if (dir.len) {
		buf_add_str(out, dir);
		buf_add_char(out, '/');
	}
	buf_add_cstr(out, in_new ? "new/" : "cur/");
}

void
index_message_path(struct str dir, const struct index_message_record *m, struct buf *out)
{
	add_dir(dir, m->in_new, out);
	buf_add_str(out, m->name);
}

void
index_message_wanted_base(const struct index_message_record *m, uint32_t uid, struct buf *out)
{
	struct maildir_name n;

	if (maildir_name_parse(m->name, &n) == OK && n.uid != uid) {
		/* 0: not looked up yet. */
		uint64_t size = m->disk_size ? m->disk_size : UINT64_MAX;

		if (n.has_size)
			size = n.size;
		if (maildir_base_rebuild(&n, size, m->size, uid, out) == OK)
			return;
	}
	buf_add(out, m->name.p, m->base_len);
}

void
index_message_wanted_path(
	struct str dir, const struct index_message_record *m, uint32_t uid, struct buf *out)
{
	struct maildir_name n;

	/* A name that cannot be parsed was never recorded by us; others is 0 then. */
	(void)maildir_name_parse(m->name, &n);
	add_dir(dir, 0, out);
	index_message_wanted_base(m, uid, out);
	maildir_info_build(m->flags, (uint32_t)(m->keywords.bits[0] & 0x3ffffff), n.others, out);
}

/* ---- paths ---- */

enum err
index_paths(const struct config *conf, const char *home, char **maildir, char **index_dir)
{
	size_t root = strlen(conf->mail_dir);
	struct str rest, part;
	size_t parts = 0;

	*maildir = *index_dir = NULL;
	while (root > 0 && conf->mail_dir[root - 1] == '/')
		root--;
	if (home[0] != '/' || strncmp(home, conf->mail_dir, root) != 0 || home[root] != '/')
		return E_RANGE;
	rest = str_of(home + root + 1);
	for (struct str s = rest; s.p; parts++) {
		part = str_split(&s, '/');
		if (part.len == 0 || part.p[0] == '.')
			return E_RANGE;
	}
	if (parts == 0 || str_has_control(rest))
		return E_RANGE;
	*maildir = mem_printf("%s/Maildir", home);
	if (conf->index_dir[0])
		*index_dir = mem_printf("%s/%.*s/index", conf->index_dir, STR_ARG(rest));
	else
		*index_dir = mem_printf("%s/index", home);
	return OK;
}
