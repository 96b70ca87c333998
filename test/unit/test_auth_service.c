/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/auth_client.h"
#include "auth/auth_proto.h"
#include "auth/ticket.h"
#include "auth/token.h"
#include "lib/ctl.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/mem.h"

/*
 * A real roost-auth, started as the master starts it, asked over its sockets. With
 * ROOST_AUTH_BENCH=seconds it also measures log-ins, with ROOST_AUTH_DSN it uses that (empty)
 * PostgreSQL database.
 */
static const char *const names[] = {
	"auth-login", "auth-session", "auth-directory", "auth-userdb", "ctl"};
enum { SOCKETS = sizeof(names) / sizeof(names[0]), TIMEOUT_MS = 20000 };

/* Of all log-ins. */
static const char session_id[] = "session1";
static const char ticket_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static struct {
	char dir[64];
	struct config *conf;
	pid_t pid;
	int login; /* a connection to auth-login */
	uint32_t request;
	char tried[64]; /* whom the last failure named */
} fx;

/* ---- starting ---- */

static void
service_exec(const int *fds, int config)
{
	const char *program = getenv("ROOST_AUTH_PROGRAM");
	struct buf env = {0};
	char log[128];

	buf_printf(&env, "config:%d", config);
	for (size_t i = 0; i < SOCKETS; i++) {
		io_set_cloexec(fds[i], 0);
		buf_printf(&env, " %s:%d", names[i], fds[i]);
	}
	io_set_cloexec(config, 0);
	setenv("ROOST_FDS", buf_cstr(&env), 1);
	snprintf(log, sizeof(log), "%s/log", fx.dir);
	if (!freopen(log, "a", stderr))
		_exit(126);
	execl(program ? program : "./roost-auth", "roost-auth", (char *)NULL);
	_exit(127);
}

static void
service_spawn(void)
{
	int fds[SOCKETS], config;

	for (size_t i = 0; i < SOCKETS; i++) {
		char *path = conf_run_path(fx.conf, i == SOCKETS - 1 ? "ctl-auth" : names[i]);
		struct net_addr a;

		assert_int_equal(net_addr_parse(str_of(path), 0, &a), OK);
		assert_int_equal(net_listen(&a, 128, 0600, &fds[i]), OK);
		free(path);
	}
	assert_int_equal(conf_to_memfd(fx.conf, &config), OK);
	fx.pid = fork();
	assert_true(fx.pid >= 0);
	if (fx.pid == 0)
		service_exec(fds, config);
	for (size_t i = 0; i < SOCKETS; i++)
		close(fds[i]);
	close(config);
}

