/* SPDX-License-Identifier: MIT */
#include "auth/verify.h"

#include <stdlib.h>
#include <string.h>

#include "auth/access.h"
#include "auth/app_password.h"
#include "auth/password.h"
#include "auth/resolve.h"
#include "auth/saslauthd.h"
#include "auth/saslprep.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static enum err
ask_saslauthd(struct directory *d, const struct directory_user *user, struct str password,
	struct verify_from *from, const char **reason)
{
	enum err e;

	from->must_wait = !from->may_wait;
	if (from->must_wait)
		return E_STATE;
	e = saslauthd_verify(
		directory_settings(d), user->password, &user->addr, from->service, password);
	if (e)
		*reason = e == E_AUTH ? "password" : "saslauthd";
	return e;
}

static enum err
verify_user(struct directory *d, const struct directory_user *user, struct str password,
	struct verify_from *from, const char **reason)
{
	int weak_too = directory_settings(d)->allow_weak_schemes;
	enum err e;

	if (saslauthd_is_meant(user->password))
		return ask_saslauthd(d, user, password, from, reason);
	e = password_verify(user->password, password, weak_too);
	if (e == E_UNSUPPORTED) {
		log_event(LOGL_WARN, "auth.password unknown", "user", user->addr.text, "message",
			"the stored password has no scheme known here, or a weak one without allow_weak_schemes; set it anew",
			NULL);
		password_verify(directory_settings(d)->dummy, password, 1);
		*reason = "scheme";
		return E_AUTH;
	}
	if (e) {
		*reason = e == E_AUTH ? "password" : "memory";
		return e;
	}
	return OK;
}

/* The address that a name is in the form of SASLprep; its text is "" when it is none. */
static void
prepared_address_of(const char *name, struct addr *a)
{
	struct buf prepared = {0};

	if (saslprep(str_of(name), SASLPREP_QUERY, &prepared) || addr_parse(buf_str(&prepared), a))
		memset(a, 0, sizeof(*a));
	buf_free(&prepared);
}

/*
 * The address that a name stands for: as it was written when somebody has that, else prepared.
 * Its text is "" when it is none. The directory is asked only where the two differ.
 */
static void
address_of(struct directory *d, const char *name, struct addr *a)
{
	struct directory_user user;
	struct addr prepared;

	if (addr_parse(str_of(name), a))
		memset(a, 0, sizeof(*a));
	if (str_is_ascii(str_of(name)))
		return;
	prepared_address_of(name, &prepared);
	if (!prepared.text[0] || strcmp(prepared.text, a->text) == 0)
		return;
	memset(&user, 0, sizeof(user));
	if (!a->text[0] || resolve_login(d, a, &user) == E_NOTFOUND)
		*a = prepared;
	directory_user_free(&user);
}

enum err
verify_find(struct directory *d, const char *name, struct directory_user *out, const char **reason)
{
	struct addr a;
	enum err e = E_NOTFOUND;

	memset(out, 0, sizeof(*out));
	*reason = NULL;
	address_of(d, name, &a);
	if (a.text[0])
		e = resolve_login(d, &a, out);
	if (!e)
		return OK;
	*reason = e == E_NOTFOUND ? "user" : "database";
	return e == E_NOTFOUND ? OK : e;
}

/* A right password in the wrong place tells nobody that it is right. */
static enum err
check_place(const struct directory_user *user, const struct verify_from *from, const char **reason)
{
	if (!access_service_allowed(user->protocols, from->service))
		*reason = "protocol";
	else if (!access_network_allowed(user->networks, from->addr))
		*reason = "network";
	else
		return OK;
	return E_AUTH;
}

static enum err
check_active(const struct directory_user *user, const char **reason)
{
	if (user->active)
		return OK;
	*reason = "disabled";
	return E_ACCESS;
}

static void
user_copy(const struct directory_user *user, struct cache_user *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->name, user->addr.text, sizeof(out->name));
	out->quota_bytes = user->quota_bytes;
	out->quota_messages = user->quota_messages;
	out->max_connections = user->max_connections;
	out->max_connections_per_ip = user->max_connections_per_ip;
	memcpy(out->quota_rules, user->quota_rules, sizeof(out->quota_rules));
	memcpy(out->acl_groups, user->acl_groups, sizeof(out->acl_groups));
}

/* Only who has shown who he is hears where his mail is (RFC 2221 section 6). */
static enum err
let_in(const struct directory_user *user, struct verify_from *from, struct cache_user *out,
	const char **reason)
{
	enum err e = check_active(user, reason);

	if (e)
		return e;
	user_copy(user, out);
	if (!user->host[0])
		return OK;
	memcpy(from->moved_to, user->host, sizeof(from->moved_to));
	*reason = "moved";
	return E_ACCESS;
}

