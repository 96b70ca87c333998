/* SPDX-License-Identifier: MIT */
#include "mta-lite/spf.h"

#include <stdio.h>
#include <string.h>
#include <netinet/in.h>

#include "mta-lite/spf_private.h"

const char *
spf_result_word(enum spf_result r)
{
	static const char *const words[] = {
		"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"};

	return words[r];
}

enum spf_result
spf_problem(struct spf *s, enum spf_result r, const char *what)
{
	if (s->out->mechanism[0] == '\0')
		(void)snprintf(s->out->mechanism, sizeof(s->out->mechanism), "%s", what);
	return r;
}

/* Counts a term that asks the DNS (section 4.6.4). 0: too many. */
static int
count_lookup(struct spf *s)
{
	return ++s->lookups <= SPF_LOOKUPS_MAX;
}

/* What an answer means for the term: 1 go on, 0 no match, -1: *r is the result of all. */
static int
take_verdict(struct spf *s, enum dns_verdict v, enum spf_result *r)
{
	switch (v) {
	case DNS_FOUND:
		return 1;
	case DNS_FAILED:
		*r = spf_problem(s, SPF_TEMPERROR, "DNS look-up failed");
		return -1;
	case DNS_NO_DATA:
	case DNS_NO_NAME:
		break;
	}
	if (++s->voids > SPF_VOID_MAX) {
		*r = spf_problem(s, SPF_PERMERROR, "too many look-ups without an answer");
		return -1;
	}
	return 0;
}

/* "ip4:", "a/24//64": a prefix behind the slash. E_PARSE. */
static enum err
parse_prefix(struct str text, unsigned max, unsigned *bits)
{
	uint32_t n;

	/* No leading zeros (section 5.6: "0" or 1-9...). */
	if (text.len == 0 || text.len > 3 || (text.len > 1 && text.p[0] == '0') ||
		str_to_u32(text, &n) || n > max)
		return E_PARSE;
	*bits = n;
	return OK;
}

/* Cuts "/24", "//64" or "/24//64" off the end of *spec. E_PARSE. */
static enum err
cut_dual_prefix(struct str *spec, unsigned *bits4, unsigned *bits6)
{
	size_t six = str_find_str(*spec, STR("//")), four;

	*bits4 = 32;
	*bits6 = 128;
	if (six < spec->len) {
		if (parse_prefix(str_make(spec->p + six + 2, spec->len - six - 2), 128, bits6))
			return E_PARSE;
		spec->len = six;
	}
	four = str_find(*spec, 0, '/');
	/* A macro may have slashes as delimiters: only what stands behind it is a prefix. */
	while (four < spec->len &&
		str_find(str_make(spec->p + four, spec->len - four), 0, '}') < spec->len - four)
		four = str_find(*spec, four + 1, '/');
	if (four < spec->len) {
		if (parse_prefix(str_make(spec->p + four + 1, spec->len - four - 1), 32, bits4))
			return E_PARSE;
		spec->len = four;
	}
	return OK;
}

static int
is_six(const struct spf *s)
{
	return strchr(s->peer_ip, ':') != NULL;
}

/* Whether the client is within bits of this address. */
static int
address_matches(struct spf *s, const struct net_addr *a, unsigned bits4, unsigned bits6)
{
	char ip[NET_ADDR_TEXT], text[NET_ADDR_TEXT + 8];
	struct net_cidr net;

	net_addr_format_ip(a, ip);
	(void)snprintf(text, sizeof(text), "%s/%u", ip, strchr(ip, ':') ? bits6 : bits4);
	return net_cidr_parse(str_of(text), &net) == OK && net_cidr_match(&net, s->q->peer);
}

static int
match_addresses(
	struct spf *s, const char *name, unsigned bits4, unsigned bits6, enum dns_verdict *verdict)
{
	struct net_addr v[32];
	size_t n = 0, i;

	*verdict = s->dns->addresses(s->dns->arg, name, is_six(s), v, sizeof(v) / sizeof(v[0]), &n);
	for (i = 0; *verdict == DNS_FOUND && i < n; i++) {
		if (address_matches(s, &v[i], bits4, bits6))
			return 1;
	}
	return 0;
}

