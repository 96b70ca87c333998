/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/dsn.h"
#include "mta-lite/restrict_private.h"
#include "mta-lite/words.h"

/* Tables of access(5), what stands in them, and policy servers, which say the same. */

enum { TEXTS_MAX = 100, MX_LOOKED_AT = 10 };

/* ---- actions ---- */

/* Without a text: "Access denied". An enhanced code at its front takes the place of the default. */
static enum restrict_verdict
refuse(struct restrict_run *r, int code, const char *dsn, struct str text, const char *name,
	const char *class)
{
	char own[DSN_CODE_SIZE];
	char *copy;
	enum restrict_verdict v;

	(void)snprintf(own, sizeof(own), "%c%s", code / 100 + '0', dsn + 1);
	if (dsn_code_cut(&text, own))
		own[0] = (char)(code / 100 + '0');
	copy = text.len > 0 ? str_dup(text) : mem_strdup("Access denied");
	v = restrict_reject(r, code, own, name, class, copy);
	free(copy);
	return v;
}

static void
set_text(char **field, struct str text)
{
	free(*field);
	*field = str_dup(text);
}

static void
add_text(char ***list, size_t *n, struct str text)
{
	size_t i;

	/* A list that runs for each recipient says the same again. */
	for (i = 0; i < *n; i++) {
		if (str_is(text, (*list)[i]))
			return;
	}
	if (*n >= TEXTS_MAX)
		return;
	*list = mem_realloc((void *)*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = str_dup(text);
}

void
restrict_effects_add_bcc(struct restrict_effects *e, struct str address)
{
	add_text(&e->bcc, &e->bcc_count, address);
}

static void
say(struct restrict_run *r, const char *event, const char *action, struct str text,
	const char *name, const char *class)
{
	log_event(LOGL_INFO, event, "action", action, "ip", r->facts->client_ip, "helo",
		r->facts->helo, "from", r->facts->sender, "to", r->facts->recipient, "about", class,
		"name", name, "text", log_str(text), NULL);
}

/* "Name: value", as a header field must be (RFC 5322 section 2.2). */
static int
is_header_field(struct str text)
{
	size_t colon = str_find(text, 0, ':'), i;

	if (colon == 0 || colon == text.len)
		return 0;
	for (i = 0; i < colon; i++) {
		if (text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f)
			return 0;
	}
	return !str_has_control(text);
}

/* What is noted for the message, and decides nothing. 1: it was such an action. */
static int
note(struct restrict_run *r, struct str word, struct str text)
{
	struct restrict_effects *e = r->effects;
	int has_at = str_find(text, 0, '@') < text.len;

	if (str_is_i(word, "HOLD")) {
		set_text(&e->hold, text);
	} else if (str_is_i(word, "FILTER")) {
		if (str_find(text, 0, ':') < text.len && !str_has_control(text))
			set_text(&e->filter, text);
	} else if (str_is_i(word, "REDIRECT")) {
		if (has_at)
			set_text(&e->redirect, text);
	} else if (str_is_i(word, "BCC")) {
		if (has_at)
			restrict_effects_add_bcc(e, text);
	} else if (str_is_i(word, "PREPEND")) {
		if (is_header_field(text))
			add_text(&e->prepend, &e->prepend_count, text);
	} else {
		return str_is_i(word, "WARN") || str_is_i(word, "INFO");
	}
	return 1;
}

static int
is_number(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!str_is_digit(s.p[i]))
			return 0;
	}
	return s.len > 0;
}

static int
reply_code(struct str word)
{
	uint32_t code;

	if (word.len != 3 || (word.p[0] != '4' && word.p[0] != '5') || str_to_u32(word, &code))
		return 0;
	return (int)code;
}

/* Any other text is a list of restrictions. */
static enum restrict_verdict
run_list(struct restrict_run *r, struct str text, const char *name, const char *class)
{
	struct check_list list;
	struct buf why = {0};
	enum restrict_verdict v;

	/* Its tables would have to be opened now, where they cannot be. */
	if (restrict_list_parse((struct restrict_set *)r->set, text, &list, &why)) {
		log_event(LOGL_ERROR, "smtpd.action malformed", "name", name, "reason",
			buf_cstr(&why), NULL);
		v = restrict_table_failed(r, name, class);
	} else {
		v = restrict_list_run(r, &list);
		restrict_list_free(&list);
	}
	buf_free(&why);
	return v;
}