enum err
verify_accept(const struct directory_user *user, struct verify_from *from, struct cache_user *out,
	const char **reason)
{
	enum err e = check_place(user, from, reason);

	return e ? e : let_in(user, from, out, reason);
}

/* The password of a user; one that does not exist costs the same. */
static enum err
check_password(struct directory *d, const char *name, struct str password, struct verify_from *from,
	struct directory_user *user, const char **reason)
{
	enum err e = verify_find(d, name, user, reason);

	if (!e && !user->password) {
		password_verify(directory_settings(d)->dummy, password, 1);
		return E_AUTH;
	}
	return e ? e : verify_user(d, user, password, from, reason);
}

static int
is_master(const struct auth_settings *s, const char *address)
{
	for (size_t i = 0; i < s->master_user_count; i++)
		if (strcmp(s->master_users[i], address) == 0)
			return 1;
	return 0;
}

/*
 * A master's own password opens another's mailbox. Nothing of it is remembered. Who is not a master
 * is refused like one with a wrong password.
 */
static enum err
verify_master(struct directory *d, const char *name, const char *master, struct str password,
	struct verify_from *from, struct cache_user *out, const char **reason)
{
	struct directory_user me = {0}, user = {0};
	struct addr a;
	enum err e;

	if (addr_parse(str_of(master), &a))
		memset(&a, 0, sizeof(a));
	memcpy(from->master, a.text, sizeof(from->master));
	e = check_password(d, master, password, from, &me, reason);
	if (!e && !is_master(directory_settings(d), me.addr.text)) {
		*reason = "master";
		e = E_AUTH;
	}
	if (!e)
		e = check_place(&me, from, reason);
	if (!e)
		e = check_active(&me, reason);
	if (!e)
		e = verify_find(d, name, &user, reason);
	if (!e && !user.password)
		e = E_AUTH;
	if (!e)
		e = let_in(&user, from, out, reason);
	directory_user_free(&me);
	directory_user_free(&user);
	return e;
}

/* Where the name of the master begins in "user*master"; NULL: it is no such name. */
static const char *
find_master(const struct auth_settings *s, const char *name)
{
	const char *at = s->master_separator[0] ? strstr(name, s->master_separator) : NULL;

	return at && s->master_user_count > 0 ? at + strlen(s->master_separator) : NULL;
}

/* password_rehash: whether the stored form of a password that was right is to be replaced. */
static int
is_outdated(const struct directory *d, const struct directory_user *user)
{
	const struct auth_settings *s = directory_settings(d);

	return s->rehash && !user->is_of_file && directory_has(d, SQL_PASSWORD_REHASH) &&
	       password_is_known(user->password) && !password_has_scheme(user->password, s->scheme);
}

static int
is_refused_by_saslprep(struct str text)
{
	struct buf prepared = {0};
	int refused = !str_is_ascii(text) && saslprep(text, SASLPREP_QUERY, &prepared);

	buf_wipe(&prepared);
	buf_free(&prepared);
	return refused;
}

enum err
verify_login(struct directory *d, struct cache *cache, const char *name, struct str password,
	struct verify_from *from, struct cache_user *out, const char **reason)
{
	const struct auth_settings *s = directory_settings(d);
	const char *master = find_master(s, name);
	struct directory_user user = {0};
	uint64_t generation = cache_generation(cache);
	struct addr a;
	enum err e;

	*reason = NULL;
	/* RFC 6856 section 2.2. Elsewhere what was stored before is still compared as it came. */
	if (strcmp(from->service, "pop3") == 0 &&
		(is_refused_by_saslprep(str_of(name)) || is_refused_by_saslprep(password))) {
		*reason = "saslprep";
		return E_AUTH;
	}
	if (master) {
		char *target = mem_printf(
			"%.*s", (int)((size_t)(master - name) - strlen(s->master_separator)), name);

		e = verify_master(d, target, master, password, from, out, reason);
		free(target);
		return e;
	}
	address_of(d, name, &a);
	if (a.text[0] && cache_find(cache, a.text, password, io_now_ms(), out)) {
		*reason = "cache";
		return OK;
	}
	e = a.text[0] ? app_password_verify(d, &a, password, from, reason) : E_NOTFOUND;
	if (e == E_NOTFOUND)
		e = check_password(d, name, password, from, &user, reason);
	else if (!e)
		e = verify_find(d, name, &user, reason);
	if (!e)
		e = verify_accept(&user, from, out, reason);
	/* What is good in some places only, or may change unseen, is not remembered. */
	if (!e && !from->app_password[0] && !user.protocols[0] && !user.networks[0] &&
		!user.is_of_file && !saslauthd_is_meant(user.password))
		cache_add(cache, a.text, password, io_now_ms(), generation, out);
	if (!e && !from->app_password[0] && is_outdated(d, &user))
		from->outdated = mem_strdup(user.password);
	directory_user_free(&user);
	return e;
}
