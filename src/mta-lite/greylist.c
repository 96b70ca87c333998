/* SPDX-License-Identifier: MIT */
#include "mta-lite/greylist.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/lmdb_open.h"

enum {
	MAP_SIZE = 256 << 20, /* some two million entries; sparse */
	KEY_SIZE = 16,
	SWEEP = 20, /* entries looked at for old ones with each new one */
	TOUCH_EVERY_S = 3600,
};

/* The value of a client (counts) and of a triplet. In the machine's byte order. */
struct seen {
	int64_t first, last;
	uint32_t passes, kind;
};

struct greylist {
	MDB_env *env;
	MDB_dbi dbi;
	struct greylist_settings set;
};

static enum err
failed(const char *what, int rc)
{
	log_event(LOGL_WARN, "greylist.failed", "step", what, "error", mdb_strerror(rc), NULL);
	return rc == MDB_MAP_FULL || rc == ENOSPC ? E_NOSPACE : E_IO;
}

enum err
greylist_open(const char *dir, const struct greylist_settings *set, struct greylist **out)
{
	struct greylist *g = MEM_NEW(struct greylist);
	/* The last transaction may be lost in a power cut, the rest must hold together. */
	int rc = lmdb_open(dir, MAP_SIZE, MDB_NOMETASYNC | MDB_NOTLS, &g->env, &g->dbi);

	*out = NULL;
	g->set = *set;
	if (rc) {
		greylist_close(&g);
		return failed("open", rc);
	}
	*out = g;
	return OK;
}

void
greylist_close(struct greylist **g)
{
	if (*g == NULL)
		return;
	if ((*g)->env)
		mdb_env_close((*g)->env);
	MEM_FREE(*g);
}

/* The client's network: 24 bits of IPv4, 64 of IPv6, since large senders use many addresses. */
static void
put_network(const struct net_addr *peer, struct buf *out)
{
	char ip[NET_ADDR_TEXT];

	net_addr_format_ip(peer, ip);
	if (strchr(ip, ':') == NULL) {
		char *dot = strrchr(ip, '.');

		if (dot)
			*dot = '\0';
		buf_add_cstr(out, ip);
		return;
	}
	buf_add(out, (const char *)&((const struct sockaddr_in6 *)&peer->sa)->sin6_addr, 8);
}

