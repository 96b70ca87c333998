/* SPDX-License-Identifier: MIT */
#include "mta-lite/sendmail.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "lib/ctl.h"

static const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void
print_message(const json_t *m)
{
	const char *queue = text_of(m, "queue");
	const json_t *rcpts = json_object_get(m, "recipients");
	size_t i;

	printf("%s%c %9lld  %s  %s\n", text_of(m, "id"),
		queue[0] == 'a'	  ? '*'
		: queue[0] == 'h' ? '!'
				  : ' ',
		(long long)json_integer_value(json_object_get(m, "size")), text_of(m, "arrived"),
		text_of(m, "sender")[0] ? text_of(m, "sender") : "MAILER-DAEMON");
	if (text_of(m, "reason")[0])
		printf("    (%s)\n", text_of(m, "reason"));
	for (i = 0; i < json_array_size(rcpts); i++)
		printf("        %s\n", json_string_value(json_array_get(rcpts, i)));
}

int
sendmail_print_queue(const struct config *conf)
{
	json_t *list = NULL;
	char *message = NULL;
	size_t i, n;
	enum err e = ctl_call(conf, "qmgr", "queue-list", NULL, &list, &message);

	if (e) {
		(void)fprintf(stderr, "mailq: %s\n", message);
		free(message);
		return err_is_temporary(e) ? EX_TEMPFAIL : EX_UNAVAILABLE;
	}
	n = json_array_size(list);
	if (n == 0)
		printf("Mail queue is empty\n");
	else
		printf("Queue ID, size, arrival and sender; * being delivered, ! on hold\n");
	for (i = 0; i < n; i++)
		print_message(json_array_get(list, i));
	if (n > 0)
		printf("-- %zu message%s\n", n, n == 1 ? "" : "s");
	json_decref(list);
	return EX_OK;
}
