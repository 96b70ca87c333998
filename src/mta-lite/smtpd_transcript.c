/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_notice.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"

enum {
	CLASS_BOUNCE = 1,
	CLASS_POLICY = 2,
	CLASS_PROTOCOL = 4,
	CLASS_RESOURCE = 8,
	CLASS_SOFTWARE = 16,
	TRANSCRIPT_MAX = 32 * 1024, /* bytes; what comes later is left out */
	TRANSCRIPT_LINE_MAX = 500,
};

static const struct {
	const char *name;
	unsigned bit;
} classes[] = {{"bounce", CLASS_BOUNCE}, {"policy", CLASS_POLICY}, {"protocol", CLASS_PROTOCOL},
	{"resource", CLASS_RESOURCE}, {"software", CLASS_SOFTWARE}};

struct smtpd_transcript {
	unsigned wanted, seen;
	struct buf text;
	int cut;
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

/* What goes into a message of plain lines. */
static void
add_line(struct smtpd_transcript *t, const char *who, struct str line)
{
	size_t i;

	if (t->text.len > TRANSCRIPT_MAX) {
		t->cut = 1;
		return;
	}
	buf_add_cstr(&t->text, who);
	for (i = 0; i < line.len && i < TRANSCRIPT_LINE_MAX; i++) {
		unsigned char c = (unsigned char)line.p[i];

		buf_add_char(&t->text, c < ' ' || c >= 0x7f ? '?' : (char)c);
	}
	buf_add_cstr(&t->text, i < line.len ? "...\r\n" : "\r\n");
}

void
smtpd_transcript_in(struct smtpd *d, struct str line)
{
	/* Whatever stands behind it may be a password. */
	if (d->transcript)
		add_line(d->transcript,
			" In:  ", str_starts_i(line, "AUTH") ? STR("AUTH ...") : line);
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
	while (reply.p != NULL && reply.len > 0) {
		struct str line = str_split(&reply, '\n');

		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		add_line(t, " Out: ", line);
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
	buf_add_buf(&text, &t->text);
	if (t->cut)
		buf_add_cstr(&text, " ... and more, which is left out.\r\n");
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
	buf_free(&t->text);
	MEM_FREE(d->transcript);
}
