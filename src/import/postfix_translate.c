/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "import/postfix_translate.h"

#include <stdlib.h>
#include <string.h>

#include "import/postfix_directory.h"
#include "import/postfix_pipe.h"
#include "lib/conf.h"
#include "lib/mem.h"

/* One run. */
struct run {
	const struct postfix_main *m;
	const struct postfix_master *services;
	struct config *check; /* takes each value, so that what is written is what Roost takes */
	struct buf *conf, *left;
	struct postfix_directory directory;
	const char *filter; /* content_filter, wherever it stands; or NULL */
};

enum how {
	SAME, /* a setting of Roost has this name, too */
	TABLES, /* the same, a list of tables */
	RENAMED,
	ELSEWHERE, /* text says where Roost has it */
	SILENT, /* no meaning outside of Postfix's own machinery */
};

/* What is not of the same name, or needs a word. */
static const struct {
	const char *name;
	enum how how;
	const char *text; /* RENAMED: Roost's name; ELSEWHERE: the reason */
} known[] = {
	{"myhostname", RENAMED, "hostname"},
	{"message_size_limit", RENAMED, "max_message_size"},
	{"smtpd_tls_cert_file", RENAMED, "tls_cert"},
	{"smtpd_tls_key_file", RENAMED, "tls_key"},
	{"smtpd_client_connection_count_limit", RENAMED, "max_connections_per_ip"},
	{"smtpd_tls_protocols", ELSEWHERE, "tls_min_version"},
	{"smtpd_tls_mandatory_protocols", ELSEWHERE, "tls_min_version"},
	{"smtpd_tls_security_level", ELSEWHERE, "STARTTLS is always offered; log-ins need it"},
	{"smtpd_use_tls", ELSEWHERE, "STARTTLS is always offered"},
	{"smtpd_tls_auth_only", ELSEWHERE, "always so (allow_plaintext_auth)"},
	{"smtpd_tls_chain_files", ELSEWHERE, "tls_cert and tls_key"},
	{"smtpd_sasl_type", ELSEWHERE, "roost-auth checks log-ins itself"},
	{"smtpd_sasl_path", ELSEWHERE, "roost-auth checks log-ins itself"},
	{"smtpd_sasl_auth_enable", ELSEWHERE, "log-ins are for the submission ports"},
	{"smtpd_sasl_security_options", ELSEWHERE, "auth_mechanisms"},
	{"smtpd_sasl_local_domain", ELSEWHERE, "users log in with their whole address"},
	{"broken_sasl_auth_clients", ELSEWHERE, "not needed"},
	{"virtual_mailbox_domains", ELSEWHERE,
		"the directory: roostctl domain add, or queries of your database"},
	{"virtual_mailbox_maps", ELSEWHERE,
		"the directory: roostctl user add, or queries of your database"},
	{"virtual_mailbox_base", ELSEWHERE, "mail_dir"},
	{"sender_canonical_classes", ELSEWHERE, "envelope and header; for postsrsd see srs_domain"},
	{"recipient_canonical_classes", ELSEWHERE,
		"envelope and header; for postsrsd see srs_domain"},
	{"postscreen_dnsbl_whitelist_threshold", RENAMED, "postscreen_dnsbl_allowlist_threshold"},
	{"postscreen_access_list", ELSEWHERE, "clients in mynetworks are not tested"},
	{"postscreen_cache_map", SILENT, NULL},
	{"virtual_transport", ELSEWHERE, "mail for the directory's domains goes to roost-lmtp"},
	{"mailbox_transport", ELSEWHERE, "mail for the directory's domains goes to roost-lmtp"},
	{"virtual_uid_maps", ELSEWHERE, "mail_user"},
	{"virtual_gid_maps", ELSEWHERE, "mail_user"},
	{"virtual_minimum_uid", ELSEWHERE, "mail_user"},
	{"virtual_alias_domains", ELSEWHERE, "the directory: roostctl domain add"},
	{"mydestination", ELSEWHERE,
		"the directory: roostctl domain add; for aliases of this machine local_domains"},
	{"local_recipient_maps", ELSEWHERE,
		"the directory, alias_maps, and users with a .forward (forward_path)"},
	{"alias_maps", ELSEWHERE,
		"alias_maps with local_domains (roost-local(8)); the directory: roostctl alias add"},
	{"alias_database", SILENT, NULL},
	{"home_mailbox", ELSEWHERE,
		"mail_dir; users of the system may have such a line in .forward"},
	{"mailbox_command", ELSEWHERE,
		"mail is delivered by roost-lmtp; users of the system may have a command in .forward"},
	{"mailbox_size_limit", ELSEWHERE, "the quota of each user: roostctl user set --quota"},
	{"inet_interfaces", ELSEWHERE, "listen_smtp, listen_submission, listen_submissions"},
	{"inet_protocols", ELSEWHERE, "listen_smtp, listen_submission, listen_submissions"},
	{"smtpd_banner", ELSEWHERE, "the greeting is the host's name and ESMTP Roost"},
	{"biff", SILENT, NULL},
	{"append_dot_mydomain", SILENT, NULL},
	{"readme_directory", SILENT, NULL},
	{"html_directory", SILENT, NULL},
	{"manpage_directory", SILENT, NULL},
	{"sample_directory", SILENT, NULL},
	{"compatibility_level", SILENT, NULL},
	{"command_directory", SILENT, NULL},
	{"daemon_directory", SILENT, NULL},
	{"data_directory", SILENT, NULL},
	{"queue_directory", SILENT, NULL},
	{"config_directory", SILENT, NULL},
	{"mail_owner", SILENT, NULL},
	{"setgid_group", SILENT, NULL},
	{"sendmail_path", SILENT, NULL},
	{"newaliases_path", SILENT, NULL},
	{"mailq_path", SILENT, NULL},
	{"mydomain", SILENT, NULL},
	{"myorigin", ELSEWHERE, "hostname"},
	{"smtpd_proxy_options", ELSEWHERE, "messages go to the filter when they are complete"},
	{"milter_protocol", SILENT, NULL},
	{"smtp_send_xforward_command", ELSEWHERE, "filters that offer XFORWARD get it"},
	{"lmtp_send_xforward_command", ELSEWHERE, "filters that offer XFORWARD get it"},
	{"smtputf8_autodetect_classes", ELSEWHERE,
		"an address beyond ASCII wants SMTPUTF8, whoever sends it"},
	{"smtpd_tls_session_cache_database", SILENT, NULL},
	{"smtp_tls_session_cache_database", SILENT, NULL},
	{"smtp_tls_CApath", SILENT, NULL},
};

