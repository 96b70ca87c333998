/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <strings.h>

#include "lib/log.h"
#include "mta-lite/spf.h"

/* Policies of all kinds against a DNS in a table. */

struct record {
	const char *name;
	char type; /* T TXT, 4 A, 6 AAAA, M MX, P PTR, ! every look-up fails */
	const char *data;
};

static const struct record zone[] = {
	{"example.test", 'T', "v=spf1 ip4:192.0.2.0/24 a mx -all"},
	{"example.test", 'T', "something else"},
	{"example.test", '4', "198.51.100.1"},
	{"example.test", '6', "2001:db8::1"},
	{"example.test", 'M', "mx1.example.test"},
	{"mx1.example.test", '4', "198.51.100.7"},
	{"soft.test", 'T', "v=spf1 ~all"},
	{"neutral.test", 'T', "v=spf1"},
	{"query.test", 'T', "v=spf1 ?all"},
	{"upper.test", 'T', "V=SPF1 IP4:192.0.2.1 -ALL"},
	{"notspf.test", 'T', "v=spf10 -all"},
	{"two.test", 'T', "v=spf1 -all"},
	{"two.test", 'T', "v=spf1 +all"},
	{"down.test", '!', ""},
	{"inc.test", 'T', "v=spf1 include:soft.test include:example.test -all"},
	{"incnone.test", 'T', "v=spf1 include:nothing.test -all"},
	{"incdown.test", 'T', "v=spf1 include:down.test -all"},
	{"redir.test", 'T', "v=spf1 redirect=example.test"},
	{"redirall.test", 'T', "v=spf1 ?all redirect=example.test"},
	{"redirnone.test", 'T', "v=spf1 redirect=nothing.test"},
	{"loop.test", 'T', "v=spf1 include:loop.test -all"},
	{"redirloop.test", 'T', "v=spf1 redirect=redirloop.test"},
	{"eleven.test", 'T',
		"v=spf1 a:a.b a:a.b a:a.b a:a.b a:a.b a:a.b a:a.b a:a.b a:a.b a:a.b a:a.b -all"},
	{"a.b", '4', "203.0.113.9"},
	{"void.test", 'T', "v=spf1 a:n1.test a:n2.test a:n3.test -all"},
	{"void2.test", 'T', "v=spf1 a:n1.test a:n2.test -all"},
	{"exists.test", 'T', "v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d} -all"},
	{"1.2.0.192.bob._spf.exists.test", '4', "127.0.0.2"},
	{"macro6.test", 'T', "v=spf1 exists:%{i}.x.test -all"},
	{"2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.x.test", '4',
		"127.0.0.2"},
	{"ptr.test", 'T', "v=spf1 ptr -all"},
	{"192.0.2.1", 'P', "host.ptr.test"},
	{"host.ptr.test", '4', "192.0.2.1"},
	{"prefix.test", 'T', "v=spf1 a:net.test/24//64 -all"},
	{"net.test", '4', "192.0.2.200"},
	{"net.test", '6', "2001:db8:1:2::5"},
	{"exp.test", 'T', "v=spf1 -all exp=why.exp.test"},
	{"why.exp.test", 'T', "%{i} may not send for %{o}%_(%{r})"},
	{"ip6.test", 'T', "v=spf1 ip6:2001:db8::/32 -all"},
	{"helo.test", 'T', "v=spf1 a:net.test/24 -all"},
	{"unknown.test", 'T', "v=spf1 foo=bar%{d} -all"},
	{"late.test", 'T', "v=spf1 +all ip4:300.1.1.1"},
	{"bad1.test", 'T', "v=spf1 what -all"},
	{"bad2.test", 'T', "v=spf1 ip4:192.0.2.1/33 -all"},
	{"bad3.test", 'T', "v=spf1 a: -all"},
	{"bad4.test", 'T', "v=spf1 a:foo -all"},
	{"bad5.test", 'T', "v=spf1 exists:%{x}.test -all"},
	{"bad6.test", 'T', "v=spf1 redirect=a.test redirect=b.test"},
	{"bad7.test", 'T', "v=spf1 all:x.test"},
	{"bad8.test", 'T', "v=spf1 include"},
	{"bad9.test", 'T', "v=spf1 a:%{d.test -all"},
	{"bad10.test", 'T', "v=spf1 ip4:2001:db8::1 -all"},
	{"bad11.test", 'T', "v=spf1 ip6:192.0.2.1 -all"},
	{"bad12.test", 'T', "v=spf1 a/024 -all"},
	{"bad13.test", 'T', "v=spf1 -all exp=%{c}.test."},
};