enum restrict_verdict
restrict_action(struct restrict_run *r, struct str action, const char *name, const char *class)
{
	struct str text = str_trim(action), word = str_make(text.p, 0);
	char *copy;
	int code;

	while (word.len < text.len && !str_is_space(text.p[word.len]))
		word.len++;
	text = str_trim(str_make(text.p + word.len, text.len - word.len));
	code = reply_code(word);
	if (code)
		return refuse(r, code, code < 500 ? "4.7.1" : "5.7.1", text, name, class);
	if (is_number(word) || str_is_i(word, "OK") || str_is_i(word, "PERMIT"))
		return RESTRICT_OK;
	if (str_is_i(word, "DUNNO") || word.len == 0)
		return RESTRICT_DUNNO;
	if (str_is_i(word, "REJECT"))
		return text.len || !str_is(word, "reject")
			       ? refuse(r, 554, "5.7.1", text, name, class)
			       : restrict_reject(r, 554, "5.7.1", name, class, "Access denied");
	if (str_is_i(word, "DEFER"))
		return refuse(r, 450, "4.7.1", text, name, class);
	if (str_is_i(word, "DEFER_IF_PERMIT")) {
		copy = text.len ? str_dup(text) : mem_strdup("Service unavailable");
		restrict_defer_if_permit(r, 450, "4.7.1", name, class, copy);
		free(copy);
		return RESTRICT_DUNNO;
	}
	if (str_is_i(word, "DEFER_IF_REJECT")) {
		copy = text.len ? str_dup(text) : mem_strdup("Service unavailable");
		restrict_defer_if_reject(r, "4.7.1", name, class, copy);
		free(copy);
		return RESTRICT_DUNNO;
	}
	if (str_is_i(word, "DISCARD")) {
		say(r, "smtpd.action discard", "DISCARD", text, name, class);
		set_text(&r->effects->discard, text);
		return RESTRICT_OK;
	}
	if (note(r, word, text)) {
		copy = str_dup(word);
		say(r, "smtpd.action note", copy, text, name, class);
		free(copy);
		return RESTRICT_DUNNO;
	}
	return run_list(r, action, name, class);
}

/* ---- tables ---- */

static enum restrict_verdict
act(struct restrict_run *r, enum err e, struct buf *value, const char *name, const char *class)
{
	enum restrict_verdict v = RESTRICT_DUNNO;

	if (e == OK)
		v = restrict_action(r, buf_str(value), name, class);
	else if (e != E_NOTFOUND)
		v = restrict_table_failed(r, name, class);
	buf_free(value);
	return v;
}

static enum err
find_name(const struct check *c, const char *name, struct buf *value)
{
	struct map_address a = {str_of(name), '\0', 0};

	return map_find_address(&c->table, &a, map_keys_domain, value, NULL);
}

static enum err
find_addr(const struct check *c, const struct net_addr *a, struct buf *value)
{
	char ip[NET_ADDR_TEXT];

	net_addr_format_ip(a, ip);
	return map_find_ip(&c->table, str_of(ip), value);
}

static enum restrict_verdict
client_by(struct restrict_run *r, const struct check *c, int reverse)
{
	const struct restrict_names *names = r->host->names(r->host->arg);
	const char *name = reverse ? names->reverse : names->name;
	struct buf value = {0}, space = {0};
	enum err e = find_name(c, name, &value);
	enum restrict_verdict v;

	if (e == E_NOTFOUND)
		e = map_find_ip(&c->table, str_of(r->facts->client_ip), &value);
	v = act(r, e, &value, restrict_client_text(r, &space), restrict_class_client);
	buf_free(&space);
	return v;
}

static enum restrict_verdict
check_client_access(struct restrict_run *r, const struct check *c)
{
	return client_by(r, c, 0);
}

static enum restrict_verdict
check_reverse_client_access(struct restrict_run *r, const struct check *c)
{
	return client_by(r, c, 1);
}

static enum restrict_verdict
check_helo_access(struct restrict_run *r, const struct check *c)
{
	const char *helo = r->facts->helo;
	struct buf value = {0};

	if (helo == NULL || helo[0] == '\0')
		return RESTRICT_DUNNO;
	return act(r, find_name(c, helo, &value), &value, helo, restrict_class_helo);
}

