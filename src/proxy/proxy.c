/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "proxy/proxy.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "auth/auth_proto.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "proxy/relay.h"
#include "proxy/service.h"

enum { AUTH_RETRY_MS = 500 };

static const char *const target_names[TARGETS] = {
	[TARGET_IMAP] = "imap",
	[TARGET_POP3] = "pop3",
	[TARGET_SMTPD] = "smtpd",
	[TARGET_LMTP] = "lmtp-handover",
};

const struct config *
proxy_conf(const struct proxy *px)
{
	return service_conf(px->run);
}

void
proxy_leave(struct proxy *px, const struct net_addr *peer)
{
	limits_leave(px->limits, peer);
	metrics_set(METRIC_CONNECTIONS, limits_total(px->limits));
}

enum proxy_target
proxy_target_of(const struct prelogin_protocol *proto)
{
	for (int i = 0; i < TARGETS; i++)
		if (strcmp(proto->handover, target_names[i]) == 0)
			return (enum proxy_target)i;
	log_bug(__FILE__, __LINE__, "protocol without a target");
}

struct link *
proxy_target_link(struct proxy *px, const struct prelogin_protocol *proto)
{
	return px->targets[proxy_target_of(proto)];
}

void
proxy_maybe_done(struct proxy *px)
{
	if (service_is_draining(px->run) && !px->clients && !px->relays)
		service_exit(px->run, 0);
}

int
proxy_is_trusted(const struct proxy *px, const struct net_addr *peer)
{
	for (size_t i = 0; i < px->trusted_count; i++)
		if (net_cidr_match(&px->trusted[i], peer))
			return 1;
	return 0;
}

static void
load_trusted(struct proxy *px)
{
	const struct conf_list *list = &proxy_conf(px)->proxy_protocol_networks;

	MEM_FREE(px->trusted);
	px->trusted_count = 0;
	px->trusted = mem_realloc(NULL, list->count + 1, sizeof *px->trusted);
	for (size_t i = 0; i < list->count; i++) {
		if (net_cidr_parse(str_of(list->items[i]), &px->trusted[px->trusted_count]))
			log_event(LOGL_ERROR, "proxy.network bad", "setting",
				"proxy_protocol_networks", "value", list->items[i], NULL);
		else
			px->trusted_count++;
	}
}

/* ---- auth: which mechanisms there are ---- */

static void
on_mechanisms(struct link_request *r, struct ipc_msg *m)
{
	struct mechanism_request *req = (struct mechanism_request *)r;
	struct proxy *px = req->px;

	if (!m)
		return;
	struct ipc_reader reader = ipc_reader_of(buf_str(&m->body));
	char *lists[PRELOGIN_CHANNELS];
	for (int i = 0; i < PRELOGIN_CHANNELS; i++)
		lists[i] = ipc_get_dup(&reader);
	int good = m->type == AUTH_MECHANISMS && !ipc_reader_end(&reader);
	for (int i = 0; i < PRELOGIN_CHANNELS; i++) {
		char *old = good ? px->mechanisms[i] : lists[i];

		if (good)
			px->mechanisms[i] = lists[i];
		free(old);
	}
	if (good)
		client_refresh_all(px);
	link_forget(px->auth, r);
}

static void
on_auth_open(struct link *l, void *arg)
{
	struct proxy *px = arg;

	/* Also when another process, that this one replaces, was asked just now. */
	link_forget(l, &px->mechanism_request.request);
	link_ask(l, &px->mechanism_request.request, AUTH_MECHANISMS, (struct str){0}, NULL, 0);
}

static void
retry_later(struct proxy *px)
{
	struct timeval tv = {0, AUTH_RETRY_MS * 1000};

	event_add(px->auth_retry, &tv);
}

static void
on_auth_lost(struct link *l, void *arg)
{
	(void)l;
	retry_later(arg);
}

static void
on_auth_retry(evutil_socket_t fd, short what, void *arg)
{
	struct proxy *px = arg;
	(void)fd;
	(void)what;

	if (link_open(px->auth))
		retry_later(px);
}

/* ---- life ---- */

