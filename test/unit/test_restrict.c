/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/restrict.h"

/*
 * Restriction lists against what Postfix answers. Of the world outside there is a small DNS, a
 * directory of example.test (alice, and bob behind an alias) and a policy server.
 */

/* ---- the world ---- */

static const struct record {
	const char *name, *type, *value;
} records[] = {
	{"good.example", "A", "192.0.2.1"},
	{"good.example", "MX", "mx.good.example"},
	{"good.example", "NS", "ns.good.example"},
	{"mx.good.example", "A", "192.0.2.25"},
	{"ns.good.example", "A", "192.0.2.53"},
	{"addressonly.example", "A", "192.0.2.2"},
	{"six.example", "AAAA", "2001:db8::1"},
	{"nomail.example", "MX", ""},
	{"empty.example", "TXT", "nothing else"},
	{"slow.example", "A", "!"},
	{"slow.example", "AAAA", "!"},
	{"slow.example", "MX", "!"},
	{"slow.example", "NS", "!"},
	{"9.2.0.192.bl.example", "A", "127.0.0.4"},
	{"9.2.0.192.bl.example", "TXT", "See http://bl.example"},
	{"9.2.0.192.parked.example", "A", "198.51.100.1"},
	{"9.2.0.192.down.example", "A", "!"},
	{"9.2.0.192.wl.example", "A", "127.0.0.2"},
	{"bad.example.rhs.example", "A", "127.0.0.2"},
};

static enum dns_verdict
look_up(const char *name, const char *type, void (*add)(void *, const char *), void *arg)
{
	enum dns_verdict v = DNS_NO_NAME;
	size_t i;

	for (i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		if (strcmp(records[i].name, name) != 0)
			continue;
		if (v == DNS_NO_NAME)
			v = DNS_NO_DATA;
		if (strcmp(records[i].type, type) != 0)
			continue;
		if (records[i].value[0] == '!')
			return DNS_FAILED;
		add(arg, records[i].value);
		v = DNS_FOUND;
	}
	return v;
}

struct list {
	struct net_addr *v;
	size_t max;
	struct buf *out;
	size_t *n;
	int six;
};

static void
add_text(void *arg, const char *value)
{
	struct list *l = arg;

	buf_add(l->out, value, strlen(value) + 1);
	(*l->n)++;
}

static void
add_addr(void *arg, const char *value)
{
	struct list *l = arg;
	char *text = l->six ? mem_printf("[%s]:0", value) : mem_printf("%s:0", value);

	if (*l->n < l->max)
		assert_int_equal(net_addr_parse(str_of(text), 0, &l->v[(*l->n)++]), OK);
	free(text);
}

static enum dns_verdict
fake_addresses(void *arg, const char *name, int six, struct net_addr *v, size_t max, size_t *n)
{
	struct list l = {.v = v, .max = max, .n = n, .six = six};

	(void)arg;
	*n = 0;
	return look_up(name, six ? "AAAA" : "A", add_addr, &l);
}

static enum dns_verdict
fake_texts(const char *name, const char *type, struct buf *out, size_t *n)
{
	struct list l = {.out = out, .n = n};

	*n = 0;
	return look_up(name, type, add_text, &l);
}

static enum dns_verdict
fake_mx(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	return fake_texts(name, "MX", out, n);
}

static enum dns_verdict
fake_ns(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	return fake_texts(name, "NS", out, n);
}

static enum dns_verdict
fake_txt(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	return fake_texts(name, "TXT", out, n);
}

struct world {
	struct restrict_names names;
	const char *action; /* of the policy server; NULL: it is down */
};

static const struct restrict_names *
give_names(void *arg)
{
	return &((struct world *)arg)->names;
}

static enum err
address_kind(void *arg, const char *address, enum auth_rcpt_kind *kind)
{
	const char *domain = strchr(address, '@');

	if (strcmp(address, "postmaster") == 0) {
		*kind = AUTH_RCPT_UNKNOWN;
		return OK;
	}
	if (domain == NULL)
		return E_PARSE;
	(void)arg;
	if (strcmp(domain, "@down.test") == 0)
		return E_TEMPFAIL;
	if (strcmp(domain, "@example.test") != 0)
		*kind = AUTH_RCPT_REMOTE;
	else if (str_starts_i(str_of(address), "alice"))
		*kind = AUTH_RCPT_MAILBOX;
	else if (str_starts_i(str_of(address), "bob"))
		*kind = AUTH_RCPT_ALIAS;
	else
		*kind = AUTH_RCPT_UNKNOWN;
	return OK;
}