/* The name that a term names, or the current domain. E_PARSE, E_TOOBIG. */
static enum err
target_name(struct spf *s, struct str spec, const char *domain, char out[SPF_NAME_SIZE])
{
	if (spec.len == 0) {
		(void)snprintf(out, SPF_NAME_SIZE, "%s", domain);
		return OK;
	}
	return spf_expand_name(s, spec, domain, out);
}

/* Section 5.3. Each of these: 1 match, 0 not, -1 *r is the result of all. */
static int
term_a(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	char name[SPF_NAME_SIZE];
	unsigned bits4, bits6;
	enum dns_verdict v;
	int matched;

	if (cut_dual_prefix(&spec, &bits4, &bits6) || target_name(s, spec, domain, name)) {
		*r = spf_problem(s, SPF_PERMERROR, "malformed a");
		return -1;
	}
	matched = match_addresses(s, name, bits4, bits6, &v);
	return take_verdict(s, v, r) < 0 ? -1 : matched;
}

/* Section 5.4. */
static int
term_mx(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	char name[SPF_NAME_SIZE];
	unsigned bits4, bits6;
	struct buf names = BUF_INIT(16 * 1024);
	size_t n = 0, off = 0;
	int matched = 0, go;
	enum dns_verdict v;

	if (cut_dual_prefix(&spec, &bits4, &bits6) || target_name(s, spec, domain, name)) {
		*r = spf_problem(s, SPF_PERMERROR, "malformed mx");
		return -1;
	}
	go = take_verdict(s, s->dns->mx(s->dns->arg, name, &names, &n), r);
	if (go > 0 && n > SPF_NAMES_MAX) {
		*r = spf_problem(s, SPF_PERMERROR, "too many MX names");
		go = -1;
	}
	for (; go > 0 && !matched && off < names.len; off += strlen(names.p + off) + 1) {
		matched = match_addresses(s, names.p + off, bits4, bits6, &v);
		if (v == DNS_FAILED && !matched) {
			*r = spf_problem(s, SPF_TEMPERROR, "DNS look-up failed");
			go = -1;
		}
	}
	buf_free(&names);
	return go < 0 ? -1 : matched;
}

/* Section 5.5: which of the client's names is in the domain and leads back to the client. */
static int
term_ptr(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	char name[SPF_NAME_SIZE];
	struct buf names = BUF_INIT(16 * 1024);
	size_t n = 0, off = 0;
	unsigned seen = 0;
	int matched = 0;
	enum dns_verdict v;

	if (target_name(s, spec, domain, name)) {
		*r = spf_problem(s, SPF_PERMERROR, "malformed ptr");
		return -1;
	}
	v = s->dns->ptr(s->dns->arg, s->q->peer, &names, &n);
	/* Its errors mean "no match" (section 5.5). */
	for (; v == DNS_FOUND && !matched && off < names.len && seen++ < SPF_NAMES_MAX;
		off += strlen(names.p + off) + 1) {
		enum dns_verdict w;

		if (spf_name_within(names.p + off, name))
			matched = match_addresses(s, names.p + off, 32, 128, &w);
	}
	buf_free(&names);
	if (v == DNS_NO_DATA || v == DNS_NO_NAME)
		return take_verdict(s, v, r) < 0 ? -1 : 0;
	return matched;
}

/* Section 5.6. */
static enum err
parse_network(struct str spec, int six, struct net_cidr *net)
{
	size_t slash = str_find(spec, 0, '/');
	unsigned bits;

	if (slash < spec.len && parse_prefix(str_make(spec.p + slash + 1, spec.len - slash - 1),
					six ? 128 : 32, &bits))
		return E_PARSE;
	if ((str_find(spec, 0, ':') < slash) != six)
		return E_PARSE;
	return net_cidr_parse(spec, net);
}

static int
match_network(struct spf *s, struct str spec, int six, const char *domain, enum spf_result *r)
{
	struct net_cidr net;

	(void)domain;
	(void)r;
	return parse_network(spec, six, &net) == OK && is_six(s) == six &&
	       net_cidr_match(&net, s->q->peer);
}