static int
service_end(void)
{
	int status = -1;

	kill(fx.pid, SIGTERM);
	while (waitpid(fx.pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int
connect_to(const char *name)
{
	char *path = conf_run_path(fx.conf, name);
	int fd = -1;

	assert_int_equal(net_connect_unix(path, TIMEOUT_MS, &fd), OK);
	io_set_nonblocking(fd, 0);
	free(path);
	return fd;
}

static enum err
admin(const char *verb, const char *args_json, json_t **result)
{
	json_t *args = json_loads(args_json, 0, NULL), *got = NULL;
	char *message = NULL;
	enum err e;

	assert_non_null(args);
	e = ctl_call(fx.conf, "auth", verb, args, &got, &message);
	if (e)
		assert_non_null(message);
	free(message);
	if (result)
		*result = got;
	else
		json_decref(got);
	return e;
}

static int
setup(void **state)
{
	char *run;

	(void)state;
	snprintf(fx.dir, sizeof(fx.dir), "/tmp/roost-test-XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	fx.conf = conf_defaults(fx.dir);
	run = conf_run_path(fx.conf, "");
	assert_int_equal(io_mkdir_parents(run, 0700), OK);
	free(run);
	assert_int_equal(conf_set(fx.conf, "ticket_key", ticket_key, NULL), OK);
	assert_int_equal(conf_set(fx.conf, "hostname", "mail.test", NULL), OK);
	assert_int_equal(
		conf_set(fx.conf, "password_scheme",
			getenv("ROOST_AUTH_SCHEME") ? getenv("ROOST_AUTH_SCHEME") : "PLAIN", NULL),
		OK);
	assert_int_equal(conf_set(fx.conf, "login_delay_max", "300ms", NULL), OK);
	if (getenv("ROOST_AUTH_TTL"))
		conf_set(fx.conf, "auth_cache_ttl", getenv("ROOST_AUTH_TTL"), NULL);
	if (getenv("ROOST_AUTH_DSN")) {
		conf_set(fx.conf, "db", "postgresql", NULL);
		conf_set(fx.conf, "postgresql", getenv("ROOST_AUTH_DSN"), NULL);
	}
	service_spawn();
	fx.login = connect_to("auth-login");
	assert_int_equal(admin("domain-add", "{\"domain\": \"Example.test\"}", NULL), OK);
	assert_int_equal(admin("user-add",
				 "{\"address\": \"alice@example.test\", \"password\": \"secret\", "
				 "\"quota\": 5000}",
				 NULL),
		OK);
	return 0;
}

static int
teardown(void **state)
{
	char *command = mem_printf("rm -rf %s", fx.dir);
	int rc;

	(void)state;
	if (fx.pid > 0)
		service_end();
	rc = system(command);
	free(command);
	conf_free(&fx.conf);
	return rc;
}

/* ---- exchanges ---- */

static void
send_start(int fd, uint32_t request, const char *service, const char *mechanism, int has_initial,
	struct str initial, const char *peer, int tls)
{
	struct buf b = {0};

	ipc_put_cstr(&b, service);
	ipc_put_cstr(&b, mechanism);
	ipc_put_u8(&b, has_initial != 0);
	ipc_put_str(&b, initial);
	ipc_put_cstr(&b, peer);
	ipc_put_cstr(&b, "127.0.0.1:143");
	ipc_put_u8(&b, tls != 0);
	ipc_put_cstr(&b, session_id);
	ipc_put_cstr(&b, "");
	ipc_put_cstr(&b, "");
	ipc_put_cstr(&b, "");
	assert_int_equal(ipc_send(fd, AUTH_START, request, buf_str(&b), NULL, 0, TIMEOUT_MS), OK);
	buf_free(&b);
}

static void
send_response(uint32_t request, struct str data)
{
	struct buf b = {0};

	ipc_put_str(&b, data);
	assert_int_equal(
		ipc_send(fx.login, AUTH_CONTINUE, request, buf_str(&b), NULL, 0, TIMEOUT_MS), OK);
	buf_free(&b);
}

/* What came back: CONTINUE is E_STATE, DONE is OK with the token, FAILED is its error. */
static enum err
receive(uint32_t request, char **token)
{
	struct ipc_msg m;
	struct ipc_reader r;
	struct str tried;
	enum err e;

	*token = NULL;
	fx.tried[0] = '\0';
	assert_int_equal(ipc_recv(fx.login, &m, TIMEOUT_MS), OK);
	assert_int_equal(m.request, request);
	r = ipc_reader_of(buf_str(&m.body));
	if (m.type == AUTH_CONTINUE) {
		ipc_get_str(&r);
		e = E_STATE;
	} else if (m.type == AUTH_DONE) {
		assert_true(str_is(ipc_get_str(&r), "alice@example.test"));
		*token = ipc_get_dup(&r);
		ipc_get_str(&r);
		assert_int_equal(ipc_get_u32(&r), 0);
		assert_int_equal(ipc_get_u32(&r), 20);
		e = OK;
	} else {
		assert_int_equal(m.type, AUTH_FAILED);
		e = (enum err)ipc_get_u32(&r);
		assert_true(ipc_get_str(&r).len > 0);
		/* Nobody has moved. */
		assert_int_equal(ipc_get_str(&r).len, 0);
		assert_int_equal(ipc_get_str(&r).len, 0);
		tried = ipc_get_str(&r);
		snprintf(fx.tried, sizeof fx.tried, "%.*s", STR_ARG(tried));
	}
	assert_int_equal(ipc_reader_end(&r), OK);
	ipc_msg_free(&m);
	return e;
}

static enum err
plain(const char *service, struct str response, char **token)
{
	send_start(fx.login, ++fx.request, service, "PLAIN", 1, response, "127.0.0.1:999", 0);
	return receive(fx.request, token);
}

static enum err
login_as(const char *user, const char *password)
{
	struct buf b = {0};
	char *token;
	enum err e;

	buf_add_char(&b, '\0');
	buf_add(&b, user, strlen(user) + 1);
	buf_add_cstr(&b, password);
	e = plain("imap", buf_str(&b), &token);
	buf_free(&b);
	free(token);
	return e;
}

static void
plain_table(void **state)
{
	static const struct {
		struct str response;
		enum err want;
		const char *tried; /* or NULL */
	} rows[] = {
		{STR("\0alice@example.test\0secret"), OK},
		{STR("\0ALICE@example.test\0secret"), OK},
		{STR("alice@example.test\0alice@example.test\0secret"), OK},
		{STR("bob@example.test\0alice@example.test\0secret"), E_AUTH},
		{STR("\0alice@example.test\0wrong"), E_AUTH, "alice@example.test"},
		{STR("\0alice@example.test\0"), E_AUTH},
		{STR("\0nobody@example.test\0secret"), E_AUTH, "nobody@example.test"},
		{STR("\0alice\0secret"), E_AUTH, "alice"},
		{STR("\0\xff\xfe\0secret"), E_AUTH},
		{STR("\0x' OR '1'='1\0x' OR '1'='1"), E_AUTH},
		{STR("\0alice@example.test\0secret\0more"), E_PARSE},
		{STR("alice@example.test"), E_PARSE},
		{STR("\0"), E_PARSE},
		{STR("\0\0"), E_AUTH},
		{STR("\0?\0secret"), E_AUTH},
		{STR("\0 \0secret"), E_AUTH},
		{STR("\0a\nb\0secret"), E_AUTH},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *token;
		enum err e = plain("imap", rows[i].response, &token);

		if (e != rows[i].want)
			fail_msg("row %zu: %s", i, err_text(e));
		assert_true((token != NULL) == (e == OK));
		if (rows[i].tried)
			assert_string_equal(fx.tried, rows[i].tried);
		free(token);
	}
}

static void
login_mechanism(void **state)
{
	char *token;

	(void)state;
	send_start(fx.login, ++fx.request, "imap", "login", 0, STR(""), "127.0.0.1:9", 0);
	assert_int_equal(receive(fx.request, &token), E_STATE);
	send_response(fx.request, STR("alice@example.test"));
	assert_int_equal(receive(fx.request, &token), E_STATE);
	send_response(fx.request, STR("secret"));
	assert_int_equal(receive(fx.request, &token), OK);
	free(token);
	/* Empty messages. */
	send_start(fx.login, ++fx.request, "imap", "LOGIN", 1, STR(""), "127.0.0.1:9", 0);
	for (int i = 0; i < 9; i++) {
		enum err e = receive(fx.request, &token);

		if (e != E_STATE) {
			if (e != E_AUTH && e != E_PARSE)
				fail_msg("%s", err_text(e));
			return;
		}
		send_response(fx.request, STR(""));
	}
	fail_msg("an endless exchange");
}

static void
plain_without_initial(void **state)
{
	char *token;

	(void)state;
	send_start(fx.login, ++fx.request, "pop3", "PLAIN", 0, STR(""), "127.0.0.1:9", 0);
	assert_int_equal(receive(fx.request, &token), E_STATE);
	send_response(fx.request, STR("\0alice@example.test\0secret"));
	assert_int_equal(receive(fx.request, &token), OK);
	free(token);
}

static void
refused_starts(void **state)
{
	static const struct {
		const char *service, *mechanism, *peer;
		int tls;
		enum err want;
	} rows[] = {
		{"imap", "PLAIN", "192.0.2.1:5", 0, E_UNSUPPORTED},
		{"imap", "PLAIN", "192.0.2.1:5", 1, OK},
		{"imap", "PLAIN", "[::1]:5", 0, OK},
		{"imap", "PLAIN", "", 0, E_UNSUPPORTED},
		{"imap", "CRAM-MD5", "127.0.0.1:5", 1, E_UNSUPPORTED},
		{"imap", "ANONYMOUS", "127.0.0.1:5", 1, E_UNSUPPORTED},
		{"imap", "", "127.0.0.1:5", 1, E_UNSUPPORTED},
		{"gopher", "PLAIN", "127.0.0.1:5", 1, E_UNSUPPORTED},
		{"submission", "PLAIN", "127.0.0.1:5", 1, OK},
	};
	char *token;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		send_start(fx.login, ++fx.request, rows[i].service, rows[i].mechanism, 1,
			STR("\0alice@example.test\0secret"), rows[i].peer, rows[i].tls);
		if (receive(fx.request, &token) != rows[i].want)
			fail_msg("row %zu", i);
		free(token);
	}
}

/* Names and passwords of every length; none may crash the service, leak in it or hold it up. */
static void
odd_lengths(void **state)
{
	static const size_t lengths[] = {0, 1, 255, 256, 511, 1023, 1024, 1025, 5000, 16384, 16385};
	char *text = mem_alloc(16385), *token;

	(void)state;
	memset(text, 'x', 16385);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (int which = 0; which < 2; which++) {
			struct str odd = str_make(text, lengths[i]);
			enum err e;

			send_start(fx.login, ++fx.request, "imap", "LOGIN", 0, STR(""),
				"127.0.0.1:9", 0);
			assert_int_equal(receive(fx.request, &token), E_STATE);
			send_response(fx.request, which ? STR("alice@example.test") : odd);
			e = receive(fx.request, &token);
			if (e == E_STATE) {
				send_response(fx.request, which ? odd : STR("secret"));
				e = receive(fx.request, &token);
			}
			if (e != E_AUTH && e != E_PARSE)
				fail_msg("%zu bytes: %s", lengths[i], err_text(e));
		}
	}
	free(text);
}

/* ---- tokens, tickets, look-ups ---- */

static void
tokens_and_tickets(void **state)
{
	struct auth_user u;
	struct ticket t;
	char *token, unknown[TOKEN_TEXT_MAX + 1] = "";

	(void)state;
	assert_int_equal(plain("submission", STR("\0alice@example.test\0secret"), &token), OK);
	assert_int_equal(auth_redeem(fx.conf, token, "smtp", session_id, &u), OK);
	assert_string_equal(u.name, "alice@example.test");
	assert_non_null(strstr(u.home, "/mail/example.test/alice"));
	assert_int_equal(u.quota_bytes, 5000);
	assert_int_equal(ticket_check(ticket_key, str_of(u.ticket), time(NULL), &t), OK);
	assert_string_equal(t.user, u.name);
	assert_string_equal(t.home, u.home);
	ticket_free(&t);
	auth_user_free(&u);
	assert_int_equal(auth_redeem(fx.conf, token, "smtp", session_id, &u), E_TEMPFAIL);
	free(token);
	assert_int_equal(plain("imap", STR("\0alice@example.test\0secret"), &token), OK);
	assert_int_equal(auth_redeem(fx.conf, token, "pop3", session_id, &u), E_TEMPFAIL);
	assert_int_equal(auth_redeem(fx.conf, token, "imap", "session2", &u), E_TEMPFAIL);
	assert_int_equal(auth_redeem(fx.conf, token, "imap", session_id, &u), OK);
	auth_user_free(&u);
	free(token);
	assert_int_equal(auth_redeem(fx.conf, "", "imap", session_id, &u), E_TEMPFAIL);
	memset(unknown, 'a', TOKEN_TEXT_MAX);
	assert_int_equal(auth_redeem(fx.conf, unknown, "imap", session_id, &u), E_TEMPFAIL);
}

/* A session that slept: for its own id, and only as long as its user may log in. */
static void
resuming(void **state)
{
	struct auth_user u, again;
	char *token;

	(void)state;
	assert_int_equal(plain("submission", STR("\0alice@example.test\0secret"), &token), OK);
	assert_int_equal(auth_redeem(fx.conf, token, "smtp", session_id, &u), OK);
	assert_int_equal(u.resume.len, 0);
	auth_user_free(&u);
	free(token);
	assert_int_equal(plain("imap", STR("\0alice@example.test\0secret"), &token), OK);
	assert_int_equal(auth_redeem(fx.conf, token, "imap", session_id, &u), OK);
	free(token);
	assert_true(u.resume.len > 0);
	assert_int_equal(auth_resume(fx.conf, buf_str(&u.resume), session_id, &again), OK);
	assert_string_equal(again.name, u.name);
	assert_string_equal(again.home, u.home);
	assert_int_equal(again.quota_bytes, u.quota_bytes);
	assert_int_equal(again.resume.len, u.resume.len);
	auth_user_free(&again);
	assert_int_equal(auth_resume(fx.conf, buf_str(&u.resume), "two", &again), E_AUTH);
	assert_int_equal(auth_resume(fx.conf, buf_str(&u.resume), "", &again), E_AUTH);
	assert_int_equal(auth_resume(fx.conf, str_of(u.ticket), session_id, &again), E_AUTH);
	assert_int_equal(auth_resume(fx.conf, STR(""), session_id, &again), E_AUTH);
	/* Another name behind the same seal. */
	u.resume.p[u.resume.len - 1] ^= 1;
	assert_int_equal(auth_resume(fx.conf, buf_str(&u.resume), session_id, &again), E_AUTH);
	auth_user_free(&u);
}

static void
lookups(void **state)
{
	struct auth_client *c = auth_client_create(fx.conf);
	struct auth_rcpt r;
	struct auth_user u;
	char *detail;

	(void)state;
	assert_int_equal(auth_lookup_rcpt(c, STR("Alice+x@example.test"), &r), OK);
	assert_int_equal(r.kind, AUTH_RCPT_MAILBOX);
	assert_string_equal(r.detail, "x");
	assert_int_equal(r.target_count, 1);
	auth_rcpt_free(&r);
	assert_int_equal(auth_lookup_rcpt(c, STR("a@elsewhere.example"), &r), OK);
	assert_int_equal(r.kind, AUTH_RCPT_REMOTE);
	auth_rcpt_free(&r);
	assert_int_equal(auth_lookup_rcpt(c, STR("nonsense"), &r), E_PARSE);
	assert_int_equal(auth_lookup_rcpt(c, STR("alice@example.test\0x"), &r), E_PARSE);
	assert_int_equal(
		auth_may_send_as(c, "alice@example.test", STR("alice+n@example.test")), OK);
	assert_int_equal(
		auth_may_send_as(c, "alice@example.test", STR("x@example.test")), E_ACCESS);
	assert_int_equal(auth_lookup_user(c, STR("alice+Y@example.test"), &u, &detail), OK);
	assert_string_equal(u.name, "alice@example.test");
	assert_string_equal(detail, "Y");
	auth_user_free(&u);
	free(detail);
	assert_int_equal(auth_lookup_user(c, STR("bob@example.test"), &u, NULL), E_NOTFOUND);
	auth_client_free(&c);
}

/* Each listener answers its own frames only, and lives on after nonsense. */
static void
wrong_frames(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
	} rows[] = {
		{"auth-session", AUTH_LOOKUP_USER},
		{"auth-session", AUTH_LOOKUP_RCPT},
		{"auth-directory", AUTH_LOOKUP_USER},
		{"auth-directory", AUTH_REDEEM},
		{"auth-userdb", AUTH_REDEEM},
		{"auth-login", AUTH_REDEEM},
		{"auth-login", AUTH_RESUME},
		{"auth-userdb", AUTH_RESUME},
		{"auth-login", AUTH_LOOKUP_USER},
		{"auth-login", 12345},
		/* Right ones with a broken body. */
		{"auth-session", AUTH_REDEEM},
		{"auth-directory", AUTH_LOOKUP_RCPT},
		{"auth-directory", AUTH_MAY_SEND_AS},
		{"auth-userdb", AUTH_LOOKUP_USER},
		{"auth-login", AUTH_MECHANISMS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = connect_to(rows[i].name);
		struct ipc_msg m;

		assert_int_equal(ipc_send(fd, rows[i].type, 7, STR("\xff\xff\xff\xffxyz"), NULL, 0,
					 TIMEOUT_MS),
			OK);
		assert_int_equal(ipc_recv(fd, &m, TIMEOUT_MS), OK);
		assert_int_equal(m.type, AUTH_ERROR);
		assert_int_equal(m.request, 7);
		ipc_msg_free(&m);
		close(fd);
	}
	assert_int_equal(login_as("alice@example.test", "secret"), OK);
}

/* Proxies that vanish at every point. */
static void
disconnects(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++) {
		int fd = connect_to("auth-login");

		send_start(fd, 1, "imap", i % 2 ? "PLAIN" : "LOGIN", i % 4 == 1,
			STR("\0alice@example.test\0secret"), "127.0.0.1:5", 0);
		send_start(fd, 2, "imap", "PLAIN", 1, STR("\0nobody@x.test\0secret"), "127.0.0.1:5",
			0);
		if (i % 3 == 0)
			ipc_send(fd, AUTH_ABORT, 1, STR(""), NULL, 0, TIMEOUT_MS);
		if (i % 5 == 0) {
			struct ipc_msg m;

			ipc_recv(fd, &m, TIMEOUT_MS);
			ipc_msg_free(&m);
		}
		close(fd);
	}
	assert_int_equal(login_as("alice@example.test", "secret"), OK);
}

/* A failed log-in that waits holds up nobody. */
static void
penalty_is_apart(void **state)
{
	char *token;
	uint32_t bad = ++fx.request, good = ++fx.request;

	(void)state;
	send_start(fx.login, bad, "imap", "PLAIN", 1, STR("\0alice@example.test\0bad"),
		"127.0.0.1:5", 0);
	send_start(fx.login, good, "imap", "PLAIN", 1, STR("\0alice@example.test\0secret"),
		"127.0.0.1:5", 0);
	assert_int_equal(receive(good, &token), OK);
	free(token);
	assert_int_equal(receive(bad, &token), E_AUTH);
}

/* ---- administration ---- */

static void
administration(void **state)
{
	static const struct {
		const char *verb, *args;
		enum err want;
	} rows[] = {
		{"domain-add", "{\"domain\": \"example.test\"}", E_EXISTS},
		{"domain-add", "{\"domain\": \"not a domain\"}", E_PARSE},
		{"domain-add", "{}", E_PARSE},
		{"domain-add", "{\"domain\": 7}", E_PARSE},
		{"domain-add", "{\"domain\": \"two.test\"}", OK},
		{"user-add", "{\"address\": \"alice@example.test\", \"password\": \"x\"}",
			E_EXISTS},
		{"user-add", "{\"address\": \"a@no.test\", \"password\": \"x\"}", E_NOTFOUND},
		{"user-add", "{\"address\": \"a/../b@two.test\", \"password\": \"x\"}", E_PARSE},
		{"user-add", "{\"address\": \"a@two.test\"}", E_PARSE},
		{"user-add", "{\"address\": \"a@two.test\", \"password\": \"\"}", E_PARSE},
		{"user-add", "{\"address\": \"a@two.test\", \"password\": \"x\", \"quota\": -1}",
			E_PARSE},
		{"user-add",
			"{\"address\": \"a@two.test\", \"password\": \"x\", \"name\": \"A'; --\"}",
			OK},
		{"user-show", "{\"address\": \"a@two.test\"}", OK},
		{"user-show", "{\"address\": \"b@two.test\"}", E_NOTFOUND},
		{"user-set", "{\"address\": \"a@two.test\"}", E_PARSE},
		{"user-set", "{\"address\": \"b@two.test\", \"active\": false}", E_NOTFOUND},
		{"user-set", "{\"address\": \"a@two.test\", \"active\": 1}", E_PARSE},
		{"user-set", "{\"address\": \"a@two.test\", \"active\": false}", OK},
		{"alias-add", "{\"address\": \"l@two.test\", \"targets\": []}", E_PARSE},
		{"alias-add", "{\"address\": \"l@two.test\", \"targets\": [\"a@two.test\", 7]}",
			E_PARSE},
		{"alias-add",
			"{\"address\": \"l@two.test\", \"targets\": [\"a@two.test\", \"B@x.test\"]}",
			OK},
		{"alias-add", "{\"address\": \"l@two.test\", \"targets\": [\"a@two.test\"]}",
			E_EXISTS},
		{"alias-add", "{\"address\": \"@two.test\", \"targets\": [\"a@two.test\"]}", OK},
		{"alias-add", "{\"address\": \"l@no.test\", \"targets\": [\"a@two.test\"]}",
			E_NOTFOUND},
		{"alias-remove", "{\"address\": \"@two.test\"}", OK},
		{"alias-remove", "{\"address\": \"@two.test\"}", E_NOTFOUND},
		{"domain-alias-add", "{\"alias\": \"three.test\", \"target\": \"two.test\"}", OK},
		{"domain-alias-add", "{\"alias\": \"three.test\", \"target\": \"two.test\"}",
			E_EXISTS},
		{"domain-alias-add", "{\"alias\": \"two.test\", \"target\": \"two.test\"}",
			E_EXISTS},
		{"domain-alias-add", "{\"alias\": \"four.test\", \"target\": \"no.test\"}",
			E_NOTFOUND},
		{"domain-add", "{\"domain\": \"three.test\"}", E_EXISTS},
		{"domain-remove", "{\"domain\": \"two.test\"}", E_CONFLICT},
		{"domain-remove", "{\"domain\": \"two.test\", \"force\": true}", OK},
		{"domain-remove", "{\"domain\": \"two.test\"}", E_NOTFOUND},
		{"domain-alias-remove", "{\"alias\": \"three.test\"}", E_NOTFOUND},
		{"domain-set", "{\"domain\": \"no.test\", \"active\": true}", E_NOTFOUND},
		{"cache-flush", "{\"user\": \"x\"}", E_PARSE},
		{"cache-flush", "{}", OK},
		{"no-such-verb", "{}", E_UNSUPPORTED},
	};
	json_t *result;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum err e = admin(rows[i].verb, rows[i].args, NULL);

		if (e != rows[i].want)
			fail_msg("%s %s: %s", rows[i].verb, rows[i].args, err_text(e));
	}
	assert_int_equal(admin("user-list", "{}", &result), OK);
	assert_int_equal(json_array_size(result), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(result, 0), "address")),
		"alice@example.test");
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(result, 0), "quota_bytes")),
		5000);
	json_decref(result);
	assert_int_equal(admin("domain-list", "{}", &result), OK);
	assert_int_equal(json_array_size(result), 1);
	json_decref(result);
	assert_int_equal(admin("status", "{}", &result), OK);
	assert_true(json_is_true(json_object_get(result, "database_up")));
	json_decref(result);
}