static enum dns_verdict
find(const char *name, char type, struct buf *out, size_t *n)
{
	int known = 0;
	size_t i;

	*n = 0;
	for (i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
		if (strcasecmp(zone[i].name, name) != 0)
			continue;
		known = 1;
		if (zone[i].type == '!')
			return DNS_FAILED;
		if (zone[i].type != type)
			continue;
		buf_add(out, zone[i].data, strlen(zone[i].data) + 1);
		(*n)++;
	}
	return *n ? DNS_FOUND : known ? DNS_NO_DATA : DNS_NO_NAME;
}

static enum dns_verdict
txt(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	return find(name, 'T', out, n);
}

static enum dns_verdict
mx(void *arg, const char *name, struct buf *out, size_t *n)
{
	(void)arg;
	return find(name, 'M', out, n);
}

static enum dns_verdict
ptr(void *arg, const struct net_addr *peer, struct buf *out, size_t *n)
{
	char ip[NET_ADDR_TEXT];

	(void)arg;
	net_addr_format_ip(peer, ip);
	return find(ip, 'P', out, n);
}

static void
parse_address(const char *text, struct net_addr *out)
{
	char with_port[NET_ADDR_TEXT];

	(void)snprintf(with_port, sizeof(with_port), strchr(text, ':') ? "[%s]:1" : "%s:1", text);
	assert_int_equal(net_addr_parse(str_of(with_port), 0, out), OK);
}

static enum dns_verdict
addresses(void *arg, const char *name, int six, struct net_addr *v, size_t max, size_t *n)
{
	struct buf list = {0};
	size_t count, off = 0;
	enum dns_verdict verdict = find(name, six ? '6' : '4', &list, &count);

	(void)arg;
	for (*n = 0; *n < count && *n < max; off += strlen(list.p + off) + 1)
		parse_address(list.p + off, &v[(*n)++]);
	buf_free(&list);
	return verdict;
}

static const struct dns_source dns = {.txt = txt, .addresses = addresses, .mx = mx, .ptr = ptr};

static void
check(const char *ip, const char *sender, struct spf_answer *out)
{
	struct net_addr peer;
	struct spf_query q = {.peer = &peer,
		.helo = "helo.test",
		.sender = sender,
		.receiver = "mx.example.test"};

	parse_address(ip, &peer);
	spf_check(&dns, &q, out);
}