/* Section 5.7. */
static int
term_exists(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	char name[SPF_NAME_SIZE];
	struct net_addr v[1];
	size_t n;

	if (spec.len == 0 || spf_expand_name(s, spec, domain, name)) {
		*r = spf_problem(s, SPF_PERMERROR, "malformed exists");
		return -1;
	}
	return take_verdict(s, s->dns->addresses(s->dns->arg, name, 0, v, 1, &n), r);
}

static int
term_ip4(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	return match_network(s, spec, 0, domain, r);
}

static int
term_ip6(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	return match_network(s, spec, 1, domain, r);
}

static int
term_all(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	(void)s;
	(void)spec;
	(void)domain;
	(void)r;
	return 1;
}

static enum spf_result check_domain(struct spf *s, const char *domain, int is_include);

/* Section 5.2. */
static int
term_include(struct spf *s, struct str spec, const char *domain, enum spf_result *r)
{
	char name[SPF_NAME_SIZE];

	if (spec.len == 0 || spf_expand_name(s, spec, domain, name)) {
		*r = spf_problem(s, SPF_PERMERROR, "malformed include");
		return -1;
	}
	*r = check_domain(s, name, 1);
	switch (*r) {
	case SPF_PASS:
		return 1;
	case SPF_FAIL:
	case SPF_SOFTFAIL:
	case SPF_NEUTRAL:
		return 0;
	case SPF_NONE:
		*r = spf_problem(s, SPF_PERMERROR, "include of a domain without a policy");
		return -1;
	case SPF_TEMPERROR:
	case SPF_PERMERROR:
		break;
	}
	return -1;
}

/* What may stand behind a mechanism's name. */
enum operand { NOTHING, NETWORK4, NETWORK6, DOMAIN, DOMAIN_OR_NOT, DOMAIN_AND_PREFIX };

static const struct mechanism {
	const char *name;
	enum operand operand;
	int asks; /* counts as a look-up */
	int (*run)(struct spf *s, struct str spec, const char *domain, enum spf_result *r);
} mechanisms[] = {
	{"all", NOTHING, 0, term_all},
	{"ip4", NETWORK4, 0, term_ip4},
	{"ip6", NETWORK6, 0, term_ip6},
	{"a", DOMAIN_AND_PREFIX, 1, term_a},
	{"mx", DOMAIN_AND_PREFIX, 1, term_mx},
	{"ptr", DOMAIN_OR_NOT, 1, term_ptr},
	{"exists", DOMAIN, 1, term_exists},
	{"include", DOMAIN, 1, term_include},
};

/* A term without qualifier into mechanism and what stands behind it. NULL: there is no such. */
static const struct mechanism *
split_term(struct str term, struct str *spec)
{
	size_t colon = str_find(term, 0, ':'), slash = str_find(term, 0, '/'), i;
	size_t end = colon < slash ? colon : slash;
	struct str name = str_make(term.p, end);

	*spec = str_make(term.p + end, term.len - end);
	if (colon == end && spec->len > 0)
		*spec = str_make(spec->p + 1, spec->len - 1);
	for (i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		const struct mechanism *m = &mechanisms[i];

		if (!str_is_i(name, m->name))
			continue;
		/* "a:" with nothing behind it names nothing; "ip4/8" names no network. */
		if ((colon == end && end < term.len && (spec->len == 0 || spec->p[0] == '/')) ||
			(colon != end && end < term.len && m->operand != DOMAIN_AND_PREFIX))
			return NULL;
		return m;
	}
	return NULL;
}

static int
operand_is_valid(struct spf *s, const struct mechanism *m, struct str spec)
{
	unsigned bits4, bits6;
	struct net_cidr net;

	switch (m->operand) {
	case NOTHING:
		return spec.len == 0;
	case NETWORK4:
	case NETWORK6:
		return parse_network(spec, m->operand == NETWORK6, &net) == OK;
	case DOMAIN_AND_PREFIX:
		if (cut_dual_prefix(&spec, &bits4, &bits6))
			return 0;
		break;
	case DOMAIN:
		return spf_domain_spec_is_valid(s, spec);
	case DOMAIN_OR_NOT:
		break;
	}
	return spec.len == 0 || spf_domain_spec_is_valid(s, spec);
}

