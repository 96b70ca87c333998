/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_notice.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/transcript.h"

enum {
	CLASS_BOUNCE = 1,
	CLASS_POLICY = 2,
	CLASS_PROTOCOL = 4,
	CLASS_RESOURCE = 8,
	CLASS_SOFTWARE = 16,
};

static const struct {
	const char *name;
	unsigned bit;
} classes[] = {{"bounce", CLASS_BOUNCE}, {"policy", CLASS_POLICY}, {"protocol", CLASS_PROTOCOL},
	{"resource", CLASS_RESOURCE}, {"software", CLASS_SOFTWARE}};

struct smtpd_transcript {
	unsigned wanted, seen;
	struct transcript lines;
};

void
smtpd_transcript_start(struct smtpd *d)
{
	unsigned wanted = 0;
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (conf_list_has(&d->conf->notify_classes, str_of(classes[i].name)))
			wanted |= classes[i].bit;
	}
	if (wanted == 0)
		return;
	d->transcript = MEM_NEW(struct smtpd_transcript);
	d->transcript->wanted = wanted;
}

void
smtpd_transcript_in(struct smtpd *d, struct str line)
{
	if (d->transcript)
		transcript_add_command(&d->transcript->lines, " In:  ", line);
}

static int
is_class(struct str dsn, const char *subject)
{
	return dsn.len > 2 && str_starts_i(str_make(dsn.p + 2, dsn.len - 2), subject);
}

/* As Postfix counts them, by the reply (RFC 5321 section 4.2.1, RFC 3463 section 3). */
static unsigned
class_of(struct str reply)
{
	struct str dsn = reply, code = str_split(&dsn, ' ');

	if (code.len != 3 || (code.p[0] != '4' && code.p[0] != '5') || str_is(code, "421"))
		return 0;
	if (str_is(code, "500") || str_is(code, "501") || str_is(code, "502") ||
		str_is(code, "503") || str_is(code, "555"))
		return CLASS_PROTOCOL;
	if (is_class(dsn, "3.5"))
		return CLASS_SOFTWARE;
	if (is_class(dsn, "3.0") || is_class(dsn, "3.1") || is_class(dsn, "4."))
		return CLASS_RESOURCE;
	if (is_class(dsn, "1.") || is_class(dsn, "2."))
		return CLASS_BOUNCE;
	return CLASS_POLICY;
}

void
smtpd_transcript_out(struct smtpd *d, struct str reply)
{
	struct smtpd_transcript *t = d->transcript;

	if (t == NULL)
		return;
	t->seen |= class_of(reply);
	transcript_add_lines(&t->lines, " Out: ", reply);
}

void
smtpd_transcript_before(struct smtpd *d, struct str troubles)
{
	while (troubles.p) {
		struct str line = str_split(&troubles, '\n');

		if (line.len > 0 && line.p[0] == 'C')
			smtpd_transcript_in(d, str_make(line.p + 1, line.len - 1));
		else if (line.len > 0 && line.p[0] == 'S')
			smtpd_transcript_out(d, str_make(line.p + 1, line.len - 1));
	}
}

static void
send_transcript(struct smtpd *d, unsigned seen)
{
	const struct smtpd_transcript *t = d->transcript;
	struct buf names = {0}, subject = {0}, text = {0};
	struct smtpd_notice notice = {.to = d->conf->error_notice_recipient, .origin = "errors"};
	char id[QUEUE_ID_SIZE];
	size_t i;
	enum err e;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (seen & classes[i].bit)
			buf_printf(&names, "%s%s", names.len ? ", " : "", classes[i].name);
	}
	buf_printf(&subject, "SMTP server: errors from %s[%s]", d->helo, d->peer_ip);
	buf_printf(&text,
		"This is what %s and a client said to each other, since errors of\r\n"
		"these classes came up, which notify_classes name: %s.\r\n\r\n"
		"Client:  %s[%s]\r\n",
		smtp_hostname(d->conf), buf_cstr(&names), d->helo, d->peer_ip);
	if (d->user)
		buf_printf(&text, "User:    %s\r\n", d->user);
	buf_printf(&text, "Session: %s\r\n\r\n", d->session->info.id);
	transcript_write(&t->lines, &text);
	notice.subject = buf_cstr(&subject);
	notice.text = buf_str(&text);
	e = smtpd_notice_send(d, &notice, id);
	if (e == OK)
		log_event(LOGL_INFO, "smtpd.notice queued", "queue_id", id, "to", notice.to, "ip",
			d->peer_ip, "classes", buf_cstr(&names), NULL);
	else
		log_event(LOGL_WARN, "smtpd.notice failed", "to", notice.to, "ip", d->peer_ip,
			"error", err_text(e), NULL);
	buf_free(&names);
	buf_free(&subject);
	buf_free(&text);
}

void
smtpd_transcript_stop(struct smtpd *d)
{
	struct smtpd_transcript *t = d->transcript;

	if (t == NULL)
		return;
	if (t->seen & t->wanted)
		send_transcript(d, t->seen & t->wanted);
	transcript_reset(&t->lines);
	MEM_FREE(d->transcript);
}
