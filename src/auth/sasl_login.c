/* SPDX-License-Identifier: MIT */
#include "auth/sasl_login.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sasl/sasl.h>

#include "auth/addr.h"
#include "auth/sasl_secret.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { STEPS_MAX = 8 };

enum { BINDING_MAX = 64, USER_MAX = 512 };

struct sasl_login {
	struct sasl_secret_source source; /* first: the plug-in knows it alone */
	sasl_conn_t *conn;
	sasl_callback_t callbacks[4];
	char *mechanism;
	int flags; /* of the mechanism */
	struct sasl_login_handler handler;
	enum err verdict; /* of check or accept */
	int checked;
	size_t steps;
	/* The library borrows what it is told of the channel. */
	unsigned char exporter[BINDING_MAX], unique[BINDING_MAX];
	size_t exporter_len, unique_len;
	sasl_channel_binding_t binding;
};

/* ---- mechanisms ---- */

static const struct {
	const char *name, *plugin;
	int flags;
} mechanisms[] = {
	{"PLAIN", "libplain.", SASL_SHOWS_PASSWORD},
	{"LOGIN", "liblogin.", SASL_SHOWS_PASSWORD},
	{"SCRAM-SHA-256", "libscram.", 0},
	{"SCRAM-SHA-256-PLUS", "libscram.", SASL_BINDS_CHANNEL},
	{"SCRAM-SHA-1", "libscram.", 0},
	{"SCRAM-SHA-1-PLUS", "libscram.", SASL_BINDS_CHANNEL},
	{"CRAM-MD5", "libcrammd5.", 0},
	{"DIGEST-MD5", "libdigestmd5.", 0},
	{"EXTERNAL", NULL, SASL_IS_OURS | SASL_NEEDS_CERTIFICATE},
	{"OAUTHBEARER", NULL, SASL_IS_OURS | SASL_SHOWS_PASSWORD | SASL_TAKES_TOKENS},
	{"XOAUTH2", NULL, SASL_IS_OURS | SASL_SHOWS_PASSWORD | SASL_TAKES_TOKENS},
	{"APOP", NULL, SASL_IS_OURS | SASL_IS_UNLISTED},
};
enum { MECHANISM_COUNT = sizeof(mechanisms) / sizeof(mechanisms[0]) };

int
sasl_mechanism_flags(const char *name)
{
	for (size_t i = 0; i < MECHANISM_COUNT; i++)
		if (strcmp(mechanisms[i].name, name) == 0)
			return mechanisms[i].flags;
	return -1;
}

/* ---- the library's own needs ---- */

static void *
mutex_alloc(void)
{
	pthread_mutex_t *m = mem_alloc(sizeof(*m));

	pthread_mutex_init(m, NULL);
	return m;
}

static int
mutex_lock(void *m)
{
	return pthread_mutex_lock(m) ? SASL_FAIL : SASL_OK;
}

static int
mutex_unlock(void *m)
{
	return pthread_mutex_unlock(m) ? SASL_FAIL : SASL_OK;
}

static void
mutex_free(void *m)
{
	pthread_mutex_destroy(m);
	free(m);
}

/* Our word on the library's options, in place of its configuration file. */
static int
get_option(
	void *context, const char *plugin, const char *option, const char **result, unsigned *len)
{
	static const struct {
		const char *option, *value;
	} options[] = {
		{"mech_list", "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 DIGEST-MD5"},
		/* No verifier has this name: our own check is the only one. */
		{"pwcheck_method", "none"},
		{"auxprop_plugin", "roost"},
		{"auto_transition", "no"},
		{"scram_iteration_counter", SASL_SECRET_ITERATIONS},
	};

	(void)context;
	(void)plugin;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(option, options[i].option) != 0)
			continue;
		*result = options[i].value;
		if (len)
			*len = (unsigned)strlen(*result);
		return SASL_OK;
	}
	return SASL_FAIL;
}

/* The library's lines may quote what a client sent; ours say more. */
static int
drop_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

/* Only the plug-ins that are offered are loaded, and no configuration file is read. */
static int
verify_file(void *context, const char *file, sasl_verify_type_t type)
{
	const char *base = strrchr(file, '/');

	(void)context;
	base = base ? base + 1 : file;
	if (type != SASL_VRFY_PLUGIN)
		return SASL_CONTINUE;
	for (size_t i = 0; i < MECHANISM_COUNT; i++)
		if (mechanisms[i].plugin &&
			strncmp(base, mechanisms[i].plugin, strlen(mechanisms[i].plugin)) == 0)
			return SASL_OK;
	return SASL_CONTINUE;
}