static enum err
may_send_as(void *arg, const char *user, const char *address)
{
	(void)arg;
	if (strstr(address, "@down.test"))
		return E_TEMPFAIL;
	return strcmp(user, address) == 0 ? OK : E_ACCESS;
}

static enum err
policy(void *arg, const char *service, enum restrict_stage stage, struct buf *action)
{
	const struct world *w = arg;

	(void)stage;
	assert_string_equal(service, "inet:127.0.0.1:10023");
	return w->action ? buf_add_cstr(action, w->action) : E_CLOSED;
}

/* ---- a case ---- */

struct test {
	const char *list;
	const char *want; /* the reply; "OK" or "DUNNO" */
	/* What differs from the usual client. */
	const char *helo, *sender, *recipient, *user, *client, *policy;
	enum restrict_stage stage;
	int pipelined, no_name, recipients;
	const char *relay_domains; /* NULL: backup.test and listed.test */
};

static const char *
setting_of(enum restrict_stage stage)
{
	static const char *const names[RESTRICT_STAGE_COUNT] = {"smtpd_client_restrictions",
		"smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions",
		"smtpd_recipient_restrictions", "smtpd_data_restrictions",
		"smtpd_end_of_data_restrictions", "submission_restrictions",
		"smtpd_etrn_restrictions"};

	return names[stage];
}

static void
run_case(const struct test *t, enum restrict_stage stage, struct restrict_effects *effects)
{
	struct config *conf = conf_defaults("/nonexistent");
	struct world w = {.action = t->policy};
	struct maps *maps;
	struct restrict_set *set;
	struct net_addr client;
	char *address = mem_printf("%s:25", t->client ? t->client : "192.0.2.9");
	struct buf reply = {0};
	enum restrict_verdict v;
	struct restrict_facts f = {.client = &client,
		.client_ip = t->client ? t->client : "192.0.2.9",
		.helo = t->helo ? t->helo : "client.example",
		.sender = t->sender ? t->sender : "someone@good.example",
		.recipient = t->recipient ? t->recipient : "alice@example.test",
		.etrn = stage == RESTRICT_ETRN ? "node.example.test" : NULL,
		.user = t->user,
		.pipelined = t->pipelined,
		.recipient_count = t->recipients ? (unsigned)t->recipients : 1};
	struct restrict_host host = {&w, give_names,
		{NULL, fake_addresses, fake_mx, fake_ns, fake_txt, NULL}, address_kind, may_send_as,
		policy};

	assert_int_equal(net_addr_parse(str_of(address), 0, &client), OK);
	assert_int_equal(conf_set(conf, "mynetworks", "127.0.0.0/8 10.0.0.0/8", NULL), OK);
	assert_int_equal(
		conf_set(conf, "relay_domains",
			t->relay_domains ? t->relay_domains : "Backup.test inline:{listed.test=x}",
			NULL),
		OK);
	assert_int_equal(conf_set(conf, "relay_recipient_maps",
				 "inline:{carl@backup.test=x,@listed.test=x}", NULL),
		OK);
	assert_int_equal(conf_set(conf, setting_of(stage), t->list, NULL), OK);
	w.names = (struct restrict_names){
		.name = "client.bad.example", .reverse = "client.bad.example"};
	if (t->no_name)
		w.names = (struct restrict_names){E_NOTFOUND, E_NOTFOUND, "unknown", "unknown"};
	maps = maps_create(conf);
	set = restrict_create(conf, maps);
	v = restrict_run(set, stage, &f, &host, effects, &reply);
	if (v != RESTRICT_REJECT && restrict_finish(effects, &reply) == RESTRICT_REJECT)
		v = RESTRICT_REJECT;
	if (v != RESTRICT_REJECT) {
		buf_reset(&reply);
		buf_add_cstr(&reply, v == RESTRICT_OK ? "OK" : "DUNNO");
	}
	if (strcmp(buf_cstr(&reply), t->want) != 0)
		fail_msg("%s\n  gives %s\n  not   %s", t->list, buf_cstr(&reply), t->want);
	restrict_free(&set);
	maps_free(&maps);
	conf_free(&conf);
	buf_free(&reply);
	free(address);
}

