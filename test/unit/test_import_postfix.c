/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "import/postfix_translate.h"
#include "lib/io.h"
#include "lib/mem.h"

/* main.cf and master.cf as hosts of virtual domains have them. */

static const char main_cf[] =
	"# a comment\n"
	"myhostname = mail.example.com\n"
	"mydestination = $myhostname, localhost\n"
	"compatibility_level = 3.6\n"
	"mynetworks = 127.0.0.0/8,\n"
	"    [::1]/128\n"
	"    # in between\n"
	"    192.0.2.0/24\n"
	"message_size_limit = 20480000\n"
	"maximal_queue_lifetime = 1w\n"
	"smtpd_tls_cert_file=/etc/ssl/mail.pem\n"
	"virtual_mailbox_maps = proxy:pgsql:/etc/postfix/users.cf\n"
	"forward_path = /var/forward/$user${recipient_delimiter?-$extension} $home/.forward\n"
	"virtual_alias_maps = proxy:pgsql:/etc/postfix/aliases.cf, hash:/etc/postfix/virtual\n"
	"smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated,\n"
	"  reject_unauth_destination,\n"
	"  check_client_access hash:$config_directory/clients,\n"
	"  check_policy_service unix:private/policyd, reject_rbl_client zen.example.org\n"
	"smtpd_milters = inet:localhost:11332 unix:opendkim/opendkim.sock\n"
	"relayhost = [smtp.example.net]:587\n"
	"header_checks = regexp:/etc/postfix/header_checks\n"
	"recipient_canonical_maps = tcp:localhost:10002\n"
	"recipient_canonical_classes = envelope_recipient,header_recipient\n"
	"sender_canonical_maps = ldap:/etc/postfix/ldap.cf\n"
	"relayhost = [relay.example.net]:587\n"
	"no_such_setting = 1\n"
	"not a setting\n"
	"loop_a = $loop_a\n"
	"always_bcc = archive@$mydomain\n"
	"receive_override_options = no_address_mappings, no_milters\n"
	"copies_destination_recipient_limit = 1\n"
	"notify_classes = data, policy bounce\n"
	"relay_domains = $mydomain, backup.example.net, hash:/etc/postfix/relay\n"
	"recipient_delimiter = +\n";

static const char master_cf[] =
	"# service type private unpriv chroot wakeup maxproc command + args\n"
	"smtp      inet  n       -       y       -       -       smtpd\n"
	"  -o content_filter=amavis:[127.0.0.1]:10024\n"
	"  -o syslog_name=postfix/mx\n"
	"  -o smtpd_proxy_filter=inet:127.0.0.1:10026\n"
	"127.0.0.1:10025 inet n - n - - smtpd\n"
	"  -o content_filter=\n"
	"  -o mynetworks=127.0.0.0/8\n"
	"  -o smtpd_authorized_xforward_hosts=127.0.0.1/32\n"
	"  -o receive_override_options=no_header_body_checks,no_milters\n"
	"submission inet n       -       y       -       -       smtpd\n"
	"  -o syslog_name=postfix/submission\n"
	"  -o smtpd_sasl_auth_enable=yes\n"
	"  -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject }\n"
	"127.0.0.1:10465 inet n - y - - smtpd -o smtpd_tls_wrappermode=yes\n"
	"pickup    unix  n       -       y       60      1       pickup\n"
	"amavis    unix  -       -       -       -       2       smtp\n"
	"mlmmj     unix  -       n       n       -       -       pipe\n"
	"  flags=ORhu user=mlmmj argv=/usr/bin/mlmmj-receive -L /var/spool/mlmmj/$nexthop\n"
	"copies    unix  -       n       n       -       10      pipe -v -o syslog_name=x\n"
	"  flags=Rq user=nobody:nogroup null_sender= argv=/bin/cat {a b} ${sender} \"$recipient\"\n"
	"bad       unix  -       n       n       -       10      pipe flags=. user=x argv=/bin/cat\n"
	"old       unix  -       n       n       -       10      pipe user=x argv=uux\n"
	"short line\n";