static void
leave(struct run *r, const char *name, const char *reason)
{
	buf_printf(r->left, "%s: %s\n", name, reason);
}

static const struct conf_row *
row_of(const char *name)
{
	size_t n, i;
	const struct conf_row *rows = conf_rows(&n);

	for (i = 0; i < n; i++) {
		if (!rows[i].internal && strcmp(rows[i].name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

/* ---- values ---- */

/*
 * A word that names a table: the compiled ones are read as the text that they are made from, and
 * what Postfix reaches through its proxy Roost reaches by itself. 0: Roost has no such table.
 */
static int
put_table(struct str word, struct buf *out)
{
	static const char *const files[] = {"hash:", "btree:", "texthash:", "dbm:", "cdb:"};
	static const char *const none[] = {
		"ldap:", "mysql:", "nis:", "nisplus:", "memcache:", "pipemap:", "unionmap:",
		"socketmap:", "environ:", "randmap:", "netinfo:", "nisplus:"};
	size_t i;

	while (str_starts_i(word, "proxy:"))
		word = str_make(word.p + 6, word.len - 6);
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		if (str_starts_i(word, none[i]))
			return 0;
	}
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		size_t n = strlen(files[i]);

		if (!str_starts_i(word, files[i]))
			continue;
		buf_printf(out, "file:%.*s", (int)(word.len - n), word.p + n);
		return 1;
	}
	/* A path alone is of the default type. */
	if (word.len > 0 && word.p[0] == '/')
		buf_add_cstr(out, "file:");
	buf_add_str(out, word);
	return 1;
}

/* "unix:private/x" is below Postfix's queue directory. */
static void
put_endpoint(struct run *r, struct str word, struct buf *out)
{
	struct str kind = word, path;
	size_t colon = str_find(word, 0, ':');

	kind.len = colon;
	path = colon < word.len ? str_make(word.p + colon + 1, word.len - colon - 1) : word;
	if (!str_is_i(kind, "unix") || path.len == 0 || path.p[0] == '/') {
		buf_add_str(out, word);
		return;
	}
	buf_add_cstr(out, "unix:");
	(void)postfix_main_expand(r->m, STR("$queue_directory"), out);
	buf_printf(out, "/%.*s", STR_ARG(path));
}

/* How postsrsd is asked, in its versions 2 and 1. */
static int
is_srs(struct str word)
{
	return (str_starts_i(word, "socketmap:") &&
		       (str_ends_i(word, ":forward") || str_ends_i(word, ":reverse"))) ||
	       ((str_starts_i(word, "tcp:localhost:") || str_starts_i(word, "tcp:127.0.0.1:")) &&
		       (str_ends_i(word, ":10001") || str_ends_i(word, ":10002")));
}

static int
is_endpoint(struct str word)
{
	return str_starts_i(word, "unix:") || str_starts_i(word, "inet:");
}

/* Parameters in it are replaced when it is used. */
static int
is_raw(const char *name)
{
	return strcmp(name, "forward_path") == 0;
}

/* Of a setting that takes no others: whether Roost has this one. */
static int
is_known_word(struct run *r, const char *name, struct str word)
{
	const struct conf_row *row = row_of(name);
	char *text;
	enum err e;

	if (row == NULL || strcmp(row->type, "LIST") != 0 || strchr(row->unit, '|') == NULL)
		return 1;
	text = str_dup(word);
	e = conf_set(r->check, name, text, NULL);
	free(text);
	return e == OK;
}

/* A list: each word on its own, tables and endpoints in Roost's form. */
static int
put_list(struct run *r, const char *name, struct str value, struct buf *out, struct buf *plain)
{
	struct buf one = {0};
	struct str word;
	size_t n = 0;
	int good = 1;

	buf_add_char(out, '{');
	while (postfix_next_word(&value, &word)) {
		buf_reset(&one);
		if (strcmp(name, "virtual_alias_maps") == 0 &&
			postfix_directory_covers(&r->directory, word)) {
			buf_printf(r->left, "%s: the directory reads %.*s itself\n", name,
				STR_ARG(word));
			continue;
		}
		if (!is_known_word(r, name, word)) {
			buf_printf(r->left, "%s: Roost does not have the word %.*s\n", name,
				STR_ARG(word));
			continue;
		}
		if (is_raw(name)) {
			buf_add_str(&one, word);
		} else if (is_endpoint(word)) {
			put_endpoint(r, word, &one);
		} else if (str_find(word, 0, ':') < word.len || word.p[0] == '/') {
			if (str_find(word, 0, ':') < word.len && word.p[0] == '[') {
				buf_add_str(&one, word);
			} else if (is_srs(word)) {
				buf_printf(r->left,
					"%s: %.*s: SRS is part of Roost: srs_domain, and srs_secrets = "
					"\"/etc/postsrsd.secret\"\n",
					name, STR_ARG(word));
				good = 0;
				continue;
			} else if (!put_table(word, &one)) {
				buf_printf(r->left, "%s: there is no table %.*s\n", name,
					STR_ARG(word));
				good = 0;
				continue;
			}
		} else {
			buf_add_str(&one, word);
		}
		buf_printf(out, "%s", n++ ? ", " : "");
		postfix_quote(buf_str(&one), out);
		buf_printf(plain, "%s%s", plain->len ? " " : "", buf_cstr(&one));
	}
	buf_add_char(out, '}');
	buf_free(&one);
	return good;
}

/* "1d" is Postfix's and ours; "w" is weeks; a bare number is seconds. */
static void
put_duration(struct str value, struct buf *out)
{
	uint32_t n;

	if (value.len > 1 && str_lower(value.p[value.len - 1]) == 'w' &&
		str_to_u32(str_make(value.p, value.len - 1), &n) == OK)
		buf_printf(out, "%lud", (unsigned long)n * 7);
	else
		buf_add_str(out, value);
}

static void
write_setting(struct run *r, const char *from, const char *name, struct str value)
{
	const struct conf_row *row = row_of(name);
	struct buf text = {0}, plain = {0}, why = {0};
	enum err e;

	if (strcmp(row->type, "LIST") == 0) {
		(void)put_list(r, from, value, &text, &plain);
	} else {
		if (strcmp(row->type, "DURATION") == 0)
			put_duration(value, &plain);
		else if (strcmp(name, "relayhost") == 0 || !is_endpoint(value))
			buf_add_str(&plain, value);
		else
			put_endpoint(r, value, &plain);
		postfix_quote(buf_str(&plain), &text);
	}
	e = conf_set(r->check, name, buf_cstr(&plain), &why);
	if (e)
		buf_printf(r->left, "%s: Roost does not take %s: %s\n", from, buf_cstr(&plain),
			why.len ? buf_cstr(&why) : err_text(e));
	else
		buf_printf(r->conf, "%s = %s\n", name, buf_cstr(&text));
	buf_free(&text);
	buf_free(&plain);
	buf_free(&why);
}

/* ---- content filters ---- */

static const struct postfix_service *
service_of(const struct run *r, struct str name)
{
	size_t i;

	for (i = 0; i < r->services->count; i++) {
		if (str_is(name, r->services->v[i].name) &&
			strcmp(r->services->v[i].type, "inet") != 0)
			return &r->services->v[i];
	}
	return NULL;
}

/* "amavis:[127.0.0.1]:10024": the transport's name stands for a program of master.cf. */
static void
write_filter(struct run *r, const char *from, struct str value)
{
	struct str hop = value, name = str_split(&hop, ':');
	const struct postfix_service *s = service_of(r, name);
	const char *program = s ? s->command : NULL;
	struct buf text = {0};

	if (str_is(name, "smtp") || str_is(name, "relay") || str_is(name, "lmtp"))
		program = str_is(name, "lmtp") ? "lmtp" : "smtp";
	if (s && postfix_pipe_is_written(r->m, s, r->filter)) {
		write_setting(r, from, "content_filter", value);
		return;
	}
	if (program == NULL || hop.len == 0 ||
		(strcmp(program, "smtp") != 0 && strcmp(program, "lmtp") != 0)) {
		buf_printf(r->left, "%s: filters are reached by smtp, lmtp or pipe, not by %.*s\n",
			from, STR_ARG(value));
		return;
	}
	buf_printf(&text, "%s:", program);
	if (is_endpoint(hop))
		put_endpoint(r, hop, &text);
	else
		buf_add_str(&text, hop);
	write_setting(r, from, "content_filter", buf_str(&text));
	buf_free(&text);
}

/* What is left to the port behind the filter; addresses are rewritten before it. */
static void
write_overrides(struct run *r, struct str value)
{
	struct buf kept = {0};
	struct str word;

	while (postfix_next_word(&value, &word)) {
		if (str_is(word, "no_milters") || str_is(word, "no_header_body_checks"))
			buf_printf(&kept, "%s%.*s", kept.len ? " " : "", STR_ARG(word));
		else
			buf_printf(r->left,
				"receive_override_options: %.*s is for reinject_override_options\n",
				STR_ARG(word));
	}
	if (kept.len > 0)
		write_setting(
			r, "receive_override_options", "receive_override_options", buf_str(&kept));
	buf_free(&kept);
}

/* 1: it was a setting of these. */
static int
translate_filters(struct run *r, const char *name, struct str value)
{
	if (strcmp(name, "content_filter") == 0 && value.len > 0)
		write_filter(r, name, value);
	else if (strcmp(name, "receive_override_options") == 0)
		write_overrides(r, value);
	else
		return strcmp(name, "content_filter") == 0;
	return 1;
}

/* ---- main.cf ---- */

static void
translate(struct run *r, const struct postfix_setting *s)
{
	struct buf value = BUF_INIT(POSTFIX_VALUE_MAX);
	size_t i;

	if (is_raw(s->name)) {
		buf_add_cstr(&value, s->value);
	} else if (postfix_main_expand(r->m, str_of(s->value), &value)) {
		leave(r, s->name, "its value refers to itself");
		goto out;
	}
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, s->name) != 0)
			continue;
		if (known[i].how == RENAMED && row_of(known[i].text))
			write_setting(r, s->name, known[i].text, buf_str(&value));
		else if (known[i].how == ELSEWHERE)
			leave(r, s->name, known[i].text);
		goto out;
	}
	if (translate_filters(r, s->name, buf_str(&value)))
		goto out;
	if (row_of(s->name))
		write_setting(r, s->name, s->name, buf_str(&value));
	else if (!postfix_pipe_has_setting(r->services, s->name))
		leave(r, s->name, "no counterpart");