static enum spf_result
qualifier(char c)
{
	switch (c) {
	case '-':
		return SPF_FAIL;
	case '~':
		return SPF_SOFTFAIL;
	case '?':
		return SPF_NEUTRAL;
	default:
		return SPF_PASS;
	}
}

static struct str
without_qualifier(struct str term)
{
	return strchr("+-~?", term.p[0]) ? str_make(term.p + 1, term.len - 1) : term;
}

/* A record's modifiers (section 6). */
struct modifiers {
	struct str redirect, exp;
};

/* "name=value": the equals sign stands before any colon or slash. */
static int
split_modifier(struct str term, struct str *name, struct str *value)
{
	size_t eq = str_find(term, 0, '='), i;

	if (eq == term.len || eq == 0 || !str_is_alpha(term.p[0]))
		return 0;
	for (i = 0; i < eq; i++) {
		char c = term.p[i];

		if (!str_is_alnum(c) && c != '-' && c != '_' && c != '.')
			return 0;
	}
	*name = str_make(term.p, eq);
	*value = str_make(term.p + eq + 1, term.len - eq - 1);
	return 1;
}

/*
 * The whole record's syntax, before anything is evaluated: an error anywhere makes all of it void
 * (section 4.6).
 */
static enum err
check_syntax(struct spf *s, struct str record, struct modifiers *m)
{
	memset(m, 0, sizeof(*m));
	while (record.p != NULL) {
		struct str term = str_split(&record, ' '), name, value, *slot, spec;
		const struct mechanism *mech;

		if (term.len == 0)
			continue;
		if (!split_modifier(term, &name, &value)) {
			mech = split_term(without_qualifier(term), &spec);
			if (mech == NULL || !operand_is_valid(s, mech, spec))
				return E_PARSE;
			continue;
		}
		if (str_is_i(name, "redirect"))
			slot = &m->redirect;
		else if (str_is_i(name, "exp"))
			slot = &m->exp;
		else
			continue; /* unknown ones are passed over (section 6) */
		if (slot->p != NULL || !spf_domain_spec_is_valid(s, value))
			return E_PARSE;
		*slot = value;
	}
	return OK;
}

/*
 * RFC 8616 section 4: no DNS name has a local part beyond ASCII, and what is made of one matches
 * nothing.
 */
static int
matches_nothing(const struct spf *s, struct str spec)
{
	size_t i;

	if (str_is_ascii(str_of(s->sender)))
		return 0;
	for (i = 0; i + 3 <= spec.len; i++) {
		char letter = str_lower(spec.p[i + 2]);

		if (memcmp(spec.p + i, "%{", 2) == 0 && (letter == 's' || letter == 'l'))
			return 1;
	}
	return 0;
}

/* Section 6.2; of the outermost record alone. */
static void
explain(struct spf *s, struct str spec, const char *domain)
{
	char name[SPF_NAME_SIZE];
	struct buf records = BUF_INIT(SPF_RECORDS_MAX),
		   text = BUF_INIT(sizeof(s->out->explanation) - 1);
	size_t n = 0, i;

	if (!matches_nothing(s, spec) && spf_expand_name(s, spec, domain, name) == OK &&
		s->dns->txt(s->dns->arg, name, &records, &n) == DNS_FOUND && n == 1 &&
		records.len > 0 && spf_expand(s, str_of(records.p), domain, 1, &text) == OK) {
		for (i = 0; i < text.len; i++) {
			if (text.p[i] < ' ' || text.p[i] > '~')
				text.p[i] = '?';
		}
		(void)snprintf(
			s->out->explanation, sizeof(s->out->explanation), "%s", buf_cstr(&text));
	}
	buf_free(&records);
	buf_free(&text);
}

