/* SPDX-License-Identifier: MIT */
#include "mta-lite/route.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/pipe_transport.h"

struct routes {
	const struct config *conf;
	struct map_list transport, relayhosts;
};

enum err
routes_open(const struct config *conf, struct maps *maps, struct routes **out)
{
	struct routes *r = MEM_NEW(struct routes);
	struct buf why = {0};
	enum err e = map_list_parse(maps, &conf->transport_maps, &r->transport, &why);

	r->conf = conf;
	if (e == OK)
		e = map_list_parse(
			maps, &conf->sender_dependent_relayhost_maps, &r->relayhosts, &why);
	if (e) {
		log_event(LOGL_ERROR, "qmgr.tables failed", "error", buf_cstr(&why), NULL);
		routes_free(&r);
	}
	buf_free(&why);
	*out = r;
	return e;
}

void
routes_free(struct routes **r)
{
	if (*r == NULL)
		return;
	map_list_free(&(*r)->transport);
	map_list_free(&(*r)->relayhosts);
	MEM_FREE(*r);
}

void
route_free(struct route *route)
{
	buf_free(&route->hop);
}

static enum err
set(struct route *route, enum route_kind kind, int chosen, struct str hop)
{
	route->kind = kind;
	route->chosen = chosen;
	buf_reset(&route->hop);
	return buf_add_str(&route->hop, hop);
}

static enum err
set_pipe(struct str name, struct str hop, const char *domain, struct route *route)
{
	enum err e = set(route, ROUTE_PIPE, 1, name);

	buf_add_char(&route->hop, ':');
	if (hop.len > 0)
		buf_add_str(&route->hop, hop);
	else
		buf_add_cstr(&route->hop, domain ? domain : "");
	return e ? e : route->hop.err;
}

enum err
route_parse(const struct config *conf, struct str text, const char *domain, struct route *route)
{
	struct pipe_transport pipe;
	struct str rest = str_trim(text), name;
	int has_colon = str_find(rest, 0, ':') < rest.len;

	name = str_split(&rest, ':');
	if (!has_colon)
		return E_PARSE;
	rest = str_trim(rest);
	if (pipe_transport_find(conf, name, &pipe))
		return set_pipe(name, rest, domain, route);
	if (str_is_i(name, "smtp") || str_is_i(name, "relay")) {
		if (rest.len == 0)
			return domain ? set(route, ROUTE_SMTP, 0, str_of(domain)) : E_PARSE;
		return set(route, ROUTE_SMTP, 1, rest);
	}
	if (str_is_i(name, "lmtp")) {
		if (rest.len == 0)
			return E_PARSE;
		return set(
			route, str_starts_i(rest, "unix:") ? ROUTE_LMTP_UNIX : ROUTE_LMTP, 1, rest);
	}
	if (str_is_i(name, "local") || str_is_i(name, "virtual"))
		return set(route, ROUTE_LOCAL, 1, str_make("", 0));
	if (str_is_i(name, "error"))
		return set(route, ROUTE_ERROR, 1, rest);
	if (str_is_i(name, "retry"))
		return set(route, ROUTE_RETRY, 1, rest);
	if (str_is_i(name, "discard"))
		return set(route, ROUTE_DISCARD, 1, rest);
	return E_PARSE;
}

/* A look-up that went wrong, in words. */
static enum err
fail(struct route *route, enum err e, const char *what, const char *key)
{
	buf_reset(&route->hop);
	buf_printf(&route->hop, "%s for %s %s", what, key,
		e == E_PARSE ? "makes no sense" : "could not be looked up");
	return e;
}