static void
changed_passwords(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(login_as("alice@example.test", "secret"), OK);
		assert_int_equal(
			admin("user-set",
				"{\"address\": \"alice@example.test\", \"password\": \"new\"}",
				NULL),
			OK);
		assert_int_equal(login_as("alice@example.test", "secret"), E_AUTH);
		assert_int_equal(login_as("alice@example.test", "new"), OK);
		assert_int_equal(admin("domain-set",
					 "{\"domain\": \"example.test\", \"active\": false}", NULL),
			OK);
		assert_int_equal(login_as("alice@example.test", "new"), E_ACCESS);
		assert_int_equal(admin("domain-set",
					 "{\"domain\": \"example.test\", \"active\": true}", NULL),
			OK);
		assert_int_equal(
			admin("user-set",
				"{\"address\": \"alice@example.test\", \"password\": \"secret\"}",
				NULL),
			OK);
	}
}

/* Twenty log-ins under way at any time, for as long as the environment says. */
static void
bench(void **state)
{
	const char *seconds = getenv("ROOST_AUTH_BENCH");
	int64_t start = io_now_ms(), end;
	uint32_t sent = 0, received = 0, first = fx.request + 1;

	(void)state;
	if (!seconds)
		skip();
	end = start + atoi(seconds) * 1000;
	while (sent != received || io_now_ms() < end) {
		struct ipc_msg m;

		while (sent - received < 20 && io_now_ms() < end)
			send_start(fx.login, first + sent++, "imap", "PLAIN", 1,
				STR("\0alice@example.test\0secret"), "127.0.0.1:5", 0);
		if (sent == received)
			break;
		assert_int_equal(ipc_recv(fx.login, &m, TIMEOUT_MS), OK);
		assert_int_equal(m.type, AUTH_DONE);
		ipc_msg_free(&m);
		received++;
	}
	fx.request += sent;
	printf("log-ins a second: %.0f\n", received * 1000.0 / (double)(io_now_ms() - start));
}

/* The last test: a failed teardown would not fail the program. */
static void
ends_cleanly(void **state)
{
	int status;

	(void)state;
	close(fx.login);
	status = service_end();
	fx.pid = 0;
	if (status != 0 || getenv("ROOST_AUTH_LOG")) {
		char *show = mem_printf("cat %s/log >&2", fx.dir);

		assert_int_equal(system(show), 0);
		free(show);
	}
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_table),
		cmocka_unit_test(login_mechanism),
		cmocka_unit_test(plain_without_initial),
		cmocka_unit_test(refused_starts),
		cmocka_unit_test(odd_lengths),
		cmocka_unit_test(tokens_and_tickets),
		cmocka_unit_test(resuming),
		cmocka_unit_test(lookups),
		cmocka_unit_test(wrong_frames),
		cmocka_unit_test(disconnects),
		cmocka_unit_test(penalty_is_apart),
		cmocka_unit_test(administration),
		cmocka_unit_test(changed_passwords),
		cmocka_unit_test(bench),
		cmocka_unit_test(ends_cleanly),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