enum err
proxy_start(struct service_run *run)
{
	struct proxy *px = MEM_NEW(struct proxy);
	struct buf why = {0};
	int fd;
	enum err e;

	px->run = run;
	px->base = service_base(run);
	/* Until auth has said which. */
	for (int i = 0; i < PRELOGIN_CHANNELS; i++)
		px->mechanisms[i] = mem_strdup(i == PRELOGIN_CHANNEL_OPEN ? "" : "PLAIN LOGIN");
	px->mechanism_request.px = px;
	px->mechanism_request.request.on_answer = on_mechanisms;
	service_set_state(run, px);
	if (service_listener_fds(run, "limits", &fd, 1) != 1) {
		log_event(LOGL_ERROR, "proxy.limits missing", NULL);
		return E_PROTO;
	}
	e = limits_open(fd, &px->limits);
	if (e == OK)
		e = service_listener_fds(run, "known", &fd, 1) == 1 ? known_open(fd, &px->known)
								    : E_PROTO;
	if (e) {
		log_event(LOGL_ERROR, "proxy.limits failed", "reason", err_text(e), NULL);
		return e;
	}
	e = tls_create(proxy_conf(px), &px->tls, &why);
	if (e)
		log_event(LOGL_ERROR, "proxy.tls failed", "reason", buf_cstr(&why), NULL);
	buf_free(&why);
	if (e)
		return e;
	load_trusted(px);
	for (int i = 0; i < TARGETS; i++) {
		char *path = conf_run_path(proxy_conf(px), target_names[i]);
		px->targets[i] = link_create(px->base, path);
		free(path);
	}
	char *path = conf_run_path(proxy_conf(px), "auth-login");
	px->auth = link_create(px->base, path);
	free(path);
	link_on_open(px->auth, on_auth_open, px);
	link_on_lost(px->auth, on_auth_lost, px);
	px->auth_retry = evtimer_new(px->base, on_auth_retry, px);
	retry_later(px);
	return OK;
}

enum err
proxy_begin(struct service_run *run)
{
	struct proxy *px = service_state(run);

	/* As the user it will stay: the sockets are open to that one only. */
	if (link_open(px->auth) == OK)
		event_del(px->auth_retry);
	return OK;
}

void
proxy_reload(struct service_run *run, const struct config *old)
{
	struct proxy *px = service_state(run);
	struct tls *fresh;
	struct buf why = {0};
	(void)old;

	if (tls_create(proxy_conf(px), &fresh, &why)) {
		/* The master has looked at it before; the old certificate is better than none. */
		log_event(LOGL_ERROR, "proxy.tls failed", "reason", buf_cstr(&why), NULL);
	} else {
		tls_free(&px->tls);
		px->tls = fresh;
	}
	buf_free(&why);
	load_trusted(px);
	client_refresh_all(px);
}

void
proxy_drain(struct service_run *run)
{
	struct proxy *px = service_state(run);

	client_shutdown_all(px);
	proxy_maybe_done(px);
}

void
proxy_stop(struct service_run *run)
{
	struct proxy *px = service_state(run);

	client_close_all(px);
	relay_close_all(px);
	event_free(px->auth_retry);
	link_free(&px->auth);
	for (int i = 0; i < TARGETS; i++) {
		traces_stop(&px->traces[i]);
		link_free(&px->targets[i]);
	}
	tls_free(&px->tls);
	limits_close(&px->limits);
	known_close(&px->known);
	free(px->trusted);
	for (int i = 0; i < PRELOGIN_CHANNELS; i++)
		free(px->mechanisms[i]);
	free(px);
	service_set_state(run, NULL);
}

void
proxy_status(struct service_run *run, json_t *object)
{
	struct proxy *px = service_state(run);

	json_object_set_new(object, "clients", json_integer((json_int_t)px->client_count));
	json_object_set_new(
		object, "plaintext_sessions", json_integer((json_int_t)px->absent_count));
	json_object_set_new(object, "relays", json_integer((json_int_t)px->relay_count));
	json_object_set_new(object, "connections_all_proxies",
		json_integer((json_int_t)limits_total(px->limits)));
	json_object_set_new(object, "accepted", json_integer((json_int_t)px->accepted));
	json_object_set_new(object, "refused", json_integer((json_int_t)px->refused));
	json_object_set_new(object, "handed_over", json_integer((json_int_t)px->handed_over));
	json_object_set_new(object, "logins", json_integer((json_int_t)px->logins));
	json_object_set_new(object, "failed_logins", json_integer((json_int_t)px->failed_logins));
	json_object_set_new(
		object, "mechanisms", json_string(px->mechanisms[PRELOGIN_CHANNEL_TLS]));
	json_object_set_new(object, "auth_connected", json_boolean(link_is_open(px->auth)));
}