static void
run_cases(const struct test *tests, size_t n, enum restrict_stage stage)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct restrict_effects effects = {0};

		run_case(&tests[i], tests[i].stage ? tests[i].stage : stage, &effects);
		restrict_effects_free(&effects);
	}
}
#define RUN(tests, stage) run_cases(tests, sizeof(tests) / sizeof((tests)[0]), stage)

/* ---- tests ---- */

static void
permits(void **state)
{
	static const struct test tests[] = {
		{"", "DUNNO"},
		{"permit", "OK"},
		{"permit, reject", "OK"},
		{"reject",
			"554 5.7.1 <alice@example.test>: Recipient address rejected: Access denied"},
		{"defer",
			"450 4.3.2 <alice@example.test>: Recipient address rejected: Try again later"},
		{"permit_mynetworks", "DUNNO"},
		{"permit_mynetworks", "OK", .client = "10.1.2.3"},
		{"permit_sasl_authenticated", "DUNNO"},
		{"permit_sasl_authenticated", "OK", .user = "alice@example.test"},
		{"permit_tls_clientcerts permit_tls_all_clientcerts", "DUNNO"},
		{"reject_plaintext_session", "450 4.7.1 Session encryption is required"},
		{"permit_auth_destination", "OK"},
		{"permit_auth_destination", "DUNNO", .recipient = "x@elsewhere.example"},
		{"reject_unauth_destination", "DUNNO"},
		{"reject_unauth_destination", "DUNNO", .recipient = "nobody@example.test"},
		{"reject_unauth_destination",
			"554 5.7.1 <x@elsewhere.example>: Relay access denied",
			.recipient = "x@elsewhere.example"},
		{"defer_unauth_destination", "454 4.7.1 <x@elsewhere.example>: Relay access denied",
			.recipient = "x@elsewhere.example"},
		{"reject_unauth_destination",
			"451 4.3.0 <x@down.test>: Recipient address rejected: Temporary lookup failure",
			.recipient = "x@down.test"},
		{"reject_unlisted_recipient",
			"550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in "
			"virtual mailbox table",
			.recipient = "nobody@example.test"},
		{"reject_unlisted_recipient", "DUNNO", .recipient = "x@elsewhere.example"},
		{"reject_unlisted_sender",
			"550 5.1.0 <nobody@example.test>: Sender address rejected: User unknown in "
			"virtual mailbox table",
			.sender = "nobody@example.test"},
		{"sleep 0, permit", "OK"},
		{"warn_if_reject reject, permit", "OK"},
		{"warn_if_reject reject", "DUNNO"},
		{"warn_if_reject reject reject",
			"554 5.7.1 <alice@example.test>: Recipient address rejected: Access denied"},
		{"defer_if_permit, permit",
			"450 4.3.2 <alice@example.test>: Recipient address rejected: defer_if_permit requested"},
		{"defer_if_permit, reject",
			"554 5.7.1 <alice@example.test>: Recipient address rejected: Access denied"},
		{"defer_if_reject, reject",
			"450 4.3.2 <alice@example.test>: Recipient address rejected: defer_if_reject requested"},
		{"defer_if_reject, permit", "OK"},
		{"reject",
			"554 5.7.1 <client.bad.example[192.0.2.9]>: Client host rejected: Access denied",
			.stage = RESTRICT_CLIENT + 0},
	};

	(void)state;
	run_cases(tests, sizeof(tests) / sizeof(tests[0]) - 1, RESTRICT_RECIPIENT);
	run_cases(&tests[sizeof(tests) / sizeof(tests[0]) - 1], 1, RESTRICT_CLIENT);
}

#define RELAY_UNKNOWN(address)                                                                     \
	"550 5.1.1 <" address ">: Recipient address rejected: User unknown in relay recipient table"

