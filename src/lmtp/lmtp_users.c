/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_users.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/mem.h"

struct lmtp_users {
	const struct config *conf;
	struct auth_client *auth;
	struct lmtp_user **v;
	size_t n, cap, open;
	uint64_t clock;
};

struct lmtp_users *
lmtp_users_create(const struct config *conf)
{
	struct lmtp_users *us = MEM_NEW(struct lmtp_users);

	us->conf = conf;
	us->auth = auth_client_create(conf);
	return us;
}

static void
user_close(struct lmtp_users *us, struct lmtp_user *user)
{
	if (user->index != NULL) {
		index_close(&user->index);
		us->open--;
	}
}

static void
user_drop(struct lmtp_users *us, size_t i)
{
	struct lmtp_user *user = us->v[i];

	user_close(us, user);
	auth_user_free(&user->auth);
	free(user);
	us->v[i] = us->v[--us->n];
}

void
lmtp_users_free(struct lmtp_users **us)
{
	if (*us == NULL) {
		return;
	}
	while ((*us)->n > 0) {
		user_drop(*us, (*us)->n - 1);
	}
	free((*us)->v);
	auth_client_free(&(*us)->auth);
	MEM_FREE(*us);
}

static struct lmtp_user *
user_find(const struct lmtp_users *us, const char *name)
{
	for (size_t i = 0; i < us->n; i++) {
		if (strcmp(us->v[i]->auth.name, name) == 0) {
			return us->v[i];
		}
	}
	return NULL;
}

/* Forgets users that nobody holds, the longest unused first, until few enough are left. */
static void
users_trim(struct lmtp_users *us)
{
	while (us->n > LMTP_USERS_OPEN_MAX) {
		size_t oldest = us->n;

		for (size_t i = 0; i < us->n; i++) {
			if (us->v[i]->refs == 0 &&
				(oldest == us->n || us->v[i]->used < us->v[oldest]->used)) {
				oldest = i;
			}
		}
		if (oldest == us->n) {
			return;
		}
		user_drop(us, oldest);
	}
}

static struct lmtp_user *
user_add(struct lmtp_users *us)
{
	if (us->n == us->cap) {
		us->cap = us->cap ? 2 * us->cap : 16;
		us->v = mem_realloc(us->v, us->cap, sizeof(struct lmtp_user *));
	}
	return us->v[us->n++] = MEM_NEW(struct lmtp_user);
}

/* Whether an open index still stands for what auth says now. */
static int
still_good(const struct lmtp_user *user, const struct auth_user *now)
{
	return strcmp(user->auth.home, now->home) == 0 &&
	       user->auth.quota_bytes == now->quota_bytes &&
	       user->auth.quota_messages == now->quota_messages &&
	       strcmp(user->auth.quota_rules, now->quota_rules) == 0 &&
	       strcmp(user->auth.moved_to, now->moved_to) == 0 &&
	       io_now_ms() - user->since_ms < LMTP_USER_AGE_MS;
}

/*
 * Without any domain the directory is hardly the one that it was (an empty database where a disk is
 * not mounted): that nobody has the address is not for good.
 */
static enum err
not_found(struct lmtp_users *us)
{
	struct auth_rcpt r;
	enum err e = auth_lookup_rcpt(us->auth, STR("postmaster"), &r);

	if (!e)
		e = r.kind == AUTH_RCPT_NO_DOMAINS ? E_TEMPFAIL : E_NOTFOUND;
	auth_rcpt_free(&r);
	return e;
}

enum err
lmtp_user_get(struct lmtp_users *us, struct str address, char **detail, struct lmtp_user **out)
{
	struct auth_user now = {0};
	struct lmtp_user *user;
	enum err e;

	*out = NULL;
	*detail = NULL;
	e = auth_lookup_user(us->auth, address, &now, detail);
	if (e) {
		MEM_FREE(*detail);
		auth_user_free(&now);
		return e == E_NOTFOUND ? not_found(us) : e;
	}
	if (*detail == NULL) {
		*detail = mem_strdup("");
	}
	user = user_find(us, now.name);
	if (user != NULL && (user->pins > 0 || still_good(user, &now))) {
		auth_user_free(&now);
	} else {
		if (user == NULL) {
			user = user_add(us);
		}
		user_close(us, user);
		auth_user_free(&user->auth);
		user->auth = now;
		user->since_ms = io_now_ms();
	}
	user->refs++;
	user->used = ++us->clock;
	users_trim(us);
	*out = user;
	return OK;
}

void
lmtp_user_expect(struct lmtp_users *us, struct str address)
{
	auth_expect_user(us->auth, address);
}

void
lmtp_user_expect_none(struct lmtp_users *us)
{
	auth_expect_none(us->auth);
}

void
lmtp_user_put(struct lmtp_users *us, struct lmtp_user *user)
{
	user->refs--;
	users_trim(us);
}

/* Makes room for one more open index. */
static void
close_one(struct lmtp_users *us)
{
	struct lmtp_user *oldest = NULL;

	for (size_t i = 0; i < us->n; i++) {
		struct lmtp_user *user = us->v[i];

		if (user->index != NULL && user->pins == 0 &&
			(oldest == NULL || user->used < oldest->used)) {
			oldest = user;
		}
	}
	if (oldest != NULL) {
		user_close(us, oldest);
	}
}

enum err
lmtp_user_open(struct lmtp_users *us, struct lmtp_user *user)
{
	enum err e;

	user->used = ++us->clock;
	if (user->index != NULL) {
		return OK;
	}
	if (us->open >= LMTP_USERS_OPEN_MAX) {
		close_one(us);
	}
	e = index_open(us->conf, &user->auth, &user->index);
	if (e == OK) {
		us->open++;
	}
	return e;
}