/* E_NOTFOUND: no entry, or one that says "as if there were none". */
static enum err
ask_transport(const struct routes *r, const char *address, const char *domain, struct route *route)
{
	struct map_address a = {
		.address = str_of(address), .delimiter = r->conf->recipient_delimiter[0]};
	struct buf value = {0};
	enum err e = map_find_address(&r->transport, &a, map_keys_transport, &value, NULL);
	struct str text = str_trim(buf_str(&value));

	if (e == OK && (text.len == 0 || str_is(text, ":")))
		e = E_NOTFOUND;
	else if (e == OK && text.p[0] == ':')
		e = set(route, ROUTE_SMTP, 1, str_make(text.p + 1, text.len - 1));
	else if (e == OK)
		e = route_parse(r->conf, text, domain, route);
	buf_free(&value);
	return e;
}

enum err
route_transport(const struct routes *r, const char *address, struct route *route)
{
	const char *at = strrchr(address, '@');
	enum err e = E_NOTFOUND;

	memset(route, 0, sizeof(*route));
	if (r == NULL)
		return fail(route, E_TEMPFAIL, "the transport", address);
	if (r->transport.count > 0)
		e = ask_transport(r, address, at ? at + 1 : address, route);
	return e && e != E_NOTFOUND ? fail(route, e, "the transport", address) : e;
}

void
route_refusal(const struct route *route, char code[DSN_CODE_SIZE], struct str *text)
{
	int final = route->kind == ROUTE_ERROR;

	*text = buf_str(&route->hop);
	memcpy(code, final ? "5.0.0" : "4.0.0", sizeof("5.0.0"));
	(void)dsn_code_cut(text, code);
	code[0] = final ? '5' : '4';
	if (text->len == 0)
		*text = STR("mail is not accepted");
}

/* By the sender's address, then by its @domain (postconf(5)). */
static enum err
ask_relayhost(const struct routes *r, const char *sender, struct route *route)
{
	const char *at = strrchr(sender, '@');
	struct buf value = {0};
	enum err e = E_NOTFOUND;

	if (sender[0] && r->relayhosts.count > 0)
		e = map_list_find(&r->relayhosts, str_of(sender), &value);
	if (e == E_NOTFOUND && at && r->relayhosts.count > 0)
		e = map_list_find(&r->relayhosts, str_of(at), &value);
	if (e == OK && str_is_i(buf_str(&value), "DUNNO"))
		e = E_NOTFOUND;
	else if (e == OK)
		e = set(route, ROUTE_SMTP, 1, str_trim(buf_str(&value)));
	buf_free(&value);
	return e;
}

enum err
route_find(const struct routes *r, const struct queue_entry *q, const struct queue_rcpt *rcpt,
	struct route *route)
{
	const char *at = strrchr(rcpt->address, '@'), *domain = at ? at + 1 : rcpt->address;
	enum err e;

	memset(route, 0, sizeof(*route));
	if (q->filter && q->filter[0]) {
		e = route_parse(r->conf, str_of(q->filter), NULL, route);
		return e ? fail(route, e, "the filter", q->filter) : OK;
	}
	if (rcpt->local == QUEUE_ALIAS || queue_place_is_target(rcpt->local))
		return set(route, ROUTE_ALIAS, 0, str_of(rcpt->address));
	if (rcpt->local)
		return set(route, ROUTE_LOCAL, 0, str_make("", 0));
	e = route_transport(r, rcpt->address, route);
	if (e != E_NOTFOUND)
		return e;
	e = ask_relayhost(r, q->sender, route);
	if (e != E_NOTFOUND)
		return e ? fail(route, e, "the relayhost", q->sender) : OK;
	if (r->conf->relayhost[0])
		return set(route, ROUTE_SMTP, 1, str_of(r->conf->relayhost));
	return set(route, ROUTE_SMTP, 0, str_of(domain));
}

void
route_key(const struct route *route, struct buf *out)
{
	static const char *const words[] = {
		"local", "smtp", "lmtp", "lmtp", "error", "retry", "discard", "alias", "pipe"};

	buf_printf(out, "%s%s:", words[route->kind], route->chosen ? "!" : "");
	buf_add_buf(out, &route->hop);
}