out:
	buf_free(&value);
}

/* The database of the virtual users is the directory's, too. */
static void
write_directory(struct run *r)
{
	const struct postfix_directory *d = &r->directory;

	if (d->dsn == NULL)
		return;
	buf_printf(r->conf, "# From %s; the password is in it.\n", d->file);
	write_setting(r, d->file, "db", STR("postgresql"));
	write_setting(r, d->file, "postgresql", str_of(d->dsn));
	if (d->postfixadmin)
		write_setting(r, d->file, "directory_schema", STR("postfixadmin"));
	else
		leave(r, d->file,
			"the tables are not PostfixAdmin's: \"roostctl db init\" makes Roost's own beside "
			"them, or give your queries (query_user, query_alias ... in roost.conf(5))");
}

/* ---- master.cf ---- */

static int
says_yes(const char *value)
{
	return value && strcmp(value, "yes") == 0;
}

/* "smtp", "25", "127.0.0.1:25", "[::1]:submission" to an address of ours. */
static void
put_listener(struct str name, struct buf *out)
{
	static const char *const ports[][2] = {
		{"smtp", "25"}, {"smtps", "465"}, {"submissions", "465"}, {"submission", "587"}};
	size_t colon = name.len, i;
	struct str port;

	while (colon > 0 && name.p[colon - 1] != ':')
		colon--;
	if (colon > 0)
		buf_add(out, name.p, colon);
	else
		buf_add_cstr(out, "*:");
	port = str_make(name.p + colon, name.len - colon);
	for (i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		if (str_is_i(port, ports[i][0])) {
			buf_add_cstr(out, ports[i][1]);
			return;
		}
	}
	buf_add_str(out, port);
}