static void
relay_domains(void **state)
{
	static const char later[] =
		"451 4.3.0 <x@elsewhere.example>: Recipient address rejected: Temporary lookup failure";
	static const struct test tests[] = {
		{"reject_unauth_destination", "DUNNO", .recipient = "x@backup.test"},
		{"reject_unauth_destination", "DUNNO", .recipient = "x@below.BACKUP.test"},
		{"reject_unauth_destination", "DUNNO", .recipient = "x@listed.test"},
		{"reject_unauth_destination", "DUNNO", .recipient = "x@below.listed.test"},
		{"reject_unauth_destination", "554 5.7.1 <x@notbackup.test>: Relay access denied",
			.recipient = "x@notbackup.test"},
		{"reject_unauth_destination", "554 5.7.1 <x@test>: Relay access denied",
			.recipient = "x@test"},
		{"permit_auth_destination, reject", "OK", .recipient = "x@backup.test"},
		{"reject_unlisted_recipient", "DUNNO", .recipient = "carl@backup.test"},
		{"reject_unlisted_recipient", "DUNNO", .recipient = "carl+box@backup.test"},
		{"reject_unlisted_recipient", RELAY_UNKNOWN("x@backup.test"),
			.recipient = "x@backup.test"},
		{"reject_unlisted_recipient", "DUNNO", .recipient = "x@listed.test"},
		{"reject_unlisted_recipient", RELAY_UNKNOWN("x@below.listed.test"),
			.recipient = "x@below.listed.test"},
		/* Nobody knows: never a refusal for good. */
		{"reject_unauth_destination", later, .recipient = "x@elsewhere.example",
			.relay_domains = "fail:x"},
		{"reject_unauth_destination", later, .recipient = "x@elsewhere.example",
			.relay_domains = "nosuchtype:x"},
		{"reject_unlisted_recipient", later, .recipient = "x@elsewhere.example",
			.relay_domains = "backup.test fail:x"},
		{"reject_unauth_destination", "DUNNO", .recipient = "alice@example.test",
			.relay_domains = "fail:x"},
	};

	(void)state;
	RUN(tests, RESTRICT_RECIPIENT);
}

static void
stages(void **state)
{
	static const struct test tests[] = {
		{"reject", "554 5.7.1 <client.example>: Helo command rejected: Access denied",
			.stage = RESTRICT_HELO},
		{"reject",
			"554 5.7.1 <someone@good.example>: Sender address rejected: Access denied",
			.stage = RESTRICT_SENDER},
		{"reject", "554 5.7.1 <DATA>: Data command rejected: Access denied",
			.stage = RESTRICT_DATA},
		{"reject", "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied",
			.stage = RESTRICT_END_OF_DATA},
		{"reject", "554 5.7.1 <node.example.test>: Etrn command rejected: Access denied",
			.stage = RESTRICT_ETRN},
		{"permit_mynetworks reject", "OK", .stage = RESTRICT_ETRN, .client = "10.1.2.3"},
		{"check_etrn_access inline:{node.example.test=OK} reject", "OK",
			.stage = RESTRICT_ETRN},
		{"inline:{example.test=OK} reject", "OK", .stage = RESTRICT_ETRN},
		{"check_etrn_access inline:{other.test=OK}", "DUNNO", .stage = RESTRICT_ETRN},
		{"check_etrn_access static:OK", "DUNNO"},
		{"inline:{ {client.example = REJECT go} }",
			"554 5.7.1 <client.example>: Helo command rejected: go",
			.stage = RESTRICT_HELO},
		{"reject_unauth_pipelining",
			"503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining",
			.stage = RESTRICT_DATA, .pipelined = 1},
		{"reject_unauth_pipelining", "DUNNO", .stage = RESTRICT_DATA},
		{"reject_multi_recipient_bounce",
			"550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce",
			.stage = RESTRICT_DATA, .sender = "", .recipients = 2},
		{"reject_multi_recipient_bounce", "DUNNO", .stage = RESTRICT_DATA, .sender = ""},
		{"reject_multi_recipient_bounce", "DUNNO", .stage = RESTRICT_DATA, .recipients = 2},
	};

	(void)state;
	RUN(tests, RESTRICT_RECIPIENT);
}

