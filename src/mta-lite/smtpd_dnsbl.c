/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_dnsbl.h"

#include <string.h>

#include "lib/log.h"

/* Made once in the warm parent; a child uses its copy. */
static struct dnsbl *lists;

enum err
smtpd_dnsbl_open(const struct config *conf)
{
	return dnsbl_open(conf, &lists);
}

static void
find_score(struct smtpd *d)
{
	struct dnsbl_score *s = &d->dnsbl;

	d->dnsbl_known = 1;
	dnsbl_ask(lists, &d->peer, (int)d->conf->postscreen_dnsbl_timeout, s);
	if (s->score != 0 || s->unanswered > 0)
		log_event(LOGL_INFO, "smtpd.dnsbl", "ip", d->peer_ip, "score", log_i64(s->score),
			"zone", s->zone, "unanswered", log_u64(s->unanswered), NULL);
}

const char *
smtpd_dnsbl_reject(struct smtpd *d)
{
	const char *action = d->conf->postscreen_dnsbl_action;
	int drop = strcmp(action, "drop") == 0;

	if (lists == NULL || d->kind != SMTPD_MX || d->trusted)
		return NULL;
	if (!d->dnsbl_known)
		find_score(d);
	if (d->dnsbl.score < d->conf->postscreen_dnsbl_threshold || strcmp(action, "ignore") == 0)
		return NULL;
	buf_reset(&d->verdict);
	buf_printf(&d->verdict, "%d 5.7.1 Service unavailable; client [%s] blocked using %s",
		drop ? 521 : 550, d->peer_ip, d->dnsbl.zone);
	if (drop)
		d->quit = 1;
	return buf_cstr(&d->verdict);
}

int
smtpd_dnsbl_is_good(const struct smtpd *d)
{
	int64_t enough = d->conf->postscreen_dnsbl_allowlist_threshold;

	return d->dnsbl_known && enough < 0 && d->dnsbl.score <= enough;
}