struct listeners {
	struct buf smtp, submission, submissions, reinject;
};

static int
is_reinject(const struct postfix_service *s)
{
	const char *filter = postfix_service_option(s, "content_filter");

	return filter && filter[0] == '\0';
}

/* The port on which filters give mail back, and what it says for itself. */
static void
take_reinject(struct run *r, const struct postfix_service *s, struct buf *list)
{
	static const char *const own[][2] = {
		{"receive_override_options", "reinject_override_options"},
		{"mynetworks", "reinject_networks"},
		{"smtpd_authorized_xforward_hosts", "smtpd_authorized_xforward_hosts"}};
	size_t i;

	if (list->len > 0)
		buf_add_char(list, ' ');
	put_listener(str_of(s->name), list);
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		const char *value = postfix_service_option(s, own[i][0]);
		struct buf text = {0};

		if (value && postfix_main_expand(r->m, str_of(value), &text) == OK)
			write_setting(r, "master.cf", own[i][1], buf_str(&text));
		buf_free(&text);
	}
}

/* An option of the port for everybody. 1: it is carried over. */
static int
take_smtp_option(struct run *r, const struct postfix_option *o)
{
	if (strcmp(o->name, "content_filter") == 0)
		write_filter(r, "master.cf content_filter", str_of(o->value));
	else if (strncmp(o->name, "smtpd_proxy_", 12) == 0 && row_of(o->name))
		write_setting(r, "master.cf", o->name, str_of(o->value));
	else
		return 0;
	return 1;
}