static void
names(void **state)
{
#define HELO_INVALID(x) "501 5.5.2 <" x ">: Helo command rejected: Invalid name"
#define HELO_SHORT(x) "504 5.5.2 <" x ">: Helo command rejected: need fully-qualified hostname"
	static const struct test tests[] = {
		{"reject_invalid_helo_hostname", "DUNNO", .helo = "a-b.example"},
		{"reject_invalid_helo_hostname", "DUNNO", .helo = "localhost"},
		{"reject_invalid_helo_hostname", "DUNNO", .helo = "[192.0.2.1]"},
		{"reject_invalid_helo_hostname", "DUNNO", .helo = "[IPv6:2001:db8::1]"},
		{"reject_invalid_helo_hostname", HELO_INVALID("a..b"), .helo = "a..b"},
		{"reject_invalid_helo_hostname", HELO_INVALID("-a.example"), .helo = "-a.example"},
		{"reject_invalid_helo_hostname", HELO_INVALID("192.0.2.1"), .helo = "192.0.2.1"},
		{"reject_invalid_helo_hostname", HELO_INVALID("[300.0.2.1]"),
			.helo = "[300.0.2.1]"},
		{"reject_non_fqdn_helo_hostname", HELO_SHORT("localhost"), .helo = "localhost"},
		{"reject_non_fqdn_helo_hostname", "DUNNO", .helo = "a.example"},
		{"reject_non_fqdn_helo_hostname", "DUNNO", .helo = "[192.0.2.1]"},
		{"reject_non_fqdn_sender",
			"504 5.5.2 <a@host>: Sender address rejected: need fully-qualified address",
			.sender = "a@host"},
		{"reject_non_fqdn_sender", "DUNNO", .sender = ""},
		{"reject_non_fqdn_sender", "DUNNO", .sender = "a@[192.0.2.1]"},
		{"reject_non_fqdn_recipient",
			"504 5.5.2 <a@host>: Recipient address rejected: need fully-qualified address",
			.recipient = "a@host"},
		{"reject_non_fqdn_recipient", "DUNNO", .recipient = "postmaster"},
		{"reject_unknown_client_hostname", "DUNNO"},
		{"reject_unknown_client_hostname",
			"450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.9]",
			.no_name = 1},
		{"reject_unknown_reverse_client_hostname",
			"450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.9]",
			.no_name = 1},
		{"reject_unknown_helo_hostname", "DUNNO", .helo = "good.example"},
		{"reject_unknown_helo_hostname", "DUNNO", .helo = "six.example"},
		{"reject_unknown_helo_hostname", "DUNNO", .helo = "[192.0.2.1]"},
		{"reject_unknown_helo_hostname",
			"450 4.7.1 <nowhere.example>: Helo command rejected: Host not found",
			.helo = "nowhere.example"},
		{"reject_unknown_sender_domain", "DUNNO", .sender = "a@good.example"},
		{"reject_unknown_sender_domain", "DUNNO", .sender = "a@addressonly.example"},
		{"reject_unknown_sender_domain", "DUNNO", .sender = ""},
		{"reject_unknown_sender_domain", "DUNNO", .sender = "a@[192.0.2.1]"},
		{"reject_unknown_sender_domain", "DUNNO", .sender = "alice@example.test"},
		{"reject_unknown_sender_domain",
			"450 4.1.8 <a@nowhere.example>: Sender address rejected: Domain not found",
			.sender = "a@nowhere.example"},
		{"reject_unknown_sender_domain",
			"450 4.1.8 <a@empty.example>: Sender address rejected: Domain not found",
			.sender = "a@empty.example"},
		{"reject_unknown_sender_domain",
			"550 5.7.27 <a@nomail.example>: Sender address rejected: Domain nomail.example "
			"does not accept mail (nullMX)",
			.sender = "a@nomail.example"},
		/* A DNS that does not answer defers what would be taken, and nothing else. */
		{"reject_unknown_sender_domain permit",
			"450 4.1.8 <a@slow.example>: Sender address rejected: Domain not found",
			.sender = "a@slow.example"},
		{"reject_unknown_sender_domain reject",
			"554 5.7.1 <alice@example.test>: Recipient address rejected: Access denied",
			.sender = "a@slow.example"},
		{"reject_unknown_recipient_domain",
			"450 4.1.2 <a@nowhere.example>: Recipient address rejected: Domain not found",
			.recipient = "a@nowhere.example"},
		{"reject_unknown_recipient_domain",
			"556 5.1.10 <a@nomail.example>: Recipient address rejected: Domain "
			"nomail.example does not accept mail (nullMX)",
			.recipient = "a@nomail.example"},
	};

	(void)state;
	RUN(tests, RESTRICT_RECIPIENT);
}