typedef int (*generic_callback)(void);

static const sasl_callback_t global_callbacks[] = {
	{SASL_CB_GETOPT, (generic_callback)(void *)get_option, NULL},
	{SASL_CB_LOG, (generic_callback)(void *)drop_log, NULL},
	{SASL_CB_VERIFYFILE, (generic_callback)(void *)verify_file, NULL},
	{SASL_CB_LIST_END, NULL, NULL},
};

/* -PLUS is the library's own affair. */
static int
has_mechanism(const char *name)
{
	const char **list = sasl_global_listmech();

	for (; list && *list; list++)
		if (strcmp(*list, name) == 0)
			return 1;
	return 0;
}

enum err
sasl_login_init(void)
{
	sasl_set_mutex(mutex_alloc, mutex_lock, mutex_unlock, mutex_free);
	if (sasl_server_init(global_callbacks, "roost") != SASL_OK)
		return E_TEMPFAIL;
	for (size_t i = 0; i < MECHANISM_COUNT; i++) {
		if ((mechanisms[i].flags & (SASL_BINDS_CHANNEL | SASL_IS_OURS)) ||
			has_mechanism(mechanisms[i].name))
			continue;
		log_event(LOGL_ERROR, "auth.sasl fail", "mechanism", mechanisms[i].name, "message",
			"its plug-in cannot be loaded; install the package libsasl2-modules", NULL);
		return E_NOTFOUND;
	}
	return sasl_secret_init();
}

void
sasl_login_fini(void)
{
	sasl_server_done();
}

/* ---- one exchange ---- */

static int
check_password(sasl_conn_t *conn, void *context, const char *user, const char *password,
	unsigned len, struct propctx *props)
{
	struct sasl_login *s = context;

	(void)conn;
	(void)props;
	s->checked = 1;
	s->verdict = s->handler.check(s->handler.arg, user, str_make(password, len));
	return s->verdict ? SASL_BADAUTH : SASL_OK;
}

/*
 * What is no address is passed on as it is, so that it is refused in the same place and the same
 * time as an unknown user. This must not fail: the plug-in for LOGIN would leak the password it
 * holds at that moment, for each attempt of anybody. So a name that no user can have (RFC 4616
 * section 2: no control characters, and not nothing) becomes one that no user has.
 */
static int
canonical_user(sasl_conn_t *conn, void *context, const char *in, unsigned in_len, unsigned flags,
	const char *realm, char *out, unsigned out_max, unsigned *out_len)
{
	struct str name = str_make(in, in_len);
	struct addr a;

	(void)conn;
	(void)context;
	(void)flags;
	(void)realm;
	if (!addr_parse(name, &a))
		name = str_of(a.text);
	if (name.len >= out_max || str_has_control(name) || str_trim(name).len == 0)
		name = STR("?");
	memmove(out, name.p, name.len);
	out[name.len] = '\0';
	*out_len = (unsigned)name.len;
	return SASL_OK;
}

static enum err
find_secret(struct sasl_secret_source *source, struct str user, char **stored)
{
	struct sasl_login *s = (struct sasl_login *)source;
	char name[USER_MAX];

	*stored = NULL;
	if (user.len >= sizeof(name))
		return OK;
	memcpy(name, user.p, user.len);
	name[user.len] = '\0';
	return s->handler.find(s->handler.arg, name, stored);
}

/* ---- channel binding ---- */

/*
 * A client says in its first message which kind it has used, "p=tls-exporter,,"; without one the
 * better kind stands, and the library compares.
 */
static void
set_binding(struct sasl_login *s, struct str message)
{
	int unique = str_starts_i(message, "p=tls-unique,") || s->exporter_len == 0;

	if (s->exporter_len + s->unique_len == 0 || (s->steps > 1 && !str_starts_i(message, "p=")))
		return;
	s->binding = (sasl_channel_binding_t){
		.name = unique ? "tls-unique" : "tls-exporter",
		.critical = (s->flags & SASL_BINDS_CHANNEL) != 0,
		.len = unique ? s->unique_len : s->exporter_len,
		.data = unique ? s->unique : s->exporter,
	};
	sasl_setprop(s->conn, SASL_CHANNEL_BINDING, &s->binding);
}

