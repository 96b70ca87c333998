/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"

/*
 * A mailbox's keywords have bits. Bit 0..25 is the letter a..z in file names, and roost-keywords
 * says which keyword it is ("0 $Forwarded", as Dovecot writes its file). Messages with keywords
 * from bit 26 on are listed in roost-keywords-more, by UID and name ("17 $Work $Later"), so that
 * an index made anew knows them; that file is written in the background. Bits that no message has
 * any more are given back when the table is full.
 */

typedef char keyword_table[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];

/* An atom (RFC 9051 section 9, flag-keyword), with "]" allowed as many clients send it. */
int
core_keyword_is_valid(struct str s)
{
	if (s.len == 0 || s.len > INDEX_KEYWORD_LEN_MAX)
		return 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.p[i];

		if (ch <= 0x20 || ch >= 0x7f || strchr("(){%*\"\\", ch))
			return 0;
	}
	return 1;
}

enum err
core_keywords_get(struct core_tx *tx, uint32_t mailbox, keyword_table names)
{
	struct index_key key = index_key_u32(mailbox);
	MDB_val k = index_key_val(&key), v;
	MDB_cursor *cur;
	uint32_t id;
	unsigned bit;
	enum err e;

	memset(names, 0, sizeof(keyword_table));
	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_KEYWORD], &cur), "keywords");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_keyword(&k, &id, &bit);
		if (e == OK && id != mailbox)
			break;
		if (e == OK && (v.mv_size == 0 || v.mv_size > INDEX_KEYWORD_LEN_MAX))
			e = E_CORRUPT;
		if (e)
			break;
		memcpy(names[bit], v.mv_data, v.mv_size);
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

static void
format(keyword_table names, struct buf *out)
{
	for (int i = 0; i < CORE_LETTERS; i++)
		if (names[i][0])
			buf_printf(out, "%d %s\n", i, names[i]);
}

enum err
core_keywords_format(struct core_tx *tx, const struct core_box *b, struct buf *out)
{
	keyword_table names;
	enum err e = core_keywords_get(tx, b->r.id, names);

	if (e == OK)
		format(names, out);
	return e ? e : out->err;
}

static enum err
file_write(struct core_tx *tx, const struct core_box *b, keyword_table names)
{
	struct buf text = {0};
	enum err e;

	format(names, &text);
	e = core_text_write(tx->core, b->dir, CORE_FILE_KEYWORDS, buf_str(&text));
	buf_free(&text);
	return e;
}

static int
find(keyword_table names, struct str name)
{
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++)
		if (names[i][0] && str_is_i(name, names[i]))
			return i;
	return -1;
}

static enum err
add(struct core_tx *tx, const struct core_box *b, keyword_table names, struct str name, int *bit)
{
	for (*bit = 0; *bit < INDEX_KEYWORDS_MAX && names[*bit][0];)
		(*bit)++;
	if (*bit == INDEX_KEYWORDS_MAX)
		return E_TOOBIG;
	memcpy(names[*bit], name.p, name.len);
	return core_tx_put(
		tx, INDEX_DB_KEYWORD, index_key_keyword(b->r.id, (unsigned)*bit), name.p, name.len);
}

enum err
core_keywords_resolve(struct core_tx *tx, const struct core_box *b, const struct str *words,
	size_t n, int make, struct index_keywords *out)
{
	keyword_table names;
	int write = 0, bit;
	enum err e = OK;

	memset(out, 0, sizeof(*out));
	if (n == 0)
		return OK;
	e = core_keywords_get(tx, b->r.id, names);
	for (size_t i = 0; i < n && e == OK; i++) {
		if (!core_keyword_is_valid(words[i]))
			return E_RANGE;
		bit = find(names, words[i]);
		if (bit < 0 && !make)
			continue;
		if (bit < 0) {
			e = add(tx, b, names, words[i], &bit);
			write |= bit < CORE_LETTERS;
		}
		if (e == OK)
			out->bits[bit / 64] |= UINT64_C(1) << (bit % 64);
	}
	/* Before a file name can have the letter. */
	if (e == OK && write)
		e = file_write(tx, b, names);
	return e;
}

