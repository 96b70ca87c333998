/* SPDX-License-Identifier: MIT */
#include "mta-lite/report.h"

#include <string.h>
#include <time.h>

#include "mail/date.h"
#include "mail/decode.h"
#include "mail/header.h"

/* A returned message larger than this is cut down to its header, whatever was asked for. */
enum { REPORT_WHOLE_MAX = 50 * 1024, REPORT_WHOLE_ASKED_MAX = 1024 * 1024 };

int
report_is_due(const struct queue_rcpt *r)
{
	if (r->reported & QUEUE_REPORTED)
		return 0;
	switch (r->status) {
	case QUEUE_FAILED:
		return dsn_wants_failure(r->notify);
	case QUEUE_DELIVERED:
	case QUEUE_EXPANDED:
		return (r->notify & DSN_NOTIFY_SUCCESS) != 0;
	default:
		return 0;
	}
}

int
report_delay_is_due(const struct queue_rcpt *r)
{
	return r->status == QUEUE_PENDING && r->attempts > 0 && r->reported == 0 &&
	       (r->notify == 0 || (r->notify & DSN_NOTIFY_DELAY));
}

static int
is_in(const struct report *r, const struct queue_rcpt *rcpt)
{
	return r->kind == REPORT_DELAY ? report_delay_is_due(rcpt) : report_is_due(rcpt);
}

int
report_needs_utf8(const struct report *r)
{
	size_t i;

	if (!str_is_ascii(str_of(r->to)))
		return 1;
	for (i = 0; i < r->entry->rcpt_count; i++) {
		const struct queue_rcpt *rcpt = &r->entry->rcpts[i];

		if (is_in(r, rcpt) &&
			!(str_is_ascii(str_of(rcpt->address)) && str_is_ascii(str_of(rcpt->orcpt))))
			return 1;
	}
	return 0;
}

/* RFC 3464 section 2.3.3. */
static const char *
action(const struct queue_rcpt *r)
{
	if (r->status == QUEUE_FAILED)
		return "failed";
	if (r->status == QUEUE_PENDING)
		return "delayed";
	if (r->status == QUEUE_EXPANDED)
		return "expanded";
	/* The next server does not report; the message has left our sight. */
	return r->local ? "delivered" : "relayed";
}

static int
any_failed(const struct queue_entry *q)
{
	size_t i;

	for (i = 0; i < q->rcpt_count; i++) {
		if (report_is_due(&q->rcpts[i]) && q->rcpts[i].status == QUEUE_FAILED)
			return 1;
	}
	return 0;
}

int
report_returns_whole(const struct queue_entry *q)
{
	/* RFC 8689 section 4.4: the way back is no safer than the way there. */
	if (q->ret == DSN_RET_HDRS || (q->flags & (QUEUE_REQUIRETLS | QUEUE_BINARY)) ||
		!any_failed(q))
		return 0;
	return q->content_len <=
	       (q->ret == DSN_RET_FULL ? REPORT_WHOLE_ASKED_MAX : REPORT_WHOLE_MAX);
}

static void
add_date(struct buf *out, int64_t when)
{
	(void)date_format_rfc5322((time_t)when, date_local_zone((time_t)when), out);
}