static void
dns_lists(void **state)
{
#define BLOCKED                                                                                    \
	"554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using bl.example; See "    \
	"http://bl.example"
	static const struct test tests[] = {
		{"reject_rbl_client bl.example", BLOCKED},
		{"reject_rbl_client bl.example", "DUNNO", .client = "192.0.2.10"},
		{"reject_rbl_client bl.example=127.0.0.4", BLOCKED},
		{"reject_rbl_client bl.example=127.0.0.[2..10]", BLOCKED},
		{"reject_rbl_client bl.example=127.0.0.[1;4]", BLOCKED},
		{"reject_rbl_client bl.example=127.0.0.[1;5..9]", "DUNNO"},
		{"reject_rbl_client bl.example=127.0.0", "DUNNO"},
		{"reject_rbl_client parked.example", "DUNNO"},
		{"reject_rbl_client down.example, permit", "OK"},
		{"permit_dnswl_client wl.example, reject", "OK"},
		{"permit_dnswl_client wl.example", "DUNNO", .recipient = "x@elsewhere.example"},
		{"permit_dnswl_client down.example, reject",
			"450 4.7.1 <192.0.2.9>: Client host rejected: Temporary lookup failure"},
		{"reject_rhsbl_sender rhs.example",
			"554 5.7.1 Service unavailable; Sender address [bad.example] blocked using "
			"rhs.example",
			.sender = "a@bad.example"},
		{"reject_rhsbl_sender rhs.example", "DUNNO"},
		{"reject_rhsbl_helo rhs.example",
			"554 5.7.1 Service unavailable; Helo command [bad.example] blocked using "
			"rhs.example",
			.helo = "bad.example"},
		{"reject_rhsbl_client rhs.example", "DUNNO"},
		{"reject_rhsbl_recipient rhs.example",
			"554 5.7.1 Service unavailable; Recipient address [bad.example] blocked using "
			"rhs.example",
			.recipient = "a@bad.example"},
	};

	(void)state;
	RUN(tests, RESTRICT_RECIPIENT);
}

static void
access_tables(void **state)
{
#define RCPT(code, text) code " <alice@example.test>: Recipient address rejected: " text
#define TABLE(value) "check_recipient_access inline:{ { alice@example.test = " value " } }"
	static const struct test tests[] = {
		{TABLE("OK"), "OK"},
		{TABLE("1234"), "OK"},
		{TABLE("dunno"), "DUNNO"},
		{TABLE("REJECT"), RCPT("554 5.7.1", "Access denied")},
		{TABLE("reject not you"), RCPT("554 5.7.1", "not you")},
		{TABLE("REJECT 5.1.6 moved"), RCPT("554 5.1.6", "moved")},
		{TABLE("REJECT 4.1.6 moved"), RCPT("554 5.1.6", "moved")},
		{TABLE("DEFER"), RCPT("450 4.7.1", "Access denied")},
		{TABLE("DEFER later"), RCPT("450 4.7.1", "later")},
		{TABLE("450 4.2.0 full"), RCPT("450 4.2.0", "full")},
		{TABLE("550 no"), RCPT("550 5.7.1", "no")},
		{TABLE("521"), RCPT("521 5.7.1", "Access denied")},
		{TABLE("DEFER_IF_PERMIT busy") " permit", RCPT("450 4.7.1", "busy")},
		{TABLE("DEFER_IF_REJECT") " reject", RCPT("450 4.7.1", "Service unavailable")},
		{TABLE("HOLD look"), "DUNNO"},
		{TABLE("DISCARD"), "OK"},
		{TABLE("FILTER smtp:[127.0.0.1]:10025"), "DUNNO"},
		{TABLE("REDIRECT bob@example.test"), "DUNNO"},
		{TABLE("BCC bob@example.test"), "DUNNO"},
		{TABLE("PREPEND X-Seen: yes"), "DUNNO"},
		{TABLE("WARN look here"), "DUNNO"},
		{TABLE("INFO look here"), "DUNNO"},
		{TABLE("permit_mynetworks, reject"), RCPT("554 5.7.1", "Access denied")},
		{TABLE("permit_mynetworks, reject"), "OK", .client = "10.0.0.1"},
		{TABLE("nonsense"), RCPT("451 4.3.5", "Server configuration error")},
		/* Lists that name each other come to an end. */
		{"check_recipient_access static:{check_recipient_access static:{reject}}",
			RCPT("554 5.7.1", "Access denied")},
		{"check_recipient_access fail:x", RCPT("451 4.3.5", "Server configuration error")},
		{"check_recipient_access inline:{example.test=OK}", "OK"},
		{"check_recipient_access inline:{alice@=OK}", "OK"},
		{"check_recipient_access inline:{alice@=OK}", "OK",
			.recipient = "alice+x@example.test"},
		{"check_recipient_access regexp:{{/^bob@/ OK} {/^alice@(.*)/ 550 no $1}}",
			RCPT("550 5.7.1", "no example.test")},
		{"check_sender_access inline:{<>=REJECT}",
			"554 5.7.1 <>: Sender address rejected: Access denied", .sender = ""},
		{"check_sender_access inline:{example=REJECT}",
			"554 5.7.1 <someone@good.example>: Sender address rejected: Access denied"},
		{"check_helo_access inline:{client.example=REJECT}",
			"554 5.7.1 <client.example>: Helo command rejected: Access denied"},
		{"check_client_access inline:{192.0.2=REJECT}",
			"554 5.7.1 <client.bad.example[192.0.2.9]>: Client host rejected: Access denied"},
		{"check_client_access inline:{bad.example=REJECT}",
			"554 5.7.1 <client.bad.example[192.0.2.9]>: Client host rejected: Access denied"},
		{"check_client_access cidr:{{192.0.2.0/24 REJECT net}}",
			"554 5.7.1 <client.bad.example[192.0.2.9]>: Client host rejected: net"},
		{"check_client_access cidr:{{192.0.2.0/24 REJECT net}}",
			"554 5.7.1 <unknown[192.0.2.9]>: Client host rejected: net", .no_name = 1},
		{"check_sender_mx_access inline:{192.0.2.25=REJECT}",
			"554 5.7.1 <someone@good.example>: Sender address rejected: Access denied"},
		{"check_sender_mx_access inline:{mx.good.example=REJECT}",
			"554 5.7.1 <someone@good.example>: Sender address rejected: Access denied"},
		{"check_sender_mx_access inline:{mx.good.example=OK} reject",
			RCPT("554 5.7.1", "Access denied")},
		{"check_sender_ns_access cidr:{{192.0.2.53 REJECT}}",
			"554 5.7.1 <a@sub.good.example>: Sender address rejected: Access denied",
			.sender = "a@sub.good.example"},
		{"check_helo_mx_access inline:{192.0.2.2=REJECT}",
			"554 5.7.1 <addressonly.example>: Helo command rejected: Access denied",
			.helo = "addressonly.example"},
		{"check_recipient_mx_access inline:{192.0.2.25=REJECT}",
			"554 5.7.1 <x@good.example>: Recipient address rejected: Access denied",
			.recipient = "x@good.example"},
	};

	(void)state;
	RUN(tests, RESTRICT_RECIPIENT);
}