/* ---- bits that nobody uses ---- */

/* Bits that a message of the mailbox has, in its record or as a letter of its file's name. */
static enum err
collect_used(struct core_tx *tx, uint32_t mailbox, struct index_keywords *used)
{
	struct index_key key = index_key_message(mailbox, 0);
	MDB_val k = index_key_val(&key), v;
	struct index_message_record m;
	struct maildir_name n;
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "used");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || id != mailbox)
			break;
		e = index_message_decode(&v, &m);
		if (e)
			break;
		used->bits[0] |= m.keywords.bits[0];
		used->bits[1] |= m.keywords.bits[1];
		if (maildir_name_parse(m.name, &n) == OK)
			used->bits[0] |= n.letters;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

/* A letter that a power cut brings back to a file's name must not mean something else then. */
static enum err
sync_names(struct index_core *c, const struct core_box *b)
{
	static const enum core_sub subs[] = {CORE_NEW, CORE_CUR};
	enum err e = OK;

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && c->fsync && e == OK; i++) {
		int fd;

		e = core_dir_open(c, b->dir, subs[i], &fd);
		if (e == OK && fsync(fd) != 0)
			e = err_from_errno(errno);
		io_close(&fd);
	}
	return e;
}

struct reclaim {
	uint32_t mailbox;
	int freed;
};

/*
 * In a transaction of its own, and without writing roost-keywords: until a bit has a name again it
 * does no harm there, and whatever becomes of the next transaction, no letter means one keyword in
 * the file and another in the index.
 */
static enum err
reclaim_step(struct core_tx *tx, void *arg)
{
	struct reclaim *r = arg;
	struct index_keywords used = {0};
	keyword_table names;
	struct core_box b;
	uint64_t epoch;
	enum err e = core_box_get(tx, r->mailbox, &b);

	r->freed = 0;
	if (e == OK)
		e = core_keywords_get(tx, r->mailbox, names);
	if (e == OK)
		e = collect_used(tx, r->mailbox, &used);
	if (e == OK)
		e = sync_names(tx->core, &b);
	for (int i = 0; i < INDEX_KEYWORDS_MAX && e == OK; i++) {
		if (!names[i][0] || (used.bits[i / 64] >> (i % 64) & 1))
			continue;
		r->freed++;
		e = core_tx_del(tx, INDEX_DB_KEYWORD, index_key_keyword(r->mailbox, (unsigned)i));
	}
	if (e || !r->freed)
		return e;
	/* Sessions that have the names in memory see that. */
	epoch = core_tx_modseq(tx);
	return core_tx_put(tx, INDEX_DB_META, index_key_meta(INDEX_META_KEYWORDS, r->mailbox),
		&epoch, sizeof(epoch));
}

int
core_keywords_reclaim(struct index_core *c, uint32_t mailbox)
{
	struct reclaim r = {.mailbox = mailbox};

	if (core_run(c, reclaim_step, &r) || !r.freed)
		return 0;
	log_event(LOGL_INFO, "index.keywords reclaimed", "maildir", c->maildir, "mailbox",
		log_u64(mailbox), "count", log_u64((uint64_t)r.freed), NULL);
	return 1;
}

int
core_keywords_has_more(const struct index_keywords *k)
{
	return k->bits[0] >> CORE_LETTERS != 0 || k->bits[1] != 0;
}