static enum spf_result
evaluate(struct spf *s, struct str record, const char *domain, int is_include)
{
	struct str rest = record;
	struct modifiers m;
	enum spf_result r = SPF_NEUTRAL;

	if (check_syntax(s, record, &m))
		return spf_problem(s, SPF_PERMERROR, "malformed policy");
	while (rest.p != NULL) {
		struct str term = str_split(&rest, ' '), name, value, spec;
		const struct mechanism *mech;
		int matched;

		if (term.len == 0 || split_modifier(term, &name, &value))
			continue;
		mech = split_term(without_qualifier(term), &spec);
		if (mech->asks && !count_lookup(s))
			return spf_problem(s, SPF_PERMERROR, "too many look-ups");
		matched = matches_nothing(s, spec) ? 0 : mech->run(s, spec, domain, &r);
		if (matched < 0)
			return r;
		if (!matched)
			continue;
		r = qualifier(term.p[0]);
		if (!is_include) {
			(void)snprintf(s->out->mechanism, sizeof(s->out->mechanism), "%.*s",
				STR_ARG(term));
			if (r == SPF_FAIL && m.exp.p)
				explain(s, m.exp, domain);
		}
		return r;
	}
	if (m.redirect.p && !matches_nothing(s, m.redirect)) {
		char name[SPF_NAME_SIZE];

		/* Section 6.1. */
		if (!count_lookup(s))
			return spf_problem(s, SPF_PERMERROR, "too many look-ups");
		if (spf_expand_name(s, m.redirect, domain, name))
			return spf_problem(s, SPF_PERMERROR, "malformed redirect");
		r = check_domain(s, name, is_include);
		return r == SPF_NONE ? spf_problem(s, SPF_PERMERROR, "redirect to no policy") : r;
	}
	return SPF_NEUTRAL;
}

/* "v=spf1" and a blank or the end (section 4.5). */
static int
is_spf_record(struct str record)
{
	return str_starts_i(record, "v=spf1") && (record.len == 6 || record.p[6] == ' ');
}

static enum spf_result
check_domain(struct spf *s, const char *domain, int is_include)
{
	struct buf records = BUF_INIT(SPF_RECORDS_MAX);
	struct str found = {NULL, 0};
	size_t n = 0, off, count = 0;
	enum spf_result r;

	if (!spf_name_is_valid(domain))
		return SPF_NONE; /* section 4.3 */
	switch (s->dns->txt(s->dns->arg, domain, &records, &n)) {
	case DNS_FAILED:
		buf_free(&records);
		return spf_problem(s, SPF_TEMPERROR, "DNS look-up failed");
	case DNS_NO_DATA:
	case DNS_NO_NAME:
	case DNS_FOUND:
		break;
	}
	for (off = 0; off < records.len; off += strlen(records.p + off) + 1) {
		struct str record = str_of(records.p + off);

		if (is_spf_record(record)) {
			found = str_make(record.p + 6, record.len - 6);
			count++;
		}
	}
	if (count == 0)
		r = SPF_NONE;
	else if (count > 1)
		r = spf_problem(s, SPF_PERMERROR, "several policies");
	else
		r = evaluate(s, found, domain, is_include);
	buf_free(&records);
	return r;
}

void
spf_check(const struct dns_source *dns, const struct spf_query *q, struct spf_answer *out)
{
	struct spf s = {.dns = dns, .q = q, .out = out};
	const char *at = strrchr(q->sender, '@');

	memset(out, 0, sizeof(*out));
	net_addr_format_ip(q->peer, s.peer_ip);
	/* Section 4.3: a sender without a local part is postmaster. */
	if (q->sender[0] == '\0' || at == NULL || at == q->sender) {
		(void)snprintf(s.sender, sizeof(s.sender), "postmaster@%s",
			at	       ? at + 1
			: q->sender[0] ? q->sender
				       : q->helo);
	} else {
		(void)snprintf(s.sender, sizeof(s.sender), "%s", q->sender);
	}
	at = strrchr(s.sender, '@');
	(void)snprintf(out->domain, sizeof(out->domain), "%s", at ? at + 1 : "");
	out->result = check_domain(&s, out->domain, 0);
}
