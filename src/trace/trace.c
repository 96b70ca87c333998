/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "trace/trace.h"

#include "trace/trace_text.h"

static void *
create_imap(void (*line)(void *, int, struct str), void *arg)
{
	return trace_text_create(TRACE_IMAP, line, arg);
}

static void *
create_pop3(void (*line)(void *, int, struct str), void *arg)
{
	return trace_text_create(TRACE_POP3, line, arg);
}

static void *
create_smtp(void (*line)(void *, int, struct str), void *arg)
{
	return trace_text_create(TRACE_SMTP, line, arg);
}

static void
text_free(void *text)
{
	struct trace_text *t = text;

	trace_text_free(&t);
}

static void
text_set_content(void *text, int content)
{
	trace_text_set_content(text, content);
}

static void
text_feed(void *text, int from_client, const char *p, size_t len)
{
	trace_text_feed(text, from_client, p, len);
}

#define TRACER(create)                                                                             \
	{                                                                                          \
		create, text_free, text_set_content, text_feed                                     \
	}
const struct session_tracer trace_imap = TRACER(create_imap);
const struct session_tracer trace_pop3 = TRACER(create_pop3);
const struct session_tracer trace_smtp = TRACER(create_smtp);