static void
policies(void **state)
{
#define SERVICE "check_policy_service inet:127.0.0.1:10023"
	static const struct test tests[] = {
		{SERVICE, "DUNNO", .policy = "DUNNO"},
		{SERVICE, RCPT("451 4.7.1", "greylisted"), .policy = "451 greylisted"},
		{SERVICE " permit", RCPT("450 4.7.1", "wait"), .policy = "defer_if_permit wait"},
		{SERVICE, RCPT("451 4.3.5", "Server configuration error")},
	};

	(void)state;
	RUN(tests, RESTRICT_RECIPIENT);
}

static void
owners(void **state)
{
#define NOT_OWNED(who)                                                                             \
	"553 5.7.1 <" who ">: Sender address rejected: not owned by user alice@example.test"
#define USER .user = "alice@example.test"
	static const struct test tests[] = {
		{"reject_sender_login_mismatch", "DUNNO", USER, .sender = "alice@example.test"},
		{"reject_sender_login_mismatch", "DUNNO", USER, .sender = ""},
		{"reject_sender_login_mismatch", NOT_OWNED("bob@example.test"), USER,
			.sender = "bob@example.test"},
		{"reject_sender_login_mismatch", NOT_OWNED("x@good.example"), USER,
			.sender = "x@good.example"},
		{"reject_known_sender_login_mismatch", "DUNNO", USER, .sender = "x@good.example"},
		{"reject_known_sender_login_mismatch", NOT_OWNED("bob@example.test"), USER,
			.sender = "bob@example.test"},
		{"reject_sender_login_mismatch",
			"553 5.7.1 <bob@example.test>: Sender address rejected: not logged in",
			.sender = "bob@example.test"},
		{"reject_sender_login_mismatch", "DUNNO", .sender = "x@good.example"},
		{"reject_authenticated_sender_login_mismatch", "DUNNO",
			.sender = "bob@example.test"},
		{"reject_unauthenticated_sender_login_mismatch", "DUNNO", USER,
			.sender = "bob@example.test"},
		{"reject_sender_login_mismatch",
			"451 4.3.0 <x@down.test>: Sender address rejected: Temporary lookup failure",
			USER, .sender = "x@down.test"},
	};

	(void)state;
	RUN(tests, RESTRICT_SUBMISSION);
}

