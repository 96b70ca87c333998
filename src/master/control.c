/* SPDX-License-Identifier: MIT */
/* run/ctl-master: what roostctl asks the master itself. The framing is that of lib/ctl.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "master/master.h"

enum { CONTROL_BODY_MAX = 1 << 20, CONTROL_BACKLOG = 16 };

static void
reply(struct ipc_conn *conn, uint32_t id, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	ipc_conn_send(conn, CTL_REPLY, id, str_of(text), NULL, 0);
	free(text);
	json_decref(object);
}

static json_t *
ok(json_t *result)
{
	return json_pack("{s:b, s:o}", "ok", 1, "result", result);
}

static json_t *
failure(enum err e, const char *message)
{
	json_t *text = json_string(message);

	return json_pack("{s:b, s:s, s:o}", "ok", 0, "error", err_word(e), "message",
		text ? text : json_string(err_text(e)));
}

static json_t *
children_json(const struct master *m)
{
	static const char *const names[] = {
		[CHILD_WAITING] = "waiting",
		[CHILD_STARTING] = "starting",
		[CHILD_READY] = "ready",
		[CHILD_RESTING] = "resting",
		[CHILD_STOPPING] = "stopping",
		[CHILD_GONE] = "gone",
	};
	json_t *list = json_array();
	int64_t now = io_now_ms();

	for (const struct child *c = m->children; c; c = c->next) {
		int64_t up = c->pid > 0 ? (now - c->started_ms) / 1000 : 0;
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:I, s:I, s:I}", "name", c->def->name, "state",
				      names[c->state], "pid", (json_int_t)c->pid, "uptime_s",
				      (json_int_t)up, "restarts", (json_int_t)c->restarts));
	}
	return list;
}

static json_t *
listeners_json(const struct master *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->listeners.count; i++)
		if (m->listeners.items[i].text[0] != '/')
			json_array_append_new(
				list, json_pack("{s:s, s:s}", "name", m->listeners.items[i].name,
					      "address", m->listeners.items[i].text));
	return list;
}

static json_t *
verb_status(struct master *m)
{
	static const char *const phases[] = {
		[MASTER_STARTING] = "starting",
		[MASTER_RUNNING] = "running",
		[MASTER_ENDING] = "stopping",
	};

	return ok(json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:o, s:o}", "service", "master",
		"state", phases[m->phase], "pid", (json_int_t)getpid(), "uptime_s",
		(json_int_t)((io_now_ms() - m->started_ms) / 1000), "generation",
		(json_int_t)m->conf->generation, "config_file", m->conf->config_file, "daemons",
		children_json(m), "listeners", listeners_json(m)));
}

static json_t *
verb_reload(struct master *m)
{
	struct buf problems = {0};
	enum err e = master_reload(m, &problems);
	json_t *answer = e ? failure(e, buf_cstr(&problems))
			   : ok(json_pack("{s:I}", "generation", (json_int_t)m->conf->generation));

	buf_free(&problems);
	return answer;
}

static json_t *
answer(struct master *m, struct str body, int *stop)
{
	json_t *request = json_loadb(body.p ? body.p : "", body.len, 0, NULL);
	const char *verb = json_string_value(json_object_get(request, "verb"));
	json_t *out;

	if (!verb)
		out = failure(E_PARSE, "the request is not {\"verb\": ...}");
	else if (strcmp(verb, "status") == 0)
		out = verb_status(m);
	else if (strcmp(verb, "reload") == 0)
		out = verb_reload(m);
	else if (strcmp(verb, "stop") == 0) {
		out = ok(json_pack("{s:I}", "pid", (json_int_t)getpid()));
		*stop = 1;
	} else
		out = failure(E_UNSUPPORTED, "the master knows status, reload and stop");
	json_decref(request);
	return out;
}

static void
on_message(struct ipc_conn *conn, struct ipc_msg *msg, void *arg)
{
	struct master *m = arg;
	int stop = 0;
	json_t *out;

	if (msg->type == CTL_REQUEST)
		out = answer(m, buf_str(&msg->body), &stop);
	else
		out = failure(E_PROTO, "not a request");
	reply(conn, msg->request, out);
	if (stop)
		master_stop(m);
}

/* The connection belongs to itself: it is freed when the tool closes it, or at our end. */
static void
on_close(struct ipc_conn *conn, enum err e, void *arg)
{
	(void)conn;
	(void)e;
	(void)arg;
}

static const struct ipc_conn_handler handler = {on_message, on_close};

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	(void)what;

	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client >= 0)
		ipc_conn_create(m->base, client, CONTROL_BODY_MAX, &handler, m);
}

enum err
control_open(struct master *m, struct buf *problems)
{
	char *path = conf_run_path(m->conf, "ctl-master");
	struct net_addr addr;
	enum err e = net_addr_parse(str_of(path), 0, &addr);

	if (!e)
		e = net_listen(&addr, CONTROL_BACKLOG, 0600, &m->control_fd);
	if (e)
		buf_printf(problems, "%s: cannot listen: %s\n", path, strerror(errno));
	else {
		m->control_event =
			event_new(m->base, m->control_fd, EV_READ | EV_PERSIST, on_accept, m);
		event_add(m->control_event, NULL);
	}
	free(path);
	return e;
}

void
control_close(struct master *m)
{
	if (m->control_fd < 0)
		return;
	char *path = conf_run_path(m->conf, "ctl-master");
	unlink(path);
	free(path);
	event_free(m->control_event);
	io_close(&m->control_fd);
}