static void
whole(void **state)
{
	static const char *const wanted[] = {
		"hostname = \"mail.example.com\"\n",
		"mynetworks = {\"127.0.0.0/8\", \"[::1]/128\", \"192.0.2.0/24\"}\n",
		"max_message_size = \"20480000\"\n",
		"maximal_queue_lifetime = \"7d\"\n",
		"tls_cert = \"/etc/ssl/mail.pem\"\n",
		"virtual_alias_maps = {\"pgsql:/etc/postfix/aliases.cf\", \"file:/etc/postfix/virtual\"}\n",
		"smtpd_recipient_restrictions = {\"permit_mynetworks\", \"permit_sasl_authenticated\", "
		"\"reject_unauth_destination\", \"check_client_access\", \"file:/etc/postfix/clients\", "
		"\"check_policy_service\", \"unix:/var/spool/postfix/private/policyd\", "
		"\"reject_rbl_client\", \"zen.example.org\"}\n",
		"smtpd_milters = {\"inet:localhost:11332\", "
		"\"unix:/var/spool/postfix/opendkim/opendkim.sock\"}\n",
		"relayhost = ",
		"[relay.example.net]:587",
		"header_checks = {\"regexp:/etc/postfix/header_checks\"}\n",
		"always_bcc = \"archive@example.com\"\n",
		"content_filter = \"smtp:[127.0.0.1]:10024\"\n",
		"smtpd_proxy_filter = \"inet:127.0.0.1:10026\"\n",
		"listen_reinject = {\"127.0.0.1:10025\"}\n",
		"reinject_networks = {\"127.0.0.0/8\"}\n",
		"smtpd_authorized_xforward_hosts = {\"127.0.0.1/32\"}\n",
		"reinject_override_options = {\"no_header_body_checks\", \"no_milters\"}\n",
		"receive_override_options = {\"no_milters\"}\n",
		"notify_classes = {\"policy\", \"bounce\"}\n",
		"relay_domains = {\"example.com\", \"backup.example.net\", "
		"\"file:/etc/postfix/relay\"}\n",
		"forward_path = {\"/var/forward/\\$user\\${recipient_delimiter?-\\$extension}\", \"\\$home/.forward\"}\n",
		"pipe_transports = {\"copies recipient_limit=1 flags=Rq user=nobody:nogroup "
		"null_sender= argv=/bin/cat {a b} \\${sender} \\\"\\$recipient\\\"\"}\n",
		"listen_smtp = {\"*:25\"}\n",
		"listen_submission = {\"*:587\"}\n",
		"listen_submissions = {\"127.0.0.1:10465\"}\n",
	};
	static const char *const unwanted[] = {
		"smtp.example.net", "no_such_setting", "mydestination", "ldap"};
	static const char *const left[] = {
		"main.cf:27: this is no setting: not a setting\n",
		"mydestination: the directory",
		"virtual_mailbox_maps: the directory",
		"/etc/postfix/users.cf: it cannot be read, so the database of the users is unknown",
		"recipient_canonical_maps: tcp:localhost:10002: SRS is part of Roost: srs_domain, and "
		"srs_secrets = \"/etc/postsrsd.secret\"\n",
		"recipient_canonical_classes: envelope and header; for postsrsd see srs_domain\n",
		"sender_canonical_maps: there is no table ldap:/etc/postfix/ldap.cf\n",
		"no_such_setting: no counterpart\n",
		"loop_a: its value refers to itself\n",
		"master.cf smtp -o syslog_name: ",
		"receive_override_options: no_address_mappings is for reinject_override_options\n",
		"notify_classes: Roost does not have the word data\n",
		"master.cf mlmmj: /usr/bin/mlmmj-receive is not on this machine\n",
		"master.cf bad: there is no flag .\n",
		"master.cf old: argv must begin with the whole",
		"master.cf:24: this is no service\n",
	};
	struct postfix_main m;
	struct postfix_master services;
	struct buf conf = {0}, rest = {0};
	size_t i;

	(void)state;
	postfix_main_parse(str_of(main_cf), &m, &rest);
	postfix_master_parse(str_of(master_cf), &services, &rest);
	postfix_translate(&m, &services, &conf, &rest);
	for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (!strstr(buf_cstr(&conf), wanted[i]))
			fail_msg("not there: %s\nin\n%s\n%s", wanted[i], buf_cstr(&conf),
				buf_cstr(&rest));
	}
	for (i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++) {
		if (strstr(buf_cstr(&conf), unwanted[i]))
			fail_msg("there: %s", unwanted[i]);
	}
	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		if (!strstr(buf_cstr(&rest), left[i]))
			fail_msg("not told: %s\nin\n%s", left[i], buf_cstr(&rest));
	}
	postfix_main_free(&m);
	postfix_master_free(&services);
	buf_free(&conf);
	buf_free(&rest);
}