static void
write_header(const struct report *r, int failed, struct buf *out)
{
	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", r->hostname);
	buf_printf(out, "To: <%s>\r\n", r->to);
	buf_printf(out, "Subject: %s\r\n",
		r->postmaster		  ? r->kind == REPORT_DELAY
						    ? "Postmaster copy: mail is delayed"
						    : "Postmaster copy: mail could not be delivered"
		: r->kind == REPORT_DELAY ? "Your mail is delayed"
		: failed		  ? "Mail could not be delivered"
					  : "Your mail was delivered");
	buf_add_cstr(out, "Date: ");
	add_date(out, r->now);
	buf_printf(out, "\r\nMessage-ID: <%s@%s>\r\n", r->id, r->hostname);
	buf_add_cstr(out, "Auto-Submitted: auto-replied\r\n"); /* RFC 3834 */
	buf_add_cstr(out, "MIME-Version: 1.0\r\n");
	buf_printf(out,
		"Content-Type: multipart/report; report-type=delivery-status;\r\n"
		"\tboundary=\"roost-%s\"\r\n",
		r->id);
	if ((r->entry->flags & QUEUE_8BIT) || report_needs_utf8(r))
		buf_add_cstr(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_add_cstr(out, "\r\nThis is a delivery report in MIME format.\r\n");
}

static void
write_text(const struct report *r, int failed, struct buf *out)
{
	const struct queue_entry *q = r->entry;
	size_t i;

	buf_printf(out, "\r\n--roost-%s\r\n", r->id);
	if (report_needs_utf8(r))
		buf_add_cstr(out, "Content-Type: text/plain; charset=utf-8\r\n"
				  "Content-Transfer-Encoding: 8bit\r\n\r\n");
	else
		buf_add_cstr(out, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
	buf_printf(out, "This is the mail system at %s.\r\n\r\n", r->hostname);
	if (r->kind == REPORT_DELAY)
		buf_add_cstr(out,
			"Your message waits for one or more recipients and is tried again. You\r\n"
			"need not send it once more.\r\n");
	else if (failed)
		buf_add_cstr(out,
			"Your message could not be delivered to one or more recipients. It is\r\n"
			"attached below, or its header is. There will be no further tries.\r\n");
	else
		buf_add_cstr(out, "This is what became of your message, as you asked to be told."
				  "\r\n");
	for (i = 0; i < q->rcpt_count; i++) {
		const struct queue_rcpt *rcpt = &q->rcpts[i];

		if (!is_in(r, rcpt))
			continue;
		buf_printf(out, "\r\n<%s>: %s", rcpt->address, action(rcpt));
		if (rcpt->mta[0] && str_is_digit(rcpt->text[0]))
			buf_printf(out, "\r\n    %s said:", rcpt->mta);
		if (rcpt->text[0])
			buf_printf(out, "\r\n    %s", rcpt->text);
		buf_add_cstr(out, "\r\n");
	}
}

/* RFC 6533 section 3: an address of other letters has a type of its own. */
static void
write_address(struct buf *out, const char *field, struct str type, const char *address)
{
	if (!str_is_ascii(str_of(address)))
		type = STR("utf-8");
	buf_printf(out, "%s-Recipient: %.*s; %s\r\n", field, STR_ARG(type), address);
}

static void
write_rcpt_fields(const struct report *r, const struct queue_rcpt *rcpt, struct buf *out)
{
	buf_add_cstr(out, "\r\n");
	if (rcpt->orcpt[0]) {
		size_t semi = str_find(str_of(rcpt->orcpt), 0, ';');

		write_address(out, "Original", str_make(rcpt->orcpt, semi),
			rcpt->orcpt[semi] ? rcpt->orcpt + semi + 1 : "");
	}
	write_address(out, "Final", STR("rfc822"), rcpt->address);
	buf_printf(out, "Action: %s\r\n", action(rcpt));
	buf_printf(out, "Status: %s\r\n",
		rcpt->dsn[0]			? rcpt->dsn
		: rcpt->status == QUEUE_FAILED	? "5.0.0"
		: rcpt->status == QUEUE_PENDING ? "4.0.0"
						: "2.0.0");
	if (rcpt->mta[0] && !rcpt->local)
		buf_printf(out, "Remote-MTA: dns; %s\r\n", rcpt->mta);
	/* RFC 3464 section 2.3.6: only what an SMTP server really said. */
	if (str_is_digit(rcpt->text[0]) && rcpt->text[1] && rcpt->text[2])
		buf_printf(out, "Diagnostic-Code: smtp; %s\r\n", rcpt->text);
	if (r->kind == REPORT_DELAY) {
		buf_add_cstr(out, "Will-Retry-Until: ");
		add_date(out, r->retry_until);
		buf_add_cstr(out, "\r\n");
	}
}

static void
write_status(const struct report *r, struct buf *out)
{
	const struct queue_entry *q = r->entry;
	size_t i;

	buf_printf(out, "\r\n--roost-%s\r\n", r->id);
	if (report_needs_utf8(r))
		buf_add_cstr(out, "Content-Type: message/global-delivery-status\r\n"
				  "Content-Transfer-Encoding: 8bit\r\n\r\n");
	else
		buf_add_cstr(out, "Content-Type: message/delivery-status\r\n\r\n");
	if (q->envid[0])
		buf_printf(out, "Original-Envelope-Id: %s\r\n", q->envid);
	buf_printf(out, "Reporting-MTA: dns; %s\r\n", r->hostname);
	buf_add_cstr(out, "Arrival-Date: ");
	add_date(out, q->arrival);
	buf_add_cstr(out, "\r\n");
	if (q->release_asked && q->release_asked[0]) /* RFC 4865 section 5.1.2 */
		buf_printf(out, "Future-Release-Request: %s\r\n", q->release_asked);
	for (i = 0; i < q->rcpt_count; i++) {
		if (is_in(r, &q->rcpts[i]))
			write_rcpt_fields(r, &q->rcpts[i], out);
	}
}

static void
write_original(const struct report *r, struct buf *out)
{
	struct str part = r->content;
	int global;

	buf_printf(out, "\r\n--roost-%s\r\n", r->id);
	if (!r->whole)
		part.len = header_block_len(part);
	/* RFC 6533 sections 4.2 and 4.3; ordinary types where they do. */
	global = (r->entry->flags & QUEUE_SMTPUTF8) && !str_is_ascii(part);
	if (global)
		buf_printf(out, "Content-Type: message/%s\r\n",
			r->whole ? "global" : "global-headers");
	else
		buf_printf(out, "Content-Type: %s\r\n",
			r->whole ? "message/rfc822" : "text/rfc822-headers");
	if (global && r->whole && !r->stays_here && str_is_ascii(str_of(r->to))) {
		/*
		 * As it is it would want SMTPUTF8 all the way to somebody who may not have it (RFC
		 * 6531 section 3.2). Encoded it does not (RFC 6532 section 3.7).
		 */
		buf_add_cstr(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		(void)encode_qp(part, 1, out);
		part.len = 0;
	} else {
		if (!str_is_ascii(part))
			buf_add_cstr(out, "Content-Transfer-Encoding: 8bit\r\n");
		buf_add_cstr(out, "\r\n");
		buf_add_str(out, part);
	}
	if (part.len < 2 || memcmp(part.p + part.len - 2, "\r\n", 2) != 0)
		buf_add_cstr(out, "\r\n");
	buf_printf(out, "\r\n--roost-%s--\r\n", r->id);
}

enum err
report_write(const struct report *r, struct buf *out)
{
	int failed = any_failed(r->entry);

	write_header(r, failed, out);
	write_text(r, failed, out);
	write_status(r, out);
	write_original(r, out);
	return out->err;
}
