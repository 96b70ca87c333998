/* SPDX-License-Identifier: MIT */
#include "lib/ctl_private.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/mem.h"
#include "lib/service.h"

enum {
	CTL_BODY_MAX = 16 << 20,
	CTL_CONNECT_MS = 5000,
	CTL_ANSWER_MS = 10 * 60 * 1000, /* bulk work takes its time */
};

/* ---- the service's side ---- */

/* A connection counts its unanswered requests: an answer after the client has gone finds conn NULL.
 */
struct ctl_client {
	struct service_run *run;
	struct ipc_conn *conn;
	unsigned pending;
};

struct ctl_request {
	struct ctl_client *client;
	uint32_t id;
	json_t *document;
};

static void
client_release(struct ctl_client *client)
{
	if (!client->conn && !client->pending)
		free(client);
}

static void
answer(struct ctl_request *req, json_t *reply)
{
	struct ctl_client *client = req->client;
	char *text = json_dumps(reply, JSON_COMPACT);

	if (client->conn && text)
		ipc_conn_send(client->conn, CTL_REPLY, req->id, str_of(text), NULL, 0);
	free(text);
	json_decref(reply);
	json_decref(req->document);
	free(req);
	client->pending--;
	client_release(client);
}

void
ctl_reply_ok(struct ctl_request *req, json_t *result)
{
	answer(req, json_pack("{s:b, s:o}", "ok", 1, "result", result ? result : json_object()));
}

void
ctl_reply_error(struct ctl_request *req, enum err e, const char *fmt, ...)
{
	struct buf text = {0};
	json_t *message;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	message = json_string(buf_cstr(&text));
	if (!message)
		message = json_string(err_text(e)); /* not UTF-8 */
	answer(req,
		json_pack("{s:b, s:s, s:o}", "ok", 0, "error", err_word(e), "message", message));
	buf_free(&text);
}

static void
dispatch(struct ctl_client *client, struct ctl_request *req)
{
	const char *verb = json_string_value(json_object_get(req->document, "verb"));
	const json_t *args = json_object_get(req->document, "args");

	if (!verb) {
		ctl_reply_error(req, E_PROTO, "the request has no verb");
		return;
	}
	for (const struct ctl_verb *v = service_ctl_verbs(client->run); v && v->name; v++) {
		if (strcmp(v->name, verb) == 0) {
			v->run(client->run, req, args);
			return;
		}
	}
	if (strcmp(verb, "status") == 0)
		ctl_reply_ok(req, service_status(client->run));
	else
		ctl_reply_error(req, E_UNSUPPORTED, "this service has no verb \"%s\"", verb);
}

static void
on_message(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct ctl_client *client = arg;
	struct ctl_request *req = MEM_NEW(struct ctl_request);

	(void)c;
	req->client = client;
	req->id = m->request;
	client->pending++;
	req->document = m->type == CTL_REQUEST
				? json_loadb(m->body.p ? m->body.p : "", m->body.len, 0, NULL)
				: NULL;
	if (json_is_object(req->document))
		dispatch(client, req);
	else
		ctl_reply_error(req, E_PROTO, "the request is not a JSON object");
}

static void
on_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct ctl_client *client = arg;

	(void)c;
	(void)e;
	client->conn = NULL;
	service_ctl_count(client->run, -1);
	client_release(client);
}

void
ctl_on_accept(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_message, on_close};
	struct ctl_client *client = MEM_NEW(struct ctl_client);

	(void)peer;
	client->run = run;
	client->conn = ipc_conn_create(service_base(run), fd, CTL_BODY_MAX, &handler, client);
	service_ctl_count(run, 1);
}

/* ---- the tool's side ---- */

static enum err
error_of_word(const char *word)
{
	for (int e = OK + 1; word && e < ERR_COUNT; e++)
		if (strcmp(err_word((enum err)e), word) == 0)
			return (enum err)e;
	return E_PROTO;
}

static enum err
read_answer(const struct ipc_msg *m, json_t **result, char **message)
{
	json_t *reply = json_loadb(m->body.p ? m->body.p : "", m->body.len, 0, NULL);
	const char *text = json_string_value(json_object_get(reply, "message"));
	enum err e = OK;

	if (json_is_true(json_object_get(reply, "ok"))) {
		*result = json_incref(json_object_get(reply, "result"));
	} else {
		e = error_of_word(json_string_value(json_object_get(reply, "error")));
		*message = mem_strdup(
			text ? text : "the service gave an answer that is not understood");
	}
	json_decref(reply);
	return e;
}

enum err
ctl_call(const struct config *conf, const char *service, const char *verb, json_t *args,
	json_t **result, char **message)
{
	json_t *request =
		json_pack("{s:s, s:o}", "verb", verb, "args", args ? args : json_object());
	char *text = json_dumps(request, JSON_COMPACT);
	char *name = mem_printf("ctl-%s", service);
	char *path = conf_run_path(conf, name);
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	int fd = -1;
	enum err e;

	*result = NULL;
	*message = NULL;
	e = text ? net_connect_unix(path, CTL_CONNECT_MS, &fd) : E_PARSE;
	if (!e)
		e = ipc_send(fd, CTL_REQUEST, 1, str_of(text), NULL, 0, CTL_CONNECT_MS);
	if (!e)
		e = ipc_recv(fd, &m, CTL_ANSWER_MS);
	if (!e)
		e = read_answer(&m, result, message);
	else if (e == E_ACCESS)
		*message = mem_printf(
			"%s: permission denied; run this as the user who runs roost", path);
	else if (e == E_PARSE)
		*message = mem_strdup("an argument is not UTF-8");
	else
		*message = mem_printf("%s: %s; is Roost running? Start it with \"roost -c FILE\"",
			path, err_text(e));
	if (e && !err_is_temporary(e) && fd < 0 && e != E_ACCESS && e != E_PARSE)
		e = E_TEMPFAIL;
	ipc_msg_free(&m);
	io_close(&fd);
	free(path);
	free(name);
	free(text);
	json_decref(request);
	return e;
}