/* "<>" stands for the null sender (smtpd_null_access_lookup_key). */
static enum restrict_verdict
by_address(struct restrict_run *r, const struct check *c, const char *address, const char *class)
{
	const char *delimiter = r->set->conf->recipient_delimiter;
	struct map_address a = {str_of(address), delimiter ? delimiter[0] : '\0', 0};
	struct buf value = {0};
	enum err e;

	if (address == NULL)
		return RESTRICT_DUNNO;
	if (address[0] == '\0') {
		e = map_list_find(&c->table, STR("<>"), &value);
	} else {
		/* "postmaster" alone has no domain; its whole is a key all the same. */
		a.local = strchr(address, '@') == NULL;
		e = map_find_address(&c->table, &a, map_keys_access, &value, NULL);
	}
	return act(r, e, &value, address, class);
}

static enum restrict_verdict
check_sender_access(struct restrict_run *r, const struct check *c)
{
	return by_address(r, c, r->facts->sender, restrict_class_sender);
}

static enum restrict_verdict
check_recipient_access(struct restrict_run *r, const struct check *c)
{
	return by_address(r, c, r->facts->recipient, restrict_class_recipient);
}

static enum restrict_verdict
check_etrn_access(struct restrict_run *r, const struct check *c)
{
	const char *domain = r->facts->etrn;
	struct buf value = {0};

	if (domain == NULL)
		return RESTRICT_DUNNO;
	return act(r, find_name(c, domain, &value), &value, domain, restrict_class_etrn);
}

/* ---- the servers behind a name ---- */

/* The names of its MX or NS, or what stands for them. E_TEMPFAIL: the DNS does not answer. */
static enum err
server_names(struct restrict_run *r, const char *domain, int ns, struct buf *out, size_t *n)
{
	const struct dns_source *dns = &r->host->dns;
	const char *name = domain;
	enum dns_verdict v;

	v = ns ? dns->ns(dns->arg, name, out, n) : dns->mx(dns->arg, name, out, n);
	/* A subdomain has its parent's name servers. */
	while (ns && (v == DNS_NO_DATA || v == DNS_NO_NAME) && strchr(name, '.')) {
		name = strchr(name, '.') + 1;
		if (strchr(name, '.') == NULL)
			break;
		v = dns->ns(dns->arg, name, out, n);
	}
	/* Without MX the domain itself takes its mail. */
	if (!ns && (v == DNS_NO_DATA || v == DNS_NO_NAME)) {
		buf_add(out, domain, strlen(domain) + 1);
		*n = 1;
		return OK;
	}
	return v == DNS_FOUND ? OK : v == DNS_FAILED ? E_TEMPFAIL : E_NOTFOUND;
}

static enum err
find_server(struct restrict_run *r, const struct check *c, const char *server, struct buf *value)
{
	const struct dns_source *dns = &r->host->dns;
	struct net_addr v[MX_LOOKED_AT];
	enum err e = server[0] ? find_name(c, server, value) : E_NOTFOUND;
	size_t n, i;
	int six;

	for (six = 0; six < 2 && e == E_NOTFOUND && server[0]; six++) {
		if (dns->addresses(dns->arg, server, six, v, MX_LOOKED_AT, &n) != DNS_FOUND)
			continue;
		for (i = 0; i < n && e == E_NOTFOUND; i++)
			e = find_addr(c, &v[i], value);
	}
	return e;
}

static enum restrict_verdict
by_servers(struct restrict_run *r, const struct check *c, const char *domain, const char *name,
	const char *class, int ns)
{
	struct buf servers = BUF_INIT(DNS_TEXT_MAX), value = {0};
	enum restrict_verdict v = RESTRICT_DUNNO;
	const char *server;
	size_t n = 0, i;
	enum err e;

	if (domain == NULL || domain[0] == '[' || domain[0] == '\0' ||
		strcmp(domain, "unknown") == 0)
		return RESTRICT_DUNNO;
	e = server_names(r, domain, ns, &servers, &n);
	if (e == E_TEMPFAIL)
		restrict_defer_if_permit(r, 450, "4.1.8", name, class,
			ns ? "Unable to look up name servers" : "Unable to look up mail servers");
	server = buf_cstr(&servers);
	for (i = 0; e == OK && i < n && i < MX_LOOKED_AT && v == RESTRICT_DUNNO; i++) {
		v = act(r, find_server(r, c, server, &value), &value, name, class);
		server += strlen(server) + 1;
	}
	buf_free(&servers);
	/* Strangers' servers give nobody a right (as in Postfix). */
	return v == RESTRICT_OK ? RESTRICT_DUNNO : v;
}

#define SERVER_CHECK(function, domain, name, class, ns)                                            \
	static enum restrict_verdict function(struct restrict_run *r, const struct check *c)       \
	{                                                                                          \
		return by_servers(r, c, domain, name, class, ns);                                  \
	}