static void
make_key(char kind, const struct net_addr *peer, struct str sender, struct str rcpt,
	unsigned char out[KEY_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	struct buf text = {0};
	size_t i;

	buf_add_char(&text, kind);
	put_network(peer, &text);
	buf_add_char(&text, '\0');
	buf_add_str(&text, sender);
	buf_add_char(&text, '\0');
	buf_add_str(&text, rcpt);
	for (i = 1; i < text.len && kind == 't'; i++)
		text.p[i] = str_lower(text.p[i]);
	if (EVP_Digest(text.p, text.len, digest, &len, EVP_sha256(), NULL) != 1)
		memset(digest, 0, sizeof(digest));
	memcpy(out, digest, KEY_SIZE);
	buf_free(&text);
}

static int
load(struct greylist *g, MDB_txn *txn, const unsigned char key[KEY_SIZE], struct seen *out)
{
	MDB_val k = {KEY_SIZE, (void *)key}, v;
	int rc = mdb_get(txn, g->dbi, &k, &v);

	memset(out, 0, sizeof(*out));
	if (rc == 0 && v.mv_size == sizeof(*out))
		memcpy(out, v.mv_data, sizeof(*out));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
store(struct greylist *g, MDB_txn *txn, const unsigned char key[KEY_SIZE], const struct seen *seen)
{
	MDB_val k = {KEY_SIZE, (void *)key}, v = {sizeof(*seen), (void *)seen};

	return mdb_put(txn, g->dbi, &k, &v, 0);
}

static int
expired(const struct greylist *g, const struct seen *s, int64_t now)
{
	int64_t keep = s->passes ? g->set.lifetime_s : g->set.retry_window_s;

	return s->last + keep < now || s->last > now + keep;
}

/* Looks at a few entries from a random place on, so that old ones go without a process for it. */
static void
sweep(struct greylist *g, MDB_txn *txn, int64_t now)
{
	unsigned char at[KEY_SIZE];
	MDB_val k = {KEY_SIZE, at}, v;
	MDB_cursor *cur;
	int i, rc;

	io_random(at, sizeof(at));
	if (mdb_cursor_open(txn, g->dbi, &cur))
		return;
	rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
	for (i = 0; i < SWEEP && rc == 0; i++) {
		struct seen s;

		if (v.mv_size != sizeof(s)) {
			(void)mdb_cursor_del(cur, 0);
		} else {
			memcpy(&s, v.mv_data, sizeof(s));
			if (expired(g, &s, now))
				(void)mdb_cursor_del(cur, 0);
		}
		rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cur);
}

/* Notes that it was seen, at most once an hour: each write waits for the disk. */
static int
touch(struct greylist *g, MDB_txn *txn, const unsigned char key[KEY_SIZE], struct seen *s,
	int64_t now, int *changed)
{
	if (now - s->last < TOUCH_EVERY_S)
		return 0;
	s->last = now;
	*changed = 1;
	return store(g, txn, key, s);
}

/* A triplet that waited long enough: it and its client get a good mark. */
static int
let_in(struct greylist *g, MDB_txn *txn, const unsigned char client_key[KEY_SIZE],
	struct seen *client, const unsigned char key[KEY_SIZE], struct seen *triplet, int64_t now)
{
	int rc;

	triplet->last = now;
	triplet->passes = 1;
	rc = store(g, txn, key, triplet);
	if (rc)
		return rc;
	if (client->first == 0)
		client->first = now;
	client->last = now;
	client->passes++;
	return store(g, txn, client_key, client);
}

/* *changed: there is something to commit. *rc: LMDB's error. */
static enum err
judge(struct greylist *g, MDB_txn *txn, const unsigned char client_key[KEY_SIZE],
	const unsigned char key[KEY_SIZE], int64_t now, int64_t *wait_s, int *changed, int *rc)
{
	struct seen client, triplet;

	*rc = load(g, txn, client_key, &client);
	if (*rc == 0)
		*rc = load(g, txn, key, &triplet);
	if (*rc)
		return E_IO;
	if (expired(g, &client, now))
		memset(&client, 0, sizeof(client));
	if (expired(g, &triplet, now))
		memset(&triplet, 0, sizeof(triplet));
	if (g->set.client_passes && client.passes >= g->set.client_passes) {
		*rc = touch(g, txn, client_key, &client, now, changed);
		return OK;
	}
	if (triplet.passes) {
		*rc = touch(g, txn, key, &triplet, now, changed);
		return OK;
	}
	*changed = 1;
	if (triplet.first == 0) {
		triplet.first = triplet.last = now;
		sweep(g, txn, now);
		*rc = store(g, txn, key, &triplet);
	}
	if (now - triplet.first < g->set.delay_s) {
		*wait_s = triplet.first + g->set.delay_s - now;
		return E_TEMPFAIL;
	}
	*rc = let_in(g, txn, client_key, &client, key, &triplet, now);
	return OK;
}

enum err
greylist_check(struct greylist *g, const struct net_addr *peer, struct str sender, struct str rcpt,
	int64_t now, int64_t *wait_s)
{
	unsigned char client_key[KEY_SIZE], key[KEY_SIZE];
	int rc, changed = 0;
	MDB_txn *txn;
	enum err e;

	*wait_s = 0;
	make_key('c', peer, STR(""), STR(""), client_key);
	make_key('t', peer, sender, rcpt, key);
	rc = mdb_txn_begin(g->env, NULL, 0, &txn);
	if (rc)
		return failed("begin", rc);
	e = judge(g, txn, client_key, key, now, wait_s, &changed, &rc);
	if (rc || !changed) {
		mdb_txn_abort(txn);
		return rc ? failed("write", rc) : e;
	}
	rc = mdb_txn_commit(txn);
	return rc ? failed("commit", rc) : e;
}
