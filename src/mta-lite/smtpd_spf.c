/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_spf.h"

#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/smtpd_rules.h"

static int
is_asked(const struct smtpd *d)
{
	return d->kind == SMTPD_MX && !d->trusted && strcmp(d->conf->smtpd_spf, "off") != 0;
}

const char *
smtpd_spf_rcpt(struct smtpd *d)
{
	struct spf_answer *a = &d->t.spf;
	struct spf_query q = {.peer = &d->peer,
		.helo = d->helo,
		.sender = d->t.mail.from.address,
		.receiver = smtp_hostname(d->conf)};
	struct dns_source dns;

	if (!is_asked(d))
		return NULL;
	if (!d->t.spf_known) {
		dns = smtpd_dns(d);
		spf_check(&dns, &q, a);
		d->t.spf_known = 1;
		log_event(LOGL_INFO, "spf.result", "ip", d->peer_ip, "domain", a->domain, "result",
			spf_result_word(a->result), "mechanism", a->mechanism, NULL);
	}
	if (strcmp(d->conf->smtpd_spf, "reject") != 0)
		return NULL;
	/* RFC 7208 section 8.4, 8.6; the enhanced codes are those of RFC 7372. */
	buf_reset(&d->verdict);
	if (a->result == SPF_FAIL)
		buf_printf(&d->verdict, "550 5.7.23 %s may not send mail of %s%s%s", d->peer_ip,
			a->domain, a->explanation[0] ? ": " : "", a->explanation);
	else if (a->result == SPF_TEMPERROR)
		buf_printf(&d->verdict, "451 4.7.24 The SPF policy of %s cannot be looked up",
			a->domain);
	else
		return NULL;
	return buf_cstr(&d->verdict);
}

int
smtpd_spf_wants_message(const struct smtpd *d)
{
	return d->t.spf_known;
}

/* "mail.example.test; spf=pass": whose words it pretends to be. */
static int
claims_our_name(const struct smtpd *d, struct str value)
{
	size_t end = str_find(value, 0, ';');
	struct str id = str_trim(str_make(value.p, end)), word = str_split(&id, ' ');

	return str_is_i(word, smtp_hostname(d->conf));
}

void
smtpd_spf_message(struct smtpd *d, struct content *c)
{
	const struct spf_answer *a = &d->t.spf;
	int null_path = d->t.mail.from.address[0] == '\0';
	size_t i = 0;

	if (!d->t.spf_known)
		return;
	while (content_find(c, STR("Authentication-Results"), 1, &i) == OK &&
		i < content_field_count(c)) {
		size_t k, removed = 0;

		for (k = 0; k < content_field_count(c); k++) {
			if (str_is_i(content_field_name(c, k), "Authentication-Results") &&
				claims_our_name(d, content_field_value(c, k))) {
				content_remove(c, k--);
				removed = 1;
			}
		}
		if (!removed)
			break;
	}
	/* RFC 8601 sections 2.2 and 2.7.2. The domain was let through by the address parser. */
	buf_printf(&d->t.head, "Authentication-Results: %s;\r\n\tspf=%s smtp.%s=%s\r\n",
		smtp_hostname(d->conf), spf_result_word(a->result), null_path ? "helo" : "mailfrom",
		a->domain[0] ? a->domain : "unknown");
}
