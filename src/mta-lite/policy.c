/* SPDX-License-Identifier: MIT */
#include "mta-lite/policy.h"

#include <stdlib.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/endpoint.h"
#include "mta-lite/smtp_io.h"

enum { ANSWER_LINES_MAX = 100 };

struct policy {
	char *spec;
	struct net_addr addr;
	int timeout_ms;
	struct smtp_io *io;
};

enum err
policy_create(struct str spec, int timeout_ms, struct policy **out)
{
	struct net_addr addr;

	*out = NULL;
	if (endpoint_parse(spec, &addr))
		return E_PARSE;
	*out = MEM_NEW(struct policy);
	(*out)->spec = str_dup(spec);
	(*out)->addr = addr;
	(*out)->timeout_ms = timeout_ms;
	return OK;
}

void
policy_free(struct policy **p)
{
	if (*p == NULL)
		return;
	smtp_io_free(&(*p)->io);
	free((*p)->spec);
	MEM_FREE(*p);
}

void
policy_put(struct buf *request, const char *name, const char *value)
{
	size_t start;

	buf_add_cstr(request, name);
	buf_add_char(request, '=');
	start = request->len;
	buf_add_cstr(request, value ? value : "");
	for (; start < request->len; start++) {
		if (request->p[start] == '\n' || request->p[start] == '\r')
			request->p[start] = '?';
	}
	buf_add_char(request, '\n');
}

/* Attributes up to an empty line; the last action counts. */
static enum err
read_answer(struct policy *p, struct buf *action)
{
	unsigned lines;
	int found = 0;

	for (lines = 0; lines < ANSWER_LINES_MAX; lines++) {
		struct str line;
		enum err e = smtp_io_read_line(p->io, &line);

		if (e)
			return e;
		if (line.len == 0)
			return found ? OK : E_PROTO;
		if (!str_starts_i(line, "action="))
			continue;
		buf_reset(action);
		e = buf_add_str(action, str_trim(str_make(line.p + 7, line.len - 7)));
		if (e || str_has_control(buf_str(action)))
			return E_PROTO;
		found = 1;
	}
	return E_PROTO;
}

static enum err
connect_server(struct policy *p)
{
	int fd;
	enum err e = net_connect(&p->addr, p->timeout_ms, &fd);

	if (e)
		return e;
	p->io = smtp_io_create(fd);
	smtp_io_set_timeout(p->io, p->timeout_ms);
	return OK;
}

static enum err
ask_once(struct policy *p, const struct buf *request, struct buf *action)
{
	enum err e;

	smtp_io_set_deadline(p->io, io_now_ms() + p->timeout_ms);
	e = smtp_io_write(p->io, buf_str(request));
	if (e == OK)
		e = smtp_io_write(p->io, STR("\n"));
	return e ? e : read_answer(p, action);
}

enum err
policy_ask(struct policy *p, const struct buf *request, struct buf *action)
{
	int kept;
	enum err e = OK;

	/* Servers close what is idle for long. */
	if (p->io && smtp_io_is_stale(p->io))
		smtp_io_free(&p->io);
	kept = p->io != NULL;
	if (!kept)
		e = connect_server(p);
	if (e == OK)
		e = ask_once(p, request, action);
	if (kept && (e == E_CLOSED || e == E_IO)) {
		smtp_io_free(&p->io);
		e = connect_server(p);
		if (e == OK)
			e = ask_once(p, request, action);
	}
	if (e) {
		log_event(
			LOGL_WARN, "policy.failed", "server", p->spec, "error", err_text(e), NULL);
		smtp_io_free(&p->io);
	}
	return e;
}
