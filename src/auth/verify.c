/* SPDX-License-Identifier: MIT */
#include "auth/verify.h"

#include <string.h>
#include <time.h>

#include "auth/password.h"
#include "auth/resolve.h"
#include "lib/io.h"
#include "lib/log.h"

/* last_login is kept to the hour: a write for every log-in would cost more than the log-in. */
enum { LOGIN_NOTE_S = 3600 };

static enum err
verify_user(struct directory *d, const struct directory_user *user, struct str password,
	const char **reason)
{
	int weak_too = directory_settings(d)->allow_weak_schemes;
	enum err e = password_verify(user->password, password, weak_too);

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

enum err
verify_find(struct directory *d, const char *name, struct directory_user *out, const char **reason)
{
	struct addr a;
	enum err e = E_NOTFOUND;

	memset(out, 0, sizeof(*out));
	*reason = NULL;
	if (!addr_parse(str_of(name), &a))
		e = resolve_login(d, &a, out);
	if (!e)
		return OK;
	*reason = e == E_NOTFOUND ? "user" : "database";
	return e == E_NOTFOUND ? OK : e;
}

enum err
verify_accept(struct directory *d, const struct directory_user *user, struct cache_user *out,
	const char **reason)
{
	int64_t now_s = (int64_t)time(NULL);

	if (!user->active) {
		*reason = "disabled";
		return E_ACCESS;
	}
	memset(out, 0, sizeof(*out));
	memcpy(out->name, user->addr.text, sizeof(out->name));
	out->quota_bytes = user->quota_bytes;
	out->quota_messages = user->quota_messages;
	memcpy(out->quota_rules, user->quota_rules, sizeof(out->quota_rules));
	if (now_s - user->last_login >= LOGIN_NOTE_S)
		directory_login_note(d, &user->addr, now_s);
	return OK;
}

enum err
verify_login(struct directory *d, struct cache *cache, const char *name, struct str password,
	struct cache_user *out, const char **reason)
{
	struct directory_user user = {0};
	uint64_t generation = cache_generation(cache);
	struct addr a;
	enum err e;

	*reason = NULL;
	if (!addr_parse(str_of(name), &a) &&
		cache_find(cache, a.text, password, io_now_ms(), out)) {
		*reason = "cache";
		return OK;
	}
	e = verify_find(d, name, &user, reason);
	if (!e && !user.password) {
		password_verify(directory_settings(d)->dummy, password, 1);
		e = E_AUTH;
	}
	if (!e)
		e = verify_user(d, &user, password, reason);
	if (!e)
		e = verify_accept(d, &user, out, reason);
	if (!e)
		cache_add(cache, a.text, password, io_now_ms(), generation, out);
	directory_user_free(&user);
	return e;
}
