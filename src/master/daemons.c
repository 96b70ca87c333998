/* SPDX-License-Identifier: MIT */
#include "master/daemons.h"

#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static const char *const auth_restart_for[] = {
	"db", "sqlite_path", "oauth_jwks", "oauth_introspection_url", "passwd_file", NULL};
/* What its lists and tables were made from. */
static const char *const smtpd_restart_for[] = {"smtpd_*", "submission_restrictions", "*_checks",
	"body_checks_size_limit", "*_maps", "masquerade_*", "recipient_delimiter", "local_domains",
	"relay_clientcerts", "mynetworks", "hostname", "dns_resolvers", "srs_*",
	"postscreen_dnsbl_sites", "pipe_transports", NULL};

static const char *const smtp_restart_for[] = {"smtp_tls_*", "smtp_sasl_*", "smtp_bind_*",
	"smtp_generic_maps", "smtp_header_checks", "recipient_delimiter", "dns_resolvers",
	"dns_trust_anchor", "srs_*", NULL};

static const char *const local_restart_for[] = {"*_maps", "masquerade_*", "recipient_delimiter",
	"local_domains", "alias_*", "allow_mail_to_*", "pipe_transports", "forward_path",
	"hostname", "srs_*", NULL};

static const char *const srs_restart_for[] = {"srs_*", NULL};