SERVER_CHECK(client_mx, r->host->names(r->host->arg)->name, r->facts->client_ip,
	restrict_class_client, 0)
SERVER_CHECK(client_ns, r->host->names(r->host->arg)->name, r->facts->client_ip,
	restrict_class_client, 1)
SERVER_CHECK(reverse_client_mx, r->host->names(r->host->arg)->reverse, r->facts->client_ip,
	restrict_class_client, 0)
SERVER_CHECK(reverse_client_ns, r->host->names(r->host->arg)->reverse, r->facts->client_ip,
	restrict_class_client, 1)
SERVER_CHECK(helo_mx, r->facts->helo, r->facts->helo, restrict_class_helo, 0)
SERVER_CHECK(helo_ns, r->facts->helo, r->facts->helo, restrict_class_helo, 1)
SERVER_CHECK(
	sender_mx, restrict_domain(r->facts->sender), r->facts->sender, restrict_class_sender, 0)
SERVER_CHECK(
	sender_ns, restrict_domain(r->facts->sender), r->facts->sender, restrict_class_sender, 1)
SERVER_CHECK(recipient_mx, restrict_domain(r->facts->recipient), r->facts->recipient,
	restrict_class_recipient, 0)
SERVER_CHECK(recipient_ns, restrict_domain(r->facts->recipient), r->facts->recipient,
	restrict_class_recipient, 1)

/* ---- policy servers ---- */

static enum restrict_verdict
check_policy_service(struct restrict_run *r, const struct check *c)
{
	struct buf action = {0}, space = {0};
	enum restrict_verdict v;
	enum err e;

	e = r->host->policy ? r->host->policy(r->host->arg, c->text, r->stage, &action)
			    : E_UNSUPPORTED;
	if (e)
		v = restrict_table_failed(
			r, restrict_stage_name(r, &space), restrict_stage_class(r));
	else
		v = restrict_action(r, buf_str(&action), restrict_stage_name(r, &space),
			restrict_stage_class(r));
	buf_free(&action);
	buf_free(&space);
	return v;
}

/* ---- the greylist ---- */

static enum restrict_verdict
run_greylist(struct restrict_run *r, const struct check *c)
{
	struct buf text = {0};
	enum restrict_verdict v = RESTRICT_DUNNO;
	int64_t wait_s = 0;

	(void)c;
	if (r->host->greylist == NULL || r->facts->recipient == NULL)
		return RESTRICT_DUNNO;
	/* A store that fails keeps nobody out. */
	if (r->host->greylist(r->host->arg, r->facts->recipient, &wait_s) == E_TEMPFAIL) {
		buf_printf(&text, "Greylisted, try again in %lld seconds", (long long)wait_s);
		v = restrict_reject(r, 450, "4.7.1", r->facts->recipient, restrict_class_recipient,
			buf_cstr(&text));
	}
	buf_free(&text);
	return v;
}

const struct check_type restrict_access[] = {
	{"check_client_access", ARG_TABLE, 1, check_client_access},
	{"check_reverse_client_hostname_access", ARG_TABLE, 1, check_reverse_client_access},
	{"check_helo_access", ARG_TABLE, 0, check_helo_access},
	{"check_sender_access", ARG_TABLE, 0, check_sender_access},
	{"check_recipient_access", ARG_TABLE, 0, check_recipient_access},
	{"check_etrn_access", ARG_TABLE, 0, check_etrn_access},
	{"check_client_mx_access", ARG_TABLE, 1, client_mx},
	{"check_client_ns_access", ARG_TABLE, 1, client_ns},
	{"check_reverse_client_hostname_mx_access", ARG_TABLE, 1, reverse_client_mx},
	{"check_reverse_client_hostname_ns_access", ARG_TABLE, 1, reverse_client_ns},
	{"check_helo_mx_access", ARG_TABLE, 1, helo_mx},
	{"check_helo_ns_access", ARG_TABLE, 1, helo_ns},
	{"check_sender_mx_access", ARG_TABLE, 1, sender_mx},
	{"check_sender_ns_access", ARG_TABLE, 1, sender_ns},
	{"check_recipient_mx_access", ARG_TABLE, 1, recipient_mx},
	{"check_recipient_ns_access", ARG_TABLE, 1, recipient_ns},
	{"check_policy_service", ARG_TEXT, 0, check_policy_service},
	{"greylist", ARG_NONE, 0, run_greylist},
	{NULL, ARG_NONE, 0, NULL},
};