static void
policies(void **state)
{
	static const struct {
		const char *ip, *sender;
		enum spf_result result;
	} cases[] = {
		{"192.0.2.9", "a@example.test", SPF_PASS},
		{"198.51.100.1", "a@example.test", SPF_PASS},
		{"198.51.100.7", "a@example.test", SPF_PASS},
		{"2001:db8::1", "a@example.test", SPF_PASS},
		{"2001:db8::2", "a@example.test", SPF_FAIL},
		{"203.0.113.1", "a@example.test", SPF_FAIL},
		{"203.0.113.1", "a@EXAMPLE.test", SPF_FAIL},
		{"192.0.2.1", "a@soft.test", SPF_SOFTFAIL},
		{"192.0.2.1", "a@neutral.test", SPF_NEUTRAL},
		{"192.0.2.1", "a@query.test", SPF_NEUTRAL},
		{"192.0.2.1", "a@upper.test", SPF_PASS},
		{"192.0.2.2", "a@upper.test", SPF_FAIL},
		{"192.0.2.1", "a@notspf.test", SPF_NONE},
		{"192.0.2.1", "a@nothing.test", SPF_NONE},
		{"192.0.2.1", "a@localhost", SPF_NONE},
		{"192.0.2.1", "a@[192.0.2.1]", SPF_NONE},
		{"192.0.2.1", "a@two.test", SPF_PERMERROR},
		{"192.0.2.1", "a@down.test", SPF_TEMPERROR},
		{"192.0.2.1", "a@inc.test", SPF_PASS},
		{"203.0.113.1", "a@inc.test", SPF_FAIL},
		{"192.0.2.1", "a@incnone.test", SPF_PERMERROR},
		{"192.0.2.1", "a@incdown.test", SPF_TEMPERROR},
		{"192.0.2.1", "a@redir.test", SPF_PASS},
		{"203.0.113.1", "a@redir.test", SPF_FAIL},
		{"203.0.113.1", "a@redirall.test", SPF_NEUTRAL},
		{"192.0.2.1", "a@redirnone.test", SPF_PERMERROR},
		{"192.0.2.1", "a@loop.test", SPF_PERMERROR},
		{"192.0.2.1", "a@redirloop.test", SPF_PERMERROR},
		{"192.0.2.1", "a@eleven.test", SPF_PERMERROR},
		{"203.0.113.9", "a@eleven.test", SPF_PASS},
		{"192.0.2.1", "a@void.test", SPF_PERMERROR},
		{"192.0.2.1", "a@void2.test", SPF_FAIL},
		{"192.0.2.1", "bob-x+y@exists.test", SPF_PASS},
		{"192.0.2.1", "x-bob@exists.test", SPF_FAIL},
		{"192.0.2.1", "bob@exists.test", SPF_PASS},
		/* RFC 8616 section 4: %{l} of other letters matches nothing. */
		{"192.0.2.1", "b\303\266b@exists.test", SPF_FAIL},
		{"2001:db8::1", "a@macro6.test", SPF_PASS},
		{"192.0.2.1", "a@ptr.test", SPF_PASS},
		{"192.0.2.2", "a@ptr.test", SPF_FAIL},
		{"192.0.2.1", "a@prefix.test", SPF_PASS},
		{"2001:db8:1:2::77", "a@prefix.test", SPF_PASS},
		{"2001:db8:1:3::77", "a@prefix.test", SPF_FAIL},
		{"2001:db8:ffff::", "a@ip6.test", SPF_PASS},
		{"192.0.2.1", "a@ip6.test", SPF_FAIL},
		{"192.0.2.1", "a@unknown.test", SPF_FAIL},
		/* The null path: HELO's name counts. */
		{"192.0.2.1", "", SPF_PASS},
		{"198.51.100.1", "", SPF_FAIL},
		/* An error anywhere voids what stands before it, too. */
		{"192.0.2.1", "a@late.test", SPF_PERMERROR},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spf_answer got;

		check(cases[i].ip, cases[i].sender, &got);
		if (got.result != cases[i].result)
			fail_msg("%s %s: %s (%s)", cases[i].ip, cases[i].sender,
				spf_result_word(got.result), got.mechanism);
	}
}

static void
malformed(void **state)
{
	int i;

	(void)state;
	for (i = 1; i <= 13; i++) {
		char sender[32];
		struct spf_answer got;

		(void)snprintf(sender, sizeof(sender), "a@bad%d.test", i);
		check("192.0.2.1", sender, &got);
		if (i == 13)
			assert_int_equal(got.result, SPF_PERMERROR); /* %{c} is for explanations */
		else if (got.result != SPF_PERMERROR)
			fail_msg("%s: %s", sender, spf_result_word(got.result));
	}
}

static void
details(void **state)
{
	struct spf_answer got;

	(void)state;
	check("192.0.2.1", "a@exp.test", &got);
	assert_string_equal(got.mechanism, "-all");
	assert_string_equal(got.domain, "exp.test");
	assert_string_equal(
		got.explanation, "192.0.2.1 may not send for exp.test (mx.example.test)");
	check("192.0.2.1", "a@void.test", &got);
	assert_string_equal(got.mechanism, "too many look-ups without an answer");
	check("192.0.2.1", "", &got);
	assert_string_equal(got.domain, "helo.test");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies),
		cmocka_unit_test(malformed),
		cmocka_unit_test(details),
	};

	log_set_level(LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
