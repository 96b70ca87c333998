/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_notice.h"

#include <string.h>
#include <time.h>

#include "lib/mem.h"
#include "mta-lite/notice.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/smtpd_rewrite.h"

static enum err
add_recipient(struct smtpd *d, const char *to, struct queue_entry *q)
{
	struct auth_rcpt found;
	enum err e = smtpd_lookup_rcpt(d, str_of(to), &found);
	size_t i;

	if (e == OK && found.kind == AUTH_RCPT_REMOTE && strchr(to, '@'))
		(void)queue_entry_add_rcpt(q, to, "", DSN_NOTIFY_NEVER, 0);
	for (i = 0; e == OK && found.kind != AUTH_RCPT_REMOTE && i < found.target_count; i++)
		(void)queue_entry_add_rcpt(
			q, found.targets[i].address, "", DSN_NOTIFY_NEVER, found.targets[i].local);
	auth_rcpt_free(&found);
	if (e == OK && q->rcpt_count == 0)
		e = E_NOTFOUND;
	return e;
}

enum err
smtpd_notice_send(struct smtpd *d, const struct smtpd_notice *n, char id[QUEUE_ID_SIZE])
{
	struct queue_entry q = {0};
	struct buf text = {0};
	enum err e;

	queue_id_make(q.id);
	memcpy(id, q.id, QUEUE_ID_SIZE);
	if (n->to[0] == '\0')
		return E_NOTFOUND;
	q.sender = mem_strdup("");
	q.envid = mem_strdup("");
	q.client = mem_strdup(n->origin);
	q.flags = QUEUE_BOUNCE | QUEUE_DOUBLE_BOUNCE;
	q.arrival = (int64_t)time(NULL);
	e = add_recipient(d, n->to, &q);
	if (e == OK) {
		notice_write(d->conf, n->to, n->subject, q.id, n->text, &text);
		if (!str_is_ascii(buf_str(&text)))
			q.flags |= QUEUE_8BIT | QUEUE_SMTPUTF8;
		e = text.err ? text.err : queue_store_create(d->conf, &q, buf_str(&text), NULL);
	}
	if (e == OK)
		queue_store_notify(d->conf, q.id);
	queue_entry_free(&q);
	buf_free(&text);
	return e;
}
