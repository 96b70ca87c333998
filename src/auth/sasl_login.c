/* SPDX-License-Identifier: MIT */
#include "auth/sasl_login.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sasl/sasl.h>

#include "auth/addr.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { STEPS_MAX = 8 };

struct sasl_login {
	sasl_conn_t *conn;
	sasl_callback_t callbacks[3];
	char *mechanism;
	sasl_login_check check;
	void *arg;
	enum err verdict; /* of check */
	int checked;
	size_t steps;
};

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
		{"mech_list", SASL_LOGIN_MECHANISMS},
		/* No verifier has this name: our own check is the only one. */
		{"pwcheck_method", "none"},
		{"auxprop_plugin", "none"},
		{"auto_transition", "no"},
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
	return strncmp(base, "libplain.", 9) == 0 || strncmp(base, "liblogin.", 9) == 0
		       ? SASL_OK
		       : SASL_CONTINUE;
}

typedef int (*generic_callback)(void);

static const sasl_callback_t global_callbacks[] = {
	{SASL_CB_GETOPT, (generic_callback)(void *)get_option, NULL},
	{SASL_CB_LOG, (generic_callback)(void *)drop_log, NULL},
	{SASL_CB_VERIFYFILE, (generic_callback)(void *)verify_file, NULL},
	{SASL_CB_LIST_END, NULL, NULL},
};

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
	if (sasl_server_init(global_callbacks, "roost") != SASL_OK || !has_mechanism("PLAIN") ||
		!has_mechanism("LOGIN")) {
		log_event(LOGL_ERROR, "auth.sasl fail", "message",
			"the plug-ins for PLAIN and LOGIN cannot be loaded; install the package "
			"libsasl2-modules",
			NULL);
		return E_NOTFOUND;
	}
	return OK;
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
	s->verdict = s->check(s->arg, user, str_make(password, len));
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

static int
is_offered(const char *mechanism)
{
	return strcmp(mechanism, "PLAIN") == 0 || strcmp(mechanism, "LOGIN") == 0;
}

enum err
sasl_login_create(const char *service, const char *hostname, const char *mechanism,
	sasl_login_check check, void *arg, struct sasl_login **out)
{
	struct sasl_login *s;

	*out = NULL;
	if (!is_offered(mechanism))
		return E_UNSUPPORTED;
	s = MEM_NEW(struct sasl_login);
	s->mechanism = mem_strdup(mechanism);
	s->check = check;
	s->arg = arg;
	s->callbacks[0] = (sasl_callback_t){
		SASL_CB_SERVER_USERDB_CHECKPASS, (generic_callback)(void *)check_password, s};
	s->callbacks[1] =
		(sasl_callback_t){SASL_CB_CANON_USER, (generic_callback)(void *)canonical_user, s};
	s->callbacks[2] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
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
	/* Nobody is let in whom our own check has not seen. */
	if (rc == SASL_OK && (!s->checked || s->verdict))
		return E_AUTH;
	*done = rc == SASL_OK;
	return OK;
}