static void
take_smtpd(struct run *r, const struct postfix_service *s, struct listeners *l)
{
	struct buf *to = &l->smtp;
	size_t i;

	if (is_reinject(s)) {
		take_reinject(r, s, &l->reinject);
		return;
	}
	if (says_yes(postfix_service_option(s, "smtpd_tls_wrappermode")) ||
		strcmp(s->name, "smtps") == 0 || strcmp(s->name, "submissions") == 0)
		to = &l->submissions;
	else if (says_yes(postfix_service_option(s, "smtpd_sasl_auth_enable")) ||
		 strcmp(s->name, "submission") == 0)
		to = &l->submission;
	if (to->len > 0)
		buf_add_char(to, ' ');
	put_listener(str_of(s->name), to);
	if (to != &l->smtp)
		return; /* what Roost does on those ports is what their options mostly say */
	for (i = 0; i < s->option_count; i++) {
		if (!take_smtp_option(r, &s->options[i]))
			buf_printf(r->left,
				"master.cf %s -o %s: options of one port are not carried over\n",
				s->name, s->options[i].name);
	}
}

static void
write_listeners(struct run *r, const char *name, const struct buf *list)
{
	write_setting(r, "master.cf", name, buf_str(list));
}

static void
translate_master(struct run *r)
{
	static const char *const own[] = {"pickup", "cleanup", "qmgr", "nqmgr", "tlsmgr",
		"trivial-rewrite", "bounce", "defer", "trace", "verify", "flush", "proxymap",
		"proxywrite", "smtp", "relay", "showq", "error", "retry", "discard", "local",
		"virtual", "lmtp", "anvil", "scache", "postlog", "dnsblog", "tlsproxy", "smtpd"};
	struct listeners l = {0};
	size_t i, k;

	for (i = 0; i < r->services->count; i++) {
		const struct postfix_service *s = &r->services->v[i];

		if (strcmp(s->command, "smtpd") == 0 && strcmp(s->type, "inet") == 0) {
			take_smtpd(r, s, &l);
			continue;
		}
		if (strcmp(s->command, "postscreen") == 0) {
			put_listener(str_of(s->name), &l.smtp);
			write_setting(r, "master.cf", "postscreen", STR("yes"));
			continue;
		}
		for (k = 0; k < sizeof(own) / sizeof(own[0]); k++) {
			if (strcmp(s->command, own[k]) == 0)
				break;
		}
		if (k == sizeof(own) / sizeof(own[0]) && strcmp(s->command, "pipe") != 0)
			buf_printf(r->left, "master.cf %s: the service %s has no counterpart\n",
				s->name, s->command);
	}
	postfix_pipe_write(r->m, r->services, r->filter, r->conf, r->left);
	write_listeners(r, "listen_smtp", &l.smtp);
	write_listeners(r, "listen_submission", &l.submission);
	write_listeners(r, "listen_submissions", &l.submissions);
	write_listeners(r, "listen_reinject", &l.reinject);
	buf_free(&l.smtp);
	buf_free(&l.submission);
	buf_free(&l.submissions);
	buf_free(&l.reinject);
}

/* As content_filter of main.cf, or of a port of master.cf. */
static const char *
find_filter(const struct run *r)
{
	const char *filter = postfix_main_get(r->m, "content_filter");
	size_t i;

	for (i = 0; i < r->services->count && (!filter || !filter[0]); i++)
		filter = postfix_service_option(&r->services->v[i], "content_filter");
	return filter;
}

void
postfix_translate(const struct postfix_main *main_cf, const struct postfix_master *master_cf,
	struct buf *conf, struct buf *left)
{
	struct run r = {.m = main_cf,
		.services = master_cf,
		.check = conf_defaults("/var/lib/roost"),
		.conf = conf,
		.left = left};
	size_t i;

	r.filter = find_filter(&r);
	postfix_directory_find(main_cf, &r.directory, left);
	write_directory(&r);
	for (i = 0; i < main_cf->count; i++)
		translate(&r, &main_cf->v[i]);
	if (master_cf->count > 0)
		translate_master(&r);
	postfix_directory_free(&r.directory);
	conf_free(&r.check);
}