const struct daemon_def daemon_defs[] = {
	{
		.name = "auth",
		.program = "roost-auth",
		.user = DAEMON_USER,
		.secrets = SECRET_TICKET | SECRET_DATABASE,
		.stage = STAGE_STORES,
		.tokens = 1,
		.restart_for = auth_restart_for,
		.unix_ =
			{
				{"auth-login", "auth-login", DAEMON_USER, 0600},
				{"auth-session", "auth-session", DAEMON_MAIL_USER, 0600},
				{"auth-directory", "auth-directory", DAEMON_MAIL_USER, 0600},
				{"auth-userdb", "auth-userdb", DAEMON_MAIL_USER, 0600},
			},
	},
	{
		.name = "index",
		.program = "roost-index",
		.user = DAEMON_MAIL_USER,
		.secrets = SECRET_TICKET,
		.stage = STAGE_STORES,
		.unix_ = {{"index", "index", DAEMON_MAIL_USER, 0600},
			{"index-sleep", "index-sleep", DAEMON_USER, 0600}},
	},
	{
		.name = "fts",
		.program = "roost-fts",
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_STORES,
		.unix_ = {{"fts", "fts", DAEMON_MAIL_USER, 0600},
			{"fts-feed", "fts-feed", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "lmtp",
		.program = "roost-lmtp",
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_DELIVERY,
		.unix_ = {{"lmtp-handover", "lmtp-handover", DAEMON_USER, 0600},
			{"lmtp-local", "lmtp", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "imap",
		.program = "roost-imap",
		.user = DAEMON_MAIL_USER,
		.secrets = SECRET_SLEEP,
		.stage = STAGE_CLIENTS,
		.unix_ = {{"imap", "imap", DAEMON_USER, 0600},
			{"imap-wake", "imap-wake", DAEMON_USER, 0600}},
	},
	{
		.name = "idle",
		.program = "roost-idle",
		.user = DAEMON_USER,
		.stage = STAGE_CLIENTS,
		.unix_ = {{"idle", "idle", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "pop3",
		.program = "roost-pop3",
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_CLIENTS,
		.unix_ = {{"pop3", "pop3", DAEMON_USER, 0600}},
	},
	{
		.name = "smtpd",
		.program = "roost-smtpd",
		.checks = 1,
		.restart_for = smtpd_restart_for,
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_CLIENTS,
		/* Any local user may send, as with every sendmail. */
		.unix_ = {{"smtpd", "smtpd", DAEMON_USER, 0600},
			{"sendmail", "sendmail", DAEMON_ROOT, 0666}},
	},
	{
		.name = "qmgr",
		.program = "roost-qmgr",
		.checks = 1,
		.restart_for = srs_restart_for,
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_DELIVERY,
		.unix_ = {{"qmgr", "qmgr", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "smtp",
		.program = "roost-smtp",
		.checks = 1,
		.restart_for = smtp_restart_for,
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_DELIVERY,
		.rests = 1,
		.unix_ = {{"smtp-out", "smtp-out", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "lmtp-client",
		.program = "roost-lmtp-client",
		.restart_for = srs_restart_for,
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_DELIVERY,
		.rests = 1,
		.unix_ = {{"lmtp-out", "lmtp-out", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "local",
		.program = "roost-local",
		.checks = 1,
		.restart_for = local_restart_for,
		.user = DAEMON_MAIL_USER,
		.stage = STAGE_DELIVERY,
		.rests = 1,
		.unix_ = {{"local-out", "local-out", DAEMON_MAIL_USER, 0600}},
	},
	{
		/* Stays root, to become default_privs or a user of the system for each delivery. */
		.name = "local-run",
		.program = "roost-local-run",
		.user = DAEMON_ROOT,
		.stage = STAGE_DELIVERY,
		.unix_ = {{"local-run", "local-run", DAEMON_MAIL_USER, 0600}},
	},
	{
		.name = "metrics",
		.program = "roost-metrics",
		.user = DAEMON_USER,
		.stage = STAGE_CLIENTS,
		.metrics = 1,
		.tcp = {{"metrics-http", "listen_metrics"}},
	},
	{
		.name = "proxy",
		.program = "roost-proxy",
		.user = DAEMON_USER,
		.secrets = SECRET_TLS,
		.stage = STAGE_CLIENTS,
		.last = 1,
		.per_core = 1,
		.limits = 1,
		.tcp = {{"smtp", "listen_smtp"}, {"submission", "listen_submission"},
			{"submissions", "listen_submissions"}, {"reinject", "listen_reinject"},
			{"imap", "listen_imap"}, {"imaps", "listen_imaps"}, {"pop3", "listen_pop3"},
			{"pop3s", "listen_pop3s"}, {"lmtp", "listen_lmtp"}},
		.unix_ = {{"proxy-return", "proxy-return", DAEMON_MAIL_USER, 0600}},
	},
};

const size_t daemon_def_count = sizeof daemon_defs / sizeof *daemon_defs;

unsigned
daemon_wanted(const struct daemon_def *def, const struct config *conf)
{
	long cores;

	if (strcmp(def->name, "fts") == 0 && !conf->fts)
		return 0;
	if ((strcmp(def->name, "local") == 0 || strcmp(def->name, "local-run") == 0) &&
		conf->local_domains.count == 0 && conf->pipe_transports.count == 0)
		return 0;
	if (!def->per_core)
		return 1;
	if (conf->proxy_processes > 0)
		return (unsigned)conf->proxy_processes;
	cores = sysconf(_SC_NPROCESSORS_ONLN);
	return cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
}

static int
differs(const char *name, const struct config *was, const struct config *is)
{
	struct buf a = {0}, b = {0};
	int differ;

	conf_value_text(was, name, &a);
	conf_value_text(is, name, &b);
	differ = !str_equal(buf_str(&a), buf_str(&b));
	buf_free(&a);
	buf_free(&b);
	return differ;
}

int
daemon_must_restart(const struct daemon_def *def, const struct config *was, const struct config *is)
{
	size_t count;
	const struct conf_row *rows = conf_rows(&count);

	for (const char *const *want = def->restart_for; want && *want; want++)
		for (size_t i = 0; i < count; i++)
			if (fnmatch(*want, rows[i].name, 0) == 0 && differs(rows[i].name, was, is))
				return 1;
	return 0;
}

const char *
daemon_user_name(enum daemon_user user, const struct config *conf)
{
	switch (user) {
	case DAEMON_USER:
		return conf->user;
	case DAEMON_MAIL_USER:
		return conf->mail_user;
	case DAEMON_ROOT:
		break;
	}
	return "";
}

const struct conf_list *
daemon_addresses(const struct daemon_tcp *tcp, const struct config *conf)
{
	static const struct {
		const char *setting;
		size_t offset;
	} lists[] = {
		{"listen_smtp", offsetof(struct config, listen_smtp)},
		{"listen_submission", offsetof(struct config, listen_submission)},
		{"listen_submissions", offsetof(struct config, listen_submissions)},
		{"listen_reinject", offsetof(struct config, listen_reinject)},
		{"listen_imap", offsetof(struct config, listen_imap)},
		{"listen_imaps", offsetof(struct config, listen_imaps)},
		{"listen_pop3", offsetof(struct config, listen_pop3)},
		{"listen_pop3s", offsetof(struct config, listen_pop3s)},
		{"listen_lmtp", offsetof(struct config, listen_lmtp)},
		{"listen_metrics", offsetof(struct config, listen_metrics)},
	};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (strcmp(lists[i].setting, tcp->setting) == 0)
			return (const struct conf_list *)((const char *)conf + lists[i].offset);
	log_bug(__FILE__, __LINE__, "listener without a setting");
}