enum err
core_keywords_load(struct core_tx *tx, const struct core_box *b)
{
	struct buf text = {0};
	enum err e = core_text_read(tx->core, b->dir, CORE_FILE_KEYWORDS, &text);
	struct str rest = buf_str(&text);

	while (rest.p && e == OK) {
		struct str name = str_split(&rest, '\n'), number = str_split(&name, ' ');
		uint32_t bit;

		if (str_to_u32(number, &bit) || bit >= CORE_LETTERS || !core_keyword_is_valid(name))
			continue;
		e = core_tx_put(
			tx, INDEX_DB_KEYWORD, index_key_keyword(b->r.id, bit), name.p, name.len);
	}
	buf_free(&text);
	return e == E_NOTFOUND || e == E_ACCESS ? OK : e;
}

static void
more_line(const struct core_message *m, uint32_t uid, keyword_table names, struct buf *text)
{
	buf_add_u64(text, uid);
	for (int i = CORE_LETTERS; i < INDEX_KEYWORDS_MAX; i++) {
		if (!(m->r.keywords.bits[i / 64] >> (i % 64) & 1) || !names[i][0])
			continue;
		buf_add_char(text, ' ');
		buf_add_cstr(text, names[i]);
	}
	buf_add_char(text, '\n');
}

enum err
core_keywords_more_format(struct core_tx *tx, const struct core_box *b, struct buf *out)
{
	struct index_key key = index_key_message(b->r.id, 1);
	MDB_val k = index_key_val(&key), v;
	struct core_message m;
	keyword_table names;
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e = core_keywords_get(tx, b->r.id, names);

	if (e)
		return e;
	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "more");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e == OK && id != b->r.id)
			break;
		if (e == OK)
			e = core_message_copy(&v, &m);
		if (e)
			break;
		if (core_keywords_has_more(&m.r.keywords))
			more_line(&m, uid, names, out);
	}
	mdb_cursor_close(cur);
	return e == OK || e == E_NOTFOUND ? out->err : e;
}

enum err
core_keywords_more_write(struct core_tx *tx, const struct core_box *b)
{
	struct buf text = {0};
	enum err e = core_keywords_more_format(tx, b, &text);

	if (e == OK)
		e = core_text_write(tx->core, b->dir, CORE_FILE_KEYWORDS_MORE, buf_str(&text));
	buf_free(&text);
	return e;
}

/* One line of the file: the message must be there still. */
static enum err
more_take(struct core_tx *tx, struct core_box *b, struct str line, keyword_table names)
{
	struct core_message old, m;
	uint32_t uid;
	enum err e;

	if (str_to_u32(str_split(&line, ' '), &uid))
		return OK;
	e = core_message_get(tx, b->r.id, uid, &old);
	if (e)
		return e == E_NOTFOUND ? OK : e;
	m = old;
	m.r.name.p = m.name;
	while (line.p && e == OK) {
		struct str name = str_split(&line, ' ');
		int bit = find(names, name);

		if (!core_keyword_is_valid(name))
			continue;
		/* Letters are for what roost-keywords says. */
		for (int i = CORE_LETTERS; bit < 0 && i < INDEX_KEYWORDS_MAX; i++) {
			if (names[i][0])
				continue;
			bit = i;
			memcpy(names[i], name.p, name.len);
			e = core_tx_put(tx, INDEX_DB_KEYWORD,
				index_key_keyword(b->r.id, (unsigned)i), name.p, name.len);
		}
		if (bit >= 0)
			m.r.keywords.bits[bit / 64] |= UINT64_C(1) << (bit % 64);
	}
	return e ? e : core_message_change(tx, b, uid, &old, &m, 0);
}

enum err
core_keywords_more_load(struct core_tx *tx, struct core_box *b)
{
	struct buf text = {0};
	keyword_table names;
	enum err e = core_text_read(tx->core, b->dir, CORE_FILE_KEYWORDS_MORE, &text);
	struct str rest = buf_str(&text);

	if (e == OK)
		e = core_keywords_get(tx, b->r.id, names);
	while (rest.p && e == OK)
		e = more_take(tx, b, str_split(&rest, '\n'), names);
	buf_free(&text);
	return e == E_NOTFOUND || e == E_ACCESS ? OK : e;
}
