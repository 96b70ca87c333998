/* SPDX-License-Identifier: MIT */
#include "auth/oauth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "auth/jwt.h"
#include "auth/oauth_introspect.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* Clocks differ; and the file with the keys is looked at so often. */
enum { SKEW_S = 60, LOOK_MS = 2000 };

struct words {
	char **items;
	size_t count;
};

struct oauth {
	char *jwks_path, *issuer, *user_claim, *configuration;
	struct words audiences, clients, scopes;
	struct oauth_provider provider;

	pthread_mutex_t lock;
	struct jwks *keys;
	struct timespec keys_mtime;
	int64_t look_ms; /* not before */
};

int
oauth_is_configured(const struct config *conf)
{
	/* A token that was made for somebody else must not open mailboxes. */
	return (conf->oauth_jwks[0] && (conf->oauth_issuer[0] || conf->oauth_audience.count > 0)) ||
	       conf->oauth_introspection_url[0];
}

static struct words
words_copy(const struct conf_list *list)
{
	struct words w = {mem_zalloc((list->count + 1) * sizeof(char *)), list->count};

	for (size_t i = 0; i < list->count; i++)
		w.items[i] = mem_strdup(list->items[i]);
	return w;
}

static void
words_free(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->items[i]);
	MEM_FREE(w->items);
}

static int
words_have(const struct words *w, const char *text)
{
	for (size_t i = 0; text && i < w->count; i++)
		if (strcmp(w->items[i], text) == 0)
			return 1;
	return 0;
}

struct oauth *
oauth_create(const struct config *conf)
{
	struct oauth *o;

	if (!oauth_is_configured(conf)) {
		if (conf->oauth_jwks[0])
			log_event(LOGL_ERROR, "auth.settings bad", "setting", "oauth_jwks",
				"message",
				"set oauth_issuer or oauth_audience too, or any token of the "
				"provider's would do",
				NULL);
		return NULL;
	}
	o = MEM_NEW(struct oauth);
	pthread_mutex_init(&o->lock, NULL);
	o->jwks_path = mem_strdup(conf->oauth_jwks);
	o->issuer = mem_strdup(conf->oauth_issuer);
	o->user_claim = mem_strdup(conf->oauth_user_claim);
	o->configuration = mem_strdup(conf->oauth_openid_configuration);
	o->audiences = words_copy(&conf->oauth_audience);
	o->clients = words_copy(&conf->oauth_clients);
	o->scopes = words_copy(&conf->oauth_scope);
	o->provider.url = mem_strdup(conf->oauth_introspection_url);
	o->provider.credentials = mem_strdup(conf->oauth_introspection_credentials);
	o->provider.ca = mem_strdup(conf->oauth_introspection_ca);
	o->provider.timeout_ms = (long)conf->oauth_timeout;
	return o;
}

