/* SPDX-License-Identifier: MIT */
#include "proxy/trace.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/mem.h"
#include "lib/session.h"
#include "proxy/client.h"
#include "trace/trace_text.h"

enum { KEPT_MAX = 100, LINE_SHOWN_MAX = 900 };

struct kept {
	uint64_t when_ms;
	char who;
	char *line;
};

struct client_trace {
	struct trace_text *text;
	char peer[NET_ADDR_TEXT];
	char *user; /* whose attempt it is; "" when nobody knows */
	struct kept kept[KEPT_MAX]; /* the latest of those whose user is not known */
	size_t kept_count;
};

static struct proxy_traces *
traces_of(const struct client *c)
{
	return &c->px->traces[proxy_target_of(c->listener->proto)];
}

static void
drop_kept(struct client_trace *t)
{
	for (size_t i = 0; i < t->kept_count; i++)
		free(t->kept[i].line);
	t->kept_count = 0;
}

/* again: who wants other than users has it. */
static void
report(struct client *c, uint64_t when_ms, char who, struct str line, int again)
{
	struct buf body = {0};

	ipc_put_cstr(&body, c->id);
	ipc_put_cstr(&body, c->trace->peer);
	ipc_put_cstr(&body, c->trace->user);
	ipc_put_u8(&body, again != 0);
	ipc_put_u64(&body, when_ms);
	ipc_put_u8(&body, (uint8_t)who);
	ipc_put_str(&body, line);
	link_notify(proxy_target_link(c->px, c->listener->proto), SESSION_TRACED, buf_str(&body));
	buf_free(&body);
}

static void
keep(struct client_trace *t, uint64_t when_ms, char who, struct str line)
{
	if (t->kept_count == KEPT_MAX) {
		free(t->kept[0].line);
		memmove(t->kept, t->kept + 1, (KEPT_MAX - 1) * sizeof *t->kept);
		t->kept_count--;
	}
	t->kept[t->kept_count++] = (struct kept){when_ms, who, str_dup(line)};
}

static void
add_line(struct client *c, char who, struct str line)
{
	struct client_trace *t = c->trace;
	uint64_t now_ms = io_unix_ms();

	if (line.len > LINE_SHOWN_MAX)
		line.len = LINE_SHOWN_MAX;
	if (traces_match(traces_of(c), c->id, t->user, t->peer))
		report(c, now_ms, who, line, 0);
	if (!t->user[0] && traces_has(traces_of(c), TRACE_USER))
		keep(t, now_ms, who, line);
}

static void
on_line(void *arg, int from_client, struct str line)
{
	add_line(arg, from_client ? 'C' : 'S', line);
}

static enum trace_protocol
protocol_of(const struct client *c)
{
	if (c->listener->proto == &prelogin_imap)
		return TRACE_IMAP;
	return c->listener->proto == &prelogin_pop3 ? TRACE_POP3 : TRACE_SMTP;
}

static void
add_note(struct client *c, char who, const char *text)
{
	char *line = mem_printf("(%s)", text);

	add_line(c, who, str_of(line));
	free(line);
}

static void
begin(struct client *c)
{
	struct client_trace *t = MEM_NEW(struct client_trace);
	char *whence;

	t->text = trace_text_create(protocol_of(c), on_line, c);
	t->user = mem_strdup("");
	net_addr_format(&c->peer, t->peer);
	c->trace = t;
	prelogin_trace(&c->prelogin, 1);
	whence = mem_printf("%s from %s", c->listener->name, t->peer);
	add_note(c, 'S', whence);
	free(whence);
}

void
trace_look(struct client *c)
{
	struct proxy_traces *wanted = traces_of(c);
	char peer[NET_ADDR_TEXT];

	if (!wanted->count) {
		trace_end(c);
		return;
	}
	if (c->trace || c->prelogin.state != PRELOGIN_COMMAND || c->phase == CLIENT_HEADER)
		return;
	net_addr_format(&c->peer, peer);
	if (traces_has(wanted, TRACE_USER) || traces_match(wanted, c->id, "", peer))
		begin(c);
}

void
trace_end(struct client *c)
{
	if (!c->trace)
		return;
	prelogin_trace(&c->prelogin, 0);
	drop_kept(c->trace);
	trace_text_free(&c->trace->text);
	free(c->trace->user);
	MEM_FREE(c->trace);
}

void
trace_afresh(struct client *c)
{
	if (!c->trace)
		return;
	trace_text_free(&c->trace->text);
	c->trace->text = trace_text_create(protocol_of(c), on_line, c);
}

void
trace_note(struct client *c, const char *text)
{
	if (c->trace)
		add_note(c, 'S', text);
}

void
trace_user(struct client *c, struct str user)
{
	struct client_trace *t = c->trace;

	if (!t)
		return;
	free(t->user);
	t->user = str_dup(user);
	if (!user.len)
		return;
	if (traces_match(traces_of(c), "", t->user, ""))
		for (size_t i = 0; i < t->kept_count; i++)
			report(c, t->kept[i].when_ms, t->kept[i].who, str_of(t->kept[i].line), 1);
	drop_kept(t);
}

void
trace_heard(struct prelogin *p, struct str bytes, int unclear)
{
	struct client *c = p->host_arg;
	char *text;

	/* Where a command is due there may be a password that found no other place. */
	if (!unclear) {
		trace_text_feed(c->trace->text, 1, bytes.p, bytes.len);
		return;
	}
	text = mem_printf("%zu bytes that are no command", bytes.len);
	add_note(c, 'C', text);
	free(text);
}

void
trace_said(struct prelogin *p, struct str bytes)
{
	struct client *c = p->host_arg;

	trace_text_feed(c->trace->text, 0, bytes.p, bytes.len);
}