static void
expansions(void **state)
{
	static const struct {
		const char *value, *expanded;
	} cases[] = {
		{"$myhostname", "mail.example.com"},
		{"a${myhostname}b", "amail.example.comb"},
		{"$(myhostname)", "mail.example.com"},
		{"$mydomain", "example.com"},
		{"${none?yes}", ""},
		{"${none:no}", "no"},
		{"${myhostname?yes}", "yes"},
		{"${myhostname:no}", "mail.example.com"},
		{"${none?{a}:{b $myhostname}}", "b mail.example.com"},
		{"${myhostname?{a}:{b}}", "a"},
		{"$$x $", "$x $"},
		{"${", ""},
		{"$(", ""},
		{"${myhostname", "mail.example.co"},
		{"$unknown.", "."},
	};
	struct postfix_main m;
	struct buf problems = {0}, out = {0};
	size_t i;

	(void)state;
	postfix_main_parse(STR("myhostname = mail.example.com\na = $b\nb = $a\n"), &m, &problems);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		assert_int_equal(postfix_main_expand(&m, str_of(cases[i].value), &out), OK);
		/* An open brace ends with the value; what comes of it does not matter. */
		if (strcmp(cases[i].value, "${myhostname") != 0)
			assert_string_equal(buf_cstr(&out), cases[i].expanded);
	}
	buf_reset(&out);
	assert_int_equal(postfix_main_expand(&m, STR("$a"), &out), E_TOOBIG);
	assert_int_equal(problems.len, 0);
	postfix_main_free(&m);
	buf_free(&out);
	buf_free(&problems);
}

/* ---- the database of the users ---- */

/* What is made of a main.cf whose virtual_mailbox_maps is a file with this text. */
static char *
directory_of(const char *table, const char *aliases)
{
	char dir[] = "/tmp/test_import_postfix-XXXXXX", *text, *users, *others, *result;
	struct buf conf = {0}, left = {0};
	struct postfix_master none = {0};
	struct postfix_main m;

	assert_non_null(mkdtemp(dir));
	users = mem_printf("%s/users.cf", dir);
	others = mem_printf("%s/aliases.cf", dir);
	assert_int_equal(io_write_file_atomic(users, table, strlen(table), 0600), OK);
	assert_int_equal(io_write_file_atomic(others, aliases, strlen(aliases), 0600), OK);
	text = mem_printf("virtual_mailbox_maps = proxy:pgsql:%s\n"
			  "virtual_alias_maps = proxy:pgsql:%s, hash:/etc/postfix/virtual\n",
		users, others);
	postfix_main_parse(str_of(text), &m, &left);
	postfix_translate(&m, &none, &conf, &left);
	result = mem_printf("%s%s", buf_cstr(&conf), buf_cstr(&left));
	postfix_main_free(&m);
	buf_free(&conf);
	buf_free(&left);
	unlink(users);
	unlink(others);
	rmdir(dir);
	free(users);
	free(others);
	free(text);
	return result;
}

static void
has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("not there: %s\nin\n%s", part, text);
}

static void
has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("there: %s\nin\n%s", part, text);
}

static void
directories(void **state)
{
	static const char old_way[] = "hosts = db1, unix:/run/postgresql inet:db2:5433\n"
				      "user = postfix\npassword = it's \\ secret\n"
				      "dbname = mail\ntable = mailbox\nselect_field = maildir\n"
				      "where_field = username\n";
	static const char aliases[] =
		"hosts = db1\ndbname = mail\n"
		"query = SELECT goto FROM alias WHERE address='%s' AND active\n";
	static const char own[] = "dbname = mail\nquery = SELECT 1 FROM people WHERE mail='%s'\n";
	char *text = directory_of(old_way, aliases);

	(void)state;
	has(text, "db = \"postgresql\"\n");
	has(text, "postgresql = \"host='db1,/run/postgresql,db2' port='5432,5432,5433' "
		  "dbname='mail' user='postfix' password='it\\\\'s \\\\\\\\ secret'\"\n");
	has(text, "directory_schema = \"postfixadmin\"\n");
	has(text, "virtual_alias_maps = {\"file:/etc/postfix/virtual\"}\n");
	has(text, "virtual_alias_maps: the directory reads proxy:pgsql:");
	free(text);
	text = directory_of(own, aliases);
	has(text, "postgresql = \"host='localhost' port='5432' dbname='mail'\"\n");
	has_not(text, "directory_schema");
	has(text, "virtual_alias_maps = {\"pgsql:/tmp/");
	has(text, ": the tables are not PostfixAdmin's: ");
	free(text);
	text = directory_of("dbname = postgresql://postfix@db1/mail\nquery = SELECT 1\n", own);
	has(text, "postgresql = \"postgresql://postfix@db1/mail\"\n");
	free(text);
	text = directory_of("query = SELECT 1\n", own);
	has_not(text, "db = ");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(expansions),
		cmocka_unit_test(directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