void
oauth_free(struct oauth **op)
{
	struct oauth *o = *op;

	*op = NULL;
	if (!o)
		return;
	jwks_free(&o->keys);
	words_free(&o->audiences);
	words_free(&o->clients);
	words_free(&o->scopes);
	free(o->jwks_path);
	free(o->issuer);
	free(o->user_claim);
	free(o->configuration);
	free(o->provider.url);
	explicit_bzero(o->provider.credentials, strlen(o->provider.credentials));
	free(o->provider.credentials);
	free(o->provider.ca);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

/* ---- keys ---- */

/* Under the lock: takes a changed file into use; what cannot be read leaves the old keys. */
static void
keys_refresh(struct oauth *o)
{
	struct jwks *fresh = NULL;
	struct buf text = BUF_INIT(JWKS_MAX);
	const char *why = NULL;
	struct stat st;
	enum err e = OK;

	if (io_now_ms() < o->look_ms)
		return;
	o->look_ms = io_now_ms() + LOOK_MS;
	if (stat(o->jwks_path, &st) != 0)
		e = E_NOTFOUND;
	else if (o->keys && st.st_mtim.tv_sec == o->keys_mtime.tv_sec &&
		 st.st_mtim.tv_nsec == o->keys_mtime.tv_nsec)
		return;
	if (!e)
		e = io_read_file(o->jwks_path, &text);
	if (!e)
		e = jwks_parse(buf_str(&text), &fresh, &why);
	if (e) {
		log_event(LOGL_ERROR, "auth.oauth keys bad", "path", o->jwks_path, "error",
			why ? why : err_text(e), NULL);
	} else {
		jwks_free(&o->keys);
		o->keys = fresh;
		o->keys_mtime = st.st_mtim;
		log_event(LOGL_INFO, "auth.oauth keys", "path", o->jwks_path, "keys",
			log_u64(jwks_count(fresh)), NULL);
	}
	buf_free(&text);
}

/* ---- claims ---- */

/* A "NumericDate" (RFC 7519 section 2), which may have a fraction. 0: missing. */
static int
date_of(const json_t *claims, const char *name, int *bad, double *out)
{
	const json_t *v = json_object_get(claims, name);

	if (!v)
		return 0;
	*bad |= !json_is_number(v);
	*out = json_number_value(v);
	return 1;
}

static int
is_in_time(const json_t *claims, int64_t now_s)
{
	double at = 0;
	int bad = 0;

	if (!date_of(claims, "exp", &bad, &at) || bad || (double)now_s >= at + SKEW_S)
		return 0;
	if (date_of(claims, "nbf", &bad, &at) && (bad || (double)now_s + SKEW_S < at))
		return 0;
	return !(date_of(claims, "iat", &bad, &at) && (bad || (double)now_s + SKEW_S < at));
}

/* One word or a list of them; any that is among ours will do. */
static int
has_one_of(const json_t *value, const struct words *ours)
{
	const json_t *item;
	size_t i;

	if (json_is_string(value))
		return words_have(ours, json_string_value(value));
	json_array_foreach(value, i, item)
	{
		if (words_have(ours, json_string_value(item)))
			return 1;
	}
	return 0;
}

/* "scope" has blanks between (RFC 8693 section 4.2), "scp" is some providers' list. */
static int
has_scope(const json_t *claims, const char *scope)
{
	const char *text = json_string_value(json_object_get(claims, "scope"));
	struct str rest = str_of(text ? text : "");
	const json_t *item;
	size_t i;

	while (rest.p && rest.len > 0)
		if (str_is(str_split(&rest, ' '), scope))
			return 1;
	json_array_foreach(json_object_get(claims, "scp"), i, item)
	{
		const char *one = json_string_value(item);

		if (one && strcmp(one, scope) == 0)
			return 1;
	}
	return 0;
}

static int
is_for_our_clients(const struct oauth *o, const json_t *claims)
{
	const json_t *azp = json_object_get(claims, "azp");

	return o->clients.count == 0 ||
	       words_have(&o->clients,
		       json_string_value(azp ? azp : json_object_get(claims, "client_id")));
}

static int
has_scopes(const struct oauth *o, const json_t *claims)
{
	for (size_t i = 0; i < o->scopes.count; i++)
		if (!has_scope(claims, o->scopes.items[i]))
			return 0;
	return 1;
}

/* What both kinds of answer have to say. */
static enum err
check_rights(const struct oauth *o, const json_t *claims, char *user, const char **reason)
{
	const json_t *who = json_object_get(claims, o->user_claim);
	const char *iss = json_string_value(json_object_get(claims, "iss"));
	struct addr a;

	if (o->issuer[0] && (!iss || strcmp(iss, o->issuer) != 0))
		*reason = "issuer";
	else if (o->audiences.count > 0 &&
		 !has_one_of(json_object_get(claims, "aud"), &o->audiences))
		*reason = "audience";
	else if (!is_for_our_clients(o, claims))
		*reason = "client";
	else if (!has_scopes(o, claims))
		*reason = "scope";
	else if (!json_is_string(who) ||
		 addr_parse(str_make(json_string_value(who), json_string_length(who)), &a))
		*reason = "claim";
	else {
		memcpy(user, a.text, sizeof(a.text));
		return OK;
	}
	return E_AUTH;
}

enum err
oauth_check_claims(
	const struct oauth *o, const json_t *claims, int64_t now_s, char *user, const char **reason)
{
	const json_t *verified = json_object_get(claims, "email_verified");

	if (!is_in_time(claims, now_s)) {
		*reason = "expired";
		return E_AUTH;
	}
	/* An address that a user has only claimed to have (OpenID Connect Core section 5.1). */
	if (strcmp(o->user_claim, "email") == 0 && json_is_false(verified)) {
		*reason = "claim";
		return E_AUTH;
	}
	return check_rights(o, claims, user, reason);
}

/* RFC 7662 section 2.2: the provider has looked at the time. */
static enum err
check_introspected(const struct oauth *o, struct str token, char *user, const char **reason)
{
	json_t *answer = NULL;
	enum err e = oauth_introspect(&o->provider, token, &answer);

	if (e) {
		*reason = "provider";
		return E_TEMPFAIL;
	}
	if (!json_is_true(json_object_get(answer, "active"))) {
		*reason = "inactive";
		e = E_AUTH;
	} else {
		e = check_rights(o, answer, user, reason);
	}
	json_decref(answer);
	return e;
}

static enum err
check_jwt(struct oauth *o, struct str token, char *user, const char **reason)
{
	json_t *claims = NULL;
	enum err e;

	pthread_mutex_lock(&o->lock);
	keys_refresh(o);
	*reason = "keys";
	e = o->keys ? jwt_verify(o->keys, token, &claims, reason) : E_TEMPFAIL;
	pthread_mutex_unlock(&o->lock);
	if (!e)
		e = oauth_check_claims(o, claims, (int64_t)time(NULL), user, reason);
	json_decref(claims);
	return e;
}

/* RFC 6750 section 2.1. */
static int
is_token(struct str token)
{
	const struct str marks = STR("-._~+/=");

	for (size_t i = 0; i < token.len; i++)
		if (!str_is_alnum(token.p[i]) && str_find(marks, 0, token.p[i]) == marks.len)
			return 0;
	return token.len > 0 && token.len <= JWT_MAX;
}

enum err
oauth_check(struct oauth *o, struct str token, char *user, const char **reason)
{
	*reason = "token";
	if (!is_token(token))
		return E_AUTH;
	if (o->jwks_path[0] && jwt_is_one(token))
		return check_jwt(o, token, user, reason);
	return o->provider.url[0] ? check_introspected(o, token, user, reason) : E_AUTH;
}

void
oauth_error_put(const struct oauth *o, int is_xoauth2, struct buf *out)
{
	struct buf scope = {0};
	json_t *error;
	char *text;

	for (size_t i = 0; i < o->scopes.count; i++)
		(void)buf_printf(&scope, "%s%s", i ? " " : "", o->scopes.items[i]);
	error = json_pack(
		"{s:s, s:s}", "status", is_xoauth2 ? "401" : "invalid_token", "schemes", "bearer");
	if (scope.len > 0)
		json_object_set_new(error, "scope", json_string(buf_cstr(&scope)));
	if (o->configuration[0])
		json_object_set_new(error, "openid-configuration", json_string(o->configuration));
	text = json_dumps(error, JSON_COMPACT | JSON_PRESERVE_ORDER);
	if (text)
		(void)buf_add_cstr(out, text);
	free(text);
	json_decref(error);
	buf_free(&scope);
}