static size_t
keep_binding(struct str from, unsigned char to[BINDING_MAX])
{
	if (from.len == 0 || from.len > BINDING_MAX)
		return 0;
	memcpy(to, from.p, from.len);
	return from.len;
}

enum err
sasl_login_create(const char *service, const char *hostname, const char *mechanism,
	const struct sasl_login_binding *binding, const struct sasl_login_handler *handler,
	struct sasl_login **out)
{
	int flags = sasl_mechanism_flags(mechanism), n = 0;
	struct sasl_login *s;

	*out = NULL;
	if (flags < 0)
		return E_UNSUPPORTED;
	s = MEM_NEW(struct sasl_login);
	s->mechanism = mem_strdup(mechanism);
	s->flags = flags;
	s->handler = *handler;
	s->source.find = find_secret;
	s->exporter_len = keep_binding(binding->exporter, s->exporter);
	s->unique_len = keep_binding(binding->unique, s->unique);
	if (flags & SASL_SHOWS_PASSWORD)
		s->callbacks[n++] = (sasl_callback_t){SASL_CB_SERVER_USERDB_CHECKPASS,
			(generic_callback)(void *)check_password, s};
	else
		s->callbacks[n++] = (sasl_callback_t){
			SASL_SECRET_CALLBACK, (generic_callback)(void *)find_secret, &s->source};
	s->callbacks[n++] =
		(sasl_callback_t){SASL_CB_CANON_USER, (generic_callback)(void *)canonical_user, s};
	s->callbacks[n] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	if (sasl_server_new(service, hostname, NULL, NULL, NULL, s->callbacks, 0, &s->conn) !=
		SASL_OK) {
		sasl_login_free(&s);
		return E_TEMPFAIL;
	}
	*out = s;
	return OK;
}

void
sasl_login_free(struct sasl_login **s)
{
	if (!*s)
		return;
	if ((*s)->conn)
		sasl_dispose(&(*s)->conn);
	free((*s)->mechanism);
	MEM_FREE(*s);
}

static enum err
error_of(const struct sasl_login *s, int rc)
{
	if (s->checked && s->verdict)
		return s->verdict;
	if (s->source.error)
		return s->source.error;
	/* The password was good, so it is the authorization identity that was not. */
	if (s->checked)
		return rc == SASL_NOMEM ? E_TEMPFAIL : E_AUTH;
	switch (rc) {
	case SASL_NOMEM:
	case SASL_FAIL:
		return E_TEMPFAIL;
	case SASL_NOMECH:
		return E_UNSUPPORTED;
	case SASL_BADAUTH:
	case SASL_NOAUTHZ:
	case SASL_NOUSER:
		return E_AUTH;
	default:
		return E_PARSE;
	}
}

/* The mechanism is content: the secret was proved, and it is for us to say who may log in. */
static void
judge(struct sasl_login *s)
{
	const void *user = NULL;

	if (s->checked || sasl_getprop(s->conn, SASL_USERNAME, &user) != SASL_OK || !user)
		return;
	s->checked = 1;
	s->verdict = s->handler.accept(s->handler.arg, user, s->source.fits);
}

enum err
sasl_login_step(struct sasl_login *s, struct str in, struct str *out, int *done)
{
	const char *challenge = NULL;
	unsigned len = 0;
	int rc;

	*out = str_make("", 0);
	*done = 0;
	if (++s->steps > STEPS_MAX)
		return E_PARSE;
	set_binding(s, in);
	if (s->steps == 1)
		rc = sasl_server_start(
			s->conn, s->mechanism, in.p, (unsigned)in.len, &challenge, &len);
	else
		rc = sasl_server_step(
			s->conn, in.p ? in.p : "", (unsigned)in.len, &challenge, &len);
	if (rc != SASL_OK && rc != SASL_CONTINUE)
		return error_of(s, rc);
	if (challenge)
		*out = str_make(challenge, len);
	if (rc == SASL_OK)
		judge(s);
	/* Nobody is let in whom our own check has not seen. */
	if (rc == SASL_OK && (!s->checked || s->verdict))
		return s->verdict ? s->verdict : E_AUTH;
	*done = rc == SASL_OK;
	return OK;
}
