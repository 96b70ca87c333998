/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rules.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mta-lite/ehlo.h"

/* What of the header matters here. */
struct seen {
	unsigned received;
	int date, message_id, from;
	int tls_optional; /* "TLS-Required: No" (RFC 8689 section 5) */
};

static void
scan(struct str header, struct seen *seen)
{
	struct header_iter it = HEADER_ITER(header);
	struct header_field f;

	memset(seen, 0, sizeof(*seen));
	while (header_next(&it, &f)) {
		if (str_is_i(f.name, "Received"))
			seen->received++;
		else if (str_is_i(f.name, "Date"))
			seen->date = 1;
		else if (str_is_i(f.name, "Message-ID"))
			seen->message_id = 1;
		else if (str_is_i(f.name, "From"))
			seen->from = 1;
		else if (str_is_i(f.name, "TLS-Required"))
			seen->tls_optional = str_is_i(str_trim(f.value), "No");
	}
}

/* RFC 3848, RFC 6531 section 4.3: the protocol's name tells of TLS, log-in and SMTPUTF8. */
static const char *
protocol(const struct smtpd *d)
{
	static const char *const names[] = {"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA", "UTF8SMTP",
		"UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"};

	if (!d->esmtp)
		return "SMTP";
	return names[(d->session->info.tls ? 1 : 0) + (d->user ? 2 : 0) +
		     (d->t.mail.smtputf8 ? 4 : 0)];
}

/* Keeps what we add within a header field's grammar: no comment or line may be broken out of. */
static void
add_clean(struct buf *out, const char *s)
{
	for (; *s; s++) {
		int ok = *s >= ' ' && *s <= '~' && *s != '(' && *s != ')' && *s != '\\';

		buf_add_char(out, ok ? *s : '?');
	}
}

/* The client's name, address and TLS: the lines before "by". */
static void
add_client(struct smtpd *d)
{
	const struct session_info *info = &d->session->info;
	const char *name = d->conf->smtpd_peername_lookup ? smtpd_names(d)->name : "unknown";
	struct buf *h = &d->t.head;

	buf_printf(h, "from %s (", d->helo[0] ? d->helo : "unknown");
	if (strcmp(name, "unknown") != 0)
		buf_printf(h, "%s ", name);
	buf_printf(h, "[%s%s])\r\n", strchr(d->peer_ip, ':') ? "IPv6:" : "", d->peer_ip);
	if (info->tls && info->tls_text[0]) {
		buf_add_cstr(h, "\t(using ");
		add_clean(h, info->tls_text);
		buf_add_cstr(h, ")\r\n");
	}
	buf_add_char(h, '\t');
}

static void
add_received(struct smtpd *d, const char *date)
{
	int hidden = d->kind == SMTPD_SUBMISSION && d->user && d->conf->submission_hide_client;
	struct buf *h = &d->t.head;

	/* RFC 5321 section 4.4. */
	buf_add_cstr(h, "Received: ");
	if (d->kind == SMTPD_LOCAL) {
		buf_printf(
			h, "by %s (Roost, from userid %ld)", smtp_hostname(d->conf), d->local_uid);
	} else {
		if (!hidden)
			add_client(d);
		buf_printf(h, "by %s (Roost) with %s", smtp_hostname(d->conf), protocol(d));
	}
	buf_printf(h, " id %s", d->t.entry.id);
	/* Only then: else it would tell of the others. In ASCII: who is behind the address may have
	 * a server without SMTPUTF8. */
	if (d->t.rcpt_count == 1 && str_is_ascii(str_of(d->t.first_rcpt))) {
		buf_add_cstr(h, "\r\n\tfor <");
		buf_add_cstr(h, d->t.first_rcpt);
		buf_add_cstr(h, ">");
	}
	if (d->t.mail.has_priority) /* RFC 6710 section 4.1 */
		buf_printf(h, "\r\n\tPRIORITY %d", d->t.mail.priority);
	buf_printf(h, ";\r\n\t%s\r\n", date);
}

static void
add_missing(struct smtpd *d, const struct seen *seen, const char *date)
{
	struct buf *h = &d->t.head;

	if (!seen->date)
		buf_printf(h, "Date: %s\r\n", date);
	if (!seen->message_id)
		buf_printf(h, "Message-ID: <%s@%s>\r\n", d->t.entry.id, smtp_hostname(d->conf));
	if (!seen->from) {
		const char *from = d->t.mail.from.address;

		/* The parser let only printable ASCII into the address, and UTF-8 with SMTPUTF8. */
		if (from[0])
			buf_printf(h, "From: <%s>\r\n", from);
		else
			buf_printf(h, "From: <MAILER-DAEMON@%s>\r\n", smtp_hostname(d->conf));
	}
}

void
smtpd_head_write(struct smtpd *d, struct str header, unsigned *hops)
{
	struct buf date = {0};
	time_t now = time(NULL);
	struct seen seen;
	size_t i;

	header.len = header_block_len(header);
	scan(header, &seen);
	*hops = seen.received;
	/* RFC 8689 section 4.1: the parameter counts, then the field. */
	if (seen.tls_optional && !d->t.mail.require_tls)
		d->t.entry.flags |= QUEUE_TLS_OPTIONAL;
	(void)date_format_rfc5322(now, date_local_zone(now), &date);
	buf_reset(&d->t.head);
	for (i = 0; i < d->t.effects.prepend_count; i++)
		buf_printf(&d->t.head, "%s\r\n", d->t.effects.prepend[i]);
	add_received(d, buf_cstr(&date));
	if (d->kind == SMTPD_SUBMISSION || d->kind == SMTPD_LOCAL)
		add_missing(d, &seen, buf_cstr(&date));
	buf_free(&date);
}