static void
effects(void **state)
{
	static const struct test t = {
		"check_recipient_access static:{HOLD why} check_recipient_access static:{FILTER smtp:x} "
		"check_recipient_access static:{REDIRECT a@b} check_recipient_access static:{BCC c@d} "
		"check_sender_access static:{BCC c@d} check_recipient_access static:{PREPEND X-A: b} "
		"check_recipient_access static:{PREPEND no field} check_recipient_access static:{BCC none}",
		"DUNNO"};
	struct restrict_effects e = {0};

	(void)state;
	run_case(&t, RESTRICT_RECIPIENT, &e);
	assert_string_equal(e.hold, "why");
	assert_string_equal(e.filter, "smtp:x");
	assert_string_equal(e.redirect, "a@b");
	assert_int_equal(e.bcc_count, 1);
	assert_string_equal(e.bcc[0], "c@d");
	assert_int_equal(e.prepend_count, 1);
	assert_string_equal(e.prepend[0], "X-A: b");
	assert_null(e.discard);
	restrict_effects_free(&e);
}

/* Whatever the administrator writes or forgets, strangers do not relay. */
static void
never_open(void **state)
{
	static const struct {
		const char *relay, *recipient;
		int open; /* by the administrator's own words */
	} lists[] = {
		{"", "", 0},
		{"permit", "", 0},
		{"permit_mynetworks", "permit", 0},
		{"permit_mynetworks permit", "reject_rbl_client bl.example", 0},
		{"warn_if_reject reject_unauth_destination", "", 0},
		{"no_such_restriction", "", 0},
		{"check_recipient_access nosuch:x", "", 0},
		{"reject_rbl_client", "", 0},
		{"permit_mynetworks permit_auth_destination", "", 0},
		{"permit_dnswl_client wl.example reject_unauth_destination", "", 0},
		{"", "permit_mynetworks reject_unauth_destination", 0},
		{"", "permit reject_unauth_destination", 0},
		{"defer_unauth_destination", "permit", 0},
		{"permit_mynetworks reject", "permit", 0},
		{"check_recipient_access static:OK reject_unauth_destination", "", 1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct config *conf = conf_defaults("/nonexistent");
		struct maps *maps = maps_create(conf);
		struct world w = {0};
		struct net_addr client;
		struct restrict_facts f = {.client = &client,
			.client_ip = "192.0.2.9",
			.helo = "x.example",
			.sender = "a@b.example",
			.recipient = "victim@elsewhere.example"};
		struct restrict_host host = {&w, give_names,
			{NULL, fake_addresses, fake_mx, fake_ns, fake_txt, NULL}, address_kind,
			may_send_as, NULL};
		struct restrict_effects e = {0};
		struct buf reply = {0};
		struct restrict_set *set;
		int refused;

		assert_int_equal(net_addr_parse(STR("192.0.2.9:25"), 0, &client), OK);
		assert_int_equal(
			conf_set(conf, "smtpd_relay_restrictions", lists[i].relay, NULL), OK);
		assert_int_equal(
			conf_set(conf, "smtpd_recipient_restrictions", lists[i].recipient, NULL),
			OK);
		set = restrict_create(conf, maps);
		refused = restrict_run(set, RESTRICT_RELAY, &f, &host, &e, &reply) ==
				  RESTRICT_REJECT ||
			  restrict_run(set, RESTRICT_RECIPIENT, &f, &host, &e, &reply) ==
				  RESTRICT_REJECT;
		if (refused == lists[i].open)
			fail_msg("relay \"%s\", recipient \"%s\": %s", lists[i].relay,
				lists[i].recipient, refused ? "refused" : "open");
		restrict_effects_free(&e);
		buf_free(&reply);
		restrict_free(&set);
		maps_free(&maps);
		conf_free(&conf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(permits),
		cmocka_unit_test(relay_domains),
		cmocka_unit_test(stages),
		cmocka_unit_test(names),
		cmocka_unit_test(dns_lists),
		cmocka_unit_test(access_tables),
		cmocka_unit_test(policies),
		cmocka_unit_test(owners),
		cmocka_unit_test(effects),
		cmocka_unit_test(never_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
