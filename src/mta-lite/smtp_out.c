/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_out.h"

#include <string.h>

#include "lib/log.h"
#include "mta-lite/smtp_sasl.h"

static enum err
open_tables(const struct config *conf, struct smtp_out *o)
{
	struct buf why = {0};
	enum err e;

	o->maps = maps_create(conf);
	e = map_list_parse(o->maps, &conf->smtp_tls_policy_maps, &o->tls_policies, &why);
	if (e == OK)
		e = map_list_parse(o->maps, &conf->smtp_sasl_password_maps, &o->passwords, &why);
	if (e)
		log_event(LOGL_ERROR, "smtp.tables failed", "error", buf_cstr(&why), NULL);
	buf_free(&why);
	return e ? e : smtp_edit_open(conf, o->maps, &o->edit);
}

/* "": none. */
static enum err
parse_bind(const char *name, const char *text, int family, int *has, struct net_addr *out)
{
	char bracketed[NET_ADDR_TEXT];
	struct buf b = BUF_INIT(sizeof(bracketed) - 1);
	enum err e;

	*has = 0;
	if (text[0] == '\0')
		return OK;
	buf_printf(&b, family == AF_INET6 && text[0] != '[' ? "[%s]:1" : "%s:1", text);
	e = b.err ? b.err : net_addr_parse(buf_str(&b), 0, out);
	buf_free(&b);
	if (e == OK && out->sa.ss_family != family)
		e = E_PARSE;
	if (e)
		log_event(LOGL_ERROR, "smtp.bind failed", "setting", name, "error", err_text(e),
			NULL);
	*has = e == OK;
	return e;
}

enum err
smtp_out_open(const struct config *current, struct smtp_out *o)
{
	struct tls_policy policy;
	struct config *conf;
	/* Tables keep their settings for good. */
	enum err e = conf_copy(current, &conf);

	memset(o, 0, sizeof(*o));
	if (e)
		return e;
	o->conf = conf;
	if (tls_level_parse(str_of(conf->smtp_tls_security_level), &policy.level))
		return E_PARSE;
	e = parse_bind(
		"smtp_bind_address", conf->smtp_bind_address, AF_INET, &o->has_bind4, &o->bind4);
	if (e == OK)
		e = parse_bind("smtp_bind_address6", conf->smtp_bind_address6, AF_INET6,
			&o->has_bind6, &o->bind6);
	if (e == OK)
		e = open_tables(conf, o);
	if (e == OK && conf->smtp_sasl_auth_enable)
		e = smtp_sasl_start();
	if (e == OK)
		e = dns_open(conf, &o->dns);
	if (e)
		return e;
	if ((policy.level == TLS_LEVEL_DANE || policy.level == TLS_LEVEL_DANE_ONLY) &&
		!dns_validates(o->dns))
		log_event(LOGL_WARN, "smtp.dane off", "error",
			"smtp_tls_security_level asks for DANE, which needs dns_trust_anchor",
			NULL);
	o->tls = smtp_tls_context(conf);
	return o->tls ? srs_open(conf, &o->srs) : E_IO;
}

/* As it is written, then the bare name, then the domains above it with a dot before. */
static enum err
find_policy(const struct map_list *l, const char *hop, const char *name, struct buf *value)
{
	enum err e = map_list_find(l, str_of(hop), value);
	const char *dot = name;

	if (e == E_NOTFOUND && strcmp(hop, name) != 0)
		e = map_list_find(l, str_of(name), value);
	while (e == E_NOTFOUND && (dot = strchr(dot + (*dot == '.'), '.')) != NULL)
		e = map_list_find(l, str_of(dot), value);
	return e;
}

enum err
smtp_out_policy(
	const struct smtp_out *o, const char *hop, const char *name, struct tls_policy *policy)
{
	struct buf value = {0};
	enum err e = find_policy(&o->tls_policies, hop, name, &value);

	if (e == E_NOTFOUND) {
		memset(policy, 0, sizeof(*policy));
		e = tls_level_parse(str_of(o->conf->smtp_tls_security_level), &policy->level);
	} else if (e == OK) {
		e = tls_policy_parse(buf_str(&value), policy);
		if (e)
			log_event(LOGL_ERROR, "smtp.policy malformed", "relay", hop, "error",
				err_text(e), NULL);
	}
	buf_free(&value);
	return e;
}

enum err
smtp_out_account(const struct smtp_out *o, const char *hop, const char *host, struct buf *account)
{
	enum err e = map_list_find(&o->passwords, str_of(hop), account);

	if (e == E_NOTFOUND && strcmp(hop, host) != 0)
		e = map_list_find(&o->passwords, str_of(host), account);
	return e;
}
